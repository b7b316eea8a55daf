package pick

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
)

// AtLeast keeps those to which the part of that name ("reward": the whole score) gave at least min. Those it could not judge are dropped.
func AtLeast(name string, min float64) Selector {
	low, none := fmt.Sprintf("%s below %g", name, min), name+" not scored"
	return func(_ context.Context, group []Candidate) error {
		for i, c := range group {
			if c.Why != "" {
				continue
			}
			if v, ok := c.Value(name); !ok {
				group[i].Why = none
			} else if v < min {
				group[i].Why = low
			}
		}
		return nil
	}
}

// Judged asks f about those that are kept so far, some at a time, adds what it gave to their parts under its name, and keeps those with at
// least min. A costly judge comes after cheap filters. The error is ctx's alone: what f cannot judge is dropped as not scored.
func Judged(name string, f reward.Func, min float64) Selector {
	return func(ctx context.Context, group []Candidate) error {
		var g errgroup.Group
		g.SetLimit(runtime.NumCPU())
		for _, i := range kept(group) {
			g.Go(func() error {
				r := reward.Evaluate(ctx, f, group[i].Sample)
				p := reward.Part{Name: name, Score: r.Score}
				if r.Err != nil {
					p.Err = r.Err.Error()
				}
				group[i].Parts = append(group[i].Parts, p)
				return nil
			})
		}
		_ = g.Wait()
		if err := ctx.Err(); err != nil {
			return err
		}
		return AtLeast(name, min)(ctx, group)
	}
}

// Whole drops what the length limit cut.
var Whole = Where("cut by the length limit", func(c Candidate) bool { return !c.Truncated })

// Formatted keeps R1-Zero's format ([reward.Parse]) and R1's ([reward.ParseR1]).
var Formatted = Where("format", func(c Candidate) bool {
	_, _, zero := reward.Parse(c.Completion)
	_, _, r1 := reward.ParseR1(c.Problem.Prompt, c.Completion)
	return zero || r1
})

// OneLanguage keeps those whose reasoning has at least the given share of its words in the target language, as lang.Consistency counts
// them. Reasoning without a word, such as bare formulas, is in no other language and stays.
func OneLanguage(share float64, target func(p reward.Problem) string) Selector {
	return Where("mixed language", func(c Candidate) bool {
		got, words := lang.Share(reward.Reasoning(c.Completion), target(c.Problem))
		return words == 0 || got >= share
	})
}

// NoCode drops completions with a fenced block of code, as R1's data had none (arXiv 2501.12948, section 2.3.3).
var NoCode = Where("code block", func(c Candidate) bool {
	return !strings.Contains(c.Completion, "```") && !strings.Contains(c.Completion, "~~~")
})

// Paragraphs drops completions with a paragraph of more than max characters; blank lines and tags part paragraphs. R1 left out long ones
// (section 2.3.3) but gives no number.
func Paragraphs(max int) Selector {
	part := strings.NewReplacer("<think>", "\n\n", "</think>", "\n\n", "<answer>", "\n\n", "</answer>", "\n\n")
	return Where("long paragraph", func(c Candidate) bool {
		run := 0
		for line := range strings.Lines(part.Replace(c.Completion)) {
			if line = strings.TrimSpace(line); line == "" {
				run = 0
			} else if run += utf8.RuneCountInString(line); run > max {
				return false
			}
		}
		return true
	})
}

// Length keeps completions of min to max, as length measures them; max 0: no limit.
func Length(length reward.Length, min, max int) Selector {
	return func(ctx context.Context, group []Candidate) error {
		for i, c := range group {
			if n := length(c.Sample); c.Why == "" && n < min {
				group[i].Why = "too short"
			} else if c.Why == "" && max > 0 && n > max {
				group[i].Why = "too long"
			}
		}
		return nil
	}
}

// Repetition drops completions of whose n-grams of words more than the given share were said before.
func Repetition(n int, share float64) Selector {
	f := reward.RepetitionPenalty(n, -1)
	return func(ctx context.Context, group []Candidate) error {
		for _, i := range kept(group) {
			v, err := f(ctx, group[i].Sample)
			if err != nil {
				return err
			}
			if x, ok := v.Value(); !ok || -x > share {
				group[i].Why = "repetition"
			}
		}
		return nil
	}
}

// PassRate is the share of a group's candidates, dropped ones too, to which the part of that name gave at least min; those not scored do
// not count. It is false where none was.
func PassRate(group []Candidate, name string, min float64) (float64, bool) {
	passed, n := 0, 0
	for _, c := range group {
		if v, ok := c.Value(name); ok {
			n++
			if v >= min {
				passed++
			}
		}
	}
	return float64(passed) / float64(max(n, 1)), n > 0
}

// Difficulty keeps groups whose [PassRate] is from low to high, and drops others whole, as too hard or too easy.
func Difficulty(name string, min, low, high float64) Selector {
	return func(_ context.Context, group []Candidate) error {
		rate, ok := PassRate(group, name, min)
		why := ""
		switch {
		case !ok:
			why = name + " not scored"
		case rate < low:
			why = "problem too hard"
		case rate > high:
			why = "problem too easy"
		}
		for _, i := range kept(group) {
			group[i].Why = why
		}
		return nil
	}
}
