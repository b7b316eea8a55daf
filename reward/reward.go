// Package reward says how good a completion is. It is pure Go, imports nothing else of this module but its own mathx, and every function
// in it is safe from any number of goroutines.
//
// A reward is a [Func]. Rewards compose as functions do: [Sum], [Weight] and friends take and return them, and a program
// brings its own by writing one.
//
// A [Score] is a number or "not scored". Not scored is not 0: a sample that could not be judged (the reference is
// unreadable, the judge was down, the function panicked or returned NaN) is left out of its group's statistics and gets
// advantage 0, so that a broken judge never becomes a gradient.
package reward

import "context"

// Problem is one question with what is needed to judge answers to it.
type Problem struct {
	ID      string         // the data set's own name of the row; may be empty
	Prompt  string         // the text the model is given, templates applied
	Answer  string         // the reference answer; empty where a reward needs none
	Columns map[string]any // every further column of the row, as read
}

// Sample is one completion to be judged.
type Sample struct {
	Problem    Problem
	Completion string  // what the model wrote after the prompt, tags kept, the end-of-sequence token left out
	Tokens     []int32 // the completion's ids as sampled, the end-of-sequence id included
	Truncated  bool    // cut by the length limit: there was no end-of-sequence token
}

// Score is a number or "not scored"; the zero Score is not scored.
type Score struct {
	value  float64
	scored bool
}

// Scored is the score v. NaN and the infinities are not scores: for them Scored returns the zero Score.
func Scored(v float64) Score {
	if v != v || v-v != 0 {
		return Score{}
	}
	return Score{v, true}
}

// Value returns the number, and false where the sample was not scored.
func (s Score) Value() (float64, bool) { return s.value, s.scored }

// Func judges one sample. An error means that it could not (the sample is not scored, and the error is counted); it does
// not mean that the answer is wrong. A Func must return soon after ctx is done.
type Func func(ctx context.Context, s Sample) (Score, error)

// Part is what one named function gave one sample, before weights.
type Part struct {
	Name  string
	Score Score
	Err   string // why it was not scored, where an error said so

	cause error // of Err, for [Tally]
}
