package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allowed are the system calls a job may make on every architecture: files, memory, threads, time, pipes and unix
// sockets. Everything else, known and unknown, fails with ENOSYS, so that C libraries take their older way. Left out on
// purpose: ptrace, process_vm_*, pidfd_*, kcmp, setns, unshare, mount and its kin, bpf, perf_event_open, userfaultfd,
// io_uring_*, keyctl and its kin, memfd_*, System V shared memory, the *_module, reboot, kexec and clock setting calls,
// personality, open_by_handle_at, swapon, acct, quotactl, landlock_*, seccomp.
var allowed = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64,
	unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_OPENAT, unix.SYS_OPENAT2,
	unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_LSEEK, unix.SYS_GETDENTS64,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT, unix.SYS_GETCWD, unix.SYS_CHDIR, unix.SYS_FCHDIR,
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKNODAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_UMASK,
	unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FLOCK,
	unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_FADVISE64, unix.SYS_SENDFILE, unix.SYS_COPY_FILE_RANGE, unix.SYS_SPLICE,
	unix.SYS_TEE, unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_FGETXATTR, unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR,
	unix.SYS_FLISTXATTR, unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH,
	unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_FCNTL, unix.SYS_PIPE2, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL,
	unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_EVENTFD2,
	unix.SYS_SIGNALFD4, unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_BRK, unix.SYS_MSYNC,
	unix.SYS_MINCORE, unix.SYS_MEMBARRIER, unix.SYS_MLOCK, unix.SYS_MUNLOCK, unix.SYS_GET_MEMPOLICY, unix.SYS_RSEQ,
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4, unix.SYS_WAITID,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID,
	unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_GETGROUPS,
	unix.SYS_GETPGID, unix.SYS_SETPGID, unix.SYS_GETSID, unix.SYS_SETSID, unix.SYS_GETRUSAGE, unix.SYS_TIMES,
	unix.SYS_GETRLIMIT, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETCPU, unix.SYS_GETRANDOM, unix.SYS_PRCTL,
	unix.SYS_CAPGET, unix.SYS_GETPRIORITY, unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST,
	unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_SETAFFINITY,
	unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER, unix.SYS_SCHED_GET_PRIORITY_MAX,
	unix.SYS_SCHED_GET_PRIORITY_MIN, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN,
	unix.SYS_RT_SIGSUSPEND, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_RT_SIGQUEUEINFO,
	unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL, unix.SYS_NANOSLEEP,
	unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_GETITIMER,
	unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_GETTIME,
	unix.SYS_TIMER_GETOVERRUN, unix.SYS_TIMER_DELETE, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	unix.SYS_CONNECT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG,
	unix.SYS_RECVMSG, unix.SYS_SHUTDOWN, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT,
}

// Offsets in struct seccomp_data, and the upper half of an argument on a little-endian machine.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

func argLow(i int) uint32  { return uint32(dataArgs + 8*i) }
func argHigh(i int) uint32 { return uint32(dataArgs + 8*i + 4) }

const (
	retAllow = unix.SECCOMP_RET_ALLOW
	retKill  = unix.SECCOMP_RET_KILL_PROCESS
)

func retErrno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// namespaceFlags are the flags of clone that make a new namespace.
const namespaceFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// filter is a classic BPF program being written.
type filter []unix.SockFilter

func (f *filter) stmt(code uint16, k uint32) { *f = append(*f, unix.SockFilter{Code: code, K: k}) }
func (f *filter) jump(op uint16, k uint32, jt, jf uint8) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: jt, Jf: jf})
}
func (f *filter) load(off uint32) { f.stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, off) }
func (f *filter) ret(v uint32)    { f.stmt(unix.BPF_RET|unix.BPF_K, v) }

// on answers v where the loaded word is k.
func (f *filter) on(k, v uint32) {
	f.jump(unix.BPF_JEQ, k, 0, 1)
	f.ret(v)
}

// when runs body for system call nr; body must return on every path.
func (f *filter) when(nr uint32, body func(*filter)) {
	var b filter
	body(&b)
	f.jump(unix.BPF_JEQ, nr, 0, uint8(len(b)))
	*f = append(*f, b...)
}

// aloneDenied are calls that Landlock does not look at and that reach other processes and files of the same user. They are
// refused where no namespace hides those.
var aloneDenied = []uint32{unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_INOTIFY_INIT1,
	unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SOCKET}

// seccompFilter builds the allow-list. alone is for the kind of sandbox that has no namespaces: it also refuses new
// processes (threads stay), sockets with an address, and aloneDenied.
func seccompFilter(alone bool) []unix.SockFilter {
	var f filter
	f.load(dataArch)
	f.jump(unix.BPF_JEQ, auditArch, 1, 0)
	f.ret(retKill)
	f.load(dataNr)
	nativeABI(&f)
	if alone {
		for _, nr := range append(aloneDenied, aloneDeniedArch...) {
			f.on(nr, retErrno(unix.EPERM))
		}
	}
	f.when(unix.SYS_CLONE, func(b *filter) {
		b.load(argLow(0))
		b.jump(unix.BPF_JSET, namespaceFlags, 0, 1)
		b.ret(retErrno(unix.EPERM))
		if alone {
			b.jump(unix.BPF_JSET, unix.CLONE_THREAD, 1, 0)
			b.ret(retErrno(unix.EPERM))
		}
		b.ret(retAllow)
	})
	for _, nr := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
		f.when(nr, func(b *filter) {
			b.load(argLow(0))
			b.on(unix.AF_UNIX, retAllow)
			b.ret(retErrno(unix.EPERM))
		})
	}
	f.when(unix.SYS_IOCTL, func(b *filter) { // a terminal must not be typed into
		b.load(argLow(1))
		b.on(unix.TIOCSTI, retErrno(unix.EPERM))
		b.on(unix.TIOCLINUX, retErrno(unix.EPERM))
		b.on(unix.TIOCSCTTY, retErrno(unix.EPERM))
		b.ret(retAllow)
	})
	// A job may read its limits. Setting them seems to work and does nothing: answers to contest problems often raise
	// the stack limit, and none may raise the others.
	f.when(unix.SYS_PRLIMIT64, func(b *filter) {
		b.load(argLow(2))
		b.jump(unix.BPF_JEQ, 0, 0, 3)
		b.load(argHigh(2))
		b.jump(unix.BPF_JEQ, 0, 0, 1)
		b.ret(retAllow)
		b.ret(retErrno(0))
	})
	f.on(unix.SYS_SETRLIMIT, retErrno(0))
	for _, nr := range append(allowed, allowedArch...) {
		f.on(nr, retAllow)
	}
	if alone {
		f.ret(retErrno(unix.ENOSYS))
		return f
	}
	for _, nr := range forkCalls {
		f.on(nr, retAllow)
	}
	f.ret(retErrno(unix.ENOSYS))
	return f
}

// restrictSyscalls puts the calling thread, and what it starts, under the allow-list. no_new_privs must be set.
func restrictSyscalls(alone bool) error {
	f := seccompFilter(alone)
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return fmt.Errorf("seccomp filter: %w", e)
	}
	return nil
}
