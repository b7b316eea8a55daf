package grpo_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// An adapter is trained with the bare base as the reference: the sampler's log-probs are the trainer's, KL is exactly 0 before the
// first step and not after it, any split gives the same bits, the base does not move and nothing is copied.
func TestLoRAPolicy(t *testing.T) {
	var want [][]float32
	for _, micro := range []int{1, 33, 4096} {
		dev := openCPU(t, kernels.Options{Threads: 1 + micro%2})
		base, err := model.Tiny(dev, 3)
		require.NoError(t, err)
		frozen, err := base.Params()[2].Values()
		require.NoError(t, err)
		before := dev.Stats().LiveTensors
		policy, err := base.WithLoRA(model.LoRAConfig{R: 4, Alpha: 8, Targets: []string{model.AllLinear}}, 1)
		require.NoError(t, err)
		require.EqualValues(t, len(policy.Params()), dev.Stats().LiveTensors-before, "an adapter's own arrays and no more")
		c := config(micro, 0.05, false)
		c.LearningRate = 1e-2
		trainer, err := grpo.New(policy, base, c)
		require.NoError(t, err)
		for step := range uint32(4) {
			st, err := trainer.Step(context.Background(), rollout(t, policy, step, 5, 1))
			require.NoError(t, err)
			require.Zero(t, st.MaxDrift)
			require.Equal(t, step > 0, st.KL > 0)
		}
		var got [][]float32
		for _, p := range policy.Params() {
			v, err := p.Values()
			require.NoError(t, err)
			got = append(got, v)
		}
		if want == nil {
			want = got
		}
		require.Equal(t, want, got)
		now, err := base.Params()[2].Values()
		require.NoError(t, err)
		require.Equal(t, frozen, now)
		require.NoError(t, trainer.Close())
		require.NoError(t, policy.Close())
		require.NoError(t, base.Close())
	}
}
