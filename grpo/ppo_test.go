package grpo_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// bandit is a policy whose next token depends on nothing: one row of logits. level is a critic that expects the same everywhere.
type (
	bandit struct{ logits *kernels.Param }
	level  struct{ v *kernels.Param }
)

func (b bandit) Device() *kernels.Device  { return b.logits.Device() }
func (b bandit) Params() []*kernels.Param { return []*kernels.Param{b.logits} }
func (b bandit) LogProbs(s *kernels.Scope, ids []int32, segs kernels.Segs, rows, targets []int32, temperature float32) (logp, entropy *kernels.Tensor) {
	all := s.LogSoftmax(s.Gather(b.logits.Tensor, make([]int32, len(rows))))
	return s.Pick(all, targets), s.Neg(s.RowSum(s.Mul(s.Exp(all), all)))
}

func (l level) Device() *kernels.Device  { return l.v.Device() }
func (l level) Params() []*kernels.Param { return []*kernels.Param{l.v} }
func (l level) Values(s *kernels.Scope, ids []int32, segs kernels.Segs, rows []int32) *kernels.Tensor {
	return s.Gather(l.v.Tensor, make([]int32, len(rows)))
}

// One step on two completions, with KL and process rewards, against the equations written out in float64.
func TestPPOStep(t *testing.T) {
	dev := openCPU(t)
	param := func(shape []int, v ...float32) *kernels.Param {
		p, err := dev.NewParam("p", v, shape...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Free()) })
		return p
	}
	logits, refLogits, v := []float32{0.3, -0.2, 0.9}, []float32{0.1, 0.4, 0}, 0.25
	policy, ref, critic := bandit{param([]int{1, 3}, logits...)}, bandit{param([]int{1, 3}, refLogits...)}, level{param([]int{1}, float32(v))}
	logSoftmax := func(z []float32) []float64 {
		sum, out := 0.0, make([]float64, len(z))
		for _, x := range z {
			sum += math.Exp(float64(x))
		}
		for i, x := range z {
			out[i] = float64(x) - math.Log(sum)
		}
		return out
	}
	logp, refp := logSoftmax(logits), logSoftmax(refLogits)
	sample := func(score float64, tokens ...int32) grpo.Sample {
		s := grpo.Sample{Tokens: tokens, Stop: sampling.StopEOS, Score: reward.Scored(score)}
		for _, k := range tokens {
			s.LogP = append(s.LogP, float32(logp[k]))
			s.Entropy = append(s.Entropy, 0.5)
		}
		return s
	}
	groups := []grpo.Group{{Prompt: []int32{0, 1}, Temperature: 1, Samples: []grpo.Sample{sample(1, 2, 0, 1), sample(-0.5, 1, 1), {Tokens: []int32{1}}}}}
	c := grpo.DefaultPPO()
	c.Policy.Loss.Beta, c.GAE, c.NoWhiten = 0.3, grpo.GAEConfig{Gamma: 0.9, Lambda: 0.8}, true
	c.Process = func(g grpo.Group, s grpo.Sample) []float64 {
		r := make([]float64, len(s.Tokens))
		r[0] = 0.2
		return r
	}
	trainer, err := grpo.NewPPO(policy, ref, critic, c)
	require.NoError(t, err)
	defer trainer.Close()
	st, err := trainer.Step(context.Background(), groups)
	require.NoError(t, err)

	var grad [3]float64
	var valueLoss, valueGrad, tokens float64
	for _, s := range groups[0].Samples[:2] {
		n := len(s.Tokens)
		score, _ := s.Score.Value()
		adv := 0.0
		for i := n - 1; i >= 0; i-- {
			k := s.Tokens[i]
			r, next := -0.3*(logp[k]-refp[k]), v
			if i == n-1 {
				r, next = r+score, 0
			}
			if i == 0 {
				r += 0.2
			}
			adv = r + 0.9*next - v + 0.9*0.8*adv
			for j := range grad {
				d := -math.Exp(logp[j])
				if int32(j) == k {
					d++
				}
				grad[j] -= adv * d / 5
			}
			valueLoss += 0.5 * adv * adv / 5
			valueGrad -= adv / 5
			tokens++
		}
	}
	require.InDelta(t, math.Sqrt(grad[0]*grad[0]+grad[1]*grad[1]+grad[2]*grad[2]), st.GradNorm, 1e-6)
	require.InDelta(t, math.Abs(valueGrad), st.ValueGradNorm, 1e-6)
	require.InDelta(t, valueLoss, st.ValueLoss, 1e-6)
	require.InDelta(t, 0, st.Explained, 1e-6, "a constant explains nothing")
	require.InDelta(t, 0.25, st.Reward, 1e-12)
	require.Equal(t, 1, st.Unscored)
	require.Less(t, st.MaxDrift, 1e-6)
	require.EqualValues(t, tokens, st.Tokens)
	require.Equal(t, 7, st.Trained)
}

