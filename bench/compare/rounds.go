package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/gor1/gor1/internal/bench"
)

// runner starts the sides' processes and keeps those that units share.
type runner struct {
	rounds int
	budget time.Duration // of a unit's rounds: no more begin after it, once there are three
	launch func(ctx context.Context, driver string) (*worker, error)
	folder func(shape string) (string, error) // of a shape's model
	shared map[string]*worker                 // by driver
	log    io.Writer                          // progress
}

// of is the worker of a side: shared by units, or its own.
func (r *runner) of(ctx context.Context, driver string, own bool) (*worker, error) {
	if w := r.shared[driver]; w != nil && !own {
		return w, nil
	}
	w, err := r.launch(ctx, driver)
	if err == nil && !own {
		r.shared[driver] = w
	}
	return w, err
}

func (r *runner) close() {
	for _, w := range r.shared {
		w.stop()
	}
}

// contender is a side that is set up, with what it measured.
type contender struct {
	side
	w       *worker
	own     bool
	swept   []swept
	rounds  [][]answer
	failure error
}

// swept is what a setting reached in the sweep: the geometric mean of its rows.
type swept struct {
	Set   setting `json:"set"`
	Value float64 `json:"value,omitempty"`
	Error string  `json:"error,omitempty"`
}

func (c *contender) stop() {
	if c.own && c.w != nil {
		c.w.stop()
	}
}

// set up a side: its process, the best of its settings, one measurement that does not count.
func (r *runner) contend(ctx context.Context, s side, fresh bool) *contender {
	c := &contender{side: s, own: fresh || s.driver == "ours"}
	c.failure = func() error {
		if s.driver != "ours" {
			folder, err := r.folder(s.Shape)
			if err != nil {
				return err
			}
			if c.request, err = s.forPeer(folder, nil); err != nil {
				return err
			}
		}
		if err := r.sweep(ctx, c); err != nil {
			return err
		}
		var err error
		if c.w == nil {
			if c.w, err = r.of(ctx, s.driver, c.own); err != nil {
				return err
			}
		}
		_, err = c.w.ask(c.request)
		return err
	}()
	if c.failure != nil {
		fmt.Fprintf(r.log, "  %s: %v\n", s.driver, c.failure)
	}
	return c
}

// sweep finds the best setting, with a process for each where memory is measured.
func (r *runner) sweep(ctx context.Context, c *contender) error {
	if len(c.settings) == 1 {
		c.Set = c.settings[0]
	}
	if len(c.settings) < 2 {
		return nil
	}
	var failures []error
	best := math.Inf(-1)
	for _, set := range c.settings {
		w, err := r.of(ctx, c.driver, c.own)
		if err != nil {
			return err
		}
		q := c.request
		q.Set = set
		if c.sweepNew > 0 {
			q.New = c.sweepNew
		}
		rows, err := w.ask(q)
		if c.own {
			w.stop()
		}
		one := swept{Set: set}
		if err != nil {
			one.Error = err.Error()
			failures = append(failures, err)
			if !c.own {
				r.restart(c.driver)
			}
		} else if one.Value = mean(rows); one.Value > best {
			best, c.Set = one.Value, set
		}
		c.swept = append(c.swept, one)
		fmt.Fprintf(r.log, "  %s %s: %.4g\n", c.driver, text(set), one.Value)
	}
	if len(failures) == len(c.settings) {
		return errors.Join(failures...)
	}
	return nil
}

// restart forgets a shared worker that may be broken.
func (r *runner) restart(driver string) {
	if w := r.shared[driver]; w != nil {
		w.stop()
		delete(r.shared, driver)
	}
}

// mean is the geometric mean of rows of any units.
func mean(rows []answer) float64 {
	sum := 0.0
	for _, a := range rows {
		sum += math.Log(a.Value)
	}
	return math.Exp(sum / float64(len(rows)))
}

// compare times a unit and returns its rows.
func (r *runner) compare(ctx context.Context, u unit) []row {
	fmt.Fprintln(r.log, u.name)
	var all, ours, theirs []*contender
	for _, s := range u.theirs {
		theirs = append(theirs, r.contend(ctx, s, u.fresh))
	}
	for _, s := range u.ours {
		ours = append(ours, r.contend(ctx, s, u.fresh))
	}
	all = append(slices.Clone(ours), theirs...)
	for _, c := range all {
		defer c.stop()
	}
	var others []float64
	began, want := time.Now(), r.rounds
	for clean := 0; clean < r.rounds && clean+2*r.rounds-len(others) >= r.rounds && len(others) < 2*r.rounds; {
		var pids []int
		live := slices.DeleteFunc(slices.Clone(all), func(c *contender) bool { return c.failure != nil })
		for _, c := range live {
			pids = append(pids, c.w.cmd.Process.Pid)
		}
		watch := bench.Watch(pids...)
		for i := range live { // another begins each round
			c := live[(i+len(others))%len(live)]
			rows, err := c.w.ask(c.request)
			if err != nil {
				c.failure = err
				fmt.Fprintf(r.log, "  %s: %v\n", c.driver, err)
			}
			c.rounds = append(c.rounds, rows)
		}
		others = append(others, watch.Others())
		if others[len(others)-1] <= bench.Bound {
			clean++
		}
		if time.Since(began) > r.budget && len(others) >= 3 {
			want = min(want, len(others))
			break
		}
	}
	return rowsOf(u, ours, theirs, others, want)
}
