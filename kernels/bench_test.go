package kernels_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/gor1/gor1/kernels"
)

// BenchmarkLinear times a packed weight's product forward, and forward with both gradients, as a share of the machine's fp32 peak
// measured in the same run.
//
//	go test ./kernels -run - -bench Linear -count 7
func BenchmarkLinear(b *testing.B) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	for _, shape := range [][3]int{{1024, 96, 96}, {1024, 256, 96}, {1024, 96, 256}, {512, 4864, 896}, {512, 896, 4864}, {64, 256, 96}, {1, 4864, 896}} {
		m, n, k := shape[0], shape[1], shape[2]
		w, err := dev.NewParam("w", make([]float32, n*k), n, k)
		if err != nil {
			b.Fatal(err)
		}
		x := make([]float32, m*k)
		for _, gradients := range []bool{false, true} {
			b.Run(fmt.Sprintf("M%d/N%d/K%d/gradients=%v", m, n, k, gradients), func(b *testing.B) {
				peak, err := dev.Measure(kernels.PeakF32, 0.1)
				if err != nil {
					b.Fatal(err)
				}
				flops := 2 * float64(m) * float64(n) * float64(k) * float64(b.N)
				err = dev.Do(context.Background(), func(s *kernels.Scope) error {
					in := s.FromF32(x, m, k)
					seed := s.Zeros(m, n)
					if gradients {
						flops *= 3
					} else {
						s = s.NoGrad()
					}
					b.ResetTimer()
					for range b.N {
						s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
							x := in
							if gradients {
								x = s.Leaf(in)
							}
							y := s.Linear(x, w.Tensor, nil)
							if gradients {
								s.Backward([]*kernels.Tensor{y}, []*kernels.Tensor{seed})
							}
							return nil
						})
					}
					b.StopTimer()
					return s.Err()
				})
				if err != nil {
					b.Fatal(err)
				}
				rate := flops / b.Elapsed().Seconds()
				b.ReportMetric(rate/1e9, "GFLOP/s")
				b.ReportMetric(100*rate/peak, "%peak")
			})
		}
		if err := w.Free(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHead times the output head with both gradients, alone, beside another model and over kept words, and draws, whole and
// truncated.
//
//	go test ./kernels -run - -bench Head -count 7
func BenchmarkHead(b *testing.B) {
	const t, d, v = 64, 896, 50000
	dev, err := kernels.Open("cpu")
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	w, err := dev.NewParam("w", fixed(1, v*d, 0.05), v, d)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Free()
	u, err := dev.NewParam("u", fixed(2, v*d, 0.05), v, d)
	if err != nil {
		b.Fatal(err)
	}
	defer u.Free()
	x, targets := fixed(3, t*d, 1), make([]int32, t)
	keep := every(1000, v, targets)
	draw := func(cut *kernels.Truncation) func(s *kernels.Scope, x *kernels.Tensor) {
		return func(s *kernels.Scope, x *kernels.Tensor) {
			o := kernels.SampleOptions{Counter: make([][4]uint32, t)}
			if cut == nil {
				s.SampleHead(x, w.Tensor, o)
				return
			}
			s.SampleHeadKeep(x, w.Tensor, o, slices.Repeat([]kernels.Truncation{*cut}, t))
		}
	}
	for _, c := range []struct {
		name string
		run  func(s *kernels.Scope, x *kernels.Tensor)
	}{
		{"plain", func(s *kernels.Scope, x *kernels.Tensor) {
			logp, _ := s.Head(x, w.Tensor, targets, kernels.HeadOptions{})
			s.Backward([]*kernels.Tensor{s.Sum(logp)}, nil)
		}},
		{"kept", func(s *kernels.Scope, x *kernels.Tensor) {
			logp, _ := s.Head(x, w.Tensor, targets, kernels.HeadOptions{Keep: keep})
			s.Backward([]*kernels.Tensor{s.Sum(logp)}, nil)
		}},
		{"exact KL", func(s *kernels.Scope, x *kernels.Tensor) {
			logp, _, kl := s.HeadKL(x, w.Tensor, targets, kernels.HeadOther{X: x, W: u.Tensor, Divergence: kernels.ReverseKL}, kernels.HeadOptions{})
			s.Backward([]*kernels.Tensor{s.Sum(s.Add(logp, kl))}, nil)
		}},
		{"draw", draw(nil)},
		{"draw top-k 50", draw(&kernels.Truncation{TopK: 50})},
		{"draw top-p 0.95", draw(&kernels.Truncation{TopP: 0.95})},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				err := dev.Do(context.Background(), func(s *kernels.Scope) error {
					c.run(s, s.Leaf(s.FromF32(x, t, d)))
					return s.Err()
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(t*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
