package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
	runs "github.com/gor1/gor1/run"
)

func newSample() *cobra.Command {
	g := recipe.NewSample()
	short := map[string]string{"model": "model_name_or_path", "n": "num_generations"}
	cmd := &cobra.Command{
		Use:   "sample",
		Short: "Rejection sampling: draw completions, judge them, and write those worth learning as an SFT set",
		Long: `Draws completions of each prompt, judges them with the rewards of r1 grpo, keeps what passes the filters, and writes kept.jsonl: rows that r1 sft
learns, each with the model's hash, its seed, the problem, its scores and its problem's pass rate. Every dropped completion is counted by reason.
What was drawn is in rollouts/ and is not drawn again: a killed command goes on where it was, and other filters choose anew in seconds. With --from_run
the rollouts that r1 grpo recorded are chosen from.`,
		Example: `  r1 sample --model DIR --dataset_name problems.jsonl --n 16 --keep "accuracy>=1,format>=1" --choose shortest --output_dir set
  r1 sample --model DIR --dataset_name problems.jsonl --min_language_share 0.9 --drop_code --max_paragraph 2000 --decontaminate eval.jsonl --output_dir set
  r1 sample --from_run out --keep "reward>=1" --choose first --output_dir set`,
		Args: noArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			for alias, name := range short {
				if f := cmd.Flags().Lookup(alias); f.Changed {
					if err := cmd.Flags().Set(name, f.Value.String()); err != nil {
						return fmt.Errorf("%w: --%s: %w", errUsage, alias, err)
					}
				}
			}
			return nil
		},
	}
	fromRecipe(cmd, g, recipe.TRL, &g.Machine, func(t *training, from recipe.Sources) error { return t.sample(cmd.Context(), g, from) })
	for alias, name := range short {
		cmd.Flags().String(alias, "", "the same as --"+name)
	}
	return cmd
}

func (t *training) sample(ctx context.Context, g *recipe.Sample, from recipe.Sources) (err error) {
	dir, err := runs.Open(g.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	p, err := g.Prepare(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for _, n := range p.Notes {
		t.out.Print("note: %s", n)
	}
	if g.Overwrite {
		if err := dir.Clear(); err != nil {
			return err
		}
		for _, name := range pipeline.SampleFiles {
			if err := os.Remove(filepath.Join(g.Dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if p.Draw != nil {
		t.out.Begin()
		err := p.Draw.Run(ctx, dir, func(done, of int) {
			t.out.Show(float64(done)/float64(of), "%d of %d completions", done, of)
		})
		t.out.Clear()
		if err != nil {
			return err
		}
	}
	if err := dir.WriteFile("config.yaml", func(w io.Writer) error { return recipe.Write(w, g) }); err != nil {
		return err
	}
	s, err := p.Select(ctx, dir)
	if err != nil {
		return err
	}
	path := filepath.Join(g.Dir, "kept.jsonl")
	if t.json {
		return json.NewEncoder(t.stdout).Encode(struct {
			pipeline.Selected
			File string `json:"file"`
		}{s, path})
	}
	t.selected(s, path)
	return nil
}

// selected prints the summary's table.
func (t *training) selected(s pipeline.Selected, path string) {
	share := func(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
	t.out.Print("%-40s %9d", "problems", s.Groups)
	t.out.Print("%-40s %9d  %5.1f %% of problems", "  with at least one kept", s.Covered, share(s.Covered, s.Groups))
	for i, name := range []string{"0", "below 1/4", "below 1/2", "below 3/4", "below 1", "1"} {
		t.out.Print("%-40s %9d  %5.1f %%", "  answered right: "+name, s.PassRate[i], share(s.PassRate[i], s.Groups))
	}
	if s.Unrated > 0 {
		t.out.Print("%-40s %9d", "  not scored", s.Unrated)
	}
	t.out.Print("%-40s %9d", "completions", s.Drawn)
	for _, why := range s.Dropped.Reasons() {
		t.out.Print("%-40s %9d  %5.1f %%", "  dropped: "+why, s.Dropped[why], share(s.Dropped[why], s.Drawn))
	}
	t.out.Print("%-40s %9d  %5.1f %%, %.0f tokens each", "  kept", s.Kept, share(s.Kept, s.Drawn), float64(s.Tokens)/float64(max(s.Kept, 1)))
	t.out.Print("%s", path)
}
