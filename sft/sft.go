package sft

import (
	"context"
	"errors"
	"fmt"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
)

// Shape suffix: T scored tokens, packed.

// Loss is the weighted negative log-likelihood, -sum_t w_t logp_t / total. total is the weight of the whole batch, whatever
// part of it is at hand: so a batch's gradient is the sum of its micro-batches', however it was split.
func Loss(s *kernels.Scope, logpT, weightT *kernels.Tensor, total float64) *kernels.Tensor {
	return s.Affine(s.Sum(s.Mul(logpT, weightT)), float32(-1/total), 0)
}

// DFT is the loss of dynamic fine-tuning (arXiv 2508.05629, eq. 9) as a Config.Weigh: each token's loss times its own probability, which
// is not differentiated. Tokens that the model finds unlikely pull less.
func DFT(s *kernels.Scope, logpT *kernels.Tensor) *kernels.Tensor { return s.NoGrad().Exp(logpT) }

// Policy is what a [Trainer] needs of a model; *model.LM is one.
type Policy interface {
	Device() *kernels.Device
	Params() []*kernels.Param
	// LogProbs returns the log-probability of targets[i] after row rows[i] of the packed ids, and the entropy there, at the
	// given temperature: two tensors [len(rows)].
	LogProbs(s *kernels.Scope, ids []int32, segs kernels.Segs, rows, targets []int32, temperature float32) (logp, entropy *kernels.Tensor)
}

// Sequence is one training text. Weights[i] weighs IDs[i] as a target: 0 for a prompt, 1 for what is to be learnt; nil weighs
// every token but the first 1. The first token has no one before it and is never a target.
type Sequence struct {
	IDs     []int32
	Weights []float32
}

func (q Sequence) weight(i int) float32 {
	if q.Weights == nil {
		return 1
	}
	return q.Weights[i]
}

// Weight is the sum of the weights of what is learnt. It fails where there are not as many weights as ids.
func (q Sequence) Weight() (total float64, err error) {
	if q.Weights != nil && len(q.Weights) != len(q.IDs) {
		return 0, fmt.Errorf("%d weights for %d ids", len(q.Weights), len(q.IDs))
	}
	for j := 1; j < len(q.IDs); j++ {
		total += float64(q.weight(j))
	}
	return total, nil
}

// Config is a trainer's constants.
type Config struct {
	LearningRate float64        // peak
	Schedule     optim.Schedule // factor of it at each step; nil: constant
	Optim        optim.Config
	MicroTokens  int // rows of one forward pass; memory grows with it, results do not change. Longer sequences go alone
	// Pass gives the policy as a step (from 0) trains it, for dropout and NEFTune: the parameters of New's policy, seen through
	// model.LM.Dropout or model.LM.Noisy. nil: the policy itself.
	Pass func(step int) (Policy, error)
	// Weigh gives further factors of the tokens' weights from their log-probs [T], such as [DFT]; nil: 1. The loss is still divided by the sum
	// of the weights before them.
	Weigh func(s *kernels.Scope, logpT *kernels.Tensor) *kernels.Tensor
}

// Default is a constant learning rate of 2e-5 with [optim.Default], 2,048 rows a pass.
func Default() Config {
	return Config{LearningRate: 2e-5, Optim: optim.Default(), MicroTokens: 2048}
}

// Stats are one step's numbers.
type Stats struct {
	Loss         float64 // mean over the batch's weights, nats a token
	GradNorm     float64 // before clipping
	LearningRate float64
	Tokens       int // rows that went through the model
	Targets      int // tokens with a weight
}

// Trainer takes optimiser steps on a policy. Close frees the optimiser.
type Trainer struct {
	policy Policy
	config Config
	opt    *optim.AdamW
}

// New returns a trainer.
func New(policy Policy, c Config) (*Trainer, error) {
	if !(c.LearningRate > 0) || c.MicroTokens < 1 {
		return nil, fmt.Errorf("sft: learning rate %g, %d rows a pass: want more than 0", c.LearningRate, c.MicroTokens)
	}
	if c.Schedule == nil {
		c.Schedule = optim.Constant()
	}
	opt, err := optim.New(policy.Params(), c.Optim)
	if err != nil {
		return nil, fmt.Errorf("sft: %w", err)
	}
	return &Trainer{policy: policy, config: c, opt: opt}, nil
}

