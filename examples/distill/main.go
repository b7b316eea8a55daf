// Command distill teaches a base model with a better one on its own answers: the student writes, the teacher says at every token what it would
// have written (reverse KL over the whole vocabulary). The teacher is the base after rejection sampling; both are in this process.
//
//	go run ./examples/distill
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gor1/gor1/distill"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

func engine(m *model.LM, seed uint64) *sampling.Engine {
	return sampling.New(m, sampling.Options{Codec: toy.Codec{}, Temperature: 1, MaxTokens: 64, Seed: seed})
}

// school makes the teacher of a base: two rounds of rejection sampling.
func school(ctx context.Context, m *model.LM, seed uint64) error {
	keep := pick.All(pick.Whole, pick.AtLeast("format", 1), pick.AtLeast("accuracy", 1), pick.Longest(2, reward.TokenCount))
	for round := range uint64(2) {
		req := sampling.Request{Step: uint32(round), Problems: toy.Problems(toy.Questions(toy.RL, seed+round, 800)), Samples: 8, Score: reward.Sum(reward.Accuracy, reward.Format)}
		kept := []sampling.Group{}
		for k, err := range sampling.Reject(ctx, engine(m, seed), req, keep) {
			if err != nil {
				return err
			}
			kept = append(kept, k.Group)
		}
		if err := toy.Learn(ctx, m, toy.Rows(kept), 150); err != nil {
			return err
		}
	}
	return nil
}

// learn is on-policy distillation (arXiv 2306.13649, algorithm 1 with lambda 1).
func learn(ctx context.Context, student, teacher *model.LM, steps int, seed uint64) error {
	config := distill.OnPolicy()
	config.LearningRate, config.MicroTokens = 5e-4, 4096
	trainer, err := distill.New(student, []distill.Model{teacher}, config)
	if err != nil {
		return err
	}
	defer trainer.Close()
	for step := range steps {
		questions := toy.Questions(toy.RL, seed+uint64(step)*1000, 64)
		groups, err := sampling.Rollout(ctx, engine(student, seed), sampling.Request{Step: uint32(step), Problems: toy.Problems(questions), Samples: 1})
		if err != nil {
			return err
		}
		var batch []distill.Example
		for _, q := range toy.Rows(groups) {
			batch = append(batch, distill.Example{Sequence: q})
		}
		if stats, err := trainer.Step(ctx, batch); err != nil {
			return err
		} else if step%20 == 0 {
			fmt.Printf("step %3d: %.3f nats a token from the teacher\n", step, stats.Divergence)
		}
	}
	return nil
}

func run(ctx context.Context, steps int, seed uint64) error {
	dev, err := kernels.Open("cpu")
	if err != nil {
		return err
	}
	defer dev.Close()
	cache, _ := os.UserCacheDir()
	var models [2]*model.LM // the same base twice
	for i := range models {
		if models[i], _, err = toy.Base(ctx, dev, toy.DefaultPretraining(1), filepath.Join(cache, "gor1"), nil); err != nil {
			return err
		}
		defer models[i].Close()
	}
	student, teacher := models[0], models[1]
	held, accuracy := toy.Problems(toy.Questions(toy.HeldOut, 7, 500)), map[string]float64{}
	measure := func(name string, m *model.LM) error {
		r, err := toy.Evaluate(ctx, engine(m, seed), held, 1)
		accuracy[name] = r.Accuracy
		fmt.Printf("%-16s %5.1f %% +- %.1f right, %5.1f %% well formed, %4.1f tokens, on %d held-out questions\n", name, 100*r.Accuracy, 100*r.Interval(), 100*r.Format, r.Length, r.N)
		return err
	}
	for _, do := range []func() error{
		func() error { return school(ctx, teacher, seed) },
		func() error { return measure("teacher", teacher) },
		func() error { return measure("student, before", student) },
		func() error { return learn(ctx, student, teacher, steps, seed) },
		func() error { return measure("student, after", student) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	before := accuracy["student, before"]
	fmt.Printf("the student has %.0f %% of what the teacher is better by\n", 100*(accuracy["student, after"]-before)/(accuracy["teacher"]-before))
	return nil
}

func main() {
	seed := flag.Uint64("seed", 1, "of questions and draws")
	flag.Parse()
	if err := run(context.Background(), 100, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "distill:", err)
		os.Exit(1)
	}
}
