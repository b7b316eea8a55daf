package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/eval"
	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/pipeline/recipe"
	"github.com/gor1/gor1/sampling"
)

func newEval() *cobra.Command {
	g := recipe.NewEval()
	var out, against string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model on problems with answers",
		Long: `Draws completions of each problem and prints the share that is right with its 95 % interval: with one sample a problem Wilson's, else the one over problems.
--out writes one line a completion. --against compares with such a file of another model on the same problems: McNemar's exact test where every
problem has one completion, and a paired bootstrap.`,
		Example: `  r1 eval --model_name_or_path DIR --dataset_name problems.jsonl --out before.jsonl --score accuracy,last_number
  r1 eval --model_name_or_path out/checkpoint-60 --dataset_name problems.jsonl --against before.jsonl --score accuracy,last_number
  r1 eval --model_name_or_path DIR --dataset_name math.jsonl --samples 16 --temperature 0.6 --top_p 0.95`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := sources(cmd)
			if err := errors.Join(err, machine(&g.Machine)); err != nil {
				return err
			}
			before := make([][]float64, len(g.Scores))
			for i, name := range g.Scores {
				if against == "" {
					break
				}
				if before[i], err = passRates(against, name); err != nil {
					return err
				}
			}
			live := progress.New(os.Stderr)
			r, codec, notes, err := g.Run(cmd.Context(), from, func(done, total int) { live.Show(float64(done)/float64(total), "%d of %d completions", done, total) })
			live.Clear()
			for _, n := range notes {
				live.Print("note: %s", n)
			}
			if err != nil {
				return err
			}
			if out != "" {
				if err := writeCompletions(out, g.Scores, r, codec); err != nil {
					return err
				}
			}
			for i, name := range g.Scores {
				if err := report(cmd, name, r[i], before[i], against, asJSON, len(r) > 1); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "a file for the completions, one JSON object a line")
	cmd.Flags().StringVar(&against, "against", "", "a file that --out wrote for another model on the same problems")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a score")
	recipe.Bind(cmd.Flags(), g)
	return cmd
}

// completion is one line of a file of completions.
type completion struct {
	Problem    int                 `json:"problem"` // in the order of the data set
	ID         string              `json:"id"`
	Answer     string              `json:"answer"`
	Completion string              `json:"completion"`
	Scores     map[string]*float64 `json:"scores"` // by name; null: not scored
	Tokens     int                 `json:"tokens"`
	Stop       string              `json:"stop"`
}

func writeCompletions(path string, names []string, r []eval.Report, codec sampling.Codec) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i, g := range r[0].Groups {
		for j, s := range g.Samples {
			c := completion{Problem: i, ID: g.Problem.ID, Answer: g.Problem.Answer, Completion: codec.Decode(s.Tokens), Scores: map[string]*float64{}, Tokens: len(s.Tokens), Stop: s.Stop.String()}
			for k, name := range names {
				c.Scores[name] = nil
				if v, ok := r[k].Groups[i].Samples[j].Score.Value(); ok {
					c.Scores[name] = &v
				}
			}
			err = errors.Join(err, enc.Encode(c))
		}
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// passRates are the means of a score of the problems in a file of completions, in order.
func passRates(path, name string) ([]float64, error) {
	var sum, n []float64
	err := eachLine(path, nil, func(text []byte) error {
		var c completion
		if err := decodeStrict(text, &c); err != nil {
			return err
		}
		for len(sum) <= c.Problem {
			if c.Problem > len(sum) {
				return fmt.Errorf("problem %d comes before problem %d", c.Problem, len(sum))
			}
			sum, n = append(sum, 0), append(n, 0)
		}
		v, ok := c.Scores[name]
		if !ok {
			return fmt.Errorf("there is no score %s; give --score as the file was written with", name)
		}
		if v != nil && c.Problem >= 0 {
			sum[c.Problem] += *v
			n[c.Problem]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range sum {
		if n[i] == 0 {
			return nil, fmt.Errorf("%s: problem %d has no score", path, i)
		}
		sum[i] /= n[i]
	}
	return sum, nil
}

// report prints the measurement by a score, which it names where there are several, and, where there is another one, whether the two differ.
func report(cmd *cobra.Command, name string, r eval.Report, before []float64, against string, asJSON, named bool) error {
	out := map[string]any{"score": name, "problems": r.Problems, "samples": r.Samples, "pass@1": r.Pass1, "low": r.Low, "high": r.High, "any": r.PassK, "mean_length": r.Length, "truncated": r.Truncated, "unscored": r.Unscored}
	text := fmt.Sprintf("%.1f %% right (95 %% interval %.1f to %.1f) on %d problems with %d samples each; %.1f %% with at least one right; %.0f tokens, %.0f %% cut at the limit",
		100*r.Pass1, 100*r.Low, 100*r.High, r.Problems, r.Samples, 100*r.PassK, r.Length, 100*r.Truncated)
	if named {
		text = name + ": " + text
	}
	if r.Unscored > 0 {
		text += fmt.Sprintf("; %d problems could not be judged", r.Unscored)
	}
	if before != nil {
		if len(before) != len(r.PassRate) {
			return fmt.Errorf("%s has %d problems, this measurement %d: they cannot be compared problem by problem", against, len(before), len(r.PassRate))
		}
		d, err := eval.PairedBootstrap(before, r.PassRate, 10_000, 1)
		if err != nil {
			return err
		}
		out["difference"], out["difference_low"], out["difference_high"], out["p_bootstrap"] = d.Mean, d.Low, d.High, d.P
		text += fmt.Sprintf("\nagainst %s: %+.1f points (95 %% interval %+.1f to %+.1f), p = %.2g by paired bootstrap", against, 100*d.Mean, 100*d.Low, 100*d.High, d.P)
		if p, ok, err := mcNemar(before, r.PassRate); err != nil {
			return err
		} else if ok {
			out["p_mcnemar"] = p
			text += fmt.Sprintf(", p = %.2g by McNemar's exact test", p)
		}
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(out)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// mcNemar tests rates that are all 0 or 1.
func mcNemar(before, after []float64) (p float64, ok bool, err error) {
	only := [2]int{}
	for i := range before {
		for _, v := range []float64{before[i], after[i]} {
			if v != 0 && v != 1 {
				return 0, false, nil
			}
		}
		switch {
		case before[i] > after[i]:
			only[0]++
		case after[i] > before[i]:
			only[1]++
		}
	}
	p, err = eval.McNemar(only[0], only[1])
	return p, true, err
}
