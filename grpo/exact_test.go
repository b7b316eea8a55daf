package grpo_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

var long = flag.Bool("long", false, "run the long tests: 200 steps")

// variants are trainers whose parts differ; each must be exact.
func variants() map[string]grpo.Config {
	with := func(change func(c *grpo.Config)) grpo.Config {
		c := config(0, 0, false)
		change(&c)
		return c
	}
	return map[string]grpo.Config{
		"exact KL":       with(func(c *grpo.Config) { c.Loss.Beta, c.KL.Exact = 0.05, true }),
		"exact KL and H": with(func(c *grpo.Config) { c.Loss.Beta, c.KL.Exact, c.Loss.Entropy = 0.05, true, 0.01 }),
		"KL in reward":   with(func(c *grpo.Config) { c.Loss.Beta, c.KL.InReward = 0.05, true }),
		"entropy bonus":  with(func(c *grpo.Config) { c.Loss.Entropy = 0.01 }),
		"top entropy":    with(func(c *grpo.Config) { c.FirstPass.Weigh, c.Epochs = grpo.TopEntropy(0.3), 2 }),
		"Clip-Cov":       with(func(c *grpo.Config) { c.FirstPass.Weigh, c.MiniBatches = grpo.ClipCov(0.2, 0, 10, 1), 2 }),
		"KL-Cov": with(func(c *grpo.Config) {
			c.Loss.Surrogate, c.FirstPass.Punish, c.Epochs = grpo.Unclipped, grpo.KLCov(0.2, 1), 2
		}),
		"GMPO": with(func(c *grpo.Config) {
			c.Loss.Ratio, c.Loss.Surrogate, c.Epochs = grpo.GeometricRatio(0.4), grpo.Unclipped, 2
		}),
		"VESPO": with(func(c *grpo.Config) {
			c.Loss.Surrogate, c.Epochs = grpo.VESPO(grpo.Gamma{K: 2, Lambda: 3}, grpo.Gamma{K: 3, Lambda: 2}), 2
		}),
		"DPPO, off-policy": with(func(c *grpo.Config) {
			c.Loss.Surrogate, c.Loss.Mask, c.Epochs = grpo.Unclipped, grpo.And(grpo.DPPOTV(0.01), grpo.OffPolicy(0.01)), 3
		}),
		"REINFORCE++": with(func(c *grpo.Config) { c.Loss.Beta, c.KL.InReward, c.Advantages = 0.05, true, grpo.ReinforcePP }),
		"whole output": with(func(c *grpo.Config) {
			c.Loss.Beta, c.Loss.Ratio, c.Loss.KL = 0.05, grpo.WholeRatio, grpo.Whole(grpo.K3)
		}),
		"adaptive": with(func(c *grpo.Config) {
			c.Loss.Beta, c.Loss.Entropy = 0.05, 0.01
			c.Adapt = grpo.Adapt{KL: &grpo.KLControl{Target: 0.01, Horizon: 100}, Entropy: &grpo.EntropyControl{Target: 10, Delta: 0.001, Max: 1}}
		}),
		"plain": with(func(c *grpo.Config) { c.MiniBatches = 2 }),
	}
}

// train takes steps on a fresh tiny model and returns the weights.
func train(t *testing.T, dev *kernels.Device, c grpo.Config, o sampling.Options, change func(groups []grpo.Group)) ([]float32, grpo.StepStats) {
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer m.Close()
	ref, err := model.Tiny(dev, 4)
	require.NoError(t, err)
	defer ref.Close()
	if dev.BF16() == "tile" {
		require.NoError(t, errors.Join(m.UseBF16(), ref.UseBF16()))
	}
	require.NoError(t, grpo.MoveReference(ref, m, 0.5))
	trainer, err := grpo.New(m, ref, c)
	require.NoError(t, err)
	defer trainer.Close()
	var st grpo.StepStats
	for step := range 2 {
		groups := rolloutOf(t, m, uint32(step), o)
		if change != nil {
			change(groups)
		}
		st, err = trainer.Step(context.Background(), groups)
		require.NoError(t, err)
		if c.Epochs <= 1 && c.MiniBatches <= 1 {
			require.Zero(t, st.MaxDrift)
		}
		require.Zero(t, st.Drift, "before the first update they are the same bits, however many follow")
		tokens := 0
		for _, g := range groups {
			for _, s := range g.Samples {
				if _, ok := s.Score.Value(); ok && !(c.MaskTruncated && s.Stop == sampling.StopLength) {
					tokens += len(s.Tokens)
				}
			}
		}
		require.EqualValues(t, tokens, st.Tokens, "those with advantage 0 count")
	}
	return values(t, m), st
}

