package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sft"
)

// texts are rows that teach to repeat a letter; the empty ones have nothing to learn.
func texts(t testing.TB) data.Table {
	table, err := data.ReadAll(context.Background(), inOrder(t), 0)
	require.NoError(t, err)
	return table
}

// inOrder are the rows as a stream that ends.
func inOrder(t testing.TB) data.Stream {
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	var b strings.Builder
	for i := range 60 {
		letter := string(rune('a' + i%13))
		if i%10 == 9 {
			letter = ""
		}
		fmt.Fprintf(&b, `{"text":%q}`+"\n", strings.Repeat(letter, 3+i%9))
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	set, err := data.Open(context.Background(), path, data.Options{})
	require.NoError(t, err)
	return set
}

func prepare(row data.Row) (sft.Sequence, error) {
	text, err := row.Text("text")
	if err != nil {
		return sft.Sequence{}, err
	}
	ids, err := letters{}.Encode(text)
	if len(ids) < 2 {
		return sft.Sequence{}, sft.ErrNothing
	}
	return sft.Sequence{IDs: append(ids, 1)}, err
}

func sftStage(t testing.TB, steps int) pipeline.SFT {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1})
	require.NoError(t, err)
	policy, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(policy.Close(), dev.Close())) })
	held, err := prepare(texts(t)[0])
	require.NoError(t, err)
	train := sft.Default()
	train.LearningRate = 1e-2
	return pipeline.SFT{
		Policy: policy, Train: train, Batch: 3, HeldOut: []sft.Sequence{held}, Eval: 4,
		Feed:  pipeline.Feed{Rows: data.Shuffle(texts(t), 7, 0), Prepare: prepare, Pack: sft.BestFit, Max: 24, Window: 17, Seed: 5},
		Every: pipeline.Every{Steps: steps, Save: 5, Keep: 1}, Config: map[string]int{"steps": steps},
	}
}

// A stage learns, and one that is interrupted at any step ends with the bytes of one that was not.
func TestSFT(t *testing.T) {
	const steps = 24
	whole := t.TempDir()
	r, err := run.Open(whole)
	require.NoError(t, err)
	var first, last float64
	res, err := sftStage(t, steps).Run(context.Background(), r, func(s pipeline.SFTStep) {
		if s.Number == 0 {
			first = s.Stats.Loss
		}
		last = s.Stats.Loss
	})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Less(t, last, first/2)
	require.Positive(t, res.Dropped)
	require.Positive(t, res.Measured.Accuracy)
	want := sums(t, whole)
	r, err = run.Open(whole)
	require.NoError(t, err)
	again, err := sftStage(t, steps).Run(context.Background(), r, nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, res, again, "a finished run says what it said")

	broken := t.TempDir()
	for stop := 2; ; stop += 5 {
		r, err := run.Open(broken)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		_, err = sftStage(t, steps).Run(ctx, r, func(s pipeline.SFTStep) {
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

// A feed gives every row of a pass once, packed or not, and says when the data has ended.
func TestFeed(t *testing.T) {
	f := pipeline.Feed{Prepare: prepare, Window: 13}
	rows, tokens, err := f.Count(context.Background(), data.Shuffle(texts(t), 1, 1))
	require.NoError(t, err)
	require.Equal(t, 54, rows)
	f.Pack, f.Max = sft.BestFit, 24
	packed, same, err := f.Count(context.Background(), data.Shuffle(texts(t), 1, 1))
	require.NoError(t, err)
	require.Equal(t, tokens, same)
	require.Less(t, packed, rows/2)
	f.Prepare = func(data.Row) (sft.Sequence, error) { return sft.Sequence{}, sft.ErrNothing }
	_, _, err = f.Count(context.Background(), data.Shuffle(texts(t), 1, 1))
	require.ErrorContains(t, err, "nothing is left to learn")

	f.Prepare, f.Pack = prepare, nil
	f.Window = 59
	rows, _, err = f.Count(context.Background(), inOrder(t)) // the 60th row is empty
	require.NoError(t, err)
	require.Equal(t, 54, rows)
	f.Prepare = func(row data.Row) (sft.Sequence, error) {
		q, err := prepare(row)
		q.Weights = make([]float32, len(q.IDs)) // a prompt of all but the last token
		if err == nil {
			q.Weights[len(q.IDs)-1] = 1
		}
		return q, err
	}
	f.Pack, f.Max = sft.BestFitSplit, 3
	rows, _, err = f.Count(context.Background(), inOrder(t))
	require.NoError(t, err)
	require.Less(t, rows, 55, "rows of prompts alone are left out: %d", rows)

	g := sftStage(t, 100)
	g.Feed.Rows = data.Shuffle(texts(t), 1, 1)
	r, err := run.Open(t.TempDir())
	require.NoError(t, err)
	defer r.Close()
	_, err = g.Run(context.Background(), r, nil)
	require.ErrorIs(t, err, pipeline.ErrEnd)
	g.Every.Keep = -1
	_, err = g.Run(context.Background(), r, nil)
	require.ErrorContains(t, err, "keep -1", "it would remove the checkpoint just written")
}
