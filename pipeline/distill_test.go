package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/distill"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// asked makes a row's first two letters its prompt.
func asked(row data.Row) (sft.Sequence, error) {
	q, err := prepare(row)
	if err != nil {
		return q, err
	}
	q.Weights = make([]float32, len(q.IDs))
	for i := 2; i < len(q.IDs); i++ {
		q.Weights[i] = 1
	}
	return q, nil
}

// distillStage has two teachers, each with rows of its own, and half its steps on the student's samples.
func distillStage(t testing.TB, steps int) pipeline.Distill {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	require.NoError(t, err)
	var m [3]*model.LM
	for i := range m {
		m[i], err = model.Tiny(dev, uint64(3+i))
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, errors.Join(m[0].Close(), m[1].Close(), m[2].Close(), dev.Close())) })
	held, err := asked(texts(t)[0])
	require.NoError(t, err)
	train := distill.OnPolicy()
	train.LearningRate, train.Likelihood = 3e-3, 0.1
	return pipeline.Distill{
		Student: m[0], Train: train, Batch: 4, OnPolicy: 0.5, HeldOut: []sft.Sequence{held}, Eval: 4,
		Sample: sampling.Options{Temperature: 1, MaxTokens: 6, Seed: 9},
		Lessons: []pipeline.Lesson{
			{Teacher: m[1], Weight: 3, Feed: pipeline.Feed{Rows: data.Shuffle(texts(t), 7, 0), Prepare: asked, Window: 17}},
			{Teacher: m[2], Weight: 1, Feed: pipeline.Feed{Rows: data.Shuffle(texts(t)[:20], 8, 0), Prepare: asked, Window: 17}},
		},
		Every: pipeline.Every{Steps: steps, Save: 5, Keep: 1}, Config: map[string]int{"steps": steps},
	}
}

// A stage mixes texts and samples as lambda says, comes closer to its teacher, and ends with the same bytes wherever it was interrupted.
func TestDistill(t *testing.T) {
	const steps = 24
	whole := t.TempDir()
	r, err := run.Open(whole)
	require.NoError(t, err)
	var divergence []float64
	own, second := 0, 0
	res, err := distillStage(t, steps).Run(context.Background(), r, func(s pipeline.DistillStep) {
		divergence = append(divergence, s.Stats.Divergence)
		if s.OnPolicy {
			require.Len(t, s.Samples, 4)
			own++
		} else {
			require.Empty(t, s.Samples)
		}
		second += s.Lesson
	})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Less(t, divergence[steps-1], divergence[0]*0.9)
	require.InDelta(t, steps/2, own, 6)
	require.InDelta(t, steps/4, second, 5)
	require.Positive(t, res.Measured.Loss)
	var state struct {
		State struct{ Feeds []pipeline.FeedState }
	}
	text, err := os.ReadFile(filepath.Join(res.Checkpoint, "trainer_state.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &state))
	for i, used := range []int{steps - second, second} { // each lesson goes through its own rows
		f := state.State.Feeds[i]
		require.Equal(t, 4*used, int(f.Cursor.Row+f.Cursor.Epoch*int64([]int{60, 20}[i]))-int(f.Dropped)+f.Taken, "%+v", f)
	}
	want := sums(t, whole)

	broken := t.TempDir()
	for stop := 2; ; stop += 5 {
		r, err := run.Open(broken)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		_, err = distillStage(t, steps).Run(ctx, r, func(s pipeline.DistillStep) {
			if s.Number == stop {
				cancel()
			}
		})
		cancel()
		require.NoError(t, r.Close())
		if err == nil {
			break
		}
		require.ErrorIs(t, err, pipeline.ErrInterrupted)
	}
	got := sums(t, broken)
	for name := range got { // the checkpoint of the last interruption took a place among those that stay
		if strings.HasPrefix(name, "checkpoint-22/") || strings.HasPrefix(name, "checkpoint-23/") {
			delete(got, name)
		}
	}
	require.Equal(t, want, got)
}

// A finished distillation that is found says what it said.
func TestDistillFound(t *testing.T) {
	dir := t.TempDir()
	var results []pipeline.SFTResult
	for range 2 {
		r, err := run.Open(dir)
		require.NoError(t, err)
		res, err := distillStage(t, 3).Run(context.Background(), r, nil)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		results = append(results, res)
	}
	require.Positive(t, results[0].Measured.Loss)
	require.Equal(t, results[0], results[1])
}

// At lambda 0 the student never writes, at 1 always, and rows may then be prompts alone.
func TestDistillEnds(t *testing.T) {
	for _, lambda := range []float64{0, 1} {
		g := distillStage(t, 6)
		g.OnPolicy, g.HeldOut = lambda, nil
		if lambda == 1 {
			g.Lessons[0].Feed.Prepare = func(row data.Row) (sft.Sequence, error) {
				q, err := asked(row)
				if err == nil {
					q.IDs, q.Weights = q.IDs[:2], make([]float32, 2)
				}
				return q, err
			}
		}
		r, err := run.Open(t.TempDir())
		require.NoError(t, err)
		_, err = g.Run(context.Background(), r, func(s pipeline.DistillStep) { require.Equal(t, lambda == 1, s.OnPolicy) })
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
}

// The same prompt gets other completions in every step, and every place of a batch.
func TestDistillDraws(t *testing.T) {
	g := distillStage(t, 5)
	g.OnPolicy, g.HeldOut, g.Lessons, g.Batch = 1, nil, g.Lessons[:1], 2
	g.Lessons[0].Feed.Rows = data.Shuffle(texts(t)[:1], 7, 0)
	r, err := run.Open(t.TempDir())
	require.NoError(t, err)
	defer r.Close()
	seen := map[string]bool{}
	_, err = g.Run(context.Background(), r, func(s pipeline.DistillStep) {
		for _, ids := range s.Samples {
			seen[fmt.Sprint(ids[0])] = true
		}
	})
	require.NoError(t, err)
	require.Greater(t, len(seen), 5)
}

func TestDistillRefused(t *testing.T) {
	for want, change := range map[string]func(g *pipeline.Distill){
		"at least 1 lesson (0)":    func(g *pipeline.Distill) { g.Lessons = nil },
		"samples is 1.5, want 0":   func(g *pipeline.Distill) { g.OnPolicy = 1.5 },
		"lesson 1 needs a teacher": func(g *pipeline.Distill) { g.Lessons[1].Weight = 0 },
		"at least 1 step (0)":      func(g *pipeline.Distill) { g.Every.Steps = 0 },
		"a row has no prompt": func(g *pipeline.Distill) {
			g.OnPolicy = 1
			g.Lessons = g.Lessons[:1]
			g.Lessons[0].Feed.Prepare = prepare
		},
		"another": func(g *pipeline.Distill) { g.Config = map[string]int{"steps": 7} },
	} {
		dir := filepath.Join(t.TempDir(), "run")
		if want == "another" { // configuration than the checkpoint's
			r, err := run.Open(dir)
			require.NoError(t, err)
			_, err = distillStage(t, 2).Run(context.Background(), r, nil)
			require.NoError(t, errors.Join(err, r.Close()))
		}
		g := distillStage(t, 2)
		change(&g)
		r, err := run.Open(dir)
		require.NoError(t, err)
		_, err = g.Run(context.Background(), r, nil)
		require.ErrorContains(t, err, want)
		require.NoError(t, r.Close())
		require.NoError(t, os.RemoveAll(dir))
	}
}
