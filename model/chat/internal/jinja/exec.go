package jinja

// run executes statements until one breaks or continues a loop.
func (st *state) run(body []stmt) flow {
	for _, s := range body {
		st.step()
		if f := s.exec(st); f != next {
			return f
		}
	}
	return next
}

// inner executes statements in a scope of their own.
func (st *state) inner(s *scope, body []stmt) flow {
	old := st.scope
	st.scope = s
	f := st.run(body)
	st.scope = old
	return f
}

func (s *textStmt) exec(st *state) flow {
	st.write(s.text)
	return next
}

func (s *outputStmt) exec(st *state) flow {
	st.line = s.line
	st.write(st.str(s.x.eval(st)))
	return next
}

func (s *printStmt) exec(st *state) flow {
	st.line = s.line
	for _, x := range s.items {
		st.write(st.str(x.eval(st)))
	}
	return next
}

func (s *ifStmt) exec(st *state) flow {
	st.line = s.line
	for i, t := range s.tests {
		st.step()
		if truth(t.eval(st)) {
			return st.run(s.bodies[i])
		}
	}
	return st.run(s.els)
}

func (s *flowStmt) exec(*state) flow { return s.f }

func (s *refusedStmt) exec(st *state) flow {
	st.line = s.line
	raise("TypeError", "no loader for this environment specified: {%% %s %%} is not supported", s.what)
	return next
}

// assign gives a target a value in the present scope.
func (st *state) assign(target expr, v Value) {
	switch t := target.(type) {
	case *nameExpr:
		st.scope.set(t.name, v)
	case *nsTarget:
		ns, _ := st.scope.get(t.name)
		n, ok := ns.(*namespace)
		if !ok {
			raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object")
		}
		st.charge(64)
		n.vars.Set(t.attr, v)
	case *tupleExpr:
		st.unpack(t.items, v)
	}
}

func (st *state) unpack(targets []expr, v Value) {
	switch v.(type) {
	case nil, bool, int64, float64:
		raise("TypeError", "cannot unpack non-iterable %s object", typeName(v))
	}
	items := st.list(v)
	if len(items) < len(targets) {
		raise("ValueError", "not enough values to unpack (expected %d, got %d)", len(targets), len(items))
	}
	if len(items) > len(targets) {
		raise("ValueError", "too many values to unpack (expected %d)", len(targets))
	}
	for i, t := range targets {
		st.assign(t, items[i])
	}
}

func (s *setStmt) exec(st *state) flow {
	st.line = s.line
	v := s.x.eval(st)
	st.line = s.line
	st.assign(s.target, v)
	return next
}

func (s *setBlock) exec(st *state) flow {
	st.line = s.line
	v, f := st.body(s.filter, s.body, s.unset)
	if f != next {
		return f
	}
	st.assign(s.target, v)
	return next
}

// body renders statements and passes the text through filters, which may be nil.
func (st *state) body(filter expr, body []stmt, unset []string) (v Value, f flow) {
	s := newScope(st.scope, unset)
	v = st.capture(s, func() { f = st.run(body) })
	if filter == nil || f != next {
		return v, f
	}
	old := st.scope
	st.scope = s
	v = filter.(*filterExpr).chain(st, v)
	st.scope = old
	return v, f
}

// chain applies filters that stand at the head of a block to its text.
func (e *filterExpr) chain(st *state, v Value) Value {
	return e.apply(st, func() Value {
		if e.x == nil {
			return v
		}
		return e.x.(*filterExpr).chain(st, v)
	})
}

func (s *filterBlock) exec(st *state) flow {
	st.line = s.line
	v, f := st.body(s.filter, s.body, s.unset)
	if f == next {
		st.write(st.str(v))
	}
	return f
}

func (s *withStmt) exec(st *state) flow {
	st.line = s.line
	in, outer := newScope(st.scope, s.unset), st.scope
	for i, t := range s.targets {
		v := s.values[i].eval(st)
		st.scope = in
		st.assign(t, v)
		st.scope = outer
	}
	return st.inner(in, s.body)
}

