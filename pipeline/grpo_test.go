package pipeline_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

// letters is a tokenizer of 64 ids for model.Tiny.
type letters struct{}

const alphabet = "\x00\x01abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func (letters) Encode(text string) ([]int32, error) {
	ids := make([]int32, 0, len(text))
	for i := range len(text) {
		at := strings.IndexByte(alphabet, text[i])
		if at < 0 {
			return nil, fmt.Errorf("letters: %q is not in the alphabet", text[i])
		}
		ids = append(ids, int32(at))
	}
	return ids, nil
}

func (letters) Decode(ids []int32) string {
	b := make([]byte, len(ids))
	for i, id := range ids {
		b[i] = alphabet[id]
	}
	return string(b)
}

// stage is a small stage with everything that can go wrong on resume: shuffled epochs, refilled batches, several passes over a batch,
// a reference, held-out measurements, alarms.
func stage(t testing.TB, steps int) pipeline.GRPO {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	require.NoError(t, err)
	policy, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	ref, err := policy.Clone()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(ref.Close(), policy.Close(), dev.Close())) })
	var problems []reward.Problem
	for _, a := range "abcdefghijk" {
		problems = append(problems, reward.Problem{ID: string(a), Prompt: string(a) + "0", Answer: string(a)})
	}
	train := grpo.R1Zero()
	train.LearningRate, train.Epochs, train.MiniBatches, train.Loss.Beta = 3e-3, 2, 2, 0.01
	train.Adapt.KL = &grpo.KLControl{Target: 0.5, Horizon: 100}
	score := reward.Named("echo", reward.FromText(func(_, completion, answer string) float64 {
		return float64(strings.Count(completion, answer)) / float64(max(len(completion), 1))
	}))
	return pipeline.GRPO{
		Renew:  pipeline.Renew{Every: 4, Share: 0.5, Ref: ref},
		Policy: policy, Ref: ref, Train: train, Sample: sampling.Options{Codec: letters{}, Temperature: 1, MaxTokens: 24, Seed: 11}, Score: score,
		Problems: pipeline.NewStream(problems, 5, true), Batch: pipeline.Batch{Prompts: 4, Samples: 4, Refill: 2, Replay: 1, Skip: pipeline.Skip{Low: 0, High: 1, Again: 2}},
		HeldOut: pipeline.HeldOut{Problems: problems[:3], Score: score, Temperature: 1, Samples: 2, Every: 7},
		Every:   pipeline.Every{Steps: steps, Save: 3, Keep: 2, Rollouts: 1}, Alarms: pipeline.DefaultAlarms(), Config: map[string]any{"steps": steps},
	}
}

// sums hashes all that a run leaves, without the clock and TensorBoard's copy (which has the clock).
func sums(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() || name == "lock" || strings.HasPrefix(name, "events.") {
			return nil
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if name == "metrics.jsonl" {
			text = withoutClock(t, string(text))
		}
		sum := sha256.Sum256(text)
		all[name] = hex.EncodeToString(sum[:8])
		return nil
	}))
	return all
}

func withoutClock(t *testing.T, text string) []byte {
	var out []byte
	for line := range strings.Lines(text) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		for _, k := range []string{"seconds", "step_time", "time/rollout", "time/train"} {
			delete(m, k)
		}
		line, err := json.Marshal(m)
		require.NoError(t, err)
		out = append(append(out, line...), '\n')
	}
	return out
}

func train(ctx context.Context, t testing.TB, dir string, steps int) (pipeline.Result, error) {
	r, err := run.Open(dir)
	require.NoError(t, err)
	defer r.Close()
	return stage(t, steps).Run(ctx, r, nil)
}

const (
	killedSteps = 30
	kills       = 20
)

// TestChild is the process that TestKilled kills; alone it does nothing.
func TestChild(t *testing.T) {
	dir := os.Getenv("R1_PIPELINE_CHILD")
	if dir == "" {
		t.Skip("run by TestKilled")
	}
	_, err := train(context.Background(), t, dir, killedSteps)
	require.NoError(t, err)
}

