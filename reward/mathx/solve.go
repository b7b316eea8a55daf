package mathx

import (
	"slices"
)

func (c *comparer) solve(left *node, op string, right *node) (realSet, bool) {
	if (infinite(left) < 0 || infinite(right) > 0) && op == "<" {
		return allReals, true
	}
	f := mk(kAdd, left, mk(kNeg, right))
	vars := f.vars()
	if len(vars) != 1 {
		return noReals, false
	}
	if !polynomialForm(f) {
		return noReals, false
	}
	k, ok := c.polynomial(f, vars[0])
	if !ok {
		return noReals, false
	}
	roots, ok := quadraticRoots(k)
	if !ok {
		return noReals, false
	}
	// The sign of k[0] + k[1] x + k[2] x^2 to the right of all roots, and its changes at each of them.
	sign, _ := k[2].sign()
	if sign == 0 {
		sign, _ = k[1].sign()
	}
	if sign == 0 {
		return noReals, false
	}
	s := realSet{at: roots, between: make([]bool, len(roots)+1)}
	double := false
	if len(roots) == 1 {
		d, _ := k[2].sign()
		double = d != 0
	}
	for i := len(roots); i >= 0; i-- {
		s.between[i] = holds(sign, op)
		if i > 0 {
			s.on = append(s.on, holds(0, op))
			if !double {
				sign = -sign
			}
		}
	}
	return s, true
}

func holds(sign int, op string) bool {
	switch op {
	case "<":
		return sign < 0
	case "≤":
		return sign <= 0
	case ">":
		return sign > 0
	case "≥":
		return sign >= 0
	case "=":
		return sign == 0
	case "≠":
		return sign != 0
	}
	return false
}

// polynomialForm reports an expression that is a polynomial in its variables as it is written.
func polynomialForm(n *node) bool {
	if len(n.vars()) == 0 {
		return true
	}
	switch n.kind {
	case kSym:
		return true
	case kAdd, kMul, kNeg:
		return !slices.ContainsFunc(n.args, func(a *node) bool { return !polynomialForm(a) })
	case kDiv:
		return polynomialForm(n.args[0]) && len(n.args[1].vars()) == 0
	case kPow:
		return polynomialForm(n.args[0]) && n.args[1].kind == kNum && n.args[1].q.IsInt() && n.args[1].q.Sign() > 0
	}
	return false
}

// polynomial returns the coefficients of f in one variable where it is a polynomial of degree at most 2.
func (c *comparer) polynomial(f *node, v string) (k [3]num, ok bool) {
	at := func(x int64) (num, bool) {
		c.m.vars, c.m.realOnly = map[string]num{v: intNum(x)}, true
		y, err := c.m.eval(f)
		return y, err == nil && y.isReal()
	}
	var y [7]num
	for i := range y {
		var fine bool
		if y[i], fine = at(int64(i) - 3); !fine {
			return k, false
		}
	}
	half := func(a, b num, minus bool) num { // (a + b) / 2 or (a - b) / 2
		if minus {
			b = b.neg()
		}
		s, _ := a.add(b)
		s, _ = s.div(intNum(2))
		return s
	}
	k[0] = y[3]
	k[1] = half(y[4], y[2], true)
	k[2], _ = half(y[4], y[2], false).sub(k[0])
	for i, want := range y {
		x := intNum(int64(i) - 3)
		got, err := horner2(k, x)
		if err != nil || !same(want, got, 0) {
			return k, false
		}
	}
	return k, true
}

func horner2(k [3]num, x num) (num, error) {
	y, err := k[2].mul(x)
	if err != nil {
		return y, err
	}
	if y, err = y.add(k[1]); err != nil {
		return y, err
	}
	if y, err = y.mul(x); err != nil {
		return y, err
	}
	return y.add(k[0])
}

// quadraticRoots returns the real roots in order, a double one once.
func quadraticRoots(k [3]num) ([]num, bool) {
	if s, ok := k[2].sign(); !ok {
		return nil, false
	} else if s == 0 {
		if s, ok := k[1].sign(); !ok || s == 0 {
			return nil, ok
		}
		r, err := k[0].neg().div(k[1])
		return []num{r}, err == nil
	}
	b2, err := k[1].mul(k[1])
	if err != nil {
		return nil, false
	}
	ac, err := k[0].mul(k[2])
	if err != nil {
		return nil, false
	}
	four, _ := ac.mul(intNum(4))
	d, err := b2.sub(four)
	if err != nil {
		return nil, false
	}
	s, ok := d.sign()
	if !ok || s < 0 {
		return nil, ok
	}
	root, err := d.sqrt()
	if err != nil {
		return nil, false
	}
	twice, _ := k[2].mul(intNum(2))
	if t, _ := twice.sign(); t < 0 {
		root = root.neg()
	}
	var roots []num
	for i, r := range [...]num{root.neg(), root} {
		if i == 1 && s == 0 {
			break
		}
		top, err := r.sub(k[1])
		if err != nil {
			return nil, false
		}
		x, err := top.div(twice)
		if err != nil {
			return nil, false
		}
		roots = append(roots, x)
	}
	return roots, true
}
