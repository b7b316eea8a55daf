package kernels_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// BenchmarkKernels times on the device that R1_CUDA names, "cpu" where it is not set, what decides a step: products of one to 4,096 rows,
// attention in training and over pages, the head and the optimiser. FLOP and bytes are those that the operation needs.
//
//	R1_CUDA=cuda:0 go test ./kernels -run - -bench Kernels
func BenchmarkKernels(b *testing.B) {
	name := os.Getenv("R1_CUDA")
	if name == "" {
		name = "cpu"
	}
	dev, err := kernels.Open(name, kernels.Options{LibTorch: os.Getenv("LIBTORCH")})
	require.NoError(b, err)
	defer dev.Close()
	const h, g, d, width, words = 14, 2, 64, 896, 151936 // Qwen2.5-0.5B's
	for _, m := range []int{1, 64, 512, 4096} {
		timed(b, dev, fmt.Sprintf("product/M%d", m), 2*float64(m)*4864*width, 4*(4864*width+float64(m)*(4864+width)), func(s *kernels.Scope) func(s *kernels.Scope) *kernels.Tensor {
			x, w := s.Zeros(m, width), s.Zeros(4864, width)
			return func(s *kernels.Scope) *kernels.Tensor { return s.Linear(x, w, nil) }
		})
	}
	const t, n = 4096, 4 // four sequences of 1,024
	for _, gradients := range []bool{false, true} {
		flops := 4 * float64(t) * t / n / 2 * h * d
		if gradients {
			flops *= 3.5
		}
		timed(b, dev, fmt.Sprintf("attention/gradients=%v", gradients), flops, 4*float64(t)*(2*h+2*g)*d, func(s *kernels.Scope) func(s *kernels.Scope) *kernels.Tensor {
			q, k, v, seed := s.Zeros(t, h, d), s.Zeros(t, g, d), s.Zeros(t, g, d), s.Zeros(t, h, d)
			segs := kernels.PackedSegs(slices.Repeat([]int{t / n}, n)...)
			return func(s *kernels.Scope) *kernels.Tensor {
				if !gradients {
					return s.Attention(q, k, v, segs, kernels.AttnOptions{Scale: 0.125})
				}
				leaf := s.Leaf(q)
				s.Backward([]*kernels.Tensor{s.Attention(leaf, s.Leaf(k), s.Leaf(v), segs, kernels.AttnOptions{Scale: 0.125})}, []*kernels.Tensor{seed})
				return s.GradOf(leaf)
			}
		})
	}
	for _, batch := range []int{1, 64, 256} {
		const length, page = 1024, 16
		timed(b, dev, fmt.Sprintf("pages/B%d", batch), 4*float64(batch)*length*h*d, 8*float64(batch)*length*g*d, func(s *kernels.Scope) func(s *kernels.Scope) *kernels.Tensor {
			pages := batch * length / page
			q, kp, vp := s.Zeros(batch, h, d), s.Zeros(pages, page, g, d), s.Zeros(pages, page, g, d)
			table, rows := make([]int32, pages), make([]int32, 2*batch)
			for i := range table {
				table[i] = int32(i)
			}
			for i := range batch {
				rows[2*i], rows[2*i+1] = int32(i), length-1
			}
			tt, rt := s.FromI32(table, batch, length/page), s.FromI32(rows, batch, 2)
			return func(s *kernels.Scope) *kernels.Tensor {
				return s.PagedAttention(q, kp, vp, tt, rt, kernels.AttnOptions{Scale: 0.125})
			}
		})
	}
	for _, m := range []int{1, 64} {
		timed(b, dev, fmt.Sprintf("draw/B%d", m), 2*float64(m)*words*width, 4*words*width, func(s *kernels.Scope) func(s *kernels.Scope) *kernels.Tensor {
			x, w := s.Zeros(m, width), s.Zeros(words, width)
			return func(s *kernels.Scope) *kernels.Tensor {
				_, logp, _ := s.SampleHead(x, w, kernels.SampleOptions{Counter: make([][4]uint32, m)})
				return logp
			}
		})
	}
	timed(b, dev, "adamw", 12*1e7, 28*1e7, func(s *kernels.Scope) func(s *kernels.Scope) *kernels.Tensor {
		w, m, v, grad := s.Zeros(1e7), s.Zeros(1e7), s.Zeros(1e7), s.Zeros(1e7)
		return func(s *kernels.Scope) *kernels.Tensor {
			s.AdamW(w, m, v, grad, kernels.AdamWOptions{LR: 1e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Scale: 1, Step: 1})
			return w
		}
	})
}

// timed times what prepare returns; the device has done it all when the clock stops.
func timed(b *testing.B, dev *kernels.Device, name string, flops, bytes float64, prepare func(s *kernels.Scope) func(s *kernels.Scope) *kernels.Tensor) {
	b.Run(name, func(b *testing.B) {
		require.NoError(b, dev.Do(context.Background(), func(s *kernels.Scope) error {
			body := prepare(s)
			once := func(read bool) (err error) {
				s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
					if y := body(s); read {
						err = s.Read(y, make([]float32, y.Len()))
					}
					return nil
				})
				return err
			}
			if err := once(true); err != nil {
				return err
			}
			b.ResetTimer()
			for i := range b.N {
				if err := once(i == b.N-1); err != nil {
					return err
				}
			}
			b.StopTimer()
			return s.Err()
		}))
		seconds := b.Elapsed().Seconds() / float64(b.N)
		b.ReportMetric(flops/seconds/1e9, "GFLOP/s")
		b.ReportMetric(bytes/seconds/1e9, "GB/s")
	})
}