func (s *generationStmt) exec(st *state) flow {
	st.line = s.line
	made := (&macro{"", &s.sig, s.body, st.scope}).call(st, args{}).(string)
	at := st.main.length()
	st.marks = append(st.marks, [2]int{at, at + length(made)})
	st.write(made)
	return next
}

func (s *blockStmt) exec(st *state) flow {
	up := st.root
	if s.scoped {
		up = st.scope
	}
	st.inner(newScope(up, s.unset), s.body)
	return next
}

func (s *autoescapeStmt) exec(st *state) flow {
	st.line = s.line
	if truth(s.on.eval(st)) {
		raise("TemplateRuntimeError", "autoescape is not supported")
	}
	return st.inner(newScope(st.scope, s.unset), s.body)
}

// loop is the loop variable of a for.
type loop struct {
	st      *state
	stmt    *forStmt
	outer   *scope
	src     Value
	next    func() (Value, bool)
	index0  int
	depth0  int
	size    int     // -1: not known yet
	ahead   []Value // read and not yet given out
	current Value
	before  Value
	changed Value
}

func (s *forStmt) exec(st *state) flow {
	st.line = s.line
	src := s.iter.eval(st)
	st.line = s.line
	if s.recursive {
		l := &loop{st: st, stmt: s, outer: st.scope, depth0: -1}
		st.write(l.recurse(src).(string))
		return next
	}
	s.each(st, src, st.scope, 0)
	return next
}

// each runs the loop's body for the items of src.
func (s *forStmt) each(st *state, src Value, outer *scope, depth int) {
	l := &loop{st: st, stmt: s, outer: outer, src: src, next: st.iterate(src), index0: -1, depth0: depth, size: -1, changed: missing}
	if s.test != nil {
		l.next, l.src = s.filtered(st, l.next, outer), nil
	}
	if st.depth++; st.depth > st.limits.Depth {
		raise(limitKind, "more than %d loops and macros inside each other", st.limits.Depth)
	}
	old := st.scope
	// A body that is broken off or continued does not count: Jinja's else runs if none came to its end.
	finished := false
	for l.advance() {
		st.work(4) // a scope
		st.scope = newScope(outer, s.unset)
		st.scope.set("loop", l)
		st.line = s.line
		st.assign(s.target, l.current)
		f := st.run(s.body)
		if f == breakLoop {
			break
		}
		finished = finished || f == next
	}
	st.scope = old
	if !finished && s.els != nil {
		st.inner(newScope(outer, s.elsUnset), s.els)
	}
	st.depth--
}

// filtered leaves out items for which the loop's condition is false.
func (s *forStmt) filtered(st *state, items func() (Value, bool), outer *scope) func() (Value, bool) {
	return func() (Value, bool) {
		for {
			v, ok := items()
			if !ok {
				return nil, false
			}
			old := st.scope
			st.scope = &scope{up: outer}
			st.assign(s.target, v)
			keep := truth(s.test.eval(st))
			st.scope = old
			if keep {
				return v, true
			}
		}
	}
}

func (l *loop) advance() bool {
	v, ok := l.peek()
	if !ok {
		return false
	}
	l.ahead = l.ahead[1:]
	l.index0++
	l.before, l.current = l.current, v
	return true
}

