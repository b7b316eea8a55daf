package mathx

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tkind uint8

const (
	tEnd  tkind = iota
	tNum        // q, s the digits as written
	tSym        // one variable
	tRun        // two letters or more outside of \text: a word, a unit, a function or a product
	tWord       // a word inside \text
	tCmd        // a LaTeX command that starts an operand, without its backslash
	tOp         // everything else
)

type token struct {
	kind  tkind
	s     string
	q     *big.Rat
	space bool // white space stood before it
}

func (t token) is(op string) bool { return t.kind == tOp && t.s == op }

// maxTokens bounds what one answer may hold.
const maxTokens = 1 << 14

// lexer turns an answer into tokens. listCommas reads 1,234 as two numbers.
type lexer struct {
	s          string
	i          int
	depth      int // of ( [ \{
	text       int // depth of braces inside \text, 0 outside
	listCommas bool
	currency   bool // a $ before a digit is money: dollars do not come in pairs
	sawCommas  bool // a comma was taken for a separator of thousands
	space      bool
	out        []token
}

func lex(s string, listCommas bool) (toks []token, sawCommas bool, err error) {
	l := lexer{s: translate(s), listCommas: listCommas}
	l.currency = (strings.Count(l.s, "$")-strings.Count(l.s, "\\$"))%2 == 1
	for l.i < len(l.s) {
		if len(l.out) > maxTokens {
			return nil, false, fmt.Errorf("more than %d tokens", maxTokens)
		}
		if err := l.next(); err != nil {
			return nil, false, err
		}
	}
	return append(l.out, token{kind: tEnd, space: l.space}), l.sawCommas, nil
}

func (l *lexer) emit(k tkind, s string) {
	l.out = append(l.out, token{kind: k, s: s, space: l.space})
	l.space = false
}

func (l *lexer) rest() string { return l.s[l.i:] }

