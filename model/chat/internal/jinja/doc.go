// Package jinja renders chat templates: the language of Jinja 3.1 over Python's values, as transformers configures it
// (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, json.dumps as tojson, raise_exception,
// strftime_now, {% generation %}). Values print, compare and fail as Python's do. There is no import, include, reflection,
// file, environment or clock, and a render has a budget of steps, bytes and depth that depends on nothing but its input.
//
// Errors inside are panics of *Error that Parse and Render turn into returned errors, as text/template does it.
package jinja

import (
	"errors"
	"fmt"
)

// Error is a failure of a template: what Python would raise, and where.
type Error struct {
	Kind string // Python's name for it: TemplateError, TemplateSyntaxError, UndefinedError, TypeError...
	Msg  string
	Line int // of the template, from 1; 0: unknown
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Kind, e.Msg)
}

// raise fails the render or the parse.
func raise(kind, format string, args ...any) {
	panic(&Error{Kind: kind, Msg: fmt.Sprintf(format, args...)})
}

// rescue turns a panic of *Error into err, at the line given where it has none.
func rescue(err *error, line func() int) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		if r.Line == 0 {
			r.Line = line()
		}
		*err = r
	default:
		panic(r)
	}
}

// Limits bound one render. The zero value of a field means its default.
type Limits struct {
	Steps  int // expressions, statements and items visited (default 1,000,000)
	Bytes  int // bytes of strings and list entries made, output included (default 64 MiB)
	Output int // bytes of the text (default 8 MiB)
	Depth  int // macros and loops inside each other (default 100)
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Steps, 1_000_000)
	set(&l.Bytes, 64<<20)
	set(&l.Output, 8<<20)
	set(&l.Depth, 100)
	return l
}

const (
	maxSource = 256 << 10 // bytes of a template
	maxNest   = 200       // brackets and blocks inside each other in a template, and values inside each other
	maxRange  = 100_000   // as Jinja's sandbox
)

// ErrLimit is wrapped by errors of a spent budget.
var ErrLimit = errors.New("limit reached")

// Unwrap lets errors.Is find ErrLimit.
func (e *Error) Unwrap() error {
	if e.Kind == limitKind {
		return ErrLimit
	}
	return nil
}

const limitKind = "LimitError"
