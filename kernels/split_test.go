package kernels_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// param16 is a matrix in bf16 that is freed with the test.
func param16(t *testing.T, dev *kernels.Device, values []float32, n, k int) *kernels.Param {
	p, err := dev.NewParamBF16("w", values, n, k)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Free()) })
	return p
}

func valuesOf(t *testing.T, p *kernels.Param) []float32 {
	v, err := p.Values()
	require.NoError(t, err)
	return v
}

func gathered(t *testing.T, dev *kernels.Device, p *kernels.Param) []float32 {
	rows, ids := make([]float32, p.Len()), make([]int32, p.Dim(0))
	for i := range ids {
		ids[i] = int32(i)
	}
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { return s.Read(s.Embedding(p.Tensor, ids), rows) }))
	return rows
}

// Halves give every value back, and the high one is its rounding: for all signs and exponents the significands at which rounding turns, carries or
// does nothing. A NaN becomes a quiet one of the same bits, as it does in bf16.
func TestHalvesKeepEveryBit(t *testing.T) {
	var all []float32
	for top := range uint32(512) {
		for _, low := range []uint32{0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xffff, 0x10000, 0x17fff, 0x18000, 0x18001, 0x3f8000, 0x3fffff, 0x400000, 0x407fff, 0x408000, 0x7f7fff, 0x7f8000, 0x7f8001, 0x7fffff} {
			all = append(all, math.Float32frombits(top<<23|low))
		}
	}
	for x, i := uint32(1), 0; i < 20000; i++ {
		x = x*1664525 + 1013904223
		all = append(all, math.Float32frombits(x))
	}
	k := 77
	all = all[:len(all)/k*k]
	want, rounded := make([]float32, len(all)), make([]float32, len(all))
	for i, v := range all {
		u := math.Float32bits(v)
		high := u + 0x8000
		if v != v {
			u |= 0x400000
			high = u
		}
		want[i], rounded[i] = math.Float32frombits(u), math.Float32frombits(high&^0xffff)
	}
	for _, dev := range bf16Devices(t, "tile") {
		p := param16(t, dev, all, len(all)/k, k)
		require.Equal(t, bits(want), bits(valuesOf(t, p)), dev.String())
		require.Equal(t, bits(rounded), bits(gathered(t, dev, p)), dev.String())
	}
}

// Pieces of any length at any place, as a loader writes them, make the same parameter.
func TestHalvesWrittenByPieces(t *testing.T) {
	for _, dev := range bf16Devices(t, "fma") {
		for _, shape := range [][2]int{{1, 1}, {33, 7}, {70, 130}, {3, 513}, {65, 256}} {
			n, k := shape[0], shape[1]
			values := fixed(uint32(n), n*k, 1)
			p := param16(t, dev, nil, n, k)
			for at, piece := 0, 1; at < len(values); at, piece = at+piece, piece*2+1 {
				piece = min(piece, len(values)-at)
				require.NoError(t, p.WriteAt(values[at:at+piece], at))
			}
			require.Equal(t, bits(values), bits(valuesOf(t, p)), "%v on %s", shape, dev)
			values[len(values)/2] = 3.25
			require.NoError(t, p.WriteAt([]float32{3.25}, len(values)/2))
			require.Equal(t, bits(values), bits(valuesOf(t, p)), "%v on %s: one element", shape, dev)
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				got := make([]float32, n*k)
				require.NoError(t, s.Read(s.Values(p.Tensor), got))
				require.Equal(t, bits(values), bits(got))
				return nil
			}))
		}
	}
}

