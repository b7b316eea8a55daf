package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	tEOF kind = iota
	tData
	tVarBegin
	tVarEnd
	tBlockBegin
	tBlockEnd
	tName
	tString
	tInt
	tFloat
	tOp
)

type token struct {
	kind kind
	text string // of names, operators, strings and data
	num  Value  // of numbers
	line int
}

func (t token) String() string {
	switch t.kind {
	case tEOF:
		return "end of template"
	case tData:
		return "template data / text"
	case tVarBegin:
		return "begin of print statement"
	case tVarEnd:
		return "end of print statement"
	case tBlockBegin:
		return "begin of statement block"
	case tBlockEnd:
		return "end of statement block"
	case tString:
		return "string"
	case tInt:
		return "integer"
	case tFloat:
		return "float"
	}
	return t.text
}

type lexer struct {
	src       string
	pos       int
	line      int
	lineStart bool // the last thing read ended with a newline
	tokens    []token
}

// lex splits a template. The newline at its end is dropped, as Jinja does.
func lex(src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.add(tEOF, "")
	return l.tokens
}

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{Kind: "TemplateSyntaxError", Msg: fmt.Sprintf(format, args...), Line: l.line})
}

func (l *lexer) add(k kind, text string) {
	l.tokens = append(l.tokens, token{kind: k, text: text, line: l.line})
}

// advance moves over n bytes, counting lines.
func (l *lexer) advance(n int) {
	part := l.src[l.pos : l.pos+n]
	l.line += strings.Count(part, "\n")
	if n > 0 {
		l.lineStart = part[n-1] == '\n'
	}
	l.pos += n
}

func (l *lexer) rest() string { return l.src[l.pos:] }

// root reads text up to the next tag, and the tag.
func (l *lexer) root() {
	rest := l.rest()
	at := 0
	for {
		i := strings.IndexByte(rest[at:], '{')
		if i < 0 || at+i+1 >= len(rest) {
			l.add(tData, rest)
			l.advance(len(rest))
			return
		}
		at += i
		if c := rest[at+1]; c == '%' || c == '{' || c == '#' {
			break
		}
		at++
	}
	tag, sign := rest[at+1], byte(0)
	if at+2 < len(rest) && (rest[at+2] == '-' || rest[at+2] == '+') {
		sign = rest[at+2]
	}
	l.data(rest[:at], sign, tag != '{')
	l.advance(at)
	open := 2
	if sign != 0 {
		open++
	}
	switch {
	case tag == '#':
		l.advance(open)
		l.comment()
	case tag == '{':
		l.add(tVarBegin, "")
		l.advance(open)
		l.code("}}", tVarEnd)
	default:
		if n := rawTag(l.rest()[open:], "raw"); n > 0 {
			l.advance(open + n)
			l.raw()
			return
		}
		l.add(tBlockBegin, "")
		l.advance(open)
		l.code("%}", tBlockEnd)
	}
}

// data adds text that stands before a tag, stripped as the tag's sign says.
func (l *lexer) data(text string, sign byte, block bool) {
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, isSpace)
	case sign != '+' && block:
		from := strings.LastIndexByte(text, '\n') + 1
		if (from > 0 || l.lineStart) && strings.TrimFunc(text[from:], isSpace) == "" {
			text = text[:from]
		}
	}
	if text != "" {
		l.add(tData, text)
	}
}

// comment skips to the end of a comment.
func (l *lexer) comment() {
	i := strings.Index(l.rest(), "#}")
	if i < 0 {
		l.fail("Missing end of comment tag")
	}
	sign := byte(0)
	if i > 0 {
		sign = l.rest()[i-1]
	}
	l.advance(i + 2)
	l.afterBlock(sign)
}

// afterBlock skips what follows the end of a block or comment: whitespace after "-", else one newline but after "+".
func (l *lexer) afterBlock(sign byte) {
	rest := l.rest()
	switch {
	case sign == '-':
		l.advance(len(rest) - len(strings.TrimLeftFunc(rest, isSpace)))
	case sign != '+' && strings.HasPrefix(rest, "\n"):
		l.advance(1)
	}
}

