package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// otherModel is a model with textModel's tokenizer and other weights.
func otherModel(t *testing.T, dir string) string {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.Load(dev, dir, model.Options{})
	require.NoError(t, err)
	other, err := model.New(dev, m.Config(), 99, nil)
	require.NoError(t, err)
	out := t.TempDir()
	require.NoError(t, other.Save(out))
	require.NoError(t, other.Close())
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			require.NoError(t, os.WriteFile(filepath.Join(out, name), text, 0o644))
		}
	}
	return out
}

// A student comes closer to its teacher, on its own samples, on texts and on a mix, and its last steps are taken again to the byte.
func TestDistill(t *testing.T) {
	student := textModel(t)
	teacher, texts := otherModel(t, student), t.TempDir()
	for name, text := range map[string]string{
		"train.jsonl": `{"prompt":"one and one","completion":" are two","answer":"2","kind":"a"}` + "\n" + `{"prompt":"two and","completion":" two are four","kind":"b"}` + "\n" + `{"prompt":"one and two","completion":" are three","kind":"a"}` + "\n",
		"test.jsonl":  `{"prompt":"one and two","completion":" are three"}` + "\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(texts, name), []byte(text), 0o644))
	}
	for name, more := range map[string][]string{
		"own samples": {},
		"texts":       {"--lmbda", "0", "--beta", "0", "--teachers", "a=" + teacher + ",b=" + student, "--teacher_column", "kind", "--teacher_model_name_or_path", ""},
		"mix":         {"--lmbda", "0.5", "--beta", "0.5", "--use_peft", "--lora_r", "4", "--max_new_tokens", "6"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		args := append([]string{"distill", "--model_name_or_path", student, "--teacher_model_name_or_path", teacher, "--dataset_name", texts, "--output_dir", out, "--json", "--learning_rate", "1e-2", "--max_steps", "20",
			"--save_steps", "10", "--per_device_train_batch_size", "2", "--max_completion_length", "8"}, more...)
		code, stdout, stderr := call(args...)
		require.Zero(t, code, stderr)
		var result struct {
			Divergence float64 `json:"divergence"`
			First      float64 `json:"first_divergence"`
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &result), stdout)
		if name != "texts" { // there the last step may be of the other teacher
			require.Less(t, result.Divergence, result.First, name)
		}
		file := "model.safetensors"
		if name == "mix" {
			file = "adapter_model.safetensors"
		}
		last, err := os.ReadFile(filepath.Join(out, "checkpoint-20", file))
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(filepath.Join(out, "checkpoint-20")))
		code, _, stderr = call(args...)
		require.Zero(t, code, stderr)
		again, err := os.ReadFile(filepath.Join(out, "checkpoint-20", file))
		require.NoError(t, err)
		require.Equal(t, last, again, name)
		if name != "own samples" {
			continue
		}
		weights := filepath.Join(teacher, "model.safetensors")
		raw, err := os.ReadFile(weights)
		require.NoError(t, err)
		raw[len(raw)-1] ^= 1
		require.NoError(t, os.WriteFile(weights, raw, 0o644))
		code, _, stderr = call(args...)
		require.Equal(t, 1, code, "a run goes on with its own teacher or not at all")
		require.Contains(t, stderr, "teachers_and_data was")
		raw[len(raw)-1] ^= 1
		require.NoError(t, os.WriteFile(weights, raw, 0o644))
	}
}

