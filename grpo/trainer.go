package grpo

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
)

// Config are a trainer's constants. Presets: [R1Zero], [DAPO], [DrGRPO].
type Config struct {
	Loss         LossConfig
	Scale        Scale
	LearningRate float64        // peak
	Schedule     optim.Schedule // factor of it at each optimiser step; nil: constant
	Optim        optim.Config
	Epochs       int // optimiser passes over the same samples (mu); 0: 1
	MiniBatches  int // parts a batch of groups is cut into, one optimiser step each; 0: 1
	MaxTokens    int // the samples' length limit, for Constant; 0: the longest of the batch
	MicroTokens  int // rows of one forward pass; memory grows with it, results do not change; 0: 2,048
	// SharePrompt runs a group's prompt once for all its samples. The log-probs are the same bits, the gradients the same to
	// about 1e-6; without it the gradients, too, are the same bits however a batch is split.
	SharePrompt bool
}

// R1Zero is DeepSeek-R1-Zero's objective with the paper's values (arXiv 2501.12948 and its supplement): GRPO with the
// per-sequence mean, KL 0.001, learning rate 3e-6, one pass. The clip range is not printed for R1-Zero; R1 prints 10, which
// hardly clips. AdamW's constants are not printed either: these are transformers' with betas 0.9 and 0.95.
func R1Zero() Config {
	return Config{
		Loss:  LossConfig{EpsilonLow: 10, EpsilonHigh: 10, Beta: 0.001, Normalize: PerSequence},
		Scale: GroupScale(), LearningRate: 3e-6,
		Optim: optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1},
	}
}

// DAPO is arXiv 2503.14476: token mean, clip-higher 0.2 and 0.28, no KL, learning rate 1e-6.
func DAPO() Config {
	c := R1Zero()
	c.Loss = LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.28, Normalize: PerToken}
	c.LearningRate = 1e-6
	return c
}

// DrGRPO is arXiv 2503.20783: constant normaliser, advantages not divided by the deviation, no KL, learning rate 1e-6.
func DrGRPO() Config {
	c := R1Zero()
	c.Loss = LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: Constant}
	c.Scale = Scale{By: Unscaled}
	c.LearningRate = 1e-6
	return c
}

// StepStats are what one Step did. Fractions are of 1, lengths in tokens with the end-of-sequence token.
type StepStats struct {
	Stats                     // of the last pass over the batch
	Reward, RewardStd float64 // mean over the scored samples, mean of the groups' deviations
	ZeroStd           float64 // share of groups whose rewards are all equal: they teach nothing
	Unscored          int     // samples without a score
	MeanLength        float64 // of the completions
	Truncated         float64 // share cut at the length limit
	Entropy           float64 // mean over tokens, as sampled, nats
	Trained           int     // rows that went forward and backward
	GradNorm          float64 // before clipping; the last optimiser step's
	LearningRate      float64
	Skipped           int // optimiser steps left out because the gradient was not finite
}

// Trainer takes GRPO steps on a policy. Close frees the optimiser.
type Trainer struct {
	policy, ref Policy
	config      Config
	opt         *optim.AdamW
}

// New returns a trainer. ref is the frozen reference of the KL term; it may be nil where Loss.Beta is 0.
func New(policy, ref Policy, c Config) (*Trainer, error) {
	switch {
	case policy == nil:
		return nil, errors.New("grpo: the policy is nil")
	case c.Loss.Beta > 0 && ref == nil:
		return nil, fmt.Errorf("grpo: Loss.Beta is %g but there is no reference policy", c.Loss.Beta)
	case c.Loss.Beta < 0 || c.Loss.EpsilonLow < 0 || c.Loss.EpsilonHigh < 0:
		return nil, fmt.Errorf("grpo: beta %g, epsilons %g and %g: want 0 or more", c.Loss.Beta, c.Loss.EpsilonLow, c.Loss.EpsilonHigh)
	case c.Loss.Normalize == nil:
		return nil, errors.New("grpo: Loss.Normalize is nil; use PerSequence, PerToken or Constant")
	case !(c.LearningRate > 0):
		return nil, fmt.Errorf("grpo: learning rate %g, want more than 0", c.LearningRate)
	case c.Epochs < 0 || c.MiniBatches < 0 || c.MaxTokens < 0 || c.MicroTokens < 0:
		return nil, fmt.Errorf("grpo: epochs %d, mini-batches %d, max tokens %d, micro tokens %d: want 0 or more", c.Epochs, c.MiniBatches, c.MaxTokens, c.MicroTokens)
	}
	c.Epochs, c.MiniBatches = max(c.Epochs, 1), max(c.MiniBatches, 1)
	if c.Schedule == nil {
		c.Schedule = optim.Constant()
	}
	if c.MicroTokens == 0 {
		c.MicroTokens = 2048
	}
	opt, err := optim.New(policy.Params(), c.Optim)
	if err != nil {
		return nil, fmt.Errorf("grpo: %w", err)
	}
	return &Trainer{policy: policy, ref: ref, config: c, opt: opt}, nil
}

