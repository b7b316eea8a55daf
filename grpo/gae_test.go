package grpo_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
)

// Advantages, returns, whitening and the value loss with its gradient, against the published recursion in float64.
func TestGAE(t *testing.T) {
	type row struct {
		ID         string
		Gamma, Lam float64
		Rewards    []float64
		Values     []float64
		Dones      []bool
		Last       float64 `json:"last_value"`
		Bootstrap  bool
		Advantages []float64
		Returns    []float64
		White      []float64 `json:"whitened_ddof1_eps1e8"`
		Clip       float64   `json:"cliprange_value"`
		New        []float64 `json:"new_values"`
		Loss       float64   `json:"value_loss_half_mean_max"`
		Grad       []float64 `json:"value_loss_grad_new_values"`
	}
	dev := openCPU(t)
	cases := lines[row](t, "testdata/gae.jsonl")
	require.Len(t, cases, 24)
	near := func(want, got []float64, what string) {
		require.Len(t, got, len(want), what)
		for i := range want {
			require.InDelta(t, want[i], got[i], 1e-12*max(1, math.Abs(want[i])), what)
		}
	}
	single := func(v []float64) []float32 {
		out := make([]float32, len(v))
		for i := range v {
			out[i] = float32(v[i])
		}
		return out
	}
	for _, c := range cases {
		if !c.Bootstrap {
			c.Last = 0
		}
		adv, returns, err := grpo.GAE(grpo.GAEConfig{Gamma: c.Gamma, Lambda: c.Lam}, c.Rewards, c.Values, c.Dones, c.Last)
		require.NoError(t, err)
		near(c.Advantages, adv, c.ID)
		near(c.Returns, returns, c.ID)
		if len(c.White) > 1 {
			near(c.White, grpo.Whiten(adv), c.ID+" whitened")
		}
		n := len(c.New)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			leaf := s.Leaf(s.FromF32(single(c.New)))
			loss := grpo.ValueLoss(s, leaf, s.FromF32(single(c.Values)), s.FromF32(single(c.Returns)), s.Full(1/float32(n), n), float32(c.Clip))
			s.Backward([]*kernels.Tensor{loss}, nil)
			var v [1]float32
			grad := make([]float32, n)
			require.NoError(t, s.Read(loss, v[:]))
			require.NoError(t, s.Read(s.GradOf(leaf), grad))
			require.InDelta(t, c.Loss, float64(v[0]), 1e-6*max(1, c.Loss))
			for i, want := range c.Grad {
				require.InDelta(t, want, float64(grad[i]), 1e-6*max(1, math.Abs(want)), "%s gradient %d", c.ID, i)
			}
			return nil
		}))
	}
	_, _, err := grpo.GAE(grpo.GAEConfig{Gamma: 1, Lambda: 1}, []float64{1}, nil, nil, 0)
	require.Error(t, err)
}

// Each reward normalised in its group, then the sum over the batch, against TRL.
func TestGDPOEqualsTRL(t *testing.T) {
	type row struct {
		ID      string
		Group   int `json:"num_generations"`
		Rewards [][]*float64
		Config  struct {
			Scale       any       `json:"scale_rewards"`
			Aggregation string    `json:"multi_objective_aggregation"`
			Weights     []float64 `json:"reward_weights"`
		}
		Advantages []float64 `json:"advantages_f64"`
	}
	checked, unscored := 0, 0
	for _, c := range lines[row](t, "testdata/advantages.jsonl") {
		if c.Config.Aggregation != "normalize_then_sum" || c.Config.Scale != nil {
			continue
		}
		k := len(c.Rewards[0])
		rewards, weights, missing := make([][][]float64, k), c.Config.Weights, false
		for i, parts := range c.Rewards {
			for j, r := range parts {
				if i%c.Group == 0 {
					rewards[j] = append(rewards[j], nil)
				}
				v := math.NaN()
				if r != nil {
					v = *r
				}
				missing = missing || r == nil
				rewards[j][len(rewards[j])-1] = append(rewards[j][len(rewards[j])-1], v)
			}
		}
		if missing {
			unscored++
			continue // a reward that is not there: TRL takes it into the group's statistics as it is, here it is left out
		}
		if weights == nil {
			for range k {
				weights = append(weights, 1)
			}
		}
		adv, err := grpo.GDPOAdvantages(rewards, weights, grpo.GroupScale())
		require.NoError(t, err)
		i := 0
		for _, group := range adv {
			for _, a := range group {
				require.InDelta(t, c.Advantages[i], a, 1e-6*max(1, math.Abs(a)), "%s row %d", c.ID, i)
				i++
			}
		}
		checked++
	}
	t.Logf("checked %d, with missing rewards %d", checked, unscored)
	require.GreaterOrEqual(t, checked, 5)
	_, err := grpo.GDPOAdvantages([][][]float64{{{1, 2}}}, nil, grpo.GroupScale())
	require.Error(t, err)
	_, err = grpo.GDPOAdvantages([][][]float64{{{1, 2}}, {{1}}}, []float64{1, 1}, grpo.GroupScale())
	require.Error(t, err)
}
