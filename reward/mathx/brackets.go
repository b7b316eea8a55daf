package mathx

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func isCloser(t *token) bool { return t.is(")") || t.is("]") || t.kind == tEnd }

// inside runs f with the state of brackets put aside.
func (p *parser) inside(builder bool, f func() ([]*node, error)) ([]*node, error) {
	bars, was := p.bars, p.builder
	p.bars, p.builder = 0, builder
	items, err := f()
	p.bars, p.builder = bars, was
	return items, err
}

// brackets reads (a), (a, b), [a, b): a group, a tuple or an interval.
func (p *parser) brackets(open string) (*node, error) {
	items, err := p.inside(false, func() ([]*node, error) { return p.items(isCloser) })
	if err != nil {
		return nil, err
	}
	end := p.next()
	if end.kind == tEnd && len(p.toks) > 1 && open == "[" {
		return nil, errors.New("a bracket is not closed")
	}
	switch {
	case len(items) == 0:
		return nil, errors.New("empty brackets")
	case len(items) == 1 && (open == "(") == (end.s != "]"):
		n := *items[0]
		n.paren = true
		return &n, nil
	case len(items) == 2 && !(open == "(" && end.s != "]"):
		return &node{kind: kInterval, args: items, lo: open == "[", hi: end.s == "]"}, nil
	case len(items) >= 2 && (open == "(") == (end.s != "]"):
		return mk(kTuple, items...), nil
	}
	return nil, errors.New("brackets do not match")
}

// french reads ]a, b[.
func (p *parser) french() (*node, error) {
	items, err := p.inside(false, func() ([]*node, error) {
		return p.items(func(t *token) bool { return t.is("]") || t.is("[") || t.kind == tEnd })
	})
	if err != nil {
		return nil, err
	}
	end := p.next()
	if len(items) != 2 || end.kind == tEnd {
		return nil, errors.New("brackets do not match")
	}
	return &node{kind: kInterval, args: items, hi: end.s == "]"}, nil
}

// group reads {...}: one expression, a over b, or a set in plain braces.
func (p *parser) group() (*node, error) {
	closes := func(t *token) bool {
		return t.is("}") || t.kind == tCmd && (t.s == "over" || t.s == "choose") || t.kind == tEnd
	}
	items, err := p.inside(false, func() ([]*node, error) { return p.items(closes) })
	if err != nil {
		return nil, err
	}
	end := p.next()
	if end.kind == tCmd && len(items) == 1 {
		lower, err := p.inside(false, func() ([]*node, error) { return p.items(closes) })
		if err != nil {
			return nil, err
		}
		if p.next(); len(lower) != 1 {
			return nil, errors.New("\\over without a denominator")
		}
		if end.s == "choose" {
			return fn("binom", items[0], lower[0]), nil
		}
		n := mk(kDiv, items[0], lower[0])
		n.paren = true
		return n, nil
	}
	switch len(items) {
	case 0:
		if p.i == 2 && p.peek().kind == tEnd { // {} alone is the empty set
			return mk(kSet), nil
		}
		return nil, errors.New("empty braces")
	case 1:
		n := *items[0]
		n.paren = true
		return &n, nil
	}
	return &node{kind: kSet, args: items, s: "{"}, nil
}

// set reads what follows \{: elements, or a variable and its condition.
func (p *parser) set() (*node, error) {
	divides := func(t *token) bool { return t.is("|") || t.is(":") }
	items, err := p.inside(true, func() ([]*node, error) {
		return p.items(func(t *token) bool { return t.is("\\}") || t.is("}") || divides(t) || t.kind == tEnd })
	})
	if err != nil {
		return nil, err
	}
	if !divides(p.peek()) {
		p.next()
		return mk(kSet, items...), nil
	}
	p.next()
	conditions, err := p.inside(false, func() ([]*node, error) {
		return p.items(func(t *token) bool { return t.is("\\}") || t.is("}") || t.kind == tEnd })
	})
	if err != nil {
		return nil, err
	}
	p.next()
	if len(items) != 1 || len(conditions) == 0 {
		return nil, errors.New("cannot read the set's condition")
	}
	v := items[0]
	if v.kind == kRel && v.args[0].kind == kSym { // x in R
		v = v.args[0]
	}
	if len(conditions) == 1 {
		return mk(kBuilder, v, conditions[0]), nil
	}
	return mk(kBuilder, v, &node{kind: kList, args: conditions, s: p.joint}), nil
}

