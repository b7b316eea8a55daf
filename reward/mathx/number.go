package mathx

import (
	"errors"
	"math"
	"math/big"
)

// Why a value cannot be had.
var (
	errUndefined = errors.New("undefined")                // 0/0, the logarithm of 0, a root outside its domain
	errTooLarge  = errors.New("too large to evaluate")    // beyond the range of a 256-bit float
	errBudget    = errors.New("over the budget of steps") // evaluation gave up
	errNotScalar = errors.New("is no number")             // a set, a relation, a text
	errNonReal   = errors.New("not real at this point")   // real evaluation left the real line
)

// maxBits bounds the size of exact numbers; past it a number becomes a ball.
const maxBits = 1 << 15

// num is a number: an exact rational q, or else a complex number of two balls.
type num struct {
	q      *big.Rat
	re, im ball // im.x nil: real
}

func ratNum(q *big.Rat) num {
	if q.Num().BitLen()+q.Denom().BitLen() > maxBits {
		return num{re: ballOf(q)}
	}
	return num{q: q}
}
func intNum(n int64) num   { return num{q: new(big.Rat).SetInt64(n)} }
func realNum(b ball) num   { return num{re: b} }
func (a num) isReal() bool { return a.q != nil || a.im.x == nil }

// parts returns the real and imaginary part as balls.
func (a num) parts() (re, im ball) {
	if a.q != nil {
		return ballOf(a.q), exactBall(0)
	}
	if a.im.x == nil {
		return a.re, exactBall(0)
	}
	return a.re, a.im
}

// complexNum drops an imaginary part that is 0 to 100 bits.
func complexNum(re, im ball) (num, error) {
	if re.x.IsInf() || im.x != nil && im.x.IsInf() {
		return num{}, errTooLarge
	}
	if im.x == nil || im.isZero() && im.rad < re.size()-100 || im.x.Sign() == 0 && math.IsInf(im.rad, -1) {
		return num{re: re}, nil
	}
	return num{re: re, im: im}, nil
}

func (a num) real() ball {
	if a.q != nil {
		return ballOf(a.q)
	}
	return a.re
}

// isZero reports 0, for inexact numbers to 100 bits.
func (a num) isZero() bool {
	if a.q != nil {
		return a.q.Sign() == 0
	}
	return a.re.isZero() && (a.im.x == nil || a.im.isZero())
}

// sign of a real number; false where it is not real or not known.
func (a num) sign() (int, bool) {
	switch {
	case a.q != nil:
		return a.q.Sign(), true
	case !a.isReal():
		return 0, false
	case a.isZero():
		return 0, true
	}
	return a.re.sign()
}

func (a num) neg() num {
	if a.q != nil {
		return num{q: new(big.Rat).Neg(a.q)}
	}
	if a.im.x == nil {
		return num{re: a.re.neg()}
	}
	return num{re: a.re.neg(), im: a.im.neg()}
}

func (a num) add(b num) (num, error) {
	if a.q != nil && b.q != nil {
		return ratNum(new(big.Rat).Add(a.q, b.q)), nil
	}
	if a.isReal() && b.isReal() {
		return complexNum(a.real().add(b.real()), ball{})
	}
	ar, ai := a.parts()
	br, bi := b.parts()
	return complexNum(ar.add(br), ai.add(bi))
}

func (a num) sub(b num) (num, error) { return a.add(b.neg()) }

func (a num) mul(b num) (num, error) {
	if a.q != nil && b.q != nil {
		return ratNum(new(big.Rat).Mul(a.q, b.q)), nil
	}
	if a.q != nil && a.q.Sign() == 0 || b.q != nil && b.q.Sign() == 0 {
		return intNum(0), nil
	}
	if a.isReal() && b.isReal() {
		return complexNum(a.real().mul(b.real()), ball{})
	}
	ar, ai := a.parts()
	br, bi := b.parts()
	return complexNum(ar.mul(br).sub(ai.mul(bi)), ar.mul(bi).add(ai.mul(br)))
}

func (a num) div(b num) (num, error) {
	if b.isZero() {
		return num{}, errUndefined
	}
	if a.q != nil && b.q != nil {
		return ratNum(new(big.Rat).Quo(a.q, b.q)), nil
	}
	if a.isReal() && b.isReal() {
		x, err := a.real().div(b.real())
		if err != nil {
			return num{}, err
		}
		return complexNum(x, ball{})
	}
	br, bi := b.parts()
	norm := br.mul(br).add(bi.mul(bi))
	p, err := a.mul(num{re: br, im: bi.neg()})
	if err != nil {
		return num{}, err
	}
	pr, pi := p.parts()
	re, err := pr.div(norm)
	if err != nil {
		return num{}, err
	}
	im, err := pi.div(norm)
	if err != nil {
		return num{}, err
	}
	return complexNum(re, im)
}

