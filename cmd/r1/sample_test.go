package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kept reads the rows of a set.
func kept(t *testing.T, dir string) (rows []map[string]any, text string) {
	b, err := os.ReadFile(filepath.Join(dir, "kept.jsonl"))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		var row map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		rows = append(rows, row)
	}
	return rows, string(b)
}

// taught is a model that writes whole words.
func taught(t *testing.T) string {
	texts, out := filepath.Join(t.TempDir(), "train.jsonl"), filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(texts, []byte(`{"text":"one and one are two"}`+"\n"+`{"text":"one and two are three"}`+"\n"+`{"text":"two and two are four"}`+"\n"), 0o644))
	code, _, stderr := call("sft", "--model_name_or_path", textModel(t), "--dataset_name", texts, "--output_dir", out, "--learning_rate", "1e-2", "--max_steps", "60", "--json")
	require.Zero(t, code, stderr)
	return filepath.Join(out, "checkpoint-60")
}

// A set is drawn once, chosen from again and again, and learnt by SFT; a run's rollouts are chosen from, too.
func TestSample(t *testing.T) {
	model, data, out := taught(t), problems(t), filepath.Join(t.TempDir(), "set")
	draws := []string{"sample", "--model", model, "--dataset_name", data, "--output_dir", out, "--n", "6", "--max_completion_length", "12", "--prompt_template", "none", "--max_prompt_length", "40", "--temperature", "0.7",
		"--reward_funcs", "repetition_penalty", "--repetition_n_grams", "1", "--prompts_per_file", "2", "--keep_truncated"}
	args := append(draws, "--keep", "repetition_penalty>=-0.6", "--json")
	code, stdout, stderr := call(args...)
	require.Zero(t, code, stderr)
	var s struct {
		Groups, Drawn, Kept int
		Dropped             map[string]int
		File                string
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &s), stdout)
	require.Equal(t, [...]int{3, 18}, [...]int{s.Groups, s.Drawn})
	rows, text := kept(t, out)
	require.Len(t, rows, s.Kept)
	dropped := 0
	for _, n := range s.Dropped {
		dropped += n
	}
	require.Equal(t, 18, s.Kept+dropped)
	require.Greater(t, s.Kept, 2, stdout)
	source := rows[0]["source"].(map[string]any)
	require.Len(t, source["sha256"], 64)
	require.Equal(t, 42.0, source["seed"])
	require.Contains(t, rows[0]["id"], "train.jsonl")
	require.Contains(t, rows[0]["scores"], "repetition_penalty")

	// A file that is gone is drawn again, to the byte.
	require.NoError(t, os.Remove(filepath.Join(out, "rollouts", "step-000001.jsonl")))
	code, _, stderr = call(args...)
	require.Zero(t, code, stderr)
	_, again := kept(t, out)
	require.Equal(t, text, again)

	// Another choice draws nothing; and may write conversations.
	code, _, stderr = call(append(draws, "--keep", "", "--choose", "shortest", "--choose_n", "1", "--format", "messages")...)
	require.Zero(t, code, stderr)
	rows, _ = kept(t, out)
	require.Len(t, rows, 3)
	require.Equal(t, []any{map[string]any{"role": "user", "content": "one and one"}}, rows[0]["prompt"])

	// What is in an evaluation set goes.
	code, stdout, stderr = call(append(draws, "--keep", "", "--decontaminate", filepath.Join(data, "train.jsonl")+":train", "--json")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"kept":0`)
	require.Contains(t, stdout, `"in an evaluation set":`)

	code, _, stderr = call(append(args, "--temperature", "0.8")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "temperature was 0.7 and is now 0.8")
	code, _, stderr = call(append(args, "--temperature", "0.8", "--overwrite_output_dir")...)
	require.Zero(t, code, stderr)

	code, _, stderr = call("sft", "--model_name_or_path", model, "--dataset_name", filepath.Join(out, "kept.jsonl"), "--output_dir", filepath.Join(t.TempDir(), "sft"), "--max_steps", "2", "--json")
	require.Zero(t, code, stderr)

	rl := filepath.Join(t.TempDir(), "rl")
	code, _, stderr = call("grpo", "--model_name_or_path", model, "--dataset_name", data, "--output_dir", rl, "--json", "--preflight", "0", "--num_generations", "4", "--max_completion_length", "8", "--prompt_template", "none", "--max_prompt_length", "40",
		"--reward_funcs", "repetition_penalty", "--repetition_n_grams", "1", "--temperature", "0.3", "--max_steps", "3")
	require.Zero(t, code, stderr)
	set := filepath.Join(t.TempDir(), "set")
	code, stdout, stderr = call("sample", "--from_run", rl, "--output_dir", set, "--keep", "reward>=-1", "--keep_truncated", "--choose", "best", "--pass_reward", "reward", "--pass_min", "-0.5", "--json")
	require.Zero(t, code, stderr)
	require.Regexp(t, `"groups":6,"groups_kept":[1-6],"drawn":24`, stdout)
	rows, _ = kept(t, set)
	require.NotEmpty(t, rows)
	require.Equal(t, "rl", rows[0]["source"].(map[string]any)["run"])
}

func TestSampleErrors(t *testing.T) {
	base := []string{"sample", "--model", textModel(t), "--dataset_name", problems(t), "--output_dir", t.TempDir(), "--max_completion_length", "8", "--prompt_template", "none", "--max_prompt_length", "40"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"sample", "--output_dir", t.TempDir()}, 1, "model_name_or_path is missing"},
		{append(base, "--dataset_name", ""), 1, "dataset_name is missing"},
		{append(base, "--keep", "accuracy"), 1, "want NAME>=NUMBER"},
		{append(base, "--choose", "nicest"), 1, `choose is "nicest"`},
		{append(base, "--format", "csv"), 1, `format is "csv"`},
		{append(base, "--min_language_share", "0.9", "--reward_language", "tlh"), 1, `reward_language is "tlh"`},
		{append(base, "--decontaminate", "nowhere.jsonl"), 1, "nowhere.jsonl"},
		{append(base, "--n", "none"), 2, "not an integer"},
		{append(base, "--n", "0"), 1, "at least 1 sample"},
		{append(base, "--reward_funcs", "x"), 1, "is not a reward"},
		{[]string{"sample", "--output_dir", t.TempDir(), "--from_run", t.TempDir()}, 1, "there are no rollouts"},
		{[]string{"sample", "--output_dir", t.TempDir(), "--from_run", t.TempDir(), "--min_language_share", "1"}, 1, "give reward_language"},
	} {
		code, _, stderr := call(c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.want)
	}
}
