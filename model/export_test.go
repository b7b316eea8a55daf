package model

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// NoiseOf adds NEFTune's noise to rows of zeros and returns its largest value, its sum of squares and its count.
func NoiseOf(m *LM, t *testing.T, alpha float64, ids []int32) (most, square float64, n int) {
	v, err := m.Noisy(alpha, 3, 1)
	require.NoError(t, err)
	out := make([]float32, len(ids)*m.config.HiddenSize)
	require.NoError(t, m.dev.Do(context.Background(), func(s *kernels.Scope) error {
		s = s.NoGrad()
		return s.Read(v.noise.add(s, s.Full(0, len(ids), m.config.HiddenSize), ids, kernels.PackedSegs(len(ids))), out)
	}))
	for _, x := range out {
		most, square = math.Max(most, math.Abs(float64(x))), square+float64(x)*float64(x)
	}
	return most, square, len(out)
}
