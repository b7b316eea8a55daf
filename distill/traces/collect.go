package traces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/reward/remote"
)

// Options say how questions are asked.
type Options struct {
	Workers  int                      // questions asked at once; 0: 8
	Retry    bool                     // ask again what failed for good before
	Progress func(done, of int)       // is told after each question asked; nil: nobody
	Failed   func(id string, e error) // is told of each question that stays without an answer; nil: nobody
}

// Summary is how it went.
type Summary struct {
	Questions int            // different ones
	Known     int            // had an answer before
	Answered  int            // got one now
	Failed    int            // have none
	Tokens    int64          // of the answers got now, as the server counts
	Requests  int64          // sent now
	Rejected  map[string]int // replies refused now, by reason
}

// fatal are replies that speak of the caller, not of the question: no other question would fare better.
var fatal = []int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired}

// Collect asks every question that the journal has no answer to, and puts each answer there. What the journal has is never asked again; a
// process that was killed loses at most what was under way. A question whose replies are all refused is journaled as failed, and asked again
// only with Retry; one that met no more than lost connections is asked again the next time. Collect stops, with the error, where ctx
// ends, the budget is spent, the server refuses the caller, or so many questions in a row meet no reply that it must be down.
func Collect(ctx context.Context, t *Teacher, j *Journal, questions []Question, o Options) (Summary, error) {
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Workers < 0 {
		return Summary{}, fmt.Errorf("traces: %d workers", o.Workers)
	}
	c := &collection{Teacher: t, journal: j, options: o}
	todo, err := c.sort(questions)
	if err != nil {
		return c.sum, err
	}
	before, rejected := t.Requests(), t.RejectedReplies()
	var g errgroup.Group // what stops one question must not cut off another, which may be paid for
	g.SetLimit(o.Workers)
	for _, q := range todo {
		if c.stopped.Load() || ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := c.ask(ctx, q, len(todo))
			if err != nil {
				c.stopped.Store(true)
			}
			return err
		})
	}
	if err = g.Wait(); err == nil {
		err = ctx.Err()
	}
	c.sum.Requests, c.sum.Rejected = t.Requests()-before, t.RejectedReplies()
	for reason, n := range rejected {
		if c.sum.Rejected[reason] -= n; c.sum.Rejected[reason] == 0 {
			delete(c.sum.Rejected, reason)
		}
	}
	return c.sum, err
}

// collection is one Collect under way.
type collection struct {
	*Teacher
	journal *Journal
	options Options
	stopped atomic.Bool

	mu     sync.Mutex
	sum    Summary
	done   int
	silent int // questions in a row that met no reply
}

type keyed struct {
	Question
	key string
}

// sort lists the questions to ask, each once.
func (c *collection) sort(questions []Question) (todo []keyed, err error) {
	seen := map[string]bool{}
	for _, q := range questions {
		key, err := c.Key(q)
		if err != nil {
			return nil, err
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		c.sum.Questions++
		switch known, failed := c.journal.look(key); {
		case known && !failed:
			c.sum.Known++
		case known && !c.options.Retry:
			c.sum.Failed++
		default:
			todo = append(todo, keyed{q, key})
		}
	}
	return todo, nil
}

// ask asks one question; its error stops all.
func (c *collection) ask(ctx context.Context, q keyed, of int) error {
	a, err := c.Ask(ctx, q.Question)
	r := record{Key: q.key, ID: q.ID, Sample: q.Sample, Answer: &a}
	var refused remote.Refused
	var rejected Rejected
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, remote.ErrBudget):
		return err
	case errors.As(err, &refused):
		if slices.Contains(fatal, refused.Code) {
			return err
		}
		r.Answer, r.Failed = nil, err.Error()
	case errors.As(err, &rejected):
		r.Answer, r.Failed = nil, err.Error()
	default:
		return c.count(q, a, err, true, of)
	}
	if added := c.journal.add(r); added != nil {
		return added
	}
	return c.count(q, a, err, false, of)
}

// count notes how a question ended, and stops where no reply has come for many in a row.
func (c *collection) count(q keyed, a Answer, err error, lost bool, of int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.sum.Answered++
		c.sum.Tokens += int64(a.Tokens)
	} else {
		c.sum.Failed++
		if c.options.Failed != nil {
			c.options.Failed(q.ID, err)
		}
	}
	c.done++
	if c.options.Progress != nil {
		c.options.Progress(c.done, of)
	}
	if !lost {
		c.silent = 0
	} else if c.silent++; c.silent >= max(10, 2*c.options.Workers) {
		return fmt.Errorf("traces: %d questions in a row got no reply: %w; run again when the server is up", c.silent, err)
	}
	return nil
}

// row is a line of the set that is written: a conversational prompt with its completion, and where that is from.
type row struct {
	Prompt     []Message `json:"prompt"`
	Completion []Message `json:"completion"`
	ID         string    `json:"id,omitempty"`
	Sample     int       `json:"sample"`
	Teacher    string    `json:"teacher"`
	Tokens     int       `json:"tokens,omitempty"`
	Key        string    `json:"key"`
}

// Write writes the questions that have an answer, in their order, as rows for supervised fine-tuning, and returns how many.
func Write(w io.Writer, t *Teacher, j *Journal, questions []Question) (n int, err error) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, q := range questions {
		key, err := t.Key(q)
		if err != nil {
			return n, err
		}
		a, ok, err := j.Answer(key)
		if err != nil {
			return n, err
		}
		if !ok {
			continue
		}
		r := row{Prompt: q.Messages, Completion: []Message{{"assistant", a.Completion()}}, ID: q.ID, Sample: q.Sample, Teacher: a.Model, Tokens: a.Tokens, Key: key}
		if err := enc.Encode(r); err != nil {
			return n, fmt.Errorf("traces: %w", err)
		}
		n++
	}
	return n, nil
}
