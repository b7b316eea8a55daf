//go:build !linux

package sandbox

import (
	"context"
	"io"
	"runtime"
)

type (
	cgroupBase struct{}
	launcher   struct{}
)

// proc is a running job; there are none outside Linux.
type proc struct {
	stdin          io.WriteCloser
	stdout, stderr io.Reader
	limits         Limits
}

func (p *proc) kill(Status)           {}
func (p *proc) wait() (Result, error) { return Result{}, ErrNoSandbox }
func (p *proc) mark()                 {}
func (p *proc) close()                {}

// Open refuses: the sandbox is made of Linux namespaces, Landlock and seccomp.
func Open(Config) (*Sandbox, error) {
	return nil, &Refusal{Tried: []Layer{{Name: "linux", Note: "this is " + runtime.GOOS + "; score code on a Linux machine or in a container there"}}}
}

// Close does nothing here.
func (s *Sandbox) Close() error { return nil }

func (s *Sandbox) start(context.Context, Command, bool) (*proc, error) { return nil, ErrNoSandbox }
