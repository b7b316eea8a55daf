// Command r1 is the whole of DeepSeek-R1's recipe in miniature, as one resumable line of stages over a toy world in two languages:
// R1-Zero, cold start, reasoning RL with the language reward, rejection sampling, SFT from the base again, RL for all scenarios,
// distillation into a small model, and RL alone on that model for comparison.
//
//	go run ./examples/r1
package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/internal/toy/bilingual"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// recipe is the line of stages. Each is a name, what it takes, and a function.
func recipe(b *bilingual.Bench) []pipeline.Stage {
	base, zero, cold, rl, second := pipeline.From{}, from("zero"), from("cold-start"), from("reasoning-rl"), from("second-sft")
	reasoning := reward.Sum(bilingual.Accuracy, reward.Weight(0.2, bilingual.Format))
	readable := reward.R1First(reward.Sum(bilingual.Accuracy, reward.Weight(0.2, bilingual.FormatR1)), bilingual.Language)
	stages := []pipeline.Stage{
		rlStage(b, grpoStage{name: "zero", from: base, steps: 120, rate: 5e-4, score: reasoning}),
		tracesStage(b, "cold-data", zero, 2000, 1, bilingual.Chain, bilingual.Letter),
		sftStage(b, "cold-start", base, 3, 1e-3, from("cold-data")),
		rlStage(b, grpoStage{name: "reasoning-rl", from: cold, steps: 240, rate: 5e-4, score: readable}),
		tracesStage(b, "traces", rl, 2000, 2, bilingual.Chain, bilingual.Letter),
		generalStage(b, "general", 600),
		sftStage(b, "second-sft", base, 3, 1e-3, from("traces"), from("general")),
		feedbackStage(b, "reward-model", second, 300),
		rlStage(b, grpoStage{name: "r1", from: second, steps: 100, rate: 3e-4, temperature: 0.7, feedback: from("reward-model"), score: readable}),
		smallStage(b, "small-base"),
		tracesStage(b, "teaching", from("r1"), 4000, 2, bilingual.Chain, bilingual.Letter, bilingual.Chain, bilingual.Letter, bilingual.Translate, bilingual.Spell, bilingual.Self),
		sftStage(b, "student", from("small-base"), 12, 3e-3, from("teaching")),
	}
	for _, rate := range []float64{2.5e-4, 5e-4, 1e-3} { // RL alone on the student's model, and its best learning rate
		stages = append(stages, rlStage(b, grpoStage{name: fmt.Sprintf("small-rl-%g", rate), from: from("small-base"), steps: 500, rate: rate, score: reasoning}))
	}
	return stages
}

func from(stage string) pipeline.From { return pipeline.From{Stage: stage} }

// grpoStage is what the stages of RL differ in.
type grpoStage struct {
	name        string
	from        pipeline.From
	steps       int
	rate        float64
	temperature float32       // 0: 1
	feedback    pipeline.From // the reward model of the general scenario, with which the last share of the steps is mixed; none: reasoning only
	score       reward.Func
}

const (
	prompts = 16 // of a step
	samples = 16 // of each
)

