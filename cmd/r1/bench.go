package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/internal/bench"
	"github.com/gor1/gor1/kernels"
)

type benchFlags struct {
	device, shape, dtype, class, isa, model string
	threads                                 int
	fast                                    bool
	rows                                    []int
	load                                    bench.Load
	options                                 bench.Options
	asJSON                                  bool
}

// benches are what r1 bench times.
var benches = append(bench.Kinds(), "tokenize")

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench " + strings.Join(benches, "|"),
		Short: "Time the library against this machine's own limits",
		Long: "Times random models of known shapes, in memory. Peak and copy rate of the machine are measured in every round, beside what is timed;\n" +
			"the limit is what they allow, the share what is reached. Rounds in which others took more than a twentieth of the cores do not count;\n" +
			"where too few are left the rows say that the machine was busy. Before anything is timed the same process checks that training and\n" +
			"decoding give the same bits.",
		Example: "  r1 bench gemm --shape 135m\n  r1 bench decode --shape 15m --batch 64 --prompt-len 64 --new-tokens 32 --json\n  r1 bench tokenize --model DIR",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: want one of %s, got %d arguments", errUsage, strings.Join(benches, ", "), len(args))
			}
			return nil
		},
		ValidArgs: benches,
		RunE:      func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.device, "device", "cpu", "cpu, torch or cuda:N")
	fl.BoolVar(&f.fast, "fast", false, "leave exact mode where the device has a faster one; then nothing is checked first")
	fl.StringVar(&f.shape, "shape", "15m", "1m, 15m, 135m, 0.5b, 0.6b, 1.5b or 7b")
	fl.StringVar(&f.dtype, "dtype", "f32", "of products: f32 or bf16; attention and adamw are f32")
	fl.StringVar(&f.class, "bf16-class", "", "how bf16 sums: fma, dot or tile; empty: dot where the machine has it, else fma")
	fl.StringVar(&f.model, "model", "", "of tokenize: a model folder, its tokenizer.json, or a .gguf file")
	fl.IntSliceVar(&f.rows, "rows", []int{1, 4, 8, 64, 512}, "of gemm: rows M")
	fl.IntVar(&f.load.Batch, "batch", 8, "sequences at once")
	fl.IntVar(&f.load.Prompt, "prompt-len", 64, "tokens of a prompt")
	fl.IntVar(&f.load.New, "new-tokens", 32, "tokens after it")
	fl.IntVar(&f.load.Prompts, "prompts", 8, "of step: prompts")
	fl.IntVar(&f.load.Group, "group", 8, "of step: samples of each prompt")
	fl.BoolVar(&f.load.SharePrompt, "share-prompt", false, "of step: train a group's prompt once for all its samples")
	fl.IntVar(&f.options.Rounds, "rounds", 7, "undisturbed rounds wanted")
	fl.DurationVar(&f.options.MinTime, "min-time", 200*time.Millisecond, "of one measurement")
	fl.IntVar(&f.threads, "threads", 0, "threads; 0: R1_THREADS, else one a core")
	fl.StringVar(&f.isa, "isa", "", "portable, avx2, avx512 or neon; empty: R1_ISA, else the best here")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command, what string) error {
	bf16 := f.dtype == "bf16"
	if f.dtype != "f32" && !bf16 || bf16 && slices.Contains([]string{"attention", "adamw", "tokenize"}, what) {
		return fmt.Errorf("%w: --dtype is %q: want f32, or bf16 where there are products of weights", errUsage, f.dtype)
	}
	f.load.BF16, f.options.BF16 = bf16, bf16
	o, err := deviceOptions(f.threads, f.isa)
	if err != nil {
		return err
	}
	o.BF16, o.Fast = f.class, f.fast
	dev, err := kernels.Open(f.device, o)
	if err != nil {
		return err
	}
	if !f.fast {
		if err := bench.Contract(cmd.Context(), dev, bf16); err != nil {
			return errors.Join(err, dev.Close())
		}
	}
	cases, err := f.cases(dev, what)
	if err != nil {
		return errors.Join(err, dev.Close())
	}
	rows, err := bench.Measure(cmd.Context(), dev, cases, f.options)
	if err := errors.Join(err, bench.CloseAll(cases), dev.Close()); err != nil {
		return err
	}
	return printBench(cmd.OutOrStdout(), rows, f.asJSON)
}

func (f *benchFlags) cases(dev *kernels.Device, what string) ([]bench.Case, error) {
	if what == "tokenize" {
		if err := required("--model", f.model); err != nil {
			return nil, err
		}
		tok, err := loadTokenizer(f.model)
		if err != nil {
			return nil, err
		}
		return bench.Tokenize(tok), nil
	}
	cases, err := bench.Cases(dev, what, f.shape, f.rows, f.load)
	if errors.Is(err, bench.ErrUnknown) {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return cases, err
}

func printBench(w io.Writer, rows []bench.Result, asJSON bool) error {
	enc := json.NewEncoder(w)
	for i, r := range rows {
		if asJSON {
			if err := enc.Encode(r); err != nil {
				return err
			}
			continue
		}
		if i == 0 {
			fmt.Fprintf(w, "%s; measured beside: %.0f GFLOP/s %s, %.1f GB/s copy; medians of %d rounds, %d disturbed\n", r.Device, r.Peak/1e9, r.DType, r.Copy/1e9, r.Rounds, r.Void)
			if r.Disturbed != "" {
				fmt.Fprintf(w, "NOT AN IDLE MACHINE: %s\n", r.Disturbed)
			}
		}
		fmt.Fprintf(w, "%-44s %12.1f %-9s", r.Name, r.Value, r.Unit)
		if r.Limit > 0 {
			fmt.Fprintf(w, " limit %10.1f  share %3.0f %%", r.Limit, 100*r.Share)
		}
		if r.PlannedBytes > 0 {
			fmt.Fprintf(w, "  peak memory %.2f GB of %.2f planned", float64(r.PeakBytes)/1e9, float64(r.PlannedBytes)/1e9)
		}
		fmt.Fprintln(w)
	}
	return nil
}
