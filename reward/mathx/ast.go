package mathx

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

type kind uint8

const (
	kNum      kind = iota // q
	kSym                  // s: a variable, a constant (pi, e, i) or a name
	kInf                  // plus infinity
	kAdd                  // args
	kMul                  // args
	kDiv                  // args[0] / args[1]
	kNeg                  // -args[0]
	kPow                  // args[0] ^ args[1]
	kFn                   // s(args...)
	kSum                  // s (sum, prod, int): args are body, variable, from, to
	kPM                   // args[0] +- args[1]; s is "+" (upper sign plus) or "-"
	kPercent              // args[0] %
	kDegree               // args[0] degrees
	kBased                // args[0] is the value, s the digits, args[1] the base
	kRatio                // args[0] : args[1] : ...
	kUnit                 // args[0] with unit
	kText                 // s, normalised
	kRel                  // args[0] ops[0] args[1] ops[1] ...
	kTuple                // (args)
	kInterval             // from args[0] to args[1], ends lo and hi closed or not
	kSet                  // {args}
	kList                 // args, separated by commas or "or", no brackets
	kBuilder              // the values of variable args[0] for which args[1] holds
	kReals                // all real numbers
	kUnion                // args[0] with args[1]
	kMeet                 // args[0] and args[1] in common
	kMinus                // args[0] without args[1]
	kMatrix               // rows rows of len(args)/rows columns
)

// node is one node of the syntax tree. Nodes are not changed once the parser is done.
type node struct {
	kind   kind
	args   []*node
	q      *big.Rat
	s      string
	ops    []string
	lo, hi bool
	rows   int
	unit   *unit
	paren  bool // was written in parentheses
}

func numNode(n int64) *node            { return &node{kind: kNum, q: new(big.Rat).SetInt64(n)} }
func ratNode(q *big.Rat) *node         { return &node{kind: kNum, q: q} }
func symNode(s string) *node           { return &node{kind: kSym, s: s} }
func mk(k kind, args ...*node) *node   { return &node{kind: k, args: args} }
func fn(name string, a ...*node) *node { return &node{kind: kFn, s: name, args: a} }
func textNode(s string) *node          { return &node{kind: kText, s: s} }
func (n *node) with(args []*node) *node {
	c := *n
	c.args = args
	return &c
}

// any reports that f holds for n or a node below it.
func (n *node) any(f func(*node) bool) bool {
	return f(n) || slices.ContainsFunc(n.args, func(a *node) bool { return a.any(f) })
}

// constants of mathematics: names that are no variables.
func isConst(s string) bool { return s == "pi" || s == "e" || s == "i" }

// vars returns the free variables of n, sorted.
func (n *node) vars() []string {
	seen := map[string]bool{}
	n.addVars(seen, nil)
	names := make([]string, 0, len(seen))
	for v := range seen {
		names = append(names, v)
	}
	slices.Sort(names)
	return names
}

func (n *node) addVars(seen map[string]bool, bound []string) {
	switch n.kind {
	case kSym:
		if !isConst(n.s) && !slices.Contains(bound, n.s) {
			seen[n.s] = true
		}
	case kSum:
		n.args[2].addVars(seen, bound)
		n.args[3].addVars(seen, bound)
		n.args[0].addVars(seen, append(slices.Clip(bound), n.args[1].s))
		return
	}
	for _, a := range n.args {
		a.addVars(seen, bound)
	}
}

// String is plain notation with every product explicit.
func (n *node) String() string { return n.print(false) }

// folded is n with arithmetic on rational numbers carried out, where that takes few steps.
func (n *node) folded() *node {
	if len(n.args) == 0 {
		return n
	}
	args := make([]*node, len(n.args))
	numbers := true
	for i, a := range n.args {
		args[i] = a.folded()
		numbers = numbers && args[i].kind == kNum
	}
	c := n.with(args)
	switch n.kind {
	case kAdd, kMul, kDiv, kNeg, kPow:
		m := machine{left: 200}
		if v, err := m.eval(c); numbers && err == nil && v.q != nil {
			return ratNode(v.q)
		}
	}
	return c
}

// key is String with the operands of sums and products sorted: equal keys are equal expressions.
func (n *node) key() string { return n.print(true) }

func (n *node) print(sorted bool) string {
	var w strings.Builder
	p := printer{w: &w, sorted: sorted}
	p.node(n, 0)
	return w.String()
}

type printer struct {
	w      *strings.Builder
	sorted bool
}

