package mathx

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// prefix reads what an expression begins with.
func (p *parser) prefix() (*node, error) {
	t := p.next()
	switch t.kind {
	case tNum:
		return p.numeral(t), nil
	case tSym:
		return p.symbol(t), nil
	case tRun, tWord:
		return p.run(t)
	case tCmd:
		return p.command(t)
	case tOp:
		return p.opened(t)
	}
	return nil, p.unexpected()
}

// numeral is a number; an integer and a fraction after a space are a mixed number.
func (p *parser) numeral(t token) *node {
	a, slash, b := p.peek(), p.peekAt(1), p.peekAt(2)
	if a.kind == tNum && a.space && slash.is("/") && b.kind == tNum && t.q.IsInt() {
		if q := properFraction(a.q, b.q); q != nil {
			p.i += 3
			return ratNode(q.Add(q, t.q))
		}
	}
	return ratNode(t.q)
}

// symbol is a variable, or the name f(x) of a function's value.
func (p *parser) symbol(t token) *node {
	if name, n := p.functionValue(t.s, 0); n > 0 {
		p.i += n
		return symNode(name)
	}
	if p.peek().is("^") && p.peekAt(1).is("{") && p.peekAt(2).is("-") && p.peekAt(3).s == "1" && p.peekAt(4).is("}") {
		if name, n := p.functionValue(t.s+"^-1", 5); n > 0 {
			p.i += n
			return symNode(name)
		}
	}
	return symNode(t.s)
}

// functionValue recognises f(x), f(2), P(x,y) = ...: a letter and plain arguments, for letters other than f, g and h only
// where an equation follows. The parenthesis is from tokens ahead. It returns how many tokens that is.
func (p *parser) functionValue(name string, from int) (string, int) {
	if !p.peekAt(from).is("(") {
		return "", 0
	}
	var w strings.Builder
	w.WriteString(name)
	for k := from; k < from+12; k++ {
		a := p.peekAt(k)
		switch {
		case a.is(")"):
			w.WriteByte(')')
			if k > from+1 && (p.peekAt(k+1).is("=") || strings.Contains("fgh", name)) {
				return w.String(), k + 1
			}
			return "", 0
		case k == from, a.kind == tSym, a.kind == tNum, a.is(","):
			w.WriteString(a.s)
		default:
			return "", 0
		}
	}
	return "", 0
}

// run is a word where an expression is wanted: a function, a constant, a number word, a name or a product of variables.
func (p *parser) run(t token) (*node, error) {
	lower := strings.ToLower(t.s)
	switch {
	case asciiFunctions[lower]:
		return p.function(asciiName(lower))
	case lower == "pi":
		return symNode("pi"), nil
	case lower == "infinity" || lower == "oo" || lower == "inf":
		return mk(kInf), nil
	case len(t.s) == 1:
		return symNode(t.s), nil
	case t.kind == tWord || t.s != lower:
		return symNode(t.s), nil
	case len(t.s) <= 4:
		args := make([]*node, len(t.s))
		for i := range args {
			args[i] = symNode(t.s[i : i+1])
		}
		return mk(kMul, args...), nil
	}
	return symNode(t.s), nil
}

func asciiName(s string) string {
	switch s {
	case "asin", "acos", "atan":
		return "arc" + s[1:]
	case "tg":
		return "tan"
	case "ctg":
		return "cot"
	case "arctg":
		return "arctan"
	}
	return s
}

// opened reads signs, brackets and bars.
func (p *parser) opened(t token) (*node, error) {
	switch t.s {
	case "-":
		n, err := p.expr(bpSign - 5)
		if err != nil {
			return nil, err
		}
		if n.kind == kNum && !n.paren {
			return ratNode(new(big.Rat).Neg(n.q)), nil
		}
		return mk(kNeg, n), nil
	case "+":
		return p.expr(bpSign - 5)
	case "±", "∓":
		n, err := p.expr(bpSign - 5)
		return &node{kind: kPM, args: []*node{numNode(0), n}, s: map[string]string{"±": "+", "∓": "-"}[t.s]}, err
	case "(", "[":
		return p.brackets(t.s)
	case "]":
		return p.french()
	case "{":
		from := p.i
		n, err := p.group()
		if (err != nil || n.kind == kRel && n.args[0].kind == kRatio) && p.i > from && p.depth < 3 { // {x | x > 3} in plain braces
			p.i = from
			if s, err2 := p.set(); err2 == nil {
				return s, nil
			}
		}
		return n, err
	case "\\{":
		return p.set()
	case "|", "|(":
		return p.bar(t.s)
	}
	p.i--
	return nil, p.unexpected()
}

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

