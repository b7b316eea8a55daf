package reward

import (
	"context"
	"errors"
	"fmt"
)

// GroupFunc judges all samples of one problem together, for rewards that compare them or that are cheaper in batches. It returns
// one score a sample, in order. An error beside scores concerns some of them; without scores, all.
type GroupFunc func(ctx context.Context, group []Sample) ([]Score, error)

// ErrCount is wrapped by the error of a [GroupFunc] that returned another number of scores than there are samples.
var ErrCount = errors.New("the reward function returned a wrong number of scores")

// groupRecorder collects the parts of one evaluation of a group, sample by sample.
type groupRecorder []*recorder

type groupRecorderKey struct{}

func newGroupRecorder(n int) groupRecorder {
	rs := make(groupRecorder, n)
	for i := range rs {
		rs[i] = &recorder{}
	}
	return rs
}

// Each judges a group's samples one after another with f.
func Each(f Func) GroupFunc {
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		scores, errs := make([]Score, len(group)), make([]error, len(group))
		rs, _ := ctx.Value(groupRecorderKey{}).(groupRecorder)
		for i, s := range group {
			inner := ctx
			if i < len(rs) {
				inner = context.WithValue(ctx, recorderKey{}, rs[i])
			}
			scores[i], errs[i] = safely(inner, f, s)
		}
		return scores, errors.Join(errs...)
	}
}

// Alone judges each sample as a group of one: for batched functions that do not compare, such as a reward model.
func Alone(f GroupFunc) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		scores, err := safelyGroup(ctx, f, []Sample{s})
		return scores[0], err
	}
}

// NamedGroup gives f a name: its scores, before any weight, become a [Part] of each sample's evaluation.
func NamedGroup(name string, f GroupFunc) GroupFunc {
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		scores, err := safelyGroup(ctx, f, group)
		rs, _ := ctx.Value(groupRecorderKey{}).(groupRecorder)
		for i, score := range scores {
			p := part(name, score, err)
			if score.scored {
				p.Err, p.cause = "", nil
			}
			if i < len(rs) {
				rs[i].add(p)
			} else if len(group) == 1 {
				record(ctx, p) // called through Alone
			}
		}
		return scores, err
	}
}

// WeightGroup multiplies f's scores by w; not scored stays not scored.
func WeightGroup(w float64, f GroupFunc) GroupFunc {
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		scores, err := safelyGroup(ctx, f, group)
		for i, score := range scores {
			if v, ok := score.Value(); ok {
				scores[i], err = finite(float64(w*v), err)
			}
		}
		return scores, err
	}
}

// SumGroup adds up the scores of fs sample by sample, as [Sum] does.
func SumGroup(fs ...GroupFunc) GroupFunc {
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		total := make([]Score, len(group))
		var all []error
		for _, f := range fs {
			scores, err := safelyGroup(ctx, f, group)
			all = append(all, err)
			for i, score := range scores {
				var err error
				total[i], err = Plus(total[i], score)
				all = append(all, err)
			}
		}
		return total, errors.Join(all...)
	}
}

// Plus adds two scores as [Sum] does: not scored counts as nothing, and two of them are not scored. Its error says that the sum is
// not finite.
func Plus(a, b Score) (Score, error) {
	switch {
	case !a.scored:
		return b, nil
	case !b.scored:
		return a, nil
	}
	return finite(a.value+b.value, nil)
}

// safelyGroup runs f; always one score a sample: none is scored after a panic, a wrong count, or an error without scores.
func safelyGroup(ctx context.Context, f GroupFunc, group []Sample) (scores []Score, err error) {
	defer func() {
		if r := recover(); r != nil {
			scores, err = make([]Score, len(group)), fmt.Errorf("%w: %v", ErrPanic, r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return make([]Score, len(group)), err
	}
	scores, err = f(ctx, group)
	if len(scores) != len(group) {
		if err == nil || len(scores) != 0 {
			err = errors.Join(err, fmt.Errorf("%w: %d for %d samples", ErrCount, len(scores), len(group)))
		}
		return make([]Score, len(group)), err
	}
	return append([]Score(nil), scores...), err
}

// EvaluateGroup judges a group. As [Evaluate]'s, its results are never a guess: after a panic, a wrong count or the end of ctx,
// samples are not scored; it returns at once when ctx ends and leaves f to itself.
func EvaluateGroup(ctx context.Context, f GroupFunc, group []Sample) []Result {
	type verdict struct {
		scores []Score
		err    error
	}
	rs, done := newGroupRecorder(len(group)), make(chan verdict, 1)
	go func() {
		scores, err := safelyGroup(context.WithValue(ctx, groupRecorderKey{}, rs), f, group)
		done <- verdict{scores, err}
	}()
	v := verdict{scores: make([]Score, len(group))}
	select {
	case v = <-done:
	case <-ctx.Done():
		v.err = ctx.Err()
	}
	results := make([]Result, len(group))
	for i := range results {
		results[i] = Result{Score: v.scores[i], Parts: rs[i].copy()}
		if !v.scores[i].scored {
			results[i].Err = v.err
		}
	}
	return results
}
