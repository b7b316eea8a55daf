package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func small(t testing.TB) *Tokenizer {
	tok, err := Load("testdata/small")
	require.NoError(t, err)
	return tok
}

func TestGoldenExamples(t *testing.T) {
	data, err := os.ReadFile("testdata/small/examples.json")
	require.NoError(t, err)
	var examples []struct {
		Text, Decoded string
		IDs           []int32
	}
	require.NoError(t, json.Unmarshal(data, &examples))
	require.NotEmpty(t, examples)
	tok := small(t)
	for _, e := range examples {
		require.Equal(t, e.IDs, tok.Encode(e.Text, false), "%q", e.Text)
		require.Equal(t, e.Decoded, tok.Decode(e.IDs, false))
		ids, spans := tok.EncodeOffsets(e.Text, true)
		require.Equal(t, e.IDs, ids)
		checkSpans(t, e.Text, spans)
	}
}

func TestIdsAndConfig(t *testing.T) {
	tok := small(t)
	require.Equal(t, 483, tok.VocabSize())
	require.Equal(t, []int32{480}, tok.EOS())
	_, ok := tok.BOS()
	require.False(t, ok)
	id, ok := tok.ID("<|endoftext|>")
	require.True(t, ok)
	require.True(t, tok.IsSpecial(id))
	text, ok := tok.Token(id)
	require.True(t, ok)
	require.Equal(t, "<|endoftext|>", text)
	_, ok = tok.Token(483)
	require.False(t, ok)
	require.Equal(t, "hi", tok.Decode(append(tok.Encode("hi", false), id, -1, 9999), true))
	require.Equal(t, "hi<|endoftext|>", tok.Decode(append(tok.Encode("hi", false), id), false))
}

// Any bytes come back, in one piece or streamed.
func TestRoundTrip(t *testing.T) {
	tok := small(t)
	for _, s := range append(corpus(3)[:2000], "\xff\xfe", "a\xe4\xbdb", "\xf0\x9f\x98", "") {
		ids := tok.Encode(s, false)
		require.Equal(t, strings.ToValidUTF8(s, ""), strings.ReplaceAll(tok.Decode(ids, false), "\ufffd", ""), "%q", s)
	}
}

func TestLossyDecode(t *testing.T) {
	for in, want := range map[string]string{ // Unicode 16.0, table 3-8 and its neighbours
		"\xf0\x9f\x98a":         "\ufffda",
		"\xf0\x80\x80":          "\ufffd\ufffd\ufffd",
		"\xed\xa0\x80":          "\ufffd\ufffd\ufffd",
		"\xe4\xbd":              "\ufffd",
		"\xe4\xbd\xf0\x9f\x98z": "\ufffd\ufffdz",
		"\xc0\xafok":            "\ufffd\ufffdok",
		"\xf4\x90\x80\x80":      "\ufffd\ufffd\ufffd\ufffd",
	} {
		got, _ := lossy([]byte(in), true)
		require.Equal(t, want, got, "%q", in)
		tok, pieces := small(t), ""
		st := tok.NewStream(false)
		for i := range len(in) {
			pieces += st.Add(tok.model.bytes[in[i]])
		}
		require.Equal(t, want, pieces+st.Flush(), "streamed %q", in)
	}
}

// The pieces are those of the expressions, worked out by hand.
func TestSplits(t *testing.T) {
	for _, c := range []struct {
		split Split
		text  string
		want  string
	}{
		{SplitGPT2, "I'll go  now\n\n 42x", "I|'ll| go| | now|\n\n| 42|x"},
		{SplitGPT2, "A'LL  ", "A|'|LL|  "},
		{SplitLlama3, "I'LL 12345 (ok)\n\n x", "I|'LL| |123|45| (|ok|)\n\n| x"},
		{SplitLlama3, "a'\u017fb", "a|'\u017f|b"},
		{SplitQwen2, "x=12;\n  y", "x|=|1|2|;\n| | y"},
		{SplitDeepSeek, "第1234章 ok", "第|123|4|章| ok"},
		{SplitDeepSeek, "中文abc\x01\x02", "中文|abc|\x01\x02"},
		{SplitDeepSeek, "\U0001fae9!", "\U0001fae9!"},
		{SplitSmolLM2, "a 12", "a| |1|2"},
	} {
		stages, err := c.split.stages()
		require.NoError(t, err)
		var got []string
		cut(stages, c.text, 0, func(s string, base int) {
			require.Equal(t, c.text[base:base+len(s)], s)
			got = append(got, s)
		})
		require.Equal(t, c.want, strings.Join(got, "|"), "%s %q", c.split, c.text)
	}
}

