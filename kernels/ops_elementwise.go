package kernels

import "github.com/gor1/gor1/kernels/internal/native"

const (
	opAdd   = native.Add
	howSame = native.Same
)

// unary is y = f(x), x of any shape.
func (s *Scope) unary(name string, op int32, x *Tensor) *Tensor {
	if !s.want(name, x) {
		return s.dead()
	}
	y := s.like(name, x)
	if y.dead || !s.did(name, s.st.be.Unary(op, y.n, x.n), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record(name, func(g *Scope) {
			dx := g.like(name, x)
			if !dx.dead && g.did(name, g.st.be.UnaryGrad(op, dx.n, y.grad.n, x.n, y.n), x) {
				g.addGrad(x, dx)
			}
		}, y)
	}
	return y
}

// Neg is -x.
func (s *Scope) Neg(x *Tensor) *Tensor { return s.unary("Neg", native.Neg, x) }

// Exp is e^x.
func (s *Scope) Exp(x *Tensor) *Tensor { return s.unary("Exp", native.Exp, x) }

// Log is the natural logarithm of x.
func (s *Scope) Log(x *Tensor) *Tensor { return s.unary("Log", native.Log, x) }

// Square is x^2.
func (s *Scope) Square(x *Tensor) *Tensor { return s.unary("Square", native.Square, x) }

// Sqrt is the square root of x.
func (s *Scope) Sqrt(x *Tensor) *Tensor { return s.unary("Sqrt", native.Sqrt, x) }

// Rsqrt is 1/sqrt(x).
func (s *Scope) Rsqrt(x *Tensor) *Tensor { return s.unary("Rsqrt", native.Rsqrt, x) }

// Reciprocal is 1/x.
func (s *Scope) Reciprocal(x *Tensor) *Tensor { return s.unary("Reciprocal", native.Reciprocal, x) }

// Abs is |x|; its slope at 0 is 0.
func (s *Scope) Abs(x *Tensor) *Tensor { return s.unary("Abs", native.Abs, x) }

// Tanh is the hyperbolic tangent of x.
func (s *Scope) Tanh(x *Tensor) *Tensor { return s.unary("Tanh", native.Tanh, x) }

// Sigmoid is 1/(1+e^-x).
func (s *Scope) Sigmoid(x *Tensor) *Tensor { return s.unary("Sigmoid", native.Sigmoid, x) }

// Silu is x sigmoid(x).
func (s *Scope) Silu(x *Tensor) *Tensor { return s.unary("Silu", native.Silu, x) }

// Gelu is GELU's tanh form, x/2 (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))).
func (s *Scope) Gelu(x *Tensor) *Tensor { return s.unary("Gelu", native.Gelu, x) }

// Relu is max(x, 0); its slope at 0 is 0.
func (s *Scope) Relu(x *Tensor) *Tensor { return s.unary("Relu", native.Relu, x) }

// LogSigmoid is log(sigmoid(x)).
func (s *Scope) LogSigmoid(x *Tensor) *Tensor { return s.unary("LogSigmoid", native.LogSigmoid, x) }

// broadcast says how b meets a: the same shape, one element, one row for all rows of a, or one element for each row of a.
func broadcast(a, b *Tensor) (int32, bool) {
	switch {
	case sameShape(a, b):
		return native.Same, true
	case b.Len() == 1:
		return native.Scalar, true
	case b.n.ND == 1 && b.cols() == a.cols():
		return native.Row, true
	case b.Len() == a.rows() && ((b.n.ND == a.n.ND && b.cols() == 1) || b.n.ND == a.n.ND-1):
		return native.Col, true
	}
	return 0, false
}

func (s *Scope) binaryTo(name string, op, how int32, a, b *Tensor) *Tensor {
	y := s.like(name, a)
	if y.dead || !s.did(name, s.st.be.Binary(op, how, y.n, a.n, b.n), a, b) {
		return s.dead()
	}
	return y
}

// binary is y = a op b with b broadcast to a; grads gives the two gradients from the result's, of a's shape (nil: none).
func (s *Scope) binary(name string, op int32, a, b *Tensor, swaps bool, grads func(g *Scope, how int32, y, dy *Tensor) (da, db *Tensor)) *Tensor {
	if !s.want(name, a, b) {
		return s.dead()
	}
	if swaps && a.Len() < b.Len() {
		a, b = b, a
	}
	how, ok := broadcast(a, b)
	if !ok {
		return s.fail(name, "%s does not broadcast to %s", b, a)
	}
	y := s.binaryTo(name, op, how, a, b)
	if !y.dead && grads != nil && s.recording(a, b) {
		s.record(name, func(g *Scope) {
			da, db := grads(g, how, y, y.grad)
			g.addGrad(a, da)
			g.addReduced(b, db, how)
		}, y)
	}
	return y
}

// addReduced adds g, which has the shape b was broadcast to, to b's gradient.
func (s *Scope) addReduced(b, g *Tensor, how int32) {
	if !b.grads || g == nil || g.dead {
		return
	}
	be := s.st.be
	switch how {
	case native.Same:
		s.addGrad(b, g)
	case native.Row:
		s.into(b, func(acc *Tensor) { s.did("Backward", be.ColSum(acc.n, g.n), g) })
	case native.Col:
		d := s.like("Backward", b)
		if !d.dead && s.did("Backward", be.RowSum(d.n, g.n), g) {
			s.addGrad(b, d)
		}
	default:
		s.addGrad(b, s.Reshape(s.Sum(g), b.Shape()...))
	}
}

