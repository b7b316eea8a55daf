package model_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// NEFTune's noise moves the hidden rows, is another one at each step, the same whatever is packed beside a sequence, and none in a cache.
func TestNoise(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()); require.NoError(t, dev.Close()) }()
	hidden := func(m *model.LM, seqs ...[]int32) []float32 {
		var ids []int32
		var lengths []int
		for _, q := range seqs {
			ids, lengths = append(ids, q...), append(lengths, len(q))
		}
		out := make([]float32, len(ids)*m.Config().HiddenSize)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			return s.Read(m.Forward(s.NoGrad(), ids, kernels.PackedSegs(lengths...)), out)
		}))
		return out
	}
	a, b := []int32{5, 9, 12, 7}, []int32{3, 3, 8}
	noisy := func(step int) *model.LM {
		v, err := m.Noisy(5, 7, step)
		require.NoError(t, err)
		return v
	}
	alone := hidden(noisy(0), a)
	require.NotEqual(t, hidden(m, a), alone)
	require.Equal(t, alone, hidden(noisy(0), a, b)[:len(alone)])
	require.Equal(t, alone, hidden(noisy(0), b, a)[3*m.Config().HiddenSize:])
	require.NotEqual(t, alone, hidden(noisy(1), a))
	same, err := m.Noisy(0, 7, 0)
	require.NoError(t, err)
	require.Equal(t, hidden(m, a), hidden(same, a))
	_, err = m.Noisy(math.NaN(), 7, 0)
	require.ErrorContains(t, err, "alpha is NaN")
}

// The noise is uniform within alpha/sqrt(L D): of a model whose only layers add nothing, the embeddings show it.
func TestNoiseBound(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()); require.NoError(t, dev.Close()) }()
	ids := make([]int32, 100)
	for i := range ids {
		ids[i] = int32(i % 60)
	}
	most, square, n := model.NoiseOf(m, t, 5, ids)
	bound := 5 / math.Sqrt(float64(100*m.Config().HiddenSize))
	require.LessOrEqual(t, most, bound)
	require.Greater(t, most, 0.99*bound)
	require.InEpsilon(t, bound*bound/3, square/float64(n), 0.05, "the variance of a uniform")
}
