// Command ppo puts PPO beside GRPO on r1zero's world: the same base model, questions, reward, batch and learning rate, with a learnt
// value function in place of the group's mean. It draws the curves that docs/rl.md discusses.
//
//	go run ./examples/ppo --out ppo.svg
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/toy"
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

// recipe is r1zero's, for the policy of both methods.
func recipe(steps int) grpo.Config {
	c := grpo.R1Zero()
	c.Loss = grpo.LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: grpo.PerToken}
	c.LearningRate, c.Schedule = 3e-4, optim.Linear(5, steps, 0.1)
	return c
}

// method is GRPO (no lambda) or PPO with a critic of the policy's size, a copy of it with a head of one number.
type method struct {
	name   string
	lambda float64
}

// curves are what a method did, step by step.
type curves struct{ step, right, length, explained []float64 }

// train runs a method from the base model that policy is.
func (m method) train(ctx context.Context, policy *model.LM, seed uint64, steps int, valueRate float64) (c curves, err error) {
	var learn func(groups []sampling.Group) (grpo.StepStats, float64, error)
	if m.lambda == 0 {
		t, err := grpo.New(policy, nil, recipe(steps))
		if err != nil {
			return c, err
		}
		defer t.Close()
		learn = func(groups []sampling.Group) (grpo.StepStats, float64, error) {
			st, err := t.Step(ctx, groups)
			return st, 0, err
		}
	} else {
		backbone, err := policy.Clone()
		if err != nil {
			return c, err
		}
		critic, err := model.NewScorer(backbone, 0, 1)
		if err != nil {
			return c, err
		}
		defer critic.Close()
		p := grpo.DefaultPPO()
		p.Policy, p.GAE.Lambda, p.ValueLearningRate = recipe(steps), m.lambda, valueRate
		t, err := grpo.NewPPO(policy, nil, critic, p)
		if err != nil {
			return c, err
		}
		defer t.Close()
		learn = func(groups []sampling.Group) (grpo.StepStats, float64, error) {
			st, err := t.Step(ctx, groups)
			return st.StepStats, st.Explained, err
		}
	}
	engine := newEngine(policy, seed)
	all := toy.Problems(toy.Questions(toy.RL, seed, steps*questions))
	for step := range steps {
		rows := make([]uint32, questions)
		for i := range rows {
			rows[i] = uint32(step*questions + i)
		}
		groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: uint32(step), Problems: all[step*questions:][:questions], Rows: rows, Samples: samples, Score: toy.Score()})
		if err != nil {
			return c, err
		}
		st, explained, err := learn(groups)
		if err != nil {
			return c, err
		}
		right := 0.0
		for _, g := range groups {
			for _, s := range g.Samples {
				v, _ := s.Parts[0].Score.Value() // accuracy
				right += 100 * v / (questions * samples)
			}
		}
		c.step, c.right, c.length, c.explained = append(c.step, float64(step)), append(c.right, right), append(c.length, st.MeanLength), append(c.explained, explained)
		if (step+1)%20 == 0 {
			fmt.Printf("  %-16s step %3d: %5.1f %% right, %4.1f tokens, value explains %5.2f\n", m.name, step+1, right, st.MeanLength, explained)
		}
	}
	return c, nil
}

func newEngine(m *model.LM, seed uint64) *sampling.Engine {
	return sampling.New(m, sampling.Options{Codec: toy.Codec{}, Temperature: 1, MaxTokens: maxTokens, Seed: seed})
}

func compare(ctx context.Context) error {
	seed := flag.Uint64("seed", 1, "of questions and draws; the base model is r1zero's of seed 1")
	steps := flag.Int("steps", 160, "optimiser steps of each method")
	valueRate := flag.Float64("value-rate", 1e-3, "peak learning rate of the critic")
	out := flag.String("out", "ppo.svg", "file for the curves")
	flag.Parse()
	dev, err := kernels.Open("cpu")
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	base, _, err := toy.Base(ctx, dev, toy.DefaultPretraining(1), filepath.Join(cache, "gor1"), nil)
	if err != nil {
		return err
	}
	defer base.Close()
	panels := []run.Panel{{Title: "right answers, %"}, {Title: "tokens a response"}, {Title: "variance of returns the values explain"}}
	for _, m := range []method{{"GRPO", 0}, {"PPO, lambda 1", 1}, {"PPO, lambda 0.95", 0.95}} {
		policy, err := base.Clone()
		if err != nil {
			return err
		}
		start := time.Now()
		c, err := m.train(ctx, policy, *seed, *steps, *valueRate)
		if err != nil {
			return err
		}
		seconds := time.Since(start).Seconds()
		held, err := toy.Evaluate(ctx, newEngine(policy, *seed), toy.Problems(toy.Questions(toy.HeldOut, 20250120, 1000)), 1)
		if err != nil {
			return err
		}
		fmt.Printf("%-16s seed %d: held-out %.1f %% right (± %.1f), %.1f tokens, %.0f s\n", m.name, *seed, 100*held.Accuracy, 100*held.Interval(), held.Length, seconds)
		for i, y := range [][]float64{run.Smooth(c.right, 7), run.Smooth(c.length, 7), run.Smooth(c.explained, 7)} {
			if i < 2 || m.lambda > 0 {
				panels[i].Lines = append(panels[i].Lines, run.Line{Name: m.name, X: c.step, Y: y})
			}
		}
		if err := policy.Close(); err != nil {
			return err
		}
	}
	return run.WriteCurves(*out, fmt.Sprintf("PPO beside GRPO, the same base, questions and reward, seed %d", *seed), panels)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ppo:", err)
		os.Exit(1)
	}
}
