package sft_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/sft"
)

// An adapter with dropout: the loss falls, each step drops otherwise, a run again or split otherwise gives the same bits.
func TestLoRADropout(t *testing.T) {
	batch := []sft.Sequence{{IDs: []int32{5, 9, 3, 7, 11, 2}}, {IDs: []int32{8, 8, 1}}, {IDs: []int32{4, 30, 21, 60}}, {IDs: []int32{9, 1}}}
	run := func(micro int, seed uint64) (losses []float64, weights map[string][]float32) {
		dev := openCPU(t)
		policy, err := loadQwen2(t, dev).WithLoRA(model.LoRAConfig{R: 4, Alpha: 8, Dropout: 0.2, Targets: []string{model.AllLinear}}, 1)
		require.NoError(t, err)
		defer policy.Close()
		c := sft.Default()
		c.LearningRate, c.MicroTokens = 1e-2, micro
		c.Pass = func(step int) (sft.Policy, error) { return policy.Dropout(seed, step) }
		tr, err := sft.New(policy, c)
		require.NoError(t, err)
		defer tr.Close()
		for range 20 {
			st, err := tr.Step(context.Background(), batch)
			require.NoError(t, err)
			losses = append(losses, st.Loss)
		}
		return losses, values(t, policy)
	}
	losses, want := run(4096, 3)
	require.Less(t, losses[19], losses[0]/2)
	_, again := run(1, 3)
	sameBits(t, want, again)
	_, other := run(4096, 4)
	require.NotEqual(t, want, other)

	c := sft.Default()
	c.Pass = func(int) (sft.Policy, error) { return nil, errors.New("no view") }
	_, err := trainer(t, loadQwen2(t, openCPU(t)), c).Step(context.Background(), batch)
	require.ErrorContains(t, err, "no view")
}
