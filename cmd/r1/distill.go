package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/distill/traces"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
	runs "github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sft"
)

func newDistill() *cobra.Command {
	g := recipe.NewDistill()
	cmd := &cobra.Command{
		Use:   "distill",
		Short: "Teach a small model with a large one: by its distributions, or by its written reasoning",
		Long: `Teaches a student with a teacher. Mode logits compares the two models' distributions over the whole vocabulary, on the student's own samples
(lmbda 1, the default), on the data set's completions (lmbda 0) or a mix; the output directory is a run, and the same command goes on where a stopped
or killed one left off, to the byte. A configuration of TRL's distillation or GKD runs as it is.
Mode traces asks a teacher behind any OpenAI-compatible server and writes traces.jsonl, which r1 sft learns. Every answer is on disk before the next
thing happens, none is paid for twice, and replies that are cut or broken are refused whole. The server's key is read from R1_TEACHER_KEY.`,
		Example: `  r1 distill --model_name_or_path STUDENT --teacher_model_name_or_path TEACHER --dataset_name prompts.jsonl --output_dir out
  r1 distill --config gkd.yaml --lmbda 0.5 --beta 0.5
  R1_TEACHER_KEY=.. r1 distill --mode traces --teacher_url https://api.deepseek.com/chat/completions --teacher_model deepseek-reasoner --dataset_name prompts.jsonl --output_dir traces`,
		Args: noArgs,
	}
	fromRecipe(cmd, g, recipe.TRLDistill, &g.Machine, func(t *training, from recipe.Sources) error {
		switch g.Mode {
		case "logits":
			return t.distill(cmd.Context(), g, from)
		case "traces":
			from.Key = os.Getenv("R1_TEACHER_KEY")
			return t.traces(cmd.Context(), g, from)
		}
		return fmt.Errorf("%w: --mode is %q, want logits or traces", errUsage, g.Mode)
	})
	return cmd
}

func (t *training) distill(ctx context.Context, g *recipe.Distill, from recipe.Sources) (err error) {
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
		t.out.Print("%s: %.1f million parameters, %d teachers; %d rows, %d held out; %d steps of %d sequences, %.0f %% of them on the student's own samples, on %s", g.Model.Model,
			float64(p.Student.Config().ParamCount())/1e6, len(p.Lessons), p.Rows, len(p.HeldOut), p.Every.Steps, p.Batch, 100*p.OnPolicy, p.Student.Device())
		if before, err = t.heldOut(ctx, p.Student, p.HeldOut, p.Train.MicroTokens); err != nil {
			return err
		}
	}
	t.out.Begin()
	var first, last *pipeline.DistillStep
	res, err := p.Run(ctx, dir, func(s pipeline.DistillStep) {
		if last = &s; first == nil {
			first = &s
		}
		t.out.Show(float64(s.Number+1)/float64(s.Of), "step %d/%d | divergence %.4f | entropy %.2f | grad %.2f | %.0f tokens/s", s.Number+1, s.Of, s.Stats.Divergence, s.Stats.Entropy, s.Stats.GradNorm, float64(s.Stats.Tokens)/s.Seconds)
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
		if last != nil {
			out["divergence"], out["first_divergence"] = last.Stats.Divergence, first.Stats.Divergence
		}
		if len(p.HeldOut) > 0 {
			out["eval_loss"] = res.Measured.Loss
		}
		if before != nil {
			out["eval_loss_before"] = before.Loss
		}
		return json.NewEncoder(t.stdout).Encode(out)
	}
	if last != nil {
		t.out.Print("divergence from the teacher: %.4f nats a token in step %d, %.4f in step %d", first.Stats.Divergence, first.Number+1, last.Stats.Divergence, last.Number+1)
	}
	t.out.Print("the model is in %s, the best one in %s", res.Checkpoint, res.Best)
	return nil
}

// traces asks a teacher behind a server.
func (t *training) traces(ctx context.Context, g *recipe.Distill, from recipe.Sources) (err error) {
	if g.Overwrite {
		return fmt.Errorf("%w: --overwrite_output_dir would throw away answers that were paid for; give another --output_dir", errUsage)
	}
	teacher, questions, err := g.Questions(ctx, from)
	if err != nil {
		return err
	}
	dir, err := runs.Open(g.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	journal, err := traces.OpenJournal(filepath.Join(g.Dir, "journal.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	t.out.Print("%s: %d questions, %d at a time", g.Name, len(questions), g.Workers)
	t.out.Begin()
	shown := 0
	sum, err := traces.Collect(ctx, teacher, journal, questions, traces.Options{Workers: g.Workers, Retry: g.Retry,
		Progress: func(done, of int) {
			t.out.Show(float64(done)/float64(of), "%d of %d asked, %d requests", done, of, teacher.Requests())
		},
		Failed: func(id string, err error) {
			if shown++; shown <= 5 {
				t.out.Print("no answer to %s: %s", id, shorten(err.Error(), 300))
			}
		},
	})
	t.out.Clear()
	if err != nil {
		return fmt.Errorf("%w\n  %d answers are in %s; run the same command again to go on", err, sum.Known+sum.Answered, filepath.Join(g.Dir, "journal.jsonl"))
	}
	rows := 0
	err = dir.WriteFile("traces.jsonl", func(w io.Writer) error {
		rows, err = traces.Write(w, teacher, journal, questions)
		return err
	})
	if err != nil {
		return err
	}
	path := filepath.Join(g.Dir, "traces.jsonl")
	if t.json {
		return json.NewEncoder(t.stdout).Encode(map[string]any{"rows": rows, "questions": sum.Questions, "known": sum.Known, "answered": sum.Answered, "failed": sum.Failed, "requests": sum.Requests, "tokens": sum.Tokens, "rejected": sum.Rejected, "file": path})
	}
	var rejected []string
	for _, reason := range slices.Sorted(maps.Keys(sum.Rejected)) {
		rejected = append(rejected, fmt.Sprintf("%s %d", reason, sum.Rejected[reason]))
	}
	t.out.Print("%d rows in %s: %d answers were there, %d are new (%d requests, %d tokens), %d questions have none", rows, path, sum.Known, sum.Answered, sum.Requests, sum.Tokens, sum.Failed)
	if len(rejected) > 0 {
		t.out.Print("replies refused: %s", strings.Join(rejected, ", "))
	}
	if sum.Failed > 0 {
		t.out.Print("run again to ask those that met no reply, with --retry_failed also those whose replies were all refused")
	}
	return nil
}