// Steps of AdamW over halves are those over an fp32 master whose rounding is computed with: weights, products and both gradients, bit for bit, step
// after step. The weights begin as bf16 has them, so the low halves are made on the way.
func TestHalvesTrainAsMaster(t *testing.T) {
	const steps = 50
	for _, class := range []string{"fma", "dot", "tile"} {
		for _, dev := range bf16Devices(t, class) {
			for _, shape := range [][3]int{{5, 33, 7}, {3, 70, 131}} {
				m, n, k := shape[0], shape[1], shape[2]
				start := fixed(1, n*k, 1)
				for i := range start {
					start[i] = near(start[i], true)
				}
				half := param16(t, dev, start, n, k)
				master, err := dev.NewParam("master", start, n, k)
				require.NoError(t, err)
				moments := make([]*kernels.Tensor, 4)
				for i := range moments {
					moments[i], err = dev.NewBuffer(kernels.F32, n, k)
					require.NoError(t, err)
				}
				for step := 1; step <= steps; step++ {
					fresh, err := dev.NewParamBF16("fresh", valuesOf(t, master), n, k)
					require.NoError(t, err)
					x, dy := fixed(uint32(2*step), m*k, 1), fixed(uint32(2*step+1), m*n, 1)
					var got, want [3][]float32
					pass := func(p *kernels.Param) (out [3][]float32) {
						out = [3][]float32{make([]float32, m*n), make([]float32, m*k), make([]float32, n*k)}
						require.NoError(t, p.ZeroGrad())
						require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
							in := s.Leaf(s.FromF32(x, m, k))
							y := s.Linear(in, p.Tensor, nil)
							s.Backward([]*kernels.Tensor{y}, []*kernels.Tensor{s.FromF32(dy, m, n)})
							g, err := p.Grad()
							require.NoError(t, err)
							return errors.Join(s.Read(y, out[0]), s.Read(s.GradOf(in), out[1]), s.Read(g, out[2]))
						}))
						return out
					}
					got, want = pass(half), pass(fresh)
					require.Equal(t, bits(want[:]...), bits(got[:]...), "%s %v step %d on %s", class, shape, step, dev)
					require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
						o := kernels.AdamWOptions{LR: 1e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Decay: 0.1, Scale: 0.7, Step: step}
						g := s.FromF32(want[2], n, k)
						s.AdamW(half.Tensor, moments[0], moments[1], g, o)
						s.AdamW(master.Tensor, moments[2], moments[3], g, o)
						return s.Err()
					}))
					master.Changed()
					half.Changed()
					require.Equal(t, bits(valuesOf(t, master)), bits(valuesOf(t, half)), "%s %v step %d on %s", class, shape, step, dev)
					require.NoError(t, fresh.Free())
				}
				require.NotEqual(t, bits(start), bits(valuesOf(t, half)))
				require.NoError(t, master.Free())
				for _, x := range moments {
					require.NoError(t, x.Free())
				}
			}
		}
	}
}

// A head has both: what its logits read and what its gradient reads, through a tied use too, after values were written over.
func TestHalvesOfHead(t *testing.T) {
	const rows, d, v = 9, 40, 70
	dev := openCPU(t)
	targets, ids := make([]int32, rows), make([]int32, rows)
	for i := range targets {
		targets[i], ids[i] = int32(7*i), int32(5*i)
	}
	run := func(embed, head *kernels.Param) (logp, dx, dw []float32) {
		logp, dx, dw = make([]float32, rows), make([]float32, rows*d), make([]float32, v*d)
		require.NoError(t, embed.ZeroGrad())
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			x := s.Embedding(embed.Tensor, ids)
			leaf := s.Leaf(x)
			lp, _ := s.Head(leaf, head.Tensor, targets, kernels.HeadOptions{})
			s.Backward([]*kernels.Tensor{s.Sum(lp)}, nil)
			g, err := head.Grad()
			require.NoError(t, err)
			return errors.Join(s.Read(lp, logp), s.Read(s.GradOf(leaf), dx), s.Read(g, dw))
		}))
		return logp, dx, dw
	}
	a, b := fixed(1, v*d, 1), fixed(2, v*d, 1)
	fresh := param16(t, dev, b, v, d)
	wantP, wantX, wantW := run(fresh, fresh.Tied("head"))
	p, err := dev.NewParam("w", a, v, d) // bound before it is in bf16, as models are
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Free()) }()
	head := p.Tied("head")
	require.NoError(t, p.UseBF16())
	firstP, _, _ := run(p, head)
	require.NoError(t, p.Write(b))
	gotP, gotX, gotW := run(p, head)
	require.Equal(t, bits(wantP, wantX, wantW), bits(gotP, gotX, gotW))
	require.NotEqual(t, bits(firstP), bits(gotP))
}

// Bytes a parameter: 2 for weights that came from bf16 and are not trained, 2 more for what rounding took of others, and 2 with 4 of the accumulator from
// the first gradient on. No fp32 values are ever held.
func TestHalvesBytes(t *testing.T) {
	const n, k = 1024, 2048
	dev := openCPU(t)
	a := func() float64 { return float64(dev.Stats().LiveBytes) / (n * k) }
	values := fixed(1, n*k, 1)
	exact := make([]float32, n*k)
	for i, v := range values {
		exact[i] = near(v, true)
	}
	p := param16(t, dev, exact, n, k)
	x := fixed(3, 4*k, 1)
	pass := func(w *kernels.Param, gradient bool) {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			in := s.FromF32(x, 4, k)
			if gradient {
				in = s.Leaf(in)
			}
			y := s.Linear(in, w.Tensor, nil)
			if gradient {
				s.Backward([]*kernels.Tensor{y}, []*kernels.Tensor{s.Full(1, 4, n)})
			}
			return s.Err()
		}))
	}
	pass(p.Frozen(), false)
	require.InDelta(t, 2, a(), 0.01, "products")
	require.Less(t, float64(dev.Stats().PeakBytes)/(n*k), 4.2, "a piece of values at a time on the way in")
	pass(p.Frozen(), true)
	require.InDelta(t, 4, a(), 0.01, "gradients through a frozen weight, as adapters have it")
	pass(p, true)
	require.InDelta(t, 2+2+2+4, a(), 0.01, "trained: low halves and the accumulator")

	q := param16(t, dev, values, n, k)
	require.InDelta(t, 10+4, a(), 0.01, "not from bf16: the low halves are there from the beginning")
	require.Equal(t, bits(values), bits(valuesOf(t, q)))
}

