package reward

import (
	"context"
	"regexp"
	"strings"
)

var (
	stepEnd = regexp.MustCompile(`\n+|[.!?]\s+|[。！？]`)
	numeral = regexp.MustCompile(`-?\\frac\{-?\d+\}\{\d+\}|-?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?`)
	boxes   = regexp.MustCompile(`\\boxed\{`)
)

// maxStated is how many values a step may state and still be taken at its word for each; of more only the last counts.
const maxStated = 4

// Coherence asks whether the answer ([FinalAnswer]) follows from the reasoning's last step: 1 where that step states it (as the result of
// an equality, in a box, as a number, or in its words), 0.5 where only an earlier one does, 0 where none does or there is no answer. It sees
// whether the two agree, not whether either is right.
func Coherence(equal Equal) Func {
	return Named("coherence", func(_ context.Context, s Sample) (Score, error) {
		answer, ok := FinalAnswer(s)
		if !ok {
			return Scored(0), nil
		}
		steps := stepsOf(Reasoning(s.Completion))
		for i := len(steps) - 1; i >= 0; i-- {
			if states(steps[i], answer, equal) {
				if i == len(steps)-1 {
					return Scored(1), nil
				}
				return Scored(0.5), nil
			}
		}
		return Scored(0), nil
	})
}

// stepsOf cuts reasoning into lines and sentences.
func stepsOf(reasoning string) []string {
	var out []string
	for _, step := range stepEnd.Split(reasoning, -1) {
		if !blank(step) {
			out = append(out, step)
		}
	}
	return out
}

// states reports that step says answer: as a value, or word for word.
func states(step, answer string, equal Equal) bool {
	values := stated(step)
	if len(values) > maxStated {
		values = values[len(values)-1:]
	}
	for _, v := range values {
		if same, err := equal(answer, v); err == nil && same {
			return true
		}
	}
	if _, err := equal(answer, answer); err == nil && numeral.MatchString(answer) {
		return false // a number is in the words of a step only as a value
	}
	fold := func(s string) string {
		return " " + strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune(" \t\n.,;:!?\"'()$", r) }), " ") + " "
	}
	return strings.TrimSpace(fold(answer)) != "" && strings.Contains(fold(step), fold(answer))
}

// stated lists the values that a step ends on: results of equalities and boxes, and numbers outside equalities.
func stated(step string) []string {
	var values []string
	never := func(string, string) (bool, error) { return false, ErrUndecided }
	results := Equalities(step, never)
	for _, e := range results {
		values = append(values, e.Right)
	}
	all := boxes.FindAllStringIndex(step, -1)
	for _, at := range all[max(0, len(all)-maxStated):] {
		if inside, closed := untilBrace(step[at[1]:]); closed {
			values = append(values, inside)
		}
	}
	if len(results) == 0 {
		values = append(values, numeral.FindAllString(step, -1)...)
	}
	return values
}

// Completeness is the share of five things that a whole completion has: its reasoning, opened and closed once and not blank; its answer, not
// blank; an end of its own, not the length limit's; nothing left open (code, formulas, braces); a last sentence that does not break off.
// Both R1-Zero's format and R1's count. With neither reasoning nor answer it is 0.
var Completeness = Named("completeness", func(_ context.Context, s Sample) (Score, error) {
	reasoning, answer, ok := Parse(s.Completion)
	if !ok && !strings.Contains(s.Completion, "<answer>") && !strings.Contains(s.Completion, "</answer>") {
		reasoning, answer, ok = ParseR1(s.Problem.Prompt, s.Completion)
	}
	if !ok { // which of the two is missing
		reasoning, answer = loose(s.Completion)
	}
	if blank(reasoning) && blank(answer) {
		return Scored(0), nil
	}
	whole := 0.0
	for _, has := range []bool{!blank(reasoning), !blank(answer), !s.Truncated, !leftOpen(s.Completion), !breaksOff(s.Completion)} {
		if has {
			whole++
		}
	}
	return Scored(whole / 5), nil
})

// loose finds the parts of a completion that keeps no format: each is empty where it is not opened and closed exactly once.
func loose(text string) (reasoning, answer string) {
	between := func(open, end string) string {
		_, rest, _ := strings.Cut(text, open)
		inside, _, closed := strings.Cut(rest, end)
		if !closed || strings.Count(text, open) != 1 || strings.Count(text, end) != 1 {
			return ""
		}
		return inside
	}
	reasoning = between("<think>", "</think>")
	if strings.Contains(text, "<answer>") || strings.Contains(text, "</answer>") {
		return reasoning, between("<answer>", "</answer>")
	}
	if reasoning != "" {
		_, answer, _ = strings.Cut(text, "</think>")
	}
	return reasoning, answer
}

var (
	escaped = regexp.MustCompile(`\\[\\$` + "`" + `]`)
	begun   = regexp.MustCompile(`\\begin\s*\{`)
	ended   = regexp.MustCompile(`\\end\s*\{`)
)

// leftOpen reports that a code block, formula, environment or brace is not closed. A dollar sign before a digit is money.
func leftOpen(text string) bool {
	if strings.Count(text, "```")%2 != 0 || len(begun.FindAllString(text, -1)) != len(ended.FindAllString(text, -1)) {
		return true
	}
	for _, pair := range [][2]string{{`\[`, `\]`}, {`\(`, `\)`}, {"{", "}"}} {
		if strings.Count(text, pair[0]) > strings.Count(text, pair[1]) {
			return true
		}
	}
	text = escaped.ReplaceAllString(text, "")
	return strings.Count(text, "$$")%2 != 0
}

var (
	tags     = regexp.MustCompile(`</?(?:think|answer)>`)
	unending = regexp.MustCompile(`(?i)(?:[,:;(\[{=+*/<^&-]|\b(?:and|or|but|so|because|the|a|an|of|to|in|is|that|with|und|oder|der|die|das|et|ou|le|la|les|de|y|o|el|los))$`)
)

// breaksOff reports that the last line ends as no sentence or formula does.
func breaksOff(text string) bool {
	text = strings.TrimSpace(tags.ReplaceAllString(text, " "))
	words := strings.Fields(text)
	return len(words) == 0 || len(words) > 1 && unending.MatchString(text)
}