// rawTag is the length of "raw" or "endraw" with the end of its tag, or 0.
func rawTag(s, word string) int {
	t := strings.TrimLeftFunc(s, isSpace)
	if !strings.HasPrefix(t, word) {
		return 0
	}
	t = strings.TrimLeftFunc(t[len(word):], isSpace)
	switch {
	case strings.HasPrefix(t, "%}"):
		return len(s) - len(t) + 2
	case strings.HasPrefix(t, "-%}"):
		if word == "raw" {
			t = strings.TrimLeftFunc(t[3:], isSpace)
			return len(s) - len(t)
		}
		return len(s) - len(t) + 3
	case word == "endraw" && strings.HasPrefix(t, "+%}"):
		return len(s) - len(t) + 3
	}
	return 0
}

// raw reads the text between raw and endraw.
func (l *lexer) raw() {
	rest := l.rest()
	for at := 0; ; at += 2 {
		i := strings.Index(rest[at:], "{%")
		if i < 0 {
			l.fail("Missing end of raw directive")
		}
		at += i
		after, sign := at+2, byte(0)
		if after < len(rest) && (rest[after] == '-' || rest[after] == '+') {
			sign = rest[after]
			after++
		}
		if n := rawTag(rest[after:], "endraw"); n > 0 {
			l.data(rest[:at], sign, true)
			l.advance(after + n)
			l.afterBlock(rest[after+n-3])
			return
		}
	}
}

// code reads the tokens of a tag up to its end.
func (l *lexer) code(end string, endKind kind) {
	var open []byte
	for {
		rest := l.rest()
		if rest == "" {
			return // the parser says what is missing
		}
		if len(open) == 0 {
			sign := byte(0)
			if rest[0] == '-' || rest[0] == '+' && endKind == tBlockEnd {
				sign = rest[0]
			}
			body := rest
			if sign != 0 {
				body = rest[1:]
			}
			if strings.HasPrefix(body, end) {
				l.add(endKind, "")
				l.advance(len(rest) - len(body) + len(end))
				if endKind == tBlockEnd || sign == '-' {
					l.afterBlock(sign)
				}
				return
			}
		}
		if n := len(rest) - len(strings.TrimLeftFunc(rest, isSpace)); n > 0 {
			l.advance(n)
			continue
		}
		c, _ := utf8.DecodeRuneInString(rest)
		switch {
		case c >= '0' && c <= '9':
			l.number()
		case c == '_' || isWord(c):
			n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !isWord(r) })
			if n < 0 {
				n = len(rest)
			}
			l.add(tName, rest[:n])
			l.advance(n)
		case c == '\'' || c == '"':
			l.str(byte(c))
		default:
			open = l.operator(open)
		}
	}
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nl)
}

var closers = map[byte]byte{'(': ')', '[': ']', '{': '}'}

func (l *lexer) operator(open []byte) []byte {
	rest := l.rest()
	op := ""
	for _, o := range [...]string{"//", "**", "==", "!=", ">=", "<="} {
		if strings.HasPrefix(rest, o) {
			op = o
		}
	}
	if op == "" && strings.IndexByte("+-/*%~[](){}><=.:|,;", rest[0]) >= 0 {
		op = rest[:1]
	}
	if op == "" {
		r, _ := utf8.DecodeRuneInString(rest)
		l.fail("unexpected char %s at %d", quote(string(r)), utf8.RuneCountInString(l.src[:l.pos]))
	}
	switch op {
	case "(", "[", "{":
		open = append(open, closers[op[0]])
	case ")", "]", "}":
		if len(open) == 0 {
			l.fail("unexpected '%s'", op)
		}
		if want := open[len(open)-1]; want != op[0] {
			l.fail("unexpected '%s', expected '%c'", op, want)
		}
		open = open[:len(open)-1]
	}
	l.add(tOp, op)
	l.advance(len(op))
	return open
}

// digits is the length of a run of digits of a base with single underscores between them; lead allows one before the first.
func digits(s string, lead bool, ok func(byte) bool) int {
	n := 0
	for n < len(s) {
		at := n
		if s[at] == '_' && (n > 0 || lead) {
			at++
		}
		if at >= len(s) || !ok(s[at]) {
			break
		}
		n = at + 1
	}
	return n
}

