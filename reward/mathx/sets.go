package mathx

import (
	"slices"
)

// realSet is a set of real numbers: at holds its boundary points in order, on says which of them belong to it, and between
// says which of the open intervals around them do.
type realSet struct {
	at      []num
	on      []bool
	between []bool // len(at) + 1
}

var (
	noReals  = realSet{between: []bool{false}}
	allReals = realSet{between: []bool{true}}
)

func pointSet(v num) realSet {
	return realSet{at: []num{v}, on: []bool{true}, between: []bool{false, false}}
}

// less orders two real numbers; ok is false where their error bounds leave it open.
func less(a, b num) (int, bool) {
	if same(a, b, 0) {
		return 0, true
	}
	d, err := a.sub(b)
	if err != nil {
		return 0, false
	}
	return d.sign()
}

// combine joins two sets by a rule for membership. It fails where boundary points cannot be told apart.
func combine(a, b realSet, rule func(x, y bool) bool) (realSet, bool) {
	out := realSet{between: []bool{rule(a.between[0], b.between[0])}}
	i, j := 0, 0
	for i < len(a.at) || j < len(b.at) {
		order := -1
		switch {
		case i == len(a.at):
			order = 1
		case j < len(b.at):
			var ok bool
			if order, ok = less(a.at[i], b.at[j]); !ok {
				return noReals, false
			}
		}
		inA, inB := a.between[i], b.between[j]
		var at num
		if order >= 0 {
			at, inB = b.at[j], b.on[j]
			j++
		}
		if order <= 0 {
			at, inA = a.at[i], a.on[i]
			i++
		}
		out.at = append(out.at, at)
		out.on = append(out.on, rule(inA, inB))
		out.between = append(out.between, rule(a.between[i], b.between[j]))
	}
	return out, true
}

func or(x, y bool) bool      { return x || y }
func and(x, y bool) bool     { return x && y }
func xor(x, y bool) bool     { return x != y }
func without(x, y bool) bool { return x && !y }

func (s realSet) empty() bool {
	return !slices.Contains(s.on, true) && !slices.Contains(s.between, true)
}

// isRange reports nodes that stand for sets of real numbers and not for lists.
func isRange(n *node) bool {
	switch n.kind {
	case kInterval, kUnion, kMeet, kMinus, kReals, kBuilder:
		return true
	case kAdd: // R - {0}
		return len(n.args) == 2 && n.args[0].kind == kReals && n.args[1].kind == kNeg
	case kRel:
		return n.ops[0] != "=" && n.ops[0] != "≡"
	case kList:
		return len(n.args) > 0 && !slices.ContainsFunc(n.args, func(a *node) bool { return !isRange(a) })
	}
	return false
}

// sets compares where one side is a range of real numbers.
func (c *comparer) sets(g, a *node) (equal, ok bool) {
	if !isRange(g) && !isRange(a) {
		return false, false
	}
	if v := variableOf(g); v != "" && v != "_" && (a.kind == kRel || a.kind == kList) {
		if w := variableOf(a); w != "" && w != "_" && v != w {
			return false, true
		}
	}
	x, okX := c.reals(g)
	y, okY := c.reals(a)
	switch {
	case okX && okY:
		d, ok := combine(x, y, xor)
		return ok && d.empty(), true
	case okX && isRange(a):
		return c.fits(a, x), true
	case okY && isRange(g):
		return c.fits(g, y), true
	case isRange(g) && isRange(a):
		if g.kind == kInterval && a.kind == kInterval {
			return false, false // symbolic ends: by their parts
		}
		if g.kind == a.kind && len(g.args) == len(a.args) && (g.kind == kUnion || g.kind == kMeet || g.kind == kMinus) {
			return c.inOrder(g.args, a.args) || g.kind != kMinus && c.inOrder(g.args, []*node{a.args[1], a.args[0]}), true
		}
		return c.sameRange(g, a), true
	}
	if g.kind == kInterval || a.kind == kInterval {
		return false, false
	}
	return false, true
}

// variableOf is the one variable that a condition is about.
func variableOf(n *node) string {
	if n.kind != kRel && n.kind != kList {
		return ""
	}
	if v := n.vars(); len(v) == 1 {
		return v[0]
	}
	return ""
}

// reals is the set of real numbers that n stands for.
func (c *comparer) reals(n *node) (realSet, bool) {
	switch n.kind {
	case kReals:
		return allReals, true
	case kInterval, kTuple:
		if len(n.args) != 2 {
			return noReals, false
		}
		return c.interval(n.args[0], n.args[1], n.lo, n.hi)
	case kAdd:
		if isRange(n) {
			return c.reals(mk(kMinus, n.args[0], n.args[1].args[0]))
		}
	case kUnion, kMeet, kMinus:
		x, ok := c.reals(n.args[0])
		y, ok2 := c.reals(n.args[1])
		if !ok || !ok2 {
			return noReals, false
		}
		return combine(x, y, map[kind]func(bool, bool) bool{kUnion: or, kMeet: and, kMinus: without}[n.kind])
	case kSet:
		return c.points(n.args)
	case kBuilder:
		return c.reals(n.args[1])
	case kRel:
		return c.condition(n)
	case kList:
		return c.conditions(n)
	}
	v, err := c.constant(n)
	if err != nil {
		return noReals, false
	}
	return pointSet(v), true
}

