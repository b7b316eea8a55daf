package reward

import (
	"context"
	"strings"
)

// ParseR1 splits a completion in R1's own format: <think> reasoning </think>, then the answer. The reasoning's tags occur once
// each, the first at the very start, and the answer is not blank. prompt decides who opens: where it ends with <think>, as the
// released models' template does, the completion goes on from there.
func ParseR1(prompt, completion string) (reasoning, answer string, ok bool) {
	if strings.HasSuffix(strings.TrimSpace(prompt), "<think>") {
		completion = "<think>" + completion
	}
	if !strings.HasPrefix(completion, "<think>") || strings.Count(completion, "<think>") != 1 || strings.Count(completion, "</think>") != 1 {
		return "", "", false
	}
	reasoning, answer, ok = strings.Cut(strings.TrimPrefix(completion, "<think>"), "</think>")
	if !ok || blank(answer) {
		return "", "", false
	}
	return reasoning, strings.TrimSpace(answer), true
}

// FormatR1 is 1 for a completion in R1's own format ([ParseR1]) that ended by itself, else 0.
var FormatR1 = Named("format", func(_ context.Context, s Sample) (Score, error) {
	if _, _, ok := ParseR1(s.Problem.Prompt, s.Completion); !ok || s.Truncated {
		return Scored(0), nil
	}
	return Scored(1), nil
})

// Reasoning is what a completion says before its answer, whether the format is R1-Zero's or R1's, kept or not: the text from
// <think> (or the start) to the last </think> (or <answer>, or the end).
func Reasoning(completion string) string {
	text := completion
	if _, after, ok := strings.Cut(text, "<think>"); ok {
		text = after
	}
	if i := strings.LastIndex(text, "</think>"); i >= 0 {
		text = text[:i]
	} else if i := strings.Index(text, "<answer>"); i >= 0 {
		text = text[:i]
	}
	return text
}

// FinalAnswer is the answer a sample commits to: that of R1-Zero's format, else, after the reasoning, the last \boxed{}. It is
// false for a truncated sample, a blank answer, and where there is neither.
func FinalAnswer(s Sample) (string, bool) {
	if s.Truncated {
		return "", false
	}
	if _, answer, ok := Parse(s.Completion); ok {
		return answer, true
	}
	_, answer, ok := ParseR1(s.Problem.Prompt, s.Completion)
	if !ok {
		return "", false
	}
	at := strings.LastIndex(answer, `\boxed{`)
	if at < 0 {
		return "", false
	}
	inside, closed := untilBrace(answer[at+len(`\boxed{`):])
	return strings.TrimSpace(inside), closed && !blank(inside)
}

// untilBrace is s up to the brace that closes the one before it.
func untilBrace(s string) (string, bool) {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++ // an escaped brace
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[:i], true
			}
		}
	}
	return "", false
}
