package kernels_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

func TestMLPLearns(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	w1, err := dev.NewParam("w1", []float32{.1, .2, -.3, .4, .5, -.6, .7, .8}, 4, 2)
	require.NoError(t, err)
	b1, err := dev.NewParam("b1", make([]float32, 4), 4)
	require.NoError(t, err)
	w2, err := dev.NewParam("w2", []float32{.3, -.2, .1, .4}, 1, 4)
	require.NoError(t, err)
	params := []*kernels.Param{w1, b1, w2}
	x, y := []float32{0, 0, 0, 1, 1, 0, 1, 1}, []float32{0, 1, 1, 0}
	var first, last float32
	for step := 1; step <= 400; step++ {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			h := s.Tanh(s.Linear(s.FromF32(x, 4, 2), w1.Tensor, b1.Tensor))
			loss := s.Mean(s.Square(s.Minus(s.Linear(h, w2.Tensor, nil), s.FromF32(y, 4, 1))))
			s.Backward([]*kernels.Tensor{loss}, nil)
			out := make([]float32, 1)
			require.NoError(t, s.Read(loss, out))
			if step == 1 {
				first = out[0]
			}
			last = out[0]
			for _, p := range params {
				g, err := p.Grad()
				require.NoError(t, err)
				s.AddTo(p.Tensor, s.Affine(g, -0.5, 0))
				p.Changed()
				require.NoError(t, p.ZeroGrad())
			}
			return nil
		}))
	}
	t.Log(first, last)
	require.Less(t, last, first/10)
	for _, p := range params {
		require.NoError(t, p.Free())
	}
	require.Zero(t, dev.Stats().LiveTensors)
	require.NoError(t, dev.Close())
}
