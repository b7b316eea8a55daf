package code

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gor1/gor1/reward/code/sandbox"
)

// Config says how a [Grader] runs programs. Only Sandbox must be set.
type Config struct {
	Sandbox *sandbox.Sandbox

	Python string // interpreter; default /usr/bin/python3, else /usr/local/bin/python3
	GoRoot string // Go distribution; default /usr/local/go, else /usr/lib/go
	CXX    string // C++ compiler; default /usr/bin/g++

	// Test bounds one test; zero fields are those of the sandbox. A function's tests share one
	// process: processor time counts per test, time by the clock per call, the rest for the process.
	Test  sandbox.Limits
	Total time.Duration // time by the clock for all tests of one answer; default 2 minutes. Tests it cuts off fail
}

// Grader judges answers. It is safe from any number of goroutines; each judgement runs one or two processes at a time.
type Grader struct {
	cfg Config

	goOnce sync.Once // the compiled standard library, for Go answers
	goDir  string
	goErr  error
}

// New makes a grader. It looks for no language yet: a missing one is the error of the first answer written in it.
func New(cfg Config) (*Grader, error) {
	if cfg.Sandbox == nil {
		return nil, errors.New("code: Config.Sandbox is nil; open one with sandbox.Open")
	}
	pick(&cfg.Python, firstFile("/usr/bin/python3", "/usr/local/bin/python3"))
	pick(&cfg.GoRoot, firstFile("/usr/local/go", "/usr/lib/go"))
	pick(&cfg.CXX, firstFile("/usr/bin/g++", "/usr/local/bin/g++"))
	pick(&cfg.Total, 2*time.Minute)
	pick(&cfg.Test.Wall, cfg.Sandbox.Limits().Wall)
	return &Grader{cfg: cfg}, nil
}

// Close removes what the grader keeps on disk.
func (g *Grader) Close() error {
	if g.goDir == "" {
		return nil
	}
	return os.RemoveAll(g.goDir)
}

func pick[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func firstFile(paths ...string) string {
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return filepath.Clean(p)
		}
	}
	return ""
}

// Outcome is what became of one test.
type Outcome struct {
	Passed bool
	Why    string // why not; text of the job's making is quoted
}

// Report is what became of all tests of one answer.
type Report struct {
	Tests []Outcome // one per test of the problem, in order
}

// Passed counts the tests that passed.
func (r Report) Passed() int {
	n := 0
	for _, t := range r.Tests {
		if t.Passed {
			n++
		}
	}
	return n
}

// All reports whether there are tests and all of them passed.
func (r Report) All() bool { return len(r.Tests) > 0 && r.Passed() == len(r.Tests) }

// Grade runs the tests on one answer. An error means that nothing is known about the answer: the sandbox failed, the
// language is missing, or the tests themselves are broken. An answer that does not compile or start fails every test.
func (g *Grader) Grade(ctx context.Context, t Tests, source string) (Report, error) {
	if t.count() == 0 {
		return Report{}, errors.New("code: the problem has no tests")
	}
	if t.Language == Go { // its first use compiles the standard library, which is not the answer's time
		if _, err := g.standardLibrary(); err != nil {
			return Report{}, err
		}
	}
	total, cancel := context.WithTimeout(ctx, g.cfg.Total)
	defer cancel()
	var rep Report
	var err error
	if len(t.Stdio) > 0 {
		rep, err = g.gradeStdio(total, t, source)
	} else if t.Language == Python {
		rep, err = g.gradePython(total, t, source)
	} else if t.Language == Go && len(t.Calls) == 0 {
		rep, err = g.gradeGo(total, t, source)
	} else {
		return Report{}, fmt.Errorf("code: tests that call functions in %q: want Python, or Go with tests in Go", t.Language)
	}
	if err != nil && ctx.Err() != nil {
		return Report{}, fmt.Errorf("code: grading stopped: %w", context.Cause(ctx))
	}
	if err != nil {
		return Report{}, err
	}
	for len(rep.Tests) < t.count() {
		rep.Tests = append(rep.Tests, Outcome{Why: "not reached: " + g.cfg.Total.String() + " were up"})
	}
	return rep, nil
}
