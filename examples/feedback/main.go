// Command feedback trains on general text first and then by what users thought of its replies: thumbs up or down become a reward model,
// and GRPO makes the preferred replies likely. A rule that knows what the users like is measured beside it: it is never trained on.
//
//	go run ./examples/feedback
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/internal/toy/bilingual"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// judge trains a reward model on thumbs: texts, each labelled 1 for up and 0 for down.
func judge(ctx context.Context, m *model.LM, seed uint64, steps int) (*model.Scorer, error) {
	scorer, err := model.NewScorer(m, 0.02, seed)
	if err != nil {
		return nil, err
	}
	trainer, err := sft.NewPreference(scorer, sft.Config{LearningRate: 2e-3, Optim: optim.Default(), MicroTokens: 2048})
	if err != nil {
		return nil, err
	}
	defer trainer.Close()
	pairs, err := bilingual.Feedback(seed, 16*steps) // what users preferred gets a thumb up, the other one a thumb down
	for n := 0; n < len(pairs) && err == nil; n += 16 {
		var thumbs []sft.Labelled
		for _, p := range pairs[n : n+16] {
			thumbs = append(thumbs, sft.Labelled{IDs: p.Chosen, Label: 1}, sft.Labelled{IDs: p.Rejected, Label: 0})
		}
		_, err = trainer.StepLabelled(ctx, thumbs)
	}
	return scorer, err
}

// preferred are the shares of replies to held-out questions that the reward model gives a thumb up, and that the rule prefers.
func preferred(ctx context.Context, m *model.LM, rm reward.Func, seed uint64) (model, rule float64, err error) {
	engine := sampling.New(m, sampling.Options{Codec: bilingual.Codec, Temperature: 1, MaxTokens: 24, Seed: seed})
	problems := bilingual.Problems(bilingual.Questions(toy.HeldOut, seed, 300, bilingual.Translate, bilingual.Spell, bilingual.Self))
	groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: 1 << 30, Problems: problems, Samples: 1, Score: rm})
	for _, g := range groups {
		if v, _ := g.Samples[0].Score.Value(); v > 0 {
			model++
		}
		if bilingual.Preferred(reward.Sample{Problem: g.Problem, Completion: bilingual.Text(g.Samples[0])}) {
			rule++
		}
	}
	return model / 300, rule / 300, err
}

// learn is GRPO on the reward model's scores.
func learn(ctx context.Context, policy *model.LM, rm reward.Func, seed uint64) error {
	config := grpo.R1Zero()
	config.Loss.Beta, config.LearningRate = 0, 5e-4
	trainer, err := grpo.New(policy, nil, config)
	if err != nil {
		return err
	}
	defer trainer.Close()
	engine := sampling.New(policy, sampling.Options{Codec: bilingual.Codec, Temperature: 1, MaxTokens: 24, Seed: seed})
	questions := bilingual.Problems(bilingual.Questions(toy.RL, seed+1, 8*30, bilingual.Translate, bilingual.Spell, bilingual.Self))
	for step := range 30 {
		groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: uint32(step), Problems: questions[8*step : 8*step+8], Samples: 8, Score: rm})
		if err != nil {
			return err
		}
		if _, err := trainer.Step(ctx, groups); err != nil {
			return err
		}
	}
	return nil
}

// experiment is the whole: shares before and after RL, by the reward model and by the rule.
func experiment(ctx context.Context, seed uint64) (before, after [2]float64, err error) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		return before, after, err
	}
	defer dev.Close()
	policy, err := model.New(dev, bilingual.Small().Config, seed, nil)
	if err != nil {
		return before, after, err
	}
	defer policy.Close()
	texts, err := bilingual.GeneralTexts(seed, 16*250) // a quarter of the replies in them are polite
	if err != nil {
		return before, after, err
	}
	if err := toy.Fit(ctx, policy, texts, 16, 4e-3, 250); err != nil {
		return before, after, err
	}
	start, err := policy.Clone()
	if err != nil {
		return before, after, err
	}
	scorer, err := judge(ctx, start, seed, 100)
	if err != nil {
		return before, after, err
	}
	defer scorer.Close()
	rm := reward.Alone(reward.RewardModel(sft.RewardModel{Model: scorer, Encode: bilingual.Reply}, reward.Summary))
	if before[0], before[1], err = preferred(ctx, policy, rm, seed); err != nil {
		return before, after, err
	}
	if err := learn(ctx, policy, rm, seed); err != nil {
		return before, after, err
	}
	after[0], after[1], err = preferred(ctx, policy, rm, seed)
	return before, after, err
}

func main() {
	before, after, err := experiment(context.Background(), 1)
	if err != nil {
		fmt.Fprintln(os.Stderr, "feedback:", err)
		os.Exit(1)
	}
	fmt.Printf("thumbs up for replies to held-out questions, by the reward model: %.0f %% before, %.0f %% after; by the users' own rule: %.0f %% before, %.0f %% after\n", 100*before[0], 100*after[0], 100*before[1], 100*after[1])
}
