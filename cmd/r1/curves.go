package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	runs "github.com/gor1/gor1/run"
)

func newCurves() *cobra.Command {
	var fields []string
	var out, title string
	var smooth int
	cmd := &cobra.Command{
		Use:   "curves RUN...",
		Short: "Draw the metrics of runs beside one another, as one SVG file",
		Long: `Reads metrics.jsonl of each run's directory and draws one panel a metric with one line a run. NAME=RUN names a line; else it has its folder's name.
The file has no script and takes nothing from elsewhere. TensorBoard shows the same numbers: tensorboard --logdir RUN.`,
		Example: "  r1 curves out/grpo --out curves.svg\n  r1 curves full=out/a LoRA=out/b --fields reward,eval_accuracy --smooth 7 --out both.svg",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%w: want the directories of one run or more", errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(fields) == 0 || smooth%2 != 1 {
				return fmt.Errorf("%w: --fields is empty, or --smooth %d is not odd", errUsage, smooth)
			}
			panels := make([]runs.Panel, len(fields))
			for i, f := range fields {
				panels[i].Title = f
			}
			for _, arg := range args {
				name, dir, named := strings.Cut(arg, "=")
				if _, err := os.Stat(arg); !named || err == nil {
					name, dir = filepath.Base(filepath.Clean(arg)), arg
				}
				path := filepath.Join(dir, "metrics.jsonl")
				metrics, err := runs.ReadMetrics(path)
				if err != nil {
					return err
				}
				for i, f := range fields {
					line, ok := metrics[f]
					if !ok {
						return fmt.Errorf("%s has no metric %q; it has %s", path, f, strings.Join(slices.Sorted(maps.Keys(metrics)), ", "))
					}
					line.Name, line.Y = name, runs.Smooth(line.Y, smooth)
					panels[i].Lines = append(panels[i].Lines, line)
				}
			}
			if err := runs.WriteCurves(out, title, panels); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&fields, "fields", []string{"reward", "completions/mean_length", "entropy"}, "metrics, one panel each")
	cmd.Flags().StringVar(&out, "out", "curves.svg", "the file that is written")
	cmd.Flags().StringVar(&title, "title", "", "above the panels")
	cmd.Flags().IntVar(&smooth, "smooth", 1, "mean over so many steps around each, an odd number; 1: as it is")
	return cmd
}
