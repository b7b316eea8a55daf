package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// A stage cuts text into pieces. match returns the end of the match that starts at s[i:], or i when
// none does. Matches become pieces of their own, and so does the text between two matches; the next
// stage sees each piece alone, so its lookahead ends where the piece does.
type stage struct {
	match func(s string, i int) int
	total bool // some match starts at every character
}

// The expressions of the known pre-tokenizers, by their exact text.
const (
	regexGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

	regexLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	regexQwen2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	regexDigits3 = `\p{N}{1,3}`

	regexKana = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"

	regexDeepSeek = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
		"[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|" +
		"\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)

// stageFor returns the scanner for an expression known by its text.
func stageFor(regex string) (stage, bool) {
	switch regex {
	case regexGPT2:
		return stage{matchGPT2, true}, true
	case regexLlama3:
		return stage{matchLlama3, true}, true
	case regexQwen2:
		return stage{matchQwen2, true}, true
	case regexDigits3:
		return stage{matchDigits3, false}, true
	case regexKana:
		return stage{matchKana, false}, true
	case regexDeepSeek:
		return stage{matchDeepSeek, false}, true
	}
	return stage{}, false
}

// cut calls piece for each piece of s, in order. base is where s begins in the caller's text.
func cut(stages []stage, s string, base int, piece func(s string, base int)) {
	if len(stages) == 0 {
		if s != "" {
			piece(s, base)
		}
		return
	}
	match, rest := stages[0].match, stages[1:]
	start := 0 // of the text since the last match
	for i := 0; i < len(s); {
		end := match(s, i)
		if end == i {
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			continue
		}
		if start < i {
			cut(rest, s[start:i], base+start, piece)
		}
		cut(rest, s[i:end], base+i, piece)
		i, start = end, end
	}
	if start < len(s) {
		cut(rest, s[start:], base+start, piece)
	}
}

func matchGPT2(s string, i int) int {
	if end := contraction(s, i, false); end > i {
		return end
	}
	c, _ := classAt(s, i)
	j := i
	if s[i] == ' ' { // " ?" takes the blank when something follows it
		if next, n := classAt(s, i+1); n > 0 && next&space == 0 {
			c, j = next, i+1
		}
	}
	switch {
	case c&(letter|number) != 0:
		return run(s, j, c)
	case c&space == 0:
		return runExcept(s, j, space|letter|number)
	}
	return blanks(s, i)
}

func matchLlama3(s string, i int) int { return matchCL100K(s, i, 3) }

func matchQwen2(s string, i int) int { return matchCL100K(s, i, 1) }

// matchCL100K scans the expression of Llama 3 and Qwen 2, which differ in how many digits make a
// word.
func matchCL100K(s string, i, digits int) int {
	if end := contraction(s, i, true); end > i {
		return end
	}
	c, n := classAt(s, i)
	if c == letter {
		return run(s, i, letter)
	}
	if c == number {
		return runAtMost(s, i, digits)
	}
	if s[i] != '\r' && s[i] != '\n' {
		if next, _ := classAt(s, i+n); next == letter {
			return run(s, i+n, letter)
		}
	}
	j := i
	if s[i] == ' ' {
		j++
	}
	if end := runExcept(s, j, space|letter|number); end > j {
		return newlines(s, end)
	}
	if end := toLastNewline(s, i); end > i {
		return end
	}
	return blanks(s, i)
}

func matchDigits3(s string, i int) int { return runAtMost(s, i, 3) }

// matchDigit is the Digits pre-tokenizer with individual_digits, matchDigits without.
func matchDigit(s string, i int) int { return runAtMost(s, i, 1) }

func matchDigits(s string, i int) int { return run(s, i, number) }

func matchKana(s string, i int) int {
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		if (r < 0x4e00 || r > 0x9fa5) && (r < 0x3040 || r > 0x30ff) {
			break
		}
		i += n
	}
	return i
}

// matchDeepSeek scans the third expression of DeepSeek-V3. It leaves control characters, digits and
// unassigned characters unmatched.
func matchDeepSeek(s string, i int) int {
	if c := s[i]; c < utf8.RuneSelf && asciiClass[c]&(punct|symbol) != 0 {
		if end := asciiLetters(s, i+1); end > i+1 {
			return end
		}
	}
	c, n := classAt(s, i)
	if c&(letter|mark) != 0 {
		return run(s, i, letter|mark)
	}
	if c&(punct|symbol) == 0 && s[i] != '\r' && s[i] != '\n' {
		if next, _ := classAt(s, i+n); next&(letter|mark) != 0 {
			return run(s, i+n, letter|mark)
		}
	}
	j := i
	if s[i] == ' ' {
		j++
	}
	if end := run(s, j, punct|symbol); end > j {
		return newlines(s, end)
	}
	if c != space {
		return i
	}
	if end := toLastNewline(s, i); end > i {
		return end
	}
	return blanks(s, i)
}

// contraction matches 's 't 're 've 'm 'll 'd. With fold it ignores case as Oniguruma does: the long
// s, U+017F, is an s.
func contraction(s string, i int, fold bool) int {
	if s[i] != '\'' || i+1 >= len(s) {
		return i
	}
	if fold && strings.HasPrefix(s[i+1:], "\u017f") {
		return i + 3
	}
	lower := func(c byte) byte {
		if fold && 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		return c
	}
	a := lower(s[i+1])
	switch a {
	case 's', 't', 'm', 'd':
		return i + 2
	}
	if i+2 < len(s) {
		b := lower(s[i+2])
		if b == 'e' && (a == 'r' || a == 'v') || a == 'l' && b == 'l' {
			return i + 3
		}
	}
	return i
}

// blanks matches \s+(?!\S)|\s+: the whole run at the end of the text, else the
// run but its last character, else that character. It returns i at anything else.
func blanks(s string, i int) int {
	last, end := i, i
	for {
		c, n := classAt(s, end)
		if c != space {
			break
		}
		last, end = end, end+n
	}
	if end == len(s) || last == i {
		return end
	}
	return last
}

// toLastNewline matches \s*[\r\n]+: up to the last line break in the run of blanks.
func toLastNewline(s string, i int) int {
	last := i
	for j := i; ; {
		c, n := classAt(s, j)
		if c != space {
			return last
		}
		if s[j] == '\n' || s[j] == '\r' {
			last = j + 1
		}
		j += n
	}
}

func newlines(s string, i int) int {
	for i < len(s) && (s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

func asciiLetters(s string, i int) int {
	for i < len(s) && asciiClass[s[i]&0x7f] == letter && s[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// runExcept returns the end of the run of characters of none of the classes in stop.
func runExcept(s string, i int, stop class) int {
	for {
		c, n := classAt(s, i)
		if n == 0 || c&stop != 0 {
			return i
		}
		i += n
	}
}

// runAtMost returns the end of a run of at most limit digits.
func runAtMost(s string, i, limit int) int {
	for ; limit > 0; limit-- {
		c, n := classAt(s, i)
		if c != number {
			break
		}
		i += n
	}
	return i
}
