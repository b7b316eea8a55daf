// Package lang tells which of some thirty languages each word of a text is in, leaving out code and mathematics, and makes of
// it R1's reward for reasoning in one language.
//
// Words in a script of one language are that language's. Elsewhere a small hidden Markov model reads the words in order: function
// words, letters and endings speak for languages, and going over to another costs something, less so between sentences.
package lang

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gor1/gor1/reward"
)

// Languages lists the codes (ISO 639-1) of the languages told apart, ascending.
func Languages() []string {
	all := []string{}
	for _, g := range groups {
		all = append(all, g.languages...)
	}
	slices.Sort(all)
	return all
}

// Count returns how many words of text are in each language. A Han, Hiragana or Katakana character is a word; scripts without
// spaces count one for every four letters. Words in scripts of no language here are counted under "".
func Count(text string) map[string]int {
	counts := map[string]int{}
	for _, run := range split(Prose(text)) {
		run.label()
		for i, w := range run.words {
			counts[run.language(i)] += w.count
		}
	}
	for l, n := range counts {
		if n == 0 {
			delete(counts, l)
		}
	}
	return counts
}

// Share returns the share of text's words that are in language target, and how many words there are.
func Share(text, target string) (share float64, words int) {
	counts := Count(text)
	for _, n := range counts {
		words += n
	}
	if words == 0 {
		return 0, 0
	}
	return float64(counts[target]) / float64(words), words
}

// Detect returns the language of most of text's words, "" where there are none. Among equals the first in alphabetical order.
func Detect(text string) string {
	best, most := "", 0
	for l, n := range Count(text) {
		if n > most || n == most && l < best {
			best, most = l, n
		}
	}
	return best
}

// Consistency is R1's reward for reasoning in one language (arXiv 2501.12948 v2, eq. 7): Num(Words_target) / Num(Words) of the
// reasoning ([reward.Reasoning]), code and mathematics left out. target names the language of a problem; [Fixed] and [OfPrompt] are two
// ways. Reasoning without a word scores 0. A language not among [Languages] is an error.
func Consistency(target func(p reward.Problem) string) reward.Func {
	known := Languages()
	return reward.Named("language_consistency", func(_ context.Context, s reward.Sample) (reward.Score, error) {
		language := target(s.Problem)
		if !slices.Contains(known, language) {
			return reward.Score{}, fmt.Errorf("lang: problem %q: the target language is %q, want one of %s", s.Problem.ID, language, strings.Join(known, " "))
		}
		share, _ := Share(once(reward.Reasoning(s.Completion)), language)
		return reward.Scored(share), nil
	})
}

// Fixed is the target language l for every problem.
func Fixed(l string) func(reward.Problem) string { return func(reward.Problem) string { return l } }

// OfPrompt is the language that a problem's prompt is written in, without the English of a template around it where between gives
// the question itself (nil: all of the prompt).
func OfPrompt(question func(p reward.Problem) string) func(reward.Problem) string {
	return func(p reward.Problem) string {
		if question == nil {
			return Detect(p.Prompt)
		}
		return Detect(question(p))
	}
}

// once drops lines said before and words said more than twice in a row: repeating a phrase of the target language buys nothing.
func once(text string) string {
	seen := map[string]bool{}
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		key := strings.Join(strings.Fields(line), " ")
		if key != "" && seen[key] {
			continue
		}
		seen[key] = true
		words := strings.Fields(line)
		kept := words[:0]
		for i, w := range words {
			if i < 2 || w != words[i-1] || w != words[i-2] {
				kept = append(kept, w)
			}
		}
		out = append(out, strings.Join(kept, " "))
	}
	return strings.Join(out, "\n")
}
