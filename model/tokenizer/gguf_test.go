package tokenizer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// metadata is a GGUF file's of a vocabulary of bytes, "ab" and a few special tokens; change edits it.
func metadata(change func(m map[string]any)) map[string]any {
	var tokens []string
	var types []int32
	for b := range 256 {
		tokens, types = append(tokens, string(byteRune(byte(b)))), append(types, 1)
	}
	tokens = append(tokens, "ab", "<s>", "</s>", "<think>", "12", "[PAD261]")
	types = append(types, 1, ggmlControl, ggmlControl, ggmlUser, 1, ggmlUnused)
	m := map[string]any{
		"general.architecture": "llama", "llama.context_length": uint32(77),
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.merges": []string{"a b", "1 2"}, "tokenizer.ggml.bos_token_id": uint32(257), "tokenizer.ggml.eos_token_id": uint32(258),
		"tokenizer.chat_template": "{{ x }}<é>",
	}
	if change != nil {
		change(m)
	}
	return m
}

func TestFromGGUF(t *testing.T) {
	tok, err := FromGGUF(metadata(nil))
	require.NoError(t, err)
	require.Equal(t, []int32{257, 256, 99, 259}, tok.Encode("<s>abc<think>", true), "GPT-2's files add nothing")
	require.Equal(t, "abc<think>", tok.Decode([]int32{257, 256, 99, 259}, true), "what a user defined is not special")
	require.Equal(t, 261, tok.VocabSize(), "unused tokens at the end are filling")
	require.Equal(t, []int32{258}, tok.EOS())
	bos, ok := tok.BOS()
	require.True(t, ok)
	require.EqualValues(t, 257, bos)
}

// Each pre cuts digits its own way, and adds a beginning of sequence where its model does or the file says so.
func TestPresOfGGUF(t *testing.T) {
	for pre, want := range map[string][]int32{
		"gpt-2": {260, '3'}, "qwen2": {'1', '2', '3'}, "smollm": {'1', '2', '3'}, "llama-bpe": {257, 260, '3'}, "deepseek-v3": {260, '3'},
		"deepseek-r1-qwen": {257, '1', '2', '3'},
	} {
		tok, err := FromGGUF(metadata(func(m map[string]any) { m["tokenizer.ggml.pre"] = pre }))
		require.NoError(t, err, pre)
		require.Equal(t, want, tok.Encode("123", true), pre)
		tok, err = FromGGUF(metadata(func(m map[string]any) {
			m["tokenizer.ggml.pre"], m["tokenizer.ggml.add_bos_token"], m["tokenizer.ggml.add_eos_token"] = pre, true, true
		}))
		require.NoError(t, err, pre)
		require.Equal(t, []int32{257, 'x', 258}, tok.Encode("x", true), pre)
	}
}

// The files that are written say the same as the metadata.
func TestGGUFFiles(t *testing.T) {
	for _, pre := range []string{"gpt-2", "qwen2", "smollm", "llama-bpe", "deepseek-v3", "deepseek-r1-qwen"} {
		meta := metadata(func(m map[string]any) { m["tokenizer.ggml.pre"] = pre })
		files, err := GGUFFiles(meta)
		require.NoError(t, err)
		dir := t.TempDir()
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
		}
		a, err := FromGGUF(meta)
		require.NoError(t, err)
		b, err := Load(dir)
		require.NoError(t, err)
		for _, s := range []string{"ab 12 abab", "<s>é</s>", "  \n\n1234567"} {
			require.Equal(t, a.Encode(s, true), b.Encode(s, true))
		}
		require.Equal(t, a.EOS(), b.EOS())
		require.Contains(t, string(files["tokenizer_config.json"]), `"chat_template": "{{ x }}<é>"`)
		require.Contains(t, string(files["tokenizer_config.json"]), `"model_max_length": 77`)
	}
}

func TestGGUFErrors(t *testing.T) {
	set := func(key string, v any) map[string]any {
		return metadata(func(m map[string]any) { m["tokenizer.ggml."+key] = v })
	}
	for want, meta := range map[string]map[string]any{
		`model "llama"`:         set("model", "llama"),
		`model ""`:              set("model", 3),
		`pre "default"`:         set("pre", "default"),
		`pre ""`:                set("pre", nil),
		`pre "tekken"`:          set("pre", "tekken"),
		"0 tokens":              set("tokens", []int32{1}),
		"1 token types":         set("token_type", []int32{1}),
		"0 merges":              set("merges", nil),
		"not two tokens":        set("merges", []string{"ab"}),
		"not in the vocabulary": set("merges", []string{"a c"}),
		"bos_token_id is 900":   set("bos_token_id", uint32(900)),
		"no bos_token_id": metadata(func(m map[string]any) {
			delete(m, "tokenizer.ggml.bos_token_id")
			m["tokenizer.ggml.add_bos_token"] = true
		}),
		"ids must be unique": metadata(func(m map[string]any) { m["tokenizer.ggml.tokens"].([]string)[1] = "b" }),
	} {
		_, err := FromGGUF(meta)
		require.ErrorContains(t, err, want)
	}
	_, err := FromGGUF(nil)
	require.Error(t, err)
}

// Text without a token is dropped, as the reference does: SmolLM2's vocabulary lacks some bytes.
func TestMissingBytes(t *testing.T) {
	tok, err := FromGGUF(metadata(func(m map[string]any) { m["tokenizer.ggml.tokens"].([]string)['c'] = "ĀĀĀ" }))
	require.NoError(t, err)
	require.Equal(t, []int32{'a', 'd'}, tok.Encode("acd", false))
}
