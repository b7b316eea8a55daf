//go:build !unix

package remote

import (
	"os"
	"os/exec"
)

// ownTree does nothing here: the program alone is killed, not what it started.
func ownTree(*exec.Cmd) {}

func killTree(p *os.Process, _ string) { _ = p.Kill() }
