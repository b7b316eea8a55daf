package kernels

// SqNorm is the sum of squares of all elements of the tensors, in float64 over fixed blocks, in order.
func (s *Scope) SqNorm(xs ...*Tensor) float64 {
	if !s.want("SqNorm", xs...) {
		return 0
	}
	sum := s.FromF64([]float64{0})
	for _, x := range xs {
		if sum.dead || !s.did("SqNorm", s.st.be.SqNorm(sum.n, x.n), x) {
			return 0
		}
	}
	var v [1]float64
	if s.Read(sum, v[:]) != nil {
		return 0
	}
	return v[0]
}

// AdamWOptions are one step's numbers of [Scope.AdamW].
type AdamWOptions struct {
	LR, Beta1, Beta2, Eps, Decay float64
	Scale                        float64 // the gradient is multiplied by it first: clipping
	Step                         int     // counted from 1
}

// AdamW updates w in place with gradient grad and moments m and v (arXiv 1711.05101, algorithm 2): decay w by LR Decay, then
// w -= LR mhat / (sqrt(vhat) + Eps). The caller tells the parameter that it changed.
func (s *Scope) AdamW(w, m, v, grad *Tensor, o AdamWOptions) {
	if !s.wantWeight("AdamW", w, w, m, v, grad) {
		return
	}
	if !sameShape(w, m) || !sameShape(w, v) || !sameShape(w, grad) || o.Step < 1 {
		s.fail("AdamW", "w %s, m %s, v %s, gradient %s, step %d", w, m, v, grad, o.Step)
		return
	}
	hyper := s.FromF64([]float64{o.LR, o.Scale, 1 - float64(pow(o.Beta1, o.Step)), 1 - float64(pow(o.Beta2, o.Step))})
	if p := w.halved(); p != nil && !hyper.dead {
		s.did("AdamW", s.adamwHalves(p, m, v, grad, hyper, o), w)
	} else if !hyper.dead {
		s.did("AdamW", s.st.be.AdamW(w.n, m.n, v.n, grad.n, hyper.n, float32(o.Beta1), float32(o.Beta2), float32(o.Eps), float32(o.Decay)), w)
	}
}

// AddTo adds x to acc in place: both of one shape, no gradient.
func (s *Scope) AddTo(acc, x *Tensor) {
	if !s.want("AddTo", acc, x) {
		return
	}
	if !sameShape(acc, x) {
		s.fail("AddTo", "%s to %s", x, acc)
		return
	}
	s.did("AddTo", s.st.be.Binary(opAdd, howSame, acc.n, acc.n, x.n), acc, x)
}

// CopyTo copies x into dst in place: as many elements of one type, no gradient.
func (s *Scope) CopyTo(dst, x *Tensor) {
	if dst == nil || x == nil {
		s.fail("CopyTo", "a tensor is nil")
		return
	}
	if !s.ready("CopyTo", dst, x) {
		return
	}
	if dst.Len() != x.Len() || dst.DType() != x.DType() {
		s.fail("CopyTo", "%s to %s", x, dst)
		return
	}
	s.did("CopyTo", s.st.be.Copy(dst.n, x.n), dst, x)
}

// pow is x^n by repeated squaring: the same bits on every machine.
func pow(x float64, n int) float64 {
	y := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
}
