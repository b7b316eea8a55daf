package kernels_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// Each operation of the table refuses, by an error that names the operation and the caller's line, tensors that were freed,
// that lie on another device, that have another type, or that are nil; and goes on failing quietly after that.
func TestEveryOpRefusesBadTensors(t *testing.T) {
	dev, other := openCPU(t), openCPU(t)
	var stale *kernels.Tensor
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		stale = s.FromF32([]float32{1, 2, 3})
		return nil
	}))
	require.NoError(t, other.Do(context.Background(), func(o *kernels.Scope) error {
		foreign := o.FromF32([]float32{1, 2, 3})
		bad := map[string]func(s *kernels.Scope, shape []int) *kernels.Tensor{
			"was freed":              func(*kernels.Scope, []int) *kernels.Tensor { return stale },
			"lies on another device": func(*kernels.Scope, []int) *kernels.Tensor { return foreign },
			"want f32":               func(s *kernels.Scope, shape []int) *kernels.Tensor { return s.Cast(s.Zeros(shape...), kernels.I32) },
			"nil":                    func(*kernels.Scope, []int) *kernels.Tensor { return nil },
		}
		for _, c := range opTable() {
			for i := range c.shapes {
				for want, make := range bad {
					err := dev.Do(context.Background(), func(s *kernels.Scope) error {
						x := []*kernels.Tensor{}
						for j, shape := range c.shapes {
							if i == j {
								x = append(x, make(s, shape))
							} else {
								x = append(x, s.Zeros(shape...))
							}
						}
						y := c.op(s, x)
						s.Exp(y[0]) // on a dead tensor: nothing more happens
						return nil
					})
					if want == "want f32" && (c.name == "Reshape" || c.name == "Rows") || want == "nil" && (c.name == "Linear" && i == 2 || c.name == "Linears" && i == 3) {
						continue // views of any type; a bias may be absent
					}
					require.ErrorContains(t, err, want, "%s argument %d", c.name, i+1)
					require.ErrorContains(t, err, "_test.go:", c.name)
					require.ErrorContains(t, err, "kernels: ", c.name)
				}
			}
		}
		return nil
	}))
}

