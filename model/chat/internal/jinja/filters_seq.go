package jinja

import (
	"strconv"
	"strings"
)

// getter is what map, sort, groupby and others look up in each item: "a.b.0" of it. def, where it is not None, takes the place of
// what is undefined.
func (st *state) getter(attribute Value, def Value) func(Value) Value {
	var parts []Value
	switch a := attribute.(type) {
	case string, Markup:
		s, _ := text(a)
		for _, p := range strings.Split(s, ".") {
			if n, err := strconv.ParseInt(p, 10, 64); err == nil && all(p, isDigit) {
				parts = append(parts, n)
			} else {
				parts = append(parts, p)
			}
		}
	case nil, missingType:
	default:
		parts = []Value{a}
	}
	return func(v Value) Value {
		for _, p := range parts {
			st.step()
			v = st.getitem(v, p)
			if _, undef := v.(*undefined); undef && def != nil && def != missing {
				v = def
			}
		}
		return v
	}
}

// folded is key with strings in lower case, unless case counts.
func folded(key func(Value) Value, caseSensitive bool) func(Value) Value {
	if caseSensitive {
		return key
	}
	return func(v Value) Value {
		v = key(v)
		if s, ok := text(v); ok {
			return lower(s)
		}
		return v
	}
}

func doMap(st *state, v Value, a args) Value {
	var apply func(Value) Value
	prepare := func() {
		if attr, ok := a.keyword("attribute"); ok && len(a.pos) == 0 {
			def, _ := a.keyword("default")
			for _, n := range a.names {
				if n != "attribute" && n != "default" {
					raise("FilterArgumentError", "Unexpected keyword argument %s", quote(n))
				}
			}
			apply = st.getter(attr, def)
			return
		}
		if len(a.pos) == 0 {
			raise("FilterArgumentError", "map requires a filter argument")
		}
		name := st.wantStr(a.pos[0], "map")
		rest := args{a.pos[1:], a.names, a.kw}
		apply = func(v Value) Value { return st.filter(name, v, rest) }
	}
	return lazily(st, v, prepare, func(x Value) (Value, bool) { return apply(x), true })
}

// lazily is a generator of what fn gives for the items of v that it keeps. Nothing happens before the first item is asked for.
func lazily(st *state, v Value, prepare func(), fn func(Value) (Value, bool)) Value {
	var items func() (Value, bool)
	return generator(func() (Value, bool) {
		if items == nil {
			if !truth(v) {
				return nil, false
			}
			prepare()
			items = st.iterate(v)
		}
		for x, ok := items(); ok; x, ok = items() {
			if y, keep := fn(x); keep {
				return y, true
			}
		}
		return nil, false
	})
}

// doSelect is select, reject, selectattr and rejectattr.
func doSelect(st *state, v Value, a args, want, byAttr bool) Value {
	var ok func(Value) bool
	prepare := func() {
		key, rest := func(v Value) Value { return v }, a.pos
		if byAttr {
			if len(rest) == 0 {
				raise("FilterArgumentError", "Missing parameter for attribute name")
			}
			key, rest = st.getter(rest[0], nil), rest[1:]
		}
		if len(rest) == 0 {
			ok = func(v Value) bool { return truth(key(v)) }
			return
		}
		name := st.wantStr(rest[0], "select")
		more := args{rest[1:], a.names, a.kw}
		ok = func(v Value) bool { return st.test(name, key(v), more) }
	}
	return lazily(st, v, prepare, func(x Value) (Value, bool) { return x, ok(x) == want })
}

func doBatch(st *state, v Value, p []Value) Value {
	n := st.wantInt(p[0], 0)
	var items func() (Value, bool)
	var row []Value
	done := false
	return generator(func() (Value, bool) {
		if items == nil {
			items = st.iterate(v)
		}
		for !done {
			x, ok := items()
			if !ok {
				done = true
				break
			}
			st.charge(16)
			if full := row; len(row) == n {
				row = []Value{x}
				return &List{full}, true
			}
			row = append(row, x)
		}
		last := row
		row = nil
		if len(last) == 0 {
			return nil, false
		}
		if p[1] != missing && p[1] != nil {
			st.charge(16 * max(n-len(last), 0))
			for len(last) < n {
				last = append(last, p[1])
			}
		}
		return &List{last}, true
	})
}

func doSlice(st *state, v Value, p []Value) Value {
	n := st.wantInt(p[0], 0)
	var items []Value
	i, at := -1, 0
	return generator(func() (Value, bool) {
		if i++; i == 0 {
			if items = st.list(v); n == 0 {
				raise("ZeroDivisionError", "integer division or modulo by zero")
			}
		}
		if i >= n {
			return nil, false
		}
		end := at + len(items)/n
		if i < len(items)%n {
			end++
		}
		row := st.join(items[at:end], nil)
		if p[1] != missing && p[1] != nil && i >= len(items)%n {
			row = append(row, p[1])
		}
		at = end
		return &List{row}, true
	})
}

