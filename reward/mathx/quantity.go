package mathx

import (
	"math/big"
	"slices"
)

// quantity is a number with what stands behind it.
type quantity struct {
	n       *node
	unit    *unit
	percent bool
	degree  bool
}

func quantityOf(n *node) quantity {
	q := quantity{n: n}
	if q.n.kind == kUnit {
		q.unit, q.n = q.n.unit, q.n.args[0]
	}
	switch q.n.kind {
	case kPercent:
		q.percent, q.n = true, q.n.args[0]
	case kDegree:
		q.degree, q.n = true, q.n.args[0]
	case kNeg:
		if in := q.n.args[0]; in.kind == kPercent || in.kind == kDegree {
			q.percent, q.degree, q.n = in.kind == kPercent, in.kind == kDegree, mk(kNeg, in.args[0])
		}
	}
	return q
}

func (q quantity) plain() bool { return q.unit == nil && !q.percent && !q.degree }

// measured compares where one side has a unit, a percent sign or degrees.
func (c *comparer) measured(g, a *node) (equal, ok bool) {
	x, y := quantityOf(g), quantityOf(a)
	if x.plain() && y.plain() {
		return false, false
	}
	if g.kind == kRel || a.kind == kRel { // x = 5 cm: the relation comes apart first
		return false, false
	}
	if x.unit != nil && y.plain() {
		if q, ok := bareUnit(a); ok {
			y = q
		}
	}
	if y.unit != nil && x.plain() {
		if q, ok := bareUnit(g); ok {
			x = q
		}
	}
	if !c.sameUnits(&x, &y) {
		return false, true
	}
	return c.percents(x, y), true
}

// sameUnits brings both to one unit, or reports that it cannot.
func (c *comparer) sameUnits(x, y *quantity) bool {
	if x.unit == nil && y.unit == nil {
		return true
	}
	if x.unit == nil || y.unit == nil {
		return !c.policy.RequireUnits
	}
	if x.unit.measures() != y.unit.measures() {
		return len(x.unit.labels) == 0 && !x.unit.measures() || len(y.unit.labels) == 0 && !y.unit.measures()
	}
	if !x.unit.measures() {
		return subset(x.unit.labels, y.unit.labels) || subset(y.unit.labels, x.unit.labels)
	}
	if len(x.unit.dims) != len(y.unit.dims) {
		return false
	}
	for d, e := range x.unit.dims {
		if y.unit.dims[d] != e {
			return false
		}
	}
	if x.unit.factor.Cmp(y.unit.factor) != 0 {
		x.n = mk(kMul, ratNode(x.unit.factor), x.n)
		y.n = mk(kMul, ratNode(y.unit.factor), y.n)
	}
	return true
}

func subset(a, b []string) bool {
	for _, w := range a {
		if !slices.Contains(b, w) {
			return false
		}
	}
	return true
}

// percents compares numbers of which one may be in percent or degrees.
func (c *comparer) percents(x, y quantity) bool {
	if x.percent == y.percent && x.degree == y.degree {
		return c.equal(x.n, y.n)
	}
	length := func(q quantity) bool { return q.unit != nil && q.unit.measures() }
	if x.percent && y.degree || x.degree && y.percent || length(x) || length(y) {
		return false // a unit of measure is neither percent nor degrees
	}
	if x.percent || y.percent {
		if c.policy.Percent != PercentIsHundredth && c.equal(x.n, y.n) {
			return true
		}
		if c.policy.Percent == PercentIsLabel {
			return false
		}
		hundredth := func(q quantity) *node {
			if q.percent {
				return mk(kDiv, q.n, numNode(100))
			}
			return q.n
		}
		return c.equal(hundredth(x), hundredth(y))
	}
	if c.equal(x.n, y.n) {
		return true
	}
	radians := func(q quantity) *node {
		if q.degree {
			return mk(kDegree, q.n)
		}
		return q.n
	}
	x.n, y.n = radians(x), radians(y)
	return c.scalars(x.n, y.n)
}

// bareUnit reads 5m or 5m/s, units that look like variables, as a quantity.
func bareUnit(n *node) (quantity, bool) {
	u := newUnit()
	coefficient, ok := takeUnits(n, u, 1)
	if !ok || !u.measures() {
		return quantity{}, false
	}
	return quantity{n: coefficient, unit: u}, true
}

func takeUnits(n *node, u *unit, power int) (*node, bool) {
	switch n.kind {
	case kNum:
		return n, true
	case kSym:
		if v := lookupUnit(n.s); v != nil {
			u.mul(v, power)
			return numNode(1), true
		}
		return n, isConst(n.s)
	case kPow:
		if n.args[0].kind == kSym && n.args[1].kind == kNum && n.args[1].q.IsInt() && n.args[1].q.Cmp(big.NewRat(9, 1)) < 0 && n.args[1].q.Sign() > 0 {
			if v := lookupUnit(n.args[0].s); v != nil {
				u.mul(v, power*int(n.args[1].q.Num().Int64()))
				return numNode(1), true
			}
		}
	case kMul, kDiv:
		args := make([]*node, len(n.args))
		for i, a := range n.args {
			p := power
			if n.kind == kDiv && i == 1 {
				p = -power
			}
			var ok bool
			if args[i], ok = takeUnits(a, u, p); !ok {
				return nil, false
			}
		}
		return n.with(args), true
	}
	return n, len(n.vars()) == 0
}
