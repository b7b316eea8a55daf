package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// patience is the longest that one measurement may take, its set-up included.
const patience = 15 * time.Minute

// worker is a process that times what it is asked.
type worker struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	said  *tail
}

// start runs a worker. It ends when its input does.
func start(ctx context.Context, name, dir, program string, args ...string) (*worker, error) {
	w := &worker{name: name, cmd: exec.CommandContext(ctx, program, args...), said: &tail{}}
	w.cmd.Dir, w.cmd.Stderr = dir, w.said
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("compare: %s: %w", name, err)
	}
	w.in, w.lines = in, bufio.NewScanner(out)
	w.lines.Buffer(nil, 1<<20)
	return w, nil
}

// ask has the worker time a request and returns its rows. The next asks may succeed after an error that the worker tells.
func (w *worker) ask(r request) ([]answer, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	slow := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer slow.Stop()
	if _, err := fmt.Fprintf(w.in, "%s\n", text); err != nil {
		return nil, fmt.Errorf("compare: %s: %w: %s", w.name, err, w.said)
	}
	var rows []answer
	for w.lines.Scan() {
		if len(w.lines.Bytes()) == 0 {
			if len(rows) == 1 && rows[0].Error != "" {
				return nil, fmt.Errorf("compare: %s: %s", w.name, rows[0].Error)
			}
			return rows, nil
		}
		var a answer
		if err := json.Unmarshal(w.lines.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("compare: %s says %q: %w", w.name, w.lines.Bytes(), err)
		}
		rows = append(rows, a)
	}
	return nil, fmt.Errorf("compare: %s ended (or took over %v): %w: %s", w.name, patience, errors.Join(w.lines.Err(), io.ErrUnexpectedEOF), w.said)
}

// stop ends the worker. What it thinks of its end is of no interest: what it measured has been told.
func (w *worker) stop() {
	_ = w.in.Close()
	slow := time.AfterFunc(20*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer slow.Stop()
	_ = w.cmd.Wait()
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2000):]
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.text)) }