// Close frees the optimiser.
func (t *Trainer) Close() error { return t.opt.Close() }

// Optimizer is the trainer's optimiser, for checkpoints.
func (t *Trainer) Optimizer() *optim.AdamW { return t.opt }

// Step trains on one batch: forward and backward micro-batch by micro-batch, then one optimiser step.
func (t *Trainer) Step(ctx context.Context, batch []Sequence) (Stats, error) {
	st := Stats{LearningRate: t.config.LearningRate * t.config.Schedule(t.opt.Steps())}
	total := 0.0
	for i, q := range batch {
		w, err := q.Weight()
		if err != nil {
			return st, fmt.Errorf("sft: sequence %d has %w", i, err)
		}
		total += w
	}
	if !(total > 0) {
		return st, errors.New("sft: the batch has nothing to learn: every weight is 0")
	}
	policy := t.policy
	if t.config.Pass != nil {
		var err error
		if policy, err = t.config.Pass(t.opt.Steps()); err != nil {
			return st, fmt.Errorf("sft: %w", err)
		}
	}
	for len(batch) > 0 {
		n := take(batch, t.config.MicroTokens)
		if err := t.micro(ctx, policy, batch[:n], total, &st); err != nil {
			return st, errors.Join(err, t.opt.ZeroGrads())
		}
		batch = batch[n:]
	}
	var err error
	if st.GradNorm, err = t.opt.Step(ctx, st.LearningRate); err != nil {
		return st, fmt.Errorf("sft: %w", err)
	}
	return st, nil
}

// take is how many sequences fit into a pass of the given rows, at least one.
func take(batch []Sequence, rows int) int {
	n := 0
	for i, q := range batch {
		if n += len(q.IDs); n > rows && i > 0 {
			return i
		}
	}
	return len(batch)
}

// Packed is sequences end to end and what is learnt of them: Targets[i], weighed by Weights[i], after row Rows[i] of the packed ids.
type Packed struct {
	IDs, Rows, Targets []int32
	Segs               kernels.Segs
	Weights            []float32
}

// Pack lays sequences end to end. Nothing follows a sequence's last token, so it is a target only.
func Pack(batch []Sequence) (p Packed) {
	var lengths []int
	for _, q := range batch {
		if len(q.IDs) < 2 {
			continue
		}
		start := int32(len(p.IDs))
		p.IDs, lengths = append(p.IDs, q.IDs[:len(q.IDs)-1]...), append(lengths, len(q.IDs)-1)
		for j := 1; j < len(q.IDs); j++ {
			if w := q.weight(j); w != 0 {
				p.Rows, p.Targets, p.Weights = append(p.Rows, start+int32(j)-1), append(p.Targets, q.IDs[j]), append(p.Weights, w)
			}
		}
	}
	p.Segs = kernels.PackedSegs(lengths...)
	return p
}

func (t *Trainer) micro(ctx context.Context, policy Policy, batch []Sequence, total float64, st *Stats) error {
	p := Pack(batch)
	if len(p.Rows) == 0 {
		return nil
	}
	st.Tokens += len(p.IDs)
	st.Targets += len(p.Targets)
	return policy.Device().Do(ctx, func(s *kernels.Scope) error {
		logp, _ := policy.LogProbs(s, p.IDs, p.Segs, p.Rows, p.Targets, 1)
		weight := s.FromF32(p.Weights)
		if t.config.Weigh != nil {
			weight = s.Mul(weight, t.config.Weigh(s, logp))
		}
		loss := Loss(s, logp, weight, total)
		s.Backward([]*kernels.Tensor{loss}, nil)
		var v [1]float32
		if err := s.Read(loss, v[:]); err != nil {
			return err
		}
		st.Loss += float64(v[0])
		return nil
	})
}
