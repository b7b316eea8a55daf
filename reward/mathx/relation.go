package mathx

import (
	"fmt"
	"math/big"
	"strings"
)

var relations = map[string]bool{"=": true, "<": true, ">": true, "≤": true, "≥": true, "≠": true, "≈": true, "≡": true, "∈": true, "∉": true}

// relation is operand (op operand)*; an operator may stand first.
func (p *parser) relation() (*node, error) {
	var args []*node
	var ops []string
	if t := p.peek(); t.kind == tOp && relations[t.s] {
		args = append(args, symNode("_"))
	} else {
		n, err := p.operand()
		if err != nil {
			return nil, err
		}
		args = append(args, n)
	}
	for {
		t := p.peek()
		op := t.s
		if t.kind == tRun && op == "in" || t.kind == tWord && op == "in" {
			op = "∈"
		} else if t.kind != tOp || !relations[op] {
			break
		}
		p.i++
		n, err := p.operand()
		if err != nil {
			return nil, err
		}
		args, ops = append(args, n), append(ops, op)
	}
	return foldRelation(args, ops), nil
}

// foldRelation drops what follows or precedes "about equal": 8.24 is what was said.
func foldRelation(args []*node, ops []string) *node {
	for i, op := range ops {
		if op == "≈" {
			if i == 0 && args[0].kind == kSym {
				if args[0].s == "_" {
					return foldRelation(args[1:], ops[1:])
				}
				continue
			}
			args, ops = args[:i+1], ops[:i]
			break
		}
	}
	if len(args) == 1 {
		return args[0]
	}
	return &node{kind: kRel, args: args, ops: ops}
}

// operand is a set expression with the unit that may follow.
func (p *parser) operand() (*node, error) {
	currency, negative := "", p.peek().is("-") && p.peekAt(1).is("$")
	if negative { // -$5
		p.i++
	}
	for t := p.peek(); t.is("$") || t.is("€") || t.is("£"); t = p.peek() {
		currency = t.s
		p.i++
	}
	n, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	if negative {
		n = mk(kNeg, n)
	}
	if n, err = p.modulus(n); err != nil {
		return nil, err
	}
	if n, err = p.units(n); err != nil || currency == "" {
		return n, err
	}
	if n.kind == kUnit {
		return n, nil
	}
	return &node{kind: kUnit, args: []*node{n}, unit: currencyUnit(currency)}, nil
}

// startsMod reports \pmod, \bmod or mod k tokens ahead.
func (p *parser) startsMod(k int) bool {
	t := p.peekAt(k)
	return t.kind == tCmd && (t.s == "pmod" || t.s == "bmod" || t.s == "mod") || (t.kind == tRun || t.kind == tWord) && t.s == "mod"
}

// modulus reads \pmod m, (mod m) and \bmod m: n stands for its residue class.
func (p *parser) modulus(n *node) (*node, error) {
	open := p.peek().is("(") && p.startsMod(1)
	if !open && !p.startsMod(0) {
		return n, nil
	}
	p.i += 1 + b2i(open)
	m, err := p.arg(false)
	if err != nil {
		return nil, err
	}
	if open && !p.accept(")") {
		return nil, p.unexpected()
	}
	return fn("class", n, m), nil
}

// subscript reads what follows _: the base of a numeral, or a part of a name.
func (p *parser) subscript(left *node) (*node, error) {
	var name strings.Builder
	if p.accept("{") {
		for depth := 1; ; {
			t := p.next()
			if t.kind == tEnd {
				return nil, p.unexpected()
			}
			if t.is("{") {
				depth++
			}
			if t.is("}") {
				if depth--; depth == 0 {
					break
				}
			}
			name.WriteString(t.s)
		}
	} else {
		t := p.next()
		if t.kind == tEnd || t.kind == tOp {
			return nil, p.unexpected()
		}
		name.WriteString(t.s)
	}
	if left.kind == kSym || left.kind == kText {
		if n := based(left.s, name.String()); n != nil {
			return n, nil
		}
		return symNode(left.s + "_" + name.String()), nil
	}
	if left.kind == kNum && left.q.IsInt() && p.i > 0 {
		if n := based(left.q.Num().String(), name.String()); n != nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("cannot read the subscript %.20q", name.String())
}

// based reads digits in a base.
func based(digits, base string) *node {
	b, ok := new(big.Int).SetString(strings.TrimSpace(base), 10)
	if b2, known := numberWords[strings.ToLower(base)]; known {
		b, ok = big.NewInt(b2), true
	}
	if !ok || !b.IsInt64() || b.Int64() < 2 || b.Int64() > 36 || digits == "" || !isDigit(digits[0]) && strings.IndexFunc(digits, func(r rune) bool { return r >= '0' && r <= '9' }) < 0 {
		return nil
	}
	v, ok := new(big.Int).SetString(digits, int(b.Int64()))
	if !ok {
		return nil
	}
	return &node{kind: kBased, s: strings.ToUpper(digits), args: []*node{ratNode(new(big.Rat).SetInt(v)), numNode(b.Int64())}}
}
