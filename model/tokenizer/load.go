package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Load reads a tokenizer.json, or the one in a folder, with tokenizer_config.json and
// generation_config.json beside it where they are. Its errors name the file and the field.
func Load(path string) (*Tokenizer, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "tokenizer.json")
	}
	data, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	err = t.readConfigs(func(name string) ([]byte, error) { return readLimited(filepath.Join(dir, name)) })
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	return t, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: not UTF-8", path)
	}
	return data, nil
}

// file is tokenizer.json. The parts that come in kinds are read once their type is known.
type file struct {
	AddedTokens   []addedEntry    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	Model         modelEntry      `json:"model"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
}

type addedEntry struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type modelEntry struct {
	Type         string           `json:"type"`
	Dropout      *float64         `json:"dropout"`
	Unk          *string          `json:"unk_token"`
	Prefix       *string          `json:"continuing_subword_prefix"`
	Suffix       *string          `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int32 `json:"vocab"`
	Merges       json.RawMessage  `json:"merges"`
}

// step is one normalizer, pre-tokenizer, post-processor or decoder; Type says which fields count.
type step struct {
	Type          string            `json:"type"`
	Normalizers   []json.RawMessage `json:"normalizers"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`
	Processors    []json.RawMessage `json:"processors"`
	Decoders      []json.RawMessage `json:"decoders"`

	Pattern          struct{ String, Regex *string } `json:"pattern"`
	Content          string                          `json:"content"`
	Behavior         string                          `json:"behavior"`
	Invert           bool                            `json:"invert"`
	AddPrefixSpace   bool                            `json:"add_prefix_space"`
	UseRegex         *bool                           `json:"use_regex"`
	IndividualDigits bool                            `json:"individual_digits"`

	Single        []map[string]struct{ ID string } `json:"single"`
	SpecialTokens map[string]struct{ IDs []int32 } `json:"special_tokens"`
}

// flatten returns the steps of a part with nested sequences opened. Absent and null are no steps.
func flatten(raw json.RawMessage, field string, depth int) ([]step, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if depth > 8 {
		return nil, fmt.Errorf("%s: sequences nested deeper than 8", field)
	}
	var s step
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if s.Type != "Sequence" {
		return []step{s}, nil
	}
	var steps []step
	for _, list := range [][]json.RawMessage{s.Normalizers, s.PreTokenizers, s.Processors, s.Decoders} {
		for _, raw := range list {
			inner, err := flatten(raw, field, depth+1)
			if err != nil {
				return nil, err
			}
			steps = append(steps, inner...)
		}
	}
	return steps, nil
}

// parse builds a tokenizer from the bytes of a tokenizer.json.
func parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	t := &Tokenizer{bos: -1}
	for _, read := range []func(*file) error{t.readModel, t.readNormalizer, t.readPreTokenizer, t.readPostProcessor, t.readDecoder} {
		if err := read(&f); err != nil {
			return nil, err
		}
	}
	tokens, err := f.tokens()
	if err != nil {
		return nil, err
	}
	if f.Model.Unk != nil {
		id, ok := f.Model.Vocab[*f.Model.Unk]
		if !ok {
			return nil, fmt.Errorf("model.unk_token: %q is not in the vocabulary", *f.Model.Unk)
		}
		t.model.unk = id
	}
	merges, err := f.merges()
	if err != nil {
		return nil, err
	}
	added := make([]AddedToken, len(f.AddedTokens))
	for i, a := range f.AddedTokens {
		if a.SingleWord {
			return nil, fmt.Errorf("added_tokens[%d] %q: single_word is not supported", i, a.Content)
		}
		added[i] = AddedToken{a.ID, a.Content, a.Special, a.LStrip, a.RStrip, a.Normalized}
	}
	return t, t.build(tokens, merges, added)
}

