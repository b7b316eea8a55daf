package mathx

import (
	"math"
	"math/big"
	"sync"
)

// prec is the working precision in bits; guard is what the elementary functions add to it inside.
const (
	prec  = 256
	guard = 64
)

// ball is a real number known to lie within 2^rad of x.
type ball struct {
	x   *big.Float
	rad float64 // log2 of the error bound; -Inf: exact
}

func newFloat(p uint) *big.Float { return new(big.Float).SetPrec(p) }

func exactBall(n int64) ball { return ball{newFloat(prec).SetInt64(n), math.Inf(-1)} }

// size is an upper bound of log2 |x|, -Inf for 0.
func size(x *big.Float) float64 {
	if x.Sign() == 0 {
		return math.Inf(-1)
	}
	return float64(x.MantExp(nil))
}

func (b ball) size() float64 { return size(b.x) }

// addRad is log2(2^a + 2^b).
func addRad(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(a, -1) || a-b > 60 {
		return a
	}
	return a + math.Log2(1+math.Exp2(b-a))
}

// rounded gives x, just computed by a correctly rounded operation, its error bound.
func rounded(x *big.Float, rad float64) ball { return ball{x, addRad(rad, size(x)-prec)} }

func ballOf(q *big.Rat) ball {
	x := newFloat(prec).SetRat(q)
	return rounded(x, math.Inf(-1))
}

func (b ball) neg() ball { return ball{newFloat(prec).Neg(b.x), b.rad} }

func (b ball) add(c ball) ball { return rounded(newFloat(prec).Add(b.x, c.x), addRad(b.rad, c.rad)) }
func (b ball) sub(c ball) ball { return rounded(newFloat(prec).Sub(b.x, c.x), addRad(b.rad, c.rad)) }

func (b ball) mul(c ball) ball {
	rad := addRad(addRad(b.rad+c.size(), c.rad+b.size()), b.rad+c.rad)
	if math.IsNaN(rad) {
		rad = math.Inf(-1) // an exact zero factor
	}
	return rounded(newFloat(prec).Mul(b.x, c.x), rad)
}

// sign is -1, 0 or 1, and false where the error bound leaves it open.
func (b ball) sign() (int, bool) {
	if math.IsInf(b.rad, -1) {
		return b.x.Sign(), true
	}
	return b.x.Sign(), b.size()-1 > b.rad
}

// isZero reports a number that cannot be told from 0 though it is known to 100 bits.
func (b ball) isZero() bool {
	_, known := b.sign()
	return b.x.Sign() == 0 && known || !known && b.rad < -100
}

func (b ball) div(c ball) (ball, error) {
	if s, ok := c.sign(); !ok || s == 0 {
		return ball{}, errUndefined
	}
	x := newFloat(prec).Quo(b.x, c.x)
	low := c.size() - 1
	return rounded(x, addRad(b.rad-low, c.rad+size(x)-low)+1), nil
}

func (b ball) sqrt() (ball, error) {
	s, ok := b.sign()
	if b.isZero() {
		return ball{newFloat(prec), math.Max(b.rad, -4*prec) / 2}, nil
	}
	if !ok || s < 0 {
		return ball{}, errUndefined
	}
	x := newFloat(prec).Sqrt(b.x)
	return rounded(x, b.rad-size(x)+1), nil
}

func (b ball) exp() (ball, error) {
	if b.size() > 31 || b.rad > 0 {
		return ball{}, errTooLarge
	}
	x, ok := expFloat(b.x)
	if !ok {
		return ball{}, errTooLarge
	}
	return rounded(x, addRad(b.rad, -prec)+size(x)+1), nil
}

// log is the natural logarithm of a positive number.
func (b ball) log() (ball, error) {
	if s, ok := b.sign(); !ok || s <= 0 {
		return ball{}, errUndefined
	}
	x := logFloat(b.x)
	return rounded(x, addRad(b.rad-b.size()+2, -prec)), nil
}

func (b ball) sincos() (sin, cos ball, err error) {
	if b.size() > 120 || b.rad > 0 {
		return ball{}, ball{}, errTooLarge
	}
	s, c := sincosFloat(b.x)
	rad := addRad(b.rad, -prec)
	return rounded(s, rad), rounded(c, rad), nil
}

func (b ball) atan() ball { return rounded(atanFloat(b.x), addRad(b.rad, -prec)) }

// constants are computed once, to 640 bits.
const constPrec = 640

var (
	piConst  = sync.OnceValue(computePi)
	ln2Const = sync.OnceValue(computeLn2)
)

func piBall() ball { return rounded(newFloat(prec).Set(piConst()), math.Inf(-1)) }

// inverseSeries is sum over k of sign^k / ((2k+1) n^(2k+1)): atan(1/n) for sign -1, atanh(1/n) for sign 1.
func inverseSeries(n, sign int64) *big.Float {
	power := newFloat(constPrec).Quo(big.NewFloat(1), newFloat(constPrec).SetInt64(n))
	square := newFloat(constPrec).SetInt64(n * n)
	sum, term := newFloat(constPrec), newFloat(constPrec)
	for k := int64(0); power.MantExp(nil) > -constPrec-8; k++ {
		term.Quo(power, newFloat(constPrec).SetInt64(2*k+1))
		if sign < 0 && k%2 == 1 {
			sum.Sub(sum, term)
		} else {
			sum.Add(sum, term)
		}
		power.Quo(power, square)
	}
	return sum
}

func times(n int64, x *big.Float) *big.Float {
	return newFloat(constPrec).Mul(newFloat(constPrec).SetInt64(n), x)
}

