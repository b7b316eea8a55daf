package kernels

import (
	"errors"

	"github.com/gor1/gor1/kernels/internal/native"
)

// weight is w as products take it, and packed for them where w is a parameter and the backend packs, else absent. back: for linear_dx too.
func (s *Scope) weight(op string, w *Tensor, back bool) (own, packed native.Tensor, ok bool) {
	if w.param == nil {
		return w.n, native.Tensor{}, true
	}
	if p := w.halved(); p != nil {
		own = p.asWeight()
		if back {
			var err error
			if own, err = p.withBack(); !s.did(op, err, w) {
				return own, packed, false
			}
		}
		return own, p.halves.hi.n, true
	}
	p, err := w.param.pack()
	if errors.Is(err, native.ErrAbsent) {
		return w.n, native.Tensor{}, true
	}
	if !s.did(op, err, w) {
		return own, packed, false
	}
	return w.n, p.n, true
}

// Linear is x wT + bias: x [.., K], w [N, K], bias [N] or nil, the result [.., N]. Each output is one chain of fma in
// ascending k, and the bias is added to it.
func (s *Scope) Linear(x, w, bias *Tensor) *Tensor {
	y, own, packed := s.linearOut(x, w, bias)
	if y.dead || !s.did("Linear", s.st.be.Linear(y.n, x.n, own, packed, absent(bias)), x, w) {
		return s.dead()
	}
	s.recordLinear(y, x, w, bias)
	return y
}

// Linears is Linear of x by each of ws with its bias, or nil: the same values and gradients to the bit, in one operation where the backend has it.
func (s *Scope) Linears(x *Tensor, ws, biases []*Tensor) []*Tensor {
	ys, ok := make([]*Tensor, len(ws)), len(ws) == len(biases)
	if !ok {
		s.fail("Linears", "%d weights, %d biases", len(ws), len(biases))
	}
	var y, w, packed, bias []native.Tensor
	for i := range ws {
		if !ok {
			ys[i] = s.dead()
			continue
		}
		var own, p native.Tensor
		if ys[i], own, p = s.linearOut(x, ws[i], biases[i]); ys[i].dead {
			ok = false
			continue
		}
		y, w, packed, bias = append(y, ys[i].n), append(w, own), append(packed, p), append(bias, absent(biases[i]))
	}
	if !ok || len(ws) == 0 {
		return ys
	}
	err := s.st.be.Linears(y, x.n, w, packed, bias)
	if errors.Is(err, native.ErrAbsent) {
		err = nil
		for i := 0; i < len(ws) && err == nil; i++ {
			err = s.st.be.Linear(y[i], x.n, w[i], packed[i], bias[i])
		}
	}
	for i, w := range ws {
		if !s.did("Linears", err, x, w) {
			ys[i] = s.dead()
			continue
		}
		s.recordLinear(ys[i], x, w, biases[i])
	}
	return ys
}

// linearOut is room for a Linear's result, and its weight as the product takes it.
func (s *Scope) linearOut(x, w, bias *Tensor) (y *Tensor, own, packed native.Tensor) {
	if !s.wantWeight("Linear", w, x, w) || (bias != nil && !s.want("Linear", bias)) {
		return s.dead(), own, packed
	}
	if w.n.ND != 2 || x.n.ND == 0 || x.cols() != w.Dim(1) || (bias != nil && (bias.n.ND != 1 || bias.Dim(0) != w.Dim(0))) {
		return s.fail("Linear", "x %s, w %s, bias %s: want [..,K], [N,K], [N]", x, w, bias), own, packed
	}
	if !s.inSequences("Linear", x.Len()/max(w.Dim(1), 1)) {
		return s.dead(), own, packed
	}
	shape := x.Shape()
	shape[len(shape)-1] = w.Dim(0)
	y = s.make("Linear", F32, shape...)
	own, packed, ok := s.weight("Linear", w, false)
	if !ok {
		return s.dead(), own, packed
	}
	return y, own, packed
}

func (s *Scope) recordLinear(y, x, w, bias *Tensor) {
	if !s.recording(x, w, bias) {
		return
	}
	segs := s.segs
	s.record("Linear", func(g *Scope) {
		be := g.st.be
		if x.grads {
			dx := g.like("Linear", x)
			if own, packed, ok := g.weight("Linear", w, true); ok && !dx.dead && g.did("Linear", be.LinearDX(dx.n, y.grad.n, own, packed), y, w) {
				g.addGrad(x, dx)
			}
		}
		g.into(w, func(acc *Tensor) {
			if w.param != nil && w.param.IsBF16() {
				g.dw16(acc, y.grad, x, segs)
				return
			}
			g.did("Linear", be.LinearDW(acc.n, y.grad.n, x.n, native.Tensor{}), y, x)
		})
		g.into(bias, func(acc *Tensor) { g.did("Linear", be.ColSum(acc.n, y.grad.n), y) })
	}, y)
}

