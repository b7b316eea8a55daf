package grpo_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

func TestAdvantageInvariants(t *testing.T) {
	nan := math.NaN()
	r := []float64{1, 0, 0, 0.2, 1.2, 0, 1}
	base := grpo.Advantages(r)
	sum := 0.0
	for _, a := range base {
		sum += a
	}
	require.InDelta(t, 0, sum, 1e-12)

	shifted, scaled := slices.Clone(r), slices.Clone(r)
	for i := range r {
		shifted[i], scaled[i] = r[i]+4, 3*r[i]
	}
	exact := grpo.Scale{By: grpo.PerGroup} // no epsilon: scaling cancels
	for i := range r {
		require.InDelta(t, base[i], grpo.Advantages(shifted)[i], 1e-12, "a shift changes nothing")
		require.InDelta(t, grpo.BatchAdvantages([][]float64{r}, exact)[0][i], grpo.BatchAdvantages([][]float64{scaled}, exact)[0][i], 1e-12)
	}
	a := grpo.BatchAdvantages([][]float64{{1, -1, -1, 1}}, exact)[0]
	b := grpo.BatchAdvantages([][]float64{{1, 0, 0, 1}}, exact)[0]
	for i := range a {
		require.InDelta(t, a[i], b[i], 1e-12, "{1,-1} and {1,0} are the same rewards")
	}
	reversed := slices.Clone(r)
	slices.Reverse(reversed)
	back := grpo.Advantages(reversed)
	slices.Reverse(back)
	for i := range base {
		require.InDelta(t, base[i], back[i], 1e-12)
	}

	require.Equal(t, []float64{0, 0, 0}, grpo.Advantages([]float64{0.1, 0.1, 0.1}), "no variance: exactly 0")
	require.Equal(t, []float64{0}, grpo.Advantages([]float64{5}))
	require.Equal(t, []float64{0, 0}, grpo.Advantages([]float64{nan, 3}), "nothing to compare with")
	require.Empty(t, grpo.Advantages(nil))
	with := grpo.Advantages([]float64{1, nan, 0, nan, 0})
	without := grpo.Advantages([]float64{1, 0, 0})
	require.Equal(t, []float64{without[0], 0, without[1], 0, without[2]}, with, "not scored: left out, advantage 0")

	loo := grpo.BatchAdvantages([][]float64{{3, 0, 0}}, grpo.Scale{By: grpo.Unscaled, LeaveOneOut: true})[0]
	require.InDeltaSlice(t, []float64{3, -1.5, -1.5}, loo, 1e-12)
	pop := grpo.BatchAdvantages([][]float64{{1, -1}}, grpo.Scale{By: grpo.PerGroup, Population: true})[0]
	require.InDeltaSlice(t, []float64{1, -1}, pop, 1e-12)
}

// At ratio 1 the derivative in each new log-prob is -w (A + Beta (exp(ref - new) - 1)): arXiv 2402.03300, eq. 21.
func TestGradientAtRatioOne(t *testing.T) {
	dev := openCPU(t)
	newT, ref := []float32{-1, -2, -0.5, -3}, []float32{-1.5, -1, -0.5, -2.5}
	adv, mask := []float32{2, 2, -1, -1}, []float32{1, 1, 1, 0}
	segs := kernels.PackedSegs(2, 2)
	for name, n := range map[string]struct {
		f grpo.Normalizer
		w []float64
	}{
		"per sequence": {grpo.PerSequence, []float64{1. / 4, 1. / 4, 1. / 2, 0}},
		"per token":    {grpo.PerToken, []float64{1. / 3, 1. / 3, 1. / 3, 0}},
		"constant":     {grpo.Constant, []float64{1. / 20, 1. / 20, 1. / 20, 0}},
	} {
		cfg := grpo.LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Beta: 0.3, Normalize: n.f}
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			leaf := s.Leaf(s.FromF32(newT))
			loss, st := grpo.Loss(s, cfg, grpo.LossInput{NewT: leaf, OldT: s.FromF32(newT), RefT: s.FromF32(ref), AdvT: s.FromF32(adv), MaskT: s.FromF32(mask), Segs: segs,
				Totals: grpo.Totals{Sequences: 2, Tokens: 3, MaxTokens: 10}})
			s.Backward([]*kernels.Tensor{loss}, nil)
			got := make([]float32, 4)
			require.NoError(t, s.Read(s.GradOf(leaf), got))
			want := 0.0
			for i, w := range n.w {
				d := float64(ref[i] - newT[i])
				require.InDelta(t, -w*(float64(adv[i])+0.3*(math.Exp(d)-1)), float64(got[i]), 1e-6, "%s token %d", name, i)
				want -= w * (float64(adv[i]) - 0.3*(math.Exp(d)-d-1))
			}
			require.InDelta(t, want, st.Loss, 1e-6, name)
			require.Zero(t, st.MaxDrift)
			require.EqualValues(t, 3, st.Tokens)
			return nil
		}))
	}
}

