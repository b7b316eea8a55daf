package jinja

import (
	"slices"
	"unicode/utf8"
)

// iterate is Python's iter(): a function that gives the items one after another.
func (st *state) iterate(v Value) func() (Value, bool) {
	i := 0
	over := func(items []Value) func() (Value, bool) {
		return func() (Value, bool) {
			if i >= len(items) {
				return nil, false
			}
			st.step()
			i++
			return items[i-1], true
		}
	}
	switch v := v.(type) {
	case string, Markup:
		s, _ := text(v)
		return func() (Value, bool) {
			if i >= len(s) {
				return nil, false
			}
			st.step()
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			return s[i-n : i], true
		}
	case *List:
		return over(v.Items)
	case *Tuple:
		return over(v.Items)
	case *Dict:
		return over(v.keys)
	case *view:
		return over(v.items())
	case *iterator:
		return func() (Value, bool) {
			st.step()
			return v.next()
		}
	case *undefined:
		return over(nil)
	case *Range:
		return func() (Value, bool) {
			if i >= int(v.n) {
				return nil, false
			}
			st.step()
			i++
			return v.at(int64(i - 1)), true
		}
	}
	raise("TypeError", "'%s' object is not iterable", typeName(v))
	return nil
}

func (v *view) items() []Value {
	switch v.kind {
	case "dict_keys":
		return v.d.keys
	case "dict_values":
		return v.d.vals
	}
	out := make([]Value, v.d.Len())
	for i, k := range v.d.keys {
		out[i] = &Tuple{Items: []Value{k, v.d.vals[i]}}
	}
	return out
}

// list is Python's list(): all items.
func (st *state) list(v Value) []Value {
	switch v := v.(type) {
	case *List:
		st.charge(16 * len(v.Items))
		return slices.Clone(v.Items)
	}
	var out []Value
	next := st.iterate(v)
	for x, ok := next(); ok; x, ok = next() {
		st.charge(16)
		out = append(out, x)
	}
	return out
}

// len is Python's len(); ok is false for what has none.
func (st *state) len(v Value) (n int, ok bool) {
	switch v := v.(type) {
	case string, Markup:
		s, _ := text(v)
		st.charge(len(s) / 8)
		return length(s), true
	case *List:
		return len(v.Items), true
	case *Tuple:
		return len(v.Items), true
	case *Dict:
		return v.Len(), true
	case *view:
		return v.d.Len(), true
	case *Range:
		return int(v.n), true
	case *undefined:
		return 0, true
	case *loop:
		return v.length(), true
	}
	return 0, false
}

// reversed is Python's reversed() as a list; ok is false for what cannot be.
func (st *state) reversed(v Value) (items []Value, ok bool) {
	switch v.(type) {
	case string, Markup, *List, *Tuple, *Range, *Dict, *view, *undefined:
		items = st.list(v)
		slices.Reverse(items)
		return items, true
	}
	return nil, false
}

// generator makes a generator of Python's type name from a function.
func generator(next func() (Value, bool)) *iterator { return &iterator{"generator", next} }

// sorted sorts by keys, stably. reverse keeps the order of equal items, as Python does.
func (st *state) sorted(items []Value, key func(Value) Value, reverse bool) []Value {
	type pair struct{ key, item Value }
	pairs := make([]pair, len(items))
	for i, item := range items {
		st.charge(64)
		pairs[i] = pair{key(item), item}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		x, y := a.key, b.key
		if reverse {
			x, y = y, x
		}
		switch {
		case st.less(x, y):
			return -1
		case st.less(y, x):
			return 1
		}
		return 0
	})
	out := make([]Value, len(items))
	for i, p := range pairs {
		out[i] = p.item
	}
	return out
}
