package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is missing is named, with the next step; .ci/torch/run goes through with a real libtorch.
func TestSetupRefuses(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("VIRTUAL_ENV", "")
	t.Setenv("LIBTORCH", "")
	code, _, stderr := call("setup", "torch", "--python", "no-such-python")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no libtorch was found: give --torch DIR, set LIBTORCH, or let r1 setup torch --download fetch it")
	require.Contains(t, stderr, "no-such-python")
	dir := t.TempDir()
	code, _, stderr = call("setup", "torch", "--torch", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no lib/libtorch_cpu.so in "+dir)
	t.Setenv("LIBTORCH", dir)
	code, _, stderr = call("setup", "torch")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no lib/libtorch_cpu.so in "+dir)
	code, _, _ = call("setup", "tpu")
	require.Equal(t, 2, code)
	code, stdout, _ := call("setup")
	require.Zero(t, code)
	require.Contains(t, stdout, "torch")
}
