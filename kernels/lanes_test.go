package kernels_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// Lanes give the bits that one thread or several give, and leave nothing behind.
func TestLanes(t *testing.T) {
	const lanes, rows, k, n = 5, 7, 64, 48
	for _, threads := range []int{1, 2, 4} {
		dev := openCPU(t, kernels.Options{Threads: threads})
		require.Equal(t, threads, dev.Lanes())
		w, err := dev.NewParam("w", fixed(1, n*k, 1), n, k)
		require.NoError(t, err)
		x := fixed(2, lanes*rows*k, 1)
		want, got := make([]float32, lanes*rows*n), make([]float32, lanes*rows*n)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			xT, out := s.FromF32(x, lanes*rows, k), s.Zeros(lanes*rows, n)
			before := dev.Stats().LiveTensors
			s.Lanes(lanes, func(lane int, s *kernels.Scope) error {
				s.CopyTo(s.Rows(out, lane*rows, rows), s.Silu(s.Linear(s.Rows(xT, lane*rows, rows), w.Tensor, nil)))
				return nil
			})
			require.Equal(t, before+1, dev.Stats().LiveTensors, "the packed weight")
			return errors.Join(s.Read(out, got), s.Read(s.Silu(s.Linear(xT, w.Tensor, nil)), want))
		}))
		require.Equal(t, bits(want), bits(got))
		require.NoError(t, w.Free())
	}
}

// The first lane that fails names the error, and the others end.
func TestLanesFail(t *testing.T) {
	dev := openCPU(t, kernels.Options{Threads: 2})
	broken := errors.New("broken")
	err := dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.Lanes(4, func(lane int, s *kernels.Scope) error {
			switch lane {
			case 1:
				return broken
			case 2:
				s.Reshape(s.Zeros(3), 4)
			}
			return nil
		})
		return nil
	})
	require.ErrorIs(t, err, broken)
	require.Zero(t, dev.Stats().LiveTensors)
}
