package mathx

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// maxDepth bounds how deep an answer nests.
const maxDepth = 100

// Binding powers.
const (
	bpSet   = 10 // union, intersection, difference
	bpRatio = 20
	bpSum   = 30
	bpMul   = 40
	bpSign  = 45
	bpPow   = 50
	bpPost  = 60 // factorial, percent, degrees
)

// parser is a Pratt parser over the tokens of one answer.
type parser struct {
	toks    []token
	i       int
	depth   int
	bars    int    // open | of absolute values
	builder bool   // inside \{: a bar or colon divides
	joint   string // the word between the items last read: "or", "and" or neither
}

// parse reads one answer, without extraction. sawCommas says that 1,234 was read as one number.
func parse(s string, listCommas bool) (n *node, sawCommas bool, err error) {
	toks, sawCommas, err := lex(s, listCommas)
	if err != nil {
		return nil, false, err
	}
	p := parser{toks: toks}
	n, err = p.answer()
	return n, sawCommas, err
}

func (p *parser) peek() *token { return &p.toks[p.i] }
func (p *parser) peekAt(k int) *token {
	return &p.toks[min(p.i+k, len(p.toks)-1)]
}

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tEnd {
		p.i++
	}
	return t
}

func (p *parser) accept(op string) bool {
	if p.peek().is(op) {
		p.i++
		return true
	}
	return false
}

func (p *parser) unexpected() error {
	t := p.peek()
	if t.kind == tEnd {
		return errors.New("ends too early")
	}
	return fmt.Errorf("cannot read %.20q here", t.s)
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("nests deeper than %d", maxDepth)
	}
	return nil
}

// answer is the whole answer: one item or a list.
func (p *parser) answer() (*node, error) {
	items, err := p.items(func(t *token) bool { return t.kind == tEnd })
	if err != nil {
		return nil, err
	}
	switch len(items) {
	case 0:
		return nil, errors.New("is empty")
	case 1:
		return items[0], nil
	}
	return &node{kind: kList, args: items, s: p.joint}, nil
}

// separator reports what stands between items.
func (p *parser) separator() bool {
	t := p.peek()
	switch {
	case t.kind == tWord || t.kind == tRun:
		w := strings.ToLower(t.s)
		return w == "and" || w == "or"
	case t.kind == tOp:
		return t.s == "," || t.s == ";" || t.s == "∨" || t.s == "∧"
	}
	return false
}

// items reads items up to a token that ends them, which is not taken.
func (p *parser) items(end func(*token) bool) ([]*node, error) {
	var items []*node
	joint := ""
	defer func() { p.joint = joint }()
	for {
		gap := len(items) == 0
		for p.separator() || p.peek().is(".") && end(p.peekAt(1)) || p.peek().is("\\\\") && end(p.peekAt(1)) {
			switch strings.ToLower(p.next().s) {
			case "or", "∨":
				joint = "or"
			case "and", "∧":
				joint = "and"
			}
			gap = true
		}
		if end(p.peek()) {
			return items, nil
		}
		if !gap || p.peek().kind == tEnd {
			return nil, p.unexpected()
		}
		n, err := p.item()
		if err != nil {
			return nil, err
		}
		items = append(items, n)
	}
}

// item is one entry: a text, or a relation of expressions.
func (p *parser) item() (*node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if n := p.textItem(); n != nil {
		return n, nil
	}
	return p.relation()
}

// expr reads an expression of operators that bind more tightly than bp.
func (p *parser) expr(bp int) (*node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	left, err := p.prefix()
	if err != nil {
		return nil, err
	}
	for {
		n, err := p.infix(left, bp)
		if err != nil {
			return nil, err
		}
		if n == nil {
			return left, nil
		}
		left = n
	}
}

// chain appends to a sum or product that this call of expr began; written parentheses keep theirs.
func chain(k kind, left, right *node) *node {
	if left.kind == k && !left.paren {
		left.args = append(left.args, right)
		return left
	}
	return mk(k, left, right)
}

