package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// streamed is how many bytes of weights a product goes through in one run, so that no cache holds them from run to run.
const streamed = 64 << 20

// Product is a weight of a shape: N outputs of K inputs.
type Product struct {
	Name string
	N, K int
}

// Products are the weights that [GEMM] times: queries, gate, down, head.
func Products(c model.Config) []Product {
	return []Product{
		{"q", c.Heads * c.HeadDim, c.HiddenSize}, {"gate", c.IntermediateSize, c.HiddenSize},
		{"down", c.HiddenSize, c.IntermediateSize}, {"head", c.VocabSize, c.HiddenSize},
	}
}

// GEMM are products of M rows with the [Products] of a shape. The limit of few rows is the copy rate, which a
// product that only reads can pass.
func GEMM(dev *kernels.Device, c model.Config, rows []int, bf16 bool) (cases []Case, err error) {
	size := 4.0 // bytes of a weight
	if bf16 {
		size = 2
	}
	for _, w := range Products(c) {
		copies := make([]*kernels.Param, 1+streamed/(4*w.N*w.K))
		for i := range copies {
			if copies[i], err = dev.NewParam(w.Name, noise(w.N*w.K), w.N, w.K); err != nil {
				return nil, errors.Join(err, free(copies[:i]), CloseAll(cases))
			}
			if bf16 {
				if err := copies[i].UseBF16(); err != nil {
					return nil, errors.Join(err, free(copies[:i+1]), CloseAll(cases))
				}
			}
		}
		for j, m := range rows {
			flops, bytes := 2*float64(m)*float64(w.N)*float64(w.K), size*float64(w.N*w.K)+4*float64(m*w.N+m*w.K)
			each := float64(len(copies))
			one := Case{
				Name: fmt.Sprintf("gemm %s N%d K%d M%d", w.Name, w.N, w.K, m), Unit: "GFLOP/s", Work: each * flops / 1e9,
				Stages: []Stage{{each * flops, each * bytes}}, Run: product(dev, copies, m, w.K),
			}
			if j == 0 {
				one.Close = func() error { return free(copies) }
			}
			cases = append(cases, one)
		}
	}
	return cases, nil
}

func product(dev *kernels.Device, weights []*kernels.Param, m, k int) func(ctx context.Context) error {
	x := noise(m * k)
	return func(ctx context.Context) error {
		return dev.Do(ctx, func(s *kernels.Scope) error {
			s = s.NoGrad()
			xMK := s.FromF32(x, m, k)
			for _, w := range weights {
				s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
					s.Linear(xMK, w.Tensor, nil)
					return nil
				})
			}
			return s.Err()
		})
	}
}

func free(params []*kernels.Param) error {
	var errs []error
	for _, p := range params {
		errs = append(errs, p.Free())
	}
	return errors.Join(errs...)
}

// noise are values in [-0.5, 0.5), the same each time.
func noise(n int) []float32 {
	v, x := make([]float32, n), uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223
		v[i] = float32(x>>8)/(1<<24) - 0.5
	}
	return v
}

// Attention is one layer's attention of a shape: of batch sequences of n packed rows, and of one new row each over n cached ones.
func Attention(dev *kernels.Device, c model.Config, batch, n int) ([]Case, error) {
	h, g, d := c.Heads, c.KVHeads, c.HeadDim
	segs := make(kernels.Segs, batch)
	for i := range segs {
		segs[i] = kernels.Seg{Start: int32(i * n), Len: int32(n), Parent: -1}
	}
	q, k, v := noise(batch*n*h*d), noise(batch*n*g*d), noise(batch*n*g*d)
	o := kernels.AttnOptions{Scale: 0.125}
	perKey := 4 * float64(h*d) // FLOP
	packed := Case{
		Name: fmt.Sprintf("attention packed B%d T%d", batch, n), Unit: "GFLOP/s",
		Run: func(ctx context.Context) error {
			return dev.Do(ctx, func(s *kernels.Scope) error {
				s = s.NoGrad()
				s.Attention(s.FromF32(q, batch*n, h, d), s.FromF32(k, batch*n, g, d), s.FromF32(v, batch*n, g, d), segs, o)
				return s.Err()
			})
		},
	}
	flops := float64(batch) * perKey * float64(n) * float64(n+1) / 2
	packed.Work, packed.Stages = flops/1e9, []Stage{{FLOPs: flops, Bytes: 4 * float64(batch*n) * float64(2*h*d+2*g*d)}}

	pages := (n + model.PageRows - 1) / model.PageRows
	table, rows := make([]int32, batch*pages), make([]int32, 0, 2*batch)
	for i := range table {
		table[i] = int32(i)
	}
	for i := range batch {
		rows = append(rows, int32(i), int32(n-1))
	}
	var cache [2]*kernels.Tensor
	for i := range cache {
		t, err := dev.NewBuffer(kernels.F32, batch*pages, model.PageRows, g, d)
		if err != nil {
			if i > 0 {
				err = errors.Join(err, cache[0].Free())
			}
			return nil, err
		}
		cache[i] = t
	}
	flops, bytes := float64(batch*n)*perKey, 2*4*float64(batch*n*g*d)
	paged := Case{
		Name: fmt.Sprintf("attention decode B%d T%d", batch, n), Unit: "GB/s", Work: bytes / 1e9, Stages: []Stage{{FLOPs: flops, Bytes: bytes}},
		Run: func(ctx context.Context) error {
			return dev.Do(ctx, func(s *kernels.Scope) error {
				s = s.NoGrad()
				s.PagedAttention(s.FromF32(q[:batch*h*d], batch, h, d), cache[0], cache[1], s.FromI32(table, batch, pages), s.FromI32(rows, batch, 2), o)
				return s.Err()
			})
		},
		Close: func() error { return errors.Join(cache[0].Free(), cache[1].Free()) },
	}
	return []Case{packed, paged}, nil
}

// AdamW is the optimiser's pass over parameters of a shape's size: 28 bytes of each element are read or written.
func AdamW(dev *kernels.Device, c model.Config) ([]Case, error) {
	n := int(c.ParamCount())
	var bufs [4]*kernels.Tensor // weights, moments, gradient
	closeAll := func() error {
		var errs []error
		for _, t := range bufs {
			if t != nil {
				errs = append(errs, t.Free())
			}
		}
		return errors.Join(errs...)
	}
	for i := range bufs {
		t, err := dev.NewBuffer(kernels.F32, n)
		if err != nil {
			return nil, errors.Join(err, closeAll())
		}
		bufs[i] = t
	}
	bytes := 28 * float64(n)
	return []Case{{
		Name: fmt.Sprintf("adamw P%d", n), Unit: "GB/s", Work: bytes / 1e9, Stages: []Stage{{FLOPs: 15 * float64(n), Bytes: bytes}},
		Run: func(ctx context.Context) error {
			return dev.Do(ctx, func(s *kernels.Scope) error {
				s.AdamW(bufs[0], bufs[1], bufs[2], bufs[3], kernels.AdamWOptions{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Scale: 1, Step: 1})
				return s.Err()
			})
		},
		Close: closeAll,
	}}, nil
}
