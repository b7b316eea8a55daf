package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

// file writes text to a new file and returns its path.
func file(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// open is the part of the example that can go wrong before anything is computed.
func open(ctx context.Context, o Options) error {
	dev, err := kernels.Open(o.Device, kernels.Options{Threads: o.Threads, ISA: o.ISA})
	if err != nil {
		return err
	}
	if o.Checkpoint != "" {
		return EvaluateCheckpoint(ctx, dev, o)
	}
	dir, err := run.Open(o.Out)
	if err != nil {
		return err
	}
	return dir.Close()
}

// Bad input: one clear sentence, and the exit code that goes with it.
func TestBadInput(t *testing.T) {
	aFile := file(t, "x")
	out := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--steps", "0"}, 2, "--steps is 0, want 1 to 100000"},
		{[]string{"--steps", "many"}, 2, `invalid value "many" for flag -steps`},
		{[]string{"--seed", "-1"}, 2, `invalid value "-1"`},
		{[]string{"--fly"}, 2, "flag provided but not defined: -fly; see --help"},
		{[]string{"now"}, 2, `argument "now" is not a flag`},
		{[]string{"--reward", "money"}, 2, `--reward is "money", want rules, format or shuffled`},
		{[]string{"--out", out, "--device", "tpu"}, 1, `open tpu: no such device`},
		{[]string{"--out", out, "--device", "cuda:0"}, 1, "open cuda:0: "},
		{[]string{"--out", out, "--isa", "mmx"}, 1, `Options.ISA is "mmx"`},
		{[]string{"--out", out, "--threads", "9999"}, 1, "9999 threads"},
		{[]string{"--out", filepath.Join(aFile, "out")}, 1, "not a directory"},
		{[]string{"--eval", "no/such/file"}, 1, "no/such/file: no such file"},
		{[]string{"--problems", file(t, "{\"prompt\":\"1+1=?\",\"answer\":\"2\"}\n{\"prompt\":")}, 1, "line 2: unexpected end of JSON input"},
		{[]string{"--problems", file(t, `{"answer":"2"}`)}, 1, `line 1: field "prompt" is missing or empty`},
		{[]string{"--problems", file(t, `{"prompt":"1+1=?"}`)}, 1, `line 1: field "answer" is missing or empty`},
		{[]string{"--problems", file(t, "\n\n"+`{"prompt":"1*1=?","answer":1}`)}, 1, `line 3: field "prompt": toy: character '*' at byte 12 is not in the toy vocabulary`},
		{[]string{"--problems", file(t, "\n")}, 1, "has no rows"},
		{[]string{"--checkpoint", t.TempDir()}, 1, "config.json: no such file"},
	} {
		var stdout, stderr strings.Builder
		code := Main(c.args, &stdout, &stderr, open)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr.String())
		require.Contains(t, stderr.String(), c.want, c.args)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one sentence: %s", stderr.String())
	}
	var stdout, stderr strings.Builder
	require.Zero(t, Main([]string{"--help"}, &stdout, &stderr, open))
	require.Contains(t, stdout.String(), "Examples:")
	require.Contains(t, stdout.String(), "-problems")
	require.Empty(t, stderr.String())
}

// A read-only folder: one sentence. Root writes anywhere, so this needs another user.
func TestReadOnlyOut(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("run as another user than root")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o555))
	var stdout, stderr strings.Builder
	require.Equal(t, 1, Main([]string{"--out", dir}, &stdout, &stderr, open))
	require.Contains(t, stderr.String(), "cannot be written")
}

func TestOtherModelRefused(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, m.Save(dir))
	var stdout, stderr strings.Builder
	require.Equal(t, 1, Main([]string{"--checkpoint", dir}, &stdout, &stderr, open))
	require.Contains(t, stderr.String(), "not one of this example's checkpoints")
}

// A small run from base to table: what it writes is there, and a checkpoint answers again what it answered.
func TestWholeRun(t *testing.T) {
	out := t.TempDir()
	var stdout, stderr strings.Builder
	code := Main([]string{"--json", "--steps", "2", "--no-cache", "--out", out}, &stdout, &stderr, func(ctx context.Context, o Options) error {
		dev, err := kernels.Open(o.Device)
		require.NoError(t, err)
		dir, err := run.Open(o.Out)
		require.NoError(t, err)
		defer dir.Close()
		live := NewLive(dev, dir, o)
		live.n = 50
		m, err := model.New(dev, toy.BaseConfig(), 1, nil) // an untrained one: this is about the bench
		require.NoError(t, err)
		defer m.Close()
		require.NoError(t, live.Measure(ctx, m, Before))
		for step := range o.Steps {
			problems, rows, err := o.Questions(step, 2)
			require.NoError(t, err)
			require.Equal(t, []uint32{uint32(2 * step), uint32(2*step + 1)}, rows)
			groups, err := sampling.Rollout(ctx, engine(m, 1, 1), sampling.Request{Problems: problems, Samples: 2, Score: o.Score()})
			require.NoError(t, err)
			require.NoError(t, live.Step(step, groups, stats()))
		}
		require.NoError(t, live.Measure(ctx, m, After))
		live.result["template_share"] = 0.0
		return live.Finish(m)
	})
	require.Zero(t, code, stderr.String())
	for _, name := range []string{"metrics.jsonl", "eval.jsonl", "curves.svg", "checkpoint-2/model.safetensors", "checkpoint-2/MANIFEST.json"} {
		_, err := os.Stat(filepath.Join(out, name))
		require.NoError(t, err)
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	for _, key := range []string{"accuracy_before", "accuracy_after", "greedy_before", "greedy_after", "length_before", "length_after", "format_before", "format_after", "steps", "seconds"} {
		require.Contains(t, lines[len(lines)-1], `"`+key+`":`)
	}
	stdout.Reset()
	require.Zero(t, Main([]string{"--checkpoint", filepath.Join(out, "checkpoint-2"), "--json"}, &stdout, &stderr, open), stderr.String())
	require.Contains(t, stdout.String(), `"problems":1000`)
}

// A cancelled training leaves a checkpoint and says where; any other error is passed on.
func TestInterrupted(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.New(dev, toy.BaseConfig(), 1, nil)
	require.NoError(t, err)
	dir, err := run.Open(t.TempDir())
	require.NoError(t, err)
	l := NewLive(dev, dir, Options{Steps: 5})
	boom := errors.New("boom")
	require.Equal(t, boom, l.Interrupted(context.Background(), m, boom))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorContains(t, l.Interrupted(ctx, m, ctx.Err()), "interrupted after 0 steps; the policy is in")
	require.NoError(t, run.Verify(dir.Path(0)))
}

// The control shuffles scores and nothing else.
func TestShuffledControl(t *testing.T) {
	o := Options{Reward: "shuffled", Seed: 3}
	groups := []sampling.Group{{Samples: make([]sampling.Sample, 50)}, {Samples: make([]sampling.Sample, 50)}}
	sum := 0.0
	for g := range groups {
		for i := range groups[g].Samples {
			groups[g].Samples[i].Score = reward.Scored(float64(g))
			sum += float64(g)
		}
	}
	o.Control(groups, 1)
	first, total := 0.0, 0.0
	for g := range groups {
		for _, s := range groups[g].Samples {
			v, _ := s.Score.Value()
			total += v
			if g == 0 {
				first += v
			}
		}
	}
	require.Equal(t, sum, total)
	require.Positive(t, first)
}

func stats() grpo.StepStats { return grpo.StepStats{Reward: 0.5, MeanLength: 3} }