// infix applies the next operator to left where it binds more tightly than bp, else returns nil.
func (p *parser) infix(left *node, bp int) (*node, error) {
	t := p.peek()
	if t.kind == tOp {
		switch t.s {
		case "+", "-":
			return p.binary(left, bp, bpSum, func(l, r *node) *node {
				if t.s == "-" {
					r = mk(kNeg, r)
				}
				return chain(kAdd, l, r)
			})
		case "±", "∓":
			return p.binary(left, bp, bpSum, func(l, r *node) *node {
				return &node{kind: kPM, args: []*node{l, r}, s: map[string]string{"±": "+", "∓": "-"}[t.s]}
			})
		case "*":
			return p.binary(left, bp, bpMul, func(l, r *node) *node { return chain(kMul, l, r) })
		case "/":
			return p.binary(left, bp, bpMul, func(l, r *node) *node { return mk(kDiv, l, r) })
		case "∪", "∩", "∖":
			return p.binary(left, bp, bpSet, func(l, r *node) *node {
				return mk(map[string]kind{"∪": kUnion, "∩": kMeet, "∖": kMinus}[t.s], l, r)
			})
		case ":":
			if p.builder {
				return nil, nil
			}
			return p.binary(left, bp, bpRatio, func(l, r *node) *node { return chain(kRatio, l, r) })
		}
		return p.postfix(left, bp, t)
	}
	if (t.kind == tRun || t.kind == tWord) && t.s == "to" && p.peekAt(1).kind == tNum && bp < bpRatio {
		return p.binary(left, bp, bpRatio, func(l, r *node) *node { return chain(kRatio, l, r) })
	}
	if p.startsOperand(left) && bp < bpMul {
		if left.kind == kNum && p.peek().kind == tCmd {
			if m := p.mixed(left); m != nil {
				return m, nil
			}
		}
		right, err := p.expr(bpMul)
		if err != nil {
			return nil, err
		}
		return chain(kMul, left, right), nil
	}
	return nil, nil
}

func (p *parser) binary(left *node, bp, own int, make func(l, r *node) *node) (*node, error) {
	if bp >= own {
		return nil, nil
	}
	p.i++
	right, err := p.expr(own)
	if err != nil {
		return nil, err
	}
	return make(left, right), nil
}

func (p *parser) postfix(left *node, bp int, t *token) (*node, error) {
	switch t.s {
	case "^":
		if bp >= bpPow+5 {
			return nil, nil
		}
		p.i++
		return p.power(left)
	case "!":
		p.i++
		return fn("factorial", left), nil
	case "%":
		p.i++
		return mk(kPercent, left), nil
	case "°":
		p.i++
		return mk(kDegree, left), nil
	case "'":
		if left.kind != kSym {
			return nil, nil
		}
		p.i++
		return symNode(left.s + "'"), nil
	case "_":
		p.i++
		return p.subscript(left)
	case "(", "{", "|(", "[":
		if t.s == "[" && (left.kind == kNum || p.builder) || t.s == "(" && p.startsMod(1) {
			return nil, nil
		}
		if bp >= bpMul {
			return nil, nil
		}
		right, err := p.expr(bpMul)
		if err != nil {
			return nil, err
		}
		return chain(kMul, left, right), nil
	case "|":
		if p.bars > 0 || p.builder || bp >= bpMul {
			return nil, nil
		}
		right, err := p.expr(bpMul)
		if err != nil {
			return nil, err
		}
		return chain(kMul, left, right), nil
	}
	return nil, nil
}