// A run that is killed again and again at any instant ends with the files of one that never was: every byte but the clock's.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	whole, broken := t.TempDir(), t.TempDir()
	from := time.Now()
	_, err := train(context.Background(), t, whole, killedSteps)
	require.NoError(t, err)
	took := time.Since(from)
	r := rand.New(rand.NewPCG(1, 2))
	killed := 0
	for killed < kills {
		child := exec.Command(os.Args[0], "-test.run=^TestChild$")
		child.Env = append(os.Environ(), "R1_PIPELINE_CHILD="+broken)
		require.NoError(t, child.Start())
		done := make(chan error, 1)
		go func() { done <- child.Wait() }()
		select {
		case err := <-done:
			require.NoError(t, err)
			if killed < kills { // it ended before we struck: strike a fresh run of the same
				require.Equal(t, sums(t, whole), sums(t, broken))
				require.NoError(t, os.RemoveAll(broken))
			}
		case <-time.After(time.Duration(r.Float64() * float64(took) / 3)):
			if err := child.Process.Kill(); !errors.Is(err, os.ErrProcessDone) { // it may have ended this instant: then the next turn sees it whole
				require.NoError(t, err)
				killed++
			}
			<-done
		}
	}
	_, err = train(context.Background(), t, broken, killedSteps)
	require.NoError(t, err)
	require.Equal(t, sums(t, whole), sums(t, broken), "after %d kills", killed)
}

// Ctrl-C commits the last whole step; the same command goes on from there.
func TestInterrupted(t *testing.T) {
	whole, broken := t.TempDir(), t.TempDir()
	_, err := train(context.Background(), t, whole, 6)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := run.Open(broken)
	require.NoError(t, err)
	_, err = stage(t, 6).Run(ctx, r, func(s pipeline.GRPOStep) {
		if s.Number == 1 {
			cancel()
		}
	})
	require.ErrorIs(t, err, pipeline.ErrInterrupted)
	require.ErrorContains(t, err, "after 2 of 6 steps; saved in")
	require.NoError(t, r.Close())
	res, err := train(context.Background(), t, broken, 6)
	require.NoError(t, err)
	require.Equal(t, 6, res.Steps)
	a, b := sums(t, whole), sums(t, broken)
	for name := range b { // the checkpoint of the interruption took a place among those that stay
		if strings.HasPrefix(name, "checkpoint-2/") || strings.HasPrefix(name, "checkpoint-3/") {
			delete(b, name)
		}
	}
	for name := range a {
		if strings.HasPrefix(name, "checkpoint-3/") {
			delete(a, name)
		}
	}
	require.Equal(t, a, b)
}

// A finished run that is found says what it said when it finished: the last measurement, be it the best or not.
func TestFoundFinished(t *testing.T) {
	dir := t.TempDir()
	var results []pipeline.Result
	for range 2 {
		r, err := run.Open(dir)
		require.NoError(t, err)
		g := stage(t, 6)
		g.HeldOut.Every = 1
		res, err := g.Run(context.Background(), r, nil)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		results = append(results, res)
	}
	require.NotEqual(t, results[0].Best, results[0].Checkpoint, "the best is not the last, or this tests nothing")
	require.Equal(t, results[0], results[1])
}

// A kill between the last commit and the removal of what it supersedes leaves a checkpoint that the next start removes.
func TestKilledBeforePruning(t *testing.T) {
	dir := t.TempDir()
	_, err := train(context.Background(), t, dir, 9)
	require.NoError(t, err)
	want := sums(t, dir)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "checkpoint-3"), os.DirFS(filepath.Join(dir, "checkpoint-9"))))
	_, err = train(context.Background(), t, dir, 9)
	require.NoError(t, err)
	require.Equal(t, want, sums(t, dir))
}

