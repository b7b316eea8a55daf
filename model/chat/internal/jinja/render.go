package jinja

import (
	"slices"
	"time"
	"unicode/utf8"
)

// Template is a template that was read. It may be rendered by several goroutines at once.
type Template struct {
	body   []stmt
	blocks map[string]*blockStmt
	unset  []string // names undefined at the start
}

// Parse reads a template. Its error is an *Error with the line.
func Parse(src string) (t *Template, err error) {
	if len(src) > maxSource {
		return nil, &Error{Kind: limitKind, Msg: "a template of more than 256 KiB"}
	}
	if !utf8.ValidString(src) {
		return nil, &Error{Kind: "TemplateSyntaxError", Msg: "a template that is not UTF-8"}
	}
	p := &parser{blocks: map[string]*blockStmt{}, uses: map[string]int{}}
	defer rescue(&err, func() int { return 0 })
	p.tokens = lex(src)
	t = &Template{}
	p.sym = p.frame(&t.unset)
	t.body, t.blocks = p.statements(), p.blocks
	p.resolve()
	for _, e := range append(p.hard, p.soft...) {
		return nil, e
	}
	return t, nil
}

// Result is a rendered text with the byte ranges that {% generation %} blocks made, inner ones before outer ones.
type Result struct {
	Text  string
	Spans [][2]int
}

// Options are what a render needs beside its variables.
type Options struct {
	Now    time.Time // what strftime_now writes
	Limits Limits
}

// Render renders the template with variables. Its error is an *Error with the line.
func (t *Template) Render(vars *Dict, o Options) (r Result, err error) {
	st := &state{limits: o.Limits.withDefaults(), now: o.Now, filters: filters, tests: tests, blocks: t.blocks}
	defer rescue(&err, func() int { return st.line })
	given := &scope{up: &scope{base: st.globals()}, base: map[string]Value{}}
	for i, k := range vars.keys {
		given.base[k.(string)] = vars.vals[i]
	}
	st.root = newScope(given, t.unset)
	st.scope = st.root
	st.main = &buffer{}
	st.out = st.main
	st.run(t.body)
	r.Text = string(st.out.b)
	r.Spans = st.spans(r.Text)
	return r, nil
}

// state is one render.
type state struct {
	scope, root *scope
	out, main   *buffer
	line        int
	steps       int
	bytes       int
	depth       int // macros and loops
	nest        int // values
	limits      Limits
	now         time.Time
	marks       [][2]int // spans in characters
	filters     map[string]filterFunc
	tests       map[string]testFunc
	blocks      map[string]*blockStmt
}

type buffer struct {
	b     []byte
	bytes int // counted so far, for chars
	chars int
}

// length is the number of characters written.
func (b *buffer) length() int {
	b.chars += utf8.RuneCount(b.b[b.bytes:])
	b.bytes = len(b.b)
	return b.chars
}

// scope holds the names that a template sets. Scopes are small and made for each round of a loop: names are searched one by one.
type scope struct {
	vars []binding
	base map[string]Value // of the outermost scopes, whose names are given
	up   *scope
}

type binding struct {
	name string
	v    Value
}

// newScope makes a scope with names that are undefined in it until they are set.
func newScope(up *scope, unset []string) *scope {
	s := &scope{up: up, vars: make([]binding, 0, 4+len(unset))}
	for _, name := range unset {
		s.vars = append(s.vars, binding{name, missing})
	}
	return s
}

func (s *scope) set(name string, v Value) {
	for i := range s.vars {
		if s.vars[i].name == name {
			s.vars[i].v = v
			return
		}
	}
	s.vars = append(s.vars, binding{name, v})
}

func (s *scope) get(name string) (Value, bool) {
	for ; s != nil; s = s.up {
		for i := range s.vars {
			if s.vars[i].name == name {
				return s.vars[i].v, s.vars[i].v != missing
			}
		}
		if v, ok := s.base[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (st *state) step() {
	if st.steps++; st.steps > st.limits.Steps {
		raise(limitKind, "the template takes more than %d steps", st.limits.Steps)
	}
}

// work counts what costs as much as n steps.
func (st *state) work(n int) {
	st.steps += n
	st.step()
}

// charge counts bytes that are made, before they are.
func (st *state) charge(n int) {
	if st.bytes += n; st.bytes > st.limits.Bytes || n < 0 {
		raise(limitKind, "the template makes more than %d bytes", st.limits.Bytes)
	}
}

// deeper counts values inside each other; the returned function leaves one.
func (st *state) deeper() func() {
	if st.nest++; st.nest > 2*maxNest {
		raise("RecursionError", "maximum recursion depth exceeded")
	}
	return func() { st.nest-- }
}

func (st *state) write(s string) {
	st.charge(len(s))
	if len(st.out.b)+len(s) > st.limits.Output {
		raise(limitKind, "a text of more than %d bytes", st.limits.Output)
	}
	st.out.b = append(st.out.b, s...)
}

// capture runs fn in an inner scope and returns what it writes.
func (st *state) capture(s *scope, fn func()) string {
	out, old := st.out, st.scope
	st.work(5)
	if st.depth++; st.depth > st.limits.Depth {
		raise(limitKind, "more than %d macros and blocks inside each other", st.limits.Depth)
	}
	st.out, st.scope = &buffer{}, s
	fn()
	made := string(st.out.b)
	st.out, st.scope = out, old
	st.depth--
	return made
}

// spans turns marks in characters into ranges of bytes of the text, in one pass over it.
func (st *state) spans(text string) [][2]int {
	at := make([]*int, 0, 2*len(st.marks))
	for i := range st.marks {
		at = append(at, &st.marks[i][0], &st.marks[i][1])
	}
	slices.SortFunc(at, func(a, b *int) int { return *a - *b })
	chars := 0
	for i := range text {
		for len(at) > 0 && *at[0] == chars {
			*at[0], at = i, at[1:]
		}
		chars++
	}
	for _, p := range at { // a block whose text was put elsewhere may reach over the end
		*p = len(text)
	}
	return st.marks
}
