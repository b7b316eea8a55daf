package mathx

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

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
