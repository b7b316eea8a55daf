package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Decode returns the text of ids. With skipSpecial the tokens marked special are left out; tags such
// as <think>, which Qwen3 adds as ordinary tokens, stay. Ids out of range are left out. Bytes that
// are not UTF-8 become U+FFFD: one for each maximal invalid part (Unicode 16.0, section 3.9), and
// under byte fallback one for each byte token of a run that is not UTF-8 as a whole.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	st := t.NewStream(skipSpecial)
	var text strings.Builder
	for _, id := range ids {
		text.WriteString(st.Add(id))
	}
	text.WriteString(st.Flush())
	return text.String()
}

// Stream decodes ids one at a time. What Add and Flush return, joined, is what Decode returns for
// all ids at once. Not safe for concurrent use.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	held        []byte
}

// NewStream starts a decoding; see Decode for skipSpecial.
func (t *Tokenizer) NewStream(skipSpecial bool) *Stream {
	return &Stream{t: t, skipSpecial: skipSpecial}
}

// Add returns the text that id completes: "" while a character is unfinished. Under byte fallback a
// run of byte tokens is held until another token ends it, since its last byte can spoil the first.
func (s *Stream) Add(id int32) string {
	t := s.t
	if id < 0 || int(id) >= len(t.bytes) || s.skipSpecial && t.special[id] {
		return ""
	}
	if t.model.byteLevel {
		s.held = append(s.held, t.bytes[id]...)
		text, rest := lossy(s.held, false)
		s.held = append(s.held[:0], rest...)
		return text
	}
	if t.isByte[id] {
		s.held = append(s.held, t.bytes[id]...)
		return ""
	}
	return s.Flush() + t.bytes[id]
}

// Flush returns the text of what is held: U+FFFD for an unfinished character. The stream can go on.
func (s *Stream) Flush() string {
	var text string
	switch {
	case s.t.model.byteLevel:
		text, _ = lossy(s.held, true)
	case utf8.Valid(s.held):
		text = string(s.held)
	default:
		text = strings.Repeat("\ufffd", len(s.held))
	}
	s.held = s.held[:0]
	return text
}

// lossy turns bytes into text with one U+FFFD for each maximal invalid part. Unless last, an
// unfinished character at the end is returned instead.
func lossy(b []byte, last bool) (text string, rest []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	var out strings.Builder
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			out.Write(b[:n])
			b = b[n:]
			continue
		}
		if !last && !utf8.FullRune(b) {
			return out.String(), b
		}
		out.WriteString("\ufffd")
		b = b[invalidPart(b):]
	}
	return out.String(), nil
}

// invalidPart returns the length of the longest start of b that begins some valid character, at
// least 1. b does not start with a valid one.
func invalidPart(b []byte) int {
	n := 1
	for n < len(b) && n < utf8.UTFMax-1 && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}
