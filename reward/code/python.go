package code

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/gor1/gor1/reward/code/sandbox"
)

//go:embed job.py
var jobScript string

//go:embed grader.py
var graderScript string

// maxLine bounds one message between job and grader, in bytes.
const maxLine = 4 << 20

// testSpec is the first line the grader process reads.
type testSpec struct {
	Prelude string   `json:"prelude"`
	Setup   string   `json:"setup"`
	Entry   string   `json:"entry"`
	Tests   []string `json:"tests"`
	Calls   []Call   `json:"calls"`
}

// pythonJudge is one judgement: two sandboxes and the wire between them.
type pythonJudge struct {
	g      *Grader
	ctx    context.Context
	source []byte // the answer, as the job's first line
	grader *sandbox.Process
	job    *callee // nil: none was started, or it is dead
	in     *bufio.Reader
	report Report
}

// gradePython runs the tests in one sandbox and the answer in another, and carries calls between them.
func (g *Grader) gradePython(ctx context.Context, t Tests, source string) (Report, error) {
	if g.cfg.Python == "" {
		return Report{}, errors.New("code: no Python: set Config.Python, or install python3")
	}
	src, err := json.Marshal(t.program(source))
	if err != nil {
		return Report{}, fmt.Errorf("code: answer: %w", err)
	}
	spec, err := json.Marshal(testSpec{Prelude: t.Prelude, Setup: t.Setup, Entry: t.Entry, Tests: orEmpty(t.Asserts), Calls: orEmpty(t.Calls)})
	if err != nil {
		return Report{}, fmt.Errorf("code: tests: %w", err)
	}
	j := &pythonJudge{g: g, ctx: ctx, source: append(src, '\n')}
	limits := sandbox.Limits{CPU: g.cfg.Total, Wall: g.cfg.Total}
	j.grader, err = g.cfg.Sandbox.Start(ctx, sandbox.Command{Args: []string{g.cfg.Python, "-I", "-S", "-B", "-c", graderScript}, Limits: limits})
	if err != nil {
		return Report{}, fmt.Errorf("code: start the grader: %w", err)
	}
	j.in = bufio.NewReader(j.grader.Stdout)
	go j.grader.Stdin.Write(append(spec, '\n')) // ends with the grader at the latest
	err = j.run(t.count())
	if j.job != nil {
		err = errors.Join(err, j.job.end())
	}
	j.grader.Kill()
	if _, e := j.grader.Wait(); e != nil {
		err = errors.Join(err, e)
	}
	return j.report, err
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// run follows what the grader says until it is done.
func (j *pythonJudge) run(count int) error {
	for {
		line, err := readLine(j.in)
		if err != nil { // the grader is dead: of the context, or of what the answer sent it
			if len(j.report.Tests) == 0 && j.job == nil && j.ctx.Err() == nil {
				return errors.New("code: the grader process died before the first test; is the sandbox's memory limit too low?")
			}
			for j.ctx.Err() == nil && len(j.report.Tests) < count {
				j.report.Tests = append(j.report.Tests, Outcome{Why: "the value returned was too much for the grader"})
			}
			return nil
		}
		var msg []json.RawMessage
		var kind string
		if json.Unmarshal(line, &msg) != nil || len(msg) < 2 || json.Unmarshal(msg[0], &kind) != nil {
			return fmt.Errorf("code: the grader process wrote %s", quote(line))
		}
		switch kind {
		case "begin":
			err = j.begin()
		case "ask":
			err = j.ask(line)
		case "test":
			var o Outcome
			if len(msg) != 4 || json.Unmarshal(msg[2], &o.Passed) != nil || json.Unmarshal(msg[3], &o.Why) != nil {
				return fmt.Errorf("code: the grader process wrote %s", quote(line))
			}
			j.report.Tests = append(j.report.Tests, o)
		case "broken":
			var why string
			json.Unmarshal(msg[1], &why)
			if j.job != nil && j.job.dead != "" {
				why += "; the answer ended: " + j.job.dead
			}
			return fmt.Errorf("code: the problem's tests are broken: %+q", why)
		case "done":
			if len(j.report.Tests) != count {
				return fmt.Errorf("code: the grader ran %d of %d tests", len(j.report.Tests), count)
			}
			return nil
		default:
			return fmt.Errorf("code: the grader process wrote %s", quote(line))
		}
		if err != nil {
			return err
		}
	}
}

// begin makes sure that a job runs before a test: one that died in an earlier test is started anew.
func (j *pythonJudge) begin() error {
	if j.job != nil && j.job.dead == "" {
		j.job.proc.Mark()
		return nil
	}
	if j.job != nil {
		if err := j.job.end(); err != nil {
			return err
		}
	}
	job, err := j.g.startCallee(j.ctx, sandbox.Command{Args: []string{j.g.cfg.Python, "-I", "-B", "-c", jobScript}, Limits: j.g.cfg.Test}, j.source)
	j.job = job
	if err != nil && j.ctx.Err() != nil {
		return nil // the grader is being killed too
	}
	return err
}

// ask carries one call to the job and its reply back. A dead job's reply is an exception.
func (j *pythonJudge) ask(line []byte) error {
	if j.job == nil {
		return nil
	}
	var parts [5]json.RawMessage
	if err := json.Unmarshal(line, &parts); err != nil {
		return fmt.Errorf("code: the grader process wrote %s", quote(line))
	}
	call, err := json.Marshal(parts[1:])
	if err != nil {
		return fmt.Errorf("code: the grader process wrote %s", quote(line))
	}
	reply := j.job.call(append(call, '\n'), j.g.cfg.Test.Wall)
	j.grader.Stdin.Write(append(reply, '\n'))
	return nil
}

// callee is the answer's process: it answers calls, one line each.
type callee struct {
	proc *sandbox.Process
	out  *bufio.Reader
	dead string // how it ended
}

// endedByGrader is how a callee ends that outlived its tests.
const endedByGrader = "the tests were over"

// startCallee starts an answer; first is written before any call.
func (g *Grader) startCallee(ctx context.Context, c sandbox.Command, first []byte) (*callee, error) {
	c.Limits.Wall = g.cfg.Total
	p, err := g.cfg.Sandbox.Start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("code: start the answer: %w", err)
	}
	p.Stdin.Write(first) // an error shows at the first call
	return &callee{proc: p, out: bufio.NewReader(p.Stdout)}, nil
}