func doDictSort(st *state, v Value, p []Value) Value {
	d, ok := v.(*Dict)
	if !ok {
		failUndefined(v)
		raise("AttributeError", "'%s' object has no attribute 'items'", typeName(v))
	}
	pos := 0
	if p[1] != missing {
		switch by, _ := text(p[1]); by {
		case "key":
		case "value":
			pos = 1
		default:
			raise("FilterArgumentError", `You can only sort by either "key" or "value"`)
		}
	}
	key := folded(func(v Value) Value { return v.(*Tuple).Items[pos] }, isTrue(p[0], false))
	return &List{st.sorted((&view{d, "dict_items"}).items(), key, isTrue(p[2], false))}
}

func doFirst(st *state, v Value) Value {
	next := st.iterate(v)
	if x, ok := next(); ok {
		return x
	}
	return &undefined{hint: "No first item, sequence was empty.", kind: undefinedError}
}

func doLast(st *state, v Value) Value {
	items, ok := st.reversed(v)
	if !ok {
		raise("TypeError", "'%s' object is not reversible", typeName(v))
	}
	if len(items) == 0 {
		return &undefined{hint: "No last item, sequence was empty.", kind: undefinedError}
	}
	return items[0]
}

func doReverse(st *state, v Value) Value {
	if s, ok := text(v); ok {
		st.charge(len(s))
		r := []rune(s)
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return like(v, string(r))
	}
	items, ok := st.reversed(v)
	if !ok {
		items = st.list(v)
		for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
			items[i], items[j] = items[j], items[i]
		}
		return &List{items}
	}
	next := st.iterate(&List{items})
	return &iterator{"list_reverseiterator", next}
}

func doGroupBy(st *state, v Value, p []Value) Value {
	real := st.getter(p[0], p[1])
	key := folded(real, isTrue(p[2], false))
	items := st.sorted(st.list(v), key, false)
	out := &List{}
	var group *List
	var last Value
	for _, x := range items {
		k := key(x)
		if group == nil || !st.equal(k, last) {
			group, last = &List{}, k
			out.Items = append(out.Items, &Tuple{Items: []Value{real(x), group}, group: true})
		}
		st.charge(64)
		group.Items = append(group.Items, x)
	}
	return out
}

func doItems(st *state, v Value) Value {
	d, ok := v.(*Dict)
	_, undef := v.(*undefined)
	if !ok && !undef {
		return generator(func() (Value, bool) {
			raise("TypeError", "Can only get item pairs from a mapping.")
			return nil, false
		})
	}
	if undef {
		d = &Dict{}
	}
	return generator(st.iterate(&view{d, "dict_items"}))
}

func doJoin(st *state, v Value, p []Value) Value {
	sep := ""
	if p[0] != missing {
		sep = st.str(p[0])
	}
	get := func(v Value) Value { return v }
	if p[1] != missing && p[1] != nil {
		get = st.getter(p[1], nil)
	}
	var b strings.Builder
	next := st.iterate(v)
	first := true
	for x, ok := next(); ok; x, ok = next() {
		s := st.str(get(x))
		st.charge(len(s) + len(sep))
		if !first {
			b.WriteString(sep)
		}
		first = false
		b.WriteString(s)
	}
	return b.String()
}

// extreme is min and max.
func extreme(st *state, v Value, p []Value, least bool) Value {
	key := folded(st.getter(p[1], nil), isTrue(p[0], false))
	next := st.iterate(v)
	best, ok := next()
	if !ok {
		return &undefined{hint: "No aggregated item, sequence was empty.", kind: undefinedError}
	}
	k := key(best)
	for x, ok := next(); ok; x, ok = next() {
		kx := key(x)
		if least && st.less(kx, k) || !least && st.order(">", kx, k) {
			best, k = x, kx
		}
	}
	return best
}

func doSort(st *state, v Value, p []Value) Value {
	var keys []func(Value) Value
	attrs := []Value{p[2]}
	if s, ok := text(p[2]); ok {
		attrs = nil
		for _, a := range strings.Split(s, ",") {
			attrs = append(attrs, a)
		}
	}
	for _, a := range attrs {
		keys = append(keys, folded(st.getter(a, nil), isTrue(p[1], false)))
	}
	key := func(v Value) Value {
		l := &List{}
		for _, k := range keys {
			l.Items = append(l.Items, k(v))
		}
		return l
	}
	return &List{st.sorted(st.list(v), key, isTrue(p[0], false))}
}

func doSum(st *state, v Value, p []Value) Value {
	var sum Value = int64(0)
	if p[1] != missing {
		sum = p[1]
	}
	if _, ok := text(sum); ok {
		raise("TypeError", "sum() can't sum strings [use ''.join(seq) instead]")
	}
	get := st.getter(p[0], nil)
	next := st.iterate(v)
	for x, ok := next(); ok; x, ok = next() {
		sum = st.binary("+", sum, get(x))
	}
	return sum
}

func doUnique(st *state, v Value, p []Value) Value {
	key := folded(st.getter(p[1], nil), isTrue(p[0], false))
	seen := map[any]bool{}
	var items func() (Value, bool)
	return generator(func() (Value, bool) {
		if items == nil {
			items = st.iterate(v)
		}
		for x, ok := items(); ok; x, ok = items() {
			h := st.hash(key(x))
			if !seen[h] {
				st.charge(64)
				seen[h] = true
				return x, true
			}
		}
		return nil, false
	})
}