func TestNFC(t *testing.T) {
	steps := []normalizer{{nfc: true}}
	require.Equal(t, "é가Å", normalizeAll(steps, "e\u0301\u1100\u1161\u212b"))
	require.Equal(t, "\u1ead\u0300", normalizeAll(steps, "a\u0302\u0300\u0323"))
	require.Equal(t, "éa\u0305\u0301", normalizeAll(steps, "e\u0301a\u0305\u0301"), "a mark of the same class blocks")
	marks := strings.Repeat("\u0301", 100) // no U+034F in between
	require.Equal(t, "q"+marks, normalizeAll(steps, "q"+marks))
	require.Equal(t, "\xffé", normalizeAll(steps, "\xffe\u0301"))
}

// mergeShort and mergeLong agree.
func TestMergesAgree(t *testing.T) {
	tok := small(t)
	for _, s := range corpus(4)[:3000] {
		a, b := &scratch{}, &scratch{}
		tok.model.start(a, s)
		tok.model.start(b, s)
		tok.model.mergeShort(a)
		tok.model.mergeLong(b)
		require.Equal(t, a.parts, b.parts, "%q", s)
	}
}

// A run of one character takes time in proportion; the test only has to end.
func TestLongRuns(t *testing.T) {
	tok := small(t)
	for _, unit := range []string{"A", "^", " ", "\n", "1", "\u0301", "<"} {
		start := time.Now()
		text := strings.Repeat(unit, 1_000_000/len(unit))
		require.Equal(t, text, tok.Decode(tok.Encode(text, false), false))
		t.Logf("%q: %v", unit, time.Since(start))
	}
}

