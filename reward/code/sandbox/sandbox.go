package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrNoSandbox is wrapped by the [Refusal] that [Open] returns where no kind of sandbox works.
var ErrNoSandbox = errors.New("sandbox: no sandbox works here")

// Refusal is Open's error where nothing works; it says what was tried.
type Refusal struct {
	Tried []Layer
}

// Error lists what was tried.
func (r *Refusal) Error() string {
	msg := ErrNoSandbox.Error()
	for _, l := range r.Tried {
		msg += "; " + l.Name + ": " + l.Note
	}
	return msg
}

// Unwrap returns [ErrNoSandbox].
func (r *Refusal) Unwrap() error { return ErrNoSandbox }

// Limits bound one run: the job and everything it starts, together, unless said otherwise. A zero field takes the value
// of [DefaultLimits].
type Limits struct {
	CPU       time.Duration // processor time of the whole tree; checked every 25 ms
	Wall      time.Duration // time from start to end; the tree is killed from outside
	Memory    int64         // bytes, files in the sandbox included where a memory cgroup is writable
	Disk      int64         // bytes of files the job may hold at once
	Inodes    int           // files the job may hold at once
	Processes int           // processes and threads
	Files     int           // open files of one process
	Output    int64         // bytes kept of stdout and of stderr, each; a job that writes more is killed
}

// DefaultLimits are those of one test of a contest problem: 10 s of processor time, 20 s, 512 MiB, 64 MiB and 2,048
// files on disk, 32 processes with 64 open files each, 1 MiB of output.
func DefaultLimits() Limits {
	return Limits{CPU: 10 * time.Second, Wall: 20 * time.Second, Memory: 512 << 20, Disk: 64 << 20, Inodes: 2048,
		Processes: 32, Files: 64, Output: 1 << 20}
}

// or fills the zero fields of l from d.
func (l Limits) or(d Limits) Limits {
	pick(&l.CPU, d.CPU)
	pick(&l.Wall, d.Wall)
	pick(&l.Memory, d.Memory)
	pick(&l.Disk, d.Disk)
	pick(&l.Inodes, d.Inodes)
	pick(&l.Processes, d.Processes)
	pick(&l.Files, d.Files)
	pick(&l.Output, d.Output)
	return l
}

func pick[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Config says how to build a [Sandbox]. The zero Config is the normal one.
type Config struct {
	Limits   Limits   // of one run; zero fields are those of DefaultLimits
	ReadOnly []string // further files and directories the jobs may read, at the same path

	// UnsafeExec allows running jobs with resource limits only where no sandbox works: they can then read, write and
	// connect to whatever this process can. [Sandbox.Unsafe] and [Sandbox.Layers] say so; a command that sets it must
	// print that loudly.
	UnsafeExec bool

	kind kind     // tests: this kind only
	off  []string // tests: layers taken away
}

// Sandbox runs untrusted programs. It is safe from any number of goroutines, and may hold one small process of its own until
// [Sandbox.Close].
type Sandbox struct {
	cfg    Config
	kind   kind
	layers []Layer
	cgroup cgroupBase
	nobody bool // namespaces: jobs run as another user than init, which only root can arrange
	bwrap  string

	launcher *launcher
}

// kind is a way to build a sandbox.
type kind string

const (
	kindNamespaces kind = "namespaces"
	kindBubblewrap kind = "bubblewrap"
	kindLandlock   kind = "landlock+seccomp"
	kindUnsafe     kind = "unsafe"
)

// Layer is one line of defence and whether it holds on this machine.
type Layer struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Note   string `json:"note"` // what it does, or why it does not hold
}

// Kind is how the sandbox is built: "namespaces", "bubblewrap", "landlock+seccomp" or "unsafe".
func (s *Sandbox) Kind() string { return string(s.kind) }

// Unsafe reports whether jobs run without a sandbox, which only [Config.UnsafeExec] makes possible.
func (s *Sandbox) Unsafe() bool { return s.kind == kindUnsafe }

// Limits are those of a run whose Command sets none.
func (s *Sandbox) Limits() Limits { return s.cfg.Limits.or(DefaultLimits()) }

// Layers says which layers hold, the strongest first.
func (s *Sandbox) Layers() []Layer { return append([]Layer(nil), s.layers...) }

// File is a regular file to put into the job's working directory before it starts.
type File struct {
	Name string // a plain name, no directory
	Mode uint32 // permission bits; zero is 0444
	Data []byte
}

// Command is one program to run.
type Command struct {
	Args   []string // Args[0] is an absolute path, or a name in the working directory that begins with "./"
	Env    []string // the whole environment, with PATH, HOME, TMPDIR and LANG added where missing
	Stdin  []byte
	Files  []File
	Limits Limits // zero fields are those of the sandbox

	Collect    string // a file of the working directory to hand back in Result.File, taken after every process is dead
	CollectMax int64  // its size limit in bytes; default 64 MiB

	ReadOnly []string // further files and directories to read, beside Config.ReadOnly
}

