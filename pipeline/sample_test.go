package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

// draw fills a directory with rollouts of 40 problems.
func draw(ctx context.Context, t testing.TB, dir string, change func(g *pipeline.Sample)) error {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	require.NoError(t, err)
	policy, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(policy.Close(), dev.Close())) }()
	g := pipeline.Sample{
		Policy: policy, Options: sampling.Options{Codec: letters{}, Temperature: 1, MaxTokens: 40, Seed: 5}, Samples: 6, Chunk: 3, Config: map[string]any{"seed": 5},
		Score: reward.Named("short", reward.FromText(func(_, completion, _ string) float64 { return float64(min(len(completion), 20)) })),
	}
	for i := range 40 {
		g.Problems = append(g.Problems, reward.Problem{ID: fmt.Sprint(i), Prompt: string(rune('a'+i%26)) + string(rune('a'+i/26)), Answer: "x"})
	}
	if change != nil {
		change(&g)
	}
	r, err := run.Open(dir)
	require.NoError(t, err)
	defer r.Close()
	return g.Run(ctx, r, nil)
}

// TestDrawChild is the process that TestSampleKilled kills; alone it does nothing.
func TestDrawChild(t *testing.T) {
	dir := os.Getenv("R1_PIPELINE_DRAW")
	if dir == "" {
		t.Skip("run by TestSampleKilled")
	}
	require.NoError(t, draw(context.Background(), t, dir, nil))
}

// Sampling that is killed at any instant ends with the files of one that never was, and draws no file twice.
func TestSampleKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	whole, broken := t.TempDir(), t.TempDir()
	from := time.Now()
	require.NoError(t, draw(context.Background(), t, whole, nil))
	took := time.Since(from)
	r := rand.New(rand.NewPCG(1, 2))
	made := map[string]time.Time{}
	for killed := 0; killed < 10; {
		child := exec.Command(os.Args[0], "-test.run=^TestDrawChild$")
		child.Env = append(os.Environ(), "R1_PIPELINE_DRAW="+broken)
		require.NoError(t, child.Start())
		done := make(chan error, 1)
		go func() { done <- child.Wait() }()
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Equal(t, sums(t, whole), sums(t, broken))
			require.NoError(t, os.RemoveAll(broken))
			clear(made)
		case <-time.After(time.Duration(r.Float64() * float64(took))):
			if err := child.Process.Kill(); !errors.Is(err, os.ErrProcessDone) { // it may have ended this instant: then the next turn sees it whole
				require.NoError(t, err)
				killed++
			}
			<-done
		}
		files, err := filepath.Glob(filepath.Join(broken, "rollouts", "*.jsonl"))
		require.NoError(t, err)
		for _, name := range files {
			info, err := os.Stat(name)
			require.NoError(t, err)
			if at, ok := made[name]; ok {
				require.Equal(t, at, info.ModTime(), name)
			}
			made[name] = info.ModTime()
		}
	}
	require.NoError(t, draw(context.Background(), t, broken, nil))
	require.Equal(t, sums(t, whole), sums(t, broken))
}

// What is selected is what was drawn, whatever the size of the files; counts add up; other draws are not added to.
func TestSelect(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	require.NoError(t, draw(context.Background(), t, dir, nil))
	require.NoError(t, draw(context.Background(), t, other, func(g *pipeline.Sample) { g.Chunk = 0 }))
	kept := func(dir string) (out []string, s pipeline.Selected) {
		problem := func(r pipeline.Recorded) (reward.Problem, error) {
			p := r.Group[0].Problem
			p.Columns = map[string]any{"row": r.Row}
			return p, nil
		}
		s, err := pipeline.Select(context.Background(), pipeline.ReadRollouts(dir, problem), pick.All(pick.Whole, pick.AtLeast("short", 5), pick.Shortest(2, reward.TokenCount)), pipeline.Pass{Name: "short", Min: 5},
			func(g pipeline.Recorded, c pick.Candidate, rate float64, rated bool) error {
				require.True(t, rated)
				require.Positive(t, rate)
				require.Equal(t, g.Row, c.Problem.Columns["row"])
				require.NotContains(t, c.Completion, "\x01", "the end is no text")
				out = append(out, fmt.Sprint(c.Problem.ID, c.Number, c.Completion, len(c.Tokens)))
				return nil
			})
		require.NoError(t, err)
		return out, s
	}
	want, s := kept(dir)
	got, same := kept(other)
	require.Equal(t, want, got)
	require.Equal(t, s, same)
	require.Equal(t, [...]int{40, 240, len(want)}, [...]int{s.Groups, s.Drawn, s.Kept})
	dropped, rated := 0, 0
	for _, n := range s.Dropped {
		dropped += n
	}
	for _, n := range s.PassRate {
		rated += n
	}
	require.Equal(t, [...]int{240, 40}, [...]int{dropped + s.Kept, rated + s.Unrated})
	require.Positive(t, s.Kept)
	require.Positive(t, s.Dropped["cut by the length limit"])
	require.Positive(t, s.Dropped["not chosen"])

	require.ErrorContains(t, draw(context.Background(), t, dir, func(g *pipeline.Sample) { g.Config = map[string]any{"seed": 6} }), "another configuration")
	require.ErrorContains(t, draw(context.Background(), t, t.TempDir(), func(g *pipeline.Sample) { g.Samples = 0 }), "at least 1 sample")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, draw(ctx, t, t.TempDir(), nil), pipeline.ErrInterrupted)
	for _, text := range []string{"x\n", `{"tokens":-1}` + "\n", `{"tokens":99999999999}`} {
		broken := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(broken, "rollouts"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(broken, "rollouts", "step-000000.jsonl"), []byte(text), 0o644))
		for _, err := range pipeline.ReadRollouts(broken, nil) {
			require.ErrorContains(t, err, "step-000000.jsonl:1 is no rollout")
		}
	}
	for _, err := range pipeline.ReadRollouts(t.TempDir(), nil) {
		require.ErrorContains(t, err, "there are no rollouts")
	}
}
