package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A measurement, its file, and the comparison with another one on the same problems.
func TestEval(t *testing.T) {
	dir := t.TempDir()
	rows := filepath.Join(dir, "rows.jsonl")
	require.NoError(t, os.WriteFile(rows, []byte(`{"prompt":"one","answer":"1"}`+"\n"+`{"prompt":"two and","answer":"2"}`+"\n"), 0o644))
	out := filepath.Join(dir, "out.jsonl")
	args := []string{"eval", "--model_name_or_path", textModel(t), "--dataset_name", rows, "--split", "train", "--prompt_template", "none", "--max_completion_length", "8", "--json"}
	code, stdout, stderr := call(append(args, "--out", out, "--temperature", "1")...)
	require.Zero(t, code, stderr)
	var r map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.Equal(t, 2.0, r["problems"])
	require.Equal(t, 0.0, r["pass@1"])

	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(text), "\n"))
	better := filepath.Join(dir, "better.jsonl") // as if another model had both right
	require.NoError(t, os.WriteFile(better, []byte(strings.ReplaceAll(string(text), `"accuracy":0`, `"accuracy":1`)), 0o644))
	code, stdout, stderr = call(append(args, "--against", better)...)
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.Equal(t, -1.0, r["difference"])
	require.Equal(t, 0.5, r["p_mcnemar"], "two problems lost, none won")
	both := filepath.Join(dir, "both.jsonl") // two scores of the same completions
	code, stdout, stderr = call(append(args, "--out", both, "--score", "last_number,accuracy")...)
	require.Zero(t, code, stderr)
	require.Equal(t, 2, strings.Count(stdout, "\n"))
	require.Contains(t, stdout, `"score":"last_number"`)
	code, stdout, stderr = call(append(args, "--against", both, "--score", "accuracy,last_number")...)
	require.Zero(t, code, stderr)
	require.Equal(t, 2, strings.Count(stdout, `"difference":0,`), stdout)
	code, stdout, _ = call(append(args[:len(args)-1], "--score", "last_number", "--samples", "3", "--temperature", "1")...)
	require.Zero(t, code)
	require.Contains(t, stdout, "right (95 % interval")

	one := filepath.Join(dir, "one.jsonl")
	require.NoError(t, os.WriteFile(one, []byte(strings.SplitAfter(string(text), "\n")[0]), 0o644))
	for want, more := range map[string][]string{
		"there is no score last_number": {"--against", out, "--score", "last_number"}, "each at most once": {"--score", "accuracy,accuracy"},
		"has 1 problems, this measurement 2": {"--against", one}, `score is "luck"`: {"--score", "luck"}, "no such file": {"--against", filepath.Join(dir, "none")}, "dataset_name is missing": {"--dataset_name", ""},
	} {
		code, _, stderr = call(append(args, more...)...)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, want)
	}
}