func isDec(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) number() {
	rest := l.rest()
	n := digits(rest, false, isDec)
	afterDot := l.pos > 0 && l.src[l.pos-1] == '.'
	end := n
	if !afterDot {
		if end < len(rest) && rest[end] == '.' {
			if m := digits(rest[end+1:], false, isDec); m > 0 {
				end += 1 + m
			}
		}
		if end < len(rest) && (rest[end] == 'e' || rest[end] == 'E') {
			e := end + 1
			if e < len(rest) && (rest[e] == '+' || rest[e] == '-') {
				e++
			}
			if m := digits(rest[e:], false, isDec); m > 0 {
				end = e + m
			}
		}
	}
	if end > n {
		f, _ := strconv.ParseFloat(strings.ReplaceAll(rest[:end], "_", ""), 64)
		l.tokens = append(l.tokens, token{kind: tFloat, num: f, line: l.line})
		l.advance(end)
		return
	}
	n = l.integerLen(rest)
	text := strings.ReplaceAll(rest[:n], "_", "")
	if len(text) > maxDigits {
		l.fail("an integer of %d digits", len(text))
	}
	i, ok := new(big.Int).SetString(strings.ToLower(text), 0)
	if !ok {
		l.fail("invalid integer %q", text)
	}
	l.tokens = append(l.tokens, token{kind: tInt, num: small(i), line: l.line})
	l.advance(n)
}

// integerLen is the length of the integer at the start of s; a zero is not followed by other digits.
func (l *lexer) integerLen(s string) int {
	if s[0] != '0' {
		return digits(s, false, isDec)
	}
	if len(s) > 1 {
		var ok func(byte) bool
		switch s[1] | 0x20 {
		case 'x':
			ok = func(c byte) bool { return isDec(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
		case 'o':
			ok = func(c byte) bool { return c >= '0' && c <= '7' }
		case 'b':
			ok = func(c byte) bool { return c == '0' || c == '1' }
		}
		if ok != nil {
			if n := digits(s[2:], true, ok); n > 0 {
				return 2 + n
			}
		}
	}
	return digits(s, false, func(c byte) bool { return c == '0' })
}

func (l *lexer) str(q byte) {
	rest := l.rest()
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case q:
			l.add(tString, l.unescape(rest[1:i]))
			l.advance(i + 1)
			return
		}
	}
	l.fail("unexpected char %s at %d", quote(string(q)), utf8.RuneCountInString(l.src[:l.pos]))
}

var simpleEscapes = map[byte]string{'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// unescape reads a string literal as Python's unicode-escape codec does after its ASCII encoding with backslashreplace.
func (l *lexer) unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		i++
		if i >= len(s) {
			l.fail("\\ at end of string")
		}
		c := s[i]
		if to, ok := simpleEscapes[c]; ok {
			b.WriteString(to)
			i++
			continue
		}
		size := 0
		switch {
		case c == 'x':
			size = 2
		case c == 'u':
			size = 4
		case c == 'U':
			size = 8
		case c == 'N':
			l.fail("names of characters (\\N{...}) are not supported: write \\u and the number")
		case c >= '0' && c <= '7':
			n, v := 0, 0
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				v = v*8 + int(s[i+n]-'0')
				n++
			}
			b.WriteRune(rune(v))
			i += n
			continue
		case c >= utf8.RuneSelf: // the character was spelled out as an escape of its own, whose backslash this one escapes
			r, n := utf8.DecodeRuneInString(s[i:])
			b.WriteString("\\" + asciiEscape(r)[1:])
			i += n
			continue
		default:
			b.WriteByte('\\')
			continue
		}
		if i+1+size > len(s) {
			l.fail("truncated \\%c escape", c)
		}
		v, err := strconv.ParseUint(s[i+1:i+1+size], 16, 32)
		if err != nil || v > unicode.MaxRune {
			l.fail("truncated \\%c escape, or no character", c)
		}
		b.WriteRune(rune(v))
		i += 1 + size
	}
	return b.String()
}

// asciiEscape writes a character as Python's backslashreplace does.
func asciiEscape(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf("\\x%02x", r)
	case r < 0x10000:
		return fmt.Sprintf("\\u%04x", r)
	}
	return fmt.Sprintf("\\U%08x", r)
}