// The same in bf16 of class tile, whose weight gradients take 32 rows at once and must not take them from two sequences.
func TestClassTileIsExact(t *testing.T) {
	one, two := openCPU(t, kernels.Options{Threads: 1, BF16: "tile"}), openCPU(t, kernels.Options{Threads: 2, BF16: "tile"})
	for _, name := range []string{"plain", "exact KL"} {
		for _, o := range []sampling.Options{{Temperature: 1, Seed: 11}, {Temperature: 0.8, Seed: 11, Truncation: kernels.Truncation{TopK: 20, TopP: 0.9}}} {
			c := variants()[name]
			c.MicroTokens = 4096
			want, _ := train(t, one, c, o, nil)
			for _, micro := range []int{1, 100} {
				c.MicroTokens = micro
				got, _ := train(t, two, c, o, slices.Reverse[[]grpo.Group])
				require.Equal(t, want, got, "%s: %d tokens a pass, 2 threads, groups in another order", name, micro)
			}
		}
	}
}

func values(t *testing.T, m *model.LM) (all []float32) {
	for _, p := range m.Params() {
		v, err := p.Values()
		require.NoError(t, err)
		all = append(all, v...)
	}
	return all
}

// Whatever the loss is made of, and whether the sampler was truncated: the weights are the same bits for any split into micro-batches,
// any number of threads, any order of the groups, and with or without a pass that computes the old log-probs again.
func TestEveryVariantIsExact(t *testing.T) {
	one, two := openCPU(t, kernels.Options{Threads: 1}), openCPU(t, kernels.Options{Threads: 2})
	for name, c := range variants() {
		for _, o := range []sampling.Options{{Temperature: 1, Seed: 11}, {Temperature: 0.8, Seed: 11, Truncation: kernels.Truncation{TopK: 20, TopP: 0.9}}} {
			c.MicroTokens = 4096
			want, st := train(t, one, c, o, nil)
			require.Equal(t, c.Loss.Beta > 0, st.KL != 0, name)
			c.MicroTokens = 1
			got, _ := train(t, two, c, o, slices.Reverse[[]grpo.Group])
			require.Equal(t, want, got, "%s: one sequence a pass, 2 threads, groups in another order", name)
			c.MicroTokens, c.FirstPass = 33, grpo.FirstPass{Recompute: true, Weigh: c.FirstPass.Weigh, Punish: c.FirstPass.Punish}
			got, _ = train(t, one, c, o, nil)
			require.Equal(t, want, got, "%s: old log-probs computed again", name)
			if name == "plain" {
				c.FirstPass.Correct = &grpo.Correction{Max: 3, Mask: true, Sequence: true}
				got, _ = train(t, one, c, o, nil)
				require.Equal(t, want, got, "importance weights are 1")
			}
		}
	}
}

// A shared prompt under a truncated sampler and the exact KL: the same log-probs and KL, fewer rows.
func TestSharePromptOfVariants(t *testing.T) {
	dev := openCPU(t)
	o := sampling.Options{Temperature: 0.8, Seed: 11, Truncation: kernels.Truncation{TopP: 0.9}}
	c := variants()["exact KL"]
	c.LearningRate = 1e-12 // the second step's samples are the same
	_, plain := train(t, dev, c, o, nil)
	c.SharePrompt = true
	_, shared := train(t, dev, c, o, nil)
	require.Less(t, shared.Trained, plain.Trained)
	require.InEpsilon(t, plain.KL, shared.KL, 1e-6)
	require.InEpsilon(t, plain.GradNorm, shared.GradNorm, 1e-5)
}

// passed is a micro-batch through a tiny model: what the loss reads, as functions of the weights.
type passed struct {
	policy, ref *model.LM
	p           data
	ids         []int32
	segs        kernels.Segs
	rows, to    []int32
	keep        [][]int32
}

