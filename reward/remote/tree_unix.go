//go:build unix

package remote

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ownTree puts cmd into a process group of its own.
func ownTree(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killTree kills p's process group and, where /proc tells environments, all processes that inherited mark and left the group.
func killTree(p *os.Process, mark string) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // an empty group is what is wanted
	_ = p.Kill()
	for range 20 { // one that forks while it is being looked for is found the next time
		found := false
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range files {
			environ, err := os.ReadFile(f)
			if err != nil || !bytes.Contains(environ, []byte(mark)) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
				found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
			}
		}
		if !found {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
