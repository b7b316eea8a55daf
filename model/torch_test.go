package model_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// openTorch opens libtorch on the CPU, or skips the test where there is none.
func openTorch(t testing.TB) *kernels.Device {
	if testing.Short() {
		t.Skip("libtorch is left out with -short")
	}
	dev, err := kernels.Open("torch", kernels.Options{LibTorch: os.Getenv("LIBTORCH")})
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

// On libtorch every architecture gives transformers' numbers, gradients and greedy continuations, within the bounds that hold on the cpu.
func TestTorchGolden(t *testing.T) {
	dev := openTorch(t)
	open := func(testing.TB) *kernels.Device { return dev }
	t.Run("Forward", func(t *testing.T) { goldenForward(t, open) })
	t.Run("Gradients", func(t *testing.T) { goldenGradients(t, open) })
	t.Run("Greedy", func(t *testing.T) { goldenGreedy(t, open) })
}

// What the library keeps on libtorch is what it plans: no packed weights but those in bf16, else as on the cpu.
func TestTorchPlanHolds(t *testing.T) {
	const rows = 1024
	for _, name := range []string{"qwen2", "smollm2+bf16"} {
		for _, again := range []bool{false, true} {
			m := loadLM(t, openTorch(t), filepath.Join("testdata", "golden", name))
			m.Recompute(again)
			p, err := m.Config().Plan(model.Work{Store: model.Kept(false, m.BF16()), BF16: m.BF16(), TrainRows: rows, Recompute: again})
			require.NoError(t, err)
			require.Zero(t, p.Backward)
			require.Equal(t, m.BF16(), p.Forward > 0)
			within(t, name, trained(t, m, rows), p.Training()-p.Scratch, 0.8)
		}
	}
}

// In bf16 the models are those of the cpu. Where a sum differs in its last bit the next rounding may go the other way, by one part in 256 of one value: so log-probs
// agree as fp32 and bf16 do, not as two computations in fp32.
func TestTorchBF16(t *testing.T) {
	dev := openTorch(t)
	for _, name := range []string{"smollm2+bf16", "qwen3_moe+bf16", "deepseek_v3+bf16", "qwen2+bf16+lora"} {
		logps := func(dev *kernels.Device) []float32 {
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			var out []float32
			var d draws = 3
			ids, segs := pack(d.of(8, 24, m.Config().VocabSize))
			rows, targets := model.NextTokens(ids, segs)
			do(t, dev, func(s *kernels.Scope) {
				logp, _ := m.LogProbs(s.NoGrad(), ids, segs, rows, targets, 1)
				out = read(t, s, logp)
			})
			return out
		}
		want, got := logps(openCPU(t, kernels.Options{BF16: "fma"})), logps(dev)
		most := 0.0
		for i := range want {
			most = max(most, math.Abs(float64(want[i])-float64(got[i])))
		}
		t.Logf("%s: log-probs differ by at most %.2g", name, most)
		require.Less(t, most, 0.02)
	}
}
