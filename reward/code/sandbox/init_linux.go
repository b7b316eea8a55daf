package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// init turns the host program into a sandbox's first process when it was started as one: under the argv[0] only
// this package uses, with a nonce that must also come over an inherited pipe. It then never returns. In every other case
// it does nothing.
func init() {
	if len(os.Args) == 2 && filepath.Base(os.Args[0]) == initName {
		os.Exit(runInit(os.Args[1]))
	}
}

// spare is how many threads the first process itself may need, which count against the limits on processes.
const spare = 12

// job is what init knows of the program it runs.
type job struct {
	sp     *spec
	files  [][]byte
	status *os.File
	proc   int // a proc file system to watch the tree in, -1 without
	pid    int
	killed atomic.Pointer[Status] // the limit that was enforced, first one wins
	marks  atomic.Int64           // tests begun: the processor time limit counts from each
}

// runInit is the life of the first process; the result is its exit code, which nobody reads.
func runInit(nonce string) int {
	var st unix.Stat_t
	if unix.Fstat(controlFD, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return 125
	}
	control := os.NewFile(controlFD, "control")
	j := &job{sp: &spec{}, proc: -1}
	if err := readFrame(control, j.sp); err != nil || j.sp.Nonce != nonce || nonce == "" {
		return 125
	}
	if j.sp.Launcher {
		return runLauncher(statusFD)
	}
	j.status = os.NewFile(statusFD, "status")
	if !j.sp.Off["fds"] { // what the host program left open must not reach the job
		unix.CloseRange(controlFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	}
	if !j.sp.Nobody || j.sp.Off["nobody"] { // a job of the same user could end init with a signal. Handlers are reset when the job is started
		signal.Notify(make(chan os.Signal, 1))
	}
	if j.sp.Inner {
		fmt.Fprintln(os.Stderr, "sandbox:", j.become())
		return 126
	}
	if err := j.prepare(control); err != nil {
		writeFrame(j.status, report{Err: err.Error()})
		return 1
	}
	j.status.Write([]byte{statusStarted})
	if j.sp.Probe {
		writeFrame(j.status, report{Landlock: landlockABI(), Watch: j.proc >= 0})
		return 0
	}
	go j.listen(control)
	done := make(chan struct{})
	go j.watch(done)
	rep := j.reap()
	close(done)
	file, err := j.collect()
	if err != nil {
		rep.FileErr = err.Error()
	}
	rep.FileSize = len(file)
	writeFrame(j.status, rep, file)
	return 0
}

// prepare builds the root, writes the files and starts the job.
func (j *job) prepare(control io.Reader) error {
	for _, f := range j.sp.Files {
		if f.Size < 0 || f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." {
			return fmt.Errorf("file name %q: want a plain name", f.Name)
		}
		b := make([]byte, f.Size)
		if _, err := io.ReadFull(control, b); err != nil {
			return fmt.Errorf("read file %q: %w", f.Name, err)
		}
		j.files = append(j.files, b)
	}
	if err := j.enter(); err != nil {
		return err
	}
	for i, f := range j.sp.Files {
		if f.Mode == 0 {
			f.Mode = 0o444
		}
		if err := os.WriteFile(f.Name, j.files[i], 0o600); err != nil {
			return fmt.Errorf("write the job's file: %w", err)
		}
		if err := os.Chmod(f.Name, os.FileMode(f.Mode)); err != nil {
			return fmt.Errorf("write the job's file: %w", err)
		}
		j.files[i] = nil
	}
	return j.start()
}

