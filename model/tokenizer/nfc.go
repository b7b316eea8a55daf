package tokenizer

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// origin is a character of normalized text and the bytes of the raw text it came from.
type origin struct {
	r        rune
	ccc      uint8 // canonical combining class
	from, to int
}

// composeNFC puts text into normalization form C, character by character. norm.NFC.String cannot be
// used: it adds U+034F after every 30 combining marks, as streams need and vocabularies do not know.
// Invalid bytes are kept: they come back as utf8.RuneError with a raw span of one byte.
func composeNFC(s string) []origin {
	chars := decompose(s)
	out := chars[:0:0]
	starter := -1 // in out: where the next mark may compose
	for _, c := range chars {
		if starter >= 0 {
			last := out[len(out)-1]
			open := len(out)-1 == starter || last.ccc != 0 && last.ccc < c.ccc
			if r, ok := compose(out[starter].r, c.r); open && ok {
				out[starter].r = r
				out[starter].from, out[starter].to = min(out[starter].from, c.from), max(out[starter].to, c.to)
				continue
			}
		}
		if c.ccc == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	return out
}

// decompose returns the canonical decomposition of s with marks in canonical order.
func decompose(s string) []origin {
	var chars []origin
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r < utf8.RuneSelf || r == utf8.RuneError {
			chars = append(chars, origin{r, 0, i, i + n})
			i += n
			continue
		}
		for _, d := range norm.NFD.String(s[i : i+n]) {
			ccc := norm.NFD.PropertiesString(string(d)).CCC()
			chars = append(chars, origin{d, ccc, i, i + n})
		}
		i += n
	}
	for i := 0; i < len(chars); i++ {
		j := i
		for j < len(chars) && chars[j].ccc != 0 {
			j++
		}
		slices.SortStableFunc(chars[i:j], func(a, b origin) int { return int(a.ccc) - int(b.ccc) })
		i = max(i, j-1)
	}
	return chars
}

// compose returns the character that a and b make, if one does.
func compose(a, b rune) (rune, bool) {
	if b < 0x300 || b == utf8.RuneError || a == utf8.RuneError {
		return 0, false
	}
	pair := norm.NFC.String(string(a) + string(b))
	r, n := utf8.DecodeRuneInString(pair)
	return r, n == len(pair)
}
