package jinja

import (
	"fmt"
	"strings"
)

func (e *constExpr) eval(st *state) Value { return e.v }

func (e *nameExpr) eval(st *state) Value {
	st.step()
	if v, ok := st.scope.get(e.name); ok {
		return v
	}
	st.line = e.line
	return &undefined{name: e.name, kind: undefinedError}
}

func (st *state) evalAll(xs []expr) []Value {
	st.charge(16*len(xs) + 64)
	out := make([]Value, len(xs))
	for i, x := range xs {
		out[i] = x.eval(st)
	}
	return out
}

func (e *listExpr) eval(st *state) Value { return &List{st.evalAll(e.items)} }

func (e *tupleExpr) eval(st *state) Value { return &Tuple{Items: st.evalAll(e.items)} }

func (e *dictExpr) eval(st *state) Value {
	d := &Dict{}
	keys, values := make([]Value, len(e.keys)), make([]Value, len(e.keys))
	for i, k := range e.keys {
		st.step()
		st.charge(64)
		keys[i], values[i] = k.eval(st), e.values[i].eval(st)
	}
	for i, k := range keys { // as in Python, once all of them are there
		d.set(st.hash(k), k, values[i])
	}
	return d
}

func (e *condExpr) eval(st *state) Value {
	st.step()
	if truth(e.test.eval(st)) {
		return e.then.eval(st)
	}
	if e.els == nil {
		return &undefined{hint: fmt.Sprintf("the inline if-expression on line %d evaluated to false and no else section was defined.", e.line), kind: undefinedError}
	}
	return e.els.eval(st)
}

func (e *notExpr) eval(st *state) Value { return !truth(e.x.eval(st)) }

func (e *boolExpr) eval(st *state) Value {
	st.step()
	if l := e.l.eval(st); truth(l) != e.and {
		return l
	}
	return e.r.eval(st)
}

func (e *compareExpr) eval(st *state) Value {
	l := e.first.eval(st)
	for i, op := range e.ops {
		r := e.rest[i].eval(st)
		st.line = e.line
		if !st.compare(op, l, r) {
			return false
		}
		l = r
	}
	return true
}

func (st *state) compare(op string, l, r Value) bool {
	switch op {
	case "==":
		return st.equal(l, r)
	case "!=":
		return !st.equal(l, r)
	case "in":
		return st.contains(r, l)
	case "not in":
		return !st.contains(r, l)
	}
	return st.order(op, l, r)
}

func (e *concatExpr) eval(st *state) Value {
	parts := make([]string, len(e.items))
	for i, x := range e.items {
		parts[i] = st.str(x.eval(st))
		st.charge(len(parts[i]))
	}
	return strings.Join(parts, "")
}

func (e *binaryExpr) eval(st *state) Value {
	st.step()
	l, r := e.l.eval(st), e.r.eval(st)
	st.line = e.line
	return st.binary(e.op, l, r)
}

func (e *unaryExpr) eval(st *state) Value {
	v := e.x.eval(st)
	st.line = e.line
	return st.unary(e.op, v)
}

func (e *attrExpr) eval(st *state) Value {
	st.step()
	v := e.x.eval(st)
	st.line = e.line
	return st.getattr(v, e.name)
}

func (e *itemExpr) eval(st *state) Value {
	st.step()
	v, k := e.x.eval(st), e.key.eval(st)
	st.line = e.line
	return st.getitem(v, k)
}

func (e *sliceExpr) eval(st *state) Value {
	st.step()
	v := e.x.eval(st)
	var parts [3]Value
	for i, x := range [...]expr{e.from, e.to, e.step} {
		if x != nil {
			parts[i] = x.eval(st)
		}
	}
	st.line = e.line
	return st.slice(v, parts[0], parts[1], parts[2])
}

func (e *callExpr) eval(st *state) Value {
	f := e.f.eval(st)
	a := e.args.eval(st)
	st.line = e.line
	return st.call(f, a)
}