// rlStage is GRPO with R1-Zero's rules, R1's language reward, or, with a reward model, by scenario.
func rlStage(b *bilingual.Bench, c grpoStage) pipeline.Stage {
	steps, inputs := b.Scale(c.steps), []pipeline.From{c.from}
	if c.feedback.Stage != "" {
		inputs = append(inputs, c.feedback)
	}
	config := map[string]any{"steps": steps, "learning_rate": c.rate, "temperature": c.temperature, "seed": b.Seed}
	return pipeline.Stage{Name: c.name, From: inputs, Config: config, Gate: b.AtLeast("format", 0.9), Run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		policy, err := model.Load(b.Device, in[0], model.Options{})
		if err != nil {
			return out, err
		}
		defer policy.Close()
		train := grpo.R1Zero()
		train.Loss = grpo.LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: grpo.PerToken}
		train.LearningRate, train.Schedule = c.rate, optim.Linear(5, steps, 0.1)
		g := pipeline.GRPO{
			Policy: policy, Train: train, Score: c.score, Batch: pipeline.Batch{Prompts: prompts, Samples: samples},
			Sample:   sampling.Options{Codec: bilingual.Codec, Temperature: max(c.temperature, 1), MaxTokens: bilingual.MaxTokens, Seed: b.Seed},
			Problems: pipeline.NewStream(bilingual.Problems(bilingual.Questions(toy.RL, b.Seed, prompts*steps, bilingual.Chain, bilingual.Letter)), b.Seed, false),
			HeldOut:  pipeline.HeldOut{Problems: bilingual.Problems(bilingual.Questions(toy.RL, 1<<40+b.Seed, 200, bilingual.Chain, bilingual.Letter)), Score: bilingual.Accuracy, Temperature: 1, Every: 20},
			Every:    pipeline.Every{Steps: steps, Save: 10, Keep: 1}, Config: config,
		}
		if c.temperature > 0 {
			g.Sample.Temperature = c.temperature
		}
		if c.feedback.Stage != "" { // R1's second RL stage: rules for reasoning, the reward model for the rest, in the last share of the steps
			scorer, err := model.LoadScorer(b.Device, in[1], model.Options{})
			if err != nil {
				return out, err
			}
			defer scorer.Close()
			judge := reward.RewardModel(sft.RewardModel{Model: scorer, Encode: bilingual.Reply}, reward.Summary)
			rule := reward.Sum(bilingual.Accuracy, reward.Weight(0.2, bilingual.FormatR1))
			g.Score, g.Compare = nil, reward.R1Second(bilingual.IsReasoning, rule, judge, bilingual.FormatR1, bilingual.Language)
			ref, err := model.Load(b.Device, in[0], model.Options{}) // what a reward model was not trained on, it judges badly: stay near the start
			if err != nil {
				return out, err
			}
			defer ref.Close()
			g.Ref, g.Train.Loss.Beta = ref, 0.03
			first := prompts * (steps / 3)
			mixed := bilingual.Questions(toy.RL, b.Seed+1, prompts*steps-first, bilingual.Chain, bilingual.Translate, bilingual.Letter, bilingual.Spell, bilingual.Chain, bilingual.Self)
			all := slices.Concat(bilingual.Questions(toy.RL, b.Seed, first, bilingual.Chain, bilingual.Letter), mixed)
			g.Problems = pipeline.NewStream(bilingual.Problems(all), b.Seed, false)
		}
		res, err := g.Run(ctx, dir, func(s pipeline.GRPOStep) {
			b.Step(c.name, s.Step, "reward %.2f | length %.1f", s.Stats.Reward, s.Stats.MeanLength)
		})
		out = pipeline.Output{Last: res.Checkpoint, Best: res.Best, Collapsed: res.Collapsed, Scores: map[string]float64{"trained_tokens": float64(res.Tokens), "sampled_tokens": float64(res.Sampled)}}
		return out, err
	}}
}

// tracesStage is rejection sampling: it draws samples of each question and keeps one that is right, in one language and worked out, in R1's
// pattern, with its source. It counts why the others were dropped.
func tracesStage(b *bilingual.Bench, name string, teacher pipeline.From, n, samples int, domains ...bilingual.Domain) pipeline.Stage {
	n = b.Scale(n)
	config := map[string]any{"questions": n, "samples": samples, "seed": b.Seed, "domains": domains}
	return pipeline.Stage{Name: name, From: []pipeline.From{teacher}, Config: config, Data: true, Run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		policy, err := model.Load(b.Device, in[0], model.Options{})
		if err != nil {
			return out, err
		}
		defer policy.Close()
		engine := sampling.New(policy, sampling.Options{Codec: bilingual.Codec, Temperature: 1, MaxTokens: bilingual.MaxTokens, Seed: b.Seed})
		questions := bilingual.Questions(toy.RL, 2<<40+b.Seed, n, domains...)
		groups, err := sampling.Rollout(ctx, engine, sampling.Request{Problems: bilingual.Problems(questions), Samples: samples})
		if err != nil {
			return out, err
		}
		var rows []bilingual.Row
		out.Scores = map[string]float64{"sampled_tokens": 0}
		for i, g := range groups {
			kept := false
			for _, s := range g.Samples {
				out.Scores["sampled_tokens"] += float64(len(s.Tokens))
				text, dropped := bilingual.Keep(ctx, reward.Sample{Problem: g.Problem, Completion: bilingual.Text(s), Truncated: s.Stop == sampling.StopLength})
				switch {
				case dropped != "":
					out.Scores["dropped: "+dropped]++
				case kept:
					out.Scores["dropped: one is enough"]++
				default:
					kept = true
					rows = append(rows, bilingual.Row{Prompt: g.Problem.Prompt, Completion: text, Domain: questions[i].Domain.String(), Source: b.Relative(in[0])})
				}
			}
		}
		out.Scores["kept"] = float64(len(rows))
		out.Last, err = bilingual.WriteRows(dir, rows)
		return out, err
	}}
}

// generalStage writes the general data: translation, writing, self-cognition.
func generalStage(b *bilingual.Bench, name string, n int) pipeline.Stage {
	n = b.Scale(n)
	return pipeline.Stage{Name: name, Config: map[string]any{"rows": n, "seed": b.Seed}, Data: true, Run: func(_ context.Context, dir *run.Run, _ []string) (out pipeline.Output, err error) {
		rows := bilingual.General(b.Seed, n)
		out.Scores = bilingual.TokensByDomain(rows)
		out.Last, err = bilingual.WriteRows(dir, rows)
		return out, err
	}}
}

