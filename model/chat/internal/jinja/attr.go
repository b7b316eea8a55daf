package jinja

import (
	"math/big"
	"strings"
)

// getattr is v.name: an attribute of Python's type first, then an item, else undefined.
func (st *state) getattr(v Value, name string) Value {
	if a, ok := st.attribute(v, name); ok {
		return a
	}
	failUndefined(v)
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(name); ok {
			return x
		}
	}
	return &undefined{of: describe(v), name: name, kind: undefinedError}
}

// getitem is v[key]: an item first, then an attribute, else undefined.
func (st *state) getitem(v, key Value) Value {
	failUndefined(v)
	if x, ok := st.item(v, key); ok {
		return x
	}
	if name, ok := text(key); ok {
		if a, ok := st.attribute(v, name); ok {
			return a
		}
	}
	return &undefined{of: describe(v), name: key, kind: undefinedError}
}

// item is v[key] where there is such an item.
func (st *state) item(v, key Value) (Value, bool) {
	if d, ok := v.(*Dict); ok {
		switch key.(type) {
		case *List, *Dict:
			return nil, false
		}
		return d.get(st.hash(key))
	}
	i, ok := index(key)
	if !ok {
		return nil, false
	}
	at := func(n int) (int, bool) {
		if i < 0 {
			i += int64(n)
		}
		return int(i), i >= 0 && i < int64(n)
	}
	switch v := v.(type) {
	case string, Markup:
		s, _ := text(v)
		if isASCII(s) {
			n, ok := at(len(s))
			if !ok {
				return nil, false
			}
			return like(v, s[n:n+1]), true
		}
		st.charge(4 * len(s))
		r := []rune(s)
		n, ok := at(len(r))
		if !ok {
			return nil, false
		}
		return like(v, string(r[n])), true
	case *List:
		if n, ok := at(len(v.Items)); ok {
			return v.Items[n], true
		}
	case *Tuple:
		if n, ok := at(len(v.Items)); ok {
			return v.Items[n], true
		}
	case *Range:
		if n, ok := at(int(v.n)); ok {
			return v.at(int64(n)), true
		}
	}
	return nil, false
}

func (r *Range) at(i int64) int64 { return r.start + i*r.step }

// internals are attributes that every Python object has and the sandbox hides.
var internals = map[string]bool{
	"__class__": true, "__doc__": true, "__init__": true, "__new__": true, "__str__": true, "__repr__": true, "__eq__": true,
	"__ne__": true, "__lt__": true, "__le__": true, "__gt__": true, "__ge__": true, "__hash__": true, "__getattribute__": true,
	"__setattr__": true, "__delattr__": true, "__format__": true, "__reduce__": true, "__reduce_ex__": true, "__sizeof__": true,
	"__dir__": true, "__subclasshook__": true, "__init_subclass__": true, "__len__": true, "__iter__": true, "__contains__": true,
	"__getitem__": true, "__add__": true, "__mul__": true, "__mod__": true, "__call__": true, "__dict__": true, "__module__": true,
}

// attribute is an attribute of Python's type: a method, mostly.
func (st *state) attribute(v Value, name string) (Value, bool) {
	if _, ok := v.(*undefined); ok {
		return nil, false
	}
	if strings.HasPrefix(name, "__") && internals[name] {
		return unsafe(v, name), true
	}
	switch v := v.(type) {
	case string, Markup:
		return strAttr(v, name)
	case *Dict:
		return dictAttr(v, name)
	case *List:
		return listAttr(v, v.Items, name)
	case *Tuple:
		if v.group && name == "grouper" {
			return v.Items[0], true
		}
		if v.group && name == "list" {
			return v.Items[1], true
		}
		return listAttr(v, v.Items, name)
	case *Range:
		switch name {
		case "start":
			return v.start, true
		case "stop":
			return v.stop, true
		case "step":
			return v.step, true
		case "count", "index":
			return listAttr(v, st.list(v), name)
		}
	case *namespace:
		return v.vars.Get(name)
	case *loop:
		return v.attr(name)
	case *macro:
		return v.attr(name)
	case *object:
		return v.attr(name)
	case bool, int64, *big.Int, float64:
		return numberAttr(v, name)
	}
	return nil, false
}

// unsafe is what the sandbox gives for an attribute that it hides.
func unsafe(v Value, name string) Value {
	return &undefined{hint: "access to attribute " + quote(name) + " of " + quote(typeName(v)) + " object is unsafe.", kind: "SecurityError"}
}

func bound(name string, params []string, f func(st *state, p []Value) Value) Value {
	return &function{name, func(st *state, a args) Value { return f(st, a.bind(name, params...)) }}
}

func dictAttr(d *Dict, name string) (Value, bool) {
	switch name {
	case "get":
		return bound(name, []string{"/key", "/default="}, func(st *state, p []Value) Value {
			if v, ok := d.get(st.hash(p[0])); ok {
				return v
			}
			if p[1] == missing {
				return nil
			}
			return p[1]
		}), true
	case "keys", "values", "items":
		return bound(name, nil, func(*state, []Value) Value { return &view{d, "dict_" + name} }), true
	case "copy":
		return bound(name, nil, func(st *state, _ []Value) Value {
			st.charge(64 * d.Len())
			return d.clone()
		}), true
	case "fromkeys":
		return bound(name, []string{"/iterable", "/value="}, func(st *state, p []Value) Value {
			if p[1] == missing {
				p[1] = nil
			}
			out := &Dict{}
			for _, k := range st.list(p[0]) {
				st.charge(64)
				out.set(st.hash(k), k, p[1])
			}
			return out
		}), true
	case "clear", "pop", "popitem", "setdefault", "update":
		return unsafe(d, name), true
	}
	return nil, false
}

