// Package code judges programs written by a model: it runs Python, Go and C++ in a sandbox of its own and compares what
// they answer with what was expected, without ever showing them what was expected.
//
// # The sandbox
//
// [Open] looks at what the machine allows and picks the strongest way it finds:
//
//  1. namespaces: own user, mount, pid, network, IPC and host name; a root of tmpfs with the system's programs mounted
//     read-only; then Landlock, a seccomp allow-list, rlimits, no capabilities, and cgroups (v1 or v2) where writable;
//  2. bubblewrap for the namespaces, the rest the same;
//  3. Landlock and seccomp alone (Linux 6.12 or newer): one process, no new files;
//  4. none of these: [Open] returns [ErrNoSandbox]. Nothing is ever run bare unless [Config.UnsafeExec] says so.
//
// The first process in the sandbox is the host program itself, started again under another argv[0] (the one init
// function of this module). It builds the root, applies the limits, starts the job, and reports on a pipe that the job
// does not have. [Sandbox.Layers] says which layers hold on this machine.
//
// # The verdict
//
// The job and the grader are different processes. A job gets the input of one test, or the arguments of one call, and
// nothing else; expected values stay with the grader. The exit status, files and prints of a job are never a verdict.
//
//   - A program with stdin/stdout tests runs once per test, in a fresh sandbox each time; its output is compared here.
//   - A function with tests in Python (HumanEval, MBPP): the tests run in a second sandbox, where every name of the
//     answer is a stand-in that sends the arguments to the job and gets back a value built of None, bool, int, float,
//     complex, str, bytes, list, tuple, set, frozenset and dict, made anew in the grader. An object with its own __eq__,
//     a frame walk or a patched builtin stays in the job, where there is nothing to win.
//
// [Reward] and [Binary] make reward functions of this.
package code
