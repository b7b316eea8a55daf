package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
)

// The right answer becomes certain, with -1 for a wrong one and with 0: no advantage differs, but for the 1e-4 beside the deviation.
func TestTwoPlusTwo(t *testing.T) {
	for _, bad := range []float64{-1, 0} {
		last, steps := 0.0, 0
		require.NoError(t, train(context.Background(), 1, 1, bad, 0.99, 200, func(step int, p float64, rewards []float64) {
			last, steps = p, step
			other := make([]float64, len(rewards)) // the same answers with the other rewards
			for i, r := range rewards {
				other[i] = 1
				if r != 1 {
					other[i] = -1 - bad
				}
			}
			exact := grpo.Scale{By: grpo.PerGroup}
			require.InDeltaSlice(t, grpo.BatchAdvantages([][]float64{rewards}, exact)[0], grpo.BatchAdvantages([][]float64{other}, exact)[0], 1e-12)
			require.InDeltaSlice(t, grpo.Advantages(rewards), grpo.Advantages(other), 0.01)
		}))
		require.GreaterOrEqual(t, last, 0.99)
		require.LessOrEqual(t, steps, 200)
	}
}
