package sandbox

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attack is one thing a hostile program does. It runs as a job; what it returns is what it got, "" where it was held.
type attack struct {
	name  string
	fault string // in the list of faults: F42 bombs of processes, F43 memory, F44 disk, F45 time, F46 network, F47 secrets, F48 the kernel, F50 output, F51 what stays behind, F53 terminals

	off    []string // the layers that hold it back: with these taken away it succeeds
	root   bool     // it can only succeed where the sandbox is root's
	open   []kind   // kinds that do not claim to hold it
	limits Limits
	run    func(h host) string
	after  func(h host, res Result) string // evidence outside, when run cannot tell
}

// host is what an attacker may look for outside: the test plants it and tells the job where.
type host struct {
	Dir    string // a folder anyone may write to, with the file secret in it
	TCP    string // address of a listener
	UDP    string
	Abs    string // name of a listener on an abstract unix socket
	Pid    int    // of the process that runs the sandbox
	Name   string // of the machine
	Marker string // to find a process by, outside
}

// secretText stands in a file, in the environment and in the memory of the process outside.
const secretText = "the-secret-outside"

func got(err error, format string, a ...any) string {
	if err != nil {
		return ""
	}
	return fmt.Sprintf(format, a...)
}

// answers says whether the kernel itself answers a call: the filter's ENOSYS (or a killed process) means that it was
// never reached. Its arguments are such that nothing happens.
func answers(nr uintptr, args ...uintptr) func(host) string {
	return func(host) string {
		var a [6]uintptr
		copy(a[:], args)
		_, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if e == unix.ENOSYS {
			return ""
		}
		return fmt.Sprintf("the kernel answered: %d", e)
	}
}

const bad = ^uintptr(0) // an invalid pointer, descriptor or command

var (
	caps     = []string{"seccomp", "caps", "nobody", "landlock"}
	outside  = []string{"mount", "landlock"}
	rootView = []string{"user", "mount", "pid", "landlock", "nobody", "caps", "seccomp"}
)

var bombLimits = Limits{Memory: 128 << 20, Processes: 24, Disk: 16 << 20, Inodes: 256, CPU: 20 * time.Second}

