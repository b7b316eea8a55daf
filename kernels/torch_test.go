package kernels_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// openTorch opens libtorch on the CPU: the one in the folder LIBTORCH, else the one that was set up last.
func openTorch(t testing.TB, o kernels.Options) *kernels.Device {
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

// libtorch passes the table that the cpu passes: values and gradients against float64 twins.
func TestTorchAgainstTwins(t *testing.T) { opsAgainstTwins(t, openTorch(t, kernels.Options{})) }

// The exact KL, the refusals and the survival of values that are not finite, as on the cpu.
func TestTorchHead(t *testing.T) {
	dev := openTorch(t, kernels.Options{})
	t.Run("exact KL", func(t *testing.T) { headKLIsExact(t, dev) })
	t.Run("refused", func(t *testing.T) { keepRefused(t, dev) })
	t.Run("nonsense", func(t *testing.T) { headSurvivesNonsense(t, dev) })
}