// call sends one line and reads one line, within wall by the clock.
func (p *callee) call(line []byte, wall time.Duration) []byte {
	if p.dead == "" {
		var late atomic.Bool
		t := time.AfterFunc(wall, func() { late.Store(true); p.proc.Kill() })
		defer t.Stop()
		if _, err := p.proc.Stdin.Write(line); err == nil {
			if reply, err := readLine(p.out); err == nil {
				return reply
			}
		}
		p.proc.Kill()
		res, err := p.proc.Wait()
		p.dead = res.String()
		if late.Load() {
			p.dead = string(sandbox.WallLimit)
		}
		if err != nil {
			p.dead = err.Error()
		}
	}
	reply, _ := json.Marshal([]any{"err", []string{"JobDied"}, "the answer's process ended: " + p.dead})
	return reply
}

// end kills the job and waits for it.
func (p *callee) end() error {
	if p.dead != "" {
		return nil
	}
	p.dead = endedByGrader
	p.proc.Kill()
	_, err := p.proc.Wait()
	return err
}

// readLine reads one line without its end; a longer one than maxLine, or the end of the stream, is an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case err != bufio.ErrBufferFull:
			return nil, io.ErrUnexpectedEOF
		case len(line) > maxLine:
			return nil, fmt.Errorf("code: a line of more than %d bytes", maxLine)
		}
	}
}