// attacks is the table: what each layer is for.
var attacks = []attack{
	{name: "fork bomb", fault: "F42", off: []string{"rlimit", "cgroup", "watch"}, limits: bombLimits, run: forkBomb},
	{name: "zombie flood", fault: "F42", off: []string{"rlimit", "cgroup", "watch"}, limits: bombLimits, run: zombieFlood},
	{name: "thread bomb", fault: "F42", off: []string{"rlimit", "cgroup", "watch"}, limits: bombLimits, run: threadBomb},

	{name: "memory", fault: "F43", off: []string{"rlimit", "cgroup", "watch"}, limits: bombLimits, run: memoryBomb(unix.MAP_PRIVATE)},
	{name: "shared memory", fault: "F43", off: []string{"rlimit", "cgroup", "watch"}, limits: bombLimits, run: memoryBomb(unix.MAP_SHARED)},
	{name: "memory in many processes", fault: "F43", off: []string{"cgroup", "watch"},
		limits: Limits{Memory: 128 << 20, Processes: 100, CPU: 20 * time.Second}, run: memoryTree},
	{name: "memfd", fault: "F43", off: []string{"seccomp"}, limits: bombLimits, run: func(host) string {
		fd, err := unix.MemfdCreate("x", 0)
		return got(err, "memfd %d", fd)
	}},
	{name: "System V shared memory", fault: "F43", off: []string{"seccomp"}, run: func(host) string {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 200<<20, unix.IPC_CREAT|0o600)
		if err == nil {
			unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		}
		return got(err, "segment %d", id)
	}},
	{name: "pipe buffers", fault: "F43", off: []string{"rlimit"}, run: pipeBuffers},
	{name: "locked memory", fault: "F43", off: []string{"rlimit"}, run: func(host) string {
		b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return ""
		}
		return got(unix.Mlock(b), "locked 1 MiB")
	}},
	{name: "message queue", fault: "F43", off: []string{"seccomp"}, run: answers(unix.SYS_MQ_OPEN, bad, 0)},

	{name: "disk", fault: "F44", off: []string{"disk", "rlimit", "cgroup"}, limits: bombLimits, run: fill("/tmp/f", 64<<20)},
	{name: "disk by many files", fault: "F44", off: []string{"disk", "cgroup"}, limits: bombLimits, run: fillMany(40, 2<<20)},
	{name: "dev/shm", fault: "F44", off: []string{"disk", "rlimit", "cgroup"}, limits: bombLimits, run: fill("/dev/shm/f", 64<<20)},
	{name: "inodes", fault: "F44", off: []string{"disk"}, open: []kind{kindBubblewrap}, limits: bombLimits, run: fillMany(2000, 0)},
	{name: "sparse file of 1 TiB", fault: "F44", off: []string{"rlimit"}, run: func(host) string {
		f, err := os.Create("sparse")
		if err != nil {
			return ""
		}
		signal.Ignore(syscall.SIGXFSZ)
		return got(f.Truncate(1<<40), "1 TiB")
	}},
	{name: "fill the root", fault: "F44", off: []string{"readonly", "landlock", "nobody"}, run: func(host) string {
		return got(os.WriteFile("/x", make([]byte, 1<<12), 0o600), "written")
	}},
	{name: "core dump", fault: "F44", off: []string{"rlimit", "seccomp"}, run: func(host) string {
		return raise(unix.RLIMIT_CORE, 1<<20)
	}},
	{name: "raise the limit of open files", fault: "F44", off: []string{"seccomp"}, run: func(host) string {
		return raise(unix.RLIMIT_NOFILE, 200)
	}},
	{name: "raise the limit of memory", fault: "F43", off: []string{"seccomp"}, run: func(host) string {
		return raise(unix.RLIMIT_DATA, 100<<30)
	}},

	{name: "spin", fault: "F45", off: []string{"watch"}, limits: Limits{CPU: 60 * time.Millisecond}, run: spin},
	{name: "spin in children", fault: "F45", off: []string{"watch"}, limits: Limits{CPU: 60 * time.Millisecond}, run: shell("i=0; while [ $i -lt 8 ]; do (j=0; while [ $j -lt 60000 ]; do j=$((j+1)); done); i=$((i+1)); done; echo spun")},
	{name: "spin ignoring SIGXCPU", fault: "F45", off: []string{"watch"}, limits: Limits{CPU: 60 * time.Millisecond}, run: func(h host) string {
		signal.Ignore()
		return spin(h)
	}},
	{name: "sleep", fault: "F45", off: []string{"wall"}, limits: Limits{Wall: 150 * time.Millisecond}, run: func(host) string {
		time.Sleep(400 * time.Millisecond)
		return "slept"
	}},
	{name: "sleep ignoring every signal", fault: "F45", off: []string{"wall"}, limits: Limits{Wall: 150 * time.Millisecond}, run: func(host) string {
		signal.Ignore()
		time.Sleep(400 * time.Millisecond)
		return "slept"
	}},
	{name: "stop and be continued", fault: "F45", off: []string{"wall"}, limits: Limits{Wall: 150 * time.Millisecond},
		run: shell("p=$$; (sleep 0.4; kill -CONT $p) & kill -STOP $p; echo continued")},
	{name: "set the clock", fault: "F45", off: []string{"seccomp"}, run: answers(unix.SYS_CLOCK_SETTIME, bad, bad)},
	{name: "adjust the clock", fault: "F45", off: []string{"seccomp"}, run: answers(unix.SYS_ADJTIMEX, bad)},
	{name: "raise the priority", fault: "F45", off: []string{"seccomp"}, run: answers(unix.SYS_SETPRIORITY, bad, 0, 0)},

	{name: "TCP to a listener", fault: "F46", off: []string{"net", "seccomp", "landlock"}, run: dial("tcp")},
	{name: "UDP to a listener", fault: "F46", off: []string{"net", "seccomp"}, run: dial("udp")},
	{name: "TCP server", fault: "F46", off: []string{"seccomp", "landlock"}, run: func(host) string {
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		return got(err, "%v", l)
	}},
	{name: "unix socket of the host", fault: "F46", off: []string{"mount", "landlock"}, run: func(h host) string {
		_, err := net.Dial("unix", filepath.Join(h.Dir, "socket"))
		return got(err, "connected")
	}},
	{name: "abstract unix socket", fault: "F46", off: []string{"net", "landlock"}, run: func(h host) string {
		_, err := net.Dial("unix", "@"+h.Abs)
		return got(err, "connected")
	}},
	{name: "resolver", fault: "F46", off: outside, run: readable("/etc/resolv.conf")},
	{name: "IPv6", fault: "F46", off: []string{"seccomp"}, run: socket(unix.AF_INET6, unix.SOCK_STREAM)},
	{name: "netlink", fault: "F46", off: []string{"seccomp"}, run: socket(unix.AF_NETLINK, unix.SOCK_RAW)},
	{name: "packet socket", fault: "F46", off: caps, run: socket(unix.AF_PACKET, unix.SOCK_RAW)},
	{name: "raw socket", fault: "F46", off: caps, run: func(host) string {
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		return got(err, "open")
	}},
	{name: "vsock", fault: "F46", off: []string{"seccomp"}, run: answersSocket(unix.AF_VSOCK)},
	{name: "alg socket", fault: "F46", off: []string{"seccomp"}, run: answersSocket(unix.AF_ALG)},
	{name: "bluetooth", fault: "F46", off: []string{"seccomp"}, run: answersSocket(unix.AF_BLUETOOTH)},
	{name: "network configuration", fault: "F46", off: []string{"net", "seccomp"}, run: func(host) string {
		l, err := net.Interfaces()
		if len(l) < 2 {
			return ""
		}
		return got(err, "%d interfaces", len(l))
	}},

	{name: "secret file", fault: "F47", off: outside, run: func(h host) string { return readable(filepath.Join(h.Dir, "secret"))(h) }},
	{name: "write a file outside", fault: "F47", off: outside, run: func(h host) string {
		return got(os.WriteFile(filepath.Join(h.Dir, "planted"), []byte("x"), 0o666), "written")
	}},
	{name: "list a folder outside", fault: "F47", off: outside, run: func(h host) string {
		_, err := os.ReadDir(h.Dir)
		return got(err, "listed")
	}},
	{name: "leave through ..", fault: "F47", off: outside, run: func(h host) string {
		return readable(strings.Repeat("../", 30) + h.Dir[1:] + "/secret")(h)
	}},
	{name: "leave through a link", fault: "F47", off: outside, run: func(h host) string {
		os.Symlink(filepath.Join(h.Dir, "secret"), "link")
		return readable("link")(h)
	}},
	{name: "passwd", fault: "F47", off: outside, run: readable("/etc/passwd")},
	{name: "proc/1", fault: "F47", off: outside, run: readable("/proc/1/stat")},
	{name: "command lines", fault: "F47", off: []string{"mount", "landlock", "pid"}, run: func(h host) string {
		return readable(fmt.Sprintf("/proc/%d/cmdline", h.Pid))(h)
	}},
	{name: "environment of the parent", fault: "F47", off: rootView, root: true, run: func(h host) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.Pid))
		return got(err, "%d bytes", len(b))
	}},
	{name: "memory of the parent", fault: "F47", off: rootView, root: true, run: func(h host) string {
		_, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", h.Pid), os.O_RDWR, 0)
		return got(err, "open")
	}},
	{name: "descriptors of the parent", fault: "F47", off: rootView, root: true, run: func(h host) string {
		_, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.Pid))
		return got(err, "listed")
	}},
	{name: "root of the parent", fault: "F47", off: rootView, root: true, run: func(h host) string {
		return readable(fmt.Sprintf("/proc/%d/root%s/secret", h.Pid, h.Dir))(h)
	}},
	{name: "own memory through proc", fault: "F47", off: outside, run: func(host) string {
		_, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
		return got(err, "open")
	}},
	{name: "process_vm_readv", fault: "F47", off: rootView, root: true, run: func(h host) string {
		var b [1]byte
		local := []unix.Iovec{{Base: &b[0], Len: 1}}
		_, err := unix.ProcessVMReadv(h.Pid, local, []unix.RemoteIovec{{Base: 0, Len: 1}}, 0)
		if err == unix.EFAULT { // let in: only the address is bad
			return "let in"
		}
		return got(err, "read")
	}},
	{name: "inherited descriptors", fault: "F47", off: []string{"fds"}, run: func(host) string {
		for fd := 3; fd < 32; fd++ {
			var b [64]byte
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
				n, _ := unix.Pread(fd, b[:], 0)
				if s := has(b[:n]); s != "" {
					return s
				}
			}
		}
		return ""
	}},
	{name: "environment", fault: "F47", off: []string{"env"}, run: func(host) string {
		return has([]byte(strings.Join(os.Environ(), "\n")))
	}},
	{name: "host name", fault: "F47", off: []string{"uts"}, open: []kind{kindLandlock}, run: func(h host) string {
		name, err := os.Hostname()
		if name != h.Name {
			return ""
		}
		return got(err, "%s", name)
	}},
	{name: "devices", fault: "F47", off: outside, run: func(host) string {
		_, err := os.Stat("/dev/ptmx")
		if err != nil {
			return ""
		}
		_, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
		return got(err, "opened a terminal")
	}},
	{name: "core_pattern", fault: "F47", off: rootView, root: true, run: func(host) string {
		_, err := os.OpenFile("/proc/sys/kernel/core_pattern", os.O_WRONLY, 0)
		return got(err, "open")
	}},
	{name: "write to the system", fault: "F47", off: rootView, root: true, run: func(host) string {
		fd, err := unix.Open("/usr", unix.O_TMPFILE|unix.O_WRONLY, 0o600)
		return got(err, "opened %d", fd)
	}},
	{name: "kernel log", fault: "F47", off: []string{"seccomp"}, run: answers(unix.SYS_SYSLOG, bad, 0, 0)},

	{name: "signal the parent", fault: "F48", off: rootView, root: true, run: func(h host) string {
		return got(unix.Kill(h.Pid, 0), "signalled")
	}},
	{name: "signal the first process", fault: "F48", off: []string{"landlock", "nobody"}, run: func(host) string {
		return got(unix.Kill(os.Getppid(), unix.SIGTERM), "signalled")
	}},
	{name: "ptrace", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, 1<<22, 0)},
	{name: "pidfd_open", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PIDFD_OPEN, 1<<22, 0)},
	{name: "pidfd_getfd", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PIDFD_GETFD, bad, 0, 0)},
	{name: "kcmp", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_KCMP, 1<<22, 1<<22, 0)},
	{name: "setns", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_SETNS, bad, 0)},
	{name: "unshare", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_UNSHARE, 1)},
	{name: "clone a user namespace", fault: "F48", off: []string{"seccomp"}, run: cloneUser},
	{name: "clone3", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_CLONE3, bad, 64)},
	{name: "mount", fault: "F48", off: caps, run: func(host) string {
		return got(unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""), "mounted")
	}},
	{name: "make the system writable", fault: "F48", off: caps, run: func(host) string {
		return got(unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, ""), "remounted")
	}},
	{name: "unmount", fault: "F48", off: caps, run: func(host) string { return got(unix.Unmount("/usr", unix.MNT_DETACH), "unmounted") }},
	{name: "pivot_root", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PIVOT_ROOT, bad, bad)},
	{name: "chroot", fault: "F48", off: caps, run: func(host) string { return got(unix.Chroot("/tmp"), "done") }},
	{name: "open_tree", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_OPEN_TREE, bad, bad, 0)},
	{name: "fsopen", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_FSOPEN, bad, 0)},
	{name: "device node", fault: "F48", off: rootView, root: true, run: func(host) string {
		return got(unix.Mknod("node", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))), "made")
	}},
	{name: "setuid", fault: "F48", off: caps, run: func(host) string {
		_, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0)
		if e != 0 {
			return ""
		}
		return "user 0"
	}},
	{name: "setgroups", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_SETGROUPS, 1<<30, bad)},
	{name: "capset", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_CAPSET, bad, bad)},
	{name: "capabilities", fault: "F48", off: []string{"caps", "nobody"}, run: func(host) string {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&hdr, &data[0])
		if data[0].Effective|data[0].Permitted|data[0].Inheritable == 0 {
			return ""
		}
		return got(err, "%x", data[0].Effective)
	}},
	{name: "host name change", fault: "F48", off: caps, run: func(host) string { return got(unix.Sethostname([]byte("x")), "changed") }},
	{name: "bpf", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_BPF, bad, 0, 0)},
	{name: "add_key", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_ADD_KEY, bad, bad, bad, 0, 0)},
	{name: "keyctl", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_KEYCTL, 1<<30)},
	{name: "request_key", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_REQUEST_KEY, bad, bad, bad, 0)},
	{name: "io_uring", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_IO_URING_SETUP, 0, bad)},
	{name: "perf", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PERF_EVENT_OPEN, bad, 0, 0, bad, 0)},
	{name: "userfaultfd", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_USERFAULTFD, bad)},
	{name: "fanotify", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_FANOTIFY_INIT, bad, 0)},
	{name: "hang up the terminal", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_VHANGUP)},
	{name: "reboot", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_REBOOT, 0, 0, 0, 0)},
	{name: "swapon", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_SWAPON, bad, 0)},
	{name: "accounting", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_ACCT, bad)},
	{name: "quota", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_QUOTACTL, bad, bad, 0, 0)},
	{name: "personality", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PERSONALITY, 0xffffffff)},
	{name: "file handles", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_OPEN_BY_HANDLE_AT, bad, bad, 0)},
	{name: "process_madvise", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_PROCESS_MADVISE, bad, bad, 0, 0, 0)},
	{name: "vmsplice", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_VMSPLICE, bad, bad, 0, 0)},
	{name: "move_pages", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_MOVE_PAGES, 1<<22, 0, bad, 0, 0, 0)},
	{name: "a filter of its own", fault: "F48", off: []string{"seccomp"}, run: answers(unix.SYS_SECCOMP, bad, 0, 0)},

	{name: "type into the terminal", fault: "F53", off: []string{"seccomp"}, run: func(host) string {
		c := byte('x')
		_, _, e := unix.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
		if e == unix.EPERM {
			return ""
		}
		return "the terminal answered"
	}},

	{name: "flood stdout", fault: "F50", off: []string{"output"}, limits: Limits{Output: 1 << 16}, run: flood(1), after: kept},
	{name: "flood stderr", fault: "F50", off: []string{"output"}, limits: Limits{Output: 1 << 16}, run: flood(2), after: kept},
	{name: "a grandchild holds the pipe", fault: "F50", off: []string{"pid", "kill"}, run: shell("sleep 1.5 & echo"),
		after: func(h host, res Result) string {
			if res.Wall < time.Second {
				return ""
			}
			return "held"
		}},
	{name: "daemon", fault: "F51", off: []string{"pid", "kill"}, after: survivor,
		run: shell(`(setsid sh -c 'exec sleep 1' >/dev/null 2>&1 </dev/null & ) ; exit 0`)},
	{name: "daemon after SIGKILL of itself", fault: "F51", off: []string{"pid", "kill"}, after: survivor,
		run: shell(`(setsid sh -c 'exec sleep 1' >/dev/null 2>&1 </dev/null & ) ; kill -9 $$`)},
}

