package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/kernels"
)

// environment is what r1 env prints.
type environment struct {
	Version string            `json:"version"`
	Go      string            `json:"go"`
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	Device  string            `json:"device"`
	ISA     string            `json:"isa"`
	Threads int               `json:"threads"`
	Exact   bool              `json:"exact"`
	Memory  int64             `json:"memory_bytes"`
	Peak    float64           `json:"peak_f32_gflops,omitempty"`
	Copy    float64           `json:"peak_copy_gbytes,omitempty"`
	Others  map[string]string `json:"other_devices"` // what they are, or why they do not open
}

func newEnv() *cobra.Command {
	var measure, asJSON bool
	var threads int
	var isa string
	cmd := &cobra.Command{
		Use:     "env",
		Short:   "Print what this machine offers, for bug reports",
		Long:    "Print version, platform, devices and instruction set. R1_THREADS and R1_ISA are read where --threads and --isa are not given.",
		Example: "  r1 env\n  r1 env --measure --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: r1 env takes no arguments, got %q", errUsage, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := deviceOptions(threads, isa)
			if err != nil {
				return err
			}
			env, err := inspect(o, measure)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(env)
			}
			env.print(cmd)
			return nil
		},
	}
	cmd.Flags().BoolVar(&measure, "measure", false, "measure the machine's fp32 peak and copy rate (about a second)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVar(&threads, "threads", 0, "threads; 0: R1_THREADS, else one a core")
	cmd.Flags().StringVar(&isa, "isa", "", "portable, avx2, avx512 or neon; empty: R1_ISA, else the best here")
	return cmd
}

// deviceOptions fills in what the environment says; only commands read it.
func deviceOptions(threads int, isa string) (kernels.Options, error) {
	if env := os.Getenv("R1_THREADS"); threads == 0 && env != "" {
		n, err := strconv.Atoi(env)
		if err != nil {
			return kernels.Options{}, fmt.Errorf("%w: R1_THREADS is %q, want a number", errUsage, env)
		}
		threads = n
	}
	if isa == "" {
		isa = os.Getenv("R1_ISA")
	}
	return kernels.Options{Threads: threads, ISA: isa}, nil
}

func inspect(o kernels.Options, measure bool) (environment, error) {
	dev, err := kernels.Open("cpu", o)
	if err != nil {
		return environment{}, err
	}
	defer dev.Close()
	env := environment{
		Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Device: dev.Name(), ISA: dev.ISA(), Threads: dev.Threads(),
		Exact: dev.Exact(), Memory: dev.Memory(), Others: map[string]string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		env.Version = info.Main.Version
	}
	for _, name := range []string{"torch", "cuda:0"} {
		other, err := kernels.Open(name)
		if err != nil {
			env.Others[name] = "no: " + err.Error()
			continue
		}
		env.Others[name] = other.String()
		if err := other.Close(); err != nil {
			return env, err
		}
	}
	if !measure {
		return env, nil
	}
	for limit, to := range map[string]*float64{kernels.PeakF32: &env.Peak, kernels.PeakCopy: &env.Copy} {
		v, err := dev.Measure(limit, 0.5)
		if err != nil {
			return env, err
		}
		*to = v / 1e9
	}
	return env, nil
}

func (e environment) print(cmd *cobra.Command) {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "gor1     %s\ngo       %s %s/%s\ndevice   %s, %s, %d threads, exact %v\nmemory   %.1f GiB\n", e.Version, e.Go, e.OS, e.Arch, e.Device, e.ISA, e.Threads, e.Exact, float64(e.Memory)/(1<<30))
	if e.Peak > 0 {
		fmt.Fprintf(w, "measured %.0f GFLOP/s fp32, %.1f GB/s copy\n", e.Peak, e.Copy)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Others)) {
		fmt.Fprintf(w, "%-8s %s\n", name, e.Others[name])
	}
}
