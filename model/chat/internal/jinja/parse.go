package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// parser turns tokens into statements.
type parser struct {
	tokens []token
	at     int
	nest   int
	blocks map[string]*blockStmt
	// Uses of filters and tests that do not exist. One inside an if fails when it is reached, any other when the template is read.
	soft, hard []*Error
	loops      int            // loops open around here whose break would be this body's
	uses       map[string]int // how often caller, varargs and kwargs are read
	forDepth   int
	sym        *symbols
	frames     []*symbols
	branch     int // ifs around here within the scope
}

func (p *parser) cur() token { return p.tokens[p.at] }

func (p *parser) peek() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) take() token {
	t := p.cur()
	if t.kind != tEOF {
		p.at++
	}
	return t
}

func (p *parser) fail(line int, format string, args ...any) {
	panic(&Error{Kind: "TemplateSyntaxError", Msg: fmt.Sprintf(format, args...), Line: line})
}

func (p *parser) isName(s string) bool { return p.cur().kind == tName && p.cur().text == s }

func (p *parser) isOp(s string) bool { return p.cur().kind == tOp && p.cur().text == s }

func (p *parser) skipName(s string) bool {
	if p.isName(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) skipOp(s string) bool {
	if p.isOp(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) unexpected(want string) {
	if p.cur().kind == tEOF {
		p.fail(p.cur().line, "unexpected end of template, expected '%s'.", want)
	}
	p.fail(p.cur().line, "expected token '%s', got '%s'", want, p.cur())
}

func (p *parser) expectOp(s string) {
	if !p.skipOp(s) {
		p.unexpected(s)
	}
}

func (p *parser) expect(k kind) token {
	if p.cur().kind != k {
		want := token{kind: k}.String()
		if k == tName {
			want = "name"
		}
		p.unexpected(want)
	}
	return p.take()
}

// deeper counts constructs inside each other; the returned function leaves one.
func (p *parser) deeper() func() {
	if p.nest++; p.nest > maxNest {
		panic(&Error{Kind: limitKind, Msg: fmt.Sprintf("more than %d brackets and blocks inside each other", maxNest), Line: p.cur().line})
	}
	return func() { p.nest-- }
}

// statements reads up to a tag of the given names, whose name is left as the current token.
func (p *parser) statements(ends ...string) []stmt {
	defer p.deeper()()
	var body []stmt
	for {
		t := p.take()
		switch t.kind {
		case tEOF:
			if len(ends) > 0 {
				p.fail(t.line, "Unexpected end of template. Jinja was looking for the following tags: '%s'.", strings.Join(ends, "' or '"))
			}
			return body
		case tData:
			body = append(body, &textStmt{t.text})
		case tVarBegin:
			body = append(body, &outputStmt{p.tuple(true), t.line})
			p.expect(tVarEnd)
		case tBlockBegin:
			if p.cur().kind == tName && slices.Contains(ends, p.cur().text) {
				return body
			}
			body = append(body, p.statement())
			p.expect(tBlockEnd)
		default:
			p.fail(t.line, "unexpected %s", t)
		}
	}
}

// body reads the rest of a tag and the statements up to one of ends; a colon is allowed before the tag's end, as in Python.
func (p *parser) body(ends ...string) []stmt {
	p.skipOp(":")
	p.expect(tBlockEnd)
	return p.statements(ends...)
}

// closed is body with one possible end, which it reads over.
func (p *parser) closed(end string) []stmt {
	b := p.body(end)
	p.at++
	return b
}

// scoped runs fn over a part that is a scope of its own: what is missing in it fails even inside an if.
func (p *parser) scoped(sym *symbols, fn func()) {
	mark, outer, branch := len(p.soft), p.sym, p.branch
	p.sym, p.branch = sym, 0
	fn()
	p.sym, p.branch = outer, branch
	p.hard = append(p.hard, p.soft[mark:]...)
	p.soft = p.soft[:mark]
}

// function is scoped for a part that becomes a function: a break in it leaves no loop outside.
func (p *parser) function(sym *symbols, fn func()) {
	loops := p.loops
	p.loops = 0
	p.scoped(sym, fn)
	p.loops = loops
}

func (p *parser) statement() stmt {
	t := p.cur()
	if t.kind != tName {
		p.fail(t.line, "tag name expected")
	}
	p.at++
	switch t.text {
	case "if":
		return p.ifTag(t.line)
	case "for":
		return p.forTag(t.line)
	case "set":
		return p.setTag(t.line)
	case "macro":
		return p.macroTag(t.line)
	case "call":
		return p.callTag(t.line)
	case "generation":
		g := &generationStmt{line: t.line}
		p.signed(p.frame(&g.sig.unset), &g.sig, func() { g.body = p.closed("endgeneration") })
		return g
	case "filter":
		f := &filterBlock{filter: p.filter(nil, true), line: t.line}
		p.scoped(p.frame(&f.unset), func() { f.body = p.closed("endfilter") })
		return f
	case "with":
		return p.withTag(t.line)
	case "block":
		return p.blockTag(t.line)
	case "autoescape":
		a := &autoescapeStmt{on: p.expression(true), line: t.line}
		p.scoped(p.frame(&a.unset), func() { a.body = p.closed("endautoescape") })
		return a
	case "print":
		s := &printStmt{line: t.line}
		for p.cur().kind != tBlockEnd {
			if len(s.items) > 0 {
				p.expectOp(",")
			}
			s.items = append(s.items, p.expression(true))
		}
		return s
	case "break", "continue":
		if p.loops == 0 {
			p.fail(t.line, "'%s' outside loop", t.text)
		}
		if t.text == "break" {
			return &flowStmt{breakLoop}
		}
		return &flowStmt{continueLoop}
	case "include", "import", "extends", "from":
		for p.cur().kind != tBlockEnd && p.cur().kind != tEOF {
			p.at++
		}
		return &refusedStmt{t.text, t.line}
	}
	p.fail(t.line, "Encountered unknown tag '%s'.", t.text)
	return nil
}

func (p *parser) ifTag(line int) stmt {
	s, mark := &ifStmt{line: line}, len(p.soft)
	for {
		s.tests = append(s.tests, p.tuple(false))
		p.branch++
		s.bodies = append(s.bodies, p.body("elif", "else", "endif"))
		end := p.take().text
		if end == "else" {
			s.els = p.closed("endif")
		}
		p.branch--
		if end == "elif" {
			continue
		}
		p.soft = p.soft[:mark]
		return s
	}
}

func (p *parser) forTag(line int) stmt {
	s := &forStmt{line: line}
	p.forDepth++
	s.target = p.target(false)
	if !p.skipName("in") {
		p.unexpected("in")
	}
	s.iter = p.tuple(false)
	p.scoped(p.frame(nil), func() {
		if p.skipName("if") {
			s.test = p.expression(true)
		}
	})
	s.recursive = p.skipName("recursive")
	loops := p.loops
	if s.recursive {
		loops = 0
	}
	p.loops = loops + 1
	p.scoped(p.frame(&s.unset), func() {
		p.sym.note("loop", false)
		p.params(s.target)
		s.body = p.body("endfor", "else")
	})
	p.loops = loops
	if p.take().text == "else" {
		p.scoped(p.frame(&s.elsUnset), func() { s.els = p.closed("endfor") })
	}
	p.forDepth--
	return s
}

func (p *parser) setTag(line int) stmt {
	target := p.target(true)
	if p.skipOp("=") {
		s := &setStmt{target, p.tuple(true), line}
		p.stores(target)
		return s
	}
	p.stores(target)
	s := &setBlock{target: target, line: line}
	p.scoped(p.frame(&s.unset), func() {
		s.filter = p.filter(nil, false)
		s.body = p.closed("endset")
	})
	return s
}

func (p *parser) withTag(line int) stmt {
	s := &withStmt{line: line}
	for p.cur().kind != tBlockEnd && p.cur().kind != tEOF {
		if len(s.targets) > 0 {
			p.expectOp(",")
		}
		s.targets = append(s.targets, p.target(false))
		p.expectOp("=")
		s.values = append(s.values, p.expression(true))
	}
	p.scoped(p.frame(&s.unset), func() {
		for _, t := range s.targets {
			p.params(t)
		}
		s.body = p.closed("endwith")
	})
	return s
}

func (p *parser) blockTag(line int) stmt {
	name := p.expect(tName).text
	if p.blocks[name] != nil {
		p.fail(line, "block '%s' defined twice", name)
	}
	s := &blockStmt{scoped: p.skipName("scoped"), line: line}
	p.blocks[name] = s
	p.skipName("required")
	sym := p.frame(&s.unset)
	sym.up = nil
	p.function(sym, func() { s.body = p.closed("endblock") })
	p.skipName(name)
	return s
}

func (p *parser) macroTag(line int) stmt {
	s := &macroStmt{name: p.expect(tName).text, line: line}
	p.assignable(s.name, line)
	p.sym.note(s.name, p.branch == 0)
	sym := p.frame(&s.sig.unset)
	p.scoped(sym, func() { p.signature(&s.sig) })
	p.signed(sym, &s.sig, func() { s.body = p.closed("endmacro") })
	return s
}

func (p *parser) callTag(line int) stmt {
	s := &callBlock{line: line}
	sym := p.frame(&s.sig.unset)
	if p.isOp("(") {
		p.scoped(sym, func() { p.signature(&s.sig) })
	}
	call, ok := p.expression(true).(*callExpr)
	if !ok {
		p.fail(line, "expected call")
	}
	s.call = call
	p.signed(sym, &s.sig, func() { s.body = p.closed("endcall") })
	return s
}

// signature reads the parameters of a macro or call block.
func (p *parser) signature(sig *signature) {
	p.expectOp("(")
	for !p.isOp(")") {
		if len(sig.params) > 0 {
			p.expectOp(",")
		}
		t := p.expect(tName)
		p.assignable(t.text, t.line)
		if p.skipOp("=") {
			sig.defaults = append(sig.defaults, p.expression(true))
		} else if len(sig.defaults) > 0 {
			p.fail(t.line, "non-default argument follows default argument")
		}
		if slices.Contains(sig.params, t.text) {
			p.fail(t.line, "duplicate argument '%s' in function definition", t.text)
		}
		sig.params = append(sig.params, t.text)
		p.sym.note(t.text, false)
	}
	p.at++
}

// signed reads the body of a macro or call block, noting which special names it uses.
func (p *parser) signed(sym *symbols, sig *signature, body func()) {
	uses := p.uses
	p.uses = map[string]int{}
	p.function(sym, body)
	has := func(name string) bool { return p.uses[name] > 0 && !slices.Contains(sig.params, name) }
	sig.caller, sig.varargs, sig.kwargs = has("caller"), has("varargs"), has("kwargs")
	if i := slices.Index(sig.params, "caller"); i >= 0 && p.uses["caller"] > 0 && i < len(sig.params)-len(sig.defaults) {
		p.fail(p.cur().line, "the special \"caller\" argument must be omitted or be given a default.")
	}
	for name, n := range p.uses {
		uses[name] += n
	}
	p.uses = uses
}

// assignable fails for a name that cannot be set.
func (p *parser) assignable(name string, line int) {
	switch name {
	case "true", "false", "none", "True", "False", "None":
		p.fail(line, "can't assign to 'const'")
	case "loop":
		if p.forDepth > 0 {
			p.fail(line, "Can't assign to special loop variable in for-loop")
		}
	}
}

// target reads what a set, for or with assigns to: names, tuples of them, and with ns namespace.attribute.
func (p *parser) target(ns bool) expr {
	line := p.cur().line
	var items []expr
	tuple := false
	for {
		if len(items) > 0 {
			if !p.isOp(",") {
				break
			}
			tuple = true
			p.at++
		}
		if p.tupleEnd() {
			break
		}
		items = append(items, p.targetItem(ns))
	}
	if len(items) == 0 {
		p.fail(line, "Expected an expression, got '%s'", p.cur())
	}
	if !tuple {
		return items[0]
	}
	return &tupleExpr{items}
}

func (p *parser) targetItem(ns bool) expr {
	defer p.deeper()()
	t := p.take()
	switch {
	case t.kind == tName:
		if ns && p.skipOp(".") {
			return &nsTarget{t.text, p.expect(tName).text}
		}
		p.assignable(t.text, t.line)
		return &nameExpr{t.text, t.line}
	case t.kind == tOp && t.text == "(":
		x := p.target(false)
		p.expectOp(")")
		return x
	case t.kind == tOp && (t.text == "[" || t.text == "{"):
		p.fail(t.line, "can't assign to a literal")
	case t.kind == tString || t.kind == tInt || t.kind == tFloat:
		p.fail(t.line, "can't assign to 'const'")
	}
	p.fail(t.line, "unexpected '%s'", t)
	return nil
}

func (*nsTarget) eval(*state) Value { panic("jinja: a namespace target is not an expression") }

// tupleEnd tells that a tuple without brackets ends here. As in Jinja, "in" does not end one: "for x, in y" is an error.
func (p *parser) tupleEnd() bool {
	k := p.cur().kind
	return k == tVarEnd || k == tBlockEnd || p.isOp(")")
}

// missing notes a filter or test that does not exist.
func (p *parser) missing(what, name string, line int) {
	p.soft = append(p.soft, &Error{Kind: "TemplateAssertionError", Msg: fmt.Sprintf("No %s named %s.", what, quote(name)), Line: line})
}
