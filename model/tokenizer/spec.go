package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits on what a file may declare. Real files stay below a tenth of each but the size: Gemma 3 has
// 262,145 tokens, 514,906 merges and 33 MB.
const (
	maxFile       = 100 << 20
	maxTokens     = 1 << 22
	maxTokenBytes = 1 << 16
	maxTemplate   = 64
	maxSteps      = 4 // normalizers or pre-tokenizers in sequence; DeepSeek-V3 has 4
	maxReplace    = 8 // bytes a normalizer may put in for a string: text grows at most 8-fold
)

// Split names the way a model cuts text into words.
type Split string

// The splits of known models, for New. Files name theirs by its regular expression.
const (
	SplitGPT2     Split = "gpt2"
	SplitLlama3   Split = "llama3"
	SplitQwen2    Split = "qwen2" // and Qwen3
	SplitDeepSeek Split = "deepseek_v3"
	SplitSmolLM2  Split = "smollm2"
)

func (s Split) stages() ([]stage, error) {
	switch s {
	case SplitGPT2:
		return []stage{{matchGPT2, true}}, nil
	case SplitLlama3:
		return []stage{{matchLlama3, true}}, nil
	case SplitQwen2:
		return []stage{{matchQwen2, true}}, nil
	case SplitDeepSeek:
		return []stage{{matchDigits3, false}, {matchKana, false}, {matchDeepSeek, false}}, nil
	case SplitSmolLM2:
		return []stage{{matchDigit, false}, {matchGPT2, true}}, nil
	}
	return nil, fmt.Errorf("tokenizer: unknown split %q; known are gpt2, llama3, qwen2, deepseek_v3, smollm2", s)
}

// Spec is a byte-level BPE tokenizer in memory.
type Spec struct {
	Tokens       []string    // by id, in GPT-2's alphabet: a blank is Ġ. Holds the added tokens too.
	Merges       [][2]string // best first
	Added        []AddedToken
	Split        Split
	NFC          bool // normalize text first, as Qwen does
	IgnoreMerges bool // a word that is a token is that token, as in Llama 3

	Prefix, Suffix []int32 // what Encode adds with addSpecial
	BOS            int32   // -1: none
	EOS            []int32
}

// New builds a tokenizer from a Spec. It fails, naming the entry, if a token is double or empty, if a
// merge has a part or a result that is no token, or if an id is out of range.
func New(s Spec) (*Tokenizer, error) {
	stages, err := s.Split.stages()
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{stages: stages, prefix: s.Prefix, suffix: s.Suffix, bos: s.BOS, eos: s.EOS}
	t.model = bpe{byteLevel: true, ignoreMerges: s.IgnoreMerges, unk: -1}
	if s.NFC {
		t.normalizer = []normalizer{{nfc: true}}
	}
	if err := t.build(s.Tokens, s.Merges, s.Added); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	for b, id := range t.model.bytes {
		if id < 0 && inUTF8(byte(b)) {
			return nil, fmt.Errorf("tokenizer: no token for byte 0x%02x: text would be lost", b)
		}
	}
	return t, nil
}

// build fills the tables; the model's switches, the normalizer and the templates are set before.
func (t *Tokenizer) build(tokens []string, merges [][2]string, added []AddedToken) error {
	if len(tokens) == 0 || len(tokens) > maxTokens || len(merges) > maxTokens {
		return fmt.Errorf("%d tokens and %d merges; want at least one token and at most %d of each",
			len(tokens), len(merges), maxTokens)
	}
	t.tokens = tokens
	t.ids = make(map[string]int32, len(tokens))
	for id, tok := range tokens {
		if tok == "" || len(tok) > maxTokenBytes {
			return fmt.Errorf("token %d has %d bytes; want 1 to %d, and ids without gaps", id, len(tok), maxTokenBytes)
		}
		if first, ok := t.ids[tok]; ok {
			return fmt.Errorf("token %q has ids %d and %d; ids must be unique", tok, first, id)
		}
		t.ids[tok] = int32(id)
	}
	if err := t.addTokens(added); err != nil {
		return err
	}
	t.decodeTable()
	t.alphabet()
	if err := t.buildMerges(merges); err != nil {
		return err
	}
	return t.checkIDs()
}

// addTokens sets up both passes over added tokens.
func (t *Tokenizer) addTokens(added []AddedToken) error {
	t.special = make([]bool, len(t.tokens))
	raw, normalized := make([]string, len(added)), make([]string, len(added))
	for i, a := range added {
		if id, ok := t.ids[a.Content]; !ok || id != a.ID {
			return fmt.Errorf("added token %q has id %d but the vocabulary has it at %d (known: %t)", a.Content, a.ID, id, ok)
		}
		t.special[a.ID] = t.special[a.ID] || a.Special
		if a.Normalized {
			normalized[i] = normalizeAll(t.normalizer, a.Content)
		} else {
			raw[i] = a.Content
		}
	}
	t.raw, t.normalized = newMatcher(added, raw), newMatcher(added, normalized)
	return nil
}

