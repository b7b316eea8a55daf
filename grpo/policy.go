package grpo

import (
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
