package reward

import (
	"context"
	"errors"
)

// Counts tells how the samples of a batch fared.
type Counts struct {
	Scored   int // got a number
	Unscored int // did not, for any reason
	Panicked int // of those, because the function panicked
	TimedOut int // because the context ended, or a time limit
	Failed   int // because it returned an error
}

// Add counts one result.
func (c *Counts) Add(r Result) { c.add(r.Score, r.Err) }

func (c *Counts) add(score Score, err error) {
	if _, ok := score.Value(); ok {
		c.Scored++
		return
	}
	c.Unscored++
	switch {
	case errors.Is(err, ErrPanic):
		c.Panicked++
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		c.TimedOut++
	case err != nil:
		c.Failed++
	}
}

// Tally counts how each named function fared, by name. Adding to it is not safe from several goroutines.
type Tally map[string]Counts

// Add counts the parts of one evaluation.
func (t Tally) Add(parts []Part) {
	for _, p := range parts {
		c := t[p.Name]
		c.add(p.Score, p.cause)
		t[p.Name] = c
	}
}
