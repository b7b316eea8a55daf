package mathx

import (
	"slices"
)

func containsMatrix(n *node) bool {
	switch n.kind {
	case kMul, kAdd, kNeg, kDiv:
		return slices.ContainsFunc(n.args, func(a *node) bool { return a.kind == kMatrix || containsMatrix(a) })
	}
	return false
}

// matrices compares cell by cell; a row or column also equals a tuple.
func (c *comparer) matrices(g, a *node) bool {
	x, y := asMatrix(g), asMatrix(a)
	if x == nil || y == nil {
		return false
	}
	if g.kind == kTuple || a.kind == kTuple {
		line := func(m *node) bool { return m.rows == 1 || m.rows == len(m.args) }
		return line(x) && line(y) && c.inOrder(x.args, y.args)
	}
	return x.rows == y.rows && c.inOrder(x.args, y.args)
}

// asMatrix works out sums and multiples of matrices; nil where n is none.
func asMatrix(n *node) *node {
	switch n.kind {
	case kMatrix:
		return n
	case kTuple:
		return &node{kind: kMatrix, args: n.args, rows: 1}
	case kNeg:
		return scaleMatrix(asMatrix(n.args[0]), func(x *node) *node { return mk(kNeg, x) })
	case kDiv:
		if containsMatrix(n.args[1]) || n.args[1].kind == kMatrix {
			return nil
		}
		return scaleMatrix(asMatrix(n.args[0]), func(x *node) *node { return mk(kDiv, x, n.args[1]) })
	case kMul:
		var matrix *node
		var factors []*node
		for _, f := range n.args {
			if f.kind != kMatrix && !containsMatrix(f) {
				factors = append(factors, f)
			} else if matrix != nil {
				return nil
			} else {
				matrix = asMatrix(f)
			}
		}
		return scaleMatrix(matrix, func(x *node) *node { return mk(kMul, append(slices.Clone(factors), x)...) })
	case kAdd:
		sum := asMatrix(n.args[0])
		for _, f := range n.args[1:] {
			m := asMatrix(f)
			if sum == nil || m == nil || m.rows != sum.rows || len(m.args) != len(sum.args) {
				return nil
			}
			cells := make([]*node, len(m.args))
			for i := range cells {
				cells[i] = mk(kAdd, sum.args[i], m.args[i])
			}
			sum = sum.with(cells)
		}
		return sum
	}
	return nil
}

func scaleMatrix(m *node, f func(*node) *node) *node {
	if m == nil {
		return nil
	}
	cells := make([]*node, len(m.args))
	for i, x := range m.args {
		cells[i] = f(x)
	}
	return m.with(cells)
}
