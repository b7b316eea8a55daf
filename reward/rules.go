package reward

import (
	"context"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse splits a completion in R1-Zero's format, <think> reasoning </think> <answer> answer </answer>, strictly: each of the
// four tags occurs once, in this order, nothing but white space stands outside them, and the answer is not blank. The
// reasoning may be empty: whether thinking pays is for the policy to find out.
func Parse(completion string) (reasoning, answer string, ok bool) {
	tags := [...]string{"<think>", "</think>", "<answer>", "</answer>"}
	var at [len(tags)]int
	last := 0
	for i, tag := range tags {
		at[i] = strings.Index(completion, tag)
		if at[i] < last || strings.Count(completion, tag) != 1 {
			return "", "", false
		}
		last = at[i] + len(tag)
	}
	outside := completion[:at[0]] + completion[at[1]+len(tags[1]):at[2]] + completion[last:]
	answer = strings.TrimSpace(completion[at[2]+len(tags[2]) : at[3]])
	if strings.TrimSpace(outside) != "" || blank(answer) {
		return "", "", false
	}
	return completion[at[0]+len(tags[0]) : at[1]], answer, true
}

// blank reports that s shows nothing: white space and characters without a shape.
func blank(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }) < 0
}

// Format is 1 for a completion in R1-Zero's format ([Parse]) that ended by itself, else 0.
var Format = Named("format", func(_ context.Context, s Sample) (Score, error) {
	if _, _, ok := Parse(s.Completion); !ok || s.Truncated {
		return Scored(0), nil
	}
	return Scored(1), nil
})

// Accuracy is 1 for a completion in R1-Zero's format whose answer is the reference, else 0. Answers are compared as numbers
// where both are plain ones (integers, decimals, fractions; exactly, so 0.50 is 1/2), else as text with white space folded.
// A problem without a reference is not scored. Package mathx judges mathematics.
var Accuracy = Named("accuracy", func(_ context.Context, s Sample) (Score, error) {
	if strings.TrimSpace(s.Problem.Answer) == "" {
		return Score{}, nil
	}
	_, answer, ok := Parse(s.Completion)
	if !ok || s.Truncated || !sameAnswer(answer, s.Problem.Answer) {
		return Scored(0), nil
	}
	return Scored(1), nil
})

func sameAnswer(a, b string) bool {
	a, b = strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " ")
	if a == b {
		return true
	}
	x, ok := plainNumber(a)
	y, ok2 := plainNumber(b)
	return ok && ok2 && x.Cmp(y) == 0
}

// plainNumber reads -12, 3.50, 7/8: digits, one point or one slash, a sign. At most 40 characters, so that no answer costs
// more than any other.
func plainNumber(s string) (*big.Rat, bool) {
	if len(s) == 0 || len(s) > 40 || !utf8.ValidString(s) {
		return nil, false
	}
	for i, c := range s {
		if !(c >= '0' && c <= '9' || c == '.' || c == '/' || (c == '-' || c == '+') && i == 0) {
			return nil, false
		}
	}
	return new(big.Rat).SetString(s)
}
