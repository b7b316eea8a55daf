// Package distill teaches one model with another: by its traces (plain supervised fine-tuning on them) or by its
// distributions, compared over the whole vocabulary.
package distill

import (
	"context"
	"errors"
	"fmt"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sft"
)

// Shape suffixes: T scored tokens, packed; D, E the widths of student and teacher; V vocabulary.

// The published choices of how student p and teacher q are compared (GKD, arXiv 2306.13649, eq. 1).
const (
	Forward = kernels.ForwardKL // KL(q || p): cover all that the teacher does
	Reverse = kernels.ReverseKL // KL(p || q): do only what the teacher does; on-policy distillation
	JSD     = kernels.JSD       // generalised Jensen-Shannon, here at 1/2
)

// Head is how a model's next-token distributions are made: hidden rows and the weight that turns them into logits.
type Head struct {
	Hidden  *kernels.Tensor // [T, D], rows that predict the tokens at hand
	Weight  *kernels.Tensor // [V, D]
	SoftCap float32         // of the logits; 0: none
}

// KL is sum_t w_t D(student_t, teacher_t) / total over the whole vocabulary, exactly; weights [T] and the total are the whole batch's, so a
// batch's gradient is the sum of its micro-batches'. No [T, V] is stored. targets are the texts' own tokens; their log-probs and the entropies
// under the student come back for metrics and for a mixture with the likelihood. Both distributions are at the temperature; there is no
// factor of its square. Gradients flow to the student alone.
func KL(s *kernels.Scope, student, teacher Head, targets []int32, weightT *kernels.Tensor, total float64, temperature float32, d kernels.Divergence) (loss, logpT, entropyT *kernels.Tensor) {
	o := kernels.HeadOptions{SoftCap: student.SoftCap}
	if temperature != 1 {
		o.Temp = s.Full(temperature, len(targets))
	}
	logpT, entropyT, klT := s.HeadKL(student.Hidden, student.Weight, targets, kernels.HeadOther{X: teacher.Hidden, W: teacher.Weight, SoftCap: teacher.SoftCap, Divergence: d}, o)
	return s.Affine(s.Sum(s.Mul(klT, weightT)), float32(1/total), 0), logpT, entropyT
}

// Model is what a [Trainer] needs of student and teacher; *model.LM is one.
type Model interface {
	Device() *kernels.Device
	Params() []*kernels.Param
	// Forward runs the packed ids and returns the hidden rows that the head reads, [T, D].
	Forward(s *kernels.Scope, ids []int32, segs kernels.Segs) *kernels.Tensor
	// OutputHead is the head's weight [V, D] and the soft-cap of its logits, 0 for none.
	OutputHead() (weightVD *kernels.Tensor, softCap float32)
}

// Example is a text with the teacher that judges it: one of the trainer's, by number. Its weights say which tokens are learnt, as in sft.
type Example struct {
	sft.Sequence
	Teacher int
}

// Config is a trainer's constants.
type Config struct {
	Divergence   kernels.Divergence // Forward, Reverse, JSD or a weight between
	Temperature  float32            // of both distributions; 0: 1
	Likelihood   float64            // weight of the texts' own negative log-likelihood beside the divergence; 0: none
	LearningRate float64            // peak
	Schedule     optim.Schedule     // factor of it at each step; nil: constant
	Optim        optim.Config
	MicroTokens  int // rows of one forward pass; memory grows with it, results do not change; 0: 2,048
}

// OnPolicy is on-policy distillation: the reverse KL on the student's own samples, at learning rate 1e-6 as in TRL's.
func OnPolicy() Config {
	return Config{Divergence: Reverse, LearningRate: 1e-6, Optim: optim.Default()}
}

// Stats are one step's numbers, means over the weights.
type Stats struct {
	Divergence   float64 // nats a token
	Likelihood   float64 // negative log-likelihood of the texts' tokens under the student, nats a token
	Entropy      float64 // of the student, nats a token
	GradNorm     float64 // before clipping
	LearningRate float64
	Tokens       int // rows that went through each model
	Targets      int // tokens with a weight
}

// Trainer takes optimiser steps on a student. Close frees the optimiser.
type Trainer struct {
	student  Model
	teachers []Model
	config   Config
	opt      *optim.AdamW
}

