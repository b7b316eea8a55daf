package kernels_test

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// kernelDevice opens what runs the CUDA kernels: the device that R1_CUDA names, such as cuda:0, else libtorch on the CPU with a backend
// that was compiled to emulate them, which .ci/cuda/run does.
func kernelDevice(t testing.TB) *kernels.Device {
	name := os.Getenv("R1_CUDA")
	if name == "" {
		if !strings.Contains(os.Getenv("R1_REQUIRE"), "emulated") {
			t.Skip("the CUDA kernels are not emulated here; to run this test: bash .ci/cuda/run, or on a machine with a GPU: bash .ci/gpu")
		}
		name = "torch"
	}
	dev, err := kernels.Open(name, kernels.Options{LibTorch: os.Getenv("LIBTORCH")})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, dev.Stats().LiveTensors, "tensors alive at the end")
		require.NoError(t, dev.Close())
	})
	if name == "torch" {
		require.Contains(t, dev.String(), "kernels emulated")
	} else {
		require.Contains(t, dev.String(), "own kernels")
	}
	require.True(t, dev.Exact())
	return dev
}

// The kernels pass the table that the cpu passes, values and gradients against float64 twins, and the tests of the head and its draws.
func TestKernelsAgainstTwins(t *testing.T) {
	dev := kernelDevice(t)
	opsAgainstTwins(t, dev)
	for name, test := range map[string]func(*testing.T, *kernels.Device){
		"exact KL": headKLIsExact, "kept words refused": keepRefused, "not finite": headSurvivesNonsense, "draws": sampleHead, "frequencies": sampleFrequencies,
		"truncated draws": sampleHeadKeep,
	} {
		t.Run(name, func(t *testing.T) { test(t, dev) })
	}
}

// The kernels give the bits of testdata/bits.txt, which are the cpu's: every operation of the table and its gradient.
func TestKernelsHaveTheBits(t *testing.T) {
	dev := kernelDevice(t)
	kept, err := os.ReadFile("testdata/bits.txt")
	require.NoError(t, err)
	want := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(kept)), "\n") {
		sum, name, _ := strings.Cut(line, "  ")
		want[name] = sum
	}
	differ := 0
	cases := opTable()
	for _, c := range cases {
		in := c.inputs(7)
		out, grads := c.run(t, dev, in, coefficients(c.twin(in)))
		if bits(append(out, grads...)...) != want[c.name] {
			differ++
			t.Errorf("%s has other bits than the cpu", c.name)
		}
	}
	t.Logf("%d of %d operations have the cpu's bits", len(cases)-differ, len(cases))
}

// The execution contract: a row's bits are the same alone and among any number of others, and prefill, decode and training agree.
func TestKernelRowsAreIndependent(t *testing.T) {
	dev := kernelDevice(t)
	rowsAreIndependent(t, dev, func(c opCase) bool { return c.rows })
	t.Run("Attention", func(t *testing.T) { attentionIsIndependent(t, dev) })
	t.Run("Head", func(t *testing.T) { headKLIsHead(t, dev) })
}

// Draws, the optimiser and the square norm: the cpu's bits.
func TestKernelsDrawAndStep(t *testing.T) {
	const b, d, v, n = 40, 8, 3000, 9001
	run := func(dev *kernels.Device) (out [][]float32) {
		token, w := make([]int32, b), make([]float32, n)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			o := kernels.SampleOptions{Key: [2]uint32{8, 9}, Counter: make([][4]uint32, b), Temp: make([]float32, b)}
			cut := make([]kernels.Truncation, b)
			for i := range b {
				o.Counter[i], o.Temp[i] = [4]uint32{uint32(i), 1, 2, 3}, float32(i%4)/2 // 0: the likeliest
				cut[i] = kernels.Truncation{TopK: i % 3 * 20, TopP: float32(i%5) / 5, MinP: float32(i%2) / 50}
			}
			x, weight := s.FromF32(fixed(8, b*d, 1), b, d), s.FromF32(fixed(9, v*d, 2), v, d)
			for range 2 {
				tk, lp, h := s.SampleHead(x, weight, o)
				tk2, lp2, h2, kept := s.SampleHeadKeep(x, weight, o, cut)
				for _, r := range []*kernels.Tensor{lp, h, lp2, h2, kept.Mass} {
					values := make([]float32, r.Len())
					require.NoError(t, s.Read(r, values))
					out = append(out, values)
				}
				flags := make([]int32, kept.Bits.Len())
				for tensor, into := range map[*kernels.Tensor][]int32{tk: token, tk2: make([]int32, b), kept.Bits: flags} {
					require.NoError(t, s.Read(tensor, into))
				}
				for _, list := range [][]int32{token, flags} {
					values := make([]float32, len(list))
					for i, x := range list {
						values[i] = math.Float32frombits(uint32(x))
					}
					out = append(out, values)
				}
			}
			p, m, v := s.FromF32(fixed(1, n, 1)), s.Zeros(n), s.Zeros(n)
			for step := 1; step <= 20; step++ {
				g := s.FromF32(fixed(uint32(step), n, 0.1))
				out = append(out, []float32{float32(s.SqNorm(g))})
				s.AdamW(p, m, v, g, kernels.AdamWOptions{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 0.7, Step: step})
			}
			return s.Read(p, w)
		}))
		return append(out, w)
	}
	want, got := run(openCPU(t)), run(kernelDevice(t))
	for i := range want {
		require.Equal(t, bits(want[i]), bits(got[i]), "result %d: %v, want %v", i, got[i][:1], want[i][:1])
	}
}
