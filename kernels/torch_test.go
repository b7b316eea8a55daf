package kernels_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/kernels/libtorch"
)

// openTorch opens libtorch on the CPU: the one in the folder LIBTORCH, else the one that was set up last.
func openTorch(t testing.TB, o kernels.Options) *kernels.Device {
	if testing.Short() {
		t.Skip("libtorch is left out with -short")
	}
	o.LibTorch = os.Getenv("LIBTORCH")
	dev, err := kernels.Open("torch", o)
	if err != nil && !strings.Contains(os.Getenv("R1_REQUIRE"), "torch") {
		t.Skipf("%v\nto run this test: go run ./cmd/r1 setup torch (add --download where there is no torch)", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, dev.Stats().LiveTensors, "tensors alive at the end")
		require.NoError(t, dev.Close())
	})
	return dev
}

// libtorch passes the table that the cpu passes, values and gradients against float64 twins, and the tests of the head and its draws.
func TestTorchAgainstTwins(t *testing.T) {
	dev := openTorch(t, kernels.Options{})
	require.False(t, dev.Exact())
	opsAgainstTwins(t, dev)
	for name, test := range map[string]func(*testing.T, *kernels.Device){
		"exact KL": headKLIsExact, "kept words refused": keepRefused, "not finite": headSurvivesNonsense, "draws": sampleHead, "frequencies": sampleFrequencies,
		"truncated draws": sampleHeadKeep,
	} {
		t.Run(name, func(t *testing.T) { test(t, dev) })
	}
}

// libtorch and the cpu agree on every case of the table, results and gradients, to 4e-6 of the largest value.
func TestTorchAgainstCPU(t *testing.T) {
	dev, cpu := openTorch(t, kernels.Options{}), openCPU(t)
	worst, where := 0.0, ""
	for _, c := range opTable() {
		in := c.inputs(11)
		coef := coefficients(c.twin(in))
		out, grads := c.run(t, dev, in, coef)
		wantOut, wantGrads := c.run(t, cpu, in, coef)
		for i, want := range append(wantOut, wantGrads...) {
			got := append(out, grads...)[i]
			scale := 1.0
			for _, x := range want {
				scale = max(scale, math.Abs(float64(x)))
			}
			checkClose(t, c.name, got, wide(want), 4e-6)
			for j := range want {
				if d := math.Abs(float64(got[j])-float64(want[j])) / scale; d > worst {
					worst, where = d, c.name
				}
			}
		}
	}
	t.Logf("largest difference between torch and cpu: %.2g of the largest value, in %s", worst, where)
}

// What libtorch computes of a row does not depend on the other rows, bit for bit, for every row-wise operation but three whose tail of a
// vector is computed in another way; for attention, packed or over pages; and for the head, beside another model or not.
func TestTorchRowsAreIndependent(t *testing.T) {
	dev := openTorch(t, kernels.Options{})
	var names []string
	rowsAreIndependent(t, dev, func(c opCase) bool {
		takes := c.rows && !slices.Contains([]string{"Sigmoid", "Silu", "Gelu"}, c.name)
		if takes {
			names = append(names, c.name)
		}
		return takes
	})
	t.Run("Attention", func(t *testing.T) { attentionIsIndependent(t, dev) })
	t.Run("Head", func(t *testing.T) { headKLIsHead(t, dev) })
	t.Logf("0 bits differ: %s, Attention, PagedAttention, Head, HeadKL", strings.Join(names, ", "))
}

// The optimiser and the square norm against the cpu's.
func TestTorchOptimiser(t *testing.T) {
	const n = 5000
	values := func(dev *kernels.Device) (w []float32, norm float64) {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			x, m, v := s.FromF32(fixed(1, n, 1)), s.Zeros(n), s.Zeros(n)
			for step := 1; step <= 20; step++ {
				g := s.FromF32(fixed(uint32(step), n, 0.1))
				norm += s.SqNorm(g)
				s.AdamW(x, m, v, g, kernels.AdamWOptions{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 0.7, Step: step})
			}
			w = make([]float32, n)
			return s.Read(x, w)
		}))
		return w, norm
	}
	want, wantNorm := values(openCPU(t))
	got, norm := values(openTorch(t, kernels.Options{}))
	checkClose(t, "weights after 20 steps", got, wide(want), 2e-6)
	require.InEpsilon(t, wantNorm, norm, 1e-6)
}

