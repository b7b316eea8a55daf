package model_test

import (
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

// What the library keeps on libtorch is what it plans: no packed weights, else as on the cpu.
func TestTorchPlanHolds(t *testing.T) {
	const rows = 1024
	for _, again := range []bool{false, true} {
		m := loadLM(t, openTorch(t), filepath.Join("testdata", "golden", "qwen2"))
		m.Recompute(again)
		p, err := m.Config().Plan(model.Work{Store: model.Kept(false, false), TrainRows: rows, Recompute: again})
		require.NoError(t, err)
		require.Zero(t, p.Forward)
		within(t, "qwen2", trained(t, m, rows), p.Training()-p.Scratch, 0.85)
	}
	_, err := model.Load(openTorch(t), filepath.Join("testdata", "golden", "qwen2"), model.Options{DType: kernels.BF16})
	require.ErrorContains(t, err, "device torch computes products in fp32 only")
}