// A finished run is not run again, and another configuration is refused by name.
func TestResumeRefused(t *testing.T) {
	dir := t.TempDir()
	_, err := train(context.Background(), t, dir, 2)
	require.NoError(t, err)
	before := sums(t, dir)
	_, err = train(context.Background(), t, dir, 2)
	require.NoError(t, err)
	require.Equal(t, before, sums(t, dir))
	_, err = train(context.Background(), t, dir, 3)
	require.ErrorContains(t, err, "steps was 2 and is now 3")

	dir = t.TempDir()
	for _, seed := range []uint64{1 << 60, 1<<60 + 1} { // no float64 lies between
		r, err := run.Open(dir)
		require.NoError(t, err)
		g := stage(t, 1)
		g.Config = map[string]any{"seed": seed, "nested": map[string]any{"a": []int{1}}}
		_, err = g.Run(context.Background(), r, nil)
		require.NoError(t, r.Close())
		if seed == 1<<60 {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "seed was 1152921504606846976 and is now 1152921504606846977")
	}
}

// Where a judge is lost for a whole step, the run ends, and what was done before is there.
func TestJudgeLost(t *testing.T) {
	dir := t.TempDir()
	r, err := run.Open(dir)
	require.NoError(t, err)
	defer r.Close()
	g := stage(t, 6)
	g.Every.Save, g.HeldOut.Problems, g.Batch.Replay = 0, nil, 0
	echo, lost := g.Score, atomic.Bool{}
	g.Score = func(ctx context.Context, s reward.Sample) (reward.Score, error) {
		if lost.Load() {
			return reward.Score{}, errors.New("no reply")
		}
		return echo(ctx, s)
	}
	_, err = g.Run(context.Background(), r, func(s pipeline.GRPOStep) { lost.Store(s.Number == 1) })
	require.ErrorIs(t, err, grpo.ErrUnscored)
	require.ErrorContains(t, err, "step 2")
	require.ErrorContains(t, err, "the same command goes on from there")
	lost.Store(false)
	res, err := g.Run(context.Background(), r, nil)
	require.NoError(t, err)
	require.Equal(t, 6, res.Steps)
	require.DirExists(t, filepath.Join(dir, "checkpoint-2"))
}

// A reward that fails says why beside what it did not score.
func TestRolloutsSayWhy(t *testing.T) {
	dir := t.TempDir()
	r, err := run.Open(dir)
	require.NoError(t, err)
	defer r.Close()
	g := stage(t, 1)
	echo := g.Score
	g.Score = reward.Sum(echo, reward.Named("mine", func(context.Context, reward.Sample) (reward.Score, error) {
		return reward.Score{}, errors.New("no such module")
	}))
	_, err = g.Run(context.Background(), r, nil)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "rollouts", "step-000000.jsonl"))
	require.NoError(t, err)
	require.Contains(t, string(text), `"errors":{"mine":"no such module"}`)
}

// Dynamic sampling fills the batch with groups whose rewards differ, as long as it may draw.
func TestRefill(t *testing.T) {
	g := stage(t, 1)
	g.Score = reward.FromText(func(prompt, completion, _ string) float64 { // only "a0" ever teaches
		if strings.HasPrefix(prompt, "a") {
			return float64(len(completion))
		}
		return 1
	})
	for _, c := range []struct{ refill, drawn int }{{0, 4}, {2, 12}} {
		g.Batch.Refill = c.refill
		r, err := run.Open(t.TempDir())
		require.NoError(t, err)
		var seen pipeline.GRPOStep
		_, err = g.Run(context.Background(), r, func(s pipeline.GRPOStep) { seen = s })
		require.NoError(t, err)
		require.Len(t, seen.Groups, 4)
		for _, f := range seen.Fields {
			if f.Name == "groups_drawn" && c.refill == 0 {
				require.Equal(t, c.drawn, f.Value)
			} else if f.Name == "groups_drawn" {
				require.Greater(t, f.Value, 4)
			}
		}
		require.NoError(t, r.Close())
	}
}