// 1,000 steps with gradients leave nothing alive, and what is kept for reuse does not grow.
func TestTorchLeavesNothing(t *testing.T) {
	dev := openTorch(t, kernels.Options{})
	w, err := dev.NewParam("w", fixed(1, 64*32, 1), 64, 32)
	require.NoError(t, err)
	segs := kernels.PackedSegs(5, 11)
	kept := int64(0)
	for step := range 1000 {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			x := s.Linear(s.Leaf(s.FromF32(fixed(2, 16*32, 1), 16, 32)), w.Tensor, nil)
			q := s.Reshape(x, 16, 4, 16)
			y := s.Reshape(s.Attention(q, q, q, segs, kernels.AttnOptions{Scale: 0.25}), 16, 64)
			logp, ent := s.Head(y, s.FromF32(fixed(3, 50*64, 1), 50, 64), make([]int32, 16), kernels.HeadOptions{})
			s.Backward([]*kernels.Tensor{s.Sum(logp), s.Sum(ent)}, nil)
			return nil
		}))
		require.NoError(t, w.ZeroGrad())
		stats := dev.Stats()
		require.EqualValues(t, 2, stats.LiveTensors, "the weight and its gradient")
		if step == 10 {
			kept = stats.CachedBytes
		}
		require.True(t, step <= 10 || stats.CachedBytes == kept, "step %d keeps %d bytes, step 10 kept %d", step, stats.CachedBytes, kept)
	}
	require.NoError(t, w.Free())
}

// 64 goroutines get the results they would get alone, and libtorch's helper threads do not multiply with them.
func TestTorchManyGoroutines(t *testing.T) {
	dev := openTorch(t, kernels.Options{Threads: 2})
	require.Equal(t, 2, dev.Threads())
	manyGoroutines(t, dev)
	before := threads(t)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			assert.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				x := s.Full(0.5, 512, 256)
				for range 5 {
					x = s.Silu(s.Linear(x, s.Full(0.01, 256, 256), nil))
				}
				return s.Err()
			}))
		})
	}
	group.Wait()
	grown := threads(t) - before
	t.Logf("%d threads more", grown)
	require.LessOrEqual(t, grown, 8, "without a bound it is about 50")
}

// threads is how many this process has.
func threads(t *testing.T) int {
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "Threads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return n
}

// What libtorch throws, and what the shim refuses, is an error of the operation; the device works on.
func TestTorchErrors(t *testing.T) {
	dev := openTorch(t, kernels.Options{})
	for want, fn := range map[string]func(s *kernels.Scope){
		"attn_paged: row 0 is (0, 4), the table [1,1] of pages of 4": func(s *kernels.Scope) {
			kv := s.Zeros(2, 4, 1, 8)
			s.PagedAttention(s.Zeros(1, 1, 8), kv, kv, s.FromI32([]int32{1}, 1, 1), s.FromI32([]int32{0, 4}, 1, 2), kernels.AttnOptions{Scale: 1})
		},
		"can't allocate memory": func(s *kernels.Scope) { s.Zeros(1<<19, 1<<20) },
	} {
		err := dev.Do(context.Background(), func(s *kernels.Scope) error { fn(s); return nil })
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "torch_test.go:")
		require.NotContains(t, err.Error(), "\n")
	}
	own := openTorch(t, kernels.Options{}).Threads()
	require.Equal(t, 1, openTorch(t, kernels.Options{Threads: 1}).Threads())
	require.Equal(t, own, openTorch(t, kernels.Options{}).Threads(), "a device's threads are its own")
	second := t.TempDir() // another libtorch of the same version
	first, err := libtorch.Find(os.Getenv("LIBTORCH"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(second, "lib"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(first.Dir, "include"), filepath.Join(second, "include")))
	require.NoError(t, os.WriteFile(filepath.Join(second, "lib", "libtorch_cpu.so"), nil, 0o644))
	_, err = kernels.Open("torch", kernels.Options{LibTorch: second})
	require.ErrorContains(t, err, "needs a process of its own")
	for _, o := range []kernels.Options{{ISA: "avx2"}, {BF16: "dot"}, {Threads: 5000}} {
		o.LibTorch = os.Getenv("LIBTORCH")
		_, err := kernels.Open("torch", o)
		require.ErrorContains(t, err, "kernels: open torch: open: ")
	}
}
