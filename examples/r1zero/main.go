// Command r1zero is DeepSeek-R1-Zero in miniature: a base model that has read a small synthetic web, and then nothing but GRPO
// with two rule rewards (right answer, right format). It learns by itself to think before it answers.
//
//	go run ./examples/r1zero
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/internal/toy/lab"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

const (
	questions = 32 // a step
	samples   = 16 // of each question
	maxTokens = 64 // of a response
)

// recipe is plain GRPO: every token of the batch weighs alike, one update a batch, no KL.
func recipe(steps int) grpo.Config {
	c := grpo.R1Zero()
	c.Loss = grpo.LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: grpo.PerToken}
	c.LearningRate, c.Schedule = 3e-4, optim.Linear(5, steps, 0.1)
	return c
}

// train is R1-Zero: draw a group of answers to each question, judge them by rule, compare inside each group, take a step.
func train(ctx context.Context, policy *model.LM, o lab.Options, live *lab.Live) error {
	engine := sampling.New(policy, sampling.Options{Codec: toy.Codec{}, Temperature: 1, MaxTokens: maxTokens, Seed: o.Seed})
	trainer, err := grpo.New(policy, nil, recipe(o.Steps))
	if err != nil {
		return err
	}
	defer trainer.Close()
	for step := range o.Steps {
		problems, rows, err := o.Questions(step, questions)
		if err != nil {
			return err
		}
		groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: uint32(step), Problems: problems, Rows: rows, Samples: samples, Score: o.Score()})
		if err != nil {
			return err
		}
		o.Control(groups, step)
		stats, err := trainer.Step(ctx, groups)
		if err != nil {
			return err
		}
		if stats.MaxDrift != 0 && policy.Device().Exact() {
			return fmt.Errorf("step %d: trainer and sampler disagree on a log-prob by %g", step, stats.MaxDrift)
		}
		if err := live.Step(step, groups, stats); err != nil {
			return err
		}
	}
	return nil
}

// experiment measures the base model, trains it, measures again, and leaves curves, checkpoint and responses in a folder.
func experiment(ctx context.Context, o lab.Options) error {
	dev, err := kernels.Open(o.Device, kernels.Options{Threads: o.Threads, ISA: o.ISA})
	if err != nil {
		return err
	}
	if o.Checkpoint != "" {
		return lab.EvaluateCheckpoint(ctx, dev, o)
	}
	dir, err := run.Open(o.Out)
	if err != nil {
		return err
	}
	defer dir.Close()
	live := lab.NewLive(dev, dir, o)
	policy, err := live.Base(ctx, dev)
	if err != nil {
		return err
	}
	defer policy.Close()
	if err := live.Measure(ctx, policy, lab.Before); err != nil {
		return err
	}
	if err := train(ctx, policy, o, live); err != nil {
		return live.Interrupted(ctx, policy, err)
	}
	if err := live.Measure(ctx, policy, lab.After); err != nil {
		return err
	}
	return live.Finish(policy)
}

func main() { os.Exit(lab.Main(os.Args[1:], os.Stdout, os.Stderr, experiment)) }