func forkBomb(host) string {
	n := 0
	for range 100 {
		if _, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "5"}, &syscall.ProcAttr{}); err == nil {
			n++
		}
	}
	time.Sleep(100 * time.Millisecond) // the watch may need a look
	if n < 60 {
		return ""
	}
	return fmt.Sprintf("%d processes", n)
}

func zombieFlood(host) string {
	n := 0
	for range 100 {
		if _, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{}); err == nil {
			n++
		}
	}
	time.Sleep(100 * time.Millisecond)
	if n < 60 {
		return ""
	}
	return fmt.Sprintf("%d zombies", n)
}

func threadBomb(host) string {
	started := make(chan bool)
	for range 100 {
		go func() {
			runtime.LockOSThread()
			started <- true
			select {}
		}()
		<-started
	}
	time.Sleep(100 * time.Millisecond)
	return "100 threads"
}

func memoryBomb(flags int) func(host) string {
	return func(host) string {
		const size = 300 << 20
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_ANON)
		if err != nil {
			return ""
		}
		for i := 0; i < size; i += 4096 {
			b[i] = 1
		}
		time.Sleep(200 * time.Millisecond)
		runtime.KeepAlive(b)
		return "300 MiB"
	}
}

// memoryTree takes 5 times 60 MiB in processes of their own: each is below the limit.
func memoryTree(host) string {
	var waits []*exec.Cmd
	for range 5 {
		c := exec.Command(os.Args[0])
		c.Env = []string{attackEnv + "=60 MiB"}
		if c.Start() == nil {
			waits = append(waits, c)
		}
	}
	ok := 0
	for _, c := range waits {
		if c.Wait() == nil {
			ok++
		}
	}
	if ok < 5 {
		return ""
	}
	return "300 MiB in 5 processes"
}

