//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kinds are tested one by one; where one cannot be had, its tests say why and are skipped.
var kinds = []kind{kindNamespaces, kindBubblewrap, kindLandlock}

func forEachKind(t *testing.T, f func(t *testing.T, s *Sandbox)) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			s, err := Open(Config{kind: k})
			if err != nil {
				t.Skip(err)
			}
			defer func() { require.NoError(t, s.Close()) }()
			f(t, s)
		})
	}
}

func sh(script string) Command { return Command{Args: []string{"/bin/sh", "-c", script}} }

func TestRun(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Sandbox) {
		c := sh("read x; echo $x $FOO $SECRET; echo err >&2; read y <note; echo $y; exit 3")
		c.Env, c.Stdin, c.Files = []string{"FOO=bar"}, []byte("in\n"), []File{{Name: "note", Data: []byte("hello\n")}}
		t.Setenv("SECRET", "secret")
		res, err := s.Run(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, Exited, res.Status)
		require.Equal(t, 3, res.ExitCode)
		require.Equal(t, "in bar\nhello\n", string(res.Stdout))
		require.Equal(t, "err\n", string(res.Stderr))
		require.False(t, res.OK())
	})
}

func TestLimits(t *testing.T) {
	small := Limits{CPU: 100 * time.Millisecond, Wall: 20 * time.Second, Output: 1000}
	forEachKind(t, func(t *testing.T, s *Sandbox) {
		for script, want := range map[string]Status{
			"while :; do :; done": CPULimit,
			"kill -STOP $$":       WallLimit,
			"trap '' TERM INT HUP; read x < /dev/stdin; kill -STOP $$": WallLimit,
			"while :; do echo 0123456789; done":                        OutputLimit,
			"while :; do echo 0123456789 >&2; done":                    OutputLimit,
			"kill -SEGV $$":                                            Signaled,
		} {
			c := sh(script)
			c.Limits = small
			if want == WallLimit {
				c.Limits.Wall = 200 * time.Millisecond
			}
			res, err := s.Run(t.Context(), c)
			require.NoError(t, err, script)
			require.Equal(t, want, res.Status, script)
			require.LessOrEqual(t, len(res.Stdout)+len(res.Stderr), 2000, script)
		}
	})
}

func TestCancel(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Sandbox) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := s.Run(ctx, sh("kill -STOP $$"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = s.Run(ctx, sh("exit 0"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestCollect(t *testing.T) {
	s := openTest(t, Config{kind: kindNamespaces})
	for script, want := range map[string]string{
		"echo built > out":              "",
		"ln -s /etc/passwd out":         "too many levels",
		"echo x > a; ln a out":          "not a regular file with one name",
		"mkfifo out":                    "not a regular file",
		"mkdir out":                     "not a regular file",
		"head -c 2000 /dev/zero > out":  "at most 1000",
		"exit 0":                        "no such file",
		"mkdir d; echo x > d/out; cd d": "no such file",
	} {
		c := sh(script)
		c.Collect, c.CollectMax = "out", 1000
		res, err := s.Run(t.Context(), c)
		require.NoError(t, err, script)
		if want == "" {
			require.Equal(t, "built\n", string(res.File))
			continue
		}
		require.Empty(t, res.File, script)
		require.Contains(t, res.FileErr, want, script)
	}
}

func TestBadCommands(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Sandbox) {
		for _, c := range []Command{{}, {Args: []string{"/no/such/program"}},
			{Args: []string{"/bin/true"}, Files: []File{{Name: "../x"}}}, {Args: []string{"/bin/true"}, ReadOnly: []string{"rel"}}} {
			res, err := s.Run(t.Context(), c)
			if s.kind == kindLandlock && len(c.Args) == 1 && c.Args[0] == "/no/such/program" {
				require.NoError(t, err)
				require.Equal(t, 126, res.ExitCode)
				continue
			}
			require.Error(t, err)
			require.True(t, strings.HasPrefix(err.Error(), "sandbox: "), err)
		}
	})
}

func openTest(t *testing.T, cfg Config) *Sandbox {
	s, err := Open(cfg)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// Without any kind of sandbox there is a refusal that says what was tried; only UnsafeExec overrides it.
func TestRefusal(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Open(Config{kind: kindBubblewrap})
	require.ErrorIs(t, err, ErrNoSandbox)
	require.ErrorContains(t, err, "bubblewrap: the program bwrap is not in PATH")
	s, err := Open(Config{kind: kindBubblewrap, UnsafeExec: true})
	require.NoError(t, err)
	require.True(t, s.Unsafe())
	res, err := s.Run(t.Context(), sh("echo bare"))
	require.NoError(t, err)
	require.True(t, bytes.Equal([]byte("bare\n"), res.Stdout))
}
