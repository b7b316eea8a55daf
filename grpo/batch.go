package grpo

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/sampling"
)

// item is one completion to learn from. The slices are one a token; nil is none.
type item struct {
	group, number           int
	prompt                  []int32
	s                       *Sample
	temperature             float32
	old, entropy            []float32 // of the policy that sampled
	adv                     []float32
	weight, punish, correct []float32
	klInReward              float64 // sum of log pi_old/pi_ref, where the reward pays for it
}

// teaches tells whether the policy term has a gradient.
func (it item) teaches() bool {
	some := func(v []float32) bool { return slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) }
	return some(it.adv) || some(it.punish)
}

// active is how many tokens a Selector leaves, for the entropy bonus.
func (it item) active() int {
	if it.weight == nil {
		return len(it.s.Tokens)
	}
	n := 0
	for _, w := range it.weight {
		if w != 0 {
			n++
		}
	}
	return n
}

// items are the scored completions of a batch, and its statistics.
func (t *Trainer) items(groups []Group) (StepStats, []item, error) {
	st := StepStats{LearningRate: t.config.LearningRate * t.config.Schedule(t.opt.Steps())}
	samples, tokens, known := 0.0, 0.0, 0.0
	var all []item
	for p, g := range groups {
		rewards := make([]float64, 0, len(g.Samples))
		for i := range g.Samples {
			s := &g.Samples[i]
			samples++
			tokens += float64(len(s.Tokens))
			if s.Stop == sampling.StopLength {
				st.Truncated++
			}
			for _, h := range s.Entropy {
				st.Entropy += float64(h)
			}
			v, ok := s.Score.Value()
			if !ok {
				st.Unscored++
				continue
			}
			rewards = append(rewards, v)
			st.Reward += v
			known++
			if len(s.Tokens) == 0 {
				continue
			}
			if err := t.usable(s); err != nil {
				return st, nil, fmt.Errorf("grpo: group %d, sample %d: %w", p, i, err)
			}
			all = append(all, item{group: p, number: i, prompt: g.Prompt, s: s, temperature: g.Temperature, old: s.LogP, entropy: s.Entropy})
		}
		st.RewardStd += deviation(rewards, t.config.Scale.Population) / float64(len(groups))
		if equal(rewards) {
			st.ZeroStd += 1 / float64(len(groups))
		}
	}
	st.Reward, st.MeanLength, st.Truncated, st.Entropy = st.Reward/max(known, 1), tokens/max(samples, 1), st.Truncated/max(samples, 1), st.Entropy/max(tokens, 1)
	return st, all, nil
}

// usable checks what a sample must have for this trainer.
func (t *Trainer) usable(s *Sample) error {
	if n := len(s.Tokens); len(s.LogP) != n && (!t.config.FirstPass.Recompute || t.config.FirstPass.Correct != nil) {
		return fmt.Errorf("%d log-probs for %d tokens; with FirstPass.Recompute the trainer computes them", len(s.LogP), n)
	}
	if s.Keep == nil {
		return nil
	}
	if len(s.Keep) != len(s.Tokens) {
		return fmt.Errorf("kept words of %d tokens for %d", len(s.Keep), len(s.Tokens))
	}
	for _, p := range []Policy{t.policy, t.ref} {
		if _, ok := p.(HeadPolicy); p != nil && !ok {
			return fmt.Errorf("it comes from a truncated sampler, whose distribution needs a policy that shows its output head (HeadPolicy); %T does not", p)
		}
	}
	return nil
}

