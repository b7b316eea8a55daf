package lang

import (
	"regexp"
	"strings"
	"unicode"
)

var (
	fence  = regexp.MustCompile("(?s)(?:```|~~~)[^\n]*\n(.*?)(?:\n[ \t]*(?:```|~~~)|$)")
	inline = regexp.MustCompile("`([^`\n]*)`")
	maths  = regexp.MustCompile(`(?s)\$\$(.*?)\$\$|\\\[(.*?)\\\]|\\\((.*?)\\\)|\$([^$\n]+)\$`)
	// LaTeX commands, an environment's name with them
	command = regexp.MustCompile(`\\(?:begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+\*?`)
	// addresses, markup, and tokens with a sign or digit that words do not have: identifiers, paths, expressions
	address = regexp.MustCompile(`(?:https?|ftp)://\S+|www\.\S+|[^\s<>@]+@[^\s<>@]+|</?[a-zA-Z][^<>]*>`)
	token   = regexp.MustCompile(`\S*[_=+*/^\\{}\[\]<>|~#@&%0-9]\S*|\S*[a-z][A-Z]\S*|[\p{L}\w.]+\([^)\s]*\)\S*|\p{L}+\.\p{Ll}+(?:\.\p{Ll}+)*\(?`)
	// names of functions in formulas
	functions = regexp.MustCompile(`\b(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|lim|gcd|lcm|mod|max|min|det|dim|sqrt|frac)\b`)
	// a line of a program: how statements begin and end
	statement = regexp.MustCompile(`^\s*(?:#include\b|import \w|from [\w.]+ import\b|def \w+\s*\(|class \w+\s*[({:]|func\b.*\{|fn \w+\s*\(|for \w+(?:, ?\w+)* in .*:$|(?:for|while|if|switch)\s*\(|(?:while|if|elif) .*[<>=!].*:$|(?:else|try)\s*[:{]?$|return\b(?: [^\s]+;?$|.*[=\[\]{}]|.*\w\()|print\w*\(|(?:public|private|static) .*[({;]|const \w+ |let \w+ =|var \w+ |package \w+$|\}|//|/\*)|(?:=|\w\().*[;{]\s*$|^\s*\S+(?: \S+)?[;{]\s*$|^\s*[\w.\[\]]+\s*(?:[-+*/|&%:]?=|:=)\s*\S`)
	plainWord = regexp.MustCompile(`\p{L}\p{L}+`)
)

// Prose returns text without code, mathematics, addresses and markup; what is left out becomes white space. Marks alone hide nothing: what
// stands between fences or dollar signs and reads as prose stays.
func Prose(text string) string {
	var lines []string
	for line := range strings.SplitSeq(withoutMarks(text), "\n") {
		line = token.ReplaceAllStringFunc(line, keepForeign)
		lines = append(lines, functions.ReplaceAllString(line, " "))
	}
	return strings.Join(lines, "\n")
}

// withoutMarks leaves out what marks or its shape show to be code, mathematics, an address or markup; single tokens stay.
func withoutMarks(text string) string {
	text = fence.ReplaceAllStringFunc(text, func(block string) string {
		_, inside, _ := strings.Cut(block, "\n")
		return "\n" + keepProse(strings.TrimRight(inside, "`~ \t\n")) + "\n"
	})
	text = inline.ReplaceAllStringFunc(text, func(s string) string { return unlessShort(strings.Trim(s, "`")) })
	text = maths.ReplaceAllStringFunc(text, func(s string) string { return unlessShort(command.ReplaceAllString(strings.Trim(s, "$"), " ")) })
	text = address.ReplaceAllString(command.ReplaceAllString(text, " "), " ")
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if isStatement(line) && !cased(line) {
			line = ""
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// comment is how a line of remarks in a program begins.
var comment = regexp.MustCompile(`^\s*(?:#|//|--|/\*|\*|%|;)`)

// keepProse drops the lines of a program from what stands between fences; its comments too, unless there are more of them.
func keepProse(code string) string {
	lines := strings.Split(code, "\n")
	kind := make([]byte, len(lines)) // p: program, c: comment, 0: prose
	statements, comments := 0, 0
	for i, line := range lines {
		switch {
		case strings.TrimSpace(line) == "" || cased(line):
		case comment.MatchString(line):
			kind[i] = 'c'
			comments++
		case programLine(line):
			kind[i] = 'p'
			statements++
		}
	}
	for i, k := range kind {
		if k == 'p' || k == 'c' && comments <= statements {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// isStatement reports that line is shaped as a statement and not longer than they are.
func isStatement(line string) bool {
	return statement.MatchString(line) && len(plainWord.FindAllString(line, 12)) < 12
}

// programLine tells a line of a program from a line of prose.
func programLine(line string) bool {
	words := len(plainWord.FindAllString(line, -1))
	return words < 4 || isStatement(line) || strings.ContainsAny(line, "=(){}[];<>_")
}

// cased reports that line holds a run of letters that no programming language is written in: more than four of another script.
func cased(line string) bool {
	n := 0
	for _, r := range line {
		if unicode.IsLetter(r) && !unicode.Is(unicode.Latin, r) && !unicode.Is(unicode.Greek, r) {
			n++
		}
	}
	return n > 4
}

// unlessShort drops what stands between marks of code or mathematics, unless there are four words or more, or another script.
func unlessShort(s string) string {
	if len(plainWord.FindAllString(s, -1)) >= 4 || cased(s) {
		return " " + s + " "
	}
	return " "
}

// keepForeign drops a token that is no word, but keeps the letters of scripts that stand beside signs without a space.
func keepForeign(s string) string {
	if !cased(s) && strings.IndexFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai)
	}) < 0 {
		return " "
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) && !unicode.Is(unicode.Latin, r) || unicode.IsMark(r) || unicode.IsPunct(r) {
			return r
		}
		return ' '
	}, s)
}
