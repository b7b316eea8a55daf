package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line a run, a panel a metric; a metric that a run lacks is named with those it has.
func TestCurves(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "{\"step\":1,\"reward\":0.25,\"loss\":null}\n{\"step\":2,\"reward\":0.5,\"loss\":1}\n", "b": "{\"step\":1,\"reward\":0.75}\n{\"step\":2,\"reward\":1}\n"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "metrics.jsonl"), []byte(text), 0o644))
	}
	out := filepath.Join(dir, "both.svg")
	code, stdout, stderr := call("curves", filepath.Join(dir, "a"), "other="+filepath.Join(dir, "b"), "--fields", "reward", "--out", out, "--title", "two <runs>")
	require.Zero(t, code, stderr)
	require.Equal(t, out+"\n", stdout)
	svg, err := os.ReadFile(out)
	require.NoError(t, err)
	for _, want := range []string{">a</text>", ">other</text>", ">reward</text>", "two &lt;runs&gt;", "M46.0 "} {
		require.Contains(t, string(svg), want)
	}
	code, _, stderr = call("curves", filepath.Join(dir, "b"), "--fields", "loss", "--out", out)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, `has no metric "loss"; it has reward`)
	code, _, stderr = call("curves", dir, "--out", out)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "metrics.jsonl")
	code, _, _ = call("curves")
	require.Equal(t, 2, code)
}