// firstPass computes what the batch's gradients need beforehand: log-probs, advantages, the weights of tokens.
func (t *Trainer) firstPass(ctx context.Context, groups []Group, all []item) error {
	o := Outcomes{Groups: groups, Rewards: make([][]float64, len(groups))}
	for p, g := range groups {
		o.Rewards[p] = slices.Repeat([]float64{math.NaN()}, len(g.Samples))
		for i := range g.Samples {
			if v, ok := g.Samples[i].Score.Value(); ok {
				o.Rewards[p][i] = v
			}
		}
	}
	if err := t.look(ctx, all, &o); err != nil {
		return err
	}
	advantages := t.config.Advantages(o)
	if err := o.check(advantages); err != nil {
		return err
	}
	for i := range all {
		it := &all[i]
		adv := advantages[it.group][it.number]
		switch n := len(it.s.Tokens); {
		case len(adv) == 1:
			it.adv = slices.Repeat([]float32{float32(adv[0])}, n)
		case len(adv) == n:
			for _, a := range adv {
				it.adv = append(it.adv, float32(a))
			}
		default:
			return fmt.Errorf("group %d, sample %d: %d advantages for %d tokens, want one or one a token", it.group, it.number, len(adv), n)
		}
	}
	return t.selectTokens(groups, all)
}

// selectTokens gives each mini-batch's tokens what Weigh and Punish make of them.
func (t *Trainer) selectTokens(groups []Group, all []item) error {
	first := 0
	for m := range t.config.MiniBatches {
		n := len(t.part(groups, all, m))
		part := all[first : first+n]
		first += n
		for _, choose := range []struct {
			selector Selector
			to       func(it *item, v []float32)
		}{
			{t.config.FirstPass.Weigh, func(it *item, v []float32) { it.weight = v }},
			{t.config.FirstPass.Punish, func(it *item, v []float32) { it.punish = v }},
		} {
			if choose.selector == nil {
				continue
			}
			b := TokenStats{Step: uint32(t.opt.Steps() + m)}
			for _, it := range part {
				b.LogP, b.Entropy, b.Advantage = append(b.LogP, it.old...), append(b.Entropy, it.entropy...), append(b.Advantage, it.adv...)
			}
			if len(b.Entropy) != len(b.LogP) {
				return fmt.Errorf("%d entropies for %d tokens; with FirstPass.Recompute the trainer computes them", len(b.Entropy), len(b.LogP))
			}
			values := choose.selector(b)
			for i := range part {
				n := len(part[i].s.Tokens)
				choose.to(&part[i], values[:n])
				values = values[n:]
			}
		}
	}
	return nil
}

// look runs policy and reference over the batch, without gradients, where the configuration asks for it.
func (t *Trainer) look(ctx context.Context, all []item, o *Outcomes) error {
	if t.config.KL.InReward {
		o.Beta, o.KL = t.beta, make([][][]float64, len(o.Groups))
		for p, g := range o.Groups {
			o.KL[p] = make([][]float64, len(g.Samples))
		}
	}
	if !t.config.KL.InReward && !t.config.FirstPass.Recompute {
		return nil
	}
	for from := 0; from < len(all); {
		p := t.pack(all[from:])
		logp, entropy, ref := make([]float32, len(p.rows)), make([]float32, len(p.rows)), make([]float32, len(p.rows))
		err := t.policy.Device().Do(ctx, func(s *kernels.Scope) error {
			s = s.NoGrad()
			if t.config.FirstPass.Recompute {
				logpT, entropyT := p.logProbs(s, t.policy)
				s.Read(logpT, logp)
				s.Read(entropyT, entropy)
			}
			if t.config.KL.InReward {
				refT, _ := p.logProbs(s, t.ref)
				s.Read(refT, ref)
			}
			return s.Err()
		})
		if err != nil {
			return err
		}
		at := 0
		for i := range all[from : from+p.items] {
			it := &all[from+i]
			end := at + len(it.s.Tokens)
			if t.config.FirstPass.Recompute {
				it.old, it.entropy = logp[at:end], entropy[at:end]
			}
			if c := t.config.FirstPass.Correct; c != nil {
				it.correct = c.Weights(it.old, it.s.LogP)
			}
			if t.config.KL.InReward {
				kl := make([]float64, len(it.s.Tokens))
				for j := range kl {
					kl[j] = float64(it.old[j]) - float64(ref[at+j])
					it.klInReward += kl[j]
				}
				o.KL[it.group][it.number] = kl
			}
			at = end
		}
		from += p.items
	}
	return nil
}
