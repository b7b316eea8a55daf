package grpo

import (
	"fmt"
	"slices"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/sampling"
)

// Group and Sample are the data a [Trainer] learns from; see package sampling, whose rollouts make them. A program with a
// policy of its own fills them itself.
type (
	Group  = sampling.Group
	Sample = sampling.Sample
)

// Policy is what a [Trainer] needs of a model; *model.LM is one, and so is anything a program writes over kernels.
//
// Shapes: T packed rows, C scored tokens.
type Policy interface {
	Device() *kernels.Device
	// Params are the parameters that are trained, in an order that does not change.
	Params() []*kernels.Param
	// LogProbs runs the packed ids and returns, for each i, the log-probability (nats, at the given temperature) of
	// targets[i] as the token after row rows[i] of its sequence, and the entropy of that distribution: two tensors [C].
	// With segs[k].Parent set, a sequence continues its parent's rows (a group's shared prompt).
	LogProbs(s *kernels.Scope, ids []int32, segs kernels.Segs, rows, targets []int32, temperature float32) (logpC, entropyC *kernels.Tensor)
}

// HeadPolicy is a [Policy] that shows how its log-probs are made: hidden rows and an output head. *model.LM is one. Exact KL and
// samples of a truncated sampler need it.
type HeadPolicy interface {
	Policy
	// Forward runs the packed ids and returns the hidden rows that the head reads, [T, D].
	Forward(s *kernels.Scope, ids []int32, segs kernels.Segs) *kernels.Tensor
	// OutputHead is the head's weight [V, D] and the soft-cap of its logits, 0 for none.
	OutputHead() (weightVD *kernels.Tensor, softCap float32)
}

// MoveReference moves a reference's parameters a share of the way to the policy's: 1 takes them over, as DeepSeek-R1 does every 400
// steps (arXiv 2501.12948, section 3.1), a small share at every step is an exponential moving average. The two must have parameters of
// the same shapes in the same order, and nothing may run on them meanwhile.
func MoveReference(ref, policy Policy, share float64) error {
	to, from := ref.Params(), policy.Params()
	if len(to) != len(from) {
		return fmt.Errorf("grpo: move the reference: it has %d parameters, the policy %d", len(to), len(from))
	}
	if !(share > 0 && share <= 1) {
		return fmt.Errorf("grpo: move the reference by a share of %g, want more than 0, at most 1", share)
	}
	for i, p := range to {
		if !slices.Equal(p.Shape(), from[i].Shape()) {
			return fmt.Errorf("grpo: move the reference: %s is %v, the policy's %s %v", p.Name, p.Shape(), from[i].Name, from[i].Shape())
		}
		now, err := from[i].Values()
		if err != nil {
			return fmt.Errorf("grpo: move the reference: %w", err)
		}
		if share < 1 {
			old, err := p.Values()
			if err != nil {
				return fmt.Errorf("grpo: move the reference: %w", err)
			}
			for j, v := range old {
				now[j] = float32(float64(share*float64(now[j])) + float64((1-share)*float64(v)))
			}
		}
		if err := p.Write(now); err != nil {
			return fmt.Errorf("grpo: move the reference: %w", err)
		}
	}
	return nil
}
