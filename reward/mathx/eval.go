package mathx

import (
	"math/big"
)

// machine evaluates expressions and counts what that costs. One step is about 30 ns.
type machine struct {
	left     int            // steps that remain
	vars     map[string]num // values of the variables
	realOnly bool           // roots and logarithms of negative numbers are errors
	natural  bool           // log without a base is ln, else to base 10
}

// Costs in steps, measured against each other on one core.
const (
	costNode  = 2
	costBall  = 15
	costExp   = 300
	costLog   = 900
	costTrig  = 900
	costAtan  = 1000
	costText  = 2       // bytes of canonical text a step
	costWords = 1.0 / 4 // times the square of the words of an exact number
)

func (m *machine) spend(n int) error {
	if m.left -= n; m.left < 0 {
		m.left = 0
		return errBudget
	}
	return nil
}

// spendOn charges for arithmetic on a and b.
func (m *machine) spendOn(a, b num) error {
	if a.q == nil || b.q == nil {
		w := 0.0 // of the exact one, which is rounded
		for _, q := range [...]*big.Rat{a.q, b.q} {
			if q != nil {
				w += float64(q.Num().BitLen()+q.Denom().BitLen()) / 64
			}
		}
		return m.spend(costBall + int(w*w*costWords/4))
	}
	if a.q.IsInt() && b.q.IsInt() {
		w := float64(a.q.Num().BitLen()+b.q.Num().BitLen()) / 64
		return m.spend(int(w * w * costWords / 16))
	}
	w := float64(a.q.Num().BitLen()+a.q.Denom().BitLen()+b.q.Num().BitLen()+b.q.Denom().BitLen())/64 + 1
	return m.spend(int(w * w * costWords))
}

// eval is the value of n; a node that is no number is an error.
func (m *machine) eval(n *node) (num, error) {
	if err := m.spend(costNode); err != nil {
		return num{}, err
	}
	switch n.kind {
	case kNum:
		return ratNum(n.q), nil
	case kSym:
		return m.symbol(n.s)
	case kAdd, kMul:
		return m.fold(n)
	case kNeg:
		v, err := m.eval(n.args[0])
		return v.negErr(err)
	case kDiv, kPow, kRatio:
		if len(n.args) != 2 {
			return num{}, errNotScalar
		}
		a, b, err := m.two(n.args[0], n.args[1])
		if err != nil {
			return num{}, err
		}
		if n.kind == kPow {
			return m.pow(a, b)
		}
		return a.div(b)
	case kPercent:
		v, err := m.eval(n.args[0])
		if err != nil {
			return num{}, err
		}
		return v.div(intNum(100))
	case kDegree:
		v, err := m.eval(n.args[0])
		if err != nil {
			return num{}, err
		}
		if v, err = v.mul(realNum(piBall())); err != nil {
			return num{}, err
		}
		return v.div(intNum(180))
	case kBased:
		return m.eval(n.args[0])
	case kFn:
		return m.function(n)
	case kSum:
		return m.series(n)
	}
	return num{}, errNotScalar
}

func (a num) negErr(err error) (num, error) {
	if err != nil {
		return num{}, err
	}
	return a.neg(), nil
}

func (m *machine) symbol(s string) (num, error) {
	if v, ok := m.vars[s]; ok {
		return v, nil
	}
	switch s {
	case "pi":
		return realNum(piBall()), nil
	case "e":
		if err := m.spend(costExp); err != nil {
			return num{}, err
		}
		x, err := exactBall(1).exp()
		return realNum(x), err
	case "i":
		return num{re: exactBall(0), im: exactBall(1)}, nil
	}
	return num{}, errNotScalar
}

func (m *machine) two(x, y *node) (a, b num, err error) {
	if a, err = m.eval(x); err == nil {
		b, err = m.eval(y)
	}
	if err == nil {
		err = m.spendOn(a, b)
	}
	return a, b, err
}

func (m *machine) fold(n *node) (num, error) {
	acc, err := m.eval(n.args[0])
	for _, x := range n.args[1:] {
		if err != nil {
			return num{}, err
		}
		var b num
		if b, err = m.eval(x); err != nil {
			return num{}, err
		}
		if err = m.spendOn(acc, b); err != nil {
			return num{}, err
		}
		if n.kind == kAdd {
			acc, err = acc.add(b)
		} else {
			acc, err = acc.mul(b)
		}
	}
	return acc, err
}

func (m *machine) pow(a, b num) (num, error) {
	if n, ok := b.integer(); ok {
		bits := big.NewInt(n).BitLen()
		if a.q != nil {
			w := min(float64(a.q.Num().BitLen()+a.q.Denom().BitLen())*float64(max(n, -n)), maxBits) / 64
			if err := m.spend(int(w * w * costWords / 8)); err != nil {
				return num{}, err
			}
		}
		if err := m.spend(bits * 2 * costBall); err != nil {
			return num{}, err
		}
	} else if err := m.spend(costLog + costExp); err != nil {
		return num{}, err
	}
	return a.pow(b, m.realOnly)
}

// costs of the functions; those left out cost a log.
var functionCost = map[string]int{
	"sin": costTrig, "cos": costTrig, "tan": costTrig, "cot": costTrig, "sec": costTrig, "csc": costTrig,
	"arcsin": costAtan, "arccos": costAtan, "arctan": costAtan, "arccot": costAtan, "abs": costBall, "floor": costBall, "ceil": costBall,
	"max": costBall, "min": costBall, "gcd": costBall, "lcm": costBall, "conj": costBall, "sqrt": 2 * costBall, "exp": costExp,
	"factorial": costBall, "binom": costBall, "det": costBall, "ln": costLog,
}

