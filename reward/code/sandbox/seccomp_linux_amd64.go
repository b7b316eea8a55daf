package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// allowedArch are the older calls this architecture still has.
var allowedArch = []uint32{
	unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_NEWFSTATAT, unix.SYS_ACCESS, unix.SYS_POLL,
	unix.SYS_SELECT, unix.SYS_PIPE, unix.SYS_DUP2, unix.SYS_ALARM, unix.SYS_PAUSE, unix.SYS_GETDENTS, unix.SYS_RENAME,
	unix.SYS_RENAMEAT, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_LINK, unix.SYS_UNLINK, unix.SYS_SYMLINK,
	unix.SYS_READLINK, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_MKNOD, unix.SYS_GETPGRP,
	unix.SYS_ARCH_PRCTL, unix.SYS_TIME, unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD,
	unix.SYS_SIGNALFD, unix.SYS_INOTIFY_INIT, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
}

// forkCalls make processes without the flags of clone.
var forkCalls = []uint32{unix.SYS_FORK, unix.SYS_VFORK}

// nativeABI kills a job that calls through the x32 table, whose numbers mean other calls.
func nativeABI(f *filter) {
	const x32 = 0x40000000
	f.jump(unix.BPF_JGE, x32, 0, 1)
	f.ret(retKill)
}

// aloneDeniedArch are the older forms of aloneDenied.
var aloneDeniedArch = []uint32{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES,
	unix.SYS_FUTIMESAT, unix.SYS_INOTIFY_INIT}
