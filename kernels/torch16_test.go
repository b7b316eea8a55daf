package kernels_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// bf16Products runs every operation that reads a weight in bf16, with gradients, and returns their numbers by name.
func bf16Products(t *testing.T, dev *kernels.Device) map[string][]float32 {
	const rows, d, n, v = 70, 48, 40, 90
	out := map[string][]float32{}
	param := func(name string, seed uint32, a, b int, scale float64) *kernels.Param {
		p, err := dev.NewParam(name, fixed(seed, a*b, scale), a, b)
		require.NoError(t, err)
		require.NoError(t, p.UseBF16())
		return p
	}
	embed, w, head := param("embed", 1, v, d, 1), param("w", 2, n, d, 0.3), param("head", 3, v, n, 0.5)
	teacher := param("teacher", 4, v, d, 0.2)
	ids, targets := make([]int32, rows), make([]int32, rows)
	keep := make([][]int32, rows)
	for i := range ids {
		ids[i], targets[i] = int32(i*7%v), int32(i*11%v)
		keep[i] = []int32{targets[i]}
		if targets[i] < v-5 {
			keep[i] = append(keep[i], targets[i]+1, targets[i]+4)
		}
	}
	for _, with := range []string{"plain", "kept", "beside"} {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			read := func(name string, x *kernels.Tensor) {
				out[with+" "+name] = make([]float32, x.Len())
				s.Read(x, out[with+" "+name])
			}
			x := s.Embedding(embed.Tensor, ids)
			h := s.Leaf(s.Linear(x, w.Tensor, nil)) // a leaf: the head's gradient does not pass rounding before it is read
			read("embedding", x)
			read("linear", h)
			read("round", s.RoundBF16(h))
			var logp, ent, kl *kernels.Tensor
			o := kernels.HeadOptions{SoftCap: 5}
			if with == "kept" {
				o.Keep = keep
			}
			if with == "beside" {
				logp, ent, kl = s.HeadKL(h, head.Tensor, targets, kernels.HeadOther{X: x, W: teacher.Frozen().Tensor, Divergence: kernels.JSD}, o)
				read("kl", kl)
			} else {
				logp, ent = s.Head(h, head.Tensor, targets, o)
			}
			read("logp", logp)
			read("entropy", ent)
			roots := []*kernels.Tensor{s.Sum(logp), s.Sum(ent)}
			if kl != nil {
				roots = append(roots, s.Sum(kl))
			}
			s.Backward(roots, nil)
			read("head dx", s.GradOf(h))
			y := s.Linear(s.Leaf(s.FromF32(fixed(5, rows*d, 1), rows, d)), w.Tensor, nil)
			s.Backward([]*kernels.Tensor{y}, []*kernels.Tensor{s.FromF32(fixed(6, rows*n, 1), rows, n)})
			for _, p := range []*kernels.Param{w, head} {
				g, err := p.Grad()
				require.NoError(t, err)
				read("gradient of "+p.Name, g)
				require.NoError(t, p.ZeroGrad())
			}
			counters := make([][4]uint32, rows)
			for i := range counters {
				counters[i] = [4]uint32{1, uint32(i), 0, 5}
			}
			token, drawn, _ := s.SampleHead(h, head.Tensor, kernels.SampleOptions{Counter: counters, SoftCap: 5})
			tokens := make([]int32, rows)
			s.Read(token, tokens)
			read("drawn log-prob", drawn)
			again, _ := s.Head(h, head.Tensor, tokens, kernels.HeadOptions{SoftCap: 5})
			read("drawn log-prob again", again)
			return s.Err()
		}))
	}
	for _, p := range []*kernels.Param{embed, w, head, teacher} {
		require.NoError(t, p.Free())
	}
	return out
}

// libtorch's products in bf16 are those of the cpu's class fma to the tolerance of sums in another order: the same values are rounded the
// same way, weights (halves away from 0), what they meet (to even) and gradients.
func TestTorchBF16AgainstCPU(t *testing.T) {
	dev := openTorch(t, kernels.Options{})
	require.Equal(t, "fma", dev.BF16())
	bf16AgainstCPU(t, dev)
}

func bf16AgainstCPU(t *testing.T, dev *kernels.Device) {
	got := bf16Products(t, dev)
	want := bf16Products(t, openCPU(t, kernels.Options{BF16: "fma"}))
	require.Len(t, got, len(want))
	for name, w := range want {
		tol := 4e-6
		if strings.HasSuffix(name, "head dx") || strings.HasSuffix(name, "gradient of head") {
			tol = 1e-4 // the gradient in the logits is rounded, and where exp differs in its last bit that may go the other way
		}
		checkClose(t, name, got[name], wide(w), tol)
	}
	for _, with := range []string{"plain", "kept", "beside"} {
		require.Equal(t, bits(got[with+" drawn log-prob"]), bits(got[with+" drawn log-prob again"]), "sampler and trainer")
		require.Equal(t, bits(want[with+" embedding"]), bits(got[with+" embedding"]), "rounding itself is exact")
	}

	// halves, subnormal and largest values, infinities and what is no number
	odd := []float32{1.00390625, 1.01171875, -1.00390625, 3.3895314e38, 3.4028235e38, -3.4028235e38, 1e-40, 5e-41, 0, float32(math.Inf(1)), float32(math.Inf(-1))}
	round := func(dev *kernels.Device) (even, away []float32) {
		w, err := dev.NewParam("w", odd, len(odd), 1)
		require.NoError(t, err)
		require.NoError(t, w.UseBF16())
		even, away = make([]float32, len(odd)), make([]float32, len(odd))
		ids := make([]int32, len(odd))
		for i := range ids {
			ids[i] = int32(i)
		}
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			s = s.NoGrad()
			s.Read(s.RoundBF16(s.FromF32(odd)), even)
			return s.Read(s.Embedding(w.Tensor, ids), away)
		}))
		require.NoError(t, w.Free())
		return even, away
	}
	even, away := round(openCPU(t))
	evenT, awayT := round(dev)
	require.Equal(t, bits(even), bits(evenT))
	require.Equal(t, bits(away), bits(awayT))
}
