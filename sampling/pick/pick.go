// Package pick chooses among completions that were judged: rejection sampling's filters, the choice of some of those that pass, and
// what keeps a data set free of doubles and of evaluation sets. All of it is pure: it draws nothing and asks no model.
package pick

import (
	"context"
	"maps"
	"slices"

	"github.com/gor1/gor1/reward"
)

// Candidate is one completion of a group with what it was given for it.
type Candidate struct {
	reward.Sample
	Score  reward.Score
	Parts  []reward.Part
	Number int    // of the sample in its group
	Why    string // it was dropped for; empty: it is kept
}

// Value is what the part of that name gave, the whole score where name is "reward"; false where it was not scored.
func (c Candidate) Value(name string) (float64, bool) {
	if name == "reward" {
		return c.Score.Value()
	}
	for _, p := range c.Parts {
		if p.Name == name {
			return p.Score.Value()
		}
	}
	return 0, false
}

// Selector drops candidates of one group, all of one problem, by giving them a Why. It leaves alone those that have one. Selectors are
// called group by group in the order of the problems, one call at a time.
type Selector func(ctx context.Context, group []Candidate) error

// All applies selectors in order, each to what those before it kept.
func All(ss ...Selector) Selector {
	return func(ctx context.Context, group []Candidate) error {
		for _, s := range ss {
			if err := s(ctx, group); err != nil {
				return err
			}
		}
		return nil
	}
}

// Where keeps those for which ok holds, and drops others for the reason why.
func Where(why string, ok func(c Candidate) bool) Selector {
	return func(_ context.Context, group []Candidate) error {
		for i := range group {
			if group[i].Why == "" && !ok(group[i]) {
				group[i].Why = why
			}
		}
		return nil
	}
}

// Counts are how many were dropped, by reason.
type Counts map[string]int

// Count adds a group's.
func (c Counts) Count(group []Candidate) {
	for _, s := range group {
		if s.Why != "" {
			c[s.Why]++
		}
	}
}

// Reasons are those that occurred, the most frequent first.
func (c Counts) Reasons() []string {
	return slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		if c[a] != c[b] {
			return c[b] - c[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
}

// kept are the places of those that are kept.
func kept(group []Candidate) (at []int) {
	for i, c := range group {
		if c.Why == "" {
			at = append(at, i)
		}
	}
	return at
}
