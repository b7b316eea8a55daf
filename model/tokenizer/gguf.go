package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// cuts are the values of tokenizer.ggml.pre: which of llama.cpp's ways to cut text into words a file means. Those that the
// released tokenizer of the model has besides (normalizing, whole words first, a beginning of sequence) come with it, since the
// metadata does not say them.
var cuts = map[string]struct {
	split        Split
	nfc          bool
	ignoreMerges bool
	bos          bool // where tokenizer.ggml.add_bos_token does not say
}{
	"gpt-2":            {split: SplitGPT2},
	"llama-bpe":        {split: SplitLlama3, ignoreMerges: true, bos: true},
	"qwen2":            {split: SplitQwen2, nfc: true},
	"smollm":           {split: SplitSmolLM2},
	"deepseek-v3":      {split: SplitDeepSeek},
	"deepseek-r1-qwen": {split: SplitQwen2, nfc: true, bos: true},
}

// Token types of tokenizer.ggml.token_type that matter here.
const (
	ggmlControl = 3
	ggmlUser    = 4
	ggmlUnused  = 5
)

// FromGGUF builds the tokenizer of a GGUF file from its metadata: byte-level BPE (tokenizer.ggml.model "gpt2") whose
// tokenizer.ggml.pre is known. Anything else is an error that names it. A file without a pre, or with "default", does not say how
// text is cut: the model's own tokenizer.json is needed then.
func FromGGUF(meta map[string]any) (*Tokenizer, error) {
	files, err := GGUFFiles(meta)
	if err != nil {
		return nil, err
	}
	t, err := parse(files["tokenizer.json"])
	if err != nil {
		return nil, fmt.Errorf("tokenizer: of a GGUF file: %w", err)
	}
	err = t.readConfigs(func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return data, nil
		}
		return nil, fs.ErrNotExist
	})
	if err != nil {
		return nil, fmt.Errorf("tokenizer: of a GGUF file: %w", err)
	}
	return t, nil
}

// GGUFFiles makes tokenizer.json and tokenizer_config.json, the chat template in it, from the metadata of a GGUF file, as the
// model's Hugging Face folder has them. Its errors are those of FromGGUF.
func GGUFFiles(meta map[string]any) (map[string][]byte, error) {
	g, err := readGGUF(meta)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: of a GGUF file: %w", err)
	}
	files := map[string][]byte{}
	for name, v := range map[string]any{"tokenizer.json": g.json(), "tokenizer_config.json": g.config()} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(v); err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
		}
		files[name] = b.Bytes()
	}
	return files, nil
}

// ggufVocab is what the metadata says.
type ggufVocab struct {
	tokens   []string
	types    []int32
	merges   []string
	pre      string
	special  map[string]int // bos, eos, unknown, padding; absent: none
	addBOS   bool
	addEOS   bool
	template string
	context  int
}

func readGGUF(meta map[string]any) (*ggufVocab, error) {
	kind, _ := meta["tokenizer.ggml.model"].(string)
	if kind != "gpt2" {
		return nil, fmt.Errorf("tokenizer.ggml.model %q is not supported, only byte-level BPE (\"gpt2\") is; use the tokenizer.json of the original model", kind)
	}
	g := &ggufVocab{special: map[string]int{}}
	g.pre, _ = meta["tokenizer.ggml.pre"].(string)
	if _, ok := cuts[g.pre]; !ok {
		return nil, fmt.Errorf("tokenizer.ggml.pre %q is not supported; known are %s; use the tokenizer.json of the original model", g.pre, strings.Join(slices.Sorted(maps.Keys(cuts)), ", "))
	}
	var ok [3]bool
	g.tokens, ok[0] = meta["tokenizer.ggml.tokens"].([]string)
	g.types, ok[1] = meta["tokenizer.ggml.token_type"].([]int32)
	g.merges, ok[2] = meta["tokenizer.ggml.merges"].([]string)
	if ok != [3]bool{true, true, true} || len(g.types) != len(g.tokens) || len(g.tokens) == 0 || len(g.tokens) > maxTokens {
		return nil, fmt.Errorf("%d tokens, %d token types, %d merges: want lists of tokens, of as many types, and of merges", len(g.tokens), len(g.types), len(g.merges))
	}
	// Converters fill the vocabulary up to the embedding's rows; the released files have no such tokens.
	for n := len(g.tokens); n > 0 && g.types[n-1] == ggmlUnused; n-- {
		g.tokens, g.types = g.tokens[:n-1], g.types[:n-1]
	}
	for _, name := range []string{"bos", "eos", "unknown", "padding"} {
		v, ok := meta["tokenizer.ggml."+name+"_token_id"].(uint32)
		if ok && int(v) >= len(g.tokens) {
			return nil, fmt.Errorf("tokenizer.ggml.%s_token_id is %d of %d tokens", name, v, len(g.tokens))
		}
		if ok {
			g.special[name] = int(v)
		}
	}
	g.addBOS, ok[0] = meta["tokenizer.ggml.add_bos_token"].(bool)
	if !ok[0] {
		g.addBOS = cuts[g.pre].bos
	}
	g.addEOS, _ = meta["tokenizer.ggml.add_eos_token"].(bool)
	for flag, name := range map[*bool]string{&g.addBOS: "bos", &g.addEOS: "eos"} {
		if _, ok := g.special[name]; *flag && !ok {
			return nil, errors.New("tokenizer.ggml.add_" + name + "_token is set and there is no " + name + "_token_id")
		}
	}
	g.template, _ = meta["tokenizer.chat_template"].(string)
	arch, _ := meta["general.architecture"].(string)
	if n, ok := meta[arch+".context_length"].(uint32); ok {
		g.context = int(n)
	}
	return g, nil
}