// decodeTable fills what every id decodes to.
func (t *Tokenizer) decodeTable() {
	t.bytes = make([]string, len(t.tokens))
	t.isByte = make([]bool, len(t.tokens))
	for id, tok := range t.tokens {
		if t.model.byteLevel {
			t.bytes[id] = fromAlphabet(tok)
		} else if b, ok := byteToken(tok); ok {
			t.bytes[id], t.isByte[id] = string([]byte{b}), true
		} else {
			t.bytes[id] = strings.ReplaceAll(tok, "\u2581", " ")
		}
	}
}

// alphabet finds the tokens of single bytes and characters. Files may lack some: SmolLM2's vocabulary has no token for six control
// characters and for the bytes with which the planes 4 to 11 begin. Text of those is dropped where there is no
// unk_token, as the Rust library does.
func (t *Tokenizer) alphabet() {
	m := &t.model
	for b := range m.bytes {
		name := fmt.Sprintf("<0x%02X>", b)
		if m.byteLevel {
			name = string(byteRune(byte(b)))
		}
		id, ok := t.ids[name]
		if !ok {
			id = -1
		}
		m.bytes[b] = id
	}
	if m.byteLevel {
		if m.ignoreMerges {
			m.words = make(map[string]int32, len(t.tokens))
			for tok, id := range t.ids {
				if b := fromAlphabet(tok); inAlphabet(tok) {
					m.words[b] = id
				}
			}
		}
		return
	}
	m.chars = make(map[rune]int32)
	for tok, id := range t.ids {
		if r, n := utf8.DecodeRuneInString(tok); n == len(tok) {
			m.chars[r] = id
		}
	}
	if m.ignoreMerges {
		m.words = t.ids
	}
}

// inUTF8 reports whether the byte occurs in any UTF-8 text.
func inUTF8(b byte) bool { return b != 0xc0 && b != 0xc1 && b < 0xf5 }

func (t *Tokenizer) buildMerges(merges [][2]string) error {
	m := &t.model
	m.merges = newPairs(len(merges))
	if !m.byteLevel {
		m.joins = newPairs(len(merges))
	}
	for rank, pair := range merges {
		left, okL := t.ids[pair[0]]
		right, okR := t.ids[pair[1]]
		id, ok := t.ids[pair[0]+pair[1]]
		if !okL || !okR || !ok {
			return fmt.Errorf("merge %d (%q + %q): a part or the result is not in the vocabulary", rank, pair[0], pair[1])
		}
		m.merges.set(uint32(left), uint32(right), uint32(rank), uint32(id))
		if m.joins != nil {
			a, _ := utf8.DecodeLastRuneInString(pair[0])
			b, _ := utf8.DecodeRuneInString(pair[1])
			m.joins.set(uint32(a), uint32(b), 0, 0)
		}
	}
	return nil
}

// checkIDs checks the ids that templates and configs name.
func (t *Tokenizer) checkIDs() error {
	if len(t.prefix)+len(t.suffix) > maxTemplate {
		return fmt.Errorf("template of %d tokens; at most %d", len(t.prefix)+len(t.suffix), maxTemplate)
	}
	for _, ids := range [][]int32{t.prefix, t.suffix, t.eos} {
		for _, id := range ids {
			if id < 0 || int(id) >= len(t.tokens) {
				return fmt.Errorf("template or eos id %d outside the vocabulary of %d", id, len(t.tokens))
			}
		}
	}
	if int(t.bos) >= len(t.tokens) {
		return fmt.Errorf("bos id %d outside the vocabulary of %d", t.bos, len(t.tokens))
	}
	return nil
}

// byteRune returns the character that stands for a byte in GPT-2's alphabet: itself where it prints,
// else one from U+0100 on.
func byteRune(b byte) rune {
	switch {
	case b <= ' ':
		return 0x100 + rune(b)
	case b >= 0x7f && b <= 0xa0:
		return 0x121 + rune(b-0x7f)
	case b == 0xad:
		return 0x143
	}
	return rune(b)
}

// runeByte is the inverse of byteRune.
func runeByte(r rune) (b byte, ok bool) {
	switch {
	case r >= 0x100 && r <= 0x120:
		return byte(r - 0x100), true
	case r >= 0x121 && r <= 0x142:
		return byte(r-0x121) + 0x7f, true
	case r == 0x143:
		return 0xad, true
	case r > 0xff || byteRune(byte(r)) != r:
		return 0, false
	}
	return byte(r), true
}

func inAlphabet(tok string) bool {
	for _, r := range tok {
		if _, ok := runeByte(r); !ok {
			return false
		}
	}
	return true
}

// fromAlphabet returns the bytes a token stands for; one with characters outside the alphabet, such as
// an added token, stands for itself.
func fromAlphabet(tok string) string {
	b := make([]byte, 0, len(tok))
	for _, r := range tok {
		c, ok := runeByte(r)
		if !ok {
			return tok
		}
		b = append(b, c)
	}
	return string(b)
}

// byteToken reads <0xXX>.
func byteToken(tok string) (b byte, ok bool) {
	if len(tok) != 6 || tok[:3] != "<0x" || tok[5] != '>' {
		return 0, false
	}
	for _, c := range []byte(tok[3:5]) {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		b = b<<4 | byte(d)
	}
	return b, true
}
