package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
	"github.com/gor1/gor1/sampling"
)

func newGRPO() *cobra.Command {
	g := recipe.NewGRPO()
	cmd := &cobra.Command{
		Use:   "grpo",
		Short: "Train by reinforcement learning: GRPO and its published variants",
		Long: `Trains a policy by GRPO: draws groups of answers to each prompt, judges them with the rewards, and takes a step.

A configuration of TRL's or open-r1's GRPO runs as it is: keys that change nothing here are listed, keys that ask for other mathematics are
refused. A flag beats the file. The output directory is a run: checkpoints that transformers and vLLM load, metrics.jsonl, TensorBoard events,
the completions of every step. The same command goes on where a stopped or killed one left off, to the byte.`,
		Example: `  r1 grpo --config recipe.yaml
  r1 grpo --model_name_or_path DIR --dataset_name problems.jsonl --reward_funcs accuracy,format --output_dir out
  r1 grpo --config recipe.yaml --use_peft --learning_rate 1e-5 --max_steps 200`,
		Args: noArgs,
	}
	fromRecipe(cmd, g, recipe.TRL, &g.Machine, func(t *training, from recipe.Sources) error {
		if err := g.Complete(cmd.Flags()); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return t.grpo(cmd.Context(), g, from)
	})
	return cmd
}