func newPassed(t *testing.T, dev *kernels.Device, o sampling.Options) passed {
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	ref, err := model.Tiny(dev, 4)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()); require.NoError(t, ref.Close()) })
	out := passed{policy: m, ref: ref, p: randomData(1)}
	d := data{}
	var lengths []int
	r := rand.New(rand.NewPCG(5, 6))
	for _, g := range rolloutOf(t, m, 0, o)[:2] {
		for _, s := range g.Samples[:2] {
			at := int32(len(out.ids) + len(g.Prompt) - 1)
			a := r.NormFloat64()
			for i, tok := range s.Tokens {
				out.rows, out.to = append(out.rows, at+int32(i)), append(out.to, tok)
				d.old, d.adv, d.mask = append(d.old, float64(s.LogP[i])), append(d.adv, float64(float32(a))), append(d.mask, 1)
				d.weight, d.penalty = append(d.weight, float64(r.IntN(2))), append(d.penalty, float64(r.IntN(2)))
			}
			out.ids = append(append(out.ids, g.Prompt...), s.Tokens...)
			lengths, d.lengths = append(lengths, len(g.Prompt)+len(s.Tokens)), append(d.lengths, len(s.Tokens))
			out.keep = append(out.keep, s.Keep...)
		}
	}
	d.mask[1] = 0
	d.ref, d.entropy = d.old, d.old
	out.segs, out.p = kernels.PackedSegs(lengths...), d
	for _, p := range m.Params() { // away from the weights that sampled: ratios are not 1
		v, err := p.Values()
		require.NoError(t, err)
		for i := range v {
			v[i] += float32(0.03 * r.NormFloat64())
		}
		require.NoError(t, p.Write(v))
	}
	return out
}

// forward gives log-probs, entropies and the exact KL, and the reference's log-probs.
func (m passed) forward(s *kernels.Scope) (logp, entropy, kl, ref *kernels.Tensor) {
	w, _ := m.policy.OutputHead()
	u, _ := m.ref.OutputHead()
	o := kernels.HeadOptions{Keep: m.keep}
	hidden := s.Gather(m.policy.Forward(s, m.ids, m.segs), m.rows)
	other := s.Gather(m.ref.Forward(s.NoGrad(), m.ids, m.segs), m.rows)
	ref, _ = s.NoGrad().Head(other, u, m.to, o)
	logp, entropy, kl = s.HeadKL(hidden, w, m.to, kernels.HeadOther{X: other, W: u, Divergence: kernels.ReverseKL}, o)
	return logp, entropy, kl, ref
}

