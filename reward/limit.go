package reward

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Parallel is [Sum] with its parts run at the same time. Scores are added and parts recorded in the order of fs.
func Parallel(fs ...Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		scores, errs := make([]Score, len(fs)), make([]error, len(fs))
		rs := newGroupRecorder(len(fs))
		var wg sync.WaitGroup
		for i, f := range fs {
			wg.Go(func() {
				scores[i], errs[i] = safely(context.WithValue(ctx, recorderKey{}, rs[i]), f, s)
			})
		}
		wg.Wait()
		var total Score
		for i := range fs {
			record(ctx, rs[i].parts...)
			var err error
			total, err = Plus(total, scores[i])
			errs = append(errs, err)
		}
		return total, errors.Join(errs...)
	}
}

// maxAbandoned is how many calls of one [Timeout] may be running past their limit; more are refused.
const maxAbandoned = 64

// Timeout gives f at most d for each sample, and never more than ctx allows. A call that has not come back by then is not scored,
// with an error that is context.DeadlineExceeded, and is left to itself; with 64 of those still running, further samples are not
// tried: f must heed its context.
func Timeout(d time.Duration, f Func) Func {
	var abandoned atomic.Int64
	return func(ctx context.Context, s Sample) (Score, error) {
		if d <= 0 {
			return Score{}, fmt.Errorf("reward: a time limit of %v: want more than 0", d)
		}
		if n := abandoned.Load(); n >= maxAbandoned {
			return Score{}, fmt.Errorf("reward: %d calls run past their limit of %v: the function must return when its context ends", n, d)
		}
		inner, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		type verdict struct {
			score Score
			err   error
		}
		r, done := &recorder{}, make(chan verdict, 1)
		go func() {
			score, err := safely(context.WithValue(inner, recorderKey{}, r), f, s)
			done <- verdict{score, err}
		}()
		select {
		case v := <-done:
			record(ctx, r.copy()...)
			return v.score, v.err
		case <-inner.Done():
			abandoned.Add(1)
			go func() { <-done; abandoned.Add(-1) }()
			return Score{}, fmt.Errorf("reward: no score within %v: %w", d, inner.Err())
		}
	}
}

// Cache remembers f's scores of the last n different samples, so that a costly reward is asked once. Samples are the same when
// everything f can see of them is. What was not scored is not remembered.
func Cache(n int, f Func) Func {
	type entry struct {
		score Score
		parts []Part
	}
	var mu sync.Mutex
	known := map[[sha256.Size]byte]entry{}
	var order [][sha256.Size]byte // oldest first, a ring once it is full
	oldest := 0
	return func(ctx context.Context, s Sample) (Score, error) {
		if n < 1 {
			return Score{}, fmt.Errorf("reward: a cache of %d samples: want at least 1", n)
		}
		key := fingerprint(s)
		mu.Lock()
		e, ok := known[key]
		mu.Unlock()
		if ok {
			record(ctx, e.parts...)
			return e.score, nil
		}
		r := &recorder{}
		score, err := safely(context.WithValue(ctx, recorderKey{}, r), f, s)
		parts := r.copy()
		record(ctx, parts...)
		if _, ok := score.Value(); !ok || err != nil {
			return score, err
		}
		mu.Lock()
		defer mu.Unlock()
		if _, ok := known[key]; ok {
			return score, err
		}
		if len(order) < n {
			order = append(order, key)
		} else {
			delete(known, order[oldest])
			order[oldest] = key
			oldest = (oldest + 1) % n
		}
		known[key] = entry{score, parts}
		return score, err
	}
}

// fingerprint is a hash of all of s. Go prints maps in the order of their keys.
func fingerprint(s Sample) [sha256.Size]byte {
	p := s.Problem
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q %#v %q %v %t", p.ID, p.Prompt, p.Answer, p.Columns, s.Completion, s.Tokens, s.Truncated))
}