func TestHostileFiles(t *testing.T) {
	data, err := os.ReadFile("testdata/small/tokenizer.json")
	require.NoError(t, err)
	change := func(edit func(f, model map[string]any)) string {
		var f map[string]any
		require.NoError(t, json.Unmarshal(data, &f))
		edit(f, f["model"].(map[string]any))
		out, err := json.Marshal(f)
		require.NoError(t, err)
		return string(out)
	}
	split := func(regex string) map[string]any {
		return map[string]any{"type": "Split", "pattern": map[string]any{"Regex": regex}, "behavior": "Isolated"}
	}
	for want, text := range map[string]string{
		"unexpected end":        string(data[:100]),
		"not UTF-8":             "\xff",
		`"Unigram" is not`:      change(func(f, m map[string]any) { m["type"] = "Unigram" }),
		"ids random":            change(func(f, m map[string]any) { m["dropout"] = 0.1 }),
		`"(a+)+"`:               change(func(f, m map[string]any) { f["pre_tokenizer"] = split("(a+)+") }),
		"NFKC is not supported": change(func(f, m map[string]any) { f["normalizer"] = map[string]any{"type": "NFKC"} }),
		"Metaspace":             change(func(f, m map[string]any) { f["pre_tokenizer"] = map[string]any{"type": "Metaspace"} }),
		`decoder: ""`:           change(func(f, m map[string]any) { f["decoder"] = nil }),
		"BertProcessing":        change(func(f, m map[string]any) { f["post_processor"] = map[string]any{"type": "BertProcessing"} }),
		"model.merges[0]":       change(func(f, m map[string]any) { m["merges"] = [][]string{{"a"}} }),
		"not in the vocabulary": change(func(f, m map[string]any) { m["merges"] = [][]string{{"zq", "qz"}} }),
		"without gaps":          change(func(f, m map[string]any) { m["vocab"].(map[string]any)["zzz"] = 1 << 30 }),
		"both have id":          change(func(f, m map[string]any) { m["vocab"].(map[string]any)["zzz"] = 7 }),
		"single_word":           change(func(f, m map[string]any) { f["added_tokens"].([]any)[0].(map[string]any)["single_word"] = true }),
		"exactly one":           change(func(f, m map[string]any) { m["byte_fallback"] = true }),
		"cannot unmarshal":      change(func(f, m map[string]any) { m["vocab"] = []int{1} }),
		"nested deeper":         change(func(f, m map[string]any) { f["normalizer"] = nested(20) }),
		"normalizer: 5 steps": change(func(f, m map[string]any) {
			nfc := nested(0)
			f["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{nfc, nfc, nfc, nfc, nfc}}
		}),
		"second Replace": change(func(f, m map[string]any) {
			r := map[string]any{"type": "Replace", "pattern": map[string]any{"String": "a"}, "content": "aa"}
			f["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{r, r}}
		}),
		"Replace by 9 bytes": change(func(f, m map[string]any) {
			f["normalizer"] = map[string]any{"type": "Replace", "pattern": map[string]any{"String": "a"}, "content": "aaaaaaaaa"}
		}),
		"model.unk_token":    change(func(f, m map[string]any) { m["unk_token"] = "nope" }),
		"end_of_word_suffix": change(func(f, m map[string]any) { m["end_of_word_suffix"] = "</w>" }),
		"add_prefix_space":   change(func(f, m map[string]any) { f["pre_tokenizer"].(map[string]any)["add_prefix_space"] = true }),
		"neither the text nor": change(func(f, m map[string]any) {
			f["post_processor"].(map[string]any)["single"] = []any{map[string]any{"X": map[string]any{"id": "A"}}}
		}),
		"continuing_subword_prefi": change(func(f, m map[string]any) { m["continuing_subword_prefix"] = "##" }),
	} {
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := Load(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
	}
	_, err = Load(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func nested(depth int) any {
	if depth == 0 {
		return map[string]any{"type": "NFC"}
	}
	return map[string]any{"type": "Sequence", "normalizers": []any{nested(depth - 1)}}
}

// bytesSpec is a byte alphabet with a few words, as GGUF metadata would give it.
func bytesSpec() Spec {
	var tokens []string
	for b := range 256 {
		tokens = append(tokens, string(byteRune(byte(b))))
	}
	return Spec{Tokens: append(tokens, "he", "hey", "Ġhe", "<s>", "<think>"), BOS: 259, EOS: []int32{259}, Prefix: []int32{259},
		Merges: [][2]string{{"h", "e"}, {"Ġ", "he"}, {"he", "y"}}, Split: SplitQwen2, NFC: true,
		Added: []AddedToken{{ID: 259, Content: "<s>", Special: true}, {ID: 260, Content: "<think>", RStrip: true, LStrip: true}}}
}

func TestNew(t *testing.T) {
	tok, err := New(bytesSpec())
	require.NoError(t, err)
	require.Equal(t, []int32{259, 257, 258}, tok.Encode("hey he", true))
	require.Equal(t, []int32{256, 260, 257}, tok.Encode("he <think> \n hey", false))
	ids, spans := tok.EncodeOffsets("e\u0301 he<s>", false)
	require.Equal(t, []int32{0xc3, 0xa9, 258, 259}, ids)
	require.Equal(t, []Span{{0, 3}, {0, 3}, {3, 6}, {6, 9}}, spans)
	require.Equal(t, "<think>", tok.Decode([]int32{259, 260}, true))

	bad := bytesSpec()
	bad.Tokens[3] = bad.Tokens[4]
	_, err = New(bad)
	require.ErrorContains(t, err, "unique")
	bad = bytesSpec()
	bad.Split = "llama2"
	_, err = New(bad)
	require.ErrorContains(t, err, `"llama2"`)
	bad = bytesSpec()
	bad.EOS = []int32{1000}
	_, err = New(bad)
	require.ErrorContains(t, err, "1000")
}

func ExampleLoad() {
	tok, err := Load("testdata/small")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := tok.Encode("The answer is \\boxed{12}.<|im_end|>", true)
	fmt.Println(ids)
	fmt.Println(tok.Decode(ids, true))
	// Output:
	// [280 313 390 263 306 432 352 284 90 262 402 480]
	// The answer is \boxed{12}.
}