// The clip takes the gradient away where it should, and the counts say where.
func TestClip(t *testing.T) {
	dev := openCPU(t)
	old := []float32{-1, -1, -1, -1, -1}
	newT := []float32{-1 + 0.5, -1 + 0.5, -1 - 0.5, -1 - 0.5, -1 + 0.1}
	adv := []float32{1, -1, 1, -1, 1}
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		leaf := s.Leaf(s.FromF32(newT))
		loss, st := grpo.Loss(s, grpo.LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.3, Normalize: grpo.PerToken}, grpo.LossInput{
			NewT: leaf, OldT: s.FromF32(old), AdvT: s.FromF32(adv), MaskT: s.Full(1, 5), Segs: kernels.PackedSegs(5), Totals: grpo.Totals{Sequences: 1, Tokens: 5},
		})
		s.Backward([]*kernels.Tensor{loss}, nil)
		got := make([]float32, 5)
		require.NoError(t, s.Read(s.GradOf(leaf), got))
		up, down, little := math.Exp(0.5), math.Exp(-0.5), math.Exp(0.1)
		require.InDeltaSlice(t, []float64{0, up / 5, -down / 5, 0, -little / 5}, []float64{float64(got[0]), float64(got[1]), float64(got[2]), float64(got[3]), float64(got[4])}, 1e-6)
		require.Equal(t, 1.0, st.ClipHigh)
		require.Equal(t, 1.0, st.ClipLow)
		require.InDelta(t, 0.5, st.MaxDrift, 1e-6)
		return nil
	}))
}

// toyCodec maps token id i to the letter 'a'+i.
type toyCodec struct{}

func (toyCodec) Encode(text string) ([]int32, error) {
	ids := make([]int32, len(text))
	for i := range text {
		ids[i] = int32(text[i] - 'a')
	}
	return ids, nil
}

func (toyCodec) Decode(ids []int32) string {
	b := make([]byte, len(ids))
	for i, id := range ids {
		b[i] = byte(id) + 'a'
	}
	return string(b)
}

// rollout draws and judges one small batch: the reward is the share of even ids.
func rollout(t *testing.T, m *model.LM, step uint32, seed uint64, temperature float32) []grpo.Group {
	return rolloutOf(t, m, step, sampling.Options{Temperature: temperature, Seed: seed})
}

func rolloutOf(t *testing.T, m *model.LM, step uint32, o sampling.Options) []grpo.Group {
	o.Codec, o.MaxTokens = toyCodec{}, 9
	e := sampling.New(m, o)
	groups, err := sampling.Rollout(context.Background(), e, sampling.Request{
		Step: step, Samples: 6, Problems: []reward.Problem{{Prompt: "abc"}, {Prompt: "zz"}, {Prompt: "hello"}},
		Score: reward.FromText(func(_, completion, _ string) float64 {
			even := 0.0
			for _, c := range completion {
				even += float64(1 - c%2)
			}
			return even / float64(max(len(completion), 1))
		}),
	})
	require.NoError(t, err)
	return groups
}

func config(micro int, beta float32, share bool) grpo.Config {
	c := grpo.DAPO()
	c.LearningRate, c.MicroTokens, c.SharePrompt = 1e-2, micro, share
	c.Loss.Beta = beta
	return c
}

// weightsAfter trains a fresh tiny model and returns its weights and the last step's statistics.
func weightsAfter(t *testing.T, dev *kernels.Device, steps int, c grpo.Config, temperature float32, change func(step int, groups []grpo.Group)) ([]float32, grpo.StepStats) {
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer m.Close()
	ref, err := m.Clone()
	require.NoError(t, err)
	defer ref.Close()
	trainer, err := grpo.New(m, ref, c)
	require.NoError(t, err)
	defer trainer.Close()
	var st grpo.StepStats
	for step := range steps {
		groups := rollout(t, m, uint32(step), 11, temperature)
		if change != nil {
			change(step, groups)
		}
		st, err = trainer.Step(context.Background(), groups)
		require.NoError(t, err)
		require.Zero(t, st.MaxDrift, "step %d: sampler and trainer differ", step)
	}
	var all []float32
	for _, p := range m.Params() {
		v, err := p.Values()
		require.NoError(t, err)
		all = append(all, v...)
	}
	return all, st
}

// Sampler and trainer agree to the bit in every step; the weights are the same bits for any split into micro-batches and any
// number of threads, at any temperature, with and without the KL term.
func TestTrainerIsExact(t *testing.T) {
	for _, temperature := range []float32{1, 0.7} {
		for _, beta := range []float32{0, 0.05} {
			var want []float32
			for _, threads := range []int{1, 2, 4} {
				dev := openCPU(t, kernels.Options{Threads: threads})
				for _, micro := range []int{1, 20, 33, 4096} {
					got, st := weightsAfter(t, dev, 4, config(micro, beta, false), temperature, nil)
					if want == nil {
						want = got
					}
					require.Equal(t, want, got, "temperature %g, beta %g, %d threads, %d rows a pass", temperature, beta, threads, micro)
					require.Equal(t, beta > 0, st.KL > 0)
				}
			}
		}
	}
}

