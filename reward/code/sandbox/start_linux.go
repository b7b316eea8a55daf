package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// graceTime is how long init may take beyond the job's limits before it is killed from outside.
const graceTime = 5 * time.Second

// jobPrefix begins the names of working directories of kinds without a tmpfs.
const jobPrefix = "gor1-job-"

// nobodyID is the user that jobs run as where init can be another.
const nobodyID = 65534

// proc is a running job as its parent sees it.
type proc struct {
	stdin          *os.File // the parent's ends
	stdout, stderr *os.File
	control        *os.File
	status         *os.File
	limits         Limits

	init    process
	group   *cgroup
	begin   time.Time
	dir     string // the working directory of kinds without a tmpfs, removed at the end
	unwatch func() bool
	timer   *time.Timer

	mu     sync.Mutex
	killed Status // why the parent ended the run, first one wins
	ended  bool
}

// process is what a parent does with a first process, its own child or the launcher's.
type process interface {
	Kill() error
	Wait() (*os.ProcessState, error)
}

// start builds the sandbox and starts c in it. When it returns without an error the job is running, and wait and close
// must be called. marks says that the parent will mark tests, each with its own processor time.
func (s *Sandbox) start(ctx context.Context, c Command, marks bool) (*proc, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("sandbox: no program to run: Command.Args is empty")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sandbox: not started: %w", err)
	}
	sp, err := s.newSpec(c)
	if err != nil {
		return nil, err
	}
	sp.Marks = marks
	return s.startSpec(ctx, sp, c.Files)
}

// startSpec starts what sp says.
func (s *Sandbox) startSpec(ctx context.Context, sp *spec, files []File) (*proc, error) {
	p := &proc{limits: sp.Limits, begin: time.Now(), dir: sp.Dir}
	if err := p.launch(s, sp); err != nil {
		return nil, errors.Join(err, p.abandon())
	}
	p.unwatch = context.AfterFunc(ctx, func() { p.kill(Canceled) })
	p.timer = time.AfterFunc(sp.Limits.Wall+graceTime, func() { p.kill(WallLimit) })
	data := make([][]byte, len(files))
	for i, f := range files {
		data[i] = f.Data
	}
	writeFrame(p.control, sp, data...) // where it fails, init is dead, and why is on the status pipe
	var b [1]byte
	if _, err := io.ReadFull(p.status, b[:]); err == nil && b[0] == statusStarted {
		return p, nil
	}
	var rep report
	var startErr error
	switch err := readFrame(io.MultiReader(bytes.NewReader(b[:]), p.status), &rep); {
	case ctx.Err() != nil:
		startErr = fmt.Errorf("sandbox: not started: %w", context.Cause(ctx))
	case err == nil && rep.Err != "":
		startErr = fmt.Errorf("sandbox: %s: %s", s.kind, rep.Err)
	default: // its end closed the pipes; bubblewrap says why
		said, _ := io.ReadAll(io.LimitReader(p.stderr, 500))
		startErr = fmt.Errorf("sandbox: %s: the first process died before it started the job: %+q", s.kind, strings.TrimSpace(string(said)))
	}
	return nil, errors.Join(startErr, p.abandon())
}

func newNonce() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// newSpec is what init is told about c.
func (s *Sandbox) newSpec(c Command) (*spec, error) {
	sp := &spec{Nonce: newNonce(), Kind: s.kind, Args: c.Args, Env: environment(c.Env),
		Limits: c.Limits.or(s.Limits()), Collect: c.Collect, MaxFile: c.CollectMax,
		Nobody: s.nobody, Memcg: s.cgroup.memory != "", Off: map[string]bool{}}
	if sp.MaxFile == 0 {
		sp.MaxFile = 64 << 20
	}
	for _, o := range s.cfg.off {
		sp.Off[o] = true
	}
	if sp.Off["env"] {
		sp.Env = append(sp.Env, os.Environ()...)
	}
	if sp.Off["output"] {
		sp.Limits.Output = 1 << 40
	}
	for _, p := range append(append([]string{}, s.cfg.ReadOnly...), c.ReadOnly...) {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("sandbox: ReadOnly path %q is not absolute", p)
		}
		sp.Mounts = append(sp.Mounts, filepath.Clean(p))
	}
	for _, f := range c.Files {
		sp.Files = append(sp.Files, fileHead{Name: f.Name, Mode: f.Mode, Size: len(f.Data)})
	}
	if s.kind == kindLandlock || s.kind == kindUnsafe {
		dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", jobPrefix, os.Getpid()))
		if err != nil {
			return nil, fmt.Errorf("sandbox: make the job's folder: %w", err)
		}
		sp.Dir = dir
	}
	return sp, nil
}

// environment is the whole environment of a job: what the caller gave and what programs cannot do without.
func environment(env []string) []string {
	out := slices.Clone(env)
	for _, d := range []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"} {
		name, _, _ := strings.Cut(d, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			out = append(out, d)
		}
	}
	return out
}