func (c *comparer) points(args []*node) (realSet, bool) {
	all := noReals
	for _, a := range args {
		v, err := c.constant(a)
		if err != nil {
			return noReals, false
		}
		var ok bool
		if all, ok = combine(all, pointSet(v), or); !ok {
			return noReals, false
		}
	}
	return all, true
}

// interval is the set between two ends; ends in the wrong order are no interval.
func (c *comparer) interval(lo, hi *node, withLo, withHi bool) (realSet, bool) {
	low, okL := c.ray(lo, withLo, true)
	high, okH := c.ray(hi, withHi, false)
	if !okL || !okH {
		return noReals, false
	}
	both, ok := combine(low, high, and)
	return both, ok && !both.empty()
}

// ray is everything above, or below, an end.
func (c *comparer) ray(end *node, closed, above bool) (realSet, bool) {
	if s := infinite(end); s != 0 {
		return allReals, above == (s < 0)
	}
	v, err := c.constant(end)
	if err != nil {
		c.note(err)
		return noReals, false
	}
	return realSet{at: []num{v}, on: []bool{closed}, between: []bool{!above, above}}, true
}

// conditions joins a list: "or" is the union, "and" what is common, a comma what is common unless that is nothing.
func (c *comparer) conditions(n *node) (realSet, bool) {
	union, meet := noReals, allReals
	for _, a := range n.args {
		s, ok := c.reals(a)
		if !ok {
			return noReals, false
		}
		var ok1, ok2 bool
		union, ok1 = combine(union, s, or)
		meet, ok2 = combine(meet, s, and)
		if !ok1 || !ok2 {
			return noReals, false
		}
	}
	if n.s == "or" || meet.empty() {
		return union, true
	}
	return meet, true
}

// condition solves a chain of relations in one variable whose steps are linear or quadratic.
func (c *comparer) condition(n *node) (realSet, bool) {
	switch n.ops[0] {
	case "∈":
		return c.reals(n.args[1])
	case "∉":
		return c.reals(mk(kMinus, mk(kReals), n.args[1]))
	}
	all := allReals
	for i, op := range n.ops {
		s, ok := c.solve(n.args[i], op, n.args[i+1])
		if !ok {
			return noReals, false
		}
		if all, ok = combine(all, s, and); !ok {
			return noReals, false
		}
	}
	return all, true
}

// fits reports that the condition n, which could not be solved, holds exactly on s: at its boundary points and at points
// between them.
func (c *comparer) fits(n *node, s realSet) bool {
	v := n.vars()
	if n.kind == kBuilder {
		v, n = n.args[1].vars(), n.args[1]
	}
	if len(v) != 1 {
		return false
	}
	for i := range s.between {
		for try := range 8 {
			x, ok := s.inner(i, c.policy.Seed, try)
			if !ok || c.satisfies(n, v[0], x) != s.between[i] {
				return false
			}
		}
		if i < len(s.at) && c.satisfies(n, v[0], s.at[i]) != s.on[i] {
			return false
		}
	}
	return true
}

// inner is a point in the i-th open interval.
func (s realSet) inner(i int, seed uint64, try int) (num, bool) {
	t := num{q: point(seed, "inner", 6*try+3, false)} // in (0, 1)
	var x num
	var err error
	switch {
	case len(s.at) == 0:
		return num{q: point(seed, "inner", 6*try, false)}, true
	case i == 0 || i == len(s.at):
		far, _ := t.mul(intNum(int64(1 + try*try*4)))
		if i == 0 {
			x, err = s.at[0].sub(far)
		} else {
			x, err = s.at[i-1].add(far)
		}
	default:
		if x, err = s.at[i].sub(s.at[i-1]); err == nil {
			if x, err = x.mul(t); err == nil {
				x, err = x.add(s.at[i-1])
			}
		}
	}
	return x, err == nil
}

// satisfies reports that the condition n holds for v = x; undefined is false.
func (c *comparer) satisfies(n *node, v string, x num) bool {
	switch n.kind {
	case kList:
		f := func(a *node) bool { return c.satisfies(a, v, x) }
		if n.s == "or" {
			return slices.ContainsFunc(n.args, f)
		}
		return !slices.ContainsFunc(n.args, func(a *node) bool { return !f(a) })
	case kRel:
		for i, op := range n.ops {
			c.m.vars, c.m.realOnly = map[string]num{v: x}, true
			p, q, ok := c.pair(n.args[i], n.args[i+1])
			if !ok {
				return false
			}
			s, ok := less(p, q)
			if !ok || !holds(s, op) {
				return false
			}
		}
		return true
	}
	return false
}

// sameRange compares two conditions of which neither could be solved, at many points.
func (c *comparer) sameRange(g, a *node) bool {
	v, w := g.vars(), a.vars()
	if len(v) != 1 || len(w) != 1 {
		return false
	}
	seen := [2]bool{}
	for try := range 60 {
		x := num{q: point(c.policy.Seed, "range", try, false)}
		if try >= 30 { // whole and half numbers, where boundaries tend to be
			x = num{q: point(c.policy.Seed, "", 0, false).SetFrac64(int64(try-45), 2)}
		}
		in := c.satisfies(g, v[0], x)
		if in != c.satisfies(a, w[0], x) {
			return false
		}
		seen[b2i(in)] = true
	}
	return seen[0] && seen[1]
}
