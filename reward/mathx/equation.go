package mathx

import (
	"slices"
)

// relations compares equations and chains of inequalities, and takes the value out of x = 5.
func (c *comparer) relations(g, a *node) (equal, ok bool) {
	if v, ok := c.named(g, a); ok {
		return v, true
	}
	gv, gOK := assigned(g)
	av, aOK := assigned(a)
	switch {
	case gOK && aOK:
		x, y := nameOf(g), nameOf(a)
		if x == y {
			return c.equal(gv, av), true
		}
	case gOK && a.kind != kRel:
		return c.equal(gv, a), true
	case aOK && g.kind != kRel:
		return c.equal(g, av), true
	}
	if v, ok := c.trueEquation(g); ok && a.kind != kRel {
		return c.equal(v, a), true
	}
	if v, ok := c.trueEquation(a); ok && g.kind != kRel {
		return c.equal(g, v), true
	}
	if g.kind == kRel && a.kind == kRel {
		g, a = oriented(g), oriented(a)
		if len(g.args) == 2 && len(a.args) == 2 && g.ops[0] == a.ops[0] && g.ops[0] != "∈" && g.ops[0] != "≡" && c.proportional(g, a) {
			return true, true
		}
		if slices.Equal(g.ops, a.ops) && c.inOrder(g.args, a.args) {
			return true, true
		}
	}
	return false, false
}

// assigned is the value in x = value, value = x, f(x) = value, (x, y) = value, x = value = value.
func assigned(n *node) (*node, bool) {
	if n.kind != kRel || slices.ContainsFunc(n.ops, func(op string) bool { return op != "=" }) {
		return nil, false
	}
	last := len(n.args) - 1
	if nameOf(n) == "" {
		return nil, false
	}
	if isName(n.args[0]) {
		return n.args[last], true
	}
	return n.args[0], true
}

// nameOf is the name that n gives a value to, "" where it is no such equation.
func nameOf(n *node) string {
	if n.kind != kRel || n.ops[0] != "=" {
		return ""
	}
	last := len(n.args) - 1
	for _, pair := range [...][2]*node{{n.args[0], n.args[last]}, {n.args[last], n.args[0]}} {
		if !isName(pair[0]) {
			continue
		}
		for _, v := range pair[0].vars() {
			if slices.Contains(pair[1].vars(), v) {
				return ""
			}
		}
		return pair[0].String()
	}
	return ""
}

func isName(n *node) bool {
	if n.kind == kTuple {
		return !slices.ContainsFunc(n.args, func(a *node) bool { return a.kind != kSym })
	}
	if n.kind == kFn && n.s == "abs" && n.args[0].kind == kSym { // |AB|
		return len(n.args[0].s) > 1
	}
	return n.kind == kSym && n.s != "pi" && n.s != "i" || n.kind == kText
}

// trueEquation is the value of 2 + 3 = 5 or x^2 - 1 = (x - 1)(x + 1), an equation that always holds.
func (c *comparer) trueEquation(n *node) (*node, bool) {
	if n.kind != kRel || slices.ContainsFunc(n.ops, func(op string) bool { return op != "=" }) {
		return nil, false
	}
	for _, x := range n.args[1:] {
		if !c.scalars(n.args[0], x) {
			return nil, false
		}
	}
	return n.args[len(n.args)-1], true
}

// named compares lists of assignments: by name where both have them, else by value.
func (c *comparer) named(g, a *node) (equal, ok bool) {
	x, y := assignments(g), assignments(a)
	if x == nil && y == nil {
		return false, false
	}
	if x != nil && y != nil {
		if len(x) != len(y) {
			return false, true
		}
		left := slices.Clone(y)
		for _, p := range x {
			i := slices.IndexFunc(left, func(q assignment) bool { return p.name == q.name && c.equal(p.value, q.value) })
			if i < 0 {
				return false, true
			}
			left = slices.Delete(left, i, i+1)
		}
		return true, true
	}
	if x != nil {
		return c.equal(values(x, a), a), true
	}
	return c.equal(g, values(y, g)), true
}

type assignment struct {
	name  string
	value *node
}

func assignments(n *node) []assignment {
	if n.kind != kList && n.kind != kSet && n.kind != kTuple || len(n.args) < 2 {
		return nil
	}
	out := make([]assignment, 0, len(n.args))
	for _, x := range n.args {
		v, ok := assigned(x)
		switch {
		case ok:
			out = append(out, assignment{nameOf(x), v})
		case len(out) > 0 && x.kind != kRel: // x = 1, 2
			out = append(out, assignment{out[len(out)-1].name, x})
		default:
			return nil
		}
	}
	return out
}

// values drops the names: of one variable a set of values, of several the tuple in the order of the names.
func values(list []assignment, other *node) *node {
	one := !slices.ContainsFunc(list, func(p assignment) bool { return p.name != list[0].name })
	if one {
		n := mk(kList)
		for _, p := range list {
			n.args = append(n.args, p.value)
		}
		return n
	}
	list = slices.Clone(list)
	if other.kind == kTuple || other.kind == kList && len(list) <= 3 {
		slices.SortStableFunc(list, func(p, q assignment) int {
			switch {
			case p.name < q.name:
				return -1
			case p.name > q.name:
				return 1
			}
			return 0
		})
	}
	n := mk(kTuple)
	for _, p := range list {
		n.args = append(n.args, p.value)
	}
	return n
}

var flipped = map[string]string{"<": ">", ">": "<", "≤": "≥", "≥": "≤"}

// oriented turns a chain around where it runs downwards.
func oriented(n *node) *node {
	if n.ops[0] != ">" && n.ops[0] != "≥" {
		return n
	}
	out := &node{kind: kRel, args: slices.Clone(n.args)}
	slices.Reverse(out.args)
	for i := len(n.ops) - 1; i >= 0; i-- {
		op := n.ops[i]
		if f, ok := flipped[op]; ok {
			op = f
		}
		out.ops = append(out.ops, op)
	}
	return out
}

// proportional reports that the two relations' left less right sides have a constant quotient, for < and <= a positive one.
func (c *comparer) proportional(g, a *node) bool {
	f, h := difference(g), difference(a)
	vars := f.vars()
	if !slices.Equal(vars, h.vars()) {
		return false
	}
	if len(vars) == 0 {
		return c.scalars(f, h)
	}
	var ratio num
	agree := 0
	c.sample(vars, []*node{f, h}, func() (bool, bool) {
		x, y, ok := c.pair(f, h)
		if !ok || x.isZero() && y.isZero() {
			return false, true
		}
		if x.isZero() || y.isZero() {
			agree = -1
			return true, false
		}
		q, err := x.div(y)
		if err != nil {
			return false, true
		}
		if agree == 0 {
			ratio = q
		} else if !same(ratio, q, 0) {
			agree = -1
			return true, false
		}
		agree++
		return true, true
	})
	if agree < points {
		return false
	}
	s, ok := ratio.sign()
	return g.ops[0] == "=" || g.ops[0] == "≠" || ok && s > 0
}

func difference(n *node) *node { return mk(kAdd, n.args[0], mk(kNeg, n.args[1])) }
