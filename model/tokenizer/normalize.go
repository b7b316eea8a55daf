package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer changes text before it is cut: NFC, or every old replaced by new.
type normalizer struct {
	nfc      bool
	old, new string
}

// aligned is normalized text that knows where it came from.
type aligned struct {
	text string
	// Byte i of text came from bytes from[i] to to[i] of the raw text; nil means i to i+1.
	from, to []int32
}

func (a aligned) span(from, to int) (int, int) {
	if a.from == nil || from == to {
		return from, to
	}
	return int(slices.Min(a.from[from:to])), int(slices.Max(a.to[from:to])) // NFC reorders marks
}

// normalizeAll applies every step in order.
func normalizeAll(steps []normalizer, s string) string {
	for _, n := range steps {
		switch {
		case n.nfc && !norm.NFC.IsNormalString(s):
			s = align([]normalizer{n}, s).text
		case !n.nfc:
			s = strings.ReplaceAll(s, n.old, n.new)
		}
	}
	return s
}

// align does the same and keeps track of origins.
func align(steps []normalizer, s string) aligned {
	a := aligned{text: s}
	for _, n := range steps {
		if n.nfc && norm.NFC.IsNormalString(a.text) || !n.nfc && !strings.Contains(a.text, n.old) {
			continue
		}
		var b aligned
		var text strings.Builder
		emit := func(out string, from, to int) {
			text.WriteString(out)
			lo, hi := a.span(from, to)
			for range len(out) {
				b.from, b.to = append(b.from, int32(lo)), append(b.to, int32(hi))
			}
		}
		if n.nfc {
			for _, c := range composeNFC(a.text) {
				if c.r == utf8.RuneError {
					emit(a.text[c.from:c.to], c.from, c.to)
				} else {
					emit(string(c.r), c.from, c.to)
				}
			}
		} else {
			n.alignReplace(a.text, emit)
		}
		b.text = text.String()
		a = b
	}
	return a
}

func (n normalizer) alignReplace(s string, emit func(out string, from, to int)) {
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], n.old) {
			emit(n.new, i, i+len(n.old))
			i += len(n.old)
			continue
		}
		emit(s[i:i+1], i, i+1)
		i++
	}
}