// enter goes to the root and directory the job shall see, and opens proc for watching.
func (j *job) enter() error {
	switch j.sp.Kind {
	case kindNamespaces:
		// Taken first: the kernel gives a proc only to a namespace that still sees an uncovered one. In containers that
		// cover parts of theirs, it must do, though its processes are numbered from outside.
		var err error
		if j.proc, err = privateProc(); err != nil || j.sp.Off["pid"] {
			j.proc, _ = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		if err := unix.Sethostname([]byte("sandbox")); err != nil && !j.sp.Off["uts"] {
			return fmt.Errorf("sethostname: %w", err)
		}
		return buildRoot(j.sp)
	case kindBubblewrap:
		j.proc, _ = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return os.Chdir(jobDir)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	j.proc, _ = unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if j.sp.Nobody {
		if err := os.Chmod(j.sp.Dir, 0o755); err != nil {
			return err
		}
	}
	return os.Chdir(j.sp.Dir)
}

// start forks the job from a thread that has put itself under every restriction; the other threads of init stay free,
// and Go never starts a new thread from a locked one.
func (j *job) start() error {
	if j.sp.Kind == kindLandlock && !j.sp.Probe {
		return j.startInner()
	}
	restore, err := lowerLimits(j.sp) // before the filter, which turns setting a limit into a no-op
	defer restore()
	if err != nil {
		return err
	}
	errc := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := j.restrict()
		if err == nil && !j.sp.Probe {
			j.pid, err = j.fork()
		}
		errc <- err
		select {} // the thread must not be used for anything else
	}()
	return <-errc
}

// startInner starts the host program once more: under the filter that forbids new processes nothing can be forked, so
// that process restricts itself and then becomes the job.
func (j *job) startInner() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	none, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer none.Close()
	inner := *j.sp
	inner.Inner = true
	j.pid, err = syscall.ForkExec("/proc/self/exe", []string{initName, inner.Nonce}, &syscall.ProcAttr{
		Env: []string{"GOMAXPROCS=2"}, Files: []uintptr{0, 1, 2, r.Fd(), none.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true}})
	r.Close()
	if err != nil {
		return fmt.Errorf("start the inner process: %w", err)
	}
	return writeFrame(w, inner)
}

// become restricts this process and executes the job in its place.
func (j *job) become() error {
	runtime.LockOSThread()
	if _, err := lowerLimits(j.sp); err != nil {
		return err
	}
	if err := j.restrict(); err != nil {
		return err
	}
	return syscall.Exec(j.sp.Args[0], j.sp.Args, j.sp.Env)
}

// restrict puts the calling thread under no_new_privs, Landlock, no capabilities and seccomp, in the order in which each
// still has what it needs.
func (j *job) restrict() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if j.sp.Kind == kindUnsafe {
		return nil
	}
	if !j.sp.Off["landlock"] && (j.sp.Kind == kindLandlock || landlockABI() > 0) {
		if err := restrictFiles(j.rules()); err != nil {
			return err
		}
	}
	if err := j.dropPrivileges(); err != nil {
		return err
	}
	if j.sp.Off["seccomp"] {
		return nil
	}
	return restrictSyscalls(j.sp.Kind == kindLandlock && !j.sp.Off["fork"])
}

// rules are the paths a job may use.
func (j *job) rules() []landlockRule {
	var rules []landlockRule
	for _, p := range append(append([]string{}, systemPaths...), j.sp.Mounts...) {
		rules = append(rules, landlockRule{p, llRead})
	}
	for _, p := range devices {
		rules = append(rules, landlockRule{p, llFile})
	}
	if j.sp.Kind != kindLandlock {
		return append(rules, landlockRule{jobDir, llWrite})
	}
	return append(rules, landlockRule{j.sp.Dir, llRead})
}

// dropPrivileges leaves the calling thread, and what it executes, no capability in any set and, where init is root, the
// user nobody. Only that thread: the calls are made directly, since package syscall's would change every thread.
func (j *job) dropPrivileges() error {
	if !j.sp.Off["caps"] { // failure means that there was none to drop
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		}
		const noRoot = 0x2f // SECBIT_NOROOT, NO_SETUID_FIXUP and their locks, KEEP_CAPS locked off
		unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0)
		unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	}
	if j.sp.Nobody && !j.sp.Off["nobody"] {
		for _, c := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, nobodyID, nobodyID, nobodyID},
			{unix.SYS_SETRESUID, nobodyID, nobodyID, nobodyID}} {
			if _, _, e := unix.RawSyscall(c[0], c[1], c[2], c[3]); e != 0 {
				return fmt.Errorf("become nobody: %w", e)
			}
		}
	}
	if !j.sp.Off["caps"] {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capset(&hdr, &data[0]); err != nil {
			return fmt.Errorf("drop capabilities: %w", err)
		}
	}
	return nil
}