func sixtyMiB() {
	b := make([]byte, 60<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	time.Sleep(400 * time.Millisecond)
	runtime.KeepAlive(b)
}

func pipeBuffers(host) string {
	total := 0
	for range 100 {
		var p [2]int
		if unix.Pipe(p[:]) != nil {
			break
		}
		unix.FcntlInt(uintptr(p[1]), unix.F_SETFL, unix.O_NONBLOCK)
		n, _ := unix.Write(p[1], make([]byte, 1<<16))
		total += n
	}
	if total < 5<<20 {
		return ""
	}
	return fmt.Sprintf("%d bytes", total)
}

func fill(path string, size int) func(host) string {
	return func(host) string {
		signal.Ignore(syscall.SIGXFSZ)
		return got(os.WriteFile(path, make([]byte, size), 0o600), "%d bytes", size)
	}
}

func fillMany(n, size int) func(host) string {
	return func(host) string {
		for i := range n {
			if os.WriteFile(strconv.Itoa(i), make([]byte, size), 0o600) != nil {
				return ""
			}
		}
		return fmt.Sprintf("%d files", n)
	}
}

func raise(what int, v uint64) string {
	var lim unix.Rlimit
	if unix.Prlimit(0, what, nil, &lim) != nil {
		return ""
	}
	v = min(v, lim.Max)
	if lim.Cur >= v {
		return "not limited"
	}
	unix.Prlimit(0, what, &unix.Rlimit{Cur: v, Max: lim.Max}, nil)
	unix.Prlimit(0, what, nil, &lim)
	if lim.Cur < v {
		return ""
	}
	return fmt.Sprintf("raised to %d", v)
}

func spin(host) string {
	for {
		var ru unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &ru)
		if ru.Utime.Nano()+ru.Stime.Nano() > int64(400*time.Millisecond) {
			return "400 ms of processor time"
		}
	}
}

