package run_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/run"
)

// The test binary is also the process that is killed: see TestKill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RUN_TEST_CHILD"); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *run.Run {
	r, err := run.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func writeFiles(step int64) func(dir string) error {
	return func(dir string) error {
		for i := range 4 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", i)), fmt.Appendf(nil, "%d:%s", step, strings.Repeat("x", 3000*i)), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestCommitAndLatest(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "deep", "run"))
	_, _, ok, err := r.Latest()
	require.NoError(t, err)
	require.False(t, ok)
	for step := range int64(5) {
		require.NoError(t, r.Commit(step, writeFiles(step)))
	}
	require.NoError(t, r.Commit(4, writeFiles(44)), "a step committed again is replaced")
	text, err := os.ReadFile(filepath.Join(r.Path(4), "f0"))
	require.NoError(t, err)
	require.Equal(t, "44:", string(text))
	step, skipped, ok, err := r.Latest()
	require.NoError(t, err)
	require.True(t, ok)
	require.Empty(t, skipped)
	require.EqualValues(t, 4, step)
	require.NoError(t, r.Keep(2))
	steps, err := r.Checkpoints()
	require.NoError(t, err)
	require.Equal(t, []int64{3, 4}, steps)

	boom := errors.New("boom")
	require.ErrorIs(t, r.Commit(9, func(string) error { return boom }), boom)
	entries, err := os.ReadDir(r.Dir())
	require.NoError(t, err)
	for _, e := range entries {
		require.False(t, strings.HasPrefix(e.Name(), ".tmp-"), e.Name())
	}
}

// Any damage is found, the file is named, and the checkpoint before is taken.
func TestDamage(t *testing.T) {
	damage := map[string]func(path string) error{
		"flip": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
			return os.WriteFile(path, b, 0o644)
		},
		"truncate": func(path string) error { return os.Truncate(path, 1) },
		"remove":   os.Remove,
		"swap": func(path string) error {
			b, err := os.ReadFile(strings.Replace(path, "checkpoint-2", "checkpoint-1", 1))
			if err != nil {
				return err
			}
			return os.WriteFile(path, b, 0o644)
		},
	}
	for name, hurt := range damage {
		for _, file := range []string{"f1", "f3"} {
			r := open(t, t.TempDir())
			require.NoError(t, r.Commit(1, writeFiles(1)))
			require.NoError(t, r.Commit(2, writeFiles(2)))
			require.NoError(t, hurt(filepath.Join(r.Path(2), file)))
			step, skipped, ok, err := r.Latest()
			require.NoError(t, err)
			require.True(t, ok)
			require.EqualValues(t, 1, step, name)
			require.Len(t, skipped, 1)
			require.ErrorContains(t, skipped[0], file, name)
		}
	}
	r := open(t, t.TempDir())
	require.NoError(t, r.Commit(1, writeFiles(1)))
	require.NoError(t, os.WriteFile(filepath.Join(r.Path(1), "MANIFEST.json"), []byte("{"), 0o644))
	require.ErrorContains(t, run.Verify(r.Path(1)), "MANIFEST.json")
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	_, err := run.Open(dir)
	require.ErrorIs(t, err, run.ErrLocked)
	require.ErrorContains(t, err, fmt.Sprint("pid ", os.Getpid()))
	require.NoError(t, r.Close())
	open(t, dir)
}

func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err := run.Open(filepath.Join(file, "run"))
	require.ErrorContains(t, err, "not a directory")
}

func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	for step := range int64(3) {
		require.NoError(t, r.Metrics(step, run.Field{Name: "reward", Value: 0.5}, run.Field{Name: "bad", Value: math.NaN()}, run.Field{Name: "n", Value: 7}))
	}
	require.NoError(t, r.Close())
	path := filepath.Join(dir, "metrics.jsonl")
	line := func(step int) string { return fmt.Sprintf(`{"step":%d,"reward":0.5,"bad":null,"n":7}`+"\n", step) }
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, line(0)+line(1)+line(2), string(text))

	// a torn last line is cut, and the next one is whole
	require.NoError(t, os.WriteFile(path, []byte(line(0)+line(1)+`{"step":2,"rew`), 0o644))
	r = open(t, dir)
	require.NoError(t, r.Metrics(2))
	require.NoError(t, r.Rewind(1))
	require.NoError(t, r.Metrics(2, run.Field{Name: "again", Value: true}))
	require.NoError(t, r.Close())
	text, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, line(0)+line(1)+`{"step":2,"again":true}`+"\n", string(text))

	require.NoError(t, os.WriteFile(path, []byte(line(0)+"what\n"+line(1)), 0o644))
	_, err = run.Open(dir)
	require.ErrorContains(t, err, `metrics.jsonl line 2 is not a metrics line: "what"`)
}

// child commits for ever and prints each step when it is durable.
func child(dir string) {
	r, err := run.Open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	first, _, _, _ := r.Latest()
	for step := first + 1; ; step++ {
		if err := r.Commit(step, writeFiles(step)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := r.Keep(3); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(step)
	}
}

// Killed at any instant, the directory holds every checkpoint that was reported, whole, and nothing half-made.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	last := int64(0)
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RUN_TEST_CHILD="+dir)
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(10+rand.IntN(40)) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
		require.Empty(t, errs.String())
		lines := strings.Fields(out.String())
		reported := last
		if len(lines) > 0 {
			fmt.Sscan(lines[len(lines)-1], &reported)
		}
		r, err := run.Open(dir)
		require.NoError(t, err, "the lock died with its holder")
		step, skipped, _, err := r.Latest()
		require.NoError(t, err)
		require.Empty(t, skipped, "a torn checkpoint became visible")
		require.GreaterOrEqual(t, step, reported, "a reported checkpoint is lost")
		last = step
		require.NoError(t, r.Close())
	}
	require.Positive(t, last)
}