// Add is a + b. In all operations of two tensors b may have a's shape, one element, a's last dimension [C] (added to each
// row), or one element for each row of a; where the operation commutes, either may be the smaller.
func (s *Scope) Add(a, b *Tensor) *Tensor {
	return s.binary("Add", native.Add, a, b, true, func(g *Scope, how int32, y, dy *Tensor) (*Tensor, *Tensor) { return dy, dy })
}

// Minus is a - b. (Sub runs an inner scope.)
func (s *Scope) Minus(a, b *Tensor) *Tensor {
	return s.binary("Minus", native.Sub, a, b, false, func(g *Scope, how int32, y, dy *Tensor) (*Tensor, *Tensor) {
		if !b.grads {
			return dy, nil
		}
		return dy, g.Neg(dy)
	})
}

// Mul is a b, element by element.
func (s *Scope) Mul(a, b *Tensor) *Tensor {
	if a != nil && b != nil && a.Len() < b.Len() {
		a, b = b, a
	}
	return s.binary("Mul", native.Mul, a, b, false, func(g *Scope, how int32, y, dy *Tensor) (da, db *Tensor) {
		if a.grads {
			da = g.binaryTo("Mul", native.Mul, how, dy, b)
		}
		if b.grads {
			db = g.Mul(dy, a)
		}
		return da, db
	})
}

// Div is a / b.
func (s *Scope) Div(a, b *Tensor) *Tensor {
	return s.binary("Div", native.Div, a, b, false, func(g *Scope, how int32, y, dy *Tensor) (da, db *Tensor) {
		da = g.binaryTo("Div", native.Div, how, dy, b)
		if b.grads {
			db = g.Neg(g.Mul(da, y))
		}
		return da, db
	})
}

// Max is the larger of a and b; a tie passes the gradient to a.
func (s *Scope) Max(a, b *Tensor) *Tensor { return s.extreme("Max", native.Max, native.Less, a, b) }

// Min is the smaller of a and b; a tie passes the gradient to a.
func (s *Scope) Min(a, b *Tensor) *Tensor { return s.extreme("Min", native.Min, native.Greater, a, b) }

func (s *Scope) extreme(name string, op, loses int32, a, b *Tensor) *Tensor {
	if a != nil && b != nil && a.Len() < b.Len() {
		a, b = b, a
	}
	return s.binary(name, op, a, b, false, func(g *Scope, how int32, y, dy *Tensor) (*Tensor, *Tensor) {
		lost, zero := g.binaryTo(name, loses, how, a, b), g.Zeros(dy.Shape()...)
		return g.Where(lost, zero, dy), g.Where(lost, dy, zero)
	})
}

// Less is 1 where a < b, else 0. No gradient.
func (s *Scope) Less(a, b *Tensor) *Tensor { return s.binary("Less", native.Less, a, b, false, nil) }

// Greater is 1 where a > b, else 0. No gradient.
func (s *Scope) Greater(a, b *Tensor) *Tensor {
	return s.binary("Greater", native.Greater, a, b, false, nil)
}

// Equal is 1 where a = b, else 0. No gradient.
func (s *Scope) Equal(a, b *Tensor) *Tensor { return s.binary("Equal", native.Equal, a, b, true, nil) }

// Affine is fma(x, scale, shift).
func (s *Scope) Affine(x *Tensor, scale, shift float32) *Tensor {
	if !s.want("Affine", x) {
		return s.dead()
	}
	y := s.like("Affine", x)
	if y.dead || !s.did("Affine", s.st.be.Affine(y.n, x.n, scale, shift), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("Affine", func(g *Scope) { g.addGrad(x, g.Affine(y.grad, scale, 0)) }, y)
	}
	return y
}

// Clamp is x held between lo and hi. The gradient passes where lo <= x <= hi.
func (s *Scope) Clamp(x *Tensor, lo, hi float32) *Tensor {
	if !s.want("Clamp", x) {
		return s.dead()
	}
	if !(lo <= hi) {
		return s.fail("Clamp", "lo %g, hi %g", lo, hi)
	}
	y := s.like("Clamp", x)
	if y.dead || !s.did("Clamp", s.st.be.Clamp(y.n, x.n, lo, hi), x) {
		return s.dead()
	}
	if s.recording(x) {
		s.record("Clamp", func(g *Scope) { g.addGrad(x, g.Mul(y.grad, g.Equal(x, y))) }, y)
	}
	return y
}

// Where is a where cond is not 0, else b; all of one shape.
func (s *Scope) Where(cond, a, b *Tensor) *Tensor {
	if !s.want("Where", cond, a, b) {
		return s.dead()
	}
	if !sameShape(cond, a) || !sameShape(cond, b) {
		return s.fail("Where", "shapes differ: %s, %s, %s", cond, a, b)
	}
	y := s.like("Where", a)
	if y.dead || !s.did("Where", s.st.be.Select(y.n, cond.n, a.n, b.n), cond, a, b) {
		return s.dead()
	}
	if s.recording(a, b) {
		s.record("Where", func(g *Scope) {
			zero := g.Zeros(y.Shape()...)
			g.addGrad(a, g.Where(cond, y.grad, zero))
			g.addGrad(b, g.Where(cond, zero, y.grad))
		}, y)
	}
	return y
}

// Cast converts the elements; no gradient. To bf16 it rounds to nearest even.
func (s *Scope) Cast(x *Tensor, dtype DType) *Tensor {
	if x == nil {
		return s.fail("Cast", "argument 1 is nil")
	}
	if !s.ready("Cast", x) {
		return s.dead()
	}
	y := s.make("Cast", dtype, x.Shape()...)
	if y.dead || !s.did("Cast", s.st.be.Cast(y.n, x.n), x) {
		return s.dead()
	}
	return y
}