func TestDistillErrors(t *testing.T) {
	student, rows := textModel(t), filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(rows, []byte(`{"prompt":"one and two","completion":"x"}`+"\n"), 0o644))
	stranger := otherModel(t, student)
	text, err := os.ReadFile(filepath.Join(stranger, "tokenizer.json"))
	require.NoError(t, err)
	swapped := strings.NewReplacer(`"a":`, `"b":`, `"b":`, `"a":`).Replace(string(text))
	require.NotEqual(t, string(text), swapped)
	require.NoError(t, os.WriteFile(filepath.Join(stranger, "tokenizer.json"), []byte(swapped), 0o644))
	base := []string{"distill", "--model_name_or_path", student, "--teacher_model_name_or_path", student, "--dataset_name", rows, "--output_dir", t.TempDir(), "--max_steps", "1", "--max_completion_length", "4"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"distill"}, 1, "model_name_or_path is missing"},
		{append(base, "--mode", "osmosis"), 2, `--mode is "osmosis"`},
		{append(base, "--teacher_model_name_or_path", ""), 1, "teacher_model_name_or_path is missing"},
		{append(base, "--teacher_model_name_or_path", stranger), 1, "distributions over different tokens cannot be compared"},
		{append(base, "--lmbda", "2"), 1, "lmbda is 2"},
		{append(base, "--beta", "-1"), 1, "beta -1"},
		{append(base, "--temperature", "0"), 1, "temperature 0"},
		{append(base, "--max_completion_length", "9999"), 1, "positions"},
		{append(base, "--teachers", "a=x"), 1, "need teacher_column"},
		{append(base, "--use_peft", "--lora_dropout", "0.1"), 1, "lora_dropout is 0.1"},
		{append(base, "--mode", "traces"), 1, "needs teacher_url"},
		{append(base, "--save_strategy", "best"), 1, `save_strategy is "best"`},
		{append(base, "--save_total_limit", "-1"), 1, "keep -1"},
		{append(base, "--mode", "traces", "--overwrite_output_dir"), 2, "paid for"},
	} {
		code, _, stderr := call(c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.want)
	}
}

// Traces are asked for once, with the key in no output and no file; r1 sft learns them.
func TestDistillTraces(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk-very-secret" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		finish := "stop"
		if asked.Add(1)%3 == 0 {
			finish = "length"
		}
		fmt.Fprintf(w, `{"model":"deepseek-reasoner","choices":[{"index":0,"finish_reason":%q,"message":{"role":"assistant","reasoning_content":"hm","content":"two"}}],"usage":{"completion_tokens":5}}`, finish)
	}))
	defer server.Close()
	rows, out := filepath.Join(t.TempDir(), "rows.jsonl"), filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(rows, []byte(`{"prompt":"one and one"}`+"\n"+`{"prompt":[{"role":"user","content":"two"}]}`+"\n"+`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`+"\n"), 0o644))
	args := []string{"distill", "--mode", "traces", "--teacher_url", server.URL, "--teacher_model", "deepseek-reasoner", "--dataset_name", rows, "--output_dir", out, "--num_generations", "2", "--json", "--teacher_concurrency", "1"}
	t.Setenv("R1_TEACHER_KEY", "wrong-key")
	code, _, stderr := call(args...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "401")
	t.Setenv("R1_TEACHER_KEY", "sk-very-secret")
	code, stdout, stderr := call(args...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"answered":6`)
	require.Contains(t, stdout, `"rejected":{"unfinished":2}`)
	text, err := os.ReadFile(filepath.Join(out, "traces.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 6, strings.Count(string(text), `"content":"<think>\nhm\n</think>\n\ntwo"`))
	n := asked.Load()
	code, stdout, stderr = call(args...)
	require.Zero(t, code, stderr)
	require.Equal(t, n, asked.Load(), "nothing is asked twice")
	again, err := os.ReadFile(filepath.Join(out, "traces.jsonl"))
	require.NoError(t, err)
	require.Equal(t, string(text), string(again))
	require.NoError(t, filepath.Walk(out, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		content, err := io.ReadAll(f)
		require.NotContains(t, string(content), "secret", path)
		return err
	}))
	require.NotContains(t, stdout+stderr, "secret")

	template := filepath.Join(t.TempDir(), "chat_template.jinja")
	require.NoError(t, os.WriteFile(template, []byte("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"), 0o644))
	code, _, stderr = call("sft", "--model_name_or_path", textModel(t), "--dataset_name", filepath.Join(out, "traces.jsonl"), "--chat_template_path", filepath.Dir(template), "--output_dir", filepath.Join(t.TempDir(), "sft"), "--max_steps", "1", "--json")
	require.Zero(t, code, stderr)
}
