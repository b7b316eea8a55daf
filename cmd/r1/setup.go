package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/kernels/libtorch"
)

func newSetup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Prepare what other devices than cpu need",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSetupTorch())
	return cmd
}

func newSetupTorch() *cobra.Command {
	var dir, python string
	var download bool
	var archs []string
	cmd := &cobra.Command{
		Use:   "torch",
		Short: "Compile the libtorch backend, for --device torch and cuda:N",
		Long: "Finds libtorch (--torch, else the folder in LIBTORCH, else the torch of --python), compiles the backend for it with a C++ compiler (CXX,\n" +
			"else g++; about 10 seconds) into the user's cache, and opens it once. Without --download no network is used.\n\n" +
			"CUDA kernels are compiled when a GPU is first opened, or ahead by --cuda-arch, with the NVRTC of libtorch's packages; no GPU is needed.",
		Example: "  r1 setup torch\n  r1 setup torch --torch venv/lib/python3.12/site-packages/torch\n  r1 setup torch --download\n  r1 setup torch --cuda-arch sm_90a,sm_100",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := libtorch.Options{Compiler: os.Getenv("CXX"), Progress: func(m string) { fmt.Fprintln(cmd.ErrOrStderr(), m) }}
			t, err := findTorch(cmd.Context(), dir, python, download, o)
			if err != nil {
				return err
			}
			o.Progress(fmt.Sprintf("found libtorch %s in %s", t.Version, t.Dir))
			in, err := libtorch.Setup(cmd.Context(), t, o)
			if err != nil {
				return err
			}
			for _, arch := range archs {
				if _, err := libtorch.Kernels(cmd.Context(), in, arch, o); err != nil {
					return err
				}
			}
			dev, err := kernels.Open("torch", kernels.Options{LibTorch: in.Dir})
			if err != nil {
				return err
			}
			defer dev.Close()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ready: --device torch is %s\n", dev)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "torch", "", "folder of libtorch, or of a Python environment with torch 2.11 or newer")
	cmd.Flags().StringVar(&python, "python", "python3", "Python to ask for torch, and to download with")
	cmd.Flags().BoolVar(&download, "download", false, "install torch's wheel by pip into the user's cache (530 MB; 1.3 GB on disk; for the CPU)")
	cmd.Flags().StringSliceVar(&archs, "cuda-arch", nil, "compile the CUDA kernels ahead for these architectures, such as sm_80, sm_90a or sm_100")
	return cmd
}

// findTorch looks where the user said, else in LIBTORCH, else in a Python.
func findTorch(ctx context.Context, dir, python string, download bool, o libtorch.Options) (libtorch.Torch, error) {
	if download {
		return libtorch.Download(ctx, python, o)
	}
	if dir == "" {
		dir = os.Getenv("LIBTORCH")
	}
	if dir != "" {
		return libtorch.At(dir)
	}
	tried := []string{python}
	if venv := os.Getenv("VIRTUAL_ENV"); venv != "" {
		tried = append([]string{filepath.Join(venv, "bin", "python")}, tried...)
	}
	var why []string
	for _, p := range tried {
		t, err := libtorch.InPython(ctx, p)
		if err == nil {
			return t, nil
		}
		why = append(why, err.Error())
	}
	return libtorch.Torch{}, fmt.Errorf("no libtorch was found: give --torch DIR, set LIBTORCH, or let r1 setup torch --download fetch it; %s", strings.Join(why, "; "))
}
