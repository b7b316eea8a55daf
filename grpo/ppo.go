package grpo

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
)

// Critic is the value function that PPO learns beside the policy; *model.Scorer is one.
type Critic interface {
	Device() *kernels.Device
	Params() []*kernels.Param
	// Values are the expected returns seen from the given rows of the packed ids, [len(rows)].
	Values(s *kernels.Scope, ids []int32, segs kernels.Segs, rows []int32) *kernels.Tensor
}

// PPOConfig are a [PPO] trainer's constants.
type PPOConfig struct {
	// Policy has the clip range, learning rate, schedule, optimiser, Epochs, MiniBatches and MicroTokens. Loss.Beta is 0: the KL term is
	// in the reward. Loss.Normalize weighs the value loss as well.
	Policy   Config
	GAE      GAEConfig
	KL       float64 // beta: each token's reward is less beta (log pi_old - log pi_ref); 0: no reference
	NoWhiten bool    // leave the advantages as they are; else mean 0 and variance 1 over the batch's tokens

	ValueClip         float32 // the value moves at most this far from the old one in a batch
	ValueLearningRate float64 // peak; the policy's schedule
	ValueOptim        optim.Config

	// Process gives a completion a reward at each token, such as those of its steps' ends, beside its score, which comes at the
	// last; nil: the outcome alone.
	Process func(g Group, s Sample) []float64
}

// DefaultPPO is the setting of DeepSeek-R1's comparison (arXiv 2501.12948, supplement A.3: PPO does nearly as well as GRPO with lambda 1
// and much worse with 0.95, the usual choice) with the usual constants of PPO (arXiv 1707.06347, 2203.02155): clip 0.2 for
// ratio and value, gamma 1, KL 0.001.
func DefaultPPO() PPOConfig {
	p := R1Zero()
	p.Loss = LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: PerToken}
	return PPOConfig{
		Policy: p, GAE: GAEConfig{Gamma: 1, Lambda: 1}, KL: 0.001, ValueClip: 0.2, ValueLearningRate: 1e-5, ValueOptim: p.Optim,
	}
}

// PPOStats are what one Step did; in StepStats, KL is the sum over tokens of log pi_old - log pi_ref.
type PPOStats struct {
	StepStats
	ValueLoss     float64 // of the last pass over the batch
	Explained     float64 // explained variance of the returns by the values before the step: 1 perfect, 0 no better than their mean
	ValueGradNorm float64 // before clipping; the last optimiser step's
}

// PPO is proximal policy optimisation with a learnt value function (arXiv 1707.06347), the method GRPO is a reply to; docs/rl.md
// compares them. It has [Trainer]'s shape. Close frees the optimisers.
type PPO struct {
	policy, ref Policy
	critic      Critic
	config      PPOConfig
	opt, valOpt *optim.AdamW
}

// NewPPO returns a trainer of policy and critic. ref may be nil where KL is 0.
func NewPPO(policy, ref Policy, critic Critic, c PPOConfig) (*PPO, error) {
	switch {
	case policy == nil || critic == nil:
		return nil, errors.New("grpo: PPO: the policy or the critic is nil")
	case c.Policy.Loss.Beta != 0:
		return nil, fmt.Errorf("grpo: PPO: Policy.Loss.Beta is %g: the KL term is in the reward, set PPOConfig.KL", c.Policy.Loss.Beta)
	case c.KL > 0 && ref == nil:
		return nil, fmt.Errorf("grpo: PPO: KL is %g but there is no reference policy", c.KL)
	case !(c.KL >= 0) || !(c.GAE.Gamma >= 0 && c.GAE.Gamma <= 1) || !(c.GAE.Lambda >= 0 && c.GAE.Lambda <= 1):
		return nil, fmt.Errorf("grpo: PPO: KL %g, gamma %g, lambda %g: want at least 0, the latter two at most 1", c.KL, c.GAE.Gamma, c.GAE.Lambda)
	case !(c.ValueClip > 0) || !(c.ValueLearningRate > 0):
		return nil, fmt.Errorf("grpo: PPO: value clip %g, value learning rate %g: want more than 0", c.ValueClip, c.ValueLearningRate)
	}
	actor, err := New(policy, nil, c.Policy) // for its checks, defaults and optimiser
	if err != nil {
		return nil, err
	}
	c.Policy = actor.config
	valOpt, err := optim.New(critic.Params(), c.ValueOptim)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("grpo: PPO: value optimiser: %w", err), actor.Close())
	}
	return &PPO{policy: policy, ref: ref, critic: critic, config: c, opt: actor.opt, valOpt: valOpt}, nil
}

// Close frees the optimisers.
func (t *PPO) Close() error { return errors.Join(t.opt.Close(), t.valOpt.Close()) }

// Optimizers are the policy's and the critic's, for checkpoints.
func (t *PPO) Optimizers() (policy, critic *optim.AdamW) { return t.opt, t.valOpt }

