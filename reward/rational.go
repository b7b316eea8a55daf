package reward

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// ErrUndecided is wrapped by the error of an [Equal] that cannot tell.
var ErrUndecided = errors.New("cannot be decided")

// Rational is an [Equal] of exact arithmetic on rational numbers: decimals, thousands commas, percent, + - * / ^, brackets, \frac,
// \times, \cdot and \div, integer powers. Whatever else stands there, or is too large, is undecided.
func Rational(gold, answer string) (bool, error) {
	x, err := evaluate(gold)
	if err != nil {
		return false, err
	}
	y, err := evaluate(answer)
	if err != nil {
		return false, err
	}
	return x.Cmp(y) == 0, nil
}

// Bounds of an expression: its length in bytes, depth of brackets, exponent, and bits of any number on the way.
const (
	maxExpression = 1000
	maxDepth      = 50
	maxExponent   = 1000
	maxBits       = 10000
)

// arithmetic is a parser of one expression. The first error sticks.
type arithmetic struct {
	rest  string
	depth int
	err   error
}

var latex = strings.NewReplacer(`\left`, "", `\right`, "", `\cdot`, "*", `\times`, "*", `\div`, "/", `\dfrac`, `\frac`, `\tfrac`, `\frac`, `\%`, "%", `\,`, "", `\!`, "", `\;`, " ",
	`\ `, " ", `\(`, " ", `\)`, " ", `\[`, " ", `\]`, " ", "$", " ", "**", "^", "×", "*", "·", "*", "⋅", "*", "∗", "*", "÷", "/", "−", "-", "–", "-", "²", "^2", "³", "^3", "\u00a0", " ")

func evaluate(s string) (*big.Rat, error) {
	if len(s) > maxExpression {
		return nil, fmt.Errorf("reward: an expression of %d bytes: %w", len(s), ErrUndecided)
	}
	p := &arithmetic{rest: latex.Replace(s)}
	v := p.sum()
	if p.peek() != 0 {
		p.fail()
	}
	if p.err != nil {
		return nil, fmt.Errorf("reward: %q: %w", s, p.err)
	}
	return v, nil
}

func (p *arithmetic) fail() *big.Rat {
	if p.err == nil {
		p.err = ErrUndecided
	}
	p.rest = ""
	return new(big.Rat)
}

// peek is the next byte that is no space, 0 at the end.
func (p *arithmetic) peek() byte {
	p.rest = strings.TrimLeft(p.rest, " \t\n")
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *arithmetic) accept(token string) bool {
	p.peek()
	var ok bool
	p.rest, ok = strings.CutPrefix(p.rest, token)
	return ok
}

func (p *arithmetic) check(v *big.Rat) *big.Rat {
	if v.Num().BitLen() > maxBits || v.Denom().BitLen() > maxBits {
		return p.fail()
	}
	return v
}

func (p *arithmetic) sum() *big.Rat {
	v := p.product()
	for p.err == nil {
		switch {
		case p.accept("+"):
			v = p.check(v.Add(v, p.product()))
		case p.accept("-"):
			v = p.check(v.Sub(v, p.product()))
		default:
			return v
		}
	}
	return v
}

func (p *arithmetic) product() *big.Rat {
	v := p.signed()
	for p.err == nil {
		switch {
		case p.accept("*"):
			v = p.check(v.Mul(v, p.signed()))
		case p.accept("/"):
			d := p.signed()
			if d.Sign() == 0 {
				return p.fail()
			}
			v = p.check(v.Quo(v, d))
		case p.peek() == '(': // 2(3); a mixed number such as 2\frac{1}{2} is left over, so undecided
			v = p.check(v.Mul(v, p.signed()))
		default:
			return v
		}
	}
	return v
}

func (p *arithmetic) signed() *big.Rat {
	if p.depth++; p.depth > maxDepth {
		return p.fail()
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("-"):
		v := p.signed()
		return v.Neg(v)
	case p.accept("+"):
		return p.signed()
	}
	return p.power()
}

func (p *arithmetic) power() *big.Rat {
	v := p.atom()
	if p.accept("%") {
		v = v.Quo(v, big.NewRat(100, 1))
	}
	if !p.accept("^") {
		return v
	}
	e := p.signed()
	if p.err != nil || !e.IsInt() || !e.Num().IsInt64() || (v.Sign() == 0 && e.Sign() <= 0) {
		return p.fail()
	}
	n := e.Num().Int64()
	size := int64(max(v.Num().BitLen(), v.Denom().BitLen()))
	if n > maxExponent || n < -maxExponent || max(n, -n)*size > maxBits {
		return p.fail()
	}
	power := big.NewInt(max(n, -n))
	v = new(big.Rat).SetFrac(new(big.Int).Exp(v.Num(), power, nil), new(big.Int).Exp(v.Denom(), power, nil))
	if n < 0 {
		v = v.Inv(v)
	}
	return v
}

func (p *arithmetic) atom() *big.Rat {
	switch c := p.peek(); {
	case c == '(', c == '{', c == '[':
		return p.bracket()
	case p.accept(`\frac`):
		if p.peek() != '{' {
			return p.fail()
		}
		n := p.bracket()
		if p.peek() != '{' {
			return p.fail()
		}
		d := p.bracket()
		if d.Sign() == 0 {
			return p.fail()
		}
		return n.Quo(n, d)
	}
	n := 0
	for n < len(p.rest) && (p.rest[n] >= '0' && p.rest[n] <= '9' || p.rest[n] == '.' || p.rest[n] == ',') {
		n++
	}
	digits, ok := withoutThousands(p.rest[:n])
	v, read := new(big.Rat).SetString(digits)
	if !ok || !read {
		return p.fail()
	}
	p.rest = p.rest[n:]
	return v
}

func (p *arithmetic) bracket() *big.Rat {
	closing := map[byte]string{'(': ")", '{': "}", '[': "]"}[p.rest[0]]
	p.rest = p.rest[1:]
	v := p.sum()
	if !p.accept(closing) {
		return p.fail()
	}
	return v
}

// withoutThousands drops the commas of 1,234,567.89; false where they do not stand so, or where there is no digit.
func withoutThousands(s string) (string, bool) {
	whole, _, _ := strings.Cut(s, ".")
	groups := strings.Split(whole, ",")
	for i, g := range groups[1:] {
		if len(g) != 3 || i == 0 && (len(groups[0]) < 1 || len(groups[0]) > 3) {
			return "", false
		}
	}
	s = strings.Join(groups, "") + s[len(whole):]
	return s, s != "" && s != "." && strings.Count(s, ".") <= 1 && !strings.Contains(s, ",")
}
