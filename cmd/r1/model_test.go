package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/model/weights"
)

// feed runs a command with text on its stdin.
func feed(t *testing.T, stdin string, args ...string) (lines []string) {
	t.Helper()
	code, stdout, stderr := callWith(stdin, args...)
	require.Zero(t, code, stderr)
	return strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
}

func callWith(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	root := newRoot()
	root.SetIn(strings.NewReader(stdin))
	code = execute(root, args, &out, &errs)
	return code, out.String(), errs.String()
}

const goldens = "../../model/testdata/golden"

// r1 score gives transformers' numbers, from ids alone.
func TestScore(t *testing.T) {
	for _, name := range []string{"qwen2", "qwen3_moe", "gemma3", "deepseek_v3"} {
		dir := filepath.Join(goldens, name)
		var want struct {
			IDs    [][]int32 `json:"input_ids"`
			Greedy [][]int32 `json:"greedy"`
		}
		text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &want))
		expected, err := weights.Open(filepath.Join(dir, "expected.safetensors"))
		require.NoError(t, err)
		defer expected.Close()
		var in strings.Builder
		for _, ids := range want.IDs {
			require.NoError(t, json.NewEncoder(&in).Encode(map[string]any{"ids": ids}))
		}
		out := filepath.Join(t.TempDir(), "l.safetensors")
		lines := feed(t, in.String(), "score", "--model", dir, "--generate", "16", "--logits", out)
		logits, err := weights.Open(out)
		require.NoError(t, err)
		defer logits.Close()
		require.Len(t, lines, len(want.IDs))
		for i, line := range lines {
			var got scored
			require.NoError(t, json.Unmarshal([]byte(line), &got))
			require.Equal(t, want.Greedy[i], got.Greedy)
			require.Len(t, got.Entropy, len(want.IDs[i])-1)
			near(t, expected, fmt.Sprintf("seq%d.logp_f32", i), got.LogProbs, 3e-5)
			z, err := logits.Tensor(fmt.Sprintf("seq%d.logits", i))
			require.NoError(t, err)
			v, err := z.Float32()
			require.NoError(t, err)
			near(t, expected, fmt.Sprintf("seq%d.logits_f32", i), v, 5e-5)
		}
	}
}

func near(t *testing.T, f *weights.File, name string, got []float32, bar float64) {
	x, err := f.Tensor(name)
	require.NoError(t, err)
	want, err := x.Float32()
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range got {
		require.Less(t, math.Abs(float64(got[i])-float64(want[i])), bar, "%s[%d]", name, i)
	}
}

// textModel is a small random model with a tokenizer beside it.
func textModel(t *testing.T) string {
	dir := t.TempDir()
	const from = "../../model/tokenizer/testdata/small/tokenizer.json"
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o644))
	tok, err := tokenizer.Load(dir)
	require.NoError(t, err)
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.New(dev, model.Config{
		ModelType: "qwen3", VocabSize: tok.VocabSize(), HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPositions: 64,
		NormEps: 1e-6, InitializerRange: 0.5, QKNorm: true, BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}, 1, nil)
	require.NoError(t, err)
	require.NoError(t, m.Save(dir))
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
	return dir
}

// Text goes to ids and back, and the same seed writes the same text.
func TestTokenizeAndGenerate(t *testing.T) {
	dir := textModel(t)
	lines := feed(t, "\"Hello, world\"\n\n\"a\\nb é <tag>\"\n", "tokenize", "--model", dir)
	require.Len(t, lines, 2)
	require.Equal(t, []string{`"Hello, world"`, `"a\nb é <tag>"`}, feed(t, strings.Join(lines, "\n"), "tokenize", "--model", dir, "--decode"))

	var a, b struct {
		Text   string
		Tokens []int32
		Stop   string
	}
	args := []string{"generate", "--model", dir, "-p", "Hello", "--max-tokens", "12", "--temperature", "1", "--seed", "5", "--json"}
	require.NoError(t, json.Unmarshal([]byte(feed(t, "", args...)[0]), &a))
	require.NoError(t, json.Unmarshal([]byte(feed(t, "", args...)[0]), &b))
	require.Equal(t, a, b)
	require.Len(t, a.Tokens, 12)
	require.Equal(t, "length", a.Stop)
	args[len(args)-2] = "6"
	require.NoError(t, json.Unmarshal([]byte(feed(t, "", args...)[0]), &b))
	require.NotEqual(t, a.Tokens, b.Tokens, "another seed")

	plain := strings.Join(feed(t, "", "generate", "--model", dir, "-p", "Hello", "--max-tokens", "12", "--temperature", "1", "--seed", "5"), "\n")
	require.Equal(t, a.Text, plain, "the stream is the whole text")
}

// Bad input is one sentence that names the place.
func TestModelCommandErrors(t *testing.T) {
	dir := filepath.Join(goldens, "qwen2")
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		says  string
	}{
		{"", []string{"score"}, 2, "--model is missing"},
		{"", []string{"score", "--model", "nowhere"}, 1, "nowhere"},
		{"", []string{"score", "--model", dir, "--input", "nowhere.jsonl"}, 1, "nowhere.jsonl"},
		{"{\"ids\":[1]}\n{\"ids\":[1,160]}", []string{"score", "--model", dir}, 1, "stdin:2: ids[1] is 160, the vocabulary has 160"},
		{`{"ids":[]}`, []string{"score", "--model", dir}, 1, "stdin:1: 0 tokens"},
		{`{"ids":[1],"text":"a"}`, []string{"score", "--model", dir}, 1, `want either "ids" or "text"`},
		{`{"words":"a"}`, []string{"score", "--model", dir}, 1, `unknown field "words"`},
		{`{"text":"a"}`, []string{"score", "--model", dir}, 1, "tokenizer"},
		{`{"ids":[1]} {}`, []string{"score", "--model", dir}, 1, "more than one JSON value"},
		{`{"ids":[1]}`, []string{"score", "--model", dir, "--generate", "512"}, 1, "max_position_embeddings"},
		{`hello`, []string{"tokenize", "--model", "../../model/tokenizer/testdata/small/tokenizer.json"}, 1, "want a JSON string"},
		{`null`, []string{"tokenize", "--model", "../../model/tokenizer/testdata/small/tokenizer.json"}, 1, "want a JSON string"},
		{`"a"`, []string{"tokenize", "--model", "../../model/tokenizer/testdata/small/tokenizer.json", "--decode"}, 1, "want a JSON array"},
		{"", []string{"generate", "--model", dir, "-p", "x"}, 1, "tokenizer"},
		{"", []string{"generate", "--model", dir, "--max-tokens", "0"}, 2, "--max-tokens is 0"},
		{"", []string{"info"}, 2, "want one model folder or .gguf file"},
		{"", []string{"info", "nowhere"}, 1, "nowhere"},
	} {
		code, stdout, stderr := callWith(c.stdin, c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.says, c.args)
		require.Empty(t, stdout)
	}
}

func TestInfo(t *testing.T) {
	var i modelInfo
	require.NoError(t, json.Unmarshal([]byte(feed(t, "", "info", filepath.Join(goldens, "gemma3"), "--json")[0]), &i))
	require.Equal(t, int64(110000), i.Parameters)
	require.Equal(t, int64(1024), i.KVPerToken)
}