// fork starts the job from the calling thread.
func (j *job) fork() (int, error) {
	pid, err := syscall.ForkExec(j.sp.Args[0], j.sp.Args, &syscall.ProcAttr{
		Env: j.sp.Env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", j.sp.Args[0], err)
	}
	return pid, nil
}

// stackSize is the stack of a process, and what the C library reserves for each thread; reserved memory counts as data.
const stackSize = 16 << 20

// lowerLimits sets the soft limits of this process, which the job inherits, and returns how to undo it. The job cannot
// raise them back.
func lowerLimits(sp *spec) (func(), error) {
	if sp.Off["rlimit"] {
		return func() {}, nil
	}
	l := sp.Limits
	cpu := l.CPU // of one process; the watch counts the tree, and finer, but cannot look everywhere
	if sp.Marks {
		cpu = l.Wall
	}
	set := map[int]uint64{
		unix.RLIMIT_CPU:      uint64(cpu/time.Second) + 2,
		unix.RLIMIT_DATA:     uint64(l.Memory) + stackSize*uint64(l.Processes),
		unix.RLIMIT_STACK:    stackSize,
		unix.RLIMIT_FSIZE:    uint64(l.Disk),
		unix.RLIMIT_NOFILE:   uint64(l.Files),
		unix.RLIMIT_CORE:     0,
		unix.RLIMIT_MEMLOCK:  64 << 10,
		unix.RLIMIT_MSGQUEUE: 0,
	}
	if sp.Kind == kindNamespaces || sp.Kind == kindBubblewrap {
		// Counted in the user namespace, so for this run alone.
		set[unix.RLIMIT_NPROC] = uint64(l.Processes + spare)
	}
	old := map[int]unix.Rlimit{}
	restore := func() {
		for r, lim := range old {
			unix.Prlimit(0, r, &lim, nil)
		}
	}
	for r, v := range set {
		var lim unix.Rlimit
		if err := unix.Prlimit(0, r, nil, &lim); err != nil {
			return restore, fmt.Errorf("read limit %d: %w", r, err)
		}
		old[r] = lim
		lim.Cur = min(v, lim.Max)
		if err := unix.Prlimit(0, r, &lim, nil); err != nil {
			return restore, fmt.Errorf("set limit %d to %d: %w", r, v, err)
		}
	}
	return restore, nil
}

// listen follows the control pipe: a byte is a new test, its end means that the parent is gone or wants the job dead.
func (j *job) listen(control io.Reader) {
	var b [1]byte
	for {
		if _, err := control.Read(b[:]); err != nil {
			j.kill(Canceled)
			return
		}
		j.marks.Add(1)
	}
}

// kill ends the job for a reason; reap cleans up after it.
func (j *job) kill(why Status) {
	j.killed.CompareAndSwap(nil, &why)
	j.killTree()
	unix.Kill(j.pid, unix.SIGKILL)
}

// killTree kills everything in the sandbox but init.
func (j *job) killTree() {
	if j.sp.Off["kill"] {
		return
	}
	if os.Getpid() == 1 {
		unix.Kill(-1, unix.SIGKILL) // everything in the namespace but this process
		return
	}
	for _, p := range j.tree() {
		unix.Kill(p, unix.SIGKILL)
	}
}

// reap waits for the job, kills what it left, and reaps that too.
func (j *job) reap() report {
	var rep report
	main := false
	for {
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, 0, &ru)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil: // no child is left
			if k := j.killed.Load(); k != nil {
				rep.Killed = *k
			}
			return rep
		case pid == j.pid && (ws.Exited() || ws.Signaled()):
			main = true
			if ws.Signaled() {
				rep.Signal = int(ws.Signal())
			}
			rep.Exit = ws.ExitStatus()
			rep.CPU = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
			rep.MaxRSS = ru.Maxrss << 10
		}
		if main {
			j.killTree()
		}
	}
}

// collect reads the file the caller asked for, when every process but this one is dead: a regular file with one name,
// in the job's directory, through no link.
func (j *job) collect() ([]byte, error) {
	if j.sp.Collect == "" {
		return nil, nil
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, j.sp.Collect, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV})
	if err != nil {
		return nil, fmt.Errorf("collect %q: %w", j.sp.Collect, err)
	}
	f := os.NewFile(uintptr(fd), j.sp.Collect)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("collect %q: %w", j.sp.Collect, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return nil, fmt.Errorf("collect %q: not a regular file with one name", j.sp.Collect)
	}
	if st.Size > j.sp.MaxFile {
		return nil, fmt.Errorf("collect %q: %d bytes, at most %d", j.sp.Collect, st.Size, j.sp.MaxFile)
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(f, j.sp.MaxFile))
	return b.Bytes(), err
}