func shell(script string) func(host) string {
	return func(h host) string {
		unix.Exec("/bin/sh", []string{"sh", "-c", script, h.Marker}, os.Environ())
		return ""
	}
}

func dial(network string) func(host) string {
	return func(h host) string {
		to := h.TCP
		if network == "udp" {
			to = h.UDP
		}
		c, err := net.Dial(network, to)
		if err == nil {
			_, err = c.Write([]byte(h.Marker))
		}
		return got(err, "sent")
	}
}

func socket(family, kind int) func(host) string {
	return func(host) string {
		_, err := unix.Socket(family, kind, 0)
		return got(err, "open")
	}
}

// answersSocket is for families that the kernel may not have: it must not even be asked.
func answersSocket(family int) func(host) string {
	return func(host) string {
		_, err := unix.Socket(family, unix.SOCK_STREAM, 0)
		if err == unix.EPERM {
			return ""
		}
		return fmt.Sprintf("the kernel answered: %v", err)
	}
}

func readable(path string) func(host) string {
	return func(host) string {
		b, err := os.ReadFile(path)
		return got(err, "%d bytes", len(b))
	}
}

func has(b []byte) string {
	if strings.Contains(string(b), secretText) {
		return "the secret"
	}
	return ""
}

func cloneUser(host) string {
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}})
	return got(err, "process %d", pid)
}

func flood(fd int) func(host) string {
	return func(host) string {
		b := []byte(strings.Repeat("x", 1<<16))
		for range 40 {
			if _, err := unix.Write(fd, b); err != nil {
				return ""
			}
		}
		return ""
	}
}

func kept(h host, res Result) string {
	if n := len(res.Stdout) + len(res.Stderr); n > 1<<17 {
		return fmt.Sprintf("%d bytes kept", n)
	}
	return ""
}

// survivor looks for a process of the run after its end.
func survivor(h host, _ Result) string {
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, d := range dirs {
		if b, _ := os.ReadFile(d); strings.Contains(string(b), h.Marker) {
			return d
		}
	}
	return ""
}
