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

// tinyModel is one layer of a transformer over 40 packed tokens of five sequences, two of which share a third one's prompt.
type tinyModel struct {
	params []*kernels.Param
	m, v   []*kernels.Tensor
}

func newTinyModel(t *testing.T, dev *kernels.Device) *tinyModel {
	n := &tinyModel{}
	for i, shape := range [][]int{{50, 24}, {24}, {32, 24}, {16, 24}, {16, 24}, {24, 32}, {24}, {40, 24}, {40, 24}, {24, 40}, {24}} {
		size := shape[0]
		if len(shape) > 1 {
			size *= shape[1]
		}
		p, err := dev.NewParam("p", fixed(uint32(100+i), size, 0.5), shape...)
		require.NoError(t, err)
		n.params = append(n.params, p)
		for _, list := range []*[]*kernels.Tensor{&n.m, &n.v} {
			b, err := dev.NewBuffer(kernels.F32, shape...)
			require.NoError(t, err)
			*list = append(*list, b)
		}
	}
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		for i := range n.m {
			s.CopyTo(n.m[i], s.Zeros(n.m[i].Shape()...))
			s.CopyTo(n.v[i], s.Zeros(n.v[i].Shape()...))
		}
		return nil
	}))
	return n
}

// loss is the sum of the next tokens' log-probs and of the entropies.
func (n *tinyModel) loss(s *kernels.Scope) *kernels.Tensor {
	const t = 40
	segs := kernels.Segs{{Start: 0, Len: 9, Parent: -1}, {Start: 9, Len: 12, Parent: -1}, {Start: 21, Len: 5, Parent: 1}, {Start: 26, Len: 6, Parent: 1}, {Start: 32, Len: 8, Parent: -1}}
	ids, targets, pos, table := make([]int32, t), make([]int32, t), make([]int32, t), make([]float32, 32*8)
	for i := range t {
		ids[i], targets[i], pos[i] = int32(i*7%50), int32(i*11%50), int32(i%20)
	}
	for i := range 32 {
		for j := range 4 {
			sin, cos := math.Sincos(float64(i) / float64(j+1))
			table[8*i+j], table[8*i+4+j] = float32(cos), float32(sin)
		}
	}
	s = s.Sequences(segs)
	w := func(i int) *kernels.Tensor { return n.params[i].Tensor }
	x := s.Embedding(w(0), ids)
	h, rows, angles := s.RMSNorm(x, w(1), 1e-6), s.FromI32(pos), s.FromF32(table, 32, 8)
	q := s.Rope(s.Reshape(s.Linear(h, w(2), nil), t, 4, 8), rows, angles)
	k := s.Rope(s.Reshape(s.Linear(h, w(3), nil), t, 2, 8), rows, angles)
	o := s.Attention(q, k, s.Reshape(s.Linear(h, w(4), nil), t, 2, 8), segs, kernels.AttnOptions{Scale: 0.35})
	x = s.Add(x, s.Linear(s.Reshape(o, t, 32), w(5), nil))
	h = s.RMSNorm(x, w(6), 1e-6)
	x = s.Add(x, s.Linear(s.SwiGLU(s.Linear(h, w(7), nil), s.Linear(h, w(8), nil)), w(9), nil))
	logp, ent := s.Head(s.RMSNorm(x, w(10), 1e-6), w(0), targets, kernels.HeadOptions{Temp: s.Full(0.9, t)})
	return s.Affine(s.Add(s.Mean(logp), s.Affine(s.Mean(ent), 0.01, 0)), -1, 0)
}

