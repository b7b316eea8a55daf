// Package pipeline holds the training loops: GRPO, SFT and distillation as stages over a run's directory, and R1's recipe as a line
// of stages. A stage is resumed exactly: what a killed process left is continued as if it had never stopped.
package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/gor1/gor1/run"
)

// Part is something that a checkpoint holds. Save writes its files into a folder, Restore reads them back; what is not a Part and
// not in a loop's state cannot influence a step.
type Part interface {
	Save(dir string) error
	Restore(dir string) error
}

// Loop is what every stage's training has in common: steps, metrics, checkpoints, resume.
type Loop struct {
	Dir       *run.Run
	Steps     int // in all
	SaveEvery int // steps between checkpoints, besides the last one's; 0: only at the end
	Keep      int // checkpoints that stay, the best one besides; 0: all
	Config    any // what the run is a function of, as JSON: a run is resumed with the same or not at all
	State     any // a pointer to the stage's own counters, which JSON holds exactly
	Parts     []Part
	Best      func() (step int64, ok bool) // the best step so far: it gets a checkpoint, which is kept besides the newest; nil: none
	Stop      func() bool                  // after a step, a function of the state: nothing more is to be done; nil: Steps says
	Watch     func(Step)                   // is told of every step done; nil: nobody
}

// Step is what a Loop tells of a step.
type Step struct {
	Number, Of int // counted from 0
	Fields     []run.Field
	Seconds    float64
}

// ErrInterrupted is wrapped by the error of a loop whose context ended. What was done is in a checkpoint.
var ErrInterrupted = errors.New("interrupted")

// stateFile is the loop's own file of a checkpoint.
const stateFile = "trainer_state.json"

// saved is the content of stateFile. transformers writes a file of this name with a global_step, too.
type saved struct {
	Step    int             `json:"global_step"`
	Config  json.RawMessage `json:"config"`
	State   json.RawMessage `json:"state"`
	Library string          `json:"library"`
}

// Run takes the steps that are left, from the newest whole checkpoint on where there is one. step does one step and returns its
// metrics; it changes nothing but the parts and the state, and it must not stop half-way for ctx once it has begun to change
// them. When ctx ends, the last whole step is committed and the error wraps ErrInterrupted; it is committed, too, where a step failed before
// it changed anything.
func (l Loop) Run(ctx context.Context, step func(ctx context.Context, n int) ([]run.Field, error)) error {
	done, err := l.restore()
	if err != nil {
		return err
	}
	start := time.Now()
	for n := done; n < l.Steps && !(n > 0 && l.stop()); n++ {
		from := time.Now()
		fields, err := step(ctx, n)
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return l.interrupted(n)
			}
			err = fmt.Errorf("pipeline: step %d: %w", n, err)
			if early := (untouched{}); n > done && errors.As(err, &early) {
				if e := l.save(n); e != nil {
					return errors.Join(err, e)
				}
				return fmt.Errorf("%w; the steps before it are saved, and the same command goes on from there", err)
			}
			return err
		}
		seconds := time.Since(from).Seconds()
		fields = append(fields, run.Field{Name: "step_time", Value: seconds}, run.Field{Name: "seconds", Value: time.Since(start).Seconds()})
		if err := l.Dir.Metrics(int64(n), fields...); err != nil {
			return err
		}
		if l.Watch != nil {
			l.Watch(Step{Number: n, Of: l.Steps, Fields: fields, Seconds: seconds})
		}
		best, any := int64(0), false
		if l.Best != nil {
			best, any = l.Best()
		}
		last := n+1 == l.Steps || l.stop()
		if last || l.SaveEvery > 0 && (n+1)%l.SaveEvery == 0 || any && best == int64(n+1) {
			if err := l.commit(n + 1); err != nil {
				return err
			}
		}
		if ctx.Err() != nil && !last {
			return l.interrupted(n + 1)
		}
	}
	return nil
}

func (l Loop) stop() bool { return l.Stop != nil && l.Stop() }

// untouched is the error of a step that failed before it changed anything: a judge that is not reached, data that has ended. The steps
// before it are committed.
type untouched struct{ error }

// Unwrap gives the cause.
func (u untouched) Unwrap() error { return u.error }