// Shapes, types and ids that do not fit.
func TestWrongShapes(t *testing.T) {
	dev := openCPU(t)
	segs := kernels.PackedSegs(2, 1)
	cases := map[string]func(s *kernels.Scope){
		"Add: f32[4] does not broadcast to f32[2,3]":   func(s *kernels.Scope) { s.Add(s.Zeros(2, 3), s.Zeros(4)) },
		"Minus: f32[2,3] does not broadcast to f32[3]": func(s *kernels.Scope) { s.Minus(s.Zeros(3), s.Zeros(2, 3)) },
		"Linear: 2 rows in a scope for sequences of 3": func(s *kernels.Scope) {
			s.Sequences(kernels.PackedSegs(1, 2)).Linear(s.Zeros(2, 3), s.Zeros(4, 3), nil)
		},
		"Head: 1 rows in a scope for sequences of 3": func(s *kernels.Scope) {
			s.Sequences(kernels.PackedSegs(1, 2)).Head(s.Zeros(1, 3), s.Zeros(5, 3), []int32{0}, kernels.HeadOptions{})
		},
		"Linear: x f32[2,3], w f32[4,2]":         func(s *kernels.Scope) { s.Linear(s.Zeros(2, 3), s.Zeros(4, 2), nil) },
		"bias f32[3]: want":                      func(s *kernels.Scope) { s.Linear(s.Zeros(2, 3), s.Zeros(4, 3), s.Zeros(3)) },
		"MatMul: a f32[2,3], b f32[2,3]":         func(s *kernels.Scope) { s.MatMul(s.Zeros(2, 3), s.Zeros(2, 3)) },
		"Where: shapes differ":                   func(s *kernels.Scope) { s.Where(s.Zeros(2), s.Zeros(2), s.Zeros(3)) },
		"Clamp: lo 1, hi 0":                      func(s *kernels.Scope) { s.Clamp(s.Zeros(2), 1, 0) },
		"Gather: id 5 at 1 is outside 0..4":      func(s *kernels.Scope) { s.Gather(s.Zeros(5, 2), []int32{0, 5}) },
		"Gather: id -1 at 0":                     func(s *kernels.Scope) { s.Gather(s.Zeros(5, 2), []int32{-1}) },
		"Pick: 2 numbers for f32[3,2]":           func(s *kernels.Scope) { s.Pick(s.Zeros(3, 2), []int32{0, 1}) },
		"Reshape: f32[6] to [4]":                 func(s *kernels.Scope) { s.Reshape(s.Zeros(6), 4) },
		"Rows: 3 rows from 2 of f32[4,2]":        func(s *kernels.Scope) { s.Rows(s.Zeros(4, 2), 2, 3) },
		"Cols: 2 columns from 2 of f32[4,3]":     func(s *kernels.Scope) { s.Cols(s.Zeros(4, 3), 2, 2) },
		"ConcatRows: f32[1,3] after f32[1,2]":    func(s *kernels.Scope) { s.ConcatRows(s.Zeros(1, 2), s.Zeros(1, 3)) },
		"ConcatCols: f32[2,1] beside f32[1,2]":   func(s *kernels.Scope) { s.ConcatCols(s.Zeros(1, 2), s.Zeros(2, 1)) },
		"RMSNorm: x f32[2,3], w f32[2]":          func(s *kernels.Scope) { s.RMSNorm(s.Zeros(2, 3), s.Zeros(2), 1e-6) },
		"Rope: x f32[2,1,4]":                     func(s *kernels.Scope) { s.Rope(s.Zeros(2, 1, 4), s.FromI32([]int32{0}), s.Zeros(3, 4)) },
		"rope: index 9 at 1 is outside 0..2":     func(s *kernels.Scope) { s.Rope(s.Zeros(2, 1, 4), s.FromI32([]int32{0, 9}), s.Zeros(3, 4)) },
		"SwiGLU: gate f32[2], up f32[3]":         func(s *kernels.Scope) { s.SwiGLU(s.Zeros(2), s.Zeros(3)) },
		"segs describe 3 rows, the tensor has 4": func(s *kernels.Scope) { s.SegSum(s.Zeros(4), segs) },
		"SegSpread: f32[3] for 2 sequences":      func(s *kernels.Scope) { s.SegSpread(s.Zeros(3), segs) },
		"sequence 1 starts at row 3, want 2": func(s *kernels.Scope) {
			s.SegSum(s.Zeros(4), kernels.Segs{{Len: 2, Parent: -1}, {Start: 3, Len: 1, Parent: -1}})
		},
		"parent 1 of sequence 2 has a parent": func(s *kernels.Scope) { s.SegSum(s.Zeros(3), kernels.Segs{{0, 1, -1}, {1, 1, 0}, {2, 1, 1}}) },
		"Attention: q f32[3,3,4], k f32[3,2,4]": func(s *kernels.Scope) {
			s.Attention(s.Zeros(3, 3, 4), s.Zeros(3, 2, 4), s.Zeros(3, 2, 4), segs, kernels.AttnOptions{})
		},
		"Head: x f32[2,3], w f32[5,3], 1 targets": func(s *kernels.Scope) { s.Head(s.Zeros(2, 3), s.Zeros(5, 3), []int32{0}, kernels.HeadOptions{}) },
		"Head: id 5 at 0 is outside 0..4":         func(s *kernels.Scope) { s.Head(s.Zeros(1, 3), s.Zeros(5, 3), []int32{5}, kernels.HeadOptions{}) },
		"SampleHead: x f32[1,3]":                  func(s *kernels.Scope) { s.SampleHead(s.Zeros(1, 3), s.Zeros(5, 3), kernels.SampleOptions{}) },
		"temperature -1": func(s *kernels.Scope) {
			s.SampleHead(s.Zeros(1, 3), s.Zeros(5, 3), kernels.SampleOptions{Counter: make([][4]uint32, 1), Temp: []float32{-1}})
		},
		"page 7 of table row 0 is outside 0..1": func(s *kernels.Scope) {
			s.PagedAttention(s.Zeros(1, 1, 4), s.Zeros(2, 16, 1, 4), s.Zeros(2, 16, 1, 4), s.FromI32([]int32{7}, 1, 1), s.FromI32([]int32{0, 0}, 1, 2), kernels.AttnOptions{})
		},
		"attn_paged: pages of 4 slots: want a multiple of 16": func(s *kernels.Scope) {
			s.PagedAttention(s.Zeros(1, 1, 4), s.Zeros(2, 4, 1, 4), s.Zeros(2, 4, 1, 4), s.FromI32([]int32{0}, 1, 1), s.FromI32([]int32{0, 0}, 1, 2), kernels.AttnOptions{})
		},
		"Linears: 2 weights, 1 biases": func(s *kernels.Scope) {
			s.Linears(s.Zeros(2, 3), []*kernels.Tensor{s.Zeros(4, 3), s.Zeros(4, 3)}, make([]*kernels.Tensor, 1))
		},
		"Linear: x f32[2,3], w f32[5,2]": func(s *kernels.Scope) {
			s.Linears(s.Zeros(2, 3), []*kernels.Tensor{s.Zeros(4, 3), s.Zeros(5, 2)}, make([]*kernels.Tensor, 2))
		},
		"linears: 9 weights, want 1 to 8": func(s *kernels.Scope) {
			ws := make([]*kernels.Tensor, 9)
			for i := range ws {
				ws[i] = s.Zeros(4, 3)
			}
			s.Linears(s.Zeros(2, 3), ws, make([]*kernels.Tensor, 9))
		},
		"KVWrite: pages f32[2,4,1,4]": func(s *kernels.Scope) {
			s.KVWrite(s.Zeros(2, 4, 1, 4), s.Zeros(2, 4, 1, 4), s.Zeros(1, 1, 4), s.Zeros(1, 1, 4), s.FromI32(nil))
		},
		"FromF32: 3 values for shape [2]":             func(s *kernels.Scope) { s.FromF32([]float32{1, 2, 3}, 2) },
		"shape [-1] is out of range":                  func(s *kernels.Scope) { s.Zeros(-1) },
		"shape [1099511627776 2] is out of range":     func(s *kernels.Scope) { s.Zeros(1<<40, 2) },
		"has 5 dimensions":                            func(s *kernels.Scope) { s.Zeros(1, 1, 1, 1, 1) },
		"out of memory":                               func(s *kernels.Scope) { s.Zeros(1 << 39) },
		"Read: f32[2] into []int32 of length 2":       func(s *kernels.Scope) { s.Read(s.Zeros(2), make([]int32, 2)) },
		"Read: f32[2] into []float32 of length 3":     func(s *kernels.Scope) { s.Read(s.Zeros(2), make([]float32, 3)) },
		"Backward: output 1, f32[1], does not depend": func(s *kernels.Scope) { s.Backward([]*kernels.Tensor{s.Sum(s.Zeros(2))}, nil) },
		"has more than one element and no seed":       func(s *kernels.Scope) { s.Backward([]*kernels.Tensor{s.Exp(s.Leaf(s.Zeros(2)))}, nil) },
		"seed 1 is f32[3], its output f32[2]": func(s *kernels.Scope) {
			s.Backward([]*kernels.Tensor{s.Exp(s.Leaf(s.Zeros(2)))}, []*kernels.Tensor{s.Zeros(3)})
		},
		"AdamW: w f32[2], m f32[3]": func(s *kernels.Scope) {
			s.AdamW(s.Zeros(2), s.Zeros(3), s.Zeros(2), s.Zeros(2), kernels.AdamWOptions{Step: 1})
		},
		"CopyTo: f32[3] to f32[2]":                     func(s *kernels.Scope) { s.CopyTo(s.Zeros(2), s.Zeros(3)) },
		"Cast: cast: from dtype 0 to 2 is not offered": func(s *kernels.Scope) { s.Cast(s.Zeros(2), kernels.F16) },
	}
	for want, fn := range cases {
		err := dev.Do(context.Background(), func(s *kernels.Scope) error {
			fn(s)
			return nil
		})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "errors_test.go:", want)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"tpu": "open tpu: no such device", "": "no such device", "cuda": "no such device", "cuda:": "no such device", "cuda:-1": "no such device", "cuda:x": "no such device",
	} {
		_, err := kernels.Open(name)
		require.ErrorContains(t, err, want, name)
	}
	for _, c := range []struct {
		o    kernels.Options
		want string
	}{
		{kernels.Options{ISA: "mmx"}, `Options.ISA is "mmx"; known are avx2, avx512, neon, portable`},
		{kernels.Options{BF16: "x"}, "Options.BF16"},
		{kernels.Options{Threads: -1}, "-1 threads"},
		{kernels.Options{Threads: 1000}, "1000 threads"},
	} {
		_, err := kernels.Open("cpu", c.o)
		require.ErrorContains(t, err, c.want)
	}
}

