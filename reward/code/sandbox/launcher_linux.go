package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcher is a small helper process that starts the first processes of sandboxes. To make a user namespace a process must be
// copied by fork, which takes the longer the more memory it holds (a trainer with 2 GiB in small pages: 46 ms and a fault for
// every page written afterwards); the helper holds almost none. It is the host program again, started without a fork, and ends when
// its socket is closed.
type launcher struct {
	mu     sync.Mutex
	socket int // -1: not running
	proc   *os.Process
}

// started is the launcher's answer to a request; with it comes a descriptor of the process.
type started struct {
	Pid int
	Err string
}

// start makes the process that sp describes, with five descriptors of its own.
func (l *launcher) start(sp *spec, files []*os.File) (process, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := l.socket < 0
	p, pid, err := l.request(sp, files)
	if err != nil && !fresh && l.socket < 0 { // it had died since the last run
		p, pid, err = l.request(sp, files)
	}
	return p, pid, err
}

// request asks once, and forgets the launcher where it does not answer.
func (l *launcher) request(sp *spec, files []*os.File) (process, int, error) {
	if l.socket < 0 {
		if err := l.open(); err != nil {
			return nil, 0, err
		}
	}
	msg, err := json.Marshal(&spec{Nonce: sp.Nonce, Kind: sp.Kind, Nobody: sp.Nobody, Off: sp.Off})
	if err != nil {
		return nil, 0, err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if err := unix.Sendmsg(l.socket, msg, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("sandbox: ask the launcher: %w", err), l.close())
	}
	var ans started
	got, err := receive(l.socket, &ans)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("sandbox: the launcher died: %w", err), l.close())
	}
	if ans.Err != "" || len(got) != 1 {
		closeAll(got)
		return nil, 0, errors.New("sandbox: start the first process: " + ans.Err)
	}
	return &remote{fd: got[0]}, ans.Pid, nil
}

// open starts the helper.
func (l *launcher) open() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sandbox: launcher: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "launcher")
	defer theirs.Close()
	r, w, err := os.Pipe()
	if err != nil {
		unix.Close(pair[0])
		return fmt.Errorf("sandbox: launcher: %w", err)
	}
	defer r.Close()
	defer w.Close()
	sp := &spec{Nonce: newNonce(), Launcher: true}
	l.proc, err = os.StartProcess("/proc/self/exe", []string{initName, sp.Nonce}, &os.ProcAttr{Env: []string{"GOMAXPROCS=2"},
		Files: []*os.File{nil, nil, nil, r, theirs}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		unix.Close(pair[0])
		return fmt.Errorf("sandbox: start the launcher: %w", err)
	}
	l.socket = pair[0]
	if err := writeFrame(w, sp); err != nil {
		return errors.Join(fmt.Errorf("sandbox: start the launcher: %w", err), l.close())
	}
	return nil
}

// close ends the helper; runs that it started go on.
func (l *launcher) close() error {
	if l.socket < 0 {
		return nil
	}
	unix.Close(l.socket)
	l.socket = -1
	_, err := l.proc.Wait()
	return err
}

// runLauncher is the life of the helper.
func runLauncher(socket int) int {
	unix.CloseOnExec(socket)
	for {
		var sp spec
		fds, err := receive(socket, &sp)
		if err != nil { // the host program is gone, or has closed the sandbox
			return 0
		}
		ans, pidfd := launch(&sp, fds)
		closeAll(fds)
		var rights []byte
		if ans.Err == "" {
			rights = unix.UnixRights(pidfd)
		}
		msg, _ := json.Marshal(ans)
		err = unix.Sendmsg(socket, msg, rights, nil, unix.MSG_NOSIGNAL)
		if ans.Err == "" {
			unix.Close(pidfd)
		}
		if err != nil {
			return 1
		}
	}
}

// launch starts one first process and sees to it that it is reaped.
func launch(sp *spec, fds []int) (started, int) {
	attr := &syscall.ProcAttr{Env: []string{"GOMAXPROCS=2"}, Sys: attributes(sp)}
	for _, fd := range fds {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{initName, sp.Nonce}, attr)
	if err != nil {
		return started{Err: err.Error()}, -1
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
		return started{Err: "pidfd_open: " + err.Error()}, -1
	}
	go func() {
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
				return
			}
		}
	}()
	return started{Pid: pid}, pidfd
}

// receive reads one message and the descriptors that came with it.
func receive(socket int, v any) ([]int, error) {
	buf, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(8*4))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(socket, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err == nil && n == 0 {
		err = errors.New("end of the connection")
	}
	if err != nil {
		return nil, err
	}
	var fds []int
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range msgs {
		if got, e := unix.ParseUnixRights(&m); e == nil {
			fds = append(fds, got...)
		}
	}
	if err == nil {
		err = json.Unmarshal(buf[:n], v)
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// remote is a process that is the launcher's child, held by a descriptor.
type remote struct {
	fd int
}

// Kill ends the process; one that is already dead is fine.
func (r *remote) Kill() error { return unix.PidfdSendSignal(r.fd, unix.SIGKILL, nil, 0) }

// Wait returns when the process, and with it everything in its sandbox, is dead.
func (r *remote) Wait() (*os.ProcessState, error) {
	defer unix.Close(r.fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return nil, err
		}
	}
}