// sftStage trains a model on the rows of one or more data stages together.
func sftStage(b *bilingual.Bench, name string, start pipeline.From, epochs int, rate float64, sets ...pipeline.From) pipeline.Stage {
	config := map[string]any{"epochs": epochs, "learning_rate": rate, "seed": b.Seed}
	return pipeline.Stage{Name: name, From: append([]pipeline.From{start}, sets...), Config: config, Gate: b.AtLeast("format", 0.9), Run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		policy, err := model.Load(b.Device, in[0], model.Options{})
		if err != nil {
			return out, err
		}
		defer policy.Close()
		const batch = 16
		rows, stream, err := bilingual.ReadRows(ctx, b.Seed, in[1:]...)
		if err != nil {
			return out, err
		}
		steps := max(1, epochs*rows/batch)
		train := sft.Config{LearningRate: rate, Schedule: optim.Cosine(steps/20, steps, 0.1), Optim: optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1}, MicroTokens: 2048}
		g := pipeline.SFT{Policy: policy, Train: train, Feed: pipeline.Feed{Rows: stream, Prepare: bilingual.Sequence}, Batch: batch, Every: pipeline.Every{Steps: steps, Save: 20, Keep: 1}, Config: config}
		res, err := g.Run(ctx, dir, func(s pipeline.SFTStep) {
			b.Step(name, s.Step, "loss %.3f", s.Stats.Loss)
			out.Scores = map[string]float64{"trained_tokens": float64(s.Tokens), "rows": float64(rows)}
		})
		out.Last = res.Checkpoint
		return out, err
	}}
}

// feedbackStage trains a reward model on pairs of replies of which users preferred the first.
func feedbackStage(b *bilingual.Bench, name string, start pipeline.From, steps int) pipeline.Stage {
	steps = b.Scale(steps)
	config := map[string]any{"steps": steps, "seed": b.Seed}
	return pipeline.Stage{Name: name, From: []pipeline.From{start}, Config: config, Data: true, Run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		const batch = 32
		lm, err := model.Load(b.Device, in[0], model.Options{})
		if err != nil {
			return out, err
		}
		scorer, err := model.NewScorer(lm, 0.02, b.Seed)
		if err != nil {
			return out, err
		}
		defer scorer.Close()
		trainer, err := sft.NewPreference(scorer, sft.Config{LearningRate: 5e-4, Optim: optim.Default(), MicroTokens: 2048})
		if err != nil {
			return out, err
		}
		defer trainer.Close()
		pairs, err := bilingual.Feedback(b.Seed, batch*steps+200)
		if err != nil {
			return out, err
		}
		loop := pipeline.Loop{
			Dir: dir, Steps: steps, SaveEvery: 10, Keep: 1, Config: config, State: &struct{}{}, Parts: []pipeline.Part{pipeline.Weights(scorer, ""), pipeline.Moments(trainer.Optimizer())},
			Watch: func(s pipeline.Step) { b.Step(name, s, "accuracy %.2f", s.Fields[1].Value) },
		}
		err = loop.Run(ctx, func(ctx context.Context, n int) ([]run.Field, error) {
			st, err := trainer.StepPairs(context.WithoutCancel(ctx), pairs[200+batch*n:200+batch*(n+1)])
			return []run.Field{{Name: "loss", Value: st.Loss}, {Name: "accuracy", Value: st.Accuracy}}, err
		})
		if err != nil {
			return out, err
		}
		right, err := sft.PairAccuracy(ctx, scorer, pairs[:200], 2048)
		return pipeline.Output{Last: dir.Path(int64(steps)), Scores: map[string]float64{"held_out_pairs_right": right / 200}}, err
	}}
}

// smallStage brings the student's base model.
func smallStage(b *bilingual.Bench, name string) pipeline.Stage {
	return pipeline.Stage{Name: name, Config: map[string]any{"seed": b.Seed}, Run: func(ctx context.Context, dir *run.Run, _ []string) (out pipeline.Output, err error) {
		m, err := b.Pretrain(ctx, bilingual.Small(), bilingual.SmallTokens)
		if err != nil {
			return out, err
		}
		defer m.Close()
		return pipeline.Output{Last: dir.Path(0)}, dir.Commit(0, m.Save)
	}}
}

// line is the recipe over a directory.
func line(ctx context.Context, b *bilingual.Bench) (pipeline.Line, error) {
	base, err := b.SaveBase(ctx)
	return pipeline.Line{Dir: b.Out, Base: base, Stages: recipe(b), Measure: b.Measure, Again: b.Again, Watch: b.Watch}, err
}

// experiment runs the line and prints its table and R1's claims.
func experiment(ctx context.Context, o bilingual.BenchOptions) error {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: o.Threads})
	if err != nil {
		return err
	}
	defer dev.Close()
	b := bilingual.NewBench(dev, o)
	l, err := line(ctx, b)
	if err != nil {
		return err
	}
	ledger, err := l.Run(ctx)
	if err != nil {
		return err
	}
	return b.Finish(l, ledger)
}

func main() { os.Exit(bilingual.Main(os.Args[1:], os.Stdout, os.Stderr, experiment)) }
