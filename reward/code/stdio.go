package code

import (
	"context"
	"fmt"
	"strings"

	"github.com/gor1/gor1/reward/code/sandbox"
)

// gradeStdio runs the program once per test and compares its output.
func (g *Grader) gradeStdio(ctx context.Context, t Tests, source string) (Report, error) {
	cmd, why, err := g.build(ctx, t.Language, source)
	if err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		return Report{}, err
	}
	var rep Report
	for _, c := range t.Stdio {
		if why != "" {
			rep.Tests = append(rep.Tests, Outcome{Why: why})
			continue
		}
		cmd.Stdin = []byte(c.Input)
		res, err := g.cfg.Sandbox.Run(ctx, cmd)
		if ctx.Err() != nil {
			return rep, nil // Grade fails the rest, or reports the caller's context
		}
		if err != nil {
			return Report{}, err
		}
		rep.Tests = append(rep.Tests, judgeOutput(res, c.Output))
	}
	return rep, nil
}

// judgeOutput compares a program's output with what was expected. The exit code must be 0 too, as on contest sites, but
// can only take a pass away.
func judgeOutput(res sandbox.Result, want string) Outcome {
	switch {
	case !res.OK():
		return Outcome{Why: fmt.Sprintf("%v; stderr %s", res, quote(res.Stderr))}
	case !sameOutput(string(res.Stdout), want):
		return Outcome{Why: "wrong output " + quote(res.Stdout)}
	}
	return Outcome{Passed: true}
}

// sameOutput compares line by line, without blanks around a line and empty lines at the end.
func sameOutput(got, want string) bool {
	g, w := lines(got), lines(want)
	if len(g) != len(w) {
		return false
	}
	for i := range g {
		if g[i] != w[i] {
			return false
		}
	}
	return true
}

func lines(s string) []string {
	out := strings.Split(s, "\n")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// quote shows the end of a job's output with every control character escaped, so that a log cannot be made to lie.
func quote(b []byte) string {
	const keep = 200
	if len(b) > keep {
		b = b[len(b)-keep:]
	}
	return fmt.Sprintf("%+q", b)
}