func TestPanicFreesEverything(t *testing.T) {
	dev := openCPU(t)
	require.PanicsWithValue(t, "boom", func() {
		_ = dev.Do(context.Background(), func(s *kernels.Scope) error {
			s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
				s.Zeros(100)
				panic("boom")
			})
			return nil
		})
	})
	require.Zero(t, dev.Stats().LiveTensors)
	require.Zero(t, dev.Stats().LiveBytes)
}

func TestErrorsAndContexts(t *testing.T) {
	dev := openCPU(t)
	mine := errors.New("mine")
	require.ErrorIs(t, dev.Do(context.Background(), func(s *kernels.Scope) error { s.Zeros(-1); return mine }), mine, "the function's own error comes first")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, dev.Do(ctx, func(s *kernels.Scope) error { s.Zeros(1); return nil }), context.Canceled)
	var kept *kernels.Scope
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { kept = s; return nil }))
	kept.Zeros(1)
	require.ErrorContains(t, kept.Err(), "the scope has ended")
	// an error inside an inner scope or a view sticks to the outer one, once
	err := dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.Sub(func(s *kernels.Scope) []*kernels.Tensor { s.NoGrad().Zeros(-1); return nil })
		s.Zeros(-2)
		return nil
	})
	require.ErrorContains(t, err, "shape [-1]")
	buffer, err := dev.NewBuffer(kernels.F32, 3)
	require.NoError(t, err)
	require.ErrorContains(t, dev.Close(), "1 tensors")
	require.NoError(t, buffer.Free())
	require.ErrorContains(t, buffer.Free(), "freed already")
}

