package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// modelFlags are the flags of commands that run a model.
type modelFlags struct {
	model, device, isa string
	threads            int
}

func (f *modelFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.model, "model", "", "a Hugging Face model folder (required)")
	cmd.Flags().StringVar(&f.device, "device", "cpu", "where it runs")
	cmd.Flags().IntVar(&f.threads, "threads", 0, "threads; 0: R1_THREADS, else one a core")
	cmd.Flags().StringVar(&f.isa, "isa", "", "portable, avx2, avx512 or neon; empty: R1_ISA, else the best here")
}

// open loads the model. The returned function frees it and its device.
func (f *modelFlags) open() (*model.LM, func() error, error) {
	if err := required("--model", f.model); err != nil {
		return nil, nil, err
	}
	o, err := deviceOptions(f.threads, f.isa)
	if err != nil {
		return nil, nil, err
	}
	dev, err := kernels.Open(f.device, o)
	if err != nil {
		return nil, nil, err
	}
	m, err := model.Load(dev, f.model, model.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	return m, func() error { return errors.Join(m.Close(), dev.Close()) }, nil
}

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