// startsOperand reports that what follows is a factor written without a sign of multiplication.
func (p *parser) startsOperand(left *node) bool {
	t := p.peek()
	switch t.kind {
	case tNum:
		return left.kind != kNum && left.kind != kPercent && left.kind != kDegree
	case tSym:
		return left.kind != kDegree || t.s != "C" && t.s != "F"
	case tRun:
		if asciiFunctions[t.s] && !(t.s == "min" && !p.peekAt(1).is("(")) || t.s == "pi" {
			return true
		}
		return left.kind != kUnit && isProduct(t.s) && !(lookupUnit(t.s) != nil && (t.space || left.kind == kNum)) && !ordinalSuffix(t.s)
	case tCmd:
		switch t.s {
		case "end", "over", "choose", "rfloor", "rceil", "rangle", "rvert", "pmod", "bmod", "mod", "emptyset", "varnothing", "mathbb", "mathds":
			return false
		}
		return true
	}
	return false
}

// isProduct reports a run of letters that reads as a product of variables: xy, abc.
func isProduct(s string) bool {
	if len(s) > 4 || s != strings.ToLower(s) {
		return false
	}
	if len(s) == 2 {
		return !stopWords[s]
	}
	for i := 1; i < len(s); i++ {
		if s[i] < s[i-1] {
			return false
		}
	}
	return !stopWords[s]
}

var stopWords = setOf("no on up am pm an as at be by do go he if in is it me my of or so to us we and any are for the not all one two six ten but off too")

// mixed reads the fraction of a mixed number such as 2\frac{1}{2}: an integer before a proper fraction of plain integers.
func (p *parser) mixed(left *node) *node {
	if !left.q.IsInt() || left.paren || !isFrac(p.peek().s) || p.i == 0 || p.toks[p.i-1].kind != tNum {
		return nil
	}
	from := p.i
	p.i++
	a, err := p.arg(true)
	if err == nil {
		var b *node
		if b, err = p.arg(true); err == nil && a.kind == kNum && b.kind == kNum {
			if q := properFraction(a.q, b.q); q != nil {
				if left.q.Sign() < 0 {
					q.Neg(q)
				}
				return ratNode(q.Add(q, left.q))
			}
		}
	}
	p.i = from
	return nil
}

func isFrac(s string) bool {
	return s == "frac" || s == "dfrac" || s == "tfrac" || s == "cfrac" || s == "nicefrac" || s == "sfrac"
}

func properFraction(a, b *big.Rat) *big.Rat {
	if !a.IsInt() || !b.IsInt() || a.Sign() <= 0 || b.Sign() <= 0 || a.Cmp(b) >= 0 {
		return nil
	}
	return new(big.Rat).Quo(a, b)
}

// power reads what follows ^.
func (p *parser) power(base *node) (*node, error) {
	if p.accept("°") {
		return mk(kDegree, base), nil
	}
	if p.accept("'") {
		return symNode(base.String() + "'"), nil
	}
	if p.accept("*") { // z^*
		return fn("conj", base), nil
	}
	if p.peek().is("{") {
		inner := p.peekAt(1)
		if p.peekAt(2).is("}") && (inner.is("°") || inner.is("'")) {
			p.i += 3
			if inner.is("°") {
				return mk(kDegree, base), nil
			}
			return symNode(base.String() + "'"), nil
		}
		if p.peekAt(2).is("}") && ordinalSuffix(inner.s) {
			p.i += 3
			return base, nil
		}
	} else if ordinalSuffix(p.peek().s) {
		p.i++
		return base, nil
	}
	e, err := p.exponent()
	if err != nil {
		return nil, err
	}
	return mk(kPow, base, e), nil
}

func ordinalSuffix(s string) bool { return s == "st" || s == "nd" || s == "rd" || s == "th" }

// exponent is one factor, signed, with a tower above it.
func (p *parser) exponent() (*node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.accept("-") {
		e, err := p.exponent()
		if err != nil {
			return nil, err
		}
		return mk(kNeg, e), nil
	}
	if p.accept("+") {
		return p.exponent()
	}
	e, err := p.arg(false)
	if err != nil {
		return nil, err
	}
	if p.accept("^") {
		return p.power(e)
	}
	if p.accept("!") {
		return fn("factorial", e), nil
	}
	return e, nil
}