// A backward error names the forward line too.
func TestBackwardErrorNamesForwardLine(t *testing.T) {
	dev := openCPU(t)
	ctx, cancel := context.WithCancel(context.Background())
	err := dev.Do(ctx, func(s *kernels.Scope) error {
		y := s.Sum(s.Exp(s.Leaf(s.Zeros(2))))
		s.Backward([]*kernels.Tensor{y}, []*kernels.Tensor{cancelled(s, cancel)})
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

func cancelled(s *kernels.Scope, cancel func()) *kernels.Tensor {
	one := s.Full(1, 1)
	cancel()
	return one
}

func TestSubKeepsResultsOnly(t *testing.T) {
	dev := openCPU(t)
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		before := dev.Stats().LiveTensors
		out := s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
			x := s.Full(2, 3)
			return []*kernels.Tensor{s.Square(s.Exp(x)), s.Reshape(x, 3, 1)}
		})
		require.EqualValues(t, before+2, dev.Stats().LiveTensors)
		v := make([]float32, 3)
		require.NoError(t, s.Read(out[1], v))
		require.Equal(t, []float32{2, 2, 2}, v)
		return nil
	}))
}

// Recording: NoGrad records nothing, several roots add up, Detach stops, Checkpoint gives the same bits for less memory.
func TestTape(t *testing.T) {
	dev := openCPU(t)
	values := []float32{0.5, -1, 2, 0.25, 3, -2}
	w, err := dev.NewParam("w", values, 3, 2)
	require.NoError(t, err)
	grad := func(fn func(s *kernels.Scope, x *kernels.Tensor) (roots, seeds []*kernels.Tensor)) (x, wg []float32) {
		x, wg = make([]float32, 2), make([]float32, 6)
		require.NoError(t, w.ZeroGrad())
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			in := s.Leaf(s.FromF32([]float32{1, -0.5}, 1, 2))
			roots, seeds := fn(s, in)
			s.Backward(roots, seeds)
			g, err := w.Grad()
			require.NoError(t, err)
			require.NoError(t, s.Read(g, wg))
			return s.Read(s.GradOf(in), x)
		}))
		return x, wg
	}
	block := func(s *kernels.Scope, in ...*kernels.Tensor) []*kernels.Tensor {
		h := s.Tanh(s.Linear(in[0], w.Tensor, nil))
		return []*kernels.Tensor{s.Sum(h), s.Square(h)}
	}
	plainX, plainW := grad(func(s *kernels.Scope, x *kernels.Tensor) ([]*kernels.Tensor, []*kernels.Tensor) {
		y := block(s, x)
		return y, []*kernels.Tensor{nil, s.Full(0.5, 1, 3)}
	})
	againX, againW := grad(func(s *kernels.Scope, x *kernels.Tensor) ([]*kernels.Tensor, []*kernels.Tensor) {
		y := s.Checkpoint(block, x)
		return y, []*kernels.Tensor{nil, s.Full(0.5, 1, 3)}
	})
	require.Equal(t, bits(plainX, plainW), bits(againX, againW), "checkpointed")
	firstX, _ := grad(func(s *kernels.Scope, x *kernels.Tensor) ([]*kernels.Tensor, []*kernels.Tensor) {
		return block(s, x)[:1], nil
	})
	secondX, _ := grad(func(s *kernels.Scope, x *kernels.Tensor) ([]*kernels.Tensor, []*kernels.Tensor) {
		return block(s, x)[1:], []*kernels.Tensor{s.Full(0.5, 1, 3)}
	})
	for i := range plainX {
		require.InDelta(t, plainX[i], firstX[i]+secondX[i], 1e-5, "two roots are the sum of one each")
	}
	detached, _ := grad(func(s *kernels.Scope, x *kernels.Tensor) ([]*kernels.Tensor, []*kernels.Tensor) {
		return block(s, s.Detach(x))[:1], nil
	})
	require.Equal(t, []float32{0, 0}, detached)
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.Backward(block(s.NoGrad(), s.Leaf(s.Zeros(1, 2)))[:1], nil)
		return nil
	})
	require.ErrorContains(t, err, "does not depend on a parameter")

	// a checkpoint keeps its results only until Backward
	memory := func(checkpoint bool) int64 {
		var live int64
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			x := s.Leaf(s.Zeros(1000, 2))
			deep := func(s *kernels.Scope, in ...*kernels.Tensor) []*kernels.Tensor {
				for range 20 {
					in[0] = s.Tanh(in[0])
				}
				return in[:1]
			}
			if checkpoint {
				s.Checkpoint(deep, x)
			} else {
				deep(s, x)
			}
			live = dev.Stats().LiveBytes
			return nil
		}))
		return live
	}
	require.Less(t, memory(true), memory(false)/4)
	require.NoError(t, w.Free())
}

