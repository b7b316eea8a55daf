package mathx

import (
	"maps"
	"math/big"
)

// series evaluates finite sums and products, and integrals of polynomials.
func (m *machine) series(n *node) (num, error) {
	from, to, err := m.two(n.args[2], n.args[3])
	if err != nil {
		return num{}, err
	}
	at := func(x num) (num, error) {
		outer := m.vars
		defer func() { m.vars = outer }()
		m.vars = make(map[string]num, len(outer)+1)
		maps.Copy(m.vars, outer)
		m.vars[n.args[1].s] = x
		return m.eval(n.args[0])
	}
	if n.s == "int" {
		return m.integral(at, from, to)
	}
	a, ok := from.integer()
	b, ok2 := to.integer()
	if !ok || !ok2 || b-a > 1<<16 {
		return num{}, errUndefined
	}
	acc := intNum(int64(b2i(n.s == "prod")))
	for k := a; k <= b; k++ {
		x, err := at(intNum(k))
		if err != nil {
			return num{}, err
		}
		if err := m.spendOn(acc, x); err != nil {
			return num{}, err
		}
		if n.s == "sum" {
			acc, err = acc.add(x)
		} else {
			acc, err = acc.mul(x)
		}
		if err != nil {
			return num{}, err
		}
	}
	return acc, nil
}

// maxDegree is the highest degree of a polynomial that is integrated.
const maxDegree = 12

// integral integrates f exactly where it is a polynomial of degree at most maxDegree: Newton's interpolation through the
// points 0, 1, ..., whose higher differences must vanish.
func (m *machine) integral(f func(num) (num, error), from, to num) (num, error) {
	const points = maxDegree + 4
	diffs := make([]*big.Rat, points)
	for k := range diffs {
		y, err := f(intNum(int64(k)))
		if err != nil {
			return num{}, err
		}
		if y.q == nil {
			return num{}, errUndefined
		}
		diffs[k] = y.q
	}
	for order := 1; order < points; order++ {
		for k := points - 1; k >= order; k-- {
			diffs[k] = new(big.Rat).Sub(diffs[k], diffs[k-1])
		}
	}
	for _, d := range diffs[maxDegree+1:] {
		if d.Sign() != 0 {
			return num{}, errUndefined
		}
	}
	// p(x) = sum diffs[k] binom(x, k); basis holds the coefficients of binom(x, k).
	basis, total := []*big.Rat{big.NewRat(1, 1)}, make([]*big.Rat, points+1)
	for i := range total {
		total[i] = new(big.Rat)
	}
	for k, d := range diffs[:maxDegree+1] {
		for i, c := range basis {
			total[i+1].Add(total[i+1], new(big.Rat).Quo(new(big.Rat).Mul(c, d), big.NewRat(int64(i+1), 1)))
		}
		next := make([]*big.Rat, len(basis)+1)
		for i := range next {
			next[i] = new(big.Rat)
		}
		for i, c := range basis {
			next[i+1].Add(next[i+1], new(big.Rat).Quo(c, big.NewRat(int64(k+1), 1)))
			next[i].Sub(next[i], new(big.Rat).Quo(new(big.Rat).Mul(c, big.NewRat(int64(k), 1)), big.NewRat(int64(k+1), 1)))
		}
		basis = next
	}
	if err := m.spend(points * points * 4); err != nil {
		return num{}, err
	}
	high, err := horner(total, to)
	if err != nil {
		return num{}, err
	}
	low, err := horner(total, from)
	if err != nil {
		return num{}, err
	}
	return high.sub(low)
}

func horner(coefficients []*big.Rat, x num) (num, error) {
	acc, err := intNum(0), error(nil)
	for i := len(coefficients) - 1; i >= 0 && err == nil; i-- {
		if acc, err = acc.mul(x); err == nil {
			acc, err = acc.add(num{q: coefficients[i]})
		}
	}
	return acc, err
}

// det is the determinant of a square matrix of at most 6 rows, by expansion along the first row.
func (m *machine) det(n *node) (num, error) {
	if n.kind != kMatrix || n.rows*n.rows != len(n.args) || n.rows > 6 {
		return num{}, errNotScalar
	}
	cells := make([]num, len(n.args))
	for i, a := range n.args {
		var err error
		if cells[i], err = m.eval(a); err != nil {
			return num{}, err
		}
	}
	return m.minor(cells, n.rows)
}

func (m *machine) minor(cells []num, n int) (num, error) {
	if n == 1 {
		return cells[0], nil
	}
	acc := intNum(0)
	for c := range n {
		if err := m.spend(costBall * n); err != nil {
			return num{}, err
		}
		rest := make([]num, 0, (n-1)*(n-1))
		for i, x := range cells[n:] {
			if i%n != c {
				rest = append(rest, x)
			}
		}
		d, err := m.minor(rest, n-1)
		if err != nil {
			return num{}, err
		}
		if d, err = d.mul(cells[c]); err != nil {
			return num{}, err
		}
		if c%2 == 1 {
			d = d.neg()
		}
		if acc, err = acc.add(d); err != nil {
			return num{}, err
		}
	}
	return acc, nil
}
