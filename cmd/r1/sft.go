package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
	runs "github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sft"
)

func newSFT() *cobra.Command {
	g := recipe.NewSFT()
	var config string
	var asJSON bool
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := newTraining(cmd, asJSON)
			if config != "" {
				ignored, err := recipe.Read(config, cmd.Flags(), recipe.TRLSFT)
				if err != nil {
					return fmt.Errorf("%w: %w", errUsage, err)
				}
				t.ignored(config, ignored)
			}
			from, err := sources(cmd)
			if err := errors.Join(err, machine(&g.Machine)); err != nil {
				return err
			}
			return t.sft(cmd.Context(), g, from)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "a YAML file with any of the flags as keys")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object when done; progress goes to stderr")
	recipe.Bind(cmd.Flags(), g)
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
		if len(p.HeldOut) > 0 {
			m, err := sft.Measure(ctx, p.Policy, p.HeldOut, p.Train.MicroTokens)
			if err != nil {
				return err
			}
			before = &m
			t.out.Print("held out, before: %s", measured(m))
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

// open opens a run's directory, writes its configuration, and says whether it goes on.
func (t *training) open(o recipe.Output, config any, notes []string) (dir *runs.Run, resumed bool, err error) {
	for _, n := range notes {
		t.out.Print("note: %s", n)
	}
	dir, err = runs.Open(o.Dir)
	if err != nil {
		return nil, false, err
	}
	fail := func(err error) (*runs.Run, bool, error) { return nil, false, errors.Join(err, dir.Close()) }
	if o.Overwrite {
		if err := dir.Clear(); err != nil {
			return fail(err)
		}
	}
	done, _, resumed, err := dir.Latest()
	if err != nil {
		return fail(err)
	}
	if resumed {
		t.out.Print("going on from %s", dir.Path(done))
		return dir, true, nil
	}
	if err := dir.WriteFile("config.yaml", func(w io.Writer) error { return recipe.Write(w, config) }); err != nil {
		return fail(err)
	}
	return dir, false, nil
}
