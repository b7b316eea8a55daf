package libtorch_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels/libtorch"
)

// fake makes a folder that looks like a libtorch of the given version; "": one without a version.
func fake(t *testing.T, version string) string {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "lib", "libtorch_cpu.so"), "no library")
	if version != "" {
		put(t, filepath.Join(dir, "include", "torch", "headeronly", "version.h"), "#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION \\\n  \""+version+"\"\n")
	}
	return dir
}

func put(t *testing.T, path, text string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}

// cache gives the test a cache of its own.
func cache(t *testing.T) string {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir()) // where there is no XDG_CACHE_HOME
	dir, err := libtorch.Cache()
	require.NoError(t, err)
	return dir
}

func TestAt(t *testing.T) {
	for _, version := range []string{"2.11.0", "2.15.1", "3.0.0"} {
		got, err := libtorch.At(fake(t, version))
		require.NoError(t, err)
		require.Equal(t, version, got.Version)
		require.Equal(t, filepath.Join(got.Dir, "lib"), got.Lib())
	}
	env := t.TempDir()
	inside := filepath.Join(env, "lib", "python3.12", "site-packages")
	require.NoError(t, os.MkdirAll(inside, 0o755))
	require.NoError(t, os.Rename(fake(t, "2.11.0"), filepath.Join(inside, "torch")))
	for _, dir := range []string{env, inside, filepath.Join(inside, "torch")} {
		got, err := libtorch.At(dir)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(inside, "torch"), got.Dir)
	}
	for want, dir := range map[string]string{
		"no lib/libtorch_cpu.so in": t.TempDir(), "it is older than 2.11": fake(t, ""), "has version 2.9.1, want 2.11 or newer": fake(t, "2.9.1"), "has version 1.13.0": fake(t, "1.13.0"),
	} {
		_, err := libtorch.At(dir)
		require.ErrorContains(t, err, want)
	}
}

func TestFind(t *testing.T) {
	dir := cache(t)
	_, err := libtorch.Find("")
	require.ErrorIs(t, err, libtorch.ErrNoTorch)
	require.ErrorContains(t, err, "run: r1 setup torch")
	torch := fake(t, "2.11.0")
	_, err = libtorch.Find(torch)
	require.ErrorContains(t, err, "the backend is not compiled for libtorch 2.11.0 in "+torch+"; run: r1 setup torch --torch "+torch)
	put(t, filepath.Join(dir, "last"), filepath.Join(torch, "gone")+"\n")
	_, err = libtorch.Find("")
	require.ErrorContains(t, err, "is gone or changed: run r1 setup torch again")
}

// A compiler that is missing, or fails, is named with what it said; nothing half made is left.
func TestSetupFails(t *testing.T) {
	dir := cache(t)
	torch, err := libtorch.At(fake(t, "2.11.0"))
	require.NoError(t, err)
	_, err = libtorch.Setup(context.Background(), torch, libtorch.Options{Compiler: "no-such-compiler"})
	require.ErrorContains(t, err, "no C++ compiler no-such-compiler; install one: apt-get install g++")
	broken := filepath.Join(t.TempDir(), "c++")
	put(t, broken, "#!/bin/sh\necho 'ATen/ATen.h: No such file or directory' >&2\nexit 1\n")
	var said []string
	_, err = libtorch.Setup(context.Background(), torch, libtorch.Options{Compiler: broken, Progress: func(m string) { said = append(said, m) }})
	require.ErrorContains(t, err, "compile the backend for libtorch 2.11.0 in "+torch.Dir)
	require.ErrorContains(t, err, "ATen/ATen.h: No such file")
	require.Contains(t, strings.Join(said, "\n"), "compiling the backend for libtorch 2.11.0")
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = libtorch.Find("")
	require.ErrorIs(t, err, libtorch.ErrNoTorch)
}

// With a compiler that works the backend is made once, found by name and without one; its source is all there.
func TestSetup(t *testing.T) {
	dir := cache(t)
	torch, err := libtorch.At(fake(t, "2.12.3"))
	require.NoError(t, err)
	compiler := filepath.Join(t.TempDir(), "c++")
	put(t, compiler, "#!/bin/sh\nset -e\nls r1.h r1.map shim.h elem.h matrix.h attn.h head.h own.h driver.h torch.cpp cuda/gpu.h cuda/attn.cu >/dev/null\necho \"$@\" >>"+filepath.Join(dir, "calls")+"\nfor last; do :; done\ncase \"$*\" in *-shared*) cp torch.cpp libr1.so;; esac\n")
	var said []string
	o := libtorch.Options{Compiler: compiler, Progress: func(m string) { said = append(said, m) }}
	made, err := libtorch.Setup(context.Background(), torch, o)
	require.NoError(t, err)
	require.FileExists(t, made.Shim)
	again, err := libtorch.Setup(context.Background(), torch, o)
	require.NoError(t, err)
	require.Equal(t, made, again)
	require.Contains(t, said[len(said)-1], "is compiled already")
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(calls), "\n"), "one compilation, one link")
	for _, name := range []string{"", torch.Dir} {
		found, err := libtorch.Find(name)
		require.NoError(t, err)
		require.Equal(t, made, found)
	}
	other, err := libtorch.At(fake(t, "2.13.0"))
	require.NoError(t, err)
	_, err = libtorch.Find(other.Dir)
	require.ErrorContains(t, err, "not compiled for libtorch 2.13.0")
}

func TestInPython(t *testing.T) {
	torch := fake(t, "2.11.0")
	python := filepath.Join(t.TempDir(), "python")
	put(t, python, "#!/bin/sh\necho "+torch+"\n")
	got, err := libtorch.InPython(context.Background(), python)
	require.NoError(t, err)
	require.Equal(t, torch, got.Dir)
	put(t, python, "#!/bin/sh\necho\n")
	_, err = libtorch.InPython(context.Background(), python)
	require.ErrorContains(t, err, "has no torch; install it: "+python+" -m pip install torch")
	_, err = libtorch.InPython(context.Background(), filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "ask ")
}