// integer returns a's value where it is an exact integer of at most 62 bits.
func (a num) integer() (int64, bool) {
	if a.q == nil || !a.q.IsInt() || a.q.Num().BitLen() > 62 {
		return 0, false
	}
	return a.q.Num().Int64(), true
}

// powInt is a^n by squaring; 0 to a negative power and 0^0 are undefined.
func (a num) powInt(n int64) (num, error) {
	if a.isZero() {
		if n <= 0 {
			return num{}, errUndefined
		}
		return intNum(0), nil
	}
	if n < 0 {
		p, err := a.powInt(-n)
		if err != nil {
			return num{}, err
		}
		return intNum(1).div(p)
	}
	if a.q != nil && a.q.Num().CmpAbs(a.q.Denom()) != 0 && float64(n)*float64(a.q.Num().BitLen()+a.q.Denom().BitLen()-2) > maxBits {
		a = num{re: ballOf(a.q)}
	}
	if a.q == nil {
		modulus, err := a.abs()
		if err != nil || n > 1<<40 || math.Abs(modulus.real().size())*float64(n) > 1<<31 {
			return num{}, errTooLarge
		}
	}
	result, err := intNum(1), error(nil)
	for ; n > 0 && err == nil; n >>= 1 {
		if n&1 == 1 {
			if result, err = result.mul(a); err != nil {
				break
			}
		}
		if n > 1 {
			a, err = a.mul(a)
		}
	}
	return result, err
}

// exactRoot is the exact n-th root of a non-negative rational, where there is one.
func exactRoot(q *big.Rat, n int64) (*big.Rat, bool) {
	num, ok := intRoot(q.Num(), n)
	if !ok {
		return nil, false
	}
	den, ok := intRoot(q.Denom(), n)
	if !ok {
		return nil, false
	}
	return new(big.Rat).SetFrac(num, den), true
}

func intRoot(x *big.Int, n int64) (*big.Int, bool) {
	if x.Sign() == 0 || x.IsInt64() && x.Int64() == 1 {
		return x, true
	}
	var r *big.Int
	if n == 2 {
		r = new(big.Int).Sqrt(x)
	} else {
		if n > int64(x.BitLen()) {
			return nil, false
		}
		l, err := (ball{newFloat(uint(prec)).SetInt(x), math.Inf(-1)}).log()
		if err != nil {
			return nil, false
		}
		l, _ = l.div(exactBall(n))
		e, err := l.exp()
		if err != nil || e.size() > prec-16 {
			return nil, false
		}
		r, _ = e.x.Add(e.x, big.NewFloat(0.5)).Int(nil)
	}
	return r, new(big.Int).Exp(r, big.NewInt(n), nil).Cmp(x) == 0
}

// log is the principal natural logarithm.
func (a num) log() (num, error) {
	if a.isZero() {
		return num{}, errUndefined
	}
	if a.q != nil && a.q.IsInt() && a.q.Num().IsInt64() && a.q.Num().Int64() == 1 {
		return intNum(0), nil
	}
	if s, ok := a.sign(); ok && s > 0 {
		x, err := a.real().log()
		return num{re: x}, err
	}
	re, im := a.parts()
	r, err := re.mul(re).add(im.mul(im)).log()
	if err != nil {
		return num{}, err
	}
	r, _ = r.div(exactBall(2))
	t, err := arg(re, im)
	if err != nil {
		return num{}, err
	}
	return complexNum(r, t)
}

// arg is the angle of re + im i in (-pi, pi].
func arg(re, im ball) (ball, error) {
	sr, okR := re.sign()
	si, okI := im.sign()
	if im.isZero() {
		si, okI = 0, true
	}
	if re.isZero() {
		sr, okR = 0, true
	}
	if !okR || !okI {
		return ball{}, errUndefined
	}
	pi := piBall()
	half, _ := pi.div(exactBall(2))
	switch {
	case sr == 0 && si == 0:
		return ball{}, errUndefined
	case sr == 0 && si > 0:
		return half, nil
	case sr == 0:
		return half.neg(), nil
	case si == 0 && sr > 0:
		return exactBall(0), nil
	case si == 0:
		return pi, nil
	}
	t, err := im.div(re)
	if err != nil {
		return ball{}, err
	}
	a := t.atan()
	if sr < 0 && si > 0 {
		a = a.add(pi)
	} else if sr < 0 {
		a = a.sub(pi)
	}
	return a, nil
}

