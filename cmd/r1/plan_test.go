package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type planOutput struct {
	Kind      string
	Store     string
	Available bool
	Fits      bool
	Notes     []string
	Longest   int   `json:"longest_sequence"`
	Room      int64 `json:"room_sequences"`
	Peak      int64 `json:"peak_bytes"`
	Limit     int64 `json:"limit_bytes"`
}

func planOf(t *testing.T, args ...string) (p planOutput) {
	code, stdout, stderr := call(append([]string{"plan"}, append(args, "--json")...)...)
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &p))
	return p
}

// A plan needs a config.json and nothing else, is printed as a table or as JSON, and says what of it the library does not have.
func TestPlan(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"model_type":"qwen2","hidden_act":"silu","vocab_size":152064,"hidden_size":3584,"intermediate_size":18944,"num_hidden_layers":28,"num_attention_heads":28,
		"num_key_value_heads":4,"max_position_embeddings":131072,"tie_word_embeddings":false}`), 0o644))
	recipe := filepath.Join(dir, "recipe.yaml")
	require.NoError(t, os.WriteFile(recipe, []byte("model_name_or_path: "+dir+"\ngradient_checkpointing: true\nmax_completion_length: 1024\nmax_prompt_length: 256\nnum_generations: 16\nper_device_train_batch_size: 512\nlogging_steps: 1\n"), 0o644))
	gpu := []string{"--config", recipe, "--device", "cuda:0", "--memory", "141GB"}

	p := planOf(t, append(gpu, "--keep", "split")...)
	require.True(t, p.Fits)
	require.False(t, p.Available)
	require.Less(t, p.Peak, int64(141e9))
	require.EqualValues(t, 141e9, p.Limit)
	require.Equal(t, 1280, p.Longest)
	require.Greater(t, p.Room, int64(500))
	require.Contains(t, strings.Join(p.Notes, "\n"), "not implemented on a GPU: nothing can be run like this yet")
	require.Less(t, planOf(t, append(gpu, "--keep", "split-bf16-gradients")...).Peak, p.Peak-15e9)
	require.True(t, planOf(t, gpu...).Available)

	code, table, _ := call(append([]string{"plan"}, gpu...)...)
	require.Zero(t, code)
	for _, want := range []string{"7615.6 million parameters on cuda:0, kept as fp32", "30.46 GB  gradients", "checkpoints: the layers' inputs", "of 141 GB: it", "longest sequences fit", "docs/gpu.md"} {
		require.Contains(t, table, want)
	}
	require.Equal(t, "sft", planOf(t, "sft", "--model_name_or_path", config, "--memory", "2e11").Kind)
	require.False(t, planOf(t, "distill", "--model_name_or_path", config, "--memory", "80GiB").Fits)

	for want, args := range map[string][]string{
		`--memory is "4q"`:              {"--model_name_or_path", dir, "--memory", "4q"},
		`--keep is "fp8"`:               {"--model_name_or_path", dir, "--keep", "fp8"},
		"model_name_or_path is missing": {},
		"want a multiple":               {"--model_name_or_path", dir, "--num_generations", "3"},
	} {
		code, _, stderr := call(append([]string{"plan"}, args...)...)
		require.NotZero(t, code)
		require.Contains(t, stderr, want)
	}
}

// r1 plan and r1 pipeline run --dry-run give the same numbers.
func TestPlanIsThePipelines(t *testing.T) {
	path, _ := lineFile(t)
	code, stdout, stderr := call("pipeline", "run", path, "--dry-run", "--json")
	require.Zero(t, code, stderr)
	stages := map[string]float64{}
	for _, text := range strings.Split(strings.TrimSpace(stdout), "\n") {
		var s planLine
		require.NoError(t, json.Unmarshal([]byte(text), &s))
		stages[s.Stage] = s.Megabytes
	}
	model := textModel(t)
	rl := planOf(t, "--model_name_or_path", model, "--max_prompt_length", "30", "--num_generations", "4", "--per_device_train_batch_size", "8", "--max_completion_length", "6", "--beta", "0.01")
	require.Equal(t, float64(rl.Peak)/1e6, stages["rl"])
	require.Equal(t, float64(planOf(t, "sft", "--model_name_or_path", model).Peak)/1e6, stages["cold"])
}