func TestParams(t *testing.T) {
	dev := openCPU(t)
	_, err := dev.NewParam("w", []float32{1}, 2)
	require.ErrorContains(t, err, "parameter w: 1 values for shape [2]")
	w, err := dev.NewParam("w", []float32{1, 2, 3, 4}, 2, 2)
	require.NoError(t, err)
	tied := w.Tied("head")
	require.ErrorContains(t, tied.Free(), "is a use of w")
	frozen := tied.Frozen()
	require.ErrorContains(t, frozen.Free(), "is a use of w")
	_, err = frozen.Grad()
	require.ErrorContains(t, err, "frozen")
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		x := s.Leaf(s.FromF32([]float32{1, 1}, 1, 2))
		s.Backward([]*kernels.Tensor{s.Sum(s.Linear(x, frozen.Tensor, nil))}, nil) // gradients pass through, and none is the weight's
		g := make([]float32, 2)
		require.NoError(t, s.Read(s.GradOf(x), g))
		require.Equal(t, []float32{4, 6}, g)
		return nil
	}))
	require.EqualValues(t, 2, dev.Stats().LiveTensors, "values and packed weight, no gradient")
	apply := func() []float32 {
		out := make([]float32, 2)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			return s.Read(s.Linear(s.FromF32([]float32{1, 1}, 1, 2), tied.Tensor, nil), out)
		}))
		return out
	}
	require.Equal(t, []float32{3, 7}, apply())
	require.NoError(t, w.Write([]float32{1, 1, 1, 1}))
	require.Equal(t, []float32{2, 2}, apply(), "new values are packed anew")
	v, err := tied.Values()
	require.NoError(t, err)
	require.Equal(t, []float32{1, 1, 1, 1}, v)
	require.NoError(t, w.Free())
	require.ErrorContains(t, w.Write(make([]float32, 4)), "after Free")
	require.ErrorContains(t, dev.Do(context.Background(), func(s *kernels.Scope) error { s.Exp(w.Tensor); return nil }), "was freed")
}

// 2,000 steps leave nothing behind.
func TestNoLeak(t *testing.T) {
	dev := openCPU(t)
	w, err := dev.NewParam("w", make([]float32, 64*64), 64, 64)
	require.NoError(t, err)
	step := func(n int) {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			x := s.Full(0.1, 1+n%17, 64)
			s.Backward([]*kernels.Tensor{s.Mean(s.Square(s.Linear(x, w.Tensor, nil)))}, nil)
			return nil
		}))
	}
	for n := range 50 {
		step(n)
	}
	before := dev.Stats()
	for n := range 2000 {
		step(n)
	}
	after := dev.Stats()
	require.Equal(t, before.LiveTensors, after.LiveTensors)
	require.Equal(t, before.LiveBytes, after.LiveBytes)
	require.Equal(t, before.CachedBytes, after.CachedBytes)
	require.NoError(t, w.Free())
}