// The sampler's log-probs are PPO's, a split changes no bit, and reward and explained variance rise.
func TestPPOLearns(t *testing.T) {
	var want []float32
	for _, micro := range []int{4096, 1, 33} {
		dev := openCPU(t)
		m, err := model.Tiny(dev, 3)
		require.NoError(t, err)
		ref, err := m.Clone()
		require.NoError(t, err)
		backbone, err := m.Clone()
		require.NoError(t, err)
		critic, err := model.NewScorer(backbone, 0, 1)
		require.NoError(t, err)
		c := grpo.DefaultPPO()
		c.Policy.MicroTokens, c.Policy.Epochs, c.Policy.MiniBatches = micro, 2, 2
		c.Policy.LearningRate, c.ValueLearningRate = 1e-2, 1e-2
		trainer, err := grpo.NewPPO(m, ref, critic, c)
		require.NoError(t, err)
		first, last := 0.0, 0.0
		for step := range uint32(8) {
			st, err := trainer.Step(context.Background(), rollout(t, m, step, 11, 1))
			require.NoError(t, err)
			if step == 0 {
				first = st.Reward
			}
			last = st.Reward
			require.Positive(t, st.MaxDrift, "the second epoch is off policy")
			require.Equal(t, step > 0, st.Explained != 0, "a critic that says 0 everywhere explains nothing")
		}
		require.Greater(t, last, first+0.1)
		var got []float32
		for _, p := range append(m.Params(), critic.Params()...) {
			v, err := p.Values()
			require.NoError(t, err)
			got = append(got, v...)
		}
		if want == nil {
			want = got
		}
		require.Equal(t, want, got, "%d rows a pass", micro)
		require.NoError(t, trainer.Close())
		require.NoError(t, critic.Close())
		require.NoError(t, ref.Close())
		require.NoError(t, m.Close())
	}
}

func TestPPORefuses(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	backbone, err := m.Clone()
	require.NoError(t, err)
	defer m.Close()
	critic, err := model.NewScorer(backbone, 0, 1)
	require.NoError(t, err)
	defer critic.Close()
	for want, change := range map[string]func(c *grpo.PPOConfig){
		"there is no reference":      func(c *grpo.PPOConfig) {},
		"Policy.Advantages is set":   func(c *grpo.PPOConfig) { c.Policy.Advantages = grpo.ReinforcePP },
		"lambda 2":                   func(c *grpo.PPOConfig) { c.GAE.Lambda = 2 },
		"value clip 0":               func(c *grpo.PPOConfig) { c.ValueClip = 0 },
		"value optimiser":            func(c *grpo.PPOConfig) { c.Policy, c.ValueOptim.Eps = grpo.DAPO(), 0 },
		"value learning rate -1e-05": func(c *grpo.PPOConfig) { c.ValueLearningRate = -1e-5 },
	} {
		c := grpo.DefaultPPO()
		change(&c)
		_, err := grpo.NewPPO(m, nil, critic, c)
		require.ErrorContains(t, err, want)
	}
	_, err = grpo.NewPPO(m, nil, nil, grpo.DefaultPPO())
	require.ErrorContains(t, err, "critic is nil")
	c := grpo.DefaultPPO()
	c.Policy = grpo.DAPO()
	trainer, err := grpo.NewPPO(m, nil, critic, c)
	require.NoError(t, err)
	defer trainer.Close()
	_, err = trainer.Step(context.Background(), []grpo.Group{{Prompt: []int32{1}, Samples: []grpo.Sample{{Tokens: []int32{1}}}}})
	require.ErrorContains(t, err, "no scored sample")
	c.Process = func(grpo.Group, grpo.Sample) []float64 { return nil }
	other, err := grpo.NewPPO(m, nil, critic, c)
	require.NoError(t, err)
	defer other.Close()
	_, err = other.Step(context.Background(), rollout(t, m, 0, 1, 1))
	require.ErrorContains(t, err, "Process gave 0 rewards")
}