type object = map[string]any

// json is tokenizer.json.
func (g *ggufVocab) json() object {
	cut := cuts[g.pre]
	vocab, added := make(map[string]int, len(g.tokens)), []object{}
	for id, tok := range g.tokens {
		if t := g.types[id]; t == ggmlControl || t == ggmlUser {
			added = append(added, object{"id": id, "content": tok, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": t == ggmlControl})
		}
		vocab[tok] = id
	}
	var normalizer any
	if cut.nfc {
		normalizer = object{"type": "NFC"}
	}
	byteLevel := func(regex bool) object {
		return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex}
	}
	split := func(regex string) object {
		return object{"type": "Split", "pattern": object{"Regex": regex}, "behavior": "Isolated", "invert": false}
	}
	var steps []object
	switch cut.split {
	case SplitGPT2:
		steps = []object{byteLevel(true)}
	case SplitSmolLM2:
		steps = []object{{"type": "Digits", "individual_digits": true}, byteLevel(true)}
	case SplitLlama3:
		steps = []object{split(regexLlama3), byteLevel(false)}
	case SplitQwen2:
		steps = []object{split(regexQwen2), byteLevel(false)}
	case SplitDeepSeek:
		steps = []object{split(regexDigits3), split(regexKana), split(regexDeepSeek), byteLevel(false)}
	}
	return object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": normalizer,
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": steps}, "post_processor": g.postProcessor(), "decoder": byteLevel(true),
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false,
			"ignore_merges": cut.ignoreMerges, "vocab": vocab, "merges": g.merges,
		},
	}
}

// postProcessor is the post-processor.
func (g *ggufVocab) postProcessor() object {
	if !g.addBOS && !g.addEOS {
		return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true}
	}
	specials := object{}
	items := func(sequence string, typeID int) (list []object) {
		token := func(name string) {
			text := g.tokens[g.special[name]]
			specials[text] = object{"id": text, "ids": []int{g.special[name]}, "tokens": []string{text}}
			list = append(list, object{"SpecialToken": object{"id": text, "type_id": typeID}})
		}
		if g.addBOS {
			token("bos")
		}
		list = append(list, object{"Sequence": object{"id": sequence, "type_id": typeID}})
		if g.addEOS {
			token("eos")
		}
		return list
	}
	return object{"type": "TemplateProcessing", "single": items("A", 0), "pair": append(items("A", 0), items("B", 1)...), "special_tokens": specials}
}

// config is tokenizer_config.json.
func (g *ggufVocab) config() object {
	c := object{
		"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "add_prefix_space": false,
		"add_bos_token": g.addBOS, "add_eos_token": g.addEOS,
	}
	for field, name := range map[string]string{"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"} {
		if id, ok := g.special[name]; ok {
			c[field] = g.tokens[id]
		}
	}
	if g.context > 0 {
		c["model_max_length"] = g.context
	}
	if g.template != "" {
		c["chat_template"] = g.template
	}
	return c
}