// Finite differences through a tiny model, over all words and over a truncated sampler's: along the gradient, the loss falls as the
// gradient says. Where part of a loss is held, the loss is replaced by its tangent in log-probs, entropies and KL.
func TestFiniteDifferencesThroughModel(t *testing.T) {
	dev := openCPU(t)
	all := references()
	exact := func(in *grpo.LossInput, s *kernels.Scope, d data) {} // KLT is set below
	for _, how := range []string{"exact KL", "exact KL and entropy bonus"} {
		c := all[0].cfg
		c.Beta = 0.5
		if how != "exact KL" {
			c.Entropy = 0.1
		}
		all = append(all, reference{name: how, cfg: c, use: exact})
	}
	for name, o := range map[string]sampling.Options{"all words": {Temperature: 1, Seed: 2}, "truncated": {Temperature: 1, Seed: 2, Truncation: kernels.Truncation{TopK: 12, TopP: 0.9}}} {
		m := newPassed(t, dev, o)
		params := m.policy.Params()
		start := values(t, m.policy)
		set := func(direction []float64, step float64) {
			at := 0
			for _, p := range params {
				v := make([]float32, p.Len())
				for i := range v {
					v[i] = float32(float64(start[at+i]) + step*direction[at+i])
				}
				at += p.Len()
				require.NoError(t, p.Write(v))
			}
		}
		for _, c := range all {
			input := func(s *kernels.Scope, logp, entropy, kl, ref *kernels.Tensor) grpo.LossInput {
				in := m.p.input(s, logp)
				in.RefT, in.EntropyT = ref, entropy
				if strings.HasPrefix(c.name, "exact") {
					in.KLT = kl
				}
				if c.use != nil {
					c.use(&in, s, m.p)
				}
				return in
			}
			set(make([]float64, len(start)), 0)
			var tangent [3][]float32 // of the loss in log-prob, entropy, KL
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				logp, entropy, kl, ref := m.forward(s)
				loss, _ := grpo.Loss(s, c.cfg, input(s, logp, entropy, kl, ref))
				s.Backward([]*kernels.Tensor{loss}, nil)
				leaves := []*kernels.Tensor{s.Leaf(logp), s.Leaf(entropy), s.Leaf(kl)}
				loss, _ = grpo.Loss(s, c.cfg, input(s, leaves[0], leaves[1], leaves[2], ref))
				s.Backward([]*kernels.Tensor{loss}, nil)
				for i, l := range leaves {
					tangent[i] = make([]float32, l.Len())
					require.NoError(t, s.Read(s.GradOf(l), tangent[i]))
				}
				return s.Err()
			}))
			direction, norm := gradient(t, m.policy), 0.0
			for _, g := range direction {
				norm += g * g
			}
			norm = math.Sqrt(norm)
			require.Greater(t, norm, 1e-3, c.name)
			for i := range direction {
				direction[i] /= norm
			}
			value := func(step float64) (direct, linear float64) {
				set(direction, step)
				require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
					s = s.NoGrad()
					logp, entropy, kl, ref := m.forward(s)
					_, st := grpo.Loss(s, c.cfg, input(s, logp, entropy, kl, ref))
					direct = st.Loss
					for i, x := range []*kernels.Tensor{logp, entropy, kl} {
						v := make([]float32, x.Len())
						require.NoError(t, s.Read(x, v))
						for j := range v {
							linear += float64(tangent[i][j]) * float64(v[j])
						}
					}
					return s.Err()
				}))
				return direct, linear
			}
			const h = 5e-4 // small: a clip is a kink
			upDirect, up := value(h)
			downDirect, down := value(-h)
			require.InEpsilon(t, norm, (up-down)/(2*h), 2e-3, "%s, %s", c.name, name)
			if !c.held {
				require.InEpsilon(t, norm, (upDirect-downDirect)/(2*h), 5e-3, "%s, %s: the loss itself", c.name, name)
			}
		}
	}
}

// At ratio 1 every loss with a ratio gives the policy gradient: -A for each token, by its weight.
func TestRatioOneIsThePolicyGradient(t *testing.T) {
	dev := openCPU(t)
	d := randomData(3)
	for name, c := range map[string]struct {
		cfg  grpo.LossConfig
		each bool // a token counts 1/N, not 1/(N |o|)
	}{
		"token":     {cfg: grpo.LossConfig{}},
		"sequence":  {cfg: grpo.LossConfig{Ratio: grpo.SequenceRatio}},
		"whole":     {cfg: grpo.LossConfig{Ratio: grpo.WholeRatio}, each: true},
		"geometric": {cfg: grpo.LossConfig{Ratio: grpo.GeometricRatio(0.4), Surrogate: grpo.Unclipped}},
		"unclipped": {cfg: grpo.LossConfig{Surrogate: grpo.Unclipped}},
		"no ratio":  {cfg: grpo.LossConfig{Surrogate: grpo.PolicyGradient}},
		"CISPO":     {cfg: grpo.LossConfig{Surrogate: grpo.CISPO(5)}},
		"SAPO":      {cfg: grpo.LossConfig{Surrogate: grpo.SAPO(1, 1.05)}},
		"VESPO":     {cfg: grpo.LossConfig{Surrogate: grpo.VESPO(grpo.Gamma{K: 2, Lambda: 3}, grpo.Gamma{K: 3, Lambda: 2})}},
		"DPPO":      {cfg: grpo.LossConfig{Surrogate: grpo.Unclipped, Mask: grpo.And(grpo.DPPOTV(0.1), grpo.DPPOKL(0.1), grpo.OffPolicy(0.1))}},
	} {
		c.cfg.EpsilonLow, c.cfg.EpsilonHigh, c.cfg.Normalize = 0.2, 0.2, grpo.PerSequence
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			leaf := s.Leaf(s.FromF32(single(d.newLP)))
			in := d.input(s, leaf)
			in.OldT, in.EntropyT = s.FromF32(single(d.newLP)), nil
			loss, _ := grpo.Loss(s, c.cfg, in)
			s.Backward([]*kernels.Tensor{loss}, nil)
			got := make([]float32, len(d.newLP))
			require.NoError(t, s.Read(s.GradOf(leaf), got))
			d.each(func(from, to int) {
				_, n := d.masked(from, to, func(int) float64 { return 0 })
				if c.each {
					n = 1
				}
				for i := from; i < to; i++ {
					require.InDelta(t, -d.mask[i]*d.adv[i]/n/3, float64(got[i]), 1e-6, "%s token %d", name, i)
				}
			})
			return nil
		}))
	}
}

