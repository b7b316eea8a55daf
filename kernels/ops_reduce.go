package kernels

import (
	"slices"
	"unsafe"
)

// RowSum is the sum along the last dimension: [.., C] gives [..]. The order is fixed: 16 lanes, then a tree, 1,024 elements
// at a time.
func (s *Scope) RowSum(x *Tensor) *Tensor {
	if !s.want("RowSum", x) {
		return s.dead()
	}
	y := s.make("RowSum", F32, x.Shape()[:max(x.n.ND-1, 0)]...)
	if y.dead || !s.did("RowSum", s.st.be.RowSum(y.n, x.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("RowSum", func(g *Scope) { g.addGrad(x, g.Add(g.Zeros(x.Shape()...), g.perRow(x, y.grad))) }, y)
	}
	return y
}

// perRow gives v, one element for each row of x, the shape [.., 1]: a plain [T] would be taken for a row where x is square.
func (s *Scope) perRow(x, v *Tensor) *Tensor {
	return s.Reshape(v, append(v.Shape()[:max(x.n.ND-1, 0)], 1)...)
}

// RowMax is the largest element along the last dimension; ties share the gradient.
func (s *Scope) RowMax(x *Tensor) *Tensor {
	if !s.want("RowMax", x) {
		return s.dead()
	}
	if x.cols() == 0 {
		return s.fail("RowMax", "%s has empty rows", x)
	}
	y := s.make("RowMax", F32, x.Shape()[:max(x.n.ND-1, 0)]...)
	if y.dead || !s.did("RowMax", s.st.be.RowMax(y.n, x.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("RowMax", func(g *Scope) {
			hit := g.Equal(x, g.perRow(x, y))
			g.addGrad(x, g.Mul(hit, g.perRow(x, g.Div(y.grad, g.RowSum(hit)))))
		}, y)
	}
	return y
}

// ColSum is the sum over all but the last dimension: [.., C] gives [C], one chain down the rows.
func (s *Scope) ColSum(x *Tensor) *Tensor {
	if !s.want("ColSum", x) {
		return s.dead()
	}
	y := s.Zeros(x.cols())
	if y.dead || !s.did("ColSum", s.st.be.ColSum(y.n, x.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("ColSum", func(g *Scope) { g.addGrad(x, g.Add(g.Zeros(x.Shape()...), y.grad)) }, y)
	}
	return y
}

// Sum is the sum of all elements, [1].
func (s *Scope) Sum(x *Tensor) *Tensor {
	if !s.want("Sum", x) {
		return s.dead()
	}
	return s.Reshape(s.RowSum(s.Reshape(x, 1, x.Len())), 1)
}

// Mean is the mean of all elements, [1].
func (s *Scope) Mean(x *Tensor) *Tensor {
	if !s.want("Mean", x) {
		return s.dead()
	}
	return s.Affine(s.Sum(x), float32(1/float64(max(x.Len(), 1))), 0)
}

// SegSum is the sum of each sequence's elements: x [T] gives [N].
func (s *Scope) SegSum(x *Tensor, segs Segs) *Tensor {
	if !s.want("SegSum", x) {
		return s.dead()
	}
	seg := s.fromSegs("SegSum", segs, x.Len())
	y := s.make("SegSum", F32, len(segs))
	if seg.dead || y.dead || !s.did("SegSum", s.st.be.SegSum(y.n, x.n, seg.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("SegSum", func(g *Scope) { g.addGrad(x, g.Reshape(g.SegSpread(y.grad, segs), x.Shape()...)) }, y)
	}
	return y
}

// SegSpread gives each row its sequence's element: x [N] gives [T].
func (s *Scope) SegSpread(x *Tensor, segs Segs) *Tensor {
	if !s.want("SegSpread", x) {
		return s.dead()
	}
	if x.Len() != len(segs) {
		return s.fail("SegSpread", "%s for %d sequences", x, len(segs))
	}
	seg := s.fromSegs("SegSpread", segs, segs.Rows())
	y := s.make("SegSpread", F32, segs.Rows())
	if seg.dead || y.dead || !s.did("SegSpread", s.st.be.SegSpread(y.n, x.n, seg.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("SegSpread", func(g *Scope) { g.addGrad(x, g.Reshape(g.SegSum(y.grad, segs), x.Shape()...)) }, y)
	}
	return y
}

// SegScan is the running sum inside each sequence of x [T], from its first row on, or from its last where reverse.
func (s *Scope) SegScan(x *Tensor, segs Segs, reverse bool) *Tensor {
	if !s.want("SegScan", x) {
		return s.dead()
	}
	seg := s.fromSegs("SegScan", segs, x.Len())
	y := s.like("SegScan", x)
	r := int32(0)
	if reverse {
		r = 1
	}
	if seg.dead || y.dead || !s.did("SegScan", s.st.be.SegScan(y.n, x.n, seg.n, r), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("SegScan", func(g *Scope) { g.addGrad(x, g.SegScan(y.grad, segs, !reverse)) }, y)
	}
	return y
}

// Reshape is a view of x with another shape of as many elements.
func (s *Scope) Reshape(x *Tensor, shape ...int) *Tensor {
	if x == nil {
		return s.fail("Reshape", "argument 1 is nil")
	}
	if !s.ready("Reshape", x) {
		return s.dead()
	}
	y := s.view(x)
	if err := y.setShape(shape); err != nil || y.Len() != x.Len() {
		return s.fail("Reshape", "%s to %v", x, shape)
	}
	for i := len(shape); i < 4; i++ {
		y.n.N[i] = 0
	}
	if s.recording(x) {
		s.record("Reshape", func(g *Scope) { g.addGrad(x, g.Reshape(y.grad, x.Shape()...)) }, y)
	}
	return y
}

// Rows is a view of n rows of x from row from on; a row is what one index of the first dimension selects.
func (s *Scope) Rows(x *Tensor, from, n int) *Tensor {
	if x == nil {
		return s.fail("Rows", "argument 1 is nil")
	}
	if !s.ready("Rows", x) {
		return s.dead()
	}
	if x.n.ND == 0 || from < 0 || n < 0 || from > x.Dim(0)-n {
		return s.fail("Rows", "%d rows from %d of %s", n, from, x)
	}
	y := s.view(x)
	width := 0
	if x.Dim(0) > 0 {
		width = x.Len() / x.Dim(0)
	}
	y.n.N[0] = int64(n)
	y.n.P = unsafe.Add(x.n.P, from*width*x.DType().Size())
	if s.recording(x) {
		s.record("Rows", func(g *Scope) {
			g.into(x, func(acc *Tensor) {
				part := g.Rows(acc, from, n)
				g.did("Rows", g.st.be.Binary(opAdd, howSame, part.n, part.n, y.grad.n), part)
			})
		}, y)
	}
	return y
}

// ConcatRows lays tensors of one row shape end to end along the first dimension.
func (s *Scope) ConcatRows(xs ...*Tensor) *Tensor {
	if len(xs) == 0 {
		return s.fail("ConcatRows", "no tensors")
	}
	if !s.want("ConcatRows", xs...) {
		return s.dead()
	}
	shape := xs[0].Shape()
	for _, x := range xs[1:] {
		if len(shape) == 0 || x.n.ND != int32(len(shape)) || !slices.Equal(x.Shape()[1:], shape[1:]) {
			return s.fail("ConcatRows", "%s after %s", x, xs[0])
		}
		shape[0] += x.Dim(0)
	}
	y := s.make("ConcatRows", F32, shape...)
	at := 0
	for _, x := range xs {
		part := s.NoGrad().Rows(y, at, x.Dim(0))
		if part.dead || !s.did("ConcatRows", s.st.be.Copy(part.n, x.n), x) {
			return s.dead()
		}
		at += x.Dim(0)
	}
	if s.recording(xs...) {
		s.record("ConcatRows", func(g *Scope) {
			at := 0
			for _, x := range xs {
				g.addGrad(x, g.Rows(y.grad, at, x.Dim(0)))
				at += x.Dim(0)
			}
		}, y)
	}
	return y
}

// Cols copies columns from..from+n of the last dimension.
func (s *Scope) Cols(x *Tensor, from, n int) *Tensor {
	if !s.want("Cols", x) {
		return s.dead()
	}
	if x.n.ND == 0 || from < 0 || n < 0 || from > x.cols()-n {
		return s.fail("Cols", "%d columns from %d of %s", n, from, x)
	}
	shape := x.Shape()
	shape[len(shape)-1] = n
	y := s.make("Cols", F32, shape...)
	if y.dead || !s.did("Cols", s.st.be.CopyCols(y.n, x.n, 0, int64(from), int64(n)), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("Cols", func(g *Scope) {
			dx := g.Zeros(x.Shape()...)
			if !dx.dead && g.did("Cols", g.st.be.CopyCols(dx.n, y.grad.n, int64(from), 0, int64(n)), x) {
				g.addGrad(x, dx)
			}
		}, y)
	}
	return y
}

// ConcatCols lays tensors with the same rows side by side along the last dimension.
func (s *Scope) ConcatCols(xs ...*Tensor) *Tensor {
	if len(xs) == 0 {
		return s.fail("ConcatCols", "no tensors")
	}
	if !s.want("ConcatCols", xs...) {
		return s.dead()
	}
	shape, width := xs[0].Shape(), 0
	for _, x := range xs {
		if len(shape) == 0 || x.n.ND != int32(len(shape)) || !slices.Equal(x.Shape()[:len(shape)-1], shape[:len(shape)-1]) {
			return s.fail("ConcatCols", "%s beside %s", x, xs[0])
		}
		width += x.cols()
	}
	shape[len(shape)-1] = width
	y := s.make("ConcatCols", F32, shape...)
	at := 0
	for _, x := range xs {
		if y.dead || !s.did("ConcatCols", s.st.be.CopyCols(y.n, x.n, int64(at), 0, int64(x.cols())), x) {
			return s.dead()
		}
		at += x.cols()
	}
	if s.recording(xs...) {
		s.record("ConcatCols", func(g *Scope) {
			at := 0
			for _, x := range xs {
				g.addGrad(x, g.Cols(y.grad, at, x.cols()))
				at += x.cols()
			}
		}, y)
	}
	return y
}

// Softmax is exp(x - max) / sum along the last dimension.
func (s *Scope) Softmax(x *Tensor) *Tensor { return s.Exp(s.LogSoftmax(x)) }

// LogSoftmax is x - log(sum exp(x)) along the last dimension, computed from x - max.
func (s *Scope) LogSoftmax(x *Tensor) *Tensor {
	if !s.want("LogSoftmax", x) {
		return s.dead()
	}
	z := s.Minus(x, s.perRow(x, s.NoGrad().RowMax(s.Detach(x))))
	return s.Minus(z, s.perRow(x, s.Log(s.RowSum(s.Exp(z)))))
}
