package model_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// On libtorch every architecture gives transformers' numbers, gradients and greedy continuations, within the bounds that hold on the cpu.
func TestTorchGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("libtorch is left out with -short")
	}
	dev, err := kernels.Open("torch", kernels.Options{LibTorch: os.Getenv("LIBTORCH")})
	if err != nil && !strings.Contains(os.Getenv("R1_REQUIRE"), "torch") {
		t.Skipf("%v\nto run this test: go run ./cmd/r1 setup torch (add --download where there is no torch)", err)
	}
	require.NoError(t, err)
	open := func(testing.TB) *kernels.Device { return dev }
	t.Run("Forward", func(t *testing.T) { goldenForward(t, open) })
	t.Run("Gradients", func(t *testing.T) { goldenGradients(t, open) })
	t.Run("Greedy", func(t *testing.T) { goldenGreedy(t, open) })
	require.Zero(t, dev.Stats().LiveTensors)
	require.NoError(t, dev.Close())
}