// Close frees the optimiser.
func (t *Trainer) Close() error { return t.opt.Close() }

// Optimizer is the trainer's optimiser, for checkpoints.
func (t *Trainer) Optimizer() *optim.AdamW { return t.opt }

// Step turns rewards into advantages and takes the optimiser steps of one batch of groups. Old log-probs are the samples'
// own: they are the trainer's bits. A completion with advantage 0 and no KL term has gradient 0 and is not run, though it
// counts in the normalisers.
func (t *Trainer) Step(ctx context.Context, groups []Group) (StepStats, error) {
	st, all := t.batch(groups)
	if len(all) == 0 {
		return st, errors.New("grpo: no scored sample with a token in the batch")
	}
	for range t.config.Epochs {
		st.Stats, st.Trained = Stats{}, 0
		for m := range t.config.MiniBatches {
			from, to := m*len(groups)/t.config.MiniBatches, (m+1)*len(groups)/t.config.MiniBatches
			if err := t.minibatch(ctx, all, from, to, &st); err != nil {
				return st, fmt.Errorf("grpo: step %d: %w", t.opt.Steps()+1, err)
			}
		}
	}
	return st, nil
}

// item is one completion to learn from.
type item struct {
	group       int
	prompt      []int32
	s           *Sample
	temperature float32
	advantage   float32
}

// batch computes advantages and the batch's statistics.
func (t *Trainer) batch(groups []Group) (StepStats, []item) {
	st := StepStats{LearningRate: t.config.LearningRate * t.config.Schedule(t.opt.Steps())}
	rewards := make([][]float64, len(groups))
	samples, tokens, known := 0.0, 0.0, 0.0
	for p, g := range groups {
		rewards[p] = make([]float64, len(g.Samples))
		for i := range g.Samples {
			s := &g.Samples[i]
			samples++
			tokens += float64(len(s.Tokens))
			if s.Stop.String() == "length" {
				st.Truncated++
			}
			for _, h := range s.Entropy {
				st.Entropy += float64(h)
			}
			rewards[p][i] = math.NaN()
			if v, ok := s.Score.Value(); ok {
				rewards[p][i] = v
				st.Reward += v
				known++
			} else {
				st.Unscored++
			}
		}
		k := scored(rewards[p])
		st.RewardStd += deviation(k, t.config.Scale.Population) / float64(len(groups))
		if equal(k) {
			st.ZeroStd += 1 / float64(len(groups))
		}
	}
	st.Reward, st.MeanLength, st.Truncated, st.Entropy = st.Reward/max(known, 1), tokens/max(samples, 1), st.Truncated/max(samples, 1), st.Entropy/max(tokens, 1)
	var all []item
	for p, advG := range BatchAdvantages(rewards, t.config.Scale) {
		for i, a := range advG {
			s := &groups[p].Samples[i]
			if math.IsNaN(rewards[p][i]) || len(s.Tokens) == 0 {
				continue
			}
			all = append(all, item{p, groups[p].Prompt, s, groups[p].Temperature, float32(a)})
		}
	}
	return st, all
}

// minibatch takes one optimiser step on the items of groups from..to.
func (t *Trainer) minibatch(ctx context.Context, all []item, from, to int, st *StepStats) error {
	totals := Totals{MaxTokens: t.config.MaxTokens}
	var run []item
	for _, it := range all {
		if it.group < from || it.group >= to {
			continue
		}
		totals.Sequences++
		totals.Tokens += len(it.s.Tokens)
		if t.config.MaxTokens == 0 {
			totals.MaxTokens = max(totals.MaxTokens, len(it.s.Tokens))
		}
		if it.advantage != 0 || t.config.Loss.Beta > 0 {
			run = append(run, it)
		}
	}
	if len(run) == 0 {
		return nil // nothing to learn: the gradient is 0
	}
	st.LearningRate = t.config.LearningRate * t.config.Schedule(t.opt.Steps())
	for len(run) > 0 {
		p := t.pack(run)
		run = run[p.items:]
		st.Trained += len(p.ids)
		if err := t.micro(ctx, p, totals, st); err != nil {
			return errors.Join(err, t.zeroGrads())
		}
	}
	norm, err := t.opt.Step(ctx, st.LearningRate)
	if errors.Is(err, optim.ErrNotFinite) {
		st.Skipped++
		return nil
	}
	st.GradNorm = norm
	return err
}