func (a num) exp() (num, error) {
	if a.q != nil && a.q.Sign() == 0 {
		return intNum(1), nil
	}
	re, im := a.parts()
	m, err := re.exp()
	if err != nil || a.isReal() {
		return num{re: m}, err
	}
	s, c, err := im.sincos()
	if err != nil {
		return num{}, err
	}
	return complexNum(m.mul(c), m.mul(s))
}

// pow is a^b: exact where it can be, the real root for negative numbers under odd roots, else e^(b log a), principal.
func (a num) pow(b num, realOnly bool) (num, error) {
	if n, ok := b.integer(); ok {
		return a.powInt(n)
	}
	if a.isZero() {
		if s, ok := b.sign(); ok && s > 0 {
			return intNum(0), nil
		}
		return num{}, errUndefined
	}
	sign, real := a.sign()
	if b.q != nil && b.q.Denom().IsInt64() && b.q.Num().IsInt64() && real {
		p, q := b.q.Num().Int64(), b.q.Denom().Int64()
		if sign < 0 && q%2 == 1 {
			r, err := a.neg().pow(b, realOnly)
			if p%2 != 0 {
				r = r.neg()
			}
			return r, err
		}
		if a.q != nil && sign > 0 && q < 1024 {
			if r, ok := exactRoot(a.q, q); ok {
				return num{q: r}.powInt(p)
			}
		}
		if q == 2 && (sign > 0 || !realOnly) {
			r, err := a.sqrt()
			if err != nil {
				return num{}, err
			}
			return r.powInt(p)
		}
	}
	if realOnly && (!real || sign < 0) {
		return num{}, errNonReal
	}
	l, err := a.log()
	if err != nil {
		return num{}, err
	}
	if l, err = l.mul(b); err != nil {
		return num{}, err
	}
	return l.exp()
}

// sqrt is the principal square root.
func (a num) sqrt() (num, error) {
	if a.q != nil && a.q.Sign() >= 0 {
		if r, ok := exactRoot(a.q, 2); ok {
			return num{q: r}, nil
		}
	}
	if s, ok := a.sign(); ok {
		if s == 0 {
			return intNum(0), nil
		}
		if s > 0 {
			x, err := a.real().sqrt()
			return num{re: x}, err
		}
		x, err := a.real().neg().sqrt()
		if err != nil {
			return num{}, err
		}
		return num{re: exactBall(0), im: x}, nil
	}
	l, err := a.log()
	if err != nil {
		return num{}, err
	}
	if l, err = l.div(intNum(2)); err != nil {
		return num{}, err
	}
	return l.exp()
}

// abs is the modulus.
func (a num) abs() (num, error) {
	if a.q != nil {
		return num{q: new(big.Rat).Abs(a.q)}, nil
	}
	if a.isReal() {
		return num{re: ball{newFloat(prec).Abs(a.re.x), a.re.rad}}, nil
	}
	x, err := a.re.mul(a.re).add(a.im.mul(a.im)).sqrt()
	return num{re: x}, err
}

// same reports that a and b are the same number: exactly for rationals, else within the error bounds, which must be below
// 2^-100 of the larger one. With tolerance > 0, numbers that differ by at most tolerance relative to the first are the same too.
func same(a, b num, tolerance float64) bool {
	if a.q != nil && b.q != nil && a.q.Cmp(b.q) == 0 {
		return true
	}
	if tolerance > 0 && near(a, b, tolerance) {
		return true
	}
	if a.q != nil && b.q != nil {
		return false
	}
	ar, ai := a.parts()
	br, bi := b.parts()
	scale := math.Max(math.Max(ar.size(), ai.size()), math.Max(math.Max(br.size(), bi.size()), 0))
	return within(ar, br, scale) && within(ai, bi, scale)
}

func within(a, b ball, scale float64) bool {
	d := a.sub(b)
	rad := math.Max(d.rad, -4*prec)
	return rad <= scale-100 && (d.x.Sign() == 0 || d.size() <= rad+3)
}

func near(a, b num, tolerance float64) bool {
	d, err := a.sub(b)
	if err != nil {
		return false
	}
	d, err = d.abs()
	m, err2 := a.abs()
	if err != nil || err2 != nil {
		return false
	}
	limit := m.real().mul(ballOf(new(big.Rat).SetFloat64(tolerance)))
	return d.real().x.Cmp(limit.x) <= 0
}
