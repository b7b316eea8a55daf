package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func call(args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	code = run(args, &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{}, 0, ""},
		{[]string{"--help"}, 0, ""},
		{[]string{"env"}, 0, ""},
		{[]string{"fly"}, 2, `unknown command "fly"`},
		{[]string{"--fly"}, 2, "unknown flag: --fly; see r1 --help"},
		{[]string{"env", "--fly"}, 2, "unknown flag: --fly; see r1 env --help"},
		{[]string{"env", "--threads", "x"}, 2, `invalid argument "x" for "--threads"`},
		{[]string{"env", "now"}, 2, "takes no arguments"},
		{[]string{"env", "--threads", "-3"}, 1, "-3 threads: want 1 to 64"},
		{[]string{"env", "--isa", "mmx"}, 1, `Options.ISA is "mmx"`},
	} {
		code, _, stderr := call(c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		if c.stderr == "" {
			require.Empty(t, stderr, c.args)
			continue
		}
		require.Contains(t, stderr, c.stderr)
		require.Equal(t, 1, strings.Count(strings.TrimSpace(stderr), "\n")+1, "one sentence: %s", stderr)
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("R1_THREADS", "1")
	t.Setenv("R1_ISA", "portable")
	code, stdout, _ := call("env", "--json", "--measure")
	require.Zero(t, code)
	var env environment
	require.NoError(t, json.Unmarshal([]byte(stdout), &env))
	require.Equal(t, "portable", env.ISA)
	require.Equal(t, 1, env.Threads)
	require.True(t, env.Exact)
	require.Positive(t, env.Peak)
	require.Positive(t, env.Copy)
	require.NotEmpty(t, env.Others["cuda:0"])
	require.NotEmpty(t, env.Others["torch"])
	code, stdout, _ = call("env", "--threads", "2")
	require.Zero(t, code)
	require.Contains(t, stdout, "2 threads", "a flag beats the environment")
	t.Setenv("R1_THREADS", "many")
	code, _, stderr := call("env")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `R1_THREADS is "many"`)
}

// Underscores and dashes name the same flag.
func TestFlagSpelling(t *testing.T) {
	cmd := newRoot()
	cmd.PersistentFlags().Int("max-steps", 0, "")
	require.NotNil(t, cmd.PersistentFlags().Lookup("max_steps"))
}