// A shared prompt gives the same log-probs and nearly the same gradients.
func TestSharePrompt(t *testing.T) {
	dev := openCPU(t)
	plain, st := weightsAfter(t, dev, 1, config(4096, 0.05, false), 1, nil)
	shared, st2 := weightsAfter(t, dev, 1, config(4096, 0.05, true), 1, nil)
	require.Less(t, st2.Trained, st.Trained, "the prompt is run once a group")
	require.Equal(t, st.KL, st2.KL)
	require.InEpsilon(t, st.GradNorm, st2.GradNorm, 1e-6)
	moved := 0.0
	for i := range plain {
		moved = max(moved, math.Abs(float64(plain[i]-shared[i])))
	}
	require.Less(t, moved, 1e-2, "Adam's first step is sign-like: a gradient near 0 may turn")
}

// Several passes over the same samples: the ratio leaves 1 from the second on, and old log-probs stay the sampler's.
func TestEpochsAndMiniBatches(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer m.Close()
	c := config(64, 0, false)
	c.Epochs, c.MiniBatches = 3, 3
	trainer, err := grpo.New(m, nil, c)
	require.NoError(t, err)
	defer trainer.Close()
	st, err := trainer.Step(context.Background(), rollout(t, m, 0, 5, 1))
	require.NoError(t, err)
	require.Equal(t, 9, trainer.Optimizer().Steps())
	require.Positive(t, st.MaxDrift)
}

// What is not scored teaches nothing; a gradient that is not finite changes nothing.
func TestUnscoredAndNotFinite(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer m.Close()
	trainer, err := grpo.New(m, nil, config(64, 0, false))
	require.NoError(t, err)
	defer trainer.Close()
	groups := rollout(t, m, 0, 5, 1)
	before, err := m.Params()[0].Values()
	require.NoError(t, err)
	for i := range groups {
		for j := range groups[i].Samples {
			groups[i].Samples[j].Score = reward.Score{}
		}
	}
	_, err = trainer.Step(context.Background(), groups)
	require.ErrorContains(t, err, "no scored sample")
	groups[0].Samples[0].Score, groups[0].Samples[1].Score = reward.Scored(1), reward.Scored(0)
	groups[0].Samples[0].LogP[0] = float32(math.Inf(-1))
	st, err := trainer.Step(context.Background(), groups)
	require.NoError(t, err)
	require.Equal(t, 1, st.Skipped)
	require.Equal(t, 16, st.Unscored)
	after, err := m.Params()[0].Values()
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A completion that the limit cut is not trained with MaskTruncated: what it says changes nothing. Its reward still counts.
func TestMaskTruncated(t *testing.T) {
	dev := openCPU(t)
	after := func(token int32, score float64) []float32 {
		c := config(0, 0.1, false)
		c.MaskTruncated = true
		v, _ := weightsAfter(t, dev, 1, c, 1, func(_ int, groups []grpo.Group) {
			for p := range groups {
				s := &groups[p].Samples[0]
				s.Stop, s.Score = sampling.StopLength, reward.Scored(score)
				s.Tokens[0] = token
				for i := range groups[p].Samples[1:] {
					groups[p].Samples[1+i].Stop, groups[p].Samples[1+i].Score = sampling.StopEOS, reward.Scored(float64(i%2))
				}
			}
		})
		return v
	}
	require.Equal(t, after(5, 1), after(9, 1))
	require.NotEqual(t, after(5, 1), after(5, 0), "its reward is in the group's mean")
}

func TestNewRefuses(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer m.Close()
	for want, change := range map[string]func(c *grpo.Config){
		"no reference policy":       func(c *grpo.Config) { c.Loss.Beta = 0.1 },
		"Loss.Normalize is nil":     func(c *grpo.Config) { c.Loss.Normalize = nil },
		"learning rate 0":           func(c *grpo.Config) { c.LearningRate = 0 },
		"want 0 or more":            func(c *grpo.Config) { c.Epochs = -1 },
		"epsilons -1":               func(c *grpo.Config) { c.Loss.EpsilonLow = -1 },
		"optim: betas 0 and 0, eps": func(c *grpo.Config) { c.Optim = optim.Config{} },
	} {
		c := grpo.DAPO()
		change(&c)
		_, err := grpo.New(m, nil, c)
		require.ErrorContains(t, err, want)
	}
	_, err = grpo.New(nil, nil, grpo.DAPO())
	require.ErrorContains(t, err, "policy is nil")
}

func ExampleAdvantages() {
	for _, a := range grpo.Advantages([]float64{1, 0, 0, 0}) {
		fmt.Printf("%.2f ", a)
	}
	// Output: 1.50 -0.50 -0.50 -0.50
}
