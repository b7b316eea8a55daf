package recipe_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	gor1grpo "github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline/recipe"
)

// textModel is a small random model with a tokenizer beside it.
func textModel(t *testing.T) string {
	dir := t.TempDir()
	text, err := os.ReadFile("../../model/tokenizer/testdata/small/tokenizer.json")
	require.NoError(t, err)
	write(t, dir, "tokenizer.json", string(text))
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.New(dev, model.Config{
		ModelType: "qwen3", VocabSize: 1024, HiddenSize: 32, IntermediateSize: 64, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPositions: 64,
		NormEps: 1e-6, InitializerRange: 0.5, QKNorm: true, BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}, 1, nil)
	require.NoError(t, err)
	require.NoError(t, m.Save(dir))
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
	return dir
}

func write(t *testing.T, dir, name, text string) string {
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// six problems, the hardest first.
func six(t *testing.T) string {
	var b strings.Builder
	for i, q := range []string{"six", "five", "four", "three", "two", "one"} {
		b.WriteString(`{"prompt":"` + q + `","answer":"` + string(rune('6'-i)) + `","level":` + string(rune('6'-i)) + `,"tests":"a"}` + "\n")
	}
	return write(t, t.TempDir(), "train.jsonl", b.String())
}

// grpo is what the flags of r1 grpo make, before its first step.
func grpo(t *testing.T, model, data string, flags ...string) (*recipe.Prepared, error) {
	g, fs := bound()
	require.NoError(t, fs.Parse(append([]string{"--model_name_or_path", model, "--dataset_name", data, "--prompt_template", "none", "--max_completion_length", "8", "--dataset_test_split", "train"}, flags...)))
	require.NoError(t, g.Complete(fs))
	p, err := g.Prepare(context.Background(), recipe.Sources{})
	if err == nil {
		t.Cleanup(func() { require.NoError(t, p.Close()) })
	}
	return p, err
}

func sft(t *testing.T, model, data string, flags ...string) (*recipe.PreparedSFT, error) {
	g := recipe.NewSFT()
	fs := pflag.NewFlagSet("sft", pflag.ContinueOnError)
	fs.SetNormalizeFunc(dashes)
	recipe.Bind(fs, g)
	require.NoError(t, fs.Parse(append([]string{"--model_name_or_path", model, "--dataset_name", data}, flags...)))
	p, err := g.Prepare(context.Background(), recipe.Sources{})
	if err == nil {
		t.Cleanup(func() { require.NoError(t, p.Close()) })
	}
	return p, err
}

// Keys count optimiser steps, as in TRL and the papers, also where a rollout serves several; a stage counts rollouts.
func TestStepsAreOptimiserSteps(t *testing.T) {
	m, data := textModel(t), six(t)
	mini := []string{"--num_generations", "2", "--per_device_train_batch_size", "4", "--generation_batch_size", "8", "--num_iterations", "2"} // 4 optimiser steps a rollout
	p, err := grpo(t, m, data, append(mini, "--max_steps", "42", "--save_steps", "8", "--eval_strategy", "steps", "--eval_steps", "9", "--beta", "0.1", "--sync_ref_model", "--ref_model_sync_steps", "40")...)
	require.NoError(t, err)
	require.Equal(t, []int{11, 2, 3, 10}, []int{p.Every.Steps, p.Every.Save, p.HeldOut.Every, p.Renew.Every})
	require.Contains(t, strings.Join(p.Notes, "\n"), "max_steps is 42, but a rollout serves 4 optimiser steps: 44 are taken")
	p, err = grpo(t, m, data, append(mini, "--save_strategy", "epoch")...)
	require.NoError(t, err)
	require.Equal(t, []int{5, 2, 0}, []int{p.Every.Steps, p.Every.Save, p.HeldOut.Every}, "6 rows, 4 a rollout")

	texts := write(t, t.TempDir(), "texts.jsonl", strings.Repeat(`{"text":"one and two"}`+"\n", 5))
	q, err := sft(t, m, texts, "--per_device_train_batch_size", "2", "--save_strategy", "epoch", "--eval_strategy", "steps", "--eval_steps", "7")
	require.NoError(t, err)
	require.Equal(t, []int{8, 3, 7}, []int{q.Every.Steps, q.Every.Save, q.Eval})

	for want, flags := range map[string][]string{
		`save_strategy is "best", want steps, epoch or no`: {"--save_strategy", "best"},
		`eval_strategy is "never"`:                         {"--eval_strategy", "never"},
		"save_steps is 0, want at least 1":                 {"--save_steps", "0"},
		"ref_model_sync_steps is 0":                        {"--beta", "0.1", "--sync_ref_model", "--ref_model_sync_steps", "0"},
		"num_iterations is 0":                              {"--num_iterations", "0"},
	} {
		_, err := grpo(t, m, data, flags...)
		require.ErrorContains(t, err, want)
	}
	_, err = sft(t, m, texts, "--save_strategy", "best")
	require.ErrorContains(t, err, `save_strategy is "best"`)
}

// A run is a function of its data: whatever of it a reward reads or a token is made of, a changed file is another configuration.
func TestDataIsConfiguration(t *testing.T) {
	m, data := textModel(t), six(t)
	config := func() any {
		p, err := grpo(t, m, data)
		require.NoError(t, err)
		return p.Config
	}
	first := config()
	require.Equal(t, first, config())
	text, err := os.ReadFile(data)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(data, []byte(strings.Replace(string(text), `"tests":"a"`, `"tests":"b"`, 1)), 0o644))
	require.NotEqual(t, first, config(), "what a code reward runs has changed")

	texts := write(t, t.TempDir(), "texts.jsonl", `{"text":"one and two"}`+"\n"+`{"text":"two"}`+"\n")
	p, err := sft(t, m, texts)
	require.NoError(t, err)
	write(t, filepath.Dir(texts), "texts.jsonl", `{"text":"two"}`+"\n"+`{"text":"one and two"}`+"\n")
	q, err := sft(t, m, texts)
	require.NoError(t, err)
	require.Equal(t, p.Tokens, q.Tokens)
	require.NotEqual(t, p.Config, q.Config)
}

