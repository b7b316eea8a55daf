//go:build cgo

package kernels_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/kernels/libtorch"
)

// Not a test by itself: a process of its own opens a device of the name, beside whatever libraries the test has put in its way, and prints
// what that said.
func TestOpenInChild(t *testing.T) {
	name := os.Getenv("R1_TEST_OPEN")
	if name == "" {
		return
	}
	_, err := kernels.Open(name)
	fmt.Printf("said: %v\n", err)
}

// library compiles C text to a shared library.
func library(t *testing.T, path, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	cmd := exec.Command("cc", "-shared", "-fPIC", "-x", "c", "-", "-o", path)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// driver is a stand-in for NVIDIA's, which starts with a result and has so many devices.
func driver(t *testing.T, result, devices int) (dir string) {
	dir = t.TempDir()
	library(t, filepath.Join(dir, "libcuda.so.1"), fmt.Sprintf("int cuInit(unsigned f) { (void)f; return %d; } int cuDeviceGetCount(int *n) { *n = %d; return 0; }", result, devices))
	return dir
}

// torchOf is a stand-in for a libtorch with a backend of the given C text compiled for it, in a cache of its own.
func torchOf(t *testing.T, text string) (cache string) {
	cache = t.TempDir()
	dir := t.TempDir()
	library(t, filepath.Join(dir, "lib", "libtorch_cpu.so"), "int nothing;")
	header := filepath.Join(dir, "include", "torch", "headeronly", "version.h")
	require.NoError(t, os.MkdirAll(filepath.Dir(header), 0o755))
	require.NoError(t, os.WriteFile(header, []byte("#define TORCH_VERSION \"2.11.0\"\n"), 0o644))
	t.Setenv("XDG_CACHE_HOME", cache)
	torch, err := libtorch.At(dir)
	require.NoError(t, err)
	compiler, backend := filepath.Join(t.TempDir(), "c++"), filepath.Join(t.TempDir(), "backend.so")
	if library(t, backend, text); text == "" {
		require.NoError(t, os.WriteFile(backend, []byte("not a library"), 0o644))
	}
	require.NoError(t, os.WriteFile(compiler, []byte("#!/bin/sh\ncp "+backend+" torch.o\ncp "+backend+" libr1.so\n"), 0o755))
	_, err = libtorch.Setup(context.Background(), torch, libtorch.Options{Compiler: compiler})
	require.NoError(t, err)
	return cache
}

// Whatever is missing or wrong between a name and a GPU has a sentence of its own, with the next step. What needs a GPU is not here: a device whose
// memory is taken, kernels that do not load on it.
func TestOpenSays(t *testing.T) {
	empty := t.TempDir()
	says := `char *r1_open(unsigned abi, void *out) { (void)abi; (void)out; char *m = __builtin_malloc(80); __builtin_strcpy(m, "%s"); return m; }`
	for want, at := range map[string]struct{ device, driver, cache string }{
		"kernels: open cuda:1: the NVIDIA driver does not start (error 999): see nvidia-smi": {"cuda:1", driver(t, 999, 0), empty},
		"kernels: open cuda:1: the driver has 1 devices: the first is cuda:0":                {"cuda:1", driver(t, 0, 1), empty},
		"kernels: open cuda:0: the driver has 0 devices":                                     {"cuda:0", driver(t, 0, 0), empty},
		"kernels: open cuda:1: no libtorch is set up here; run: r1 setup torch":              {"cuda:1", driver(t, 0, 2), empty},
		"kernels: open torch: no libtorch is set up here; run: r1 setup torch":               {"torch", "", empty},
		"kernels: open torch: the shim has ABI 9, the caller 2: run r1 setup torch":          {"torch", "", torchOf(t, fmt.Sprintf(says, "the shim has ABI 9, the caller 2: run r1 setup torch"))},
		"kernels: open torch: the backend's file has no r1_open: run r1 setup torch":         {"torch", "", torchOf(t, "int nothing_here;")},
		"kernels: open torch: load the backend: ":                                            {"torch", "", torchOf(t, "")},
		"where it was built for another libtorch, run: r1 setup torch":                       {"torch", "", torchOf(t, "extern int of_another_version(void); int r1_open(void) { return of_another_version(); }")},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOpenInChild$", "-test.v")
		cmd.Env = append(os.Environ(), "R1_TEST_OPEN="+at.device, "XDG_CACHE_HOME="+at.cache, "LD_LIBRARY_PATH="+at.driver)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		_, said, ok := strings.Cut(string(out), "said: ")
		require.True(t, ok, "%s", out)
		said, _, _ = strings.Cut(said, "\n")
		require.Contains(t, said, want)
	}
}

// Where there is no driver, that is said first, whatever else is missing.
func TestOpenWithoutDriver(t *testing.T) {
	if paths, _ := filepath.Glob("/usr/lib/*/libcuda.so.1"); len(paths) > 0 {
		t.Skip("there is a driver here")
	}
	_, err := kernels.Open("cuda:1")
	require.EqualError(t, err, `kernels: open cuda:1: no NVIDIA driver: libcuda.so.1 is not found; install the driver, or use "cpu"`)
}
