package mathx

import (
	"errors"
	"math/big"
	"slices"
	"strings"
)

// comparer decides whether two answers are the same, within one budget.
type comparer struct {
	policy Policy
	m      machine
	depth  int
	err    error // the first reason for which something could not be evaluated
}

// note keeps the first reason why a comparison could not be made.
func (c *comparer) note(err error) {
	if c.err == nil && err != nil && !errors.Is(err, errNotScalar) && !errors.Is(err, errNonReal) {
		c.err = err
	}
}

// equal reports that g and a are the same answer.
func (c *comparer) equal(g, a *node) bool {
	x, y := g.key(), a.key()
	if c.depth++; c.depth > maxDepth || c.m.spend(costNode+(len(x)+len(y))/costText) != nil {
		c.note(errBudget)
		return false
	}
	defer func() { c.depth-- }()
	if x == y {
		return true
	}
	if hasPM(g) || hasPM(a) {
		return c.equalPM(g, a)
	}
	g, a = c.oneOf(unwrap(g)), c.oneOf(unwrap(a))
	if v, ok := c.text(g, a); ok {
		return v
	}
	if g.kind == kFn && g.s == "class" && a.kind == kFn && a.s == "class" {
		return c.sameClass(g, a)
	}
	if v, ok := c.measured(g, a); ok {
		return v
	}
	if v, ok := c.relations(g, a); ok {
		return v
	}
	if v, ok := c.sets(g, a); ok {
		return v
	}
	if v, ok := c.lists(g, a); ok {
		return v
	}
	return c.scalars(g, a)
}

// sameClass compares residue classes: one modulus, and a difference that it divides.
func (c *comparer) sameClass(g, a *node) bool {
	if !c.equal(g.args[1], a.args[1]) {
		return false
	}
	q, err := c.constant(mk(kDiv, mk(kAdd, g.args[0], mk(kNeg, a.args[0])), g.args[1]))
	return err == nil && q.q != nil && q.q.IsInt() || err != nil && c.equal(g.args[0], a.args[0])
}

// unwrap takes one element out of a set or list of one.
func unwrap(n *node) *node {
	for (n.kind == kSet || n.kind == kList) && len(n.args) == 1 {
		n = n.args[0]
	}
	return n
}

// oneOf takes the value out of "15.5 or 31/2", which is one value in two forms.
func (c *comparer) oneOf(n *node) *node {
	if n.kind != kList || n.s != "or" || isRange(n) || slices.ContainsFunc(n.args[1:], func(x *node) bool { return !c.equal(n.args[0], x) }) {
		return n
	}
	return n.args[0]
}

func hasPM(n *node) bool { return n.any(func(n *node) bool { return n.kind == kPM }) }

// equalPM expands plus-minus signs into lists of values: all signs together, or each for itself.
func (c *comparer) equalPM(g, a *node) bool {
	for _, pair := range [...][2]bool{{true, true}, {false, false}, {true, false}, {false, true}} {
		gs, as := expandPM(g, pair[0]), expandPM(a, pair[1])
		if gs != nil && as != nil && c.equal(gs, as) {
			return true
		}
	}
	return false
}

// expandPM is the set of values of n with its signs chosen together or freely; at most 16.
func expandPM(n *node, together bool) *node {
	if !hasPM(n) {
		return n
	}
	if n.kind == kList || n.kind == kSet {
		out := n.with(nil)
		for _, x := range n.args {
			e := expandPM(x, together)
			if e == nil {
				return nil
			}
			if hasPM(x) && e.kind == kSet {
				out.args = append(out.args, e.args...)
			} else {
				out.args = append(out.args, e)
			}
		}
		return out
	}
	signs := 0
	n.any(func(x *node) bool { signs += b2i(x.kind == kPM); return false })
	choices := 2
	if !together {
		if signs > 4 {
			return nil
		}
		choices = 1 << signs
	}
	out := mk(kSet)
	for mask := range choices {
		if together && mask == 1 {
			mask = 1<<min(signs, 30) - 1
		}
		at := 0
		out.args = append(out.args, chooseSigns(n, mask, &at))
	}
	return out
}

func chooseSigns(n *node, mask int, at *int) *node {
	if len(n.args) == 0 {
		return n
	}
	minus := false
	if n.kind == kPM {
		minus = (n.s == "-") != (mask>>min(*at, 30)&1 == 1)
		*at++
	}
	args := make([]*node, len(n.args))
	for i, x := range n.args {
		args[i] = chooseSigns(x, mask, at)
	}
	if n.kind != kPM {
		return n.with(args)
	}
	if minus {
		args[1] = mk(kNeg, args[1])
	}
	return mk(kAdd, args...)
}

