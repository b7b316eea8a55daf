package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/gor1/gor1/reward"
)

// CommandConfig says which program scores.
type CommandConfig struct {
	Name    string        // of the reward; default "command"
	Path    string        // of the program, looked up as the shell does
	Args    []string      // its arguments
	Dir     string        // it runs in; empty: the caller's
	Env     []string      // its environment, as KEY=value; nil: the caller's
	Batch   int           // rows it is given before it answers; default 16
	Timeout time.Duration // for one row; default 10 s
	Start   time.Duration // more for the first row after a start; default 60 s
	MaxLine int           // bytes of a reply; default 4,096
}

// maxDead is how many processes in a row may fail without one reply before the rest of a group is given up.
const maxDead = 10

// settle is how long the program is listened to after its last reply, for a line too many.
const settle = 2 * time.Millisecond

// errUnasked is a program's that wrote to its standard output what is no reply.
var errUnasked = errors.New("it wrote more lines than it was given rows")

// Command scores samples by a program that stays up: it reads rows of JSON from its standard input, one a line, and writes one number or null a line
// for each, in order, flushed, and nothing else to its standard output: a stray number there cannot be told from a reply, unless it makes a line too
// many. A row at which it dies, hangs or writes anything else is not scored; the
// program is killed with all it started, and a new one goes on with the next row. Safe from any number of goroutines, which take turns.
type Command struct {
	config CommandConfig
	turn   chan struct{} // holds one token: whoever has it may use process
	closed bool
	proc   *process
	starts int
}

// NewCommand checks the configuration and finds the program; it starts at the first row. The caller closes it.
func NewCommand(c CommandConfig) (*Command, error) {
	path, err := exec.LookPath(c.Path)
	if err != nil {
		return nil, fmt.Errorf("remote: command: %w", err)
	}
	c.Path = path
	if c.Batch < 0 || c.Timeout < 0 || c.Start < 0 || c.MaxLine < 0 {
		return nil, fmt.Errorf("remote: command %s: a limit below 0", c.Path)
	}
	if c.Name == "" {
		c.Name = "command"
	}
	if c.Batch == 0 {
		c.Batch = 16
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Start == 0 {
		c.Start = time.Minute
	}
	if c.MaxLine == 0 {
		c.MaxLine = 4096
	}
	cmd := &Command{config: c, turn: make(chan struct{}, 1)}
	cmd.turn <- struct{}{}
	return cmd, nil
}

// Group is the program as a reward of groups, which are its batches.
func (c *Command) Group() reward.GroupFunc { return reward.NamedGroup(c.config.Name, c.score) }

// Func is the program as a reward of single samples.
func (c *Command) Func() reward.Func { return reward.Alone(c.Group()) }

// Starts is how often the program has been started.
func (c *Command) Starts() int {
	<-c.turn
	defer c.release()
	return c.starts
}

// Close ends the program: its input is closed, it has a second to leave, and what is left of it and of all it started is killed. Rows
// after that are not scored. Closing twice is harmless.
func (c *Command) Close() error {
	<-c.turn
	defer c.release()
	c.closed = true
	if c.proc != nil {
		c.proc.end(time.Second)
		c.proc = nil
	}
	return nil
}

func (c *Command) release() { c.turn <- struct{}{} }

// score gives each sample its score, in batches; errors concern the samples without.
func (c *Command) score(ctx context.Context, group []reward.Sample) ([]reward.Score, error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer c.release()
	scores := make([]reward.Score, len(group))
	var rows [][]byte
	var at []int // the sample of each row
	var errs []error
	for i, s := range group {
		line, err := encode(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rows, at = append(rows, line), append(at, i)
	}
	for dead := 0; len(rows) > 0; {
		if err := errors.Join(ctx.Err(), c.ready()); err != nil {
			return scores, errors.Join(append(errs, err)...)
		}
		n := min(c.config.Batch, len(rows))
		got, err := c.proc.exchange(ctx, c.config, rows[:n])
		for i, score := range got {
			scores[at[i]] = score
		}
		if err == nil {
			rows, at = rows[n:], at[n:]
			continue
		}
		c.proc.end(0)
		failed := len(got) // the row it failed at
		if errors.Is(err, errUnasked) {
			failed = n - 1 // whose number is whose is not known: no row of the batch is scored
		}
		errs = append(errs, fmt.Errorf("remote: command %s: sample %d: %w%s", c.config.Name, at[failed], err, c.proc.complaint()))
		if dead++; c.proc.replied {
			dead = 0
		}
		c.proc = nil
		rows, at = rows[failed+1:], at[failed+1:]
		if dead >= maxDead {
			return scores, errors.Join(append(errs, fmt.Errorf("remote: command %s: %d processes in a row gave no reply: run it by hand on one row", c.config.Name, dead))...)
		}
	}
	return scores, errors.Join(errs...)
}

// ready starts the program where none runs, or where the one that runs has spoken unasked.
func (c *Command) ready() error {
	if c.closed {
		return fmt.Errorf("remote: command %s is closed", c.config.Name)
	}
	if c.proc != nil {
		select {
		case <-c.proc.lines: // a line too many, or its end
			c.proc.end(0)
			c.proc = nil
		default:
			return nil
		}
	}
	p, err := start(c.config)
	if err != nil {
		return fmt.Errorf("remote: command %s: %w", c.config.Name, err)
	}
	c.proc = p
	c.starts++
	return nil
}

// process is one run of the program.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan []byte // of its output; closed at the end of it
	quit    chan struct{}
	mark    string // in the environment of it and of all it starts
	stderr  *tail
	replied bool // at least once
}

func start(c CommandConfig) (*process, error) {
	p := &process{lines: make(chan []byte), quit: make(chan struct{}), mark: "R1_REWARD_MARK=" + rand.Text(), stderr: &tail{}}
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Dir, p.cmd.Env = c.Dir, c.Env
	p.cmd.Env = append(p.cmd.Environ(), p.mark)
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = time.Second
	ownTree(p.cmd)
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.in = in
	go p.read(out, c.MaxLine)
	return p, nil
}

// read hands out the lines of the output. One that is too long ends it.
func (p *process) read(out io.Reader, maxLine int) {
	defer close(p.lines)
	s := bufio.NewScanner(out)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		select {
		case p.lines <- bytes.Clone(s.Bytes()):
		case <-p.quit:
			return
		}
	}
}