// episode is one completion: what was sampled, and what PPO makes of it, a number a token.
type episode struct {
	group               int
	prompt, tokens      []int32
	temperature         float32
	old                 []float32
	value               []float32
	rewards             []float64
	advantages, returns []float64
}

// Step learns from one batch of groups: rewards less KL, values, advantages, then the optimiser steps of policy and critic. That
// samples come in groups plays no part: a group may have one.
func (t *PPO) Step(ctx context.Context, groups []Group) (PPOStats, error) {
	st, all, err := t.episodes(groups)
	if err != nil {
		return st, err
	}
	fail := func(err error) (PPOStats, error) {
		return st, fmt.Errorf("grpo: PPO: step %d: %w", t.opt.Steps()+1, err)
	}
	if err := t.look(ctx, all, &st); err != nil {
		return fail(err)
	}
	if err := t.advantages(all, &st); err != nil {
		return fail(err)
	}
	kl := st.KL
	for range t.config.Policy.Epochs {
		st.Stats, st.Trained, st.ValueLoss = Stats{KL: kl}, 0, 0
		for m := range t.config.Policy.MiniBatches {
			from, to := m*len(groups)/t.config.Policy.MiniBatches, (m+1)*len(groups)/t.config.Policy.MiniBatches
			if err := t.minibatch(ctx, all, from, to, &st); err != nil {
				return fail(err)
			}
		}
	}
	return st, nil
}

