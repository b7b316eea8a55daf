package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline/recipe"
)

// planStores are what --keep may say.
var planStores = map[string]func() model.Store{
	"split":                func() model.Store { return model.SplitStore(false) },
	"split-bf16-gradients": func() model.Store { return model.SplitStore(true) },
}

// newPlan plans r1 grpo; its subcommands plan the other kinds of training.
func newPlan() *cobra.Command {
	g := recipe.NewGRPO()
	cmd := planner("plan", "grpo", g, recipe.TRL, &g.Machine, &g.Model, func(cmd *cobra.Command, c model.Config, b recipe.Budget) (recipe.Memory, error) {
		if err := g.Complete(cmd.Flags()); err != nil {
			return recipe.Memory{}, fmt.Errorf("%w: %w", errUsage, err)
		}
		return g.Plan(c, b)
	})
	s, d := recipe.NewSFT(), recipe.NewDistill()
	cmd.AddCommand(
		planner("sft", "sft", s, recipe.TRLSFT, &s.Machine, &s.Model, func(_ *cobra.Command, c model.Config, b recipe.Budget) (recipe.Memory, error) { return s.Plan(c, b) }),
		planner("distill", "distill", d, recipe.TRLDistill, &d.Machine, &d.Model, func(_ *cobra.Command, c model.Config, b recipe.Budget) (recipe.Memory, error) { return d.Plan(c, b) }))
	return cmd
}

// planner is the command that plans runs of r1 KIND, whose recipe is v.
func planner(use, kind string, v any, foreign recipe.Foreign, at *recipe.Machine, m *recipe.Model, plan func(cmd *cobra.Command, c model.Config, b recipe.Budget) (recipe.Memory, error)) *cobra.Command {
	var memory, keep string
	cmd := &cobra.Command{
		Use:   use,
		Short: "Print the memory that r1 " + kind + " will need, before it runs",
		Long: `Computes from config.json and the configuration what a run keeps in the device's memory while it samples and while it trains, and how many sequences
fit into what is left. No weights are read, and no device is used but to ask for its memory. --keep plans storage that is meant for large models and that
the library does not have yet; the plan says so. The numbers are those of r1 pipeline run --dry-run.`,
		Example: fmt.Sprintf("  r1 %[1]s --config recipe.yaml\n  r1 %[1]s --model_name_or_path Qwen/Qwen2.5-7B --gradient_checkpointing --device cuda:0 --memory 141GB --keep split", strings.TrimSuffix("plan "+strings.TrimPrefix(use, "plan"), " ")),
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&memory, "memory", "", "of the device, such as 141GB or 24GiB; empty: what the device says")
	cmd.Flags().StringVar(&keep, "keep", "today", "how numbers are kept: today, or as planned "+strings.Join(slices.Sorted(maps.Keys(planStores)), " or "))
	fromRecipe(cmd, v, foreign, at, func(t *training, _ recipe.Sources) error {
		b, notes, err := budget(memory, keep, *at)
		if err != nil {
			return err
		}
		dir := m.Model
		if dir != "" && filepath.Base(dir) != "config.json" {
			if dir, err = findModel(cmd, dir, m.Revision, "config.json"); err != nil {
				return err
			}
		}
		c, err := recipe.ConfigOf(dir)
		if err != nil {
			return err
		}
		p, err := plan(cmd, c, b)
		if err != nil {
			return err
		}
		p.Notes = append(p.Notes, notes...)
		return printPlan(t.stdout, planned{Kind: kind, Model: m.Model, Device: at.Device, Parameters: c.ParamCount(), Memory: p}, t.json)
	})
	return cmd
}

// budget is the memory to plan for, and what is to be said about it.
func budget(memory, keep string, at recipe.Machine) (b recipe.Budget, notes []string, err error) {
	store, ok := planStores[keep]
	switch {
	case ok:
		s := store()
		b.Store = &s
	case keep != "today":
		return b, nil, fmt.Errorf("%w: --keep is %q, want today, %s", errUsage, keep, strings.Join(slices.Sorted(maps.Keys(planStores)), " or "))
	}
	if strings.HasPrefix(at.Device, "cuda:") {
		notes = append(notes, "what the library does on "+at.Device+" today is in docs/gpu.md")
	}
	if memory != "" {
		b.Bytes, err = parseBytes(memory)
		return b, notes, err
	}
	dev, err := kernels.Open(at.Device)
	if err != nil {
		return b, append(notes, fmt.Sprintf("no limit is known: %v; --memory gives one", err)), nil
	}
	b.Bytes = dev.Memory()
	return b, notes, dev.Close()
}

