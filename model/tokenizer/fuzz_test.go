package tokenizer

import (
	"encoding/json"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse feeds arbitrary tokenizer.json files, and what the loader accepts some text. Nothing may crash or hang, ids must be in
// the vocabulary, and reading such small files costs at most twice the file and 16 MiB. (Of large ones about ten times the file is
// allocated and four times kept: 18 and 6.6 MB for SmolLM2's 1.8.)
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/small/tokenizer.json")
	require.NoError(f, err)
	for _, text := range append(smallFiles(f), data, []byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`)) {
		f.Add(text, "ab <s>é 12\xff")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		var tok *Tokenizer
		var err error
		cost := allocated(func() { tok, err = parse(data) })
		require.Less(t, cost, uint64(2*len(data)+16<<20))
		if err != nil {
			return
		}
		if len(text) > 1000 {
			text = text[:1000]
		}
		ids := tok.Encode(text, true)
		for _, id := range ids {
			require.True(t, id >= 0 && int(id) < tok.VocabSize())
		}
		tok.Decode(ids, true)
		tok.EncodeOffsets(text, true)
	})
}

// smallFiles are tokenizers of all splits over 300 tokens, and one with byte fallback.
func smallFiles(f *testing.F) (files [][]byte) {
	for _, pre := range []string{"gpt-2", "qwen2", "smollm", "llama-bpe", "deepseek-v3"} {
		made, err := GGUFFiles(metadata(func(m map[string]any) { m["tokenizer.ggml.pre"] = pre }))
		require.NoError(f, err)
		files = append(files, made["tokenizer.json"])
	}
	vocab := map[string]int{"<unk>": 0, "\u2581": 1, "a": 2, "b": 3, "ab": 4, "\u2581ab": 5, "<0xC3>": 6}
	text, err := json.Marshal(object{
		"normalizer": object{"type": "Replace", "pattern": object{"String": " "}, "content": "\u2581"}, "decoder": object{"type": "Sequence", "decoders": []object{
			{"type": "Replace", "pattern": object{"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}},
		"pre_tokenizer": object{"type": "Split", "pattern": object{"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
		"model":         object{"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": []string{"a b", "\u2581 ab"}},
	})
	require.NoError(f, err)
	return append(files, text)
}

// FuzzGGUF feeds metadata: a list of tokens, types and merges, and what pre and the ids are.
func FuzzGGUF(f *testing.F) {
	f.Add("gpt-2", []byte(`["a","b","ab"]`), []byte(`[1,1,1]`), []byte(`["a b"]`), uint32(1), true)
	f.Add("llama-bpe", []byte(`["a","b","<s>","<s>"]`), []byte(`[1,6,3,4]`), []byte(`["a  b"]`), uint32(1<<31), true)
	f.Fuzz(func(t *testing.T, pre string, tokens, types, merges []byte, bos uint32, add bool) {
		var a, c []string
		var b []int32
		_, _, _ = json.Unmarshal(tokens, &a), json.Unmarshal(types, &b), json.Unmarshal(merges, &c)
		tok, err := FromGGUF(map[string]any{
			"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": a, "tokenizer.ggml.token_type": b, "tokenizer.ggml.merges": c,
			"tokenizer.ggml.bos_token_id": bos, "tokenizer.ggml.add_bos_token": add, "tokenizer.chat_template": pre,
		})
		if err == nil {
			tok.Decode(tok.Encode("ab <s>é 12\xff", true), false)
		}
	})
}

func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
