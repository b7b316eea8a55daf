package grpo

import (
	"context"

	"github.com/gor1/gor1/kernels"
)

// packed is one micro-batch: whole sequences, prompt and completion, end to end.
type packed struct {
	items         int
	ids           []int32
	segs          kernels.Segs // of ids
	rows, targets []int32
	temperature   float32
	completions   kernels.Segs // of the scored tokens
	old, adv      []float32

	sampled, weight, punish, correct []float32 // as in item; nil: none
	keep                             [][]int32 // nil: all words
}

// pack takes items in order until the rows of a pass are full: at least one, all of one temperature and all or none with kept words.
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
		if p.items > 0 && (len(p.ids)+need > t.config.MicroTokens || it.temperature != p.temperature || (it.s.Keep == nil) != (p.keep == nil)) {
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
		p.targets, p.keep = append(p.targets, it.s.Tokens...), append(p.keep, it.s.Keep...)
		p.old, p.adv = append(p.old, it.old...), append(p.adv, it.adv...)
		p.weight, p.punish, p.correct = append(p.weight, it.weight...), append(p.punish, it.punish...), append(p.correct, it.correct...)
		if t.config.FirstPass.Recompute && len(it.s.LogP) == len(it.s.Tokens) {
			p.sampled = append(p.sampled, it.s.LogP...)
		}
		lengths = append(lengths, len(it.s.Tokens))
		p.items++
	}
	p.completions = kernels.PackedSegs(lengths...)
	return p
}

// temperatureOf is the one the samples were drawn at; greedy ones have log-probs at 1.
func (p packed) temperatureOf() float32 {
	if p.temperature == 0 {
		return 1
	}
	return p.temperature
}

// logProbs are a policy's log-probs and entropies of the completions' tokens, over the kept words where there are some.
func (p packed) logProbs(s *kernels.Scope, policy Policy) (logpT, entropyT *kernels.Tensor) {
	if p.keep == nil {
		return policy.LogProbs(s, p.ids, p.segs, p.rows, p.targets, p.temperatureOf())
	}
	hiddenTD, w, o := p.head(s, policy)
	return s.Sequences(p.segs.At(p.rows)).Head(hiddenTD, w, p.targets, o)
}

// head gives what a policy's output head is made of, at the completions' tokens.
func (p packed) head(s *kernels.Scope, policy Policy) (hiddenTD, weightVD *kernels.Tensor, o kernels.HeadOptions) {
	h := policy.(HeadPolicy) // checked in New and usable
	w, softCap := h.OutputHead()
	o = kernels.HeadOptions{SoftCap: softCap, Keep: p.keep}
	if t := p.temperatureOf(); t != 1 {
		o.Temp = s.Full(t, len(p.targets))
	}
	return s.Gather(h.Forward(s, p.ids, p.segs), p.rows), w, o
}

// micro runs one micro-batch forward and backward.
func (t *Trainer) micro(ctx context.Context, p packed, totals Totals, st *StepStats) error {
	return t.policy.Device().Do(ctx, func(s *kernels.Scope) error {
		optional := func(v []float32) *kernels.Tensor {
			if len(v) != len(p.adv) {
				return nil
			}
			return s.FromF32(v)
		}
		cfg := t.loss()
		in := LossInput{
			OldT: s.FromF32(p.old), AdvT: s.FromF32(p.adv), MaskT: s.Full(1, len(p.adv)), Segs: p.completions, Totals: totals,
			SampledT: optional(p.sampled), WeightT: optional(p.weight), PenaltyT: optional(p.punish), CorrectT: optional(p.correct),
		}
		t.forward(s, p, cfg, &in)
		if cfg.Entropy == 0 && t.config.Adapt.Entropy == nil {
			in.EntropyT = nil
		}
		if err := s.Err(); err != nil {
			return err
		}
		loss, stats := Loss(s, cfg, in)
		s.Backward([]*kernels.Tensor{loss}, nil)
		st.Stats = st.Stats.Add(stats)
		return s.Err()
	})
}

// forward runs the policy, and the reference where there is a KL term in the loss.
func (t *Trainer) forward(s *kernels.Scope, p packed, cfg LossConfig, in *LossInput) {
	if cfg.Beta == 0 {
		in.NewT, in.EntropyT = p.logProbs(s, t.policy)
		return
	}
	out := s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
		s = s.NoGrad()
		if t.config.KL.Exact {
			hiddenTD, _, _ := p.head(s, t.ref)
			return []*kernels.Tensor{hiddenTD}
		}
		refT, _ := p.logProbs(s, t.ref)
		return []*kernels.Tensor{refT}
	})
	if s.Err() != nil {
		return
	}
	if !t.config.KL.Exact {
		in.RefT = out[0]
		in.NewT, in.EntropyT = p.logProbs(s, t.policy)
		return
	}
	w, softCap := t.ref.(HeadPolicy).OutputHead()
	hiddenTD, weightVD, o := p.head(s, t.policy)
	in.NewT, in.EntropyT, in.KLT = s.Sequences(p.segs.At(p.rows)).HeadKL(hiddenTD, weightVD, p.targets, kernels.HeadOther{X: out[0], W: w, SoftCap: softCap, Divergence: kernels.ReverseKL}, o)
}