// zeroGrads forgets what the passes before a failed one have added.
func (t *Trainer) zeroGrads() error {
	var errs []error
	for _, p := range t.policy.Params() {
		errs = append(errs, p.ZeroGrad())
	}
	return errors.Join(errs...)
}

// packed is one micro-batch: whole sequences, prompt and completion, end to end.
type packed struct {
	items         int
	ids           []int32
	segs          kernels.Segs // of ids
	rows, targets []int32
	temperature   float32
	completions   kernels.Segs // of the scored tokens
	old, adv      []float32
}

// pack takes items in order until the rows of a pass are full: at least one, all of one temperature.
func (t *Trainer) pack(items []item) packed {
	var p packed
	var lengths []int
	prompt, shared := -1, -1
	for _, it := range items {
		body := it.s.Tokens[:len(it.s.Tokens)-1] // nothing follows the last token
		need := len(it.prompt) + len(body)
		if t.config.SharePrompt && it.group == shared {
			need = len(body)
		}
		if p.items > 0 && (len(p.ids)+need > t.config.MicroTokens || it.temperature != p.temperature) {
			break
		}
		p.temperature = it.temperature
		last := int32(0) // row of the prompt's last token
		switch {
		case !t.config.SharePrompt:
			p.segs = append(p.segs, kernels.Seg{Start: int32(len(p.ids)), Len: int32(need), Parent: -1})
			last = int32(len(p.ids) + len(it.prompt) - 1)
			p.ids = append(append(p.ids, it.prompt...), body...)
		default:
			if it.group != shared {
				shared, prompt = it.group, len(p.segs)
				p.segs = append(p.segs, kernels.Seg{Start: int32(len(p.ids)), Len: int32(len(it.prompt)), Parent: -1})
				p.ids = append(p.ids, it.prompt...)
			}
			last = p.segs[prompt].Start + p.segs[prompt].Len - 1
			if len(body) > 0 {
				p.segs = append(p.segs, kernels.Seg{Start: int32(len(p.ids)), Len: int32(len(body)), Parent: int32(prompt)})
			}
		}
		p.rows = append(p.rows, last)
		at := last + 1
		if t.config.SharePrompt {
			at = int32(len(p.ids))
			p.ids = append(p.ids, body...)
		}
		for i := range body {
			p.rows = append(p.rows, at+int32(i))
		}
		p.targets, p.old = append(p.targets, it.s.Tokens...), append(p.old, it.s.LogP...)
		for range it.s.Tokens {
			p.adv = append(p.adv, it.advantage)
		}
		lengths = append(lengths, len(it.s.Tokens))
		p.items++
	}
	p.completions = kernels.PackedSegs(lengths...)
	return p
}

// micro runs one micro-batch forward and backward.
func (t *Trainer) micro(ctx context.Context, p packed, totals Totals, st *StepStats) error {
	temperature := p.temperature
	if temperature == 0 {
		temperature = 1
	}
	return t.policy.Device().Do(ctx, func(s *kernels.Scope) error {
		in := LossInput{OldT: s.FromF32(p.old), AdvT: s.FromF32(p.adv), MaskT: s.Full(1, len(p.adv)), Segs: p.completions, Totals: totals}
		if t.config.Loss.Beta > 0 {
			out := s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
				ref, _ := t.ref.LogProbs(s.NoGrad(), p.ids, p.segs, p.rows, p.targets, temperature)
				return []*kernels.Tensor{ref}
			})
			if s.Err() != nil {
				return s.Err()
			}
			in.RefT = out[0]
		}
		in.NewT, _ = t.policy.LogProbs(s, p.ids, p.segs, p.rows, p.targets, temperature)
		if err := s.Err(); err != nil {
			return err
		}
		loss, stats := Loss(s, t.config.Loss, in)
		s.Backward([]*kernels.Tensor{loss}, nil)
		st.Stats = st.Stats.Add(stats)
		return s.Err()
	})
}