// episodes are the scored completions, with their rewards before KL.
func (t *PPO) episodes(groups []Group) (PPOStats, []episode, error) {
	var st PPOStats
	var all []episode
	samples, tokens := 0.0, 0.0
	for p, g := range groups {
		for _, s := range g.Samples {
			samples, tokens = samples+1, tokens+float64(len(s.Tokens))
			if s.Stop.String() == "length" {
				st.Truncated++
			}
			for _, h := range s.Entropy {
				st.Entropy += float64(h)
			}
			score, ok := s.Score.Value()
			if !ok || len(s.Tokens) == 0 {
				st.Unscored++
				continue
			}
			st.Reward += score
			e := episode{group: p, prompt: g.Prompt, tokens: s.Tokens, temperature: g.Temperature, old: s.LogP, rewards: make([]float64, len(s.Tokens))}
			if e.temperature == 0 {
				e.temperature = 1
			}
			if t.config.Process != nil {
				steps := t.config.Process(g, s)
				if len(steps) != len(s.Tokens) {
					return st, nil, fmt.Errorf("grpo: PPO: Process gave %d rewards for a completion of %d tokens", len(steps), len(s.Tokens))
				}
				copy(e.rewards, steps)
			}
			e.rewards[len(e.rewards)-1] += score
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return st, nil, errors.New("grpo: PPO: no scored sample with a token in the batch")
	}
	st.Reward, st.MeanLength, st.Truncated, st.Entropy = st.Reward/float64(len(all)), tokens/samples, st.Truncated/samples, st.Entropy/max(tokens, 1)
	return st, all, nil
}

// pass is one micro-batch: whole episodes end to end.
type pass struct {
	episodes      []episode
	ids           []int32
	segs          kernels.Segs
	rows, targets []int32
	completions   kernels.Segs // of the scored tokens
}

// next takes as many episodes of one temperature as the rows of a pass hold, at least one.
func (t *PPO) next(all []episode) pass {
	var p pass
	var lengths, completions []int
	for _, e := range all {
		n := len(e.prompt) + len(e.tokens) - 1 // nothing follows the last token
		if len(p.episodes) > 0 && (len(p.ids)+n > t.config.Policy.MicroTokens || e.temperature != p.episodes[0].temperature) {
			break
		}
		at := int32(len(p.ids) + len(e.prompt) - 1)
		for i := range e.tokens {
			p.rows = append(p.rows, at+int32(i))
		}
		p.ids = append(append(p.ids, e.prompt...), e.tokens[:len(e.tokens)-1]...)
		p.targets = append(p.targets, e.tokens...)
		lengths, completions = append(lengths, n), append(completions, len(e.tokens))
		p.episodes = append(p.episodes, e)
	}
	p.segs, p.completions = kernels.PackedSegs(lengths...), kernels.PackedSegs(completions...)
	return p
}

// look computes the values of all tokens, and takes beta (old - ref) from their rewards: the KL term in the reward (arXiv
// 2203.02155, section 3.4).
func (t *PPO) look(ctx context.Context, all []episode, st *PPOStats) error {
	for from := 0; from < len(all); {
		p := t.next(all[from:])
		values, ref := make([]float32, len(p.rows)), make([]float32, len(p.rows))
		err := t.policy.Device().Do(ctx, func(s *kernels.Scope) error {
			s = s.NoGrad()
			if t.config.KL > 0 {
				logp, _ := t.ref.LogProbs(s, p.ids, p.segs, p.rows, p.targets, p.episodes[0].temperature)
				if err := s.Read(logp, ref); err != nil {
					return err
				}
			}
			return s.Read(t.critic.Values(s, p.ids, p.segs, p.rows), values)
		})
		if err != nil {
			return err
		}
		at := 0
		for i := range p.episodes {
			e := &all[from+i]
			e.value = values[at : at+len(e.tokens)]
			for j := range e.tokens {
				if t.config.KL > 0 {
					d := float64(e.old[j]) - float64(ref[at+j])
					e.rewards[j] -= float64(t.config.KL * d)
					st.KL += d
				}
			}
			at += len(e.tokens)
		}
		from += len(p.episodes)
	}
	return nil
}

// advantages are GAE's, over each completion as an episode that ends with its last token, cut or not, and whitened over the batch.
func (t *PPO) advantages(all []episode, st *PPOStats) error {
	var flat, returns, misses []float64
	for i := range all {
		e := &all[i]
		values := make([]float64, len(e.value))
		for j, v := range e.value {
			values[j] = float64(v)
		}
		var err error
		if e.advantages, e.returns, err = GAE(t.config.GAE, e.rewards, values, nil, 0); err != nil {
			return err
		}
		flat, returns = append(flat, e.advantages...), append(returns, e.returns...)
		for j, r := range e.returns {
			misses = append(misses, r-values[j])
		}
	}
	if sd := deviation(returns, true); sd > 0 {
		st.Explained = 1 - math.Pow(deviation(misses, true)/sd, 2)
	}
	if t.config.NoWhiten || len(flat) < 2 {
		return nil
	}
	flat = Whiten(flat)
	for i := range all {
		n := len(all[i].advantages)
		all[i].advantages, flat = flat[:n], flat[n:]
	}
	return nil
}

// minibatch takes one optimiser step of policy and critic on the episodes of groups from..to.
func (t *PPO) minibatch(ctx context.Context, all []episode, from, to int, st *PPOStats) error {
	totals := Totals{MaxTokens: t.config.Policy.MaxTokens}
	var run []episode
	for _, e := range all {
		if e.group < from || e.group >= to {
			continue
		}
		run = append(run, e)
		totals.Sequences++
		totals.Tokens += len(e.tokens)
		if t.config.Policy.MaxTokens == 0 {
			totals.MaxTokens = max(totals.MaxTokens, len(e.tokens))
		}
	}
	if len(run) == 0 {
		return nil
	}
	for len(run) > 0 {
		p := t.next(run)
		run = run[len(p.episodes):]
		st.Trained += len(p.ids)
		if err := t.micro(ctx, p, totals, st); err != nil {
			return errors.Join(err, t.zeroGrads())
		}
	}
	factor := t.config.Policy.Schedule(t.opt.Steps())
	st.LearningRate = t.config.Policy.LearningRate * factor
	norm, err := t.opt.Step(ctx, st.LearningRate)
	valueNorm, valueErr := t.valOpt.Step(ctx, t.config.ValueLearningRate*factor)
	if errors.Is(err, optim.ErrNotFinite) || errors.Is(valueErr, optim.ErrNotFinite) {
		st.Skipped++
		return nil
	}
	st.GradNorm, st.ValueGradNorm = norm, valueNorm
	return errors.Join(err, valueErr)
}

func (t *PPO) zeroGrads() error {
	var errs []error
	for _, p := range append(append([]*kernels.Param(nil), t.policy.Params()...), t.critic.Params()...) {
		errs = append(errs, p.ZeroGrad())
	}
	return errors.Join(errs...)
}

// micro runs one micro-batch forward and backward through policy and critic.
func (t *PPO) micro(ctx context.Context, p pass, totals Totals, st *PPOStats) error {
	var old, adv, value, returns []float32
	for _, e := range p.episodes {
		old, value = append(old, e.old...), append(value, e.value...)
		for j := range e.tokens {
			adv, returns = append(adv, float32(e.advantages[j])), append(returns, float32(e.returns[j]))
		}
	}
	err := t.policy.Device().Do(ctx, func(s *kernels.Scope) error {
		in := LossInput{OldT: s.FromF32(old), AdvT: s.FromF32(adv), MaskT: s.Full(1, len(adv)), Segs: p.completions, Totals: totals}
		in.NewT, _ = t.policy.LogProbs(s, p.ids, p.segs, p.rows, p.targets, p.episodes[0].temperature)
		if err := s.Err(); err != nil {
			return err
		}
		loss, stats := Loss(s, t.config.Policy.Loss, in)
		s.Backward([]*kernels.Tensor{loss}, nil)
		st.Stats = st.Stats.Add(stats)
		return s.Err()
	})
	if err != nil {
		return err
	}
	return t.critic.Device().Do(ctx, func(s *kernels.Scope) error {
		weightT := t.config.Policy.Loss.Normalize(s, s.Full(1, len(adv)), p.completions, totals)
		newT := t.critic.Values(s, p.ids, p.segs, p.rows)
		loss := ValueLoss(s, newT, s.FromF32(value), s.FromF32(returns), weightT, t.config.ValueClip)
		s.Backward([]*kernels.Tensor{loss}, nil)
		var v [1]float32
		err := s.Read(loss, v[:])
		st.ValueLoss += float64(v[0])
		return err
	})
}
