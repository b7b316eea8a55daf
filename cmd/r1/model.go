package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/hub"
)

// modelFlags are the flags of commands that run a model.
type modelFlags struct {
	model, revision, device, isa string
	threads                      int
	bf16                         bool
}

func (f *modelFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.model, "model", "", "a Hugging Face model folder, a .gguf file, or an id org/name to download (required)")
	cmd.Flags().StringVar(&f.revision, "revision", "", "of an id: branch, tag or commit; empty: main")
	cmd.Flags().StringVar(&f.device, "device", "cpu", "where it runs")
	cmd.Flags().IntVar(&f.threads, "threads", 0, "threads; 0: R1_THREADS, else one a core")
	cmd.Flags().BoolVar(&f.bf16, "bf16", false, "compute products of weights in bf16, as a run with bf16: true does")
	cmd.Flags().StringVar(&f.isa, "isa", "", "portable, avx2, avx512 or neon; empty: R1_ISA, else the best here")
}

// open loads the model, after which f.model is its folder. The returned function frees it and its device.
func (f *modelFlags) open(cmd *cobra.Command) (*model.LM, func() error, error) {
	if err := required("--model", f.model); err != nil {
		return nil, nil, err
	}
	dir, err := findModel(cmd, f.model, f.revision)
	if err != nil {
		return nil, nil, err
	}
	f.model = dir
	o, err := deviceOptions(f.threads, f.isa)
	if err != nil {
		return nil, nil, err
	}
	dev, err := kernels.Open(f.device, o)
	if err != nil {
		return nil, nil, err
	}
	var how model.Options
	if f.bf16 {
		how.DType = kernels.BF16
	}
	m, err := model.Load(dev, f.model, how)
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	return m, func() error { return errors.Join(m.Close(), dev.Close()) }, nil
}

// findModel returns the folder of a model that is one already, or is downloaded with the settings that Python would use. files are
// the names or patterns wanted; none: all that a model needs.
func findModel(cmd *cobra.Command, dirOrID, revision string, files ...string) (string, error) {
	o, err := hub.FromEnviron(os.Getenv)
	if err != nil {
		return "", err
	}
	live := progress.New(os.Stderr)
	defer live.Clear()
	o.Revision, o.Files = revision, files
	o.Progress = func(p hub.Progress) {
		live.Show(float64(p.Bytes)/float64(max(p.Total, 1)), "%s: %d of %d files, %.1f of %.1f MB", dirOrID, p.Done, p.Files, float64(p.Bytes)/1e6, float64(p.Total)/1e6)
	}
	return hub.Resolve(cmd.Context(), dirOrID, o)
}

// tokenizerFiles are what a tokenizer is read from.
var tokenizerFiles = []string{"tokenizer*.json", "special_tokens_map*.json"}

func required(flag, value string) error {
	if value == "" {
		return fmt.Errorf("%w: %s is missing; see --help", errUsage, flag)
	}
	return nil
}

// noArgs refuses arguments that are not flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %s takes no arguments, got %q", errUsage, cmd.CommandPath(), args[0])
	}
	return nil
}
