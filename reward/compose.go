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

func record(ctx context.Context, p Part) {
	if r, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		r.mu.Lock()
		r.parts = append(r.parts, p)
		r.mu.Unlock()
	}
}

// Named gives f a name: its score, before any weight, becomes a [Part] of the evaluation it runs in.
func Named(name string, f Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		score, err := safely(ctx, f, s)
		p := Part{Name: name, Score: score}
		if err != nil {
			p.Err = err.Error()
		}
		record(ctx, p)
		return score, err
	}
}

// Weight multiplies f's score by w; not scored stays not scored.
func Weight(w float64, f Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		score, err := safely(ctx, f, s)
		if v, ok := score.Value(); ok {
			return Scored(float64(w * v)), err
		}
		return score, err
	}
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
		return Scored(total), errors.Join(errs...)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	out.Parts = append([]Part(nil), r.parts...)
	return out
}

// Counts tells how the samples of a batch fared.
type Counts struct {
	Scored   int // got a number
	Unscored int // did not, for any reason
	Panicked int // of those, because the function panicked
	TimedOut int // because the context ended
	Failed   int // because it returned an error
}

// Add counts one result.
func (c *Counts) Add(r Result) {
	if _, ok := r.Score.Value(); ok {
		c.Scored++
		return
	}
	c.Unscored++
	switch {
	case errors.Is(r.Err, ErrPanic):
		c.Panicked++
	case errors.Is(r.Err, context.Canceled), errors.Is(r.Err, context.DeadlineExceeded):
		c.TimedOut++
	case r.Err != nil:
		c.Failed++
	}
}
