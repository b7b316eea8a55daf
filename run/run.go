package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Run is a directory that one process owns. Close gives it up.
type Run struct {
	dir     string
	lock    *os.File
	metrics *os.File
	events  *events        // TensorBoard's copy of the metrics; nil until the first line
	whole   map[int64]bool // checkpoints that this process wrote or has verified
}

// The names inside a run's directory.
const (
	lockName    = "lock"
	metricsName = "metrics.jsonl"
	checkpoint  = "checkpoint-"
	manifest    = "MANIFEST.json"
	temporary   = ".tmp-"
)

// ErrLocked is wrapped by Open's error when another process owns the directory.
var ErrLocked = errors.New("another process is using it")

// Open makes the directory if it is not there and takes its lock, which ends with the process that holds it, however it
// ends. What a process left half-written is removed: temporary folders, and a last line of metrics without its end.
func Open(dir string) (*Run, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("run: %s cannot be written: %w", dir, err)
	}
	if err := lockFile(lock); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(lock, 200))
		return nil, errors.Join(fmt.Errorf("run: %s: %w: %s", dir, ErrLocked, strings.TrimSpace(string(holder))), lock.Close())
	}
	r := &Run{dir: dir, lock: lock, whole: map[int64]bool{}}
	if err := r.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("run: %s: %w", dir, err), r.Close())
	}
	return r, nil
}

func (r *Run) prepare() error {
	host, _ := os.Hostname()
	if err := r.lock.Truncate(0); err != nil {
		return err
	}
	if _, err := r.lock.WriteAt([]byte(fmt.Sprintf("pid %d on %s\n", os.Getpid(), host)), 0); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			if err := os.RemoveAll(filepath.Join(r.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	r.metrics, err = os.OpenFile(filepath.Join(r.dir, metricsName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return r.mendMetrics(func(step int64) bool { return true })
}

// Close gives the directory up.
func (r *Run) Close() error {
	var errs []error
	if r.metrics != nil {
		errs = append(errs, r.metrics.Close())
	}
	if r.events != nil {
		errs = append(errs, r.events.close())
	}
	return errors.Join(append(errs, r.lock.Close())...)
}

// Dir is the run's directory.
func (r *Run) Dir() string { return r.dir }

// Field is one named number, text or list of a metrics line; lines keep the order they are given in.
type Field struct {
	Name  string
	Value any
}

// Metrics appends one line to metrics.jsonl: {"step":step, ...}, and its numbers to a TensorBoard event file in the same folder
// (tensorboard --logdir DIR). NaN and the infinities, which JSON does not have, are written as null.
func (r *Run) Metrics(step int64, fields ...Field) error {
	line := []byte(`{"step":` + strconv.FormatInt(step, 10))
	for _, f := range fields {
		v, err := json.Marshal(finite(f.Value))
		if err != nil {
			return fmt.Errorf("run: metric %s: %w", f.Name, err)
		}
		name, _ := json.Marshal(f.Name)
		line = append(append(append(append(line, ','), name...), ':'), v...)
	}
	if _, err := r.metrics.Write(append(line, '}', '\n')); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if r.events == nil {
		var err error
		if r.events, err = openEvents(r.dir, step); err != nil {
			return err
		}
	}
	return r.events.scalars(step, fields)
}

func finite(v any) any {
	if f, ok := v.(float64); ok && f-f != 0 {
		return nil
	}
	return v
}

// Rewind drops the metrics of steps after the given one: a run that resumes from a checkpoint writes them again.
func (r *Run) Rewind(step int64) error {
	if err := r.mendMetrics(func(s int64) bool { return s <= step }); err != nil {
		return fmt.Errorf("run: %s: %w", r.dir, err)
	}
	return nil
}

// mendMetrics keeps the whole lines up to the first whose step is not wanted, and leaves the file positioned at its end: it is cut once,
// so that a process that dies here loses no line that is kept. A line that is not JSON is an error that names it, unless it is the last one
// and has no end: that one was being written when the process died.
func (r *Run) mendMetrics(keep func(step int64) bool) error {
	if _, err := r.metrics.Seek(0, io.SeekStart); err != nil {
		return err
	}
	text, err := io.ReadAll(r.metrics)
	if err != nil {
		return err
	}
	kept, rest := int64(0), text
	for number := 1; ; number++ {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break // the end, or a line without one
		}
		line := rest[:end]
		rest = rest[end+1:]
		var head struct {
			Step *int64 `json:"step"`
		}
		if err := json.Unmarshal(line, &head); err != nil || head.Step == nil {
			return fmt.Errorf("%s line %d is not a metrics line: %q", metricsName, number, bytes.TrimSpace(line))
		}
		if !keep(*head.Step) {
			break
		}
		kept += int64(end) + 1
	}
	if kept < int64(len(text)) {
		if err := r.metrics.Truncate(kept); err != nil {
			return err
		}
	}
	_, err = r.metrics.Seek(kept, io.SeekStart)
	return err
}

// Clear removes what a run left in the directory: checkpoints, metrics, events, rollouts. Files that are not a run's stay.
func (r *Run) Clear() error {
	if r.events != nil {
		return fmt.Errorf("run: %s: cleared after metrics were written", r.dir)
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, checkpoint) || strings.HasPrefix(name, "events.out.tfevents.") || name == "rollouts" {
			if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
				return fmt.Errorf("run: %w", err)
			}
		}
	}
	return r.Rewind(-1)
}
