// Command twoplustwo is reinforcement learning in one line: "2 + 2 =", a reward of +1 for "4" and of -1 for anything else, and a model
// that has read nothing. GRPO compares answers only inside a group, so 1 and 0 would teach it the same.
//
//	go run ./examples/twoplustwo
package main

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

var (
	codec   = toy.Codec{}
	problem = reward.Problem{Prompt: "2+2=", Answer: "4"}
)

// train draws 64 answers a step and rewards the right ones with good, the others with bad, until the right answer has the probability
// enough, for at most the given steps. tell is told of each step.
func train(ctx context.Context, seed uint64, good, bad, enough float64, steps int, tell func(step int, p float64, rewards []float64)) error {
	dev, err := kernels.Open("cpu")
	if err != nil {
		return err
	}
	defer dev.Close()
	policy, err := toy.SmallModel(dev, toy.VocabSize, 16, seed)
	if err != nil {
		return err
	}
	defer policy.Close()
	config := grpo.R1Zero()
	config.Loss.Beta, config.LearningRate = 0, 1e-3
	trainer, err := grpo.New(policy, nil, config)
	if err != nil {
		return err
	}
	defer trainer.Close()
	score := reward.FromText(func(_, completion, answer string) float64 {
		if completion == answer {
			return good
		}
		return bad
	})
	engine := sampling.New(policy, sampling.Options{Codec: codec, Temperature: 1, MaxTokens: 1, Seed: seed})
	for step := range steps {
		groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: uint32(step), Problems: []reward.Problem{problem}, Samples: 64, Score: score})
		if err != nil {
			return err
		}
		rewards := make([]float64, 64)
		for i, s := range groups[0].Samples {
			rewards[i], _ = s.Score.Value()
		}
		if _, err := trainer.Step(ctx, groups); err != nil {
			return err
		}
		p, err := probability(ctx, policy)
		if err != nil {
			return err
		}
		if tell(step+1, p, rewards); p >= enough {
			return nil
		}
	}
	return fmt.Errorf("the right answer is not likely enough after %d steps", steps)
}

// probability is the policy's of answering 4.
func probability(ctx context.Context, policy *model.LM) (p float64, err error) {
	ids, err := codec.Encode(problem.Prompt + problem.Answer)
	if err != nil {
		return 0, err
	}
	last := int32(len(ids) - 1)
	err = policy.Device().Do(ctx, func(s *kernels.Scope) error {
		logp, _ := policy.LogProbs(s.NoGrad(), ids, kernels.PackedSegs(len(ids)), []int32{last - 1}, ids[last:], 1)
		var v [1]float32
		err := s.Read(logp, v[:])
		p = math.Exp(float64(v[0]))
		return err
	})
	return p, err
}

func main() {
	err := train(context.Background(), 1, 1, -1, 0.99, 200, func(step int, p float64, _ []float64) {
		if step%10 == 1 || p >= 0.99 {
			fmt.Printf("step %3d: p(\"4\" | \"2+2=\") = %.3f\n", step, p)
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "twoplustwo:", err)
		os.Exit(1)
	}
}