// New returns a trainer. Teachers may be several, such as one a subject; they share the student's vocabulary and device, and are not changed.
func New(student Model, teachers []Model, c Config) (*Trainer, error) {
	if !(c.LearningRate > 0) || !(c.Temperature >= 0) || !(c.Likelihood >= 0) || c.MicroTokens < 0 || c.Divergence < 0 || c.Divergence > 1 {
		return nil, fmt.Errorf("distill: learning rate %g, temperature %g, likelihood %g, micro tokens %d, divergence %g: out of range", c.LearningRate, c.Temperature, c.Likelihood, c.MicroTokens, c.Divergence)
	}
	if student == nil || len(teachers) == 0 {
		return nil, errors.New("distill: a student and at least one teacher are needed")
	}
	w, _ := student.OutputHead()
	for i, t := range teachers {
		v, _ := t.OutputHead()
		if v.Dim(0) != w.Dim(0) {
			return nil, fmt.Errorf("distill: teacher %d has a vocabulary of %d, the student one of %d: distributions over different tokens cannot be compared; distil by traces instead (r1 distill --mode traces), or pad the head", i, v.Dim(0), w.Dim(0))
		}
		if t.Device() != student.Device() {
			return nil, fmt.Errorf("distill: teacher %d is on another device than the student", i)
		}
	}
	if c.Temperature == 0 {
		c.Temperature = 1
	}
	if c.Schedule == nil {
		c.Schedule = optim.Constant()
	}
	if c.MicroTokens == 0 {
		c.MicroTokens = 2048
	}
	opt, err := optim.New(student.Params(), c.Optim)
	if err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	return &Trainer{student, teachers, c, opt}, nil
}

// Close frees the optimiser.
func (t *Trainer) Close() error { return t.opt.Close() }

// Optimizer is the trainer's optimiser, for checkpoints.
func (t *Trainer) Optimizer() *optim.AdamW { return t.opt }

// Step trains on one batch: examples in order, forward and backward micro-batch by micro-batch, then one optimiser step.
func (t *Trainer) Step(ctx context.Context, batch []Example) (Stats, error) {
	st := Stats{LearningRate: t.config.LearningRate * t.config.Schedule(t.opt.Steps())}
	total := 0.0
	for i, e := range batch {
		if e.Teacher < 0 || e.Teacher >= len(t.teachers) {
			return st, fmt.Errorf("distill: example %d names teacher %d of %d", i, e.Teacher, len(t.teachers))
		}
		w, err := e.Weight()
		if err != nil {
			return st, fmt.Errorf("distill: example %d: %w", i, err)
		}
		total += w
	}
	if !(total > 0) {
		return st, errors.New("distill: the batch has nothing to learn: every weight is 0")
	}
	for len(batch) > 0 {
		n, rows := 1, len(batch[0].IDs)
		for n < len(batch) && batch[n].Teacher == batch[0].Teacher && rows+len(batch[n].IDs) <= t.config.MicroTokens {
			rows += len(batch[n].IDs)
			n++
		}
		if err := t.micro(ctx, batch[:n], total, &st); err != nil {
			return st, errors.Join(err, t.opt.ZeroGrads())
		}
		batch = batch[n:]
	}
	st.Divergence, st.Likelihood, st.Entropy = st.Divergence/total, st.Likelihood/total, st.Entropy/total
	var err error
	if st.GradNorm, err = t.opt.Step(ctx, st.LearningRate); err != nil {
		return st, fmt.Errorf("distill: %w", err)
	}
	return st, nil
}

// micro runs some examples of one teacher forward through both models and backward through the student.
func (t *Trainer) micro(ctx context.Context, batch []Example, total float64, st *Stats) error {
	sequences := make([]sft.Sequence, len(batch))
	for i, e := range batch {
		sequences[i] = e.Sequence
	}
	p := sft.Pack(sequences)
	if len(p.Rows) == 0 {
		return nil
	}
	st.Tokens += len(p.IDs)
	st.Targets += len(p.Targets)
	return t.student.Device().Do(ctx, func(s *kernels.Scope) error {
		teacher := head(s.NoGrad(), t.teachers[batch[0].Teacher], p)
		student := head(s, t.student, p)
		if err := s.Err(); err != nil {
			return err
		}
		weight := s.FromF32(p.Weights)
		loss, logpT, entropyT := KL(s.Sequences(p.Segs.At(p.Rows)), student, teacher, p.Targets, weight, total, t.config.Temperature, t.config.Divergence)
		whole := loss
		if t.config.Likelihood > 0 {
			whole = s.Add(loss, s.Affine(sft.Loss(s, logpT, weight, total), float32(t.config.Likelihood), 0))
		}
		s.Backward([]*kernels.Tensor{whole}, nil)
		var kl [1]float32
		logp, entropy := make([]float32, len(p.Rows)), make([]float32, len(p.Rows))
		if err := errors.Join(s.Read(loss, kl[:]), s.Read(logpT, logp), s.Read(entropyT, entropy)); err != nil {
			return err
		}
		st.Divergence += float64(kl[0]) * total
		for i, w := range p.Weights {
			st.Likelihood -= float64(w) * float64(logp[i])
			st.Entropy += float64(w) * float64(entropy[i])
		}
		return nil
	})
}

// head runs packed sequences and returns the rows that are scored.
func head(s *kernels.Scope, m Model, p sft.Packed) Head {
	w, cap := m.OutputHead()
	out := s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
		return []*kernels.Tensor{s.Gather(m.Forward(s, p.IDs, p.Segs), p.Rows)}
	})
	if s.Err() != nil {
		return Head{}
	}
	return Head{Hidden: out[0], Weight: w, SoftCap: cap}
}
