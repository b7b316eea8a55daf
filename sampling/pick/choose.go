package pick

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/gor1/gor1/reward"
)

// notChosen is the reason of those that passed but of which fewer were wanted.
const notChosen = "not chosen"

// first keeps the first n of the kept ones in an order; equals stay in the order of their numbers.
func first(n int, order func(a, b Candidate) int) Selector {
	return func(_ context.Context, group []Candidate) error {
		at := kept(group)
		slices.SortStableFunc(at, func(a, b int) int { return order(group[a], group[b]) })
		for _, i := range at[min(n, len(at)):] {
			group[i].Why = notChosen
		}
		return nil
	}
}

// First keeps the n with the lowest numbers: samples are drawn alike, so these are a random choice.
func First(n int) Selector { return first(n, func(a, b Candidate) int { return 0 }) }

// Shortest keeps the n shortest.
func Shortest(n int, length reward.Length) Selector {
	return first(n, func(a, b Candidate) int { return cmp.Compare(length(a.Sample), length(b.Sample)) })
}

// Longest keeps the n longest.
func Longest(n int, length reward.Length) Selector {
	return first(n, func(a, b Candidate) int { return cmp.Compare(length(b.Sample), length(a.Sample)) })
}

// Best keeps the n to which the part of that name ("reward": the whole score) gave most: best-of-n. What was not scored comes last.
func Best(n int, name string) Selector {
	return first(n, func(a, b Candidate) int {
		x, scored := a.Value(name)
		y, too := b.Value(name)
		switch {
		case scored && too:
			return cmp.Compare(y, x)
		case scored:
			return -1
		case too:
			return 1
		}
		return 0
	})
}

// Diverse keeps n that differ: the first, then again and again the one whose closest among those taken is farthest, by the share of common
// word 3-grams (Jaccard). Ties go to the lower number.
func Diverse(n int) Selector {
	return func(_ context.Context, group []Candidate) error {
		left := kept(group)
		grams := map[int]map[string]bool{}
		for _, i := range left {
			grams[i] = ngrams(group[i].Completion, 3)
		}
		closest := map[int]float64{} // to any that was taken
		for taken := 0; len(left) > 0 && taken < n; taken++ {
			best := 0
			for at, i := range left {
				if closest[i] < closest[left[best]] {
					best = at
				}
			}
			new := left[best]
			left = slices.Delete(left, best, best+1)
			for _, i := range left {
				closest[i] = max(closest[i], jaccard(grams[new], grams[i]))
			}
		}
		for _, i := range left {
			group[i].Why = notChosen
		}
		return nil
	}
}

func ngrams(text string, n int) map[string]bool {
	words, out := reward.Words(text), map[string]bool{}
	for i := 0; i+n <= len(words); i++ {
		out[strings.Join(words[i:i+n], " ")] = true
	}
	if len(words) < n {
		out[strings.Join(words, " ")] = true
	}
	return out
}

func jaccard(a, b map[string]bool) float64 {
	both := 0
	for g := range a {
		if b[g] {
			both++
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}

// Dedup drops completions that say, but for case and white space, what a kept one to the same prompt said, over all groups that it sees. It
// remembers 16 bytes of each, and belongs before the choice of some.
func Dedup() Selector {
	seen := map[[16]byte]bool{}
	return func(_ context.Context, group []Candidate) error {
		for _, i := range kept(group) {
			c := group[i]
			sum := sha256.Sum256([]byte(c.Problem.Prompt + "\x00" + strings.Join(strings.Fields(strings.ToLower(c.Completion)), " ")))
			key := [16]byte(sum[:16])
			if seen[key] {
				group[i].Why = "duplicate"
			}
			seen[key] = true
		}
		return nil
	}
}