// dw16 adds dyT x to acc, of both rounded to bf16.
func (s *Scope) dw16(acc, dy, x *Tensor, segs Segs) {
	if seg := s.sequences("Linear", segs); seg.P != nil {
		s.did("Linear", s.st.be.LinearDW16Segs(acc.n, dy.n, x.n, seg), dy, x)
		return
	}
	err := s.st.be.LinearDW16(acc.n, dy.n, x.n)
	if errors.Is(err, native.ErrAbsent) {
		dy, x = s.round16("Linear", dy, native.NearestEven), s.round16("Linear", x, native.NearestEven)
		if dy.dead || x.dead {
			return
		}
		err = s.st.be.LinearDW(acc.n, dy.n, x.n, native.Tensor{})
	}
	s.did("Linear", err, dy, x)
}

// RoundBF16 is x rounded to values that bf16 has, to nearest, halves to even; its gradient passes as if there were no rounding.
func (s *Scope) RoundBF16(x *Tensor) *Tensor {
	if !s.want("RoundBF16", x) {
		return s.dead()
	}
	y := s.round16("RoundBF16", x, native.NearestEven)
	if !y.dead && s.recording(x) {
		s.record("RoundBF16", func(g *Scope) { g.addGrad(x, y.grad) }, y)
	}
	return y
}

// round16 rounds without a record.
func (s *Scope) round16(op string, x *Tensor, how int32) *Tensor {
	y := s.like(op, x)
	if y.dead || !s.did(op, s.st.be.Round16(y.n, x.n, how), x) {
		return s.dead()
	}
	return y
}

func absent(t *Tensor) native.Tensor {
	if t == nil {
		return native.Tensor{}
	}
	return t.n
}

// MatMul is a b: a [.., M, K], b [K, N], the result [.., M, N].
func (s *Scope) MatMul(a, b *Tensor) *Tensor {
	if !s.want("MatMul", a, b) {
		return s.dead()
	}
	if b.n.ND != 2 || a.n.ND == 0 || a.cols() != b.Dim(0) {
		return s.fail("MatMul", "a %s, b %s: want [..,K], [K,N]", a, b)
	}
	shape := a.Shape()
	shape[len(shape)-1] = b.Dim(1)
	y := s.make("MatMul", F32, shape...)
	if y.dead || !s.did("MatMul", s.st.be.LinearDX(y.n, a.n, b.n, native.Tensor{}), a, b) {
		return s.dead()
	}
	if s.recording(a, b) {
		s.record("MatMul", func(g *Scope) {
			if a.grads {
				g.addGrad(a, g.Linear(y.grad, g.view(b), nil))
			}
			g.into(b, func(acc *Tensor) { g.did("MatMul", g.st.be.LinearDW(acc.n, a.n, y.grad.n, native.Tensor{}), a, y) })
		}, y)
	}
	return y
}

// ids uploads row numbers, checked against their bound.
func (s *Scope) ids(op string, idx []int32, bound int) *Tensor {
	for i, id := range idx {
		if id < 0 || int(id) >= bound {
			return s.fail(op, "id %d at %d is outside 0..%d", id, i, bound-1)
		}
	}
	return s.FromI32(idx)
}

// Gather is the rows of x that idx names: x [R, ..], the result [len(idx), ..].
func (s *Scope) Gather(x *Tensor, idx []int32) *Tensor {
	if !s.wantWeight("Gather", x, x) {
		return s.dead()
	}
	if x.n.ND == 0 {
		return s.fail("Gather", "%s has no rows", x)
	}
	id := s.ids("Gather", idx, x.Dim(0))
	shape := x.Shape()
	shape[0] = len(idx)
	y := s.make("Gather", F32, shape...)
	if id.dead || y.dead {
		return s.dead()
	}
	p := x.halved()
	if p != nil {
		if !s.did("Gather", s.st.be.SplitGather(y.n, p.asWeight(), p.halves.hi.n, id.n), x) {
			return s.dead()
		}
	} else if !s.did("Gather", s.st.be.Gather(y.n, x.n, id.n), x) {
		return s.dead()
	}
	if p == nil && x.param != nil && x.param.IsBF16() && !s.did("Gather", s.st.be.Round16(y.n, y.n, native.HalfAway), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("Gather", func(g *Scope) {
			g.into(x, func(acc *Tensor) { g.did("Gather", g.st.be.ScatterAdd(acc.n, y.grad.n, id.n), x) })
		}, y)
	}
	return y
}

// Embedding is the rows of w [V, D] that the token ids name, [T, D].
func (s *Scope) Embedding(w *Tensor, ids []int32) *Tensor { return s.Gather(w, ids) }

// Pick is one element of each row: y[t] = x[t, idx[t]] for x [T, C].
func (s *Scope) Pick(x *Tensor, idx []int32) *Tensor {
	if !s.want("Pick", x) {
		return s.dead()
	}
	if x.n.ND != 2 || len(idx) != x.Dim(0) {
		return s.fail("Pick", "%d numbers for %s", len(idx), x)
	}
	id := s.ids("Pick", idx, x.Dim(1))
	y := s.make("Pick", F32, len(idx))
	if id.dead || y.dead || !s.did("Pick", s.st.be.Pick(y.n, x.n, id.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("Pick", func(g *Scope) {
			dx := g.like("Pick", x)
			if !dx.dead && g.did("Pick", g.st.be.PickGrad(dx.n, y.grad.n, id.n), x) {
				g.addGrad(x, dx)
			}
		}, y)
	}
	return y
}