func TestMoveReference(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer m.Close()
	ref, err := model.Tiny(dev, 4)
	require.NoError(t, err)
	defer ref.Close()
	from, to := values(t, m), values(t, ref)
	require.NoError(t, grpo.MoveReference(ref, m, 0.25))
	for i, v := range values(t, ref) {
		require.Equal(t, float32(0.25*float64(from[i])+0.75*float64(to[i])), v)
	}
	require.NoError(t, grpo.MoveReference(ref, m, 1))
	require.Equal(t, from, values(t, ref))
	require.ErrorContains(t, grpo.MoveReference(ref, m, 0), "share of 0")
	require.ErrorContains(t, grpo.MoveReference(ref, headless{m}, 1), "parameters")
}

// headless is a policy that does not show its head, with a parameter less.
type headless struct{ grpo.Policy }

func (h headless) Params() []*kernels.Param { return h.Policy.Params()[1:] }

// The controllers' state goes on where it was saved.
func TestAdaptState(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer m.Close()
	ref, err := model.Tiny(dev, 4)
	require.NoError(t, err)
	defer ref.Close()
	c := variants()["adaptive"]
	trainer, err := grpo.New(m, ref, c)
	require.NoError(t, err)
	defer trainer.Close()
	require.Equal(t, grpo.State{Beta: float64(float32(0.05)), Entropy: grpo.EntropyState{Weight: float64(float32(0.01))}}, trainer.State())
	_, err = trainer.Step(context.Background(), rollout(t, m, 0, 5, 1))
	require.NoError(t, err)
	st := trainer.State()
	require.Greater(t, st.Beta, 0.05, "the KL is above its target")
	require.InDelta(t, 0.011, st.Entropy.Weight, 1e-6, "the entropy is below its own")
	text, err := json.Marshal(st)
	require.NoError(t, err)
	var back grpo.State
	require.NoError(t, json.Unmarshal(text, &back))
	other, err := grpo.New(m, ref, c)
	require.NoError(t, err)
	defer other.Close()
	other.SetState(back)
	require.Equal(t, st, other.State())
}

func TestPartsRefused(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer m.Close()
	for want, change := range map[string]func(c *grpo.Config){
		"Loss.Beta is 0":                 func(c *grpo.Config) { c.KL.Exact = true },
		"choose one":                     func(c *grpo.Config) { c.Loss.Beta, c.KL.Exact, c.KL.InReward = 1, true, true },
		"set FirstPass.Recompute":        func(c *grpo.Config) { c.FirstPass.Correct = &grpo.Correction{} },
		"Adapt.KL has target 0":          func(c *grpo.Config) { c.Loss.Beta, c.Adapt.KL = 1, &grpo.KLControl{} },
		"output head (HeadPolicy); grpo": func(c *grpo.Config) { c.Loss.Beta, c.KL.Exact = 1, true },
	} {
		c := grpo.DAPO()
		change(&c)
		_, err := grpo.New(headless{m}, m, c)
		require.ErrorContains(t, err, want)
	}
	groups := rolloutOf(t, m, 0, sampling.Options{Temperature: 1, Truncation: kernels.Truncation{TopK: 3}})
	step := func(p grpo.Policy, c grpo.Config) error {
		trainer, err := grpo.New(p, nil, c)
		require.NoError(t, err)
		defer trainer.Close()
		_, err = trainer.Step(context.Background(), groups)
		return err
	}
	require.ErrorContains(t, step(headless{m}, grpo.DAPO()), "truncated sampler")
	c := grpo.DAPO()
	c.Advantages = func(o grpo.Outcomes) [][][]float64 { return make([][][]float64, len(o.Groups)) }
	require.ErrorContains(t, step(m, c), "advantages of 0 samples")
	c.Advantages = grpo.Outcome(func(rewardsPG [][]float64) [][]float64 {
		out := grpo.BatchAdvantages(rewardsPG, grpo.GroupScale())
		out[0][1] = math.NaN()
		return out
	})
	require.ErrorContains(t, step(m, c), "group 0, sample 1: an advantage of NaN")
	groups[0].Samples[0].Keep = groups[0].Samples[0].Keep[1:]
	require.ErrorContains(t, step(m, grpo.DAPO()), "group 0, sample 0: kept words of")
	groups[0].Samples[0].Keep, groups[0].Samples[0].LogP = nil, nil
	require.ErrorContains(t, step(m, grpo.DAPO()), "0 log-probs for")
}