func (m *machine) function(n *node) (num, error) {
	cost, ok := functionCost[n.s]
	if !ok {
		cost = 2 * costLog
	}
	if err := m.spend(cost); err != nil {
		return num{}, err
	}
	if n.s == "det" {
		return m.det(n.args[0])
	}
	args := make([]num, len(n.args))
	for i, a := range n.args {
		var err error
		if args[i], err = m.eval(a); err != nil {
			return num{}, err
		}
	}
	if len(args) == 0 {
		return num{}, errNotScalar
	}
	switch n.s {
	case "max", "min", "gcd", "lcm":
		return several(n.s, args)
	case "factorial":
		return m.factorial(args[0])
	case "binom":
		return m.binom(args[0], args[1])
	case "root":
		return m.root(args[0], args[1])
	case "logb":
		return m.logBase(args[0], args[1])
	}
	if len(args) != 1 {
		return num{}, errNotScalar
	}
	return m.unary(n.s, args[0])
}

func (m *machine) unary(name string, x num) (num, error) {
	switch name {
	case "abs":
		return x.abs()
	case "conj":
		if x.isReal() {
			return x, nil
		}
		return num{re: x.re, im: x.im.neg()}, nil
	case "floor", "ceil":
		return round(x, name == "ceil")
	case "exp":
		return x.exp()
	case "sqrt":
		if s, ok := x.sign(); m.realOnly && (!ok || s < 0) {
			return num{}, errNonReal
		}
		return x.sqrt()
	case "ln":
		return m.ln(x)
	case "log", "lg":
		if m.natural && name == "log" {
			return m.ln(x)
		}
		return m.logBase(x, intNum(10))
	case "sin", "cos", "tan", "cot", "sec", "csc":
		return trig(name, x)
	case "sinh", "cosh", "tanh", "coth":
		return hyperbolic(name, x)
	case "arcsin", "arccos", "arctan", "arccot":
		return inverseTrig(name, x)
	}
	return num{}, errNotScalar
}

func (m *machine) ln(x num) (num, error) {
	if s, ok := x.sign(); m.realOnly && (!ok || s < 0) {
		return num{}, errNonReal
	}
	return x.log()
}

func (m *machine) logBase(x, base num) (num, error) {
	a, err := m.ln(x)
	if err != nil {
		return num{}, err
	}
	b, err := m.ln(base)
	if err != nil {
		return num{}, err
	}
	return a.div(b)
}

func (m *machine) root(x, n num) (num, error) {
	inv, err := intNum(1).div(n)
	if err != nil {
		return num{}, err
	}
	return m.pow(x, inv)
}

func (m *machine) factorial(x num) (num, error) {
	n, ok := x.integer()
	if !ok || n < 0 {
		return num{}, errUndefined
	}
	if n > 2000 {
		return num{}, errTooLarge
	}
	if err := m.spend(int(n * n / 64)); err != nil {
		return num{}, err
	}
	return ratNum(new(big.Rat).SetInt(new(big.Int).MulRange(1, n))), nil
}

func (m *machine) binom(x, y num) (num, error) {
	n, ok := x.integer()
	k, ok2 := y.integer()
	if !ok || !ok2 || n < 0 || k < 0 {
		return num{}, errUndefined
	}
	if n > 1<<20 || min(k, n-k) > 2000 {
		return num{}, errTooLarge
	}
	if k > n {
		return intNum(0), nil
	}
	if err := m.spend(int(min(k, n-k) * min(k, n-k) / 16)); err != nil {
		return num{}, err
	}
	return ratNum(new(big.Rat).SetInt(new(big.Int).Binomial(n, k))), nil
}

// round is floor, or with up ceil, of a real number.
func round(x num, up bool) (num, error) {
	if up {
		v, err := round(x.neg(), false)
		return v.negErr(err)
	}
	if x.q == nil {
		if !x.isReal() || x.re.size() > prec-32 {
			return num{}, errUndefined
		}
		near, _ := newFloat(prec).Add(x.re.x, newFloat(prec).SetFloat64(0.5)).Int(nil)
		whole := num{q: new(big.Rat).SetInt(near)}
		if same(whole, x, 0) {
			return whole, nil
		}
		q, _ := x.re.x.Rat(nil)
		x = num{q: q}
	}
	d, r := new(big.Int).QuoRem(x.q.Num(), x.q.Denom(), new(big.Int))
	if r.Sign() < 0 {
		d.Sub(d, big.NewInt(1))
	}
	return num{q: new(big.Rat).SetInt(d)}, nil
}

// several is the greatest, the least, the greatest common divisor or the least common multiple.
func several(name string, args []num) (num, error) {
	acc := args[0]
	for _, x := range args[1:] {
		if name == "gcd" || name == "lcm" {
			if acc.q == nil || x.q == nil || !acc.q.IsInt() || !x.q.IsInt() || acc.q.Sign() == 0 || x.q.Sign() == 0 {
				return num{}, errUndefined
			}
			g := new(big.Int).GCD(nil, nil, new(big.Int).Abs(acc.q.Num()), new(big.Int).Abs(x.q.Num()))
			if name == "lcm" {
				g.Quo(new(big.Int).Mul(new(big.Int).Abs(acc.q.Num()), new(big.Int).Abs(x.q.Num())), g)
			}
			acc = ratNum(new(big.Rat).SetInt(g))
			continue
		}
		d, err := acc.sub(x)
		if err != nil {
			return num{}, err
		}
		s, ok := d.sign()
		if !ok {
			return num{}, errUndefined
		}
		if (s < 0) == (name == "max") {
			acc = x
		}
	}
	return acc, nil
}
