package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// allowedArch are the older calls this architecture still has.
var allowedArch = []uint32{unix.SYS_FSTATAT, unix.SYS_RENAMEAT}

// forkCalls make processes without the flags of clone; this architecture has none.
var forkCalls []uint32

// nativeABI has nothing to check: a 32-bit call shows as another architecture.
func nativeABI(*filter) {}

// aloneDeniedArch are the older forms of aloneDenied; this architecture has none.
var aloneDeniedArch []uint32