// Steps with random numbers of problems and samples, random splits into micro-batches, orders of arrival, sequences decoded at once
// (so that prompts are shared, dropped and run again) and truncations: for every token of every step the sampler's log-prob is the
// trainer's, and the final weights have one hash on 1, 2 and 4 threads. 200 steps with -long.
func TestManySteps(t *testing.T) {
	steps := 30
	if *long {
		steps = 200
	}
	want := ""
	for number, threads := range []int{1, 2, 4, 2} {
		dev := openCPU(t, kernels.Options{Threads: threads})
		m, err := model.Tiny(dev, 3)
		require.NoError(t, err)
		compose := rand.New(rand.NewPCG(1, 2))            // the same in every run
		split := rand.New(rand.NewPCG(uint64(number), 3)) // another in every run
		c := config(0, 0, false)
		c.LearningRate = 3e-3
		var opt optim.State
		for step := range steps {
			c.MicroTokens = 1 + split.IntN(300)
			c.FirstPass.Recompute = split.IntN(2) == 0
			trainer, err := grpo.New(m, nil, c) // a fresh trainer each step, continued from the last one's state
			require.NoError(t, err)
			if step > 0 {
				require.NoError(t, trainer.Optimizer().SetState(opt))
			}
			problems := make([]reward.Problem, 1+compose.IntN(5))
			for i := range problems {
				problems[i].Prompt = string(rune('a'+compose.IntN(26))) + string(rune('a'+compose.IntN(26)))
			}
			o := sampling.Options{Codec: toyCodec{}, Temperature: 1, MaxTokens: 8, Seed: 9, MaxSeqs: 1 + split.IntN(40)}
			o.Truncation = []kernels.Truncation{{}, {TopK: 10}, {TopP: 0.9}, {MinP: 0.05}}[compose.IntN(4)]
			groups, err := sampling.Rollout(context.Background(), sampling.New(m, o), sampling.Request{Step: uint32(step), Problems: problems, Samples: 2 + compose.IntN(6),
				Score: reward.FromText(func(_, completion, _ string) float64 { return float64(strings.Count(completion, "e")) })})
			require.NoError(t, err)
			split.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
			for _, g := range groups {
				for _, s := range g.Samples {
					require.Equal(t, o.Truncation.Nothing(), s.Keep == nil)
				}
			}
			st, err := trainer.Step(context.Background(), groups)
			require.NoError(t, err)
			require.Zero(t, st.MaxDrift, "step %d on %d threads", step, threads)
			opt, err = trainer.Optimizer().State()
			require.NoError(t, err)
			require.NoError(t, trainer.Close())
		}
		h := sha256.New()
		require.NoError(t, binary.Write(h, binary.LittleEndian, values(t, m)))
		require.NoError(t, m.Close())
		got := hex.EncodeToString(h.Sum(nil))
		if want == "" {
			want = got
		}
		require.Equal(t, want, got, "%d threads", threads)
	}
}