// text compares where one side is words.
func (c *comparer) text(g, a *node) (equal, ok bool) {
	if g.kind != kText && a.kind != kText {
		return false, false
	}
	if n, ok := assigned(g); ok && a.kind == kText {
		g = n
	}
	if n, ok := assigned(a); ok && g.kind == kText {
		a = n
	}
	x, y := textOf(g), textOf(a)
	return x != "" && x == y, true
}

// textOf is what n says as a text, with spaces out; "" where it is mathematics.
func textOf(n *node) string {
	switch n.kind {
	case kText:
		return strings.ReplaceAll(n.s, " ", "")
	case kSym:
		return strings.ToLower(n.s)
	case kMul:
		var w strings.Builder
		for _, a := range n.args {
			if a.kind != kSym {
				return ""
			}
			w.WriteString(strings.ToLower(a.s))
		}
		return w.String()
	}
	return ""
}

// lists compares tuples, lists, sets, matrices and ratios.
func (c *comparer) lists(g, a *node) (equal, ok bool) {
	if g.kind == kMatrix || a.kind == kMatrix || containsMatrix(g) || containsMatrix(a) {
		return c.matrices(g, a), true
	}
	if g.kind == kRatio || a.kind == kRatio {
		return c.ratios(g, a)
	}
	group := func(n *node) bool {
		return n.kind == kTuple || n.kind == kList || n.kind == kSet || n.kind == kInterval
	}
	if !group(g) && !group(a) {
		return false, false
	}
	if !group(g) || !group(a) || g.kind == kInterval != (a.kind == kInterval) {
		return false, true
	}
	switch {
	case g.kind == kInterval:
		return g.lo == a.lo && g.hi == a.hi && c.inOrder(g.args, a.args), true
	case g.kind == kSet && a.kind == kTuple, g.kind == kTuple && a.kind == kSet:
		return false, true
	case g.kind == kTuple, a.kind == kTuple, c.policy.Ordered && g.kind == kList && a.kind == kList:
		return c.inOrder(g.args, a.args), true
	case g.kind == kSet, a.kind == kSet:
		return c.covers(g.args, a.args) && c.covers(a.args, g.args), true
	}
	return c.matched(g.args, a.args), true
}

func (c *comparer) inOrder(gs, as []*node) bool {
	if len(gs) != len(as) {
		return false
	}
	for i := range gs {
		if !c.equal(gs[i], as[i]) {
			return false
		}
	}
	return true
}

// covers reports that each of xs is among ys.
func (c *comparer) covers(xs, ys []*node) bool {
	for _, x := range xs {
		if !slices.ContainsFunc(ys, func(y *node) bool { return c.equal(x, y) }) {
			return false
		}
	}
	return true
}

// matched reports that gs and as are the same up to order, repetitions counted.
func (c *comparer) matched(gs, as []*node) bool {
	if len(gs) != len(as) {
		return false
	}
	left := slices.Clone(as)
	for _, g := range gs {
		i := slices.IndexFunc(left, func(a *node) bool { return c.equal(g, a) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// ratios compares a:b and a:b:c, also with a fraction. Where both look like times of day they are compared as those.
func (c *comparer) ratios(g, a *node) (equal, ok bool) {
	if g.kind != kRatio || a.kind != kRatio {
		if x := g; x.kind == kRatio && len(x.args) == 2 || a.kind == kRatio && len(a.args) == 2 {
			return c.scalars(g, a), true
		}
		return false, true
	}
	if len(g.args) != len(a.args) {
		return false, true
	}
	if isTime(g) && isTime(a) {
		return c.inOrder(g.args, a.args), true
	}
	for i := range g.args[1:] {
		if !c.scalars(mk(kMul, g.args[i+1], a.args[0]), mk(kMul, a.args[i+1], g.args[0])) {
			return false, true
		}
	}
	return !c.isZero(g.args[0]) && !c.isZero(a.args[0]), true
}

func (c *comparer) isZero(n *node) bool {
	v, err := c.m.eval(n)
	return err == nil && v.isZero()
}

// isTime reports 3:45 or 12:00:05: two digits in every part but the first.
func isTime(n *node) bool {
	for i, x := range n.args {
		if x.kind != kNum || !x.q.IsInt() || i > 0 && len(x.s) != 2 || x.q.Cmp(big.NewRat(60, 1)) >= 0 {
			return false
		}
	}
	return true
}
