package libtorch_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels/libtorch"
)

// installed is a libtorch of nothing but a backend's folder, in site-packages as pip has it, and the folder of its NVRTC.
func installed(t *testing.T) (libtorch.Installed, string) {
	cache(t)
	packages := t.TempDir()
	torch, nvrtc := filepath.Join(packages, "torch"), filepath.Join(packages, "nvidia", "cu13", "lib")
	require.NoError(t, os.MkdirAll(nvrtc, 0o755))
	require.NoError(t, os.Mkdir(torch, 0o755))
	return libtorch.Installed{Torch: libtorch.Torch{Dir: torch, Version: "2.11.0"}, Shim: filepath.Join(t.TempDir(), "libr1.so")}, nvrtc
}

// Each file of kernels is compiled once for each architecture, with its headers and without contraction of products and sums; progress is told.
func TestKernels(t *testing.T) {
	compiler, err := exec.LookPath("gcc")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("a stand-in for NVRTC is compiled with gcc, for Linux; to run this test there: apt-get install gcc")
	}
	in, folder := installed(t)
	require.NoError(t, exec.Command(compiler, "-shared", "-fPIC", "-o", filepath.Join(folder, "libnvrtc.so.99"), "testdata/nvrtc.c").Run())
	var said []string
	o := libtorch.Options{Progress: func(m string) { said = append(said, m) }}
	dir, err := libtorch.Kernels(context.Background(), in, "sm_90a", o)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(in.Shim), "sm_90a-nvrtc99.1"), dir)
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, said, len(made), "a line of progress each")
	require.Contains(t, said[0], "for sm_90a with NVRTC 99.1: 1 of ")
	for _, name := range []string{"attn", "draw", "elem", "gemm", "gemm16", "head", "norm", "optim", "rows"} {
		code, err := os.ReadFile(filepath.Join(dir, name+".cubin"))
		require.NoError(t, err)
		for _, want := range []string{name + ".cu:", "gpu.h", "args.h", "--gpu-architecture=sm_90a", "--fmad=false"} {
			require.Contains(t, string(code), want)
		}
	}
	again, err := libtorch.Kernels(context.Background(), in, "sm_90a", o)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Contains(t, said[len(said)-1], "are compiled already")

	_, err = libtorch.Kernels(context.Background(), in, "sm_11", o)
	require.ErrorContains(t, err, "for sm_11 with NVRTC 99.1: NVRTC_ERROR_COMPILATION error: invalid value")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = libtorch.Kernels(cancelled, in, "sm_80", o)
	require.ErrorIs(t, err, context.Canceled)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(in.Shim), "*"))
	require.NoError(t, err)
	require.Equal(t, []string{dir}, left, "nothing half made is left")
}

func TestKernelsRefused(t *testing.T) {
	in, folder := installed(t)
	for _, arch := range []string{"", "90", "sm_9", "sm_90 --evil", "../sm_90", "compute_90"} {
		_, err := libtorch.Kernels(context.Background(), in, arch, libtorch.Options{})
		require.ErrorContains(t, err, "want one such as sm_80, sm_90a or sm_100")
	}
	_, err := libtorch.Kernels(context.Background(), in, "sm_90", libtorch.Options{})
	require.ErrorContains(t, err, "no NVRTC beside libtorch in "+in.Dir)
	require.ErrorContains(t, err, "pip install nvidia-cuda-nvrtc")
	if runtime.GOOS != "linux" {
		return
	}
	put(t, filepath.Join(folder, "libnvrtc.so.13"), "no library")
	_, err = libtorch.Kernels(context.Background(), in, "sm_90", libtorch.Options{})
	require.ErrorContains(t, err, "load NVRTC: ")
	require.NotContains(t, strings.TrimSpace(err.Error()), "\n")
	_, err = libtorch.Arch(1000)
	require.ErrorContains(t, err, "NVIDIA driver") // there is none, or it has no such device
}

// The kernels' text runs on the host: products have the bits of one chain of fma, attention those of its decoding row by row; and the
// emulator shows a barrier that is missing, or that some threads never reach.
func TestKernelsEmulated(t *testing.T) {
	compiler, err := exec.LookPath("g++")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("the kernels are emulated on Linux, by g++; to run this test there: apt-get install g++")
	}
	program := filepath.Join(t.TempDir(), "emulate")
	said, err := exec.Command(compiler, "-std=c++20", "-O1", "-DR1_EMULATE", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Werror",
		"-I../internal/native/shim", "testdata/emulate.cpp", "-o", program).CombinedOutput()
	require.NoError(t, err, string(said))
	said, err = exec.Command(program).CombinedOutput()
	require.NoError(t, err, string(said))
	require.Equal(t, "emulated\n", string(said))
}