// levels of binding: 1 sum, 2 product, 3 sign, 4 power, 5 atom.
func (p printer) node(n *node, level int) {
	own := 5
	switch n.kind {
	case kAdd, kPM:
		own = 1
	case kMul, kDiv:
		own = 2
	case kNeg:
		own = 3
	case kPow:
		own = 4
	case kNum:
		if n.q.Sign() < 0 {
			own = 3
		}
		if !n.q.IsInt() {
			own = 2
		}
	case kRel, kList, kUnion, kMeet, kMinus, kRatio, kUnit:
		own = 0
	}
	if own < level {
		p.w.WriteByte('(')
		defer p.w.WriteByte(')')
	}
	switch n.kind {
	case kNum:
		p.w.WriteString(n.q.RatString())
	case kSym, kText:
		p.w.WriteString(n.s)
	case kInf:
		p.w.WriteString("oo")
	case kReals:
		p.w.WriteString("Reals")
	case kAdd:
		p.join(n, " + ", 1)
	case kMul:
		p.join(n, "*", 2)
	case kDiv:
		p.node(n.args[0], 2)
		p.w.WriteByte('/')
		p.node(n.args[1], 3)
	case kNeg:
		p.w.WriteByte('-')
		p.node(n.args[0], 3)
	case kPow:
		p.node(n.args[0], 5)
		p.w.WriteByte('^')
		p.node(n.args[1], 5)
	case kPM:
		p.node(n.args[0], 1)
		p.w.WriteString(map[string]string{"+": " +- ", "-": " -+ "}[n.s])
		p.node(n.args[1], 2)
	case kPercent:
		p.node(n.args[0], 4)
		p.w.WriteByte('%')
	case kDegree:
		p.node(n.args[0], 4)
		p.w.WriteString(" deg")
	case kBased:
		p.w.WriteString(n.s + "_")
		p.node(n.args[1], 5)
	case kUnit:
		p.quantity(n)
	default:
		p.structure(n)
	}
}

// quantity prints a number in the base units: 5 cm is 1/20 m.
func (p printer) quantity(n *node) {
	v := n.args[0]
	if f := n.unit.factor; f.Cmp(big.NewRat(1, 1)) != 0 {
		if v.kind == kNum {
			v = ratNode(new(big.Rat).Mul(v.q, f))
		} else {
			v = mk(kMul, ratNode(f), v)
		}
	}
	p.node(v, 1)
	p.w.WriteString(" " + n.unit.String())
}

func (p printer) structure(n *node) {
	switch n.kind {
	case kRel:
		for i, a := range n.args {
			if i > 0 {
				p.w.WriteString(" " + n.ops[i-1] + " ")
			}
			p.node(a, 1)
		}
	case kInterval:
		p.w.WriteByte("(["[b2i(n.lo)])
		p.join(n, ", ", 0)
		p.w.WriteByte(")]"[b2i(n.hi)])
	case kMatrix:
		p.w.WriteByte('[')
		cols := len(n.args) / n.rows
		for r := range n.rows {
			if r > 0 {
				p.w.WriteString(", ")
			}
			p.w.WriteByte('[')
			p.join(mk(kTuple, n.args[r*cols:(r+1)*cols]...), ", ", 0)
			p.w.WriteByte(']')
		}
		p.w.WriteByte(']')
	case kBuilder:
		p.wrap("{", n, " | ", "}")
	case kSet:
		p.wrap("{", n, ", ", "}")
	case kTuple:
		p.wrap("(", n, ", ", ")")
	case kFn, kSum:
		p.wrap(n.s+"(", n, ", ", ")")
	case kUnion:
		p.join(n, " U ", 1)
	case kMeet:
		p.join(n, " & ", 1)
	case kMinus:
		p.join(n, " \\ ", 1)
	case kRatio:
		p.join(n, ":", 1)
	default: // kList
		if n.s != "" && isRange(n) {
			p.join(n, " "+n.s+" ", 1)
			return
		}
		p.join(n, ", ", 1)
	}
}

func (p printer) wrap(left string, n *node, sep, right string) {
	p.w.WriteString(left)
	p.join(n, sep, 0)
	p.w.WriteString(right)
}

func (p printer) join(n *node, sep string, level int) {
	if p.sorted && (n.kind == kAdd || n.kind == kMul || n.kind == kSet) {
		parts := make([]string, len(n.args))
		for i, a := range n.args {
			var w strings.Builder
			printer{&w, true}.node(a, level)
			parts[i] = w.String()
		}
		slices.Sort(parts)
		p.w.WriteString(strings.Join(parts, sep))
		return
	}
	for i, a := range n.args {
		if i > 0 {
			p.w.WriteString(sep)
		}
		p.node(a, level)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func itoa(n int) string { return strconv.Itoa(n) }