func (l *lexer) skip(prefix string) bool {
	if strings.HasPrefix(l.rest(), prefix) {
		l.i += len(prefix)
		return true
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (l *lexer) at(k int) byte {
	if l.i+k < len(l.s) {
		return l.s[l.i+k]
	}
	return 0
}

func (l *lexer) next() error {
	c := l.at(0)
	switch {
	case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '~':
		l.i++
		l.space = true
	case c == '$':
		l.i++
		if l.currency && (isDigit(l.at(0)) || l.at(0) == '.') {
			l.emit(tOp, "$")
		}
	case isDigit(c) || c == '.' && isDigit(l.at(1)):
		return l.number()
	case c == '\\':
		return l.command()
	case isLetter(c):
		l.letters()
	case c < utf8.RuneSelf:
		l.ascii(c)
	default:
		return l.unicode()
	}
	return nil
}

func (l *lexer) ascii(c byte) {
	for _, op := range [...][2]string{{"**", "^"}, {"<=", "≤"}, {">=", "≥"}, {"!=", "≠"}, {"==", "="}, {"...", "…"}, {"+/-", "±"}, {"->", "→"}} {
		if l.skip(op[0]) {
			l.emit(tOp, op[1])
			return
		}
	}
	l.i++
	switch c {
	case '(', '[':
		l.depth++
	case ')', ']':
		l.depth--
	case '{':
		if l.text > 0 {
			l.text++
			return
		}
	case '}':
		if l.text > 0 {
			if l.text--; l.text == 0 {
				l.space = true
			}
			return
		}
	}
	l.emit(tOp, string(c))
}

// letters reads a run of letters: outside of \text one letter is a variable, more are a word.
func (l *lexer) letters() {
	start := l.i
	for isLetter(l.at(0)) {
		l.i++
	}
	if digitsInBase(l.s[start:]) > l.i-start {
		l.i = start + digitsInBase(l.s[start:])
		l.emit(tWord, l.s[start:l.i])
		return
	}
	run := l.s[start:l.i]
	switch {
	case l.text > 0:
		if isDigit(l.at(0)) { // A5
			for isDigit(l.at(0)) || isLetter(l.at(0)) {
				l.i++
			}
			run = l.s[start:l.i]
		}
		for (l.at(0) == '-' || l.at(0) == '\'') && isLetter(l.at(1)) {
			l.i++
			for isLetter(l.at(0)) {
				l.i++
			}
			run = l.s[start:l.i]
		}
		l.emit(tWord, run)
	case len(run) == 1:
		l.emit(tSym, run)
	default:
		if l.at(0) == '-' && isLetter(l.at(1)) && isLetter(l.at(2)) && numberWords[strings.ToLower(run)] != 0 { // twenty-one
			l.i++
			for isLetter(l.at(0)) {
				l.i++
			}
			run = l.s[start:l.i]
		}
		l.emit(tRun, run)
	}
}

// command reads a LaTeX command.
func (l *lexer) command() error {
	l.i++
	if !isLetter(l.at(0)) {
		return l.symbolCommand()
	}
	start := l.i
	for isLetter(l.at(0)) {
		l.i++
	}
	name := l.s[start:l.i]
	switch {
	case ignored[name]:
		l.space = l.space || name == "quad" || name == "qquad"
		if name == "left" || name == "right" {
			l.delimiter(name == "left")
		}
	case braced[name]:
		l.skipGroup()
	case textual[name]:
		l.enterText()
	case operators[name] != "":
		l.emit(tOp, operators[name])
	case greek[name]:
		l.emit(tSym, name)
	case commands[name]:
		l.emit(tCmd, name)
	default:
		return fmt.Errorf("unknown command \\%.20s", name)
	}
	return nil
}

// delimiter reads what stands after \left and \right: a dot is nothing, bars say which side they are.
func (l *lexer) delimiter(left bool) {
	for l.at(0) == ' ' {
		l.i++
	}
	switch {
	case l.at(0) == '.':
		l.i++
	case l.skip("|") || l.skip("\\vert") || l.skip("\\lvert") || l.skip("\\rvert"):
		if left {
			l.emit(tOp, "|(")
		} else {
			l.emit(tOp, ")|")
		}
	}
}

func (l *lexer) symbolCommand() error {
	c := l.at(0)
	l.i++
	switch c {
	case ',', ';', ':', ' ', '\n':
		l.space = true
	case '!', '/', '(', ')', '[', ']': // thin space, italic correction, math delimiters
		if c == '[' || c == '(' || c == ')' || c == ']' {
			l.space = true
		}
	case '{':
		l.depth++
		l.emit(tOp, "\\{")
	case '}':
		l.depth--
		l.emit(tOp, "\\}")
	case '%', '&', '#', '_':
		l.emit(tOp, string(c))
	case '$':
		l.emit(tOp, "$")
	case '|':
		l.emit(tOp, "|")
	case '\\':
		if n := l.name(); n >= 2 && known(l.s[l.i:l.i+n]) { // \\\\frac, escaped twice
			l.i--
			return l.command()
		}
		if end := strings.IndexByte(l.rest(), ']'); l.at(0) == '[' && end > 0 && end < 8 && isDigit(l.at(1)) && isLetter(l.s[l.i+end-1]) { // [2mm]
			l.i += end + 1
		}
		l.emit(tOp, "\\\\")
	case 0: // a lone backslash at the end
	default:
		return fmt.Errorf("unknown command \\%c", c)
	}
	return nil
}

// name is the length of the letters that come next.
func (l *lexer) name() int {
	n := 0
	for isLetter(l.at(n)) {
		n++
	}
	return n
}

func known(name string) bool {
	return ignored[name] || textual[name] || commands[name] || greek[name] || operators[name] != ""
}

// enterText goes on inside \text{...} with words in place of variables; \text x is one letter.
func (l *lexer) enterText() {
	for l.at(0) == ' ' || l.at(0) == '*' {
		l.i++
	}
	l.space = true
	if l.at(0) == '{' {
		l.i++
		l.text++
	}
}

// skipGroup leaves out {...} after a command such as \phantom.
func (l *lexer) skipGroup() {
	for l.at(0) == ' ' || l.at(0) == '*' {
		l.i++
	}
	if l.at(0) == '{' {
		if n := closing(l.rest()); n > 0 {
			l.i += n
		}
	}
}

// closing is the length of the braced group at the start of s, 0 where it does not end.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// halfDay is a.m. and p.m.
var halfDay = regexp.MustCompile(`(?i)\b([ap])\.\s?m\b\.?`)

// translate writes the usual signs beyond ASCII as LaTeX: operators, Greek, superscripts, vulgar fractions.
func translate(s string) string {
	s = halfDay.ReplaceAllString(s, "${1}m")
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return s
	}
	var w strings.Builder
	raised := false
	for _, r := range s {
		c, sup := superscripts[r]
		if sup != raised {
			w.WriteString([]string{"}", "^{"}[b2i(sup)])
			raised = sup
		}
		to, ok := runes[r]
		switch {
		case sup:
			w.WriteByte(c)
		case ok:
			w.WriteString(to)
		default:
			w.WriteRune(r)
		}
	}
	if raised {
		w.WriteByte('}')
	}
	return w.String()
}

// unicode reads a word in another script, or white space; anything else beyond ASCII is an error.
func (l *lexer) unicode() error {
	r, n := utf8.DecodeRuneInString(l.rest())
	if unicode.IsSpace(r) {
		l.i += n
		l.space = true
		return nil
	}
	start := l.i
	for l.i < len(l.s) {
		r, n := utf8.DecodeRuneInString(l.rest())
		if !unicode.IsLetter(r) {
			break
		}
		l.i += n
	}
	if l.i == start {
		return fmt.Errorf("unknown character %q", r)
	}
	l.emit(tWord, l.s[start:l.i])
	return nil
}
