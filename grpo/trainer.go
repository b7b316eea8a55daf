package grpo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sampling"
)

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
	// Signal and Noise are estimates of the squared norm of the true gradient and of the trace of one group's covariance, on the scale of
	// GradNorm squared: from the gradient of the first quarter of the groups that teach and that of all (arXiv 1812.06162, appendix A.1). Each step's is
	// rough: average both over steps before dividing; Noise over Signal is then about how many groups that teach a batch should have. 0 and 0 for one group, and without Config.GradientNoise.
	Signal, Noise float64
	Skipped       int // optimiser steps left out because the gradient was not finite
	// Drift is the largest |new - old| of the first mini-batch's tokens, before any update: how far trainer and sampler are apart. On an exact
	// device it is 0 for samples of this step; MaxDrift, of the last pass, is more as soon as the weights have moved.
	Drift float64
}

// Trainer takes GRPO steps on a policy. Close frees the optimiser.
type Trainer struct {
	policy, ref Policy
	config      Config
	opt         *optim.AdamW
	beta        float64        // of the KL term; moves with Adapt.KL
	entropy     EntropyControl // of the entropy bonus, where Adapt.Entropy is given
}

// New returns a trainer. ref is the frozen reference of the KL term; it may be nil where Loss.Beta is 0.
func New(policy, ref Policy, c Config) (*Trainer, error) {
	if err := c.check(policy, ref); err != nil {
		return nil, err
	}
	c.Epochs, c.MiniBatches = max(c.Epochs, 1), max(c.MiniBatches, 1)
	if c.Schedule == nil {
		c.Schedule = optim.Constant()
	}
	if c.MicroTokens == 0 {
		c.MicroTokens = 2048
	}
	if c.Advantages == nil {
		c.Advantages = Outcome(func(rewardsPG [][]float64) [][]float64 { return BatchAdvantages(rewardsPG, c.Scale) })
	}
	opt, err := optim.New(policy.Params(), c.Optim)
	if err != nil {
		return nil, fmt.Errorf("grpo: %w", err)
	}
	t := &Trainer{policy: policy, ref: ref, config: c, opt: opt, beta: float64(c.Loss.Beta)}
	if c.Adapt.Entropy != nil {
		t.entropy = c.Adapt.Entropy.Start(float64(c.Loss.Entropy))
	}
	return t, nil
}

func (c Config) check(policy, ref Policy) error {
	heads := []Policy{policy}
	if c.Loss.Beta > 0 {
		heads = append(heads, ref)
	}
	switch {
	case policy == nil:
		return errors.New("grpo: the policy is nil")
	case c.Loss.Beta > 0 && ref == nil:
		return fmt.Errorf("grpo: Loss.Beta is %g but there is no reference policy", c.Loss.Beta)
	case c.Loss.Beta < 0 || c.Loss.EpsilonLow < 0 || c.Loss.EpsilonHigh < 0:
		return fmt.Errorf("grpo: beta %g, epsilons %g and %g: want 0 or more", c.Loss.Beta, c.Loss.EpsilonLow, c.Loss.EpsilonHigh)
	case c.Loss.Normalize == nil:
		return errors.New("grpo: Loss.Normalize is nil; use PerSequence, PerToken or Constant")
	case !(c.LearningRate > 0):
		return fmt.Errorf("grpo: learning rate %g, want more than 0", c.LearningRate)
	case c.Epochs < 0 || c.MiniBatches < 0 || c.MaxTokens < 0 || c.MicroTokens < 0:
		return fmt.Errorf("grpo: epochs %d, mini-batches %d, max tokens %d, micro tokens %d: want 0 or more", c.Epochs, c.MiniBatches, c.MaxTokens, c.MicroTokens)
	case (c.KL.Exact || c.KL.InReward || c.Adapt.KL != nil) && c.Loss.Beta == 0:
		return errors.New("grpo: KL and Adapt.KL say how the KL term is made, but Loss.Beta is 0: there is none")
	case c.KL.Exact && c.KL.InReward:
		return errors.New("grpo: KL.Exact and KL.InReward: the reward takes the log ratio of the sampled tokens; choose one")
	case c.FirstPass.Correct != nil && !c.FirstPass.Recompute:
		return errors.New("grpo: FirstPass.Correct weighs recomputed against sampled log-probs: set FirstPass.Recompute")
	case c.Adapt.KL != nil && !(c.Adapt.KL.Target > 0 && c.Adapt.KL.Horizon > 0):
		return fmt.Errorf("grpo: Adapt.KL has target %g and horizon %g, want more than 0", c.Adapt.KL.Target, c.Adapt.KL.Horizon)
	}
	if c.KL.Exact {
		for _, p := range heads {
			if _, ok := p.(HeadPolicy); !ok {
				return fmt.Errorf("grpo: KL.Exact needs policies that show their output head (HeadPolicy); %T does not", p)
			}
		}
	}
	return nil
}

