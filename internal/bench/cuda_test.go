package bench

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// The execution contract on the CUDA kernels, emulated or on the GPU that R1_CUDA names: training, prefill in chunks and decoding give the same
// hidden rows and log-probs to the bit, in fp32 and in bf16.
func TestKernelContract(t *testing.T) {
	name := os.Getenv("R1_CUDA")
	if name == "" {
		if !strings.Contains(os.Getenv("R1_REQUIRE"), "emulated") {
			t.Skip("the CUDA kernels are not emulated here; to run this test: bash .ci/cuda/run, or on a machine with a GPU: bash .ci/gpu")
		}
		name = "torch"
	}
	dev, err := kernels.Open(name, kernels.Options{LibTorch: os.Getenv("LIBTORCH")})
	require.NoError(t, err)
	defer func() { require.NoError(t, dev.Close()) }()
	for _, bf16 := range []bool{false, true} {
		require.NoError(t, Contract(context.Background(), dev, bf16))
	}
}
