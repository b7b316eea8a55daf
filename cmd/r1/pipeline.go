package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
)

func newPipeline() *cobra.Command {
	cmd := &cobra.Command{Use: "pipeline", Short: "Run several stages as one: cold start, RL, rejection sampling, SFT, RL, distillation", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newPipelineRun())
	return cmd
}

func newPipelineRun() *cobra.Command {
	var again, device, isa string
	var threads int
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "run RECIPE.yaml",
		Short: "Run the stages of a recipe that are not done yet",
		Long: `Runs the stages of a recipe in order over one directory. A stage says what it starts from (base, a stage, or NAME@best), its configuration under the
keys of its own command, and what its scores must be for the line to go on. ledger.jsonl says what was done; the same command goes on where a stopped
or killed one left off. A stage that collapsed gives its best checkpoint. report.html shows the scores before and after each stage, and the curves.`,
		Example: `  r1 pipeline run recipe.yaml --dry-run
  r1 pipeline run recipe.yaml
  r1 pipeline run recipe.yaml --from second-sft`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: want one recipe, got %d arguments; see r1 pipeline run --help", errUsage, len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t := newTraining(cmd, asJSON)
			l, err := recipe.ReadLine(args[0])
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			l.Machine = recipe.Machine{Device: device, Threads: threads, ISA: isa}
			if err := machine(&l.Machine); err != nil {
				return err
			}
			from, err := sources(cmd)
			if err != nil {
				return err
			}
			l.Watch = func(stage string, done, of int, text string) {
				t.out.Show(float64(done)/float64(of), "%s, step %d/%d | %s", stage, done, of, text)
			}
			if dry {
				return t.plan(cmd.Context(), l, from, again)
			}
			line, _, err := l.Prepare(cmd.Context(), from)
			if err != nil {
				return err
			}
			line.Again = again
			return t.line(cmd.Context(), line)
		},
	}
	f := cmd.Flags()
	f.StringVar(&again, "from", "", "do this stage again, and all that follow")
	f.BoolVar(&dry, "dry-run", false, "print the plan with memory and time, and do nothing")
	f.BoolVar(&asJSON, "json", false, "print one JSON object when done; progress goes to stderr")
	f.StringVar(&device, "device", "cpu", "where it runs: cpu")
	f.StringVar(&isa, "isa", "", "portable, avx2, avx512 or neon; empty: the best here")
	f.IntVar(&threads, "threads", 0, "threads; 0: one a core")
	return cmd
}

// line runs the stages and writes the report.
func (t *training) line(ctx context.Context, l pipeline.Line) error {
	l.Watch = func(e pipeline.Entry, done bool) {
		t.out.Clear()
		if t.out.Begin(); !done {
			t.out.Print("%s, from %s", e.Stage, strings.Join(e.Inputs, ", "))
			return
		}
		if e.Note != "" {
			t.out.Print("  note: %s", e.Note)
		}
		t.out.Print("  %s: %.0f s; %s", e.Stage, e.Seconds, scores(e.Output.Scores))
	}
	ledger, err := l.Run(ctx)
	t.out.Clear()
	if err != nil {
		return err
	}
	report, err := l.Report(l.Dir, ledger)
	if err != nil {
		return err
	}
	if t.json {
		return json.NewEncoder(t.stdout).Encode(map[string]any{"ledger": ledger, "report": report})
	}
	t.out.Print("%d stages are done; the last output is %s, the report %s", len(l.Stages), l.Path(ledger[len(ledger)-1].Output.Last), report)
	return nil
}

func scores(s map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s %.4g", name, s[name]))
	}
	return strings.Join(parts, ", ")
}

// share of the machine's measured peak that training reaches, for a plan's times.
const planShare = 0.4

// plan prints what would be done, again from the stage of that name.
func (t *training) plan(ctx context.Context, r *recipe.Line, from recipe.Sources, again string) error {
	dev, err := kernels.Open(r.Machine.Device, kernels.Options{Threads: r.Machine.Threads, ISA: r.Machine.ISA})
	if err != nil {
		return err
	}
	defer dev.Close()
	r.Memory = dev.Memory()
	l, plan, err := r.Prepare(ctx, from)
	if err != nil {
		return err
	}
	ledger, err := pipeline.ReadLedger(l.Dir)
	if err != nil {
		return err
	}
	peak, err := dev.Measure(kernels.PeakF32, 0.2)
	if err != nil {
		return err
	}
	redo := false
	for i, p := range plan {
		redo = redo || again == p.Name
		p := planLine{
			Stage: p.Name, Kind: p.Kind, From: fmt.Sprint(p.From), Until: p.Until, Gate: p.Gate, Megabytes: float64(p.Bytes) / 1e6, Seconds: p.FLOP / peak / planShare,
			Done: !redo && slices.ContainsFunc(ledger, func(e pipeline.Entry) bool { return e.Stage == plan[i].Name }),
		}
		if t.json {
			if err := json.NewEncoder(t.stdout).Encode(p); err != nil {
				return err
			}
			continue
		}
		t.out.Print("%2d %s", i+1, p)
	}
	return nil
}

// planLine is a stage as a plan prints it.
type planLine struct {
	Stage     string             `json:"stage"`
	Kind      string             `json:"kind"`
	From      string             `json:"from"`
	Until     string             `json:"until,omitempty"`
	Gate      map[string]float64 `json:"gate,omitempty"`
	Megabytes float64            `json:"megabytes"`
	Seconds   float64            `json:"seconds"` // 0: known when the stages before are done
	Done      bool               `json:"done"`
}

func (p planLine) String() string {
	cost := "time known when its data is there"
	switch {
	case p.Done:
		cost = "done"
	case p.Seconds > 0:
		cost = fmt.Sprintf("at most %.0f s", p.Seconds)
	}
	text := fmt.Sprintf("%s (%s) from %s: at most %.0f MB, %s", p.Stage, p.Kind, p.From, p.Megabytes, cost)
	if p.Until == "converged" {
		text += ", until converged"
	}
	if len(p.Gate) > 0 {
		text += "; gate: " + scores(p.Gate)
	}
	return text
}