// What has no fp32 values is refused, with a sentence, by every operation that needs them.
func TestHalvesAreRefused(t *testing.T) {
	dev := openCPU(t)
	w := param16(t, dev, fixed(1, 16, 1), 4, 4)
	for name, op := range map[string]func(s *kernels.Scope, w *kernels.Tensor){
		"Add": func(s *kernels.Scope, w *kernels.Tensor) { s.Add(w, w) }, "MatMul": func(s *kernels.Scope, w *kernels.Tensor) { s.MatMul(s.Zeros(4, 4), w) },
		"CopyTo": func(s *kernels.Scope, w *kernels.Tensor) { s.CopyTo(s.Zeros(4, 4), w) }, "CopyTo it": func(s *kernels.Scope, w *kernels.Tensor) { s.CopyTo(w, s.Zeros(4, 4)) },
		"Leaf": func(s *kernels.Scope, w *kernels.Tensor) { s.Leaf(w) }, "Detach": func(s *kernels.Scope, w *kernels.Tensor) { s.Detach(w) },
		"Reshape": func(s *kernels.Scope, w *kernels.Tensor) { s.Reshape(w, 16) }, "Rows": func(s *kernels.Scope, w *kernels.Tensor) { s.Rows(w, 0, 2) },
		"Linear": func(s *kernels.Scope, w *kernels.Tensor) { s.Linear(w, s.Zeros(4, 4), nil) }, "SqNorm": func(s *kernels.Scope, w *kernels.Tensor) { s.SqNorm(w) },
		"Cast": func(s *kernels.Scope, w *kernels.Tensor) { s.Cast(w, kernels.BF16) }, "AddTo": func(s *kernels.Scope, w *kernels.Tensor) { s.AddTo(w, s.Zeros(4, 4)) },
		"Head": func(s *kernels.Scope, w *kernels.Tensor) {
			s.Head(w, s.Zeros(4, 4), make([]int32, 4), kernels.HeadOptions{})
		},
		"AdamW": func(s *kernels.Scope, w *kernels.Tensor) {
			z := s.Zeros(4, 4)
			s.AdamW(z, w, z, z, kernels.AdamWOptions{Step: 1})
		},
		"Backward": func(s *kernels.Scope, w *kernels.Tensor) { s.Backward([]*kernels.Tensor{w}, nil) },
		"Concat":   func(s *kernels.Scope, w *kernels.Tensor) { s.ConcatRows(w, s.Zeros(4, 4)) },
	} {
		for _, use := range []*kernels.Param{w, w.Tied("tied"), w.Frozen()} {
			err := dev.Do(context.Background(), func(s *kernels.Scope) error { op(s, use.Tensor); return s.Err() })
			require.ErrorContains(t, err, "f32[4,4] is a parameter in bf16, of which the device keeps no fp32 values: give it Scope.Values of it", name)
		}
	}
	err := dev.Do(context.Background(), func(s *kernels.Scope) error { s.Linear(w.Tensor, w.Tensor, nil); return s.Err() })
	require.Error(t, err, "as both factors")
	_, err = dev.NewParamBF16("v", nil, 8)
	require.ErrorContains(t, err, "want a matrix")
	small := openCPU(t, kernels.Options{Memory: 1000})
	_, err = small.NewParamBF16("large", nil, 64, 64)
	require.ErrorIs(t, err, kernels.ErrMemory)
	require.Zero(t, small.Stats().LiveBytes)
}

// The first gradients of several goroutines make the parts they need once.
func TestHalvesOfManyScopes(t *testing.T) {
	dev := openCPU(t)
	p := param16(t, dev, fixed(1, 64*64, 1), 64, 64)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			x := make([]float32, 3*64)
			if err := dev.Do(context.Background(), func(s *kernels.Scope) error {
				in := s.Leaf(s.FromF32(fixed(uint32(i), 3*64, 1), 3, 64))
				s.Backward([]*kernels.Tensor{s.Linear(in, p.Frozen().Tensor, nil)}, []*kernels.Tensor{s.Full(1, 3, 64)})
				return s.Read(s.GradOf(in), x)
			}); err != nil {
				panic(fmt.Sprint(i, err))
			}
		})
	}
	all.Wait()
}