// arg is the argument of a command: a group or one token; of \frac12 one digit each.
func (p *parser) arg(single bool) (*node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	t := p.peek()
	if single && t.kind == tNum && len(t.s) > 1 && strings.Trim(t.s, "0123456789") == "" {
		n := numNode(int64(t.s[0] - '0'))
		q, _ := new(big.Rat).SetString(t.s[1:])
		p.toks[p.i] = token{kind: tNum, s: t.s[1:], q: q}
		return n, nil
	}
	if t.is("-") || t.is("+") {
		return nil, p.unexpected()
	}
	n, err := p.prefix()
	if err != nil || n.kind != kSym || !p.accept("_") {
		return n, err
	}
	return p.subscript(n)
}

func (p *parser) args(n int, single bool) ([]*node, error) {
	out := make([]*node, n)
	for i := range out {
		var err error
		if out[i], err = p.arg(single); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// command reads a LaTeX command with its arguments.
func (p *parser) command(t token) (*node, error) {
	switch t.s {
	case "frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac":
		a, err := p.splitArgs()
		if err != nil {
			return nil, err
		}
		return mk(kDiv, a...), nil
	case "binom", "dbinom", "tbinom":
		a, err := p.splitArgs()
		if err != nil {
			return nil, err
		}
		return fn("binom", a...), nil
	case "sqrt":
		return p.root()
	case "boxed", "fbox":
		n, err := p.arg(false)
		if err == nil && n.kind == kSet && n.s == "{" {
			return &node{kind: kList, args: n.args, s: p.joint}, nil
		}
		return n, err
	case "overline", "bar", "dot":
		a, err := p.arg(false)
		if err != nil {
			return nil, err
		}
		if a.kind == kMul || a.kind == kSym && !isConst(a.s) {
			return symNode(strings.ReplaceAll(a.String(), "*", "")), nil // a segment, a repunit's name
		}
		return fn("conj", a), nil
	case "begin":
		return p.environment()
	case "infty":
		return mk(kInf), nil
	case "emptyset", "varnothing":
		return mk(kSet), nil
	case "mathbb", "mathds":
		return p.numberSet()
	case "lfloor", "lceil", "lvert":
		return p.fenced(t.s)
	case "langle":
		return p.angled()
	case "sum", "prod", "int":
		return p.operator(t.s)
	}
	return p.function(asciiName(t.s))
}

// splitArgs reads the two arguments of \frac, which may be single digits: \frac12, \frac 1 2, \frac1{72}.
func (p *parser) splitArgs() ([]*node, error) { return p.args(2, true) }

// root reads \sqrt[n]{x}, \sqrt2, sqrt(x).
func (p *parser) root() (*node, error) {
	if p.accept("[") {
		items, err := p.inside(false, func() ([]*node, error) { return p.items(isCloser) })
		if err != nil {
			return nil, err
		}
		if !p.accept("]") || len(items) != 1 {
			return nil, errors.New("cannot read the index of the root")
		}
		x, err := p.arg(false)
		if err != nil {
			return nil, err
		}
		return fn("root", x, items[0]), nil
	}
	x, err := p.arg(false)
	if err != nil {
		return nil, err
	}
	return fn("sqrt", x), nil
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

func (p *parser) numberSet() (*node, error) {
	n, err := p.arg(false)
	if err != nil {
		return nil, err
	}
	if n.kind == kSym && n.s == "R" && !p.peek().is("^") {
		return mk(kReals), nil
	}
	if n.kind != kSym {
		return nil, errors.New("cannot read \\mathbb")
	}
	return textNode("set " + n.s), nil
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

// operator reads a sum, a product or an integral with its limits and its body.
func (p *parser) operator(name string) (*node, error) {
	var variable, from, to *node
	for range 2 {
		if p.accept("_") {
			low, err := p.limit()
			if err != nil {
				return nil, err
			}
			from = low
			if low.kind == kRel && len(low.args) == 2 && low.ops[0] == "=" && low.args[0].kind == kSym {
				variable, from = low.args[0], low.args[1]
			}
		} else if p.accept("^") {
			var err error
			if to, err = p.limit(); err != nil {
				return nil, err
			}
		}
	}
	if from == nil || to == nil || (variable == nil) != (name == "int") {
		return nil, fmt.Errorf("cannot read the limits of \\%s", name)
	}
	body, err := p.expr(bpMul - 1)
	if err != nil {
		return nil, err
	}
	if name == "int" {
		if body, variable = splitDifferential(body); variable == nil {
			return nil, errors.New("an integral without dx")
		}
	}
	return &node{kind: kSum, s: name, args: []*node{body, variable, from, to}}, nil
}

func (p *parser) limit() (*node, error) {
	if p.accept("{") {
		n, err := p.relation()
		if err == nil && !p.accept("}") {
			err = p.unexpected()
		}
		return n, err
	}
	return p.arg(true)
}

// splitDifferential takes dx off the end of a product.
func splitDifferential(n *node) (body, variable *node) {
	a := flatMul(n)
	k := len(a)
	if k < 2 || a[k-2].kind != kSym || a[k-2].s != "d" || a[k-1].kind != kSym {
		return nil, nil
	}
	if k == 2 {
		return numNode(1), a[1]
	}
	return mk(kMul, a[:k-2]...), a[k-1]
}

func flatMul(n *node) []*node {
	if n.kind != kMul || n.paren {
		return []*node{n}
	}
	var out []*node
	for _, a := range n.args {
		out = append(out, flatMul(a)...)
	}
	return out
}

// function reads the power, base and argument of a function: \sin^2 x, \log_2 8, \ln(ab), max(2, 7).
func (p *parser) function(name string) (*node, error) {
	var power, base *node
	var err error
	for range 2 {
		if power == nil && p.accept("^") {
			if power, err = p.exponent(); err != nil {
				return nil, err
			}
		}
		if base == nil && p.accept("_") {
			if base, err = p.arg(true); err != nil {
				return nil, err
			}
		}
	}
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	n := fn(name, args...)
	switch {
	case name == "log" && base != nil, name == "lg" && base != nil:
		n = fn("logb", append(args, base)...)
	case base != nil:
		return nil, fmt.Errorf("\\%s with a subscript", name)
	case name == "sqrt" || name == "cbrt":
		if name == "cbrt" {
			n = fn("root", append(args, numNode(3))...)
		}
	}
	if want, ok := arity[n.s]; ok && len(args) != want {
		return nil, fmt.Errorf("%s with %d arguments", name, len(args))
	}
	if power == nil {
		return n, nil
	}
	if power.kind == kNum && power.q.Cmp(big.NewRat(-1, 1)) == 0 || power.kind == kNeg && power.args[0].kind == kNum && power.args[0].q.Cmp(big.NewRat(1, 1)) == 0 {
		if inv := inverseName[name]; inv != "" {
			return fn(inv, args...), nil
		}
	}
	return mk(kPow, n, power), nil
}

var inverseName = map[string]string{"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}

var arity = map[string]int{
	"sin": 1, "cos": 1, "tan": 1, "cot": 1, "sec": 1, "csc": 1, "arcsin": 1, "arccos": 1, "arctan": 1, "arccot": 1, "sinh": 1, "cosh": 1, "tanh": 1, "coth": 1,
	"ln": 1, "log": 1, "lg": 1, "exp": 1, "sqrt": 1, "abs": 1, "floor": 1, "ceil": 1, "det": 1, "logb": 1, "binom": 2,
}

// arguments are those in parentheses, or the product that follows up to the next function.
func (p *parser) arguments() ([]*node, error) {
	if p.peek().is("(") || p.peek().is("[") {
		p.i++
		items, err := p.inside(false, func() ([]*node, error) { return p.items(isCloser) })
		if err == nil && len(items) == 0 {
			err = errors.New("a function without an argument")
		}
		p.next()
		return items, err
	}
	if p.peek().is("{") || p.peek().is("\\{") {
		set := p.peek().is("\\{")
		p.i++
		var n *node
		var err error
		if set {
			n, err = p.set()
		} else {
			n, err = p.group()
		}
		if err != nil {
			return nil, err
		}
		if n.kind == kSet {
			return n.args, nil
		}
		return []*node{n}, nil
	}
	n, err := p.expr(bpMul)
	if err != nil {
		return nil, err
	}
	for p.startsOperand(n) && !p.startsFunction() {
		f, err := p.expr(bpMul)
		if err != nil {
			return nil, err
		}
		n = chain(kMul, n, f)
	}
	return []*node{n}, nil
}

func (p *parser) startsFunction() bool {
	t := p.peek()
	return t.kind == tCmd && arity[t.s] > 0 && t.s != "sqrt" && t.s != "binom" || t.kind == tRun && asciiFunctions[t.s] && t.s != "sqrt"
}
