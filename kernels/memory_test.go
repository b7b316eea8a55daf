package kernels_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// Gradients are free as soon as they were carried on: a chain of operations needs its values and two more, one after another or
// checkpointed in parts.
func TestBackwardFreesGradients(t *testing.T) {
	const depth, n = 32, 100_000
	peak := func(parts int) (int64, []float32) {
		dev, err := kernels.Open("cpu")
		require.NoError(t, err)
		grad := make([]float32, n)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			leaf := s.Leaf(s.FromF32(fixed(1, n, 1)))
			part := func(s *kernels.Scope, in ...*kernels.Tensor) []*kernels.Tensor {
				x := in[0]
				for range depth / parts {
					x = s.Tanh(x)
				}
				return []*kernels.Tensor{x}
			}
			x := leaf
			for range parts {
				if parts > 1 {
					x = s.Checkpoint(part, x)[0]
				} else {
					x = part(s, x)[0]
				}
			}
			s.Backward([]*kernels.Tensor{s.Sum(x)}, nil)
			return s.Read(s.GradOf(leaf), grad)
		}))
		stats := dev.Stats()
		require.Zero(t, stats.LiveTensors)
		require.NoError(t, dev.Close())
		return stats.PeakBytes / (4 * n), grad
	}
	kept, want := peak(1)
	redone, got := peak(4)
	t.Logf("values alive at most: %d of %d kept, %d in 4 parts", kept, depth, redone)
	require.Equal(t, bits(want), bits(got))
	require.LessOrEqual(t, kept, int64(1+depth+2), "the values, a gradient and the next one")
	require.LessOrEqual(t, redone, int64(1+4+depth/4+3), "the parts' results, one part's values, its gradient, the next and what comes in")
}

// Release frees a tensor where nothing is recorded, once; using it afterwards is an error.
func TestRelease(t *testing.T) {
	dev := openCPU(t)
	err := dev.Do(context.Background(), func(s *kernels.Scope) error {
		x := s.Leaf(s.Zeros(1000))
		y := s.Tanh(x)
		s.Release(y)
		require.EqualValues(t, 2, dev.Stats().LiveTensors, "the tape needs y")
		ng := s.NoGrad()
		z := ng.Tanh(x)
		ng.Release(z)
		require.EqualValues(t, 2, dev.Stats().LiveTensors)
		ng.Neg(z)
		return nil
	})
	require.ErrorContains(t, err, "was freed")
}
