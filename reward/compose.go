package reward

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// recorder collects the parts of one evaluation; functions find it in their context.
type recorder struct {
	mu    sync.Mutex
	parts []Part
}

type recorderKey struct{}

func (r *recorder) add(ps ...Part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, ps...)
}

func (r *recorder) copy() []Part {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Part(nil), r.parts...)
}

func record(ctx context.Context, ps ...Part) {
	if r, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		r.add(ps...)
	}
}

// Named gives f a name: its score, before any weight, becomes a [Part] of the evaluation it runs in.
func Named(name string, f Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		score, err := safely(ctx, f, s)
		record(ctx, part(name, score, err))
		return score, err
	}
}

func part(name string, score Score, err error) Part {
	p := Part{Name: name, Score: score, cause: err}
	if err != nil {
		p.Err = err.Error()
	}
	return p
}

// Weight multiplies f's score by w; not scored stays not scored.
func Weight(w float64, f Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		score, err := safely(ctx, f, s)
		if v, ok := score.Value(); ok {
			return finite(float64(w*v), err)
		}
		return score, err
	}
}

// finite is the score v, or none and an error that says so where sums and weights left the numbers.
func finite(v float64, err error) (Score, error) {
	score := Scored(v)
	if _, ok := score.Value(); !ok {
		return score, errors.Join(err, fmt.Errorf("reward: the score is %g: weights or parts are too large", v))
	}
	return score, err
}

// Sum adds up the scores of fs. A part that is not scored counts as nothing; the sum is not scored only if no part is. The
// errors of the parts come back joined.
func Sum(fs ...Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		total, any := 0.0, false
		var errs []error
		for _, f := range fs {
			score, err := safely(ctx, f, s)
			errs = append(errs, err)
			if v, ok := score.Value(); ok {
				total, any = total+v, true
			}
		}
		if !any {
			return Score{}, errors.Join(errs...)
		}
		return finite(total, errors.Join(errs...))
	}
}

// FromText makes a Func of a plain function over prompt, completion and reference answer.
func FromText(f func(prompt, completion, answer string) float64) Func {
	return func(_ context.Context, s Sample) (Score, error) {
		v := f(s.Problem.Prompt, s.Completion, s.Problem.Answer)
		score := Scored(v)
		if _, ok := score.Value(); !ok {
			return score, fmt.Errorf("reward: the function returned %g", v)
		}
		return score, nil
	}
}

// ErrPanic is wrapped by the error of a function that panicked.
var ErrPanic = errors.New("the reward function panicked")

// safely runs f; a panic is an error, and with an error there is no score.
func safely(ctx context.Context, f Func, s Sample) (score Score, err error) {
	defer func() {
		if r := recover(); r != nil {
			score, err = Score{}, fmt.Errorf("%w: %v", ErrPanic, r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return Score{}, err
	}
	score, err = f(ctx, s)
	if err != nil && !score.scored {
		return Score{}, err
	}
	return score, err
}

// Result is one evaluation.
type Result struct {
	Score Score
	Parts []Part // of the named functions inside, in the order they finished
	Err   error  // why it, or a part of it, was not scored
}

// Evaluate judges one sample with f. A panic, NaN, infinity or error makes it not scored, never 0. When ctx ends first, it
// returns at once with ctx's error and leaves f to itself; f must heed ctx, or its goroutine lives on.
func Evaluate(ctx context.Context, f Func, s Sample) Result {
	r := &recorder{}
	done := make(chan Result, 1)
	go func() {
		score, err := safely(context.WithValue(ctx, recorderKey{}, r), f, s)
		done <- Result{Score: score, Err: err}
	}()
	var out Result
	select {
	case out = <-done:
	case <-ctx.Done():
		out.Err = ctx.Err()
	}
	out.Parts = r.copy()
	return out
}
