package tokenizer

import "unicode/utf8"

// class is a set of Unicode properties. A code point has at most one of them; other is none.
type class uint8

const (
	letter class = 1 << iota // \p{L}
	number                   // \p{N}
	mark                     // \p{M}
	punct                    // \p{P}
	symbol                   // \p{S}
	space                    // \s, that is White_Space
	other  class = 0
)

// classRange gives code points lo..hi, both included, one class.
type classRange struct {
	lo, hi rune
	class  class
}

// classOf returns the class of r in Unicode 16.0. Go's unicode package has version 15.0, which
// differs in 5,812 code points.
func classOf(r rune) class {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', 0x4e00 <= r && r <= 0x9fff:
		return letter
	case r == ' ':
		return space
	}
	lo, hi := 0, len(classRanges)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if classRanges[mid].hi < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(classRanges) && classRanges[lo].lo <= r {
		return classRanges[lo].class
	}
	return other
}

// classAt returns the class of the character at s[i:] and its length in bytes; length 0 is the end.
// An invalid byte counts as U+FFFD, a symbol, of length 1.
func classAt(s string, i int) (class, int) {
	if i >= len(s) {
		return other, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classOf(r), n
}

// run returns the end of the longest run of characters of the classes in want that starts at i.
func run(s string, i int, want class) int {
	for {
		c, n := classAt(s, i)
		if c&want == 0 {
			return i
		}
		i += n
	}
}

// asciiClass is classOf for one-byte characters.
var asciiClass = [utf8.RuneSelf]class{
	'\t': space, '\n': space, '\v': space, '\f': space, '\r': space, ' ': space,
	'!': punct, '"': punct, '#': punct, '$': symbol, '%': punct, '&': punct, '\'': punct, '(': punct,
	')': punct, '*': punct, '+': symbol, ',': punct, '-': punct, '.': punct, '/': punct,
	'0': number, '1': number, '2': number, '3': number, '4': number,
	'5': number, '6': number, '7': number, '8': number, '9': number,
	':': punct, ';': punct, '<': symbol, '=': symbol, '>': symbol, '?': punct, '@': punct,
	'A': letter, 'B': letter, 'C': letter, 'D': letter, 'E': letter, 'F': letter, 'G': letter,
	'H': letter, 'I': letter, 'J': letter, 'K': letter, 'L': letter, 'M': letter, 'N': letter,
	'O': letter, 'P': letter, 'Q': letter, 'R': letter, 'S': letter, 'T': letter, 'U': letter,
	'V': letter, 'W': letter, 'X': letter, 'Y': letter, 'Z': letter,
	'[': punct, '\\': punct, ']': punct, '^': symbol, '_': punct, '`': symbol,
	'a': letter, 'b': letter, 'c': letter, 'd': letter, 'e': letter, 'f': letter, 'g': letter,
	'h': letter, 'i': letter, 'j': letter, 'k': letter, 'l': letter, 'm': letter, 'n': letter,
	'o': letter, 'p': letter, 'q': letter, 'r': letter, 's': letter, 't': letter, 'u': letter,
	'v': letter, 'w': letter, 'x': letter, 'y': letter, 'z': letter,
	'{': punct, '|': symbol, '}': punct, '~': symbol,
}