// What is measured is held out: a file alone has no other split, and a broken one is not passed over.
func TestHeldOut(t *testing.T) {
	m, data := textModel(t), six(t)
	p, err := grpo(t, m, data, "--dataset_test_split", "test")
	require.NoError(t, err)
	require.Empty(t, p.HeldOut.Problems, "these are the rows it trains on")
	require.Contains(t, strings.Join(p.Notes, "\n"), "nothing is held out")
	p, err = grpo(t, m, data, "--dataset_test_split", "test", "--eval_dataset_name", data)
	require.NoError(t, err)
	require.Len(t, p.HeldOut.Problems, 6, "who asks for it gets it")

	folder := t.TempDir()
	write(t, folder, "train.jsonl", `{"prompt":"one","answer":"1"}`)
	p, err = grpo(t, m, folder, "--dataset_test_split", "test")
	require.NoError(t, err)
	require.Contains(t, strings.Join(p.Notes, "\n"), `has no split "test"; it has train`)
	write(t, folder, "train.jsonl", `{"text":"one and two"}`)
	q, err := sft(t, m, filepath.Join(folder, "train.jsonl"))
	require.NoError(t, err)
	require.Empty(t, q.HeldOut)
	q, err = sft(t, m, folder)
	require.NoError(t, err)
	require.Contains(t, strings.Join(q.Notes, "\n"), `has no split "test"; it has train`)

	write(t, folder, "test.jsonl", `{"prompt":"one","answer`)
	_, err = sft(t, m, folder)
	require.ErrorContains(t, err, "test.jsonl:1")
	write(t, folder, "train.jsonl", `{"prompt":"one","answer":"1"}`)
	_, err = grpo(t, m, folder, "--dataset_test_split", "test")
	require.ErrorContains(t, err, "test.jsonl:1")
}

// A chat template's file renders the conversations, and goes with the model that has learnt it.
func TestTemplatePath(t *testing.T) {
	m, rows := textModel(t), write(t, t.TempDir(), "rows.jsonl", `{"messages":[{"role":"user","content":"one"}]}`)
	template := write(t, t.TempDir(), "mine.jinja", "two {{ messages[0].content }} three")
	p, err := sft(t, m, rows, "--chat_template_path", template)
	require.NoError(t, err)
	require.Equal(t, 1, p.Rows)
	dir := t.TempDir()
	for _, part := range p.Parts {
		require.NoError(t, part.Save(dir))
	}
	text, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
	require.NoError(t, err)
	require.Equal(t, "two {{ messages[0].content }} three", string(text))
	require.FileExists(t, filepath.Join(dir, "tokenizer.json"))
	_, err = sft(t, m, rows)
	require.ErrorContains(t, err, "no chat template")
}

// Python's False scales nothing, as none does.
func TestScaleRewards(t *testing.T) {
	m, data := textModel(t), six(t)
	for value, want := range map[string]any{"False": gor1grpo.Unscaled, "none": gor1grpo.Unscaled, "True": gor1grpo.PerGroup, "batch": gor1grpo.PerBatch} {
		p, err := grpo(t, m, data, "--scale_rewards", value)
		require.NoError(t, err)
		require.Equal(t, want, p.Train.Scale.By, value)
	}
	_, err := grpo(t, m, data, "--scale_rewards", "each")
	require.ErrorContains(t, err, `scale_rewards is "each"`)
}