// Close frees the optimiser.
func (t *Trainer) Close() error { return t.opt.Close() }

// Optimizer is the trainer's optimiser, for checkpoints.
func (t *Trainer) Optimizer() *optim.AdamW { return t.opt }

// State is what a trainer remembers between steps besides weights and optimiser; a checkpoint needs it where [Config].Adapt is used.
type State struct {
	Beta    float64      `json:"beta"` // the KL term's weight
	Entropy EntropyState `json:"entropy"`
}

// State is the trainer's at present.
func (t *Trainer) State() State { return State{t.beta, t.entropy.State} }

// SetState goes on from a state.
func (t *Trainer) SetState(s State) { t.beta, t.entropy.State = s.Beta, s.Entropy }

// ErrUnscored is wrapped by Step's error for a batch without a scored sample. Nothing was changed.
var ErrUnscored = errors.New("no scored sample with a token in the batch")

// Step turns rewards into advantages and takes the optimiser steps of one batch of groups, in the order of their rows whatever the order
// they come in. Old log-probs are the samples'
// own: they are the trainer's bits. A completion with advantage 0 and no further term has gradient 0 and is not run, though it
// counts in the normalisers; a step of nothing else is a step of the optimiser and the schedule all the same, as with torch. Samples with Keep, from a truncated sampler, are trained as what they are: the policy is the one
// restricted to the words each was chosen among, for all epochs.
func (t *Trainer) Step(ctx context.Context, groups []Group) (StepStats, error) {
	groups = canonical(groups)
	st, all, err := t.items(groups)
	if err != nil {
		return st, err
	}
	if len(all) == 0 {
		return st, fmt.Errorf("grpo: %w", ErrUnscored)
	}
	if err := t.firstPass(ctx, groups, all); err != nil {
		return st, fmt.Errorf("grpo: step %d: %w", t.opt.Steps()+1, err)
	}
	for epoch := range t.config.Epochs {
		st.Stats, st.Trained = Stats{}, 0
		for m := range t.config.MiniBatches {
			if err := t.minibatch(ctx, t.part(groups, all, m), &st); err != nil {
				return st, fmt.Errorf("grpo: step %d: %w", t.opt.Steps()+1, err)
			}
			if epoch == 0 && m == 0 {
				st.Drift = st.MaxDrift
			}
		}
	}
	return st, nil
}

// canonical is the order that sums are taken in: by row of the data set, so that the order of arrival changes no bit.
func canonical(groups []Group) []Group {
	return slices.SortedStableFunc(slices.Values(groups), func(a, b Group) int { return cmp.Compare(a.Row, b.Row) })
}

// part is mini-batch m of the items: those of its share of the groups.
func (t *Trainer) part(groups []Group, all []item, m int) []item {
	from, to := m*len(groups)/t.config.MiniBatches, (m+1)*len(groups)/t.config.MiniBatches
	var part []item
	for _, it := range all {
		if it.group >= from && it.group < to {
			part = append(part, it)
		}
	}
	return part
}