func (t *training) grpo(ctx context.Context, g *recipe.GRPO, from recipe.Sources) (err error) {
	p, err := g.Prepare(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	dir, resumed, err := t.open(g.Output, g, p.Notes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if !resumed {
		if err := t.start(ctx, g, p); err != nil {
			return err
		}
	}
	t.out.Begin()
	shown := 0
	if g.Print != nil {
		shown = *g.Print
	}
	res, err := p.Run(ctx, dir, func(s pipeline.GRPOStep) { t.step(s, p.Sample.Codec, shown, g.PrintEvery) })
	t.out.Clear()
	if err != nil {
		return err
	}
	return t.end(p, res)
}

// start measures the policy and looks whether anything can be learnt.
func (t *training) start(ctx context.Context, g *recipe.GRPO, p *recipe.Prepared) error {
	c := p.Policy.Config()
	t.out.Print("%s: %.1f million parameters, %d of them trained; %d problems, %d held out; %d steps of %d prompts x %d completions on %s",
		g.Model.Model, float64(c.ParamCount())/1e6, trained(p), p.Problems.Len(), len(p.HeldOut.Problems), p.Every.Steps, p.Batch.Prompts, p.Batch.Samples, p.Policy.Device())
	m, err := g.Plan(c, recipe.Budget{Bytes: p.Policy.Device().Memory(), Held: len(p.HeldOut.Problems)})
	if err != nil {
		return err
	}
	t.memory(m, "r1 plan")
	if g.Preflight > 0 {
		t.out.Begin()
		f, err := p.Preflight(ctx, g.Preflight, func(done, total int) {
			t.out.Show(float64(done)/float64(total), "preflight: %d of %d completions", done, total)
		})
		t.out.Clear()
		if err != nil {
			return err
		}
		t.out.Print("before step 0, on %d prompts: reward %.3f%s, %.0f %% of the groups teach nothing, %.0f %% cut, %.0f tokens a completion; sampling takes %.1f s a step",
			f.Prompts, f.Reward, means(f.Parts), 100*f.ZeroStd, 100*f.Truncated, f.Length, f.Seconds)
		for _, x := range f.Findings {
			if !x.Fatal { // those are in the error
				t.out.Print("  %s", x)
			}
		}
		if err := f.Err(); err != nil {
			return fmt.Errorf("%w\n  (--preflight 0 trains all the same)", err)
		}
	}
	if len(p.HeldOut.Problems) > 0 {
		h, err := p.HeldOut.Measure(ctx, p.Policy, p.Sample)
		if err != nil {
			return err
		}
		t.before = &h
		t.out.Print("held out, before: %s", held(h))
	}
	return nil
}

func trained(p *recipe.Prepared) (n int) {
	for _, q := range p.Policy.Params() {
		n += q.Len()
	}
	return n
}

func means(parts map[string]float64) (text string) {
	for _, name := range recipe.RewardNames() {
		if v, ok := parts[name]; ok {
			text += fmt.Sprintf(", %s %.3f", name, v)
		}
	}
	return text
}

func held(h pipeline.Held) string {
	return fmt.Sprintf("%.1f %% right (95 %% interval %.1f to %.1f), %.0f tokens a completion, %.0f %% cut", 100*h.Accuracy, 100*h.Low, 100*h.High, h.Length, 100*h.Truncated)
}

func (t *training) step(s pipeline.GRPOStep, codec sampling.Codec, completions, every int) {
	if !t.said {
		t.said = true
		t.out.Print("the loss stays near 0 by construction (every batch starts at ratio 1): the reward tells whether it learns")
	}
	if d := s.Stats.Drift; !math.IsNaN(d) {
		t.largest = max(t.largest, d)
	}
	t.out.Show(float64(s.Number+1)/float64(s.Of), "step %d/%d | reward %.3f | zero-std %.0f %% | length %.0f | entropy %.2f | %.1f s", s.Number+1, s.Of, s.Stats.Reward, 100*s.Stats.ZeroStd, s.Stats.MeanLength, s.Stats.Entropy, s.Seconds)
	for _, a := range s.Alarms {
		t.out.Print("alarm at step %d: %s", s.Number+1, a)
	}
	if s.Held != nil {
		t.out.Print("held out, step %d: %s", s.Number+1, held(*s.Held))
	}
	if every > 0 && s.Number%every == 0 {
		t.show(s, codec, completions)
	}
}

// show prints some completions of the step's first groups with their rewards.
func (t *training) show(s pipeline.GRPOStep, codec sampling.Codec, n int) {
	for i := 0; i < n && i < len(s.Groups); i++ {
		q := s.Groups[i].Samples[0]
		var parts []string
		for _, p := range q.Parts {
			if v, ok := p.Score.Value(); ok {
				parts = append(parts, fmt.Sprintf("%s %.3g", p.Name, v))
			} else {
				parts = append(parts, p.Name+" not scored")
			}
		}
		t.out.Print("  step %d, %s, want %q, %s: %s", s.Number+1, s.Groups[i].Problem.ID, s.Groups[i].Problem.Answer, strings.Join(parts, ", "), shorten(codec.Decode(q.Tokens), 400))
	}
}

// shorten quotes a text, its middle left out where it is long: nothing in it can move the cursor of a terminal.
func shorten(text string, n int) string {
	r := []rune(text)
	if len(r) > n {
		text = string(r[:n/2]) + " ... " + string(r[len(r)-n/2:])
	}
	return fmt.Sprintf("%q", text)
}

func (t *training) end(p *recipe.Prepared, res pipeline.Result) error {
	if t.json {
		out := map[string]any{"steps": res.Steps, "checkpoint": res.Checkpoint, "best": res.Best, "max_logp_difference": t.largest}
		if len(p.HeldOut.Problems) > 0 {
			out["eval_accuracy"], out["eval_low"], out["eval_high"] = res.Held.Accuracy, res.Held.Low, res.Held.High
		}
		if t.before != nil {
			out["eval_accuracy_before"] = t.before.Accuracy
		}
		return json.NewEncoder(t.stdout).Encode(out)
	}
	if len(p.HeldOut.Problems) > 0 {
		if t.before != nil {
			t.out.Print("held out, before: %s", held(*t.before))
		}
		t.out.Print("held out, after:  %s", held(res.Held))
	}
	t.out.Print("sampler and trainer differed by at most %g in a log-prob; the model is in %s, the best one in %s", t.largest, res.Checkpoint, res.Best)
	return nil
}
