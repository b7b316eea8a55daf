package mathx

import "math"

// sincos of a number, complex by Euler's formula.
func (a num) sincos() (sin, cos num, err error) {
	if a.isReal() {
		if a.q != nil && a.q.Sign() == 0 {
			return intNum(0), intNum(1), nil
		}
		s, c, err := a.real().sincos()
		return realNum(s), realNum(c), err
	}
	up, err := num{re: a.im.neg(), im: a.re}.exp() // e^(iz)
	if err != nil {
		return num{}, num{}, err
	}
	down, err := intNum(1).div(up)
	if err != nil {
		return num{}, num{}, err
	}
	if sin, err = up.sub(down); err != nil {
		return num{}, num{}, err
	}
	if sin, err = sin.div(num{re: exactBall(0), im: exactBall(2)}); err != nil {
		return num{}, num{}, err
	}
	if cos, err = up.add(down); err != nil {
		return num{}, num{}, err
	}
	cos, err = cos.div(intNum(2))
	return sin, cos, err
}

func trig(name string, x num) (num, error) {
	s, c, err := x.sincos()
	if err != nil {
		return num{}, err
	}
	switch name {
	case "sin":
		return s, nil
	case "cos":
		return c, nil
	case "tan":
		return s.div(c)
	case "cot":
		return c.div(s)
	case "sec":
		return intNum(1).div(c)
	}
	return intNum(1).div(s)
}

func hyperbolic(name string, x num) (num, error) {
	up, err := x.exp()
	if err != nil {
		return num{}, err
	}
	down, err := intNum(1).div(up)
	if err != nil {
		return num{}, err
	}
	s, err := up.sub(down)
	if err != nil {
		return num{}, err
	}
	c, err := up.add(down)
	if err != nil {
		return num{}, err
	}
	switch name {
	case "sinh":
		return s.div(intNum(2))
	case "cosh":
		return c.div(intNum(2))
	case "tanh":
		return s.div(c)
	}
	return c.div(s)
}

// inverseTrig takes real arguments, those of arcsin and arccos between -1 and 1.
func inverseTrig(name string, x num) (num, error) {
	if !x.isReal() {
		return num{}, errUndefined
	}
	half, _ := piBall().div(exactBall(2))
	v := x.real()
	switch name {
	case "arctan":
		return realNum(v.atan()), nil
	case "arccot": // in (0, pi)
		return realNum(half.sub(v.atan())), nil
	}
	rest := exactBall(1).sub(v.mul(v))
	asin := half
	if rest.isZero() {
		if x.q == nil || x.q.Num().CmpAbs(x.q.Denom()) != 0 { // near the end the angle is known to half the bits only
			asin.rad = math.Max(rest.rad/2, -prec+4)
		}
		if v.x.Sign() < 0 {
			asin = asin.neg()
		}
	} else {
		root, err := rest.sqrt()
		if err != nil {
			return num{}, errNonReal
		}
		t, err := v.div(root)
		if err != nil {
			return num{}, err
		}
		asin = t.atan()
	}
	if name == "arccos" {
		asin = half.sub(asin)
	}
	return realNum(asin), nil
}