// computePi uses Machin's formula, pi = 16 atan(1/5) - 4 atan(1/239).
func computePi() *big.Float {
	return newFloat(constPrec).Sub(times(16, inverseSeries(5, -1)), times(4, inverseSeries(239, -1)))
}

// computeLn2 is 18 atanh(1/26) - 2 atanh(1/4801) + 8 atanh(1/8749).
func computeLn2() *big.Float {
	x := newFloat(constPrec).Sub(times(18, inverseSeries(26, 1)), times(2, inverseSeries(4801, 1)))
	return x.Add(x, times(8, inverseSeries(8749, 1)))
}

// expFloat is e^x for |x| < 2^31, and false where the exponent overflows: x = n ln 2 + r, then (e^(r/2^16))^(2^16).
func expFloat(x *big.Float) (*big.Float, bool) {
	const p, halvings = prec + guard + 32, 16
	n := new(big.Float).SetPrec(64).Quo(x, ln2Const())
	f, _ := n.Float64()
	k := math.Round(f)
	if math.Abs(k) > 1e9 {
		return nil, false
	}
	r := newFloat(p+32).Mul(newFloat(64).SetFloat64(k), ln2Const())
	r.Sub(newFloat(p+32).Set(x), r)
	r.SetPrec(p).SetMantExp(r, -halvings)
	sum, term := newFloat(p).SetInt64(1), newFloat(p).SetInt64(1)
	for i := int64(1); i < 64; i++ {
		term.Mul(term, r)
		term.Quo(term, newFloat(64).SetInt64(i))
		if term.Sign() == 0 || term.MantExp(nil) < -p {
			break
		}
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return newFloat(prec).SetMantExp(sum, int(k)), true
}

// logFloat is ln x for x > 0: Halley's iteration on e^y = m from the float64 logarithm, x = m 2^e.
func logFloat(x *big.Float) *big.Float {
	const p = prec + guard
	m := newFloat(p)
	e := x.MantExp(m)
	f, _ := m.Float64()
	if f < 0.70710678 {
		m.SetMantExp(m, 1)
		f *= 2
		e--
	}
	y := newFloat(p).SetFloat64(math.Log(f))
	for range 2 { // 50, 150, 450 correct bits; expFloat gives prec
		ey, _ := expFloat(y)
		num := newFloat(p).Sub(m, ey)
		num.SetMantExp(num, 1)
		y.Add(y, num.Quo(num, newFloat(p).Add(m, ey)))
	}
	y.Add(y, newFloat(p).Mul(ln2Const(), newFloat(64).SetInt64(int64(e))))
	return newFloat(prec).Set(y)
}

// sincosFloat reduces by multiples of pi/2 and sums the Taylor series.
func sincosFloat(x *big.Float) (sin, cos *big.Float) {
	const p = prec + guard
	half := newFloat(constPrec).SetMantExp(piConst(), -1)
	q := newFloat(constPrec).Quo(x, half)
	q.Add(q, newFloat(constPrec).SetFloat64(math.Copysign(0.5, float64(q.Sign()))))
	n, _ := q.Int(nil)
	r := newFloat(constPrec).Mul(half, new(big.Float).SetPrec(constPrec).SetInt(n))
	r.Sub(newFloat(constPrec).Set(x), r).SetPrec(p)
	s, c := newFloat(p), newFloat(p)
	term := newFloat(p).SetInt64(1)
	for i := int64(0); i < 128; i++ {
		into := c
		if i%2 == 1 {
			into = s
		}
		if i%4 < 2 {
			into.Add(into, term)
		} else {
			into.Sub(into, term)
		}
		term.Mul(term, r)
		term.Quo(term, newFloat(64).SetInt64(i+1))
		if term.Sign() == 0 || term.MantExp(nil) < -p {
			break
		}
	}
	quadrant := new(big.Int).And(n, big.NewInt(3)).Int64()
	switch quadrant {
	case 1:
		s, c = c, s.Neg(s)
	case 2:
		s, c = s.Neg(s), c.Neg(c)
	case 3:
		s, c = c.Neg(c), s
	}
	return newFloat(prec).Set(s), newFloat(prec).Set(c)
}

// atanFloat halves the angle until the series is short: atan x = 2 atan(x / (1 + sqrt(1 + x^2))).
func atanFloat(x *big.Float) *big.Float {
	const p, halvings = prec + guard, 8
	if x.Sign() == 0 {
		return newFloat(prec)
	}
	one := newFloat(p).SetInt64(1)
	t := newFloat(p).Set(x)
	inverse := t.MantExp(nil) > 0
	if inverse {
		t.Quo(one, t)
	}
	for range halvings {
		d := newFloat(p).Mul(t, t)
		d.Add(d, one).Sqrt(d)
		t.Quo(t, d.Add(d, one))
	}
	square := newFloat(p).Mul(t, t)
	sum, power := newFloat(p), newFloat(p).Set(t)
	for k := int64(0); k < 64 && power.Sign() != 0 && power.MantExp(nil) > t.MantExp(nil)-p; k++ {
		term := newFloat(p).Quo(power, newFloat(64).SetInt64(2*k+1))
		if k%2 == 1 {
			term.Neg(term)
		}
		sum.Add(sum, term)
		power.Mul(power, square)
	}
	sum.SetMantExp(sum, halvings)
	if inverse {
		half := newFloat(p).SetMantExp(piConst(), -1)
		if x.Sign() < 0 {
			half.Neg(half)
		}
		sum.Sub(half, sum)
	}
	return newFloat(prec).Set(sum)
}