// Signal and Noise follow from the squared norms of the gradient of the first quarter of the groups and of all, however the batch is cut into passes.
// Both norms are measured here by giving other groups advantage 0.
func TestGradientNoise(t *testing.T) {
	dev := openCPU(t)
	const groups = 6
	step := func(micro, from, to int) (st grpo.StepStats) {
		m, err := model.Tiny(dev, 3)
		require.NoError(t, err)
		defer m.Close()
		c := config(micro, 0, false)
		c.GradientNoise = true
		c.Advantages = grpo.Outcome(func(rewardsPG [][]float64) [][]float64 {
			adv := make([][]float64, len(rewardsPG))
			for g, rs := range rewardsPG {
				for i := range rs {
					a := 0.0
					if g >= from && g < to {
						a = float64(1 + i + g)
					}
					adv[g] = append(adv[g], a)
				}
			}
			return adv
		})
		trainer, err := grpo.New(m, nil, c)
		require.NoError(t, err)
		defer trainer.Close()
		problems := make([]reward.Problem, groups)
		for i := range problems {
			problems[i].Prompt = string(rune('a' + i))
		}
		batch, err := sampling.Rollout(context.Background(), sampling.New(m, sampling.Options{Codec: toyCodec{}, Temperature: 1, MaxTokens: 8, Seed: 9}), sampling.Request{Problems: problems, Samples: 4,
			Score: reward.FromText(func(_, completion, _ string) float64 { return float64(len(completion)) })})
		require.NoError(t, err)
		st, err = trainer.Step(context.Background(), batch)
		require.NoError(t, err)
		return st
	}
	one, few, all := step(1, 2, 3), step(1, 0, 2), step(1, 0, groups)
	require.Zero(t, one.Signal, "one group")
	require.Zero(t, one.Noise)
	const b, n = 2.0, groups
	small, large := few.GradNorm*few.GradNorm/(b*b), all.GradNorm*all.GradNorm/(n*n)
	require.InEpsilon(t, n*n*(n*large-b*small)/(n-b), all.Signal, 1e-5)
	require.InEpsilon(t, n*n*(small-large)/(1/b-1.0/n), all.Noise, 1e-5)
	for _, micro := range []int{20, 33, 4096} {
		st := step(micro, 0, groups)
		require.Equal(t, all.GradNorm, st.GradNorm)
		require.Equal(t, all.Signal, st.Signal, "%d rows a pass", micro)
		require.Equal(t, all.Noise, st.Noise)
	}
}

// equalRewards are groups that teach nothing.
func equalRewards(groups []grpo.Group) []grpo.Group {
	for g := range groups {
		for i := range groups[g].Samples {
			groups[g].Samples[i].Score = reward.Scored(1)
		}
	}
	return groups
}

// A batch that teaches nothing has gradient 0, and with it the optimiser's step is torch's: its moments move the weights on, and the schedule's
// next step comes.
func TestNothingToLearnIsAStep(t *testing.T) {
	m, err := model.Tiny(openCPU(t), 3)
	require.NoError(t, err)
	defer m.Close()
	trainer, err := grpo.New(m, nil, grpo.DAPO())
	require.NoError(t, err)
	defer trainer.Close()
	o := sampling.Options{Temperature: 1, Seed: 11}
	_, err = trainer.Step(context.Background(), rolloutOf(t, m, 0, o))
	require.NoError(t, err)
	before := values(t, m)
	st, err := trainer.Step(context.Background(), equalRewards(rolloutOf(t, m, 1, o)))
	require.NoError(t, err)
	require.Zero(t, st.GradNorm)
	require.Equal(t, 2, trainer.Optimizer().Steps())
	require.NotEqual(t, before, values(t, m))
}

// The entropy that the bonus is adapted to is of all tokens, those with advantage 0 too.
func TestAdaptiveEntropySeesAllTokens(t *testing.T) {
	m, err := model.Tiny(openCPU(t), 3)
	require.NoError(t, err)
	defer m.Close()
	c := grpo.DAPO()
	c.Adapt.Entropy = &grpo.EntropyControl{Target: 0.1, Delta: 0.1, Max: 1}
	trainer, err := grpo.New(m, nil, c)
	require.NoError(t, err)
	defer trainer.Close()
	groups := rolloutOf(t, m, 0, sampling.Options{Temperature: 1, Seed: 11})
	equalRewards(groups[:1])
	want := 0.0
	for _, g := range groups {
		for _, s := range g.Samples {
			for _, h := range s.Entropy {
				want += float64(h)
			}
		}
	}
	st, err := trainer.Step(context.Background(), groups)
	require.NoError(t, err)
	require.InDelta(t, want, st.EntropySum, 1e-3*want)
}
