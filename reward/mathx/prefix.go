package mathx

import (
	"errors"
	"math/big"
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