// launch starts init, stopped at its first read.
func (p *proc) launch(s *Sandbox, sp *spec) error {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	var err error
	pipe := func(mine **os.File, write bool) {
		r, w, e := os.Pipe()
		if e != nil {
			err = errors.Join(err, e)
			return
		}
		if write {
			*mine, theirs = w, append(theirs, r)
		} else {
			*mine, theirs = r, append(theirs, w)
		}
	}
	pipe(&p.stdin, true)
	pipe(&p.stdout, false)
	pipe(&p.stderr, false)
	pipe(&p.control, true)
	pipe(&p.status, false)
	if err != nil {
		return fmt.Errorf("sandbox: make pipes: %w", err)
	}
	if p.group, err = s.cgroup.newCgroup(sp.Limits); err != nil {
		return err
	}
	var pid int
	if s.kind == kindNamespaces {
		p.init, pid, err = s.launcher.start(sp, theirs)
		if err != nil {
			return err
		}
		return p.group.add(pid)
	}
	path, args := "/proc/self/exe", []string{initName, sp.Nonce}
	if s.kind == kindBubblewrap {
		path, args, err = bwrapArgs(s.bwrap, sp)
		if err != nil {
			return err
		}
	}
	child, err := os.StartProcess(path, args, &os.ProcAttr{Env: []string{"GOMAXPROCS=2"}, Files: theirs, Sys: attributes(sp)})
	if err != nil {
		return fmt.Errorf("sandbox: start the first process: %w", err)
	}
	p.init = child
	return p.group.add(child.Pid)
}

// attributes are the namespaces and user of init.
func attributes(sp *spec) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if sp.Kind != kindNamespaces {
		return attr
	}
	for name, flag := range map[string]uintptr{"mount": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET,
		"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS} {
		if !sp.Off[name] || name == "mount" { // the root cannot be built outside a mount namespace
			attr.Cloneflags |= flag
		}
	}
	if sp.Off["user"] {
		return attr
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	if sp.Nobody {
		attr.UidMappings = append(attr.UidMappings, syscall.SysProcIDMap{ContainerID: nobodyID, HostID: nobodyID, Size: 1})
		attr.GidMappings = append(attr.GidMappings, syscall.SysProcIDMap{ContainerID: nobodyID, HostID: nobodyID, Size: 1})
		attr.GidMappingsEnableSetgroups = true
	}
	return attr
}

// mark tells init that a new test begins: the processor time limit counts from here.
func (p *proc) mark() { p.control.Write([]byte{1}) }

// kill ends the run for a reason of the parent's. Init does it; where it does not answer in time, the kernel does.
func (p *proc) kill(why Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed != "" || p.ended {
		return
	}
	p.killed = why
	p.control.Close()
	time.AfterFunc(graceTime, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended {
			p.init.Kill()
		}
	})
}

// finish reads init's report, which comes when every process of the sandbox but init is dead, and frees what the run
// held. The flag tells whether the kernel killed for want of memory.
func (p *proc) finish() (rep report, oom bool, err error) {
	repErr := readFrame(p.status, &rep)
	if repErr == nil && rep.FileSize > 0 {
		rep.file = make([]byte, rep.FileSize)
		_, repErr = io.ReadFull(p.status, rep.file)
	}
	_, waitErr := p.init.Wait()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.unwatch()
	p.timer.Stop()
	oom = p.group.oom()
	rep.lost = repErr != nil
	if err := errors.Join(waitErr, p.group.remove(), p.removeDir()); err != nil {
		return rep, oom, fmt.Errorf("sandbox: end of a run: %w", err)
	}
	return rep, oom, nil
}

// wait ends a run and says how it went.
func (p *proc) wait() (Result, error) {
	rep, oom, err := p.finish()
	if err != nil {
		return Result{}, err
	}
	p.mu.Lock()
	killed := p.killed
	p.mu.Unlock()
	res := Result{Status: Exited, ExitCode: rep.Exit, CPU: rep.CPU, Wall: time.Since(p.begin), MaxRSS: rep.MaxRSS, File: rep.file, FileErr: rep.FileErr}
	switch {
	case killed != "":
		res.Status = killed
	case rep.Killed != "":
		res.Status = rep.Killed
	case oom && (rep.lost || rep.Signal == int(unix.SIGKILL)):
		res.Status = MemoryLimit
	case rep.lost: // init itself was killed, which only the job can have brought about
		res.Status, res.Signal = Signaled, int(unix.SIGKILL)
	case rep.Signal == int(unix.SIGXCPU):
		res.Status = CPULimit
	case rep.Signal != 0:
		res.Status, res.Signal = Signaled, rep.Signal
	}
	return res, nil
}

// close frees the parent's ends of the pipes.
func (p *proc) close() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr, p.control, p.status} {
		if f != nil {
			f.Close()
		}
	}
}

func (p *proc) removeDir() error {
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// abandon undoes a start that failed.
func (p *proc) abandon() error {
	var errs []error
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	if p.unwatch != nil {
		p.unwatch()
		p.timer.Stop()
	}
	if p.init != nil {
		p.init.Kill()
		_, err := p.init.Wait()
		errs = append(errs, err)
	}
	p.close()
	return errors.Join(append(errs, p.group.remove(), p.removeDir())...)
}