func (e *filterExpr) eval(st *state) Value {
	return e.apply(st, func() Value { return e.x.eval(st) })
}

// apply runs the filter, and the ones before it in a chain; body is what the first gets where it has no operand.
func (e *filterExpr) apply(st *state, body func() Value) Value {
	v := body()
	a := e.args.eval(st)
	st.line = e.line
	return st.filter(e.name, v, a)
}

func (e *testExpr) eval(st *state) Value {
	v := e.x.eval(st)
	a := e.args.eval(st)
	st.line = e.line
	return st.test(e.name, v, a)
}

// filter calls a filter by name.
func (st *state) filter(name string, v Value, a args) Value {
	st.step()
	f := st.filters[name]
	if f == nil {
		raise("TemplateRuntimeError", "No filter named %s found.", quote(name))
	}
	return f(st, v, a)
}

// test calls a test by name.
func (st *state) test(name string, v Value, a args) bool {
	st.step()
	f := st.tests[name]
	if f == nil {
		raise("TemplateRuntimeError", "No test named %s found.", quote(name))
	}
	return f(st, v, a)
}

// call calls a value.
func (st *state) call(f Value, a args) Value {
	st.step()
	failUndefined(f)
	switch f := f.(type) {
	case *function:
		return f.call(st, a)
	case *macro:
		return f.call(st, a)
	case *loop:
		p := a.bind("loop", "iterable")
		return f.recurse(p[0])
	case *object:
		if f.call != nil {
			return f.call(st, a)
		}
	}
	raise("TypeError", "'%s' object is not callable", typeName(f))
	return nil
}

// args are the values of a call.
type args struct {
	pos   []Value
	names []string
	kw    []Value
}

func (e *argExprs) eval(st *state) (a args) {
	if e.pos != nil {
		a.pos = st.evalAll(e.pos)
	}
	for i, x := range e.kw {
		a.names, a.kw = append(a.names, e.names[i]), append(a.kw, x.eval(st))
	}
	if e.star != nil {
		a.pos = append(a.pos, st.list(e.star.eval(st))...)
	}
	if e.starStar != nil {
		d, ok := e.starStar.eval(st).(*Dict)
		if !ok {
			raise("TypeError", "argument after ** must be a mapping")
		}
		for i, k := range d.keys {
			name, ok := text(k)
			if !ok {
				raise("TypeError", "keywords must be strings")
			}
			if _, twice := a.keyword(name); twice {
				raise("TypeError", "got multiple values for keyword argument %s", quote(name))
			}
			a.names, a.kw = append(a.names, name), append(a.kw, d.vals[i])
		}
	}
	return a
}

func (a args) keyword(name string) (Value, bool) {
	for i, n := range a.names {
		if n == name {
			return a.kw[i], true
		}
	}
	return nil, false
}

// bind gives each parameter of a builtin its value. "=" after a name: it may be missing; "/" before it: by position only.
func (a args) bind(fn string, params ...string) []Value {
	if len(a.pos) > len(params) {
		raise("TypeError", "%s() takes at most %d arguments (%d given)", fn, len(params), len(a.pos))
	}
	out, used := make([]Value, len(params)), 0
	for i, p := range params {
		name := strings.TrimPrefix(strings.TrimSuffix(p, "="), "/")
		v, byName := a.keyword(name)
		byName = byName && p[0] != '/'
		switch {
		case byName && i < len(a.pos):
			raise("TypeError", "%s() got multiple values for argument '%s'", fn, name)
		case i < len(a.pos):
			out[i] = a.pos[i]
		case byName:
			out[i] = v
		case strings.HasSuffix(p, "="):
			out[i] = missing
		default:
			raise("TypeError", "%s() missing 1 required positional argument: '%s'", fn, name)
		}
		if byName {
			used++
		}
	}
	if used < len(a.names) {
		raise("TypeError", "%s() got an unexpected keyword argument", fn)
	}
	return out
}