func (n *tinyModel) train(t *testing.T, dev *kernels.Device, steps int) (out [][]float32) {
	for step := 1; step <= steps; step++ {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			loss := n.loss(s)
			s.Backward([]*kernels.Tensor{loss}, nil)
			var value [1]float32
			if err := s.Read(loss, value[:]); err != nil {
				return err
			}
			out = append(out, value[:])
			var grads []*kernels.Tensor
			for _, p := range n.params {
				g, err := p.Grad()
				if err != nil {
					return err
				}
				grads = append(grads, g)
			}
			scale := min(1, 1/math.Sqrt(s.SqNorm(grads...)))
			for i, p := range n.params {
				s.AdamW(p.Tensor, n.m[i], n.v[i], grads[i], kernels.AdamWOptions{LR: 3e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Decay: 0.1, Scale: scale, Step: step})
				p.Changed()
			}
			return s.Err()
		}))
		for _, p := range n.params {
			require.NoError(t, p.ZeroGrad())
		}
	}
	for i, p := range n.params {
		values, err := p.Values()
		require.NoError(t, err)
		out = append(out, values)
		require.NoError(t, p.Free())
		require.NoError(t, n.m[i].Free())
		require.NoError(t, n.v[i].Free())
	}
	return out
}

// Training steps of a small transformer, forward, back, clip and step, give the cpu's bits: losses and weights.
func TestKernelTraining(t *testing.T) {
	const steps = 50
	run := func(dev *kernels.Device) [][]float32 { return newTinyModel(t, dev).train(t, dev, steps) }
	dev, cpu := kernelDevice(t), openCPU(t)
	want, got := run(cpu), run(dev)
	for i := range want {
		require.Equal(t, bits(want[i]), bits(got[i]), "result %d, of %d losses and then weights: %v, want %v", i, steps, got[i][:1], want[i][:1])
	}
	require.Less(t, want[steps-1][0], want[0][0]-0.5, "it learns")
	t.Logf("%d steps: loss %.3f to %.3f, every loss and weight has the cpu's bits", steps, got[0][0], got[steps-1][0])
}

// Products in bf16, class mma: the cpu's class fma to the tolerance of sums in another order, rounding itself to the bit; and rows of few, some and
// many beside them have the same bits.
func TestKernelsBF16(t *testing.T) {
	dev := kernelDevice(t)
	require.Equal(t, "mma", dev.BF16())
	t.Run("against the cpu", func(t *testing.T) { bf16AgainstCPU(t, dev) })
	t.Run("rows", func(t *testing.T) { bf16RowsAreIndependent(t, dev, 65, 77) })
	t.Run("wide rows", func(t *testing.T) { bf16RowsAreIndependent(t, dev, 130, 144) })
}

// Training steps with every matrix in bf16: the same bits again, the cpu's class fma closely, and it learns.
func TestKernelTrainingBF16(t *testing.T) {
	const steps = 20
	run := func(dev *kernels.Device) [][]float32 {
		n := newTinyModel(t, dev)
		for _, p := range n.params {
			if len(p.Shape()) == 2 {
				require.NoError(t, p.UseBF16())
			}
		}
		return n.train(t, dev, steps)
	}
	dev := kernelDevice(t)
	got, again, want := run(dev), run(dev), run(openCPU(t, kernels.Options{BF16: "fma"}))
	for i := range got {
		require.Equal(t, bits(got[i]), bits(again[i]), "result %d", i)
	}
	worst := 0.0
	for i := range steps {
		worst = max(worst, math.Abs(float64(got[i][0]-want[i][0])))
	}
	require.Less(t, worst, 0.02, "bf16 has 8 bits: where a sum's last bit differs, a rounding may go the other way")
	require.Less(t, got[steps-1][0], got[0][0]-0.2, "it learns")
	t.Logf("%d steps in bf16: loss %.3f to %.3f, the same bits again, within %.1e of the cpu", steps, got[0][0], got[steps-1][0], worst)
}

// Where there is no driver, opening a GPU is an error of one sentence, whether libtorch is set up or not.
func TestNoDriver(t *testing.T) {
	dev, err := kernels.Open("cuda:0")
	if err == nil {
		require.NoError(t, dev.Close())
		t.Skip("there is a GPU here, and it works")
	}
	if strings.Contains(err.Error(), "r1 setup torch") {
		t.Skip("there is a driver here, and no libtorch is set up")
	}
	require.ErrorContains(t, err, "kernels: open cuda:0: ")
	require.ErrorContains(t, err, "NVIDIA driver")
	require.NotContains(t, err.Error(), "\n")
}
