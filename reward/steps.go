package reward

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// Equality is a statement "left = right" found in a text; a chain a = b = c is two.
type Equality struct {
	Left, Right string
	Decided     bool // the equality function could tell
	True        bool
}

// Equalities finds the equalities written in text and asks equal about each. One with a letter in it, or whose side goes on in words
// ("half of 80 = 40", "3 = 1 mod 2"), states more than its two sides: it is found and left undecided, as is what equal cannot tell.
func Equalities(text string, equal Equal) []Equality {
	var out []Equality
	for _, f := range formulas(text) {
		sides := strings.Split(f.text, "=")
		for i := 1; i < len(sides); i++ {
			e := Equality{Left: afterBracket(sides[i-1]), Right: beforeBracket(sides[i])}
			if e.Left == "" || e.Right == "" {
				continue
			}
			whole := (i > 1 || !f.openLeft) && (i < len(sides)-1 || !f.openRight)
			if whole && !unknowns.MatchString(e.Left) && !unknowns.MatchString(e.Right) {
				same, err := equal(e.Left, e.Right)
				e.Decided, e.True = err == nil, err == nil && same
			}
			out = append(out, e)
		}
	}
	return out
}

// unknowns finds a letter that is no LaTeX command's.
var unknowns = regexp.MustCompile(`(^|[^\\a-zA-Z])\p{L}|\p{L}_`)

// formula is a run of mathematics with an equals sign. openLeft and openRight tell that the words around belong to its first and last side.
type formula struct {
	text                string
	openLeft, openRight bool
}

var (
	// a word of at least two letters with what is glued to it
	wordInText = regexp.MustCompile(`\p{L}[\p{L}'’_]+[\p{L}\d_]*`)
	// remarks in roman type, such as units
	roman = regexp.MustCompile(`\\(?:text|mathrm|mbox)\s*\{[^{}]*\}`)
	// signs that end a formula: relations that are no equality, and punctuation outside numbers
	relation = regexp.MustCompile(`!=|<=|>=|=>|->|[≈≠≤≥<>~≡→⇒;?!|"“”#@]|\\(?:approx|neq|ne|leq|le|geq|ge|equiv|sim|to|Rightarrow|implies)\b|\.\.\.+|[.,:](?:\s|$)|\n`)
	// an operator or a bracket at the start, or an operator at the end, which binds to the word there
	sign    = regexp.MustCompile(`^\(|^\s*[+*/^%]|^\s*-\s`)
	signEnd = regexp.MustCompile(`[-+*/^]\s*$`)
	// a line that goes on with the line before; signs of alignment
	goesOn  = regexp.MustCompile(`\n\s*=`)
	bullet  = regexp.MustCompile(`(?m)^[ \t]*[-*•][ \t]+`)
	aligned = strings.NewReplacer("&", "", `\\`, "\n", "==", "=", `\boxed`, "")
)

// formulas cuts text into runs of mathematics and keeps those with "=".
func formulas(text string) []formula {
	text = roman.ReplaceAllString(text, " word ")
	text = bullet.ReplaceAllString(text, "")
	text = goesOn.ReplaceAllString(latex.Replace(aligned.Replace(text)), " =")
	var out []formula
	for _, line := range relation.Split(text, -1) {
		words := wordSpans(line)
		from, before := 0, ""
		for _, w := range append(words, []int{len(line), len(line)}) {
			run, after := line[from:w[0]], strings.TrimRight(strings.ToLower(line[w[0]:w[1]]), "0123456789")
			if strings.Contains(run, "=") {
				first, _, _ := strings.Cut(run, "=")
				last := run[strings.LastIndex(run, "=")+1:]
				out = append(out, formula{
					text:      run,
					openLeft:  before != "" && (joining[before] || sign.MatchString(first)),
					openRight: after != "" && (joining[after] || signEnd.MatchString(last)),
				})
			}
			from, before = w[1], after
		}
	}
	return out
}

// afterBracket is what follows the last bracket of s without a partner: "(3 + 4" and "1) 3 + 4" state 3 + 4.
func afterBracket(s string) string {
	var open []int
	from := 0
	for i, r := range s {
		switch r {
		case '(', '[', '{':
			open = append(open, i)
		case ')', ']', '}':
			if len(open) == 0 {
				from = i + 1
			} else {
				open = open[:len(open)-1]
			}
		}
	}
	if len(open) > 0 {
		from = open[len(open)-1] + 1
	}
	return strings.TrimSpace(s[from:])
}

// beforeBracket is what precedes the first bracket of s without a partner.
func beforeBracket(s string) string {
	var open []int
	for i, r := range s {
		switch r {
		case '(', '[', '{':
			open = append(open, i)
		case ')', ']', '}':
			if len(open) == 0 {
				return strings.TrimSpace(s[:i])
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		s = s[:open[0]]
	}
	return strings.TrimSpace(s)
}

// wordSpans finds the words of two letters or more that are no LaTeX command.
func wordSpans(line string) [][]int {
	return slices.DeleteFunc(wordInText.FindAllStringIndex(line, -1), func(at []int) bool { return at[0] > 0 && line[at[0]-1] == '\\' })
}

// joining are the words that make one expression of what stands before and after them.
var joining = wordSet(`of plus minus times over by mod modulo divided multiplied squared cubed root log ln exp sin cos tan sqrt abs gcd lcm max min
	choose factorial percent hundred thousand million billion trillion dozen half twice double thrice power than base
	floor ceil round remainder pi`)

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// ConsistentSteps is the share of the equalities written in the reasoning that are true, among the different ones that equal decides and
// that say something (1 = 1 does not). It needs no label. Where nothing can be checked it is 0: there is nothing to credit.
func ConsistentSteps(equal Equal) Func {
	return Named("consistent_steps", func(_ context.Context, s Sample) (Score, error) {
		seen := map[[2]string]bool{}
		decided, right := 0, 0
		for _, e := range Equalities(Reasoning(s.Completion), equal) {
			key := [2]string{strings.Join(strings.Fields(e.Left), ""), strings.Join(strings.Fields(e.Right), "")}
			if !e.Decided || seen[key] || key[0] == key[1] {
				continue
			}
			seen[key] = true
			decided++
			if e.True {
				right++
			}
		}
		if decided == 0 {
			return Scored(0), nil
		}
		return Scored(float64(right) / float64(decided)), nil
	})
}
