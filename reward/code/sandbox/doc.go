// Package sandbox runs programs nobody trusts: without network, without the machine's files and processes, within limits of
// time, memory, disk and processes, and with everything they started dead at the end.
//
// [Open] looks at what the machine allows and takes the strongest way it finds:
//
//  1. namespaces: own user, mount, pid, network, IPC and host name; a root of tmpfs with the system's programs mounted
//     read-only; then Landlock, a seccomp allow-list, rlimits, no capabilities, and cgroups (v1 or v2) where writable;
//  2. bubblewrap for the namespaces, the rest the same;
//  3. Landlock and seccomp alone (Linux 6.12 or newer): one process, no new files outside its own folder, no sockets;
//  4. none of these: [Open] returns [ErrNoSandbox]. Nothing is ever run bare unless [Config.UnsafeExec] says so.
//
// The first process in the sandbox is the host program itself, started again under another argv[0] (the one init function
// of this module). It builds the root, applies the limits, starts the job, and reports over a pipe that the job does not
// have. [Sandbox.Layers] says which layers hold here and why the others do not. Outside Linux [Open] always refuses.
package sandbox
