package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Tokenizer maps text to token ids and back. Make one with Load or New.
type Tokenizer struct {
	model      bpe
	stages     []stage
	cutAfter   string // Gemma: also cut after each of these
	normalizer []normalizer
	raw        *matcher // added tokens found in the raw text
	normalized *matcher // added tokens found in the normalized text
	prefix     []int32  // template before the text
	suffix     []int32  // and after it

	tokens  []string // text of each id, as the file spells it
	bytes   []string // what each id decodes to
	isByte  []bool   // <0xXX> tokens under byte fallback
	special []bool
	ids     map[string]int32
	bos     int32
	eos     []int32

	pool sync.Pool // of *scratch
}

// Span is a range of bytes of the encoded text: from Start up to, not including, End.
type Span struct{ Start, End int }

// Encode returns the ids of text. With addSpecial the file's template adds its tokens, such as
// <|begin_of_text|>. Added tokens spelled out in text become their ids either way: text from
// strangers can spell a control token. Bytes that are not UTF-8 are kept by byte-level models.
//
// A file's truncation and padding settings are ignored, and DeepSeek's add_bos_token, which
// tokenizer_config.json has and tokenizer.json has not, too.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	e := encoder{t: t, sc: t.scratch(), ids: make([]int32, 0, len(text)/3+8)}
	e.encode(text, addSpecial)
	t.pool.Put(e.sc)
	return e.ids
}

// EncodeOffsets is Encode that also returns where in text each token came from, widened to whole
// characters. Tokens of the template have empty spans at the start or the end.
func (t *Tokenizer) EncodeOffsets(text string, addSpecial bool) ([]int32, []Span) {
	e := encoder{t: t, sc: t.scratch(), ids: []int32{}, withSpans: true}
	e.encode(text, addSpecial)
	t.pool.Put(e.sc)
	for i, s := range e.spans {
		for s.Start > 0 && s.Start < len(text) && !utf8.RuneStart(text[s.Start]) {
			s.Start--
		}
		for s.End < len(text) && !utf8.RuneStart(text[s.End]) {
			s.End++
		}
		e.spans[i] = s
	}
	return e.ids, e.spans
}

// scratch takes working memory from the pool.
func (t *Tokenizer) scratch() *scratch {
	if sc, ok := t.pool.Get().(*scratch); ok {
		return sc
	}
	return &scratch{cache: map[string][2]int32{}}
}

// encoder is one Encode call.
type encoder struct {
	t         *Tokenizer
	sc        *scratch
	ids       []int32
	withSpans bool
	spans     []Span

	// The stretch being encoded: it begins at base of the raw text and origin maps its bytes there.
	base   int
	origin aligned
}

func (e *encoder) encode(text string, addSpecial bool) {
	if addSpecial {
		e.template(e.t.prefix, 0)
	}
	e.t.raw.split(text, func(from, to int) { e.stretch(text[from:to], from) },
		func(a *AddedToken, from, to int) { e.base, e.origin = 0, aligned{}; e.add(a.ID, from, to) })
	if addSpecial {
		e.template(e.t.suffix, len(text))
	}
}

func (e *encoder) template(ids []int32, at int) {
	e.base, e.origin = 0, aligned{}
	for _, id := range ids {
		e.add(id, at, at)
	}
}

// add appends one id that covers bytes from..to of the current stretch.
func (e *encoder) add(id int32, from, to int) {
	e.ids = append(e.ids, id)
	if e.withSpans {
		lo, hi := e.origin.span(from, to)
		e.spans = append(e.spans, Span{e.base + lo, e.base + hi})
	}
}

// stretch encodes raw text between added tokens of the first pass.
func (e *encoder) stretch(s string, base int) {
	t := e.t
	e.base, e.origin = base, aligned{}
	if e.withSpans {
		e.origin = align(t.normalizer, s)
		s = e.origin.text
	} else {
		s = normalizeAll(t.normalizer, s)
	}
	t.normalized.split(s, func(from, to int) {
		cut(t.stages, s[from:to], from, e.piece)
	}, func(a *AddedToken, from, to int) { e.add(a.ID, from, to) })
}

func (e *encoder) piece(s string, base int) {
	for sep := e.t.cutAfter; sep != ""; {
		i := strings.Index(s, sep)
		if i < 0 || i+len(sep) == len(s) {
			break
		}
		i += len(sep)
		e.t.model.cutWords(s[:i], base, e.word)
		s, base = s[i:], base+i
	}
	e.t.model.cutWords(s, base, e.word)
}

// Words up to cachedWord bytes are remembered by the scratch memory, at most cachedWords of them.
const (
	cachedWord  = 64
	cachedWords = 1 << 15
)

func (e *encoder) word(s string, base int) {
	m, sc := &e.t.model, e.sc
	if e.withSpans {
		m.tokens(sc, s)
		for _, p := range sc.parts {
			e.add(p.id, base, base+int(p.len))
			base += int(p.len)
		}
		return
	}
	if at, ok := sc.cache[s]; ok {
		e.ids = append(e.ids, sc.ids[at[0]:at[1]]...)
		return
	}
	n := len(e.ids)
	m.tokens(sc, s)
	for _, p := range sc.parts {
		e.ids = append(e.ids, p.id)
	}
	if len(s) > cachedWord {
		return
	}
	if len(sc.cache) >= cachedWords {
		clear(sc.cache)
		sc.ids = sc.ids[:0]
	}
	from := len(sc.ids)
	sc.ids = append(sc.ids, e.ids[n:]...)
	sc.cache[strings.Clone(s)] = [2]int32{int32(from), int32(len(sc.ids))}
}

// Token returns the text of an id as tokenizer.json spells it; ok is false for an id out of range.
func (t *Tokenizer) Token(id int32) (token string, ok bool) {
	if id < 0 || int(id) >= len(t.tokens) {
		return "", false
	}
	return t.tokens[id], true
}

// ID returns the id of a token spelled as in tokenizer.json.
func (t *Tokenizer) ID(token string) (id int32, ok bool) {
	id, ok = t.ids[token]
	return id, ok
}

// VocabSize returns the number of ids, added tokens included. A model's embedding may have more rows,
// never fewer.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// IsSpecial reports whether Decode with skipSpecial leaves the id out.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.special) && t.special[id]
}

// BOS returns the beginning-of-sequence id of tokenizer_config.json, else of generation_config.json;
// ok is false if neither names one.
func (t *Tokenizer) BOS() (id int32, ok bool) { return t.bos, t.bos >= 0 }

// EOS returns the ids that end a sequence: that of tokenizer_config.json first, then the others of
// generation_config.json. It is empty if neither file names one.
func (t *Tokenizer) EOS() []int32 { return append([]int32(nil), t.eos...) }