// parseBytes reads 141GB, 24GiB, 512MiB or a number of bytes.
func parseBytes(text string) (int64, error) {
	number := strings.TrimRight(text, "BGiMTKk")
	unit, ok := map[string]float64{"": 1, "B": 1, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[text[len(number):]]
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(x > 0 && x*unit < 1<<60) {
		return 0, fmt.Errorf("%w: --memory is %q, want a number with a unit, such as 141GB or 24GiB", errUsage, text)
	}
	return int64(x * unit), nil
}

// planned is a plan as it is printed.
type planned struct {
	Kind, Model, Device string
	Parameters          int64
	recipe.Memory
}

// MarshalJSON gives the plan's parts and what follows from them.
func (p planned) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind       string `json:"kind"`
		Model      string `json:"model"`
		Device     string `json:"device"`
		Store      string `json:"store"`
		Available  bool   `json:"available"` // the library can run this
		Parameters int64  `json:"parameters"`
		TrainRows  int    `json:"train_rows"`
		Sequences  int    `json:"sequences"`
		Longest    int    `json:"longest_sequence"`
		model.Plan
		Training int64    `json:"training_bytes"`
		Sampling int64    `json:"sampling_bytes"`
		Peak     int64    `json:"peak_bytes"`
		Limit    int64    `json:"limit_bytes"` // 0: not known
		Fits     bool     `json:"fits"`
		Room     int64    `json:"room_sequences"`
		Notes    []string `json:"notes"`
	}{p.Kind, p.Model, p.Device, p.Work.Store.Name, p.Work.Store.Missing == "", p.Parameters, p.Work.TrainRows, p.Work.Sequences, p.Longest, p.Plan,
		p.Training(), p.Sampling(), p.Peak(), p.Limit, p.Fits(), p.Room(), p.Notes})
}

func printPlan(w io.Writer, p planned, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(p)
	}
	var errs []error
	line := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format+"\n", args...)
		errs = append(errs, err)
	}
	row := func(bytes int64, what string, args ...any) {
		if bytes > 0 {
			line("  %10s  %s", size(bytes), fmt.Sprintf(what, args...))
		}
	}
	line("r1 %s, %s: %.1f million parameters on %s, kept as %s", p.Kind, p.Model, float64(p.Parameters)/1e6, p.Device, p.Work.Store.Name)
	line("always")
	row(p.Weights, "weights (masters) and rotary tables")
	row(p.Forward, "packed for products forward")
	row(p.Backward, "packed for products back")
	row(p.Gradients, "gradients")
	row(p.Moments, "AdamW's moments")
	row(p.References, "%d further model, for inference", p.Work.References)
	row(p.Scratch, "the kernels' scratch: the head's logits of a block of rows, rounded rows")
	kept := "activations of all layers"
	if p.Work.Recompute {
		kept = "checkpoints: the layers' inputs, and what is outside of the layers"
	}
	line("training, passes of %d rows", p.Work.TrainRows)
	row(p.Activations, "%s", kept)
	row(p.Plan.Layer, "one layer's working set")
	row(p.Training(), "in all")
	if p.Longest > 0 {
		line("sampling, %d sequences of up to %d positions at once, %d rows of prompts", p.Work.Sequences, p.Longest, p.Work.Prefill)
		row(p.KV, "pages of keys and values, %s a position", size(p.SeqKV))
		row(p.Prefill, "one layer's values of the prompts")
		row(p.Sampling(), "in all")
	}
	line("peak")
	row(p.Peak(), "%s", limit(p.Memory))
	if p.Limit > 0 && p.Longest > 0 {
		line("  %10s  of the longest sequences fit into what is left for pages", strconv.FormatInt(p.Room(), 10))
	}
	for _, n := range p.Notes {
		line("note: %s", n)
	}
	return errors.Join(errs...)
}

// memory tells before a run's first step what it will take at most; command shows the whole plan.
func (t *training) memory(m recipe.Memory, command string) {
	t.out.Print("memory: at most %s %s (%s)", size(m.Peak()), limit(m), command)
}

// limit compares the peak with what there is.
func limit(m recipe.Memory) string {
	switch {
	case m.Limit == 0:
		return "of a memory that is not known"
	case m.Fits():
		return "of " + size(m.Limit) + ": it fits"
	}
	return "of " + size(m.Limit) + ": it does NOT fit; smaller micro_tokens or max_completion_length, gradient_checkpointing, fewer prompts at once or use_peft take less"
}

// size is a number of bytes with four digits.
func size(bytes int64) string {
	x, unit := float64(bytes), 0
	for x >= 999.95 && unit < 4 {
		x, unit = x/1000, unit+1
	}
	return fmt.Sprintf("%.4g %s", x, []string{"B", "kB", "MB", "GB", "TB"}[unit])
}
