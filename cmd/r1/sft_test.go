package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run learns, leaves a model that loads, and is taken up where it stopped, to the byte: packed, with noise and with dropout.
func TestSFT(t *testing.T) {
	model, texts := textModel(t), t.TempDir()
	for name, text := range map[string]string{
		"train.jsonl": `{"text":"one and one are two"}` + "\n" + `{"text":"two and two are four"}` + "\n" + `{"text":""}` + "\n" + `{"text":"three"}` + "\n",
		"test.jsonl":  `{"text":"one and two are three"}` + "\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(texts, name), []byte(text), 0o644))
	}
	for name, more := range map[string][]string{
		"full":    {"--neftune_noise_alpha", "5", "--packing", "--max_length", "32", "--lr_scheduler_type", "cosine", "--warmup_ratio", "0.1"},
		"adapter": {"--use_peft", "--lora_r", "4", "--lora_dropout", "0.1", "--loss_type", "dft", "--shuffle_dataset=false"},
	} {
		out := filepath.Join(t.TempDir(), name)
		args := append([]string{"sft", "--model_name_or_path", model, "--dataset_name", texts, "--output_dir", out, "--json", "--learning_rate", "1e-2", "--max_steps", "20", "--save_steps", "10", "--per_device_train_batch_size", "2"}, more...)
		code, stdout, stderr := call(args...)
		require.Zero(t, code, stderr)
		var result map[string]float64
		require.Error(t, json.Unmarshal([]byte(stdout), &result), "paths are text")
		require.Positive(t, result["rows_dropped"], "the empty row, once an epoch")
		require.Less(t, result["eval_loss"], result["eval_loss_before"], name)
		files := []string{"model.safetensors", "tokenizer.json"}
		if name == "adapter" {
			files = []string{"adapter_model.safetensors", "adapter_config.json"}
		}
		for _, f := range files {
			require.FileExists(t, filepath.Join(out, "checkpoint-20", f))
		}
		last, err := os.ReadFile(filepath.Join(out, "checkpoint-20", files[0]))
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(filepath.Join(out, "checkpoint-20")))
		code, _, stderr = call(args...)
		require.Zero(t, code, stderr)
		again, err := os.ReadFile(filepath.Join(out, "checkpoint-20", files[0]))
		require.NoError(t, err)
		require.Equal(t, last, again, name)
	}
}

func TestSFTErrors(t *testing.T) {
	model, empty := textModel(t), filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(empty, []byte(`{"text":"one and two"}`+"\n"), 0o644))
	base := []string{"sft", "--model_name_or_path", model, "--dataset_name", empty, "--output_dir", t.TempDir(), "--max_steps", "1", "--dataset_test_split", "train"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sft"}, "model_name_or_path is missing"},
		{[]string{"sft", "--model_name_or_path", model}, "dataset_name is missing"},
		{append(base, "--dataset_mixture", "a.jsonl=x"), "want NAME=WEIGHT"},
		{append(base, "--loss_type", "mse"), `loss_type is "mse"`},
		{append(base, "--packing", "--packing_strategy", "worst"), `packing_strategy is "worst"`},
		{append(base, "--truncation_mode", "keep_middle"), `truncation_mode is "keep_middle"`},
		{append(base, "--max_steps", "0", "--num_train_epochs", "0"), "one of them must be more than 0"},
		{append(base, "--chat_template_path", t.TempDir()), "no chat template"},
		{append(base, "--dataset_text_field", "body"), "rows.jsonl:1"},
		{append(base, "--per_device_train_batch_size", "0"), "want at least 1"},
	} {
		code, _, stderr := call(c.args...)
		require.Equal(t, 1, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.want)
	}
}
