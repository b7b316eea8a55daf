package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// problems is a data folder with a split to train on and one to measure on.
func problems(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"train.jsonl": `{"prompt":"one and one","answer":"2"}` + "\n" + `{"prompt":"one and two","answer":"3"}` + "\n" + `{"prompt":"a question much longer than any other one in this small file, so that a limit on the prompt leaves it out","answer":"4"}` + "\n" + `{"prompt":"two and two","answer":"4"}` + "\n",
		"test.jsonl":  `{"prompt":"two and three","answer":"5"}` + "\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// A run from a TRL-like file: what it leaves loads as a model, going on does nothing more, another configuration is refused.
func TestGRPO(t *testing.T) {
	model, out, recipe := textModel(t), filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "recipe.yaml")
	require.NoError(t, os.WriteFile(recipe, []byte("bf16: true\nuse_vllm: true\nnum_generations: 4\nper_device_train_batch_size: 8\nmax_completion_length: 12\nmax_prompt_length: 40\nprompt_template: none\n"+
		"reward_funcs: [repetition_penalty, soft_overlong_punishment]\nsoft_punish_cache: 10\nrepetition_n_grams: 1\ntemperature: 0.3\nlearning_rate: 1e-3\nsave_steps: 2\nmax_steps: 3\nbeta: 0.01\n"), 0o644))
	args := []string{"grpo", "--config", recipe, "--model_name_or_path", model, "--dataset_name", problems(t), "--output_dir", out, "--json", "--preflight", "0"}
	code, stdout, stderr := call(args...)
	require.Zero(t, code, stderr)
	var result map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &result), stdout)
	require.Equal(t, 3.0, result["steps"])
	require.Equal(t, 0.0, result["max_logp_difference"])
	replay := append(args, "--output_dir", filepath.Join(t.TempDir(), "replay"), "--replay_groups", "1")
	code, stdout, stderr = call(replay...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"max_logp_difference":0`, "earlier weights' groups do not count")
	metrics, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(metrics), "\n"))
	for _, name := range []string{"config.yaml", "checkpoint-2/tokenizer.json", "checkpoint-3/model.safetensors", "checkpoint-3/trainer_state.json", "rollouts/step-000002.jsonl"} {
		require.FileExists(t, filepath.Join(out, name))
	}
	code, stdout, stderr = call("generate", "--model", filepath.Join(out, "checkpoint-3"), "-p", "one and", "--max-tokens", "3", "--json")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"tokens":[`)

	code, again, stderr := call(args...)
	require.Zero(t, code, stderr)
	require.Contains(t, again, `"steps":3`)
	same, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	require.NoError(t, err)
	require.Equal(t, string(metrics), string(same))

	code, _, stderr = call(append(args, "--learning_rate", "2e-3")...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "learning_rate was 0.001 and is now 0.002")
	code, _, stderr = call(append(args, "--learning_rate", "2e-3", "--overwrite_output_dir")...)
	require.Zero(t, code, stderr)
	// Products in bf16 are summed as they were, or not at all.
	trained, err := os.ReadFile(filepath.Join(out, "checkpoint-3", "trainer_state.json"))
	require.NoError(t, err)
	class, other := "dot", "fma"
	if strings.Contains(string(trained), `"bf16_class": "fma"`) {
		class, other = other, class
	}
	code, _, stderr = call(append(args, "--learning_rate", "2e-3", "--bf16_class", other)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, fmt.Sprintf("bf16_class was %q and is now %q", class, other))
	code, _, stderr = call(append(args, "--learning_rate", "2e-3", "--bf16_class", class)...)
	require.Zero(t, code, stderr)
	// Class tile is chosen by name, and is computed here whatever the machine; the checkpoint says so.
	tiles := filepath.Join(t.TempDir(), "tiles")
	code, stdout, stderr = call(append(args, "--output_dir", tiles, "--bf16_class", "tile")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"max_logp_difference":0`)
	trained, err = os.ReadFile(filepath.Join(tiles, "checkpoint-3", "trainer_state.json"))
	require.NoError(t, err)
	require.Contains(t, string(trained), `"bf16_class": "tile"`)
	code, _, stderr = call(append(args, "--output_dir", tiles, "--bf16_class", class)...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, fmt.Sprintf(`bf16_class was "tile" and is now %q`, class))
	// A run's own config.yaml makes the same run again.
	code, _, stderr = call("grpo", "--config", filepath.Join(out, "config.yaml"), "--output_dir", filepath.Join(t.TempDir(), "twin"), "--json")
	require.Zero(t, code, stderr)
}

// An adapter is trained, saved as peft's files, and resumed.
func TestGRPOAdapter(t *testing.T) {
	base, out := textModel(t), filepath.Join(t.TempDir(), "out")
	args := []string{"grpo", "--model_name_or_path", base, "--dataset_name", problems(t), "--output_dir", out, "--json", "--preflight", "0", "--use_peft", "--lora_r", "4", "--beta", "0.01",
		"--num_generations", "4", "--max_completion_length", "8", "--prompt_template", "none", "--reward_funcs", "repetition_penalty", "--repetition_n_grams", "1", "--temperature", "0.3", "--learning_rate", "1e-2", "--max_steps", "2", "--save_steps", "1"}
	code, _, stderr := call(args...)
	require.Zero(t, code, stderr)
	require.FileExists(t, filepath.Join(out, "checkpoint-1", "adapter_model.safetensors"))
	last, err := os.ReadFile(filepath.Join(out, "checkpoint-2", "adapter_model.safetensors"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(out, "checkpoint-2")))
	code, _, stderr = call(args...)
	require.Zero(t, code, stderr)
	again, err := os.ReadFile(filepath.Join(out, "checkpoint-2", "adapter_model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, last, again, "the second step is taken again, to the byte")

	whole := filepath.Join(t.TempDir(), "whole")
	code, _, stderr = call("convert", base, whole, "--adapter", filepath.Join(out, "checkpoint-2"))
	require.Zero(t, code, stderr)
	require.FileExists(t, filepath.Join(whole, "tokenizer.json"))
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	plain, err := model.Load(dev, base, model.Options{})
	require.NoError(t, err)
	adapted, err := plain.LoadAdapter(filepath.Join(out, "checkpoint-2"))
	require.NoError(t, err)
	want, err := adapted.Merged()
	require.NoError(t, err)
	got, err := model.Load(dev, whole, model.Options{})
	require.NoError(t, err)
	for _, p := range want.Params() {
		a, err := p.Values()
		require.NoError(t, err)
		b, err := got.Param(p.Name).Values()
		require.NoError(t, err)
		require.Equal(t, a, b, p.Name)
	}
	for _, m := range []*model.LM{got, want, adapted, plain} {
		require.NoError(t, m.Close())
	}
	require.NoError(t, dev.Close())
}

func TestGRPOErrors(t *testing.T) {
	model, data := textModel(t), problems(t)
	recipe := filepath.Join(t.TempDir(), "recipe.yaml")
	require.NoError(t, os.WriteFile(recipe, []byte("repetition_penalty: 1.2\nlern_rate: 1\n"), 0o644))
	base := []string{"grpo", "--model_name_or_path", model, "--dataset_name", data, "--output_dir", t.TempDir(), "--max_completion_length", "8", "--prompt_template", "none", "--max_steps", "1"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"grpo"}, 1, "model_name_or_path is missing"},
		{[]string{"grpo", "--config", recipe}, 2, "repetition_penalty is \"1.2\", which this library does not do"},
		{[]string{"grpo", "--config", filepath.Join(data, "none.yaml")}, 2, "no such file"},
		{append(base, "--dataset_name", ""), 1, "dataset_name is missing"},
		{append(base, "--reward_funcs", "accurracy"), 1, `"accurracy" is not a reward; want some of accuracy`},
		{append(base, "--reward_weights", "1,2,3"), 1, "3 reward_weights for 2 reward_funcs"},
		{append(base, "--num_generations", "3"), 1, "8 completions are drawn at once in groups of num_generations 3"},
		{append(base, "--loss_type", "ppo"), 1, `loss_type is "ppo"`},
		{append(base, "--temperature", "0"), 1, "greedy completions of a prompt are all the same"},
		{append(base, "--dataset_prompt_column", "question"), 1, "train.jsonl:1"},
		{append(base, "--dataset_answer_column", "gold"), 1, "dataset_answer_column names it"},
		{append(base, "--max_completion_length", "9999"), 1, "the model has"},
		{append(base, "--lora_dropout", "0.1", "--use_peft"), 1, "lora_dropout is 0.1"},
		{append(base, "--preset", "r3"), 2, `preset is "r3"`},
		{append(base, "--lr_scheduler_type", "step"), 1, `lr_scheduler_type is "step"`},
		{base, 1, "every group's rewards are equal, at accuracy 0: the policy answers none: use easier problems"},
	} {
		code, _, stderr := call(c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.want)
	}
}