func (l *loop) peek() (Value, bool) {
	if len(l.ahead) == 0 {
		v, ok := l.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true
}

// length is the number of items; a source that does not know it is read to its end.
func (l *loop) length() int {
	if l.size >= 0 {
		return l.size
	}
	if n, ok := l.st.len(l.src); ok && l.src != nil {
		l.size = n
		return n
	}
	for v, ok := l.next(); ok; v, ok = l.next() {
		l.st.charge(16)
		l.ahead = append(l.ahead, v)
	}
	l.size = l.index0 + 1 + len(l.ahead)
	return l.size
}

// recurse renders the loop for other items, one level deeper.
func (l *loop) recurse(items Value) Value {
	if !l.stmt.recursive {
		raise("TypeError", "The loop must have the 'recursive' marker to be called recursively.")
	}
	return l.st.capture(l.outer, func() { l.stmt.each(l.st, items, l.outer, l.depth0+1) })
}

func (l *loop) attr(name string) (Value, bool) {
	switch name {
	case "index":
		return int64(l.index0 + 1), true
	case "index0":
		return int64(l.index0), true
	case "first":
		return l.index0 == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "length":
		return int64(l.length()), true
	case "revindex":
		return int64(l.length() - l.index0), true
	case "revindex0":
		return int64(l.length() - l.index0 - 1), true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "previtem":
		if l.index0 == 0 {
			return &undefined{hint: "there is no previous item", kind: undefinedError}, true
		}
		return l.before, true
	case "nextitem":
		if v, ok := l.peek(); ok {
			return v, true
		}
		return &undefined{hint: "there is no next item", kind: undefinedError}, true
	case "cycle":
		return &function{name, func(_ *state, a args) Value {
			if len(a.pos) == 0 {
				raise("TypeError", "no items for cycling given")
			}
			return a.pos[l.index0%len(a.pos)]
		}}, true
	case "changed":
		return &function{name, func(st *state, a args) Value {
			now := &Tuple{Items: a.pos}
			if l.changed != missing && st.equal(l.changed, now) {
				return false
			}
			l.changed = now
			return true
		}}, true
	}
	return nil, false
}

// macro is a macro, or the body of a call block.
type macro struct {
	name  string
	sig   *signature
	body  []stmt
	scope *scope // where it was defined
}

func (s *macroStmt) exec(st *state) flow {
	st.scope.set(s.name, &macro{s.name, &s.sig, s.body, st.scope})
	return next
}

func (s *callBlock) exec(st *state) flow {
	st.line = s.line
	f := s.call.f.eval(st)
	a := s.call.args.eval(st)
	a.names, a.kw = append(a.names, "caller"), append(a.kw, &macro{"", &s.sig, s.body, st.scope})
	st.line = s.line
	st.write(st.str(st.call(f, a)))
	return next
}

func (m *macro) attr(name string) (Value, bool) {
	switch name {
	case "name":
		return m.name, true
	case "caller":
		return m.sig.caller, true
	case "catch_kwargs":
		return m.sig.kwargs, true
	case "catch_varargs":
		return m.sig.varargs, true
	case "arguments":
		t := &Tuple{}
		for _, p := range m.sig.params {
			t.Items = append(t.Items, p)
		}
		return t, true
	}
	return nil, false
}

// call renders the macro's body with arguments.
func (m *macro) call(st *state, a args) Value {
	s, sig := newScope(m.scope, m.sig.unset), m.sig
	given, taken := make([]Value, len(sig.params)), map[string]bool{}
	for i, p := range sig.params {
		given[i] = missing
		if i < len(a.pos) {
			given[i] = a.pos[i]
		} else if v, ok := a.keyword(p); ok {
			given[i], taken[p] = v, true
		}
	}
	if sig.caller {
		c, ok := a.keyword("caller")
		if taken["caller"] = true; !ok || c == nil {
			c = &undefined{hint: "No caller defined", kind: undefinedError}
		}
		s.set("caller", c)
	}
	kwargs := &Dict{}
	for i, n := range a.names {
		if !taken[n] {
			kwargs.Set(n, a.kw[i])
		}
	}
	if sig.kwargs {
		s.set("kwargs", kwargs)
	} else if kwargs.Len() > 0 {
		if _, ok := kwargs.Get("caller"); ok {
			raise("TypeError", "macro %s was invoked with two values for the special caller argument. This is most likely a bug.", quote(m.name))
		}
		raise("TypeError", "macro %s takes no keyword argument %s", quote(m.name), quote(kwargs.keys[0].(string)))
	}
	rest := a.pos[min(len(a.pos), len(sig.params)):]
	if sig.varargs {
		s.set("varargs", &Tuple{Items: rest})
	} else if len(rest) > 0 {
		raise("TypeError", "macro %s takes not more than %d argument(s)", quote(m.name), len(sig.params))
	}
	return st.capture(s, func() {
		for i, p := range sig.params {
			v := given[i]
			if d := i - len(sig.params) + len(sig.defaults); v == missing && d >= 0 {
				v = sig.defaults[d].eval(st)
			} else if v == missing {
				v = &undefined{hint: "parameter " + quote(p) + " was not provided", name: p, kind: undefinedError}
			}
			s.set(p, v)
		}
		st.run(m.body)
	})
}