func listAttr(v Value, items []Value, name string) (Value, bool) {
	_, isList := v.(*List)
	switch name {
	case "count":
		return bound(name, []string{"/value"}, func(st *state, p []Value) Value {
			n := int64(0)
			for _, x := range items {
				if st.equal(x, p[0]) {
					n++
				}
			}
			return n
		}), true
	case "index":
		return bound(name, []string{"/value", "/start=", "/stop="}, func(st *state, p []Value) Value {
			from, to := cut(len(items), p[1], p[2])
			for i := from; i < to; i++ {
				if st.equal(items[i], p[0]) {
					return int64(i)
				}
			}
			raise("ValueError", "%s is not in %s", st.repr(p[0]), typeName(v))
			return nil
		}), true
	case "copy":
		if isList {
			return bound(name, nil, func(st *state, _ []Value) Value { return &List{st.join(items, nil)} }), true
		}
	case "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove":
		if isList {
			return unsafe(v, name), true
		}
	}
	return nil, false
}

func numberAttr(v Value, name string) (Value, bool) {
	f, isFloat := v.(float64)
	i, _ := integer(v)
	zero := func() Value {
		if isFloat {
			return 0.0
		}
		return int64(0)
	}
	self := func() Value {
		if isFloat {
			return f
		}
		return small(i)
	}
	switch name {
	case "real":
		return self(), true
	case "imag":
		return zero(), true
	case "conjugate":
		return bound(name, nil, func(*state, []Value) Value { return self() }), true
	case "is_integer":
		if isFloat {
			return bound(name, nil, func(*state, []Value) Value { return f == float64(int64(f)) || f > 1<<53 || f < -1<<53 }), true
		}
	case "numerator":
		if !isFloat {
			return self(), true
		}
	case "denominator":
		if !isFloat {
			return int64(1), true
		}
	case "bit_length":
		if !isFloat {
			return bound(name, nil, func(*state, []Value) Value { return int64(i.BitLen()) }), true
		}
	}
	return nil, false
}

// cut is the part of n items between two indices that Python counts from the end where they are negative. Either may be missing or None.
func cut(n int, start, stop Value) (from, to int) {
	at := func(v Value, d int) int {
		if v == missing || v == nil {
			return d
		}
		i, ok := index(v)
		if !ok {
			failUndefined(v)
			raise("TypeError", "slice indices must be integers or None or have an __index__ method")
		}
		if i < 0 {
			i = max(i, -int64(n)) + int64(n)
		}
		return int(min(i, int64(n)))
	}
	return at(start, 0), at(stop, n)
}

// positions are the indices of n items that a slice with the given bounds, each nil or an int, takes.
func positions(n int, start, stop, step Value) (from, count, by int) {
	by = 1
	if step != nil {
		s, ok := index(step)
		if !ok {
			failUndefined(step)
			raise("TypeError", "slice indices must be integers or None or have an __index__ method")
		}
		if s == 0 {
			raise("ValueError", "slice step cannot be zero")
		}
		by = int(max(min(s, int64(n)+1), -int64(n)-1))
	}
	if by > 0 {
		from, to := cut(n, start, stop)
		return from, max(0, (to-from+by-1)/by), by
	}
	at := func(v Value, d int) int {
		if v == nil {
			return d
		}
		i, ok := index(v)
		if !ok {
			failUndefined(v)
			raise("TypeError", "slice indices must be integers or None or have an __index__ method")
		}
		if i < 0 {
			i = max(i, -int64(n)-1) + int64(n)
		}
		return int(max(min(i, int64(n)-1), -1))
	}
	from, to := at(start, n-1), at(stop, -1)
	return from, max(0, (from-to-by-1)/-by), by
}

// slice is v[start:stop:step].
func (st *state) slice(v, start, stop, step Value) Value {
	pick := func(items []Value) []Value {
		from, n, by := positions(len(items), start, stop, step)
		st.charge(16 * n)
		out := make([]Value, n)
		for i := range out {
			out[i] = items[from+i*by]
		}
		return out
	}
	switch v := v.(type) {
	case string, Markup:
		s, _ := text(v)
		st.charge(len(s))
		if isASCII(s) {
			from, n, by := positions(len(s), start, stop, step)
			if by == 1 {
				return like(v, s[from:from+n])
			}
			out := make([]byte, n)
			for i := range out {
				out[i] = s[from+i*by]
			}
			return like(v, string(out))
		}
		st.charge(4 * len(s))
		r := []rune(s)
		from, n, by := positions(len(r), start, stop, step)
		out := make([]rune, n)
		for i := range out {
			out[i] = r[from+i*by]
		}
		return like(v, string(out))
	case *List:
		return &List{pick(v.Items)}
	case *Tuple:
		return &Tuple{Items: pick(v.Items)}
	case *Range:
		from, n, by := positions(int(v.n), start, stop, step)
		r := &Range{start: v.at(int64(from)), step: v.step * int64(by), n: int64(n)}
		r.stop = r.at(int64(n))
		return r
	}
	failUndefined(v)
	if _, ok := v.(*Dict); ok {
		raise("TypeError", "unhashable type: 'slice'")
	}
	raise("TypeError", "'%s' object is not subscriptable", typeName(v))
	return nil
}