// minibatch takes one optimiser step.
func (t *Trainer) minibatch(ctx context.Context, part []item, st *StepStats) error {
	totals := Totals{MaxTokens: t.config.MaxTokens}
	var run []item
	before := st.Stats
	for _, it := range part {
		totals.Sequences++
		totals.Tokens += len(it.s.Tokens)
		totals.Active += it.active()
		if t.config.MaxTokens == 0 {
			totals.MaxTokens = max(totals.MaxTokens, len(it.s.Tokens))
		}
		if t.config.MaskTruncated && it.s.Stop == sampling.StopLength {
			continue // counted, and not trained
		}
		st.KL += it.klInReward
		if it.teaches() || t.loss().Beta > 0 || t.config.Loss.Entropy != 0 || t.config.Adapt.Entropy != nil {
			run = append(run, it)
		} else {
			st.Tokens += float64(len(it.s.Tokens)) // without a gradient they count all the same
		}
	}
	learns := len(run) > 0 // else the gradient is 0, and the optimiser's moments go on, as does the schedule
	quarter, few, all, small := 0, 0, 0, 0.0
	if t.config.GradientNoise {
		quarter, few, all = firstGroups(run)
	}
	st.LearningRate = t.config.LearningRate * t.config.Schedule(t.opt.Steps())
	for len(run) > 0 {
		p := t.pack(run[:cmp.Or(quarter, len(run))])
		run, quarter = run[p.items:], max(0, quarter-p.items)
		st.Trained += len(p.ids)
		err := t.micro(ctx, p, totals, st)
		if err == nil && few > 0 && quarter == 0 && small == 0 {
			small, err = t.opt.SqGradNorm(ctx)
		}
		if err != nil {
			return errors.Join(err, t.opt.ZeroGrads())
		}
	}
	norm, err := t.opt.Step(ctx, st.LearningRate)
	if errors.Is(err, optim.ErrNotFinite) {
		st.Skipped++
		return nil
	}
	st.GradNorm = norm
	st.Signal, st.Noise = gradientNoise(small, few, norm*norm, all)
	if learns {
		t.adapt(part, totals, st.KL-before.KL, st.EntropySum-before.EntropySum)
	}
	return err
}

// firstGroups counts the items of the first quarter of the groups, those groups and all groups; 0 items of 0 groups where there is one group.
// A group is not cut: its advantages sum to 0, so a part of it has another gradient.
func firstGroups(run []item) (items, few, all int) {
	starts := []int{}
	for i, it := range run {
		if i == 0 || it.group != run[i-1].group {
			starts = append(starts, i)
		}
	}
	if all = len(starts); all < 2 {
		return 0, 0, all
	}
	few = (all + 3) / 4
	return starts[few], few, all
}

// gradientNoise takes the squared norms of the sum of few groups' gradients and of all of them. With g_n the mean of n, E|g_n|^2 = |g|^2 + S/n;
// both are given back on the scale of the sum of all.
func gradientNoise(small float64, few int, large float64, all int) (signal, noise float64) {
	if few == 0 || few >= all {
		return 0, 0
	}
	b, n := float64(few), float64(all)
	small, large = small/(b*b), large/(n*n)
	return float64(n*n) * (n*large - b*small) / (n - b), float64(n*n) * (small - large) / (1/b - 1/n)
}

// loss is the loss's constants at this step.
func (t *Trainer) loss() LossConfig {
	c := t.config.Loss
	c.Beta = float32(t.beta)
	if t.config.KL.InReward {
		c.Beta = 0
	}
	if t.config.Adapt.Entropy != nil {
		c.Entropy = float32(t.entropy.Weight())
	}
	return c
}

// adapt moves the weights after an optimiser step whose tokens had the given sums.
func (t *Trainer) adapt(part []item, totals Totals, kl, entropy float64) {
	if c := t.config.Adapt.KL; c != nil {
		if t.config.KL.InReward { // masked completions too: they are as far from the reference
			kl = 0
			for _, it := range part {
				kl += it.klInReward
			}
		}
		t.beta = c.Next(t.beta, kl/float64(totals.Sequences), totals.Sequences)
	}
	if t.config.Adapt.Entropy != nil {
		t.entropy = t.entropy.Next(entropy / float64(totals.active()))
	}
}