// exchange writes rows and reads their scores. With an error, the scores are those of the rows before the one that failed; none is kept where
// the program wrote a line too many.
func (p *process) exchange(ctx context.Context, c CommandConfig, rows [][]byte) ([]reward.Score, error) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = p.in.Write(bytes.Join(rows, nil)) // a program that does not read is found out by its silence
	}()
	limit := c.Timeout
	if !p.replied {
		limit += c.Start
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var scores []reward.Score
	for range rows {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return scores, errors.New("it ended, or wrote a line that is too long")
			}
			score, err := decode(line)
			if err != nil {
				return scores, err
			}
			scores, p.replied = append(scores, score), true
			timer.Reset(c.Timeout)
		case <-timer.C:
			return scores, fmt.Errorf("no reply in time: %w", context.DeadlineExceeded)
		case <-ctx.Done():
			return scores, ctx.Err()
		}
	}
	select {
	case <-written:
	case <-timer.C:
		return nil, fmt.Errorf("%w: it has not read them", errUnasked)
	}
	timer.Reset(settle)
	select {
	case line, ok := <-p.lines:
		if ok {
			return nil, fmt.Errorf("%w: %s", errUnasked, excerpt(line))
		}
	case <-timer.C:
	}
	return scores, nil
}

// end closes the input, waits up to grace for the output to end and kills what is left.
func (p *process) end(grace time.Duration) {
	_ = p.in.Close()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for running := grace > 0; running; {
		select {
		case _, running = <-p.lines:
		case <-timer.C:
			running = false
		}
	}
	close(p.quit)
	killTree(p.cmd.Process, p.mark) // before it is waited for: its number is its own until then
	_ = p.cmd.Wait()                // it was killed: how does not matter
}

// complaint is the end of what the program wrote to its standard error, as a part of a sentence.
func (p *process) complaint() string {
	if s := p.stderr.last(); s != "" {
		return "; its last words: " + excerpt([]byte(s))
	}
	return ""
}

// tail keeps the last 200 bytes written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[max(0, len(b)-200):]...)
	t.text = t.text[max(0, len(t.text)-200):]
	return len(b), nil
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
