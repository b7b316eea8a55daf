package jinja

import "math"

// globals are the names every template has.
func (st *state) globals() map[string]Value {
	return map[string]Value{
		"range":     &function{"range", doRange},
		"dict":      &function{"dict", func(st *state, a args) Value { return st.dict(a) }},
		"namespace": &function{"namespace", func(st *state, a args) Value { return &namespace{st.dict(a)} }},
		"cycler":    &function{"cycler", newCycler},
		"joiner":    &function{"joiner", newJoiner},
		"lipsum": &function{"lipsum", func(*state, args) Value {
			raise("TemplateRuntimeError", "lipsum is not supported: its text is random")
			return nil
		}},
		"self": &object{kind: "TemplateReference", attr: func(name string) (Value, bool) {
			b, ok := st.blocks[name]
			return &function{name, func(st *state, _ args) Value {
				return st.capture(newScope(st.root, b.unset), func() { st.run(b.body) })
			}}, ok
		}},
		"raise_exception": &function{"raise_exception", func(st *state, a args) Value {
			raise("TemplateError", "%s", st.str(a.bind("raise_exception", "message")[0]))
			return nil
		}},
		"strftime_now": &function{"strftime_now", func(st *state, a args) Value {
			return strftime(st, st.now, st.wantStr(a.bind("strftime_now", "format")[0], "strftime_now"))
		}},
	}
}

func doRange(st *state, a args) Value {
	if len(a.names) > 0 || len(a.pos) == 0 || len(a.pos) > 3 {
		raise("TypeError", "range expected 1 to 3 arguments, got %d", len(a.pos))
	}
	for _, v := range a.pos {
		if _, ok := index(v); !ok {
			failUndefined(v)
			raise("TypeError", "'%s' object cannot be interpreted as an integer", typeName(v))
		}
	}
	r := &Range{step: 1}
	at := func(i int) int64 {
		n, _ := index(a.pos[i])
		return max(min(n, math.MaxInt32), math.MinInt32)
	}
	if len(a.pos) == 1 {
		r.stop = at(0)
	} else {
		r.start, r.stop = at(0), at(1)
	}
	if len(a.pos) == 3 {
		if r.step = at(2); r.step == 0 {
			raise("ValueError", "range() arg 3 must not be zero")
		}
	}
	if r.step > 0 {
		r.n = max(0, (r.stop-r.start+r.step-1)/r.step)
	} else {
		r.n = max(0, (r.start-r.stop-r.step-1)/-r.step)
	}
	if r.n > maxRange {
		raise("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return r
}

// dict is Python's dict(): of a mapping or of pairs, and of keywords.
func (st *state) dict(a args) *Dict {
	d := &Dict{}
	if len(a.pos) > 1 {
		raise("TypeError", "dict expected at most 1 argument, got %d", len(a.pos))
	}
	if len(a.pos) == 1 {
		if src, ok := a.pos[0].(*Dict); ok {
			st.charge(64 * src.Len())
			d = src.clone()
		} else {
			for i, p := range st.list(a.pos[0]) {
				kv := st.list(p)
				if len(kv) != 2 {
					raise("ValueError", "dictionary update sequence element #%d has length %d; 2 is required", i, len(kv))
				}
				st.charge(64)
				d.set(st.hash(kv[0]), kv[0], kv[1])
			}
		}
	}
	for i, n := range a.names {
		d.Set(n, a.kw[i])
	}
	return d
}

func newCycler(st *state, a args) Value {
	if len(a.pos) == 0 {
		raise("RuntimeError", "at least one item has to be provided")
	}
	at := 0
	return &object{kind: "Cycler", attr: func(name string) (Value, bool) {
		switch name {
		case "next":
			return &function{name, func(*state, args) Value {
				at++
				return a.pos[(at-1)%len(a.pos)]
			}}, true
		case "current":
			return a.pos[at%len(a.pos)], true
		case "reset":
			return &function{name, func(*state, args) Value {
				at = 0
				return nil
			}}, true
		}
		return nil, false
	}}
}

func newJoiner(st *state, a args) Value {
	sep := a.bind("joiner", "sep=")[0]
	if sep == missing {
		sep = ", "
	}
	used := false
	return &object{kind: "Joiner", attr: func(string) (Value, bool) { return nil, false }, call: func(*state, args) Value {
		if !used {
			used = true
			return ""
		}
		return sep
	}}
}