func (p *parser) bar(open string) (*node, error) {
	end := "|"
	bars := p.bars
	if open == "|(" {
		end, p.bars = ")|", 0
	} else {
		p.bars++
	}
	n, err := p.expr(0)
	p.bars = bars
	if err != nil {
		return nil, err
	}
	if !p.accept(end) && !p.accept("|") && !p.accept(")|") {
		return nil, p.unexpected()
	}
	if n.kind == kMatrix {
		return fn("det", n), nil
	}
	return fn("abs", n), nil
}

func (p *parser) fenced(open string) (*node, error) {
	n, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	end := p.next()
	if want := "r" + open[1:]; end.kind != tCmd || end.s != want {
		return nil, fmt.Errorf("\\%s without \\%s", open, want)
	}
	return fn(map[string]string{"lfloor": "floor", "lceil": "ceil", "lvert": "abs"}[open], n), nil
}

func (p *parser) angled() (*node, error) {
	items, err := p.inside(false, func() ([]*node, error) {
		return p.items(func(t *token) bool { return t.kind == tCmd && t.s == "rangle" || t.is(">") || t.kind == tEnd })
	})
	if err != nil {
		return nil, err
	}
	if p.next(); len(items) < 2 {
		return nil, errors.New("cannot read \\langle")
	}
	return mk(kTuple, items...), nil
}

// environment reads a matrix or an array.
func (p *parser) environment() (*node, error) {
	name, err := p.envName()
	if err != nil {
		return nil, err
	}
	switch name {
	case "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "matrix", "smallmatrix":
	case "cases", "aligned", "align", "gathered", "align*":
	case "array":
		if p.peek().is("{") { // the columns
			for t := p.next(); !t.is("}") && t.kind != tEnd; t = p.next() {
			}
		}
	default:
		return nil, fmt.Errorf("unknown environment %.20q", name)
	}
	n, err := p.rows()
	if err != nil {
		return nil, err
	}
	if end, err := p.envName(); err != nil || end != name {
		return nil, fmt.Errorf("\\begin{%.20s} without \\end", name)
	}
	switch {
	case name == "vmatrix":
		return fn("det", n), nil
	case n.rows == len(n.args) && !slices.ContainsFunc(n.args, func(a *node) bool { return a.kind != kRel }):
		return mk(kList, n.args...), nil // a system of equations
	case strings.Contains(name, "a") && !strings.Contains(name, "matrix") && name != "array":
		return nil, fmt.Errorf("environment %q holds no system", name)
	}
	return n, nil
}

func (p *parser) envName() (string, error) {
	if !p.accept("{") {
		return "", p.unexpected()
	}
	var name strings.Builder
	for t := p.next(); !t.is("}"); t = p.next() {
		if t.kind == tEnd {
			return "", p.unexpected()
		}
		name.WriteString(t.s)
	}
	return name.String(), nil
}

// rows reads cells up to \end, which is taken.
func (p *parser) rows() (*node, error) {
	n := &node{kind: kMatrix}
	cols, width := -1, 0
	for {
		t := p.peek()
		switch {
		case t.kind == tEnd:
			return nil, p.unexpected()
		case t.is("&"):
			p.i++
			continue
		case t.is("\\\\"), t.kind == tCmd && t.s == "end":
			p.i++
			if width > 0 {
				if cols >= 0 && width != cols {
					return nil, errors.New("the rows of the matrix differ in length")
				}
				cols, width = width, 0
				n.rows++
			}
			if t.kind == tCmd {
				if n.rows == 0 {
					return nil, errors.New("an empty matrix")
				}
				return n, nil
			}
			continue
		}
		items, err := p.inside(false, func() ([]*node, error) {
			c, err := p.relation()
			return []*node{c}, err
		})
		if err != nil {
			return nil, err
		}
		if t := p.peek(); !t.is("&") && !t.is("\\\\") && !(t.kind == tCmd && t.s == "end") {
			return nil, p.unexpected()
		}
		n.args = append(n.args, items[0])
		width++
	}
}