// Rows at the ends of the scale are left out until they are tried again; groups that taught come back once.
func TestSkipAndReplay(t *testing.T) {
	g := stage(t, 6)
	g.Train.LearningRate = 1e-9 // the policy stays as it is
	g.Batch = pipeline.Batch{Prompts: 11, Samples: 4, Skip: pipeline.Skip{High: 1}, Replay: 2}
	g.Score = reward.FromText(func(prompt, completion, _ string) float64 { // b0 is always right; the rest differ
		if strings.HasPrefix(prompt, "b") {
			return 1
		}
		return 1 / float64(1+len(completion))
	})
	r, err := run.Open(t.TempDir())
	require.NoError(t, err)
	var skipped int64
	_, err = g.Run(context.Background(), r, func(s pipeline.GRPOStep) {
		for _, q := range s.Groups {
			require.False(t, s.Number > 0 && q.Problem.ID == "b", "step %d draws b again", s.Number)
		}
		for _, f := range s.Fields {
			switch f.Name {
			case "rows_skipped":
				skipped = f.Value.(int64)
			case "groups_replayed":
				require.Equal(t, min(2*s.Number, 2), f.Value)
			}
		}
	})
	require.NoError(t, err)
	require.Equal(t, int64(6), skipped, "once in each epoch but the first")
	require.NoError(t, r.Close())
}

// What would keep a run from learning is named before its first step, with the fix.
func TestPreflight(t *testing.T) {
	right := func(f func(completion string) bool) reward.Func {
		return reward.Named("accuracy", reward.FromText(func(_, completion, _ string) float64 {
			if f(completion) {
				return 1
			}
			return 0
		}))
	}
	good := right(func(c string) bool { return len(c) > 0 && c[0] > 'm' })
	for name, c := range map[string]struct {
		change func(g *pipeline.GRPO)
		fatal  bool
		want   string
	}{
		"healthy": {func(g *pipeline.GRPO) {}, false, ""},
		"wrong column": {func(g *pipeline.GRPO) {
			g.Score = func(context.Context, reward.Sample) (reward.Score, error) { return reward.Score{}, nil }
		}, true, "look at the answer column"},
		"broken reward": {func(g *pipeline.GRPO) {
			g.Score = reward.Named("mine", func(context.Context, reward.Sample) (reward.Score, error) {
				return reward.Score{}, errors.New("no such module")
			})
		}, true, `the reward mine says "no such module"`},
		"too short": {func(g *pipeline.GRPO) { g.Sample.MaxTokens = 1 }, true, "raise max_completion_length above 1"},
		"too easy":  {func(g *pipeline.GRPO) { g.Score = right(func(string) bool { return true }) }, true, "use harder problems"},
		"too hard":  {func(g *pipeline.GRPO) { g.Score = right(func(string) bool { return false }) }, true, "use easier problems"},
		"flat":      {func(g *pipeline.GRPO) { g.Score = reward.FromText(func(_, _, _ string) float64 { return 0.5 }) }, true, "does not tell completions apart"},
	} {
		g := stage(t, 1)
		g.Score, g.Sample.MaxTokens = good, 100
		c.change(&g)
		p, err := g.Preflight(context.Background(), 8, nil)
		require.NoError(t, err)
		text := ""
		for _, f := range p.Findings {
			text += f.String() + "\n"
		}
		if name == "healthy" {
			require.NotContains(t, text, "every group", name)
		}
		require.Contains(t, text, c.want, name)
		require.Equal(t, c.fatal, p.Err() != nil, "%s: %v", name, p.Err())
	}
}

// Every epoch holds every row once, in an order of its own; a position always gives the same row.
func TestStream(t *testing.T) {
	s := pipeline.NewStream([]string{"a", "b", "c", "d", "e", "f", "g"}, 1, true)
	orders := map[string]bool{}
	for epoch := range uint64(5) {
		order, seen := "", map[int]bool{}
		for i := range uint64(7) {
			row, n := s.At(epoch*7 + i)
			order += row
			seen[n] = true
		}
		require.Len(t, seen, 7)
		orders[order] = true
	}
	require.Greater(t, len(orders), 3)
	a, _ := s.At(3)
	_, _ = s.At(30)
	b, _ := s.At(3)
	require.Equal(t, a, b)
	plain := pipeline.NewStream([]string{"a", "b"}, 1, false)
	row, n := plain.At(5)
	require.Equal(t, "b", row)
	require.Equal(t, 1, n)
	require.NotEqual(t, s.Fingerprint(strings.Clone), plain.Fingerprint(strings.Clone))
}