// tokens lists the vocabulary and the added tokens by id.
func (f *file) tokens() ([]string, error) {
	n := len(f.Model.Vocab)
	for _, a := range f.AddedTokens {
		if _, ok := f.Model.Vocab[a.Content]; !ok {
			n++
		}
	}
	tokens := make([]string, n)
	put := func(tok string, id int32) error {
		if id < 0 || int(id) >= n {
			return fmt.Errorf("token %q: id %d of %d tokens; ids must be unique and without gaps", tok, id, n)
		}
		if tokens[id] != "" && tokens[id] != tok {
			return fmt.Errorf("tokens %q and %q: both have id %d", tokens[id], tok, id)
		}
		tokens[id] = tok
		return nil
	}
	for tok, id := range f.Model.Vocab {
		if err := put(tok, id); err != nil {
			return nil, fmt.Errorf("model.vocab: %w", err)
		}
	}
	for i, a := range f.AddedTokens {
		if err := put(a.Content, a.ID); err != nil {
			return nil, fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
	}
	return tokens, nil
}

// merges reads both spellings: "a b" and ["a", "b"].
func (f *file) merges() ([][2]string, error) {
	var lines []string
	if err := json.Unmarshal(f.Model.Merges, &lines); err == nil {
		merges := make([][2]string, len(lines))
		for i, line := range lines {
			a, b, ok := strings.Cut(line, " ")
			if !ok || a == "" || b == "" || strings.Contains(b, " ") {
				return nil, fmt.Errorf("model.merges[%d]: %q is not two tokens with a blank between", i, line)
			}
			merges[i] = [2]string{a, b}
		}
		return merges, nil
	}
	var lists [][]string
	if err := json.Unmarshal(f.Model.Merges, &lists); err != nil {
		return nil, fmt.Errorf("model.merges: want a list of \"a b\" or of [\"a\", \"b\"]: %w", err)
	}
	merges := make([][2]string, len(lists))
	for i, l := range lists {
		if len(l) != 2 || l[0] == "" || l[1] == "" {
			return nil, fmt.Errorf("model.merges[%d]: %q is not two tokens", i, l)
		}
		merges[i] = [2]string{l[0], l[1]}
	}
	return merges, nil
}

func (t *Tokenizer) readModel(f *file) error {
	m := f.Model
	switch {
	case m.Type != "BPE" && (m.Type != "" || m.Merges == nil):
		return fmt.Errorf("model.type: %q is not supported; only BPE is", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("model.dropout: %g makes ids random; set it to null", *m.Dropout)
	case m.Prefix != nil && *m.Prefix != "":
		return fmt.Errorf("model.continuing_subword_prefix: %q is not supported", *m.Prefix)
	case m.Suffix != nil && *m.Suffix != "":
		return fmt.Errorf("model.end_of_word_suffix: %q is not supported", *m.Suffix)
	case len(m.Merges) == 0:
		return errors.New("model.merges: missing")
	}
	t.model = bpe{ignoreMerges: m.IgnoreMerges, fuseUnk: m.FuseUnk, unk: -1}
	return nil
}

func (t *Tokenizer) readNormalizer(f *file) error {
	steps, err := flatten(f.Normalizer, "normalizer", 0)
	if len(steps) > maxSteps {
		return fmt.Errorf("normalizer: %d steps; at most %d", len(steps), maxSteps)
	}
	replaced := false
	for _, s := range steps {
		switch {
		case s.Type == "NFC":
			t.normalizer = append(t.normalizer, normalizer{nfc: true})
		case s.Type == "Replace" && len(s.Content) > maxReplace:
			return fmt.Errorf("normalizer: Replace by %d bytes; at most %d", len(s.Content), maxReplace)
		case s.Type == "Replace" && replaced:
			return errors.New("normalizer: a second Replace is not supported")
		case s.Type == "Replace" && s.Pattern.String != nil && *s.Pattern.String != "":
			replaced = true
			t.normalizer = append(t.normalizer, normalizer{old: *s.Pattern.String, new: s.Content})
		default:
			return fmt.Errorf("normalizer: %s is not supported; NFC and Replace of a string are", s.Type)
		}
	}
	return err
}

func (t *Tokenizer) readPreTokenizer(f *file) error {
	steps, err := flatten(f.PreTokenizer, "pre_tokenizer", 0)
	if err != nil {
		return err
	}
	if len(steps) > maxSteps {
		return fmt.Errorf("pre_tokenizer: %d steps; at most %d", len(steps), maxSteps)
	}
	for i, s := range steps {
		if t.model.byteLevel {
			return fmt.Errorf("pre_tokenizer: %s after ByteLevel is not supported", s.Type)
		}
		if err := t.readSplit(s); err != nil {
			return fmt.Errorf("pre_tokenizer[%d]: %w", i, err)
		}
	}
	if t.model.byteLevel == f.Model.ByteFallback {
		return fmt.Errorf("pre_tokenizer: ByteLevel %t with model.byte_fallback %t; want exactly one of them",
			t.model.byteLevel, f.Model.ByteFallback)
	}
	if t.cutAfter != "" && len(t.stages) > 0 {
		return errors.New("pre_tokenizer: Split by a string beside another is not supported")
	}
	return nil
}

// readSplit adds one pre-tokenizer.
func (t *Tokenizer) readSplit(s step) error {
	switch {
	case s.Type == "ByteLevel":
		if s.AddPrefixSpace {
			return errors.New("ByteLevel with add_prefix_space is not supported")
		}
		t.model.byteLevel = true
		if s.UseRegex == nil || *s.UseRegex {
			t.stages = append(t.stages, stage{matchGPT2, true})
		}
	case s.Type == "Digits" && s.IndividualDigits:
		t.stages = append(t.stages, stage{matchDigit, false})
	case s.Type == "Digits":
		t.stages = append(t.stages, stage{matchDigits, false})
	case s.Type == "Split" && s.Pattern.Regex != nil:
		st, ok := stageFor(*s.Pattern.Regex)
		if !ok {
			return fmt.Errorf("unknown regular expression %q; known are those of GPT-2, Llama 3, Qwen 2 and 3, DeepSeek-V3", *s.Pattern.Regex)
		}
		// Where some match starts at every character there is nothing between matches to remove.
		isolated := s.Behavior == "Isolated" && !s.Invert
		if !isolated && !(st.total && s.Behavior == "Removed" && s.Invert) {
			return fmt.Errorf("Split behavior %q with invert %t is not supported", s.Behavior, s.Invert)
		}
		t.stages = append(t.stages, st)
	case s.Type == "Split" && s.Pattern.String != nil && *s.Pattern.String != "" &&
		s.Behavior == "MergedWithPrevious" && !s.Invert && t.cutAfter == "":
		t.cutAfter = *s.Pattern.String
	default:
		return fmt.Errorf("%s (behavior %q) is not supported", s.Type, s.Behavior)
	}
	return nil
}

// readPostProcessor reads the template for one sequence. ByteLevel only trims offsets.
func (t *Tokenizer) readPostProcessor(f *file) error {
	steps, err := flatten(f.PostProcessor, "post_processor", 0)
	seen := false
	for _, s := range steps {
		if s.Type == "ByteLevel" {
			continue
		}
		if s.Type != "TemplateProcessing" || seen {
			return fmt.Errorf("post_processor: %s is not supported; one TemplateProcessing and ByteLevel are", s.Type)
		}
		seen = true
		if err := t.readTemplate(s); err != nil {
			return fmt.Errorf("post_processor.single: %w", err)
		}
	}
	return err
}

func (t *Tokenizer) readTemplate(s step) error {
	text := false
	for i, item := range s.Single {
		if seq, ok := item["Sequence"]; ok && len(item) == 1 && seq.ID == "A" && !text {
			text = true
			continue
		}
		tok, ok := item["SpecialToken"]
		special, known := s.SpecialTokens[tok.ID]
		if !ok || len(item) != 1 || !known {
			return fmt.Errorf("item %d is neither the text nor a token of special_tokens", i)
		}
		if text {
			t.suffix = append(t.suffix, special.IDs...)
		} else {
			t.prefix = append(t.prefix, special.IDs...)
		}
	}
	if !text {
		return errors.New("no sequence A")
	}
	return nil
}

// readDecoder checks that the decoder is the one that fits the model.
func (t *Tokenizer) readDecoder(f *file) error {
	steps, err := flatten(f.Decoder, "decoder", 0)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range steps {
		if s.Type == "Replace" && (s.Pattern.String == nil || *s.Pattern.String != "\u2581" || s.Content != " ") {
			return fmt.Errorf("decoder: Replace of anything but U+2581 by a blank is not supported")
		}
		names = append(names, s.Type)
	}
	got, want := strings.Join(names, ", "), "Replace, ByteFallback, Fuse"
	if t.model.byteLevel {
		want = "ByteLevel"
	}
	if got != want {
		return fmt.Errorf("decoder: %q is not supported for this model; want %q", got, want)
	}
	return nil
}

// readConfigs takes BOS and EOS from the files beside tokenizer.json, which read gives by their names.
func (t *Tokenizer) readConfigs(read func(name string) ([]byte, error)) error {
	var tc struct {
		BOS json.RawMessage `json:"bos_token"`
		EOS json.RawMessage `json:"eos_token"`
	}
	var gc struct {
		BOS json.RawMessage `json:"bos_token_id"`
		EOS json.RawMessage `json:"eos_token_id"`
	}
	path := "tokenizer_config.json"
	if err := readConfig(read, path, &tc); err != nil {
		return err
	}
	bos, err := t.named(tc.BOS)
	if err != nil {
		return fmt.Errorf("%s: bos_token: %w", path, err)
	}
	eos, err := t.named(tc.EOS)
	if err != nil {
		return fmt.Errorf("%s: eos_token: %w", path, err)
	}
	path = "generation_config.json"
	if err := readConfig(read, path, &gc); err != nil {
		return err
	}
	moreBOS, err := idList(gc.BOS)
	if err != nil {
		return fmt.Errorf("%s: bos_token_id: %w", path, err)
	}
	moreEOS, err := idList(gc.EOS)
	if err != nil {
		return fmt.Errorf("%s: eos_token_id: %w", path, err)
	}
	if bos = append(bos, moreBOS...); len(bos) > 0 {
		t.bos = bos[0]
	}
	t.eos = eos
	for _, id := range moreEOS {
		if len(eos) == 0 || id != eos[0] {
			t.eos = append(t.eos, id)
		}
	}
	if err := t.checkIDs(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readConfig reads a JSON file into v; a missing one leaves v as it is.
func readConfig(read func(name string) ([]byte, error), name string, v any) error {
	data, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// named returns the id of a token given as "text" or {"content": "text"}; none for null.
func (t *Tokenizer) named(raw json.RawMessage) ([]int32, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var object struct{ Content string }
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, err
		}
		text = object.Content
	}
	id, ok := t.ids[text]
	if !ok {
		return nil, fmt.Errorf("%q is not in the vocabulary", text)
	}
	return []int32{id}, nil
}

// idList reads an id, a list of ids or null.
func idList(raw json.RawMessage) (ids []int32, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var id int32
	if json.Unmarshal(raw, &id) == nil {
		return []int32{id}, nil
	}
	err = json.Unmarshal(raw, &ids)
	return ids, err
}
