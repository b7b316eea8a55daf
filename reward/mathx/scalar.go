package mathx

import (
	"errors"
	"math/big"
	"slices"
	"strings"
)

// points is how many points two expressions in variables must agree at.
const points = 5

// scalars compares two expressions: constants by value, others at pseudo-random points. A logarithm without a base is read
// to base 10, and where that makes a difference as the natural one.
func (c *comparer) scalars(g, a *node) bool {
	if c.scalarsAs(g, a, false) {
		return true
	}
	log := func(n *node) bool { return n.kind == kFn && n.s == "log" }
	return (g.any(log) || a.any(log)) && c.scalarsAs(g, a, true)
}

func (c *comparer) scalarsAs(g, a *node, natural bool) bool {
	c.m.natural = natural
	if x, y := infinite(g), infinite(a); x != 0 || y != 0 {
		return x == y
	}
	if v, ok := c.numerals(g, a); ok {
		return v
	}
	vars := slices.Compact(slices.Sorted(slices.Values(append(g.vars(), a.vars()...))))
	if len(vars) == 0 {
		c.m.vars, c.m.realOnly = nil, false
		x, err := c.m.eval(g)
		if err != nil {
			c.note(err)
			return false
		}
		y, err := c.m.eval(a)
		if err != nil {
			c.note(err)
			return false
		}
		return same(x, y, c.policy.Tolerance)
	}
	agree := 0
	c.sample(vars, []*node{g, a}, func() (bool, bool) {
		x, y, ok := c.pair(g, a)
		if !ok {
			return false, true
		}
		if !same(x, y, c.policy.Tolerance) {
			agree = -1
			return true, false
		}
		agree++
		return true, true
	})
	return agree >= points
}

// numerals compares a numeral in a base with a plain number: the base may be left out, but the number must not be left in, or
// brought to, base ten. Two numerals with bases are compared by value.
func (c *comparer) numerals(g, a *node) (equal, ok bool) {
	x, negX := magnitude(g)
	y, negY := magnitude(a)
	if (x.kind == kBased) == (y.kind == kBased) || len(x.vars())+len(y.vars()) > 0 {
		return false, false
	}
	if x.kind != kBased {
		x, y = y, x
	}
	return negX == negY && y.kind == kNum && y.q.RatString() == strings.TrimLeft(x.s, "0"), true
}

// magnitude takes the sign off a number.
func magnitude(n *node) (m *node, negative bool) {
	switch {
	case n.kind == kNeg:
		return n.args[0], true
	case n.kind == kNum && n.q.Sign() < 0:
		return ratNode(new(big.Rat).Neg(n.q)), true
	}
	return n, false
}

// pair evaluates both; ok is false where one is undefined at this point.
func (c *comparer) pair(g, a *node) (x, y num, ok bool) {
	x, err := c.m.eval(g)
	if err == nil {
		y, err = c.m.eval(a)
	}
	c.note(err)
	return x, y, err == nil
}

// sample sets the variables to pseudo-random points until f, which reports whether the point counts and whether to go on,
// has had enough of them. Points are real; where too few count, values may be complex.
func (c *comparer) sample(vars []string, nodes []*node, f func() (counts, more bool)) {
	whole := slices.ContainsFunc(nodes, func(n *node) bool { return n.any(needsIntegers) })
	imaginary := slices.ContainsFunc(nodes, func(n *node) bool {
		return n.any(func(n *node) bool { return n.kind == kSym && n.s == "i" })
	})
	counted := 0
	for _, realOnly := range [...]bool{true, false} {
		if realOnly && imaginary {
			continue
		}
		for try := range 24 {
			c.m.vars, c.m.realOnly = make(map[string]num, len(vars)), realOnly
			for _, v := range vars {
				c.m.vars[v] = num{q: point(c.policy.Seed, v, try, whole)}
			}
			counts, more := f()
			if !more || c.m.left == 0 {
				return
			}
			if counted += b2i(counts); counted >= points {
				return
			}
		}
	}
}

// needsIntegers reports operations that are defined for whole numbers only.
func needsIntegers(n *node) bool {
	if n.kind == kFn && (n.s == "factorial" || n.s == "binom" || n.s == "gcd" || n.s == "lcm") {
		return len(n.vars()) > 0
	}
	return n.kind == kSum && (len(n.args[2].vars()) > 0 || len(n.args[3].vars()) > 0)
}

// point is the value of a variable at a try: fractions of both signs, then positive ones, small ones and whole numbers in turn,
// so that expressions with a small domain get points too.
func point(seed uint64, name string, try int, whole bool) *big.Rat {
	h := seed ^ 0xcbf29ce484222325
	for _, b := range []byte(name) {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h += uint64(try+1) * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	r := int64((h ^ h>>31) >> 33)
	if whole {
		return big.NewRat(2+(r+int64(try))%11, 1)
	}
	switch try % 6 {
	case 0, 2:
		return big.NewRat(r%97-48, 7+4*(r/97%3))
	case 1, 4:
		return big.NewRat(1+r%130, 13)
	case 3:
		return big.NewRat(1+r%96, 97)
	}
	return big.NewRat(2+r%11, 1)
}

// infinite is 1 or -1 for the infinities, else 0.
func infinite(n *node) int {
	switch {
	case n.kind == kInf:
		return 1
	case n.kind == kNeg:
		return -infinite(n.args[0])
	}
	return 0
}

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

// constant evaluates n without variables.
func (c *comparer) constant(n *node) (num, error) {
	if len(n.vars()) > 0 {
		return num{}, errNotScalar
	}
	c.m.vars, c.m.realOnly = nil, false
	v, err := c.m.eval(n)
	if err == nil && !v.isReal() {
		err = errors.New("is not real")
	}
	return v, err
}
