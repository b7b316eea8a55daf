package sampling_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/sampling"
)

// On libtorch the sampler's log-probs and entropies are the trainer's within 1e-5 a token, and it draws the tokens that the cpu draws but
// where a draw falls between two words within rounding.
func TestTorchSamplerIsTrainer(t *testing.T) {
	if testing.Short() {
		t.Skip("libtorch is left out with -short")
	}
	dev, err := kernels.Open("torch", kernels.Options{LibTorch: os.Getenv("LIBTORCH")})
	if err != nil && !strings.Contains(os.Getenv("R1_REQUIRE"), "torch") {
		t.Skipf("%v\nto run this test: go run ./cmd/r1 setup torch (add --download where there is no torch)", err)
	}
	require.NoError(t, err)
	m, worst, tokens := tinyOn(t, dev), 0.0, 0
	samplerIsTrainer(t, m, func(want, got []float32, what string, temperature float32) {
		require.Len(t, got, len(want))
		for i := range want {
			worst = max(worst, math.Abs(float64(want[i])-float64(got[i])))
		}
		tokens += len(want)
		require.LessOrEqual(t, worst, 1e-5, "%s at temperature %g", what, temperature)
	})
	t.Logf("%d log-probs and entropies: largest difference between sampler and trainer %g", tokens, worst)
	o, req := sampling.Options{Temperature: 1, Seed: 3, MaxTokens: 40}, sampling.Request{Problems: problems(8), Samples: 8}
	same, all := 0, 0
	there := roll(t, tiny(t), o, req)
	for i, g := range roll(t, m, o, req) {
		for j, s := range g.Samples {
			all++
			if slices.Equal(s.Tokens, there[i].Samples[j].Tokens) {
				same++
			}
		}
	}
	t.Logf("%d of %d samples are the cpu's, token for token", same, all)
	require.GreaterOrEqual(t, same, all*9/10)
}