// interrupted commits the steps done and says how to go on.
func (l Loop) interrupted(done int) error {
	if err := l.save(done); err != nil {
		return err
	}
	return fmt.Errorf("pipeline: %w after %d of %d steps; saved in %s; run the same command again to go on", ErrInterrupted, done, l.Steps, l.Dir.Path(int64(done)))
}

// save commits the steps done where they are not yet.
func (l Loop) save(done int) error {
	if steps, err := l.Dir.Checkpoints(); err != nil || slices.Contains(steps, int64(done)) {
		return err
	}
	return l.commit(done)
}

func (l Loop) commit(done int) error {
	err := l.Dir.Commit(int64(done), func(dir string) error {
		for _, p := range l.Parts {
			if err := p.Save(dir); err != nil {
				return err
			}
		}
		config, err := json.Marshal(l.Config)
		if err != nil {
			return fmt.Errorf("pipeline: %w", err)
		}
		state, err := json.Marshal(l.State)
		if err != nil {
			return fmt.Errorf("pipeline: %w", err)
		}
		text, err := json.MarshalIndent(saved{Step: done, Config: config, State: state, Library: "gor1, " + runtime.Version() + " " + runtime.GOARCH}, "", "  ")
		if err != nil {
			return fmt.Errorf("pipeline: %w", err)
		}
		return os.WriteFile(filepath.Join(dir, stateFile), append(text, '\n'), 0o644)
	})
	if err != nil {
		return err
	}
	return l.prune()
}

// prune removes the checkpoints that do not stay.
func (l Loop) prune() error {
	if l.Keep == 0 {
		return nil
	}
	var best []int64
	if l.Best != nil {
		if step, ok := l.Best(); ok {
			best = append(best, step)
		}
	}
	return l.Dir.Keep(l.Keep, best...)
}

// restore continues from the newest whole checkpoint and returns the steps done.
func (l Loop) restore() (int, error) {
	step, skipped, ok, err := l.Dir.Latest()
	if err != nil {
		return 0, err
	}
	if !ok {
		if len(skipped) > 0 {
			return 0, fmt.Errorf("pipeline: every checkpoint is damaged: %w; remove them to begin again", errors.Join(skipped...))
		}
		return 0, l.Dir.Rewind(-1)
	}
	dir := l.Dir.Path(step)
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return 0, fmt.Errorf("pipeline: %s cannot be resumed: %w; give another output directory to begin again", dir, err)
	}
	var s saved
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, fmt.Errorf("pipeline: %s: %s: %w", dir, stateFile, err)
	}
	if err := l.sameConfig(dir, s.Config); err != nil {
		return 0, err
	}
	if s.Step > l.Steps {
		return 0, fmt.Errorf("pipeline: %s has %d steps, more than the %d asked for", dir, s.Step, l.Steps)
	}
	if err := json.Unmarshal(s.State, l.State); err != nil {
		return 0, fmt.Errorf("pipeline: %s: %s: %w", dir, stateFile, err)
	}
	for _, p := range l.Parts {
		if err := p.Restore(dir); err != nil {
			return 0, err
		}
	}
	if err := l.Dir.Rewind(int64(s.Step) - 1); err != nil {
		return 0, err
	}
	return s.Step, l.prune() // a kill between a commit and this leaves one too many
}

// sameConfig compares the configuration of a checkpoint with the loop's, key by key.
func (l Loop) sameConfig(dir string, was json.RawMessage) error {
	is, err := json.Marshal(l.Config)
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	var a, b map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(was, &a), json.Unmarshal(is, &b)); err != nil {
		return fmt.Errorf("pipeline: %s: config: %w", dir, err)
	}
	var changed []string
	for k := range b {
		if compact(a[k]) != compact(b[k]) {
			changed = append(changed, fmt.Sprintf("%s was %s and is now %s", k, orAbsent(a[k]), orAbsent(b[k])))
		}
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			changed = append(changed, fmt.Sprintf("%s was %s and is now absent", k, a[k]))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.Sort(changed)
	return fmt.Errorf("pipeline: %s was made with another configuration: %v; give another output directory, or the same configuration", dir, changed)
}

// compact takes the indentation away that a checkpoint's file has.
func compact(v json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v)
	}
	return b.String()
}

func orAbsent(v json.RawMessage) string {
	if v == nil {
		return "absent"
	}
	return string(v)
}
