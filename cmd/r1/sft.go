package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
	"github.com/gor1/gor1/sft"
)

func newSFT() *cobra.Command {
	g := recipe.NewSFT()
	cmd := &cobra.Command{
		Use:   "sft",
		Short: "Fine-tune on texts, conversations, or prompts with completions",
		Long: `Trains a model to continue texts as they are: a cold start, the second round on reasoning and general data, a student on a teacher's traces.

Rows are {"text":..}, {"messages":[..]} or {"prompt":..,"completion":..}; conversations are rendered with the model's own chat template. A configuration
of TRL's SFT runs as it is: keys that change nothing here are listed, keys that ask for other mathematics are refused. The output directory is a run, and
the same command goes on where a stopped or killed one left off, to the byte.`,
		Example: `  r1 sft --model_name_or_path DIR --dataset_name traces.jsonl --output_dir out
  r1 sft --config recipe.yaml --packing --max_length 4096
  r1 sft --model_name_or_path DIR --dataset_mixture reasoning.jsonl=3,general.jsonl=1 --use_peft`,
		Args: noArgs,
	}
	fromRecipe(cmd, g, recipe.TRLSFT, &g.Machine, func(t *training, from recipe.Sources) error { return t.sft(cmd.Context(), g, from) })
	return cmd
}

func (t *training) sft(ctx context.Context, g *recipe.SFT, from recipe.Sources) (err error) {
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
	var before *sft.Measured
	if !resumed {
		t.out.Print("%s: %.1f million parameters; %d rows with %d tokens a pass%s, %d held out; %d steps of %d rows on %s", g.Model.Model, float64(p.Policy.Config().ParamCount())/1e6,
			p.Rows, p.Tokens, fill(g, p), len(p.HeldOut), p.Every.Steps, p.Batch, p.Policy.Device())
		m, err := g.Plan(p.Policy.Config(), recipe.Budget{Bytes: p.Policy.Device().Memory()})
		if err != nil {
			return err
		}
		t.memory(m, "r1 plan sft")
		if before, err = t.heldOut(ctx, p.Policy, p.HeldOut, p.Train.MicroTokens); err != nil {
			return err
		}
	}
	t.out.Begin()
	res, err := p.Run(ctx, dir, func(s pipeline.SFTStep) {
		t.out.Show(float64(s.Number+1)/float64(s.Of), "step %d/%d | loss %.4f | grad %.2f | %.0f tokens/s", s.Number+1, s.Of, s.Stats.Loss, s.Stats.GradNorm, float64(s.Stats.Tokens)/s.Seconds)
		if s.Measured != nil {
			t.out.Print("held out, step %d: %s", s.Number+1, measured(*s.Measured))
		}
	})
	t.out.Clear()
	if err != nil {
		return err
	}
	if t.json {
		out := map[string]any{"steps": res.Steps, "checkpoint": res.Checkpoint, "best": res.Best, "rows_dropped": res.Dropped}
		if len(p.HeldOut) > 0 {
			out["eval_loss"], out["eval_mean_token_accuracy"] = res.Measured.Loss, res.Measured.Accuracy
		}
		if before != nil {
			out["eval_loss_before"] = before.Loss
		}
		return json.NewEncoder(t.stdout).Encode(out)
	}
	if res.Dropped > 0 {
		t.out.Print("%d rows had nothing to learn after cutting to max_length", res.Dropped)
	}
	t.out.Print("the model is in %s, the best one in %s", res.Checkpoint, res.Best)
	return nil
}

// heldOut measures a model before it is trained; nil where nothing is held out.
func (t *training) heldOut(ctx context.Context, m *model.LM, held []sft.Sequence, microTokens int) (*sft.Measured, error) {
	if len(held) == 0 {
		return nil, nil
	}
	r, err := sft.Measure(ctx, m, held, microTokens)
	if err != nil {
		return nil, err
	}
	t.out.Print("held out, before: %s", measured(r))
	return &r, nil
}

// fill says how full packed rows are.
func fill(g *recipe.SFT, p *recipe.PreparedSFT) string {
	if !g.Packing {
		return ""
	}
	return fmt.Sprintf(" (packed, %.1f %% full)", 100*float64(p.Tokens)/float64(p.Rows)/float64(g.Length))
}

func measured(m sft.Measured) string {
	return fmt.Sprintf("loss %.4f (perplexity %.2f), %.1f %% of %d tokens are the likeliest", m.Loss, math.Exp(m.Loss), 100*m.Accuracy, m.Tokens)
}