// Status is how a run ended.
type Status string

// The ways a run ends. Only Exited carries an exit code.
const (
	Exited       Status = "exited"
	Signaled     Status = "killed by a signal"
	CPULimit     Status = "processor time limit"
	WallLimit    Status = "time limit"
	MemoryLimit  Status = "memory limit"
	ProcessLimit Status = "process limit"
	OutputLimit  Status = "output limit"
	Canceled     Status = "canceled"
)

// Result is what came of a run. Nothing in it is to be trusted as a verdict: the job chose its exit code and output.
type Result struct {
	Status   Status
	ExitCode int // where Status is Exited
	Signal   int // where Status is Signaled
	Stdout   []byte
	Stderr   []byte
	CPU      time.Duration // of the job and the descendants it waited for
	Wall     time.Duration
	MaxRSS   int64  // bytes, of the largest process
	File     []byte // Command.Collect, nil where it was missing
	FileErr  string // why it was not handed back
}

// OK reports whether the program ended by itself with exit code 0.
func (r Result) OK() bool { return r.Status == Exited && r.ExitCode == 0 }

// String describes how the run ended, for messages.
func (r Result) String() string {
	switch r.Status {
	case Exited:
		return fmt.Sprintf("exit code %d", r.ExitCode)
	case Signaled:
		return fmt.Sprintf("killed by signal %d", r.Signal)
	}
	return string(r.Status)
}

// Run runs one program to its end, or to the first limit it hits, and kills everything it started. An error means that
// the sandbox failed, not the program: nothing is known about the program then. A done ctx ends the run at once.
func (s *Sandbox) Run(ctx context.Context, c Command) (Result, error) {
	p, err := s.begin(ctx, c, false)
	if err != nil {
		return Result{}, err
	}
	out := &capped{max: p.proc.limits.Output, over: func() { p.proc.kill(OutputLimit) }}
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(out, p.Stdout) })
	wg.Go(func() {
		p.Stdin.Write(c.Stdin) // a job need not read its input: the write then fails when the job is dead
		p.Stdin.Close()
	})
	res, err := p.end(&wg)
	res.Stdout = out.buf.Bytes()
	if err == nil && ctx.Err() != nil {
		return res, fmt.Errorf("sandbox: run canceled: %w", context.Cause(ctx))
	}
	return res, err
}

// Process is a running job whose pipes are in the caller's hands. [Process.Wait] must be called.
type Process struct {
	Stdin  io.WriteCloser
	Stdout io.Reader // a job that nobody reads stops at a full pipe

	proc   *proc
	stderr *capped
	copied sync.WaitGroup
}

// Start starts one program and leaves talking to it to the caller; Command.Stdin is not used. A done ctx kills it.
func (s *Sandbox) Start(ctx context.Context, c Command) (*Process, error) {
	return s.begin(ctx, c, true)
}

func (s *Sandbox) begin(ctx context.Context, c Command, marks bool) (*Process, error) {
	p, err := s.start(ctx, c, marks)
	if err != nil {
		return nil, err
	}
	q := &Process{Stdin: p.stdin, Stdout: p.stdout, proc: p}
	q.stderr = &capped{max: p.limits.Output, over: func() { p.kill(OutputLimit) }}
	q.copied.Go(func() { io.Copy(q.stderr, p.stderr) })
	return q, nil
}

// Mark begins a new test: the limit on processor time counts from here.
func (p *Process) Mark() { p.proc.mark() }

// Kill ends the run; its status will be Canceled.
func (p *Process) Kill() { p.proc.kill(Canceled) }

// Wait waits until every process of the run is dead and frees what it held. Result.Stdout is empty.
func (p *Process) Wait() (Result, error) { return p.end(&sync.WaitGroup{}) }

func (p *Process) end(readers *sync.WaitGroup) (Result, error) {
	res, err := p.proc.wait()
	readers.Wait()
	p.copied.Wait()
	p.proc.close()
	res.Stderr = p.stderr.buf.Bytes()
	return res, err
}

// capped keeps the first max bytes and calls over once when there are more.
type capped struct {
	buf  bytes.Buffer
	max  int64
	over func()
}

// errOverCap stops the copy into a capped.
var errOverCap = errors.New("sandbox: output limit")

func (c *capped) Write(p []byte) (int, error) {
	room := c.max - int64(c.buf.Len())
	if int64(len(p)) <= room {
		return c.buf.Write(p)
	}
	c.buf.Write(p[:room])
	c.over()
	return int(room), errOverCap
}
