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
