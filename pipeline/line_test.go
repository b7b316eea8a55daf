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

	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
)

// copyStage appends its name to its input's text: enough to see what came from where.
func copyStage(name string, ran *[]string, from ...pipeline.From) pipeline.Stage {
	return pipeline.Stage{Name: name, From: from, Config: map[string]string{"v": "1"}, Run: func(_ context.Context, dir *run.Run, in []string) (pipeline.Output, error) {
		*ran = append(*ran, name)
		var text []byte
		for _, p := range in {
			t, err := os.ReadFile(filepath.Join(p, "text"))
			if err != nil {
				return pipeline.Output{}, err
			}
			text = append(text, t...)
		}
		for step, suffix := range []string{"-first", ""} {
			err := dir.Commit(int64(step), func(d string) error {
				return os.WriteFile(filepath.Join(d, "text"), append(text, (" "+name+suffix)...), 0o644)
			})
			if err != nil {
				return pipeline.Output{}, err
			}
		}
		return pipeline.Output{Last: dir.Path(1), Best: dir.Path(0)}, nil
	}}
}

func from(stage string) pipeline.From { return pipeline.From{Stage: stage} }

func baseFolder(t *testing.T) string {
	base := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(base, "text"), []byte("base"), 0o644))
	return base
}

func text(t *testing.T, l pipeline.Line, e pipeline.Entry) string {
	v, err := os.ReadFile(filepath.Join(l.Path(e.Output.Last), "text"))
	require.NoError(t, err)
	return string(v)
}

// R1's lineage: the second SFT starts from the base again, with the traces of the RL model. What was done is not done again.
func TestLineage(t *testing.T) {
	var ran []string
	stages := []pipeline.Stage{
		copyStage("cold", &ran, pipeline.From{}), copyStage("rl", &ran, from("cold")), copyStage("traces", &ran, pipeline.From{Stage: "rl", Best: true}),
		copyStage("sft", &ran, pipeline.From{}, from("traces")),
	}
	l := pipeline.Line{Dir: t.TempDir(), Base: baseFolder(t), Stages: stages, Measure: func(_ context.Context, model string) (map[string]float64, error) {
		v, err := os.ReadFile(filepath.Join(model, "text"))
		return map[string]float64{"length": float64(len(v))}, err
	}}
	ledger, err := l.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, []string{"cold", "rl", "traces", "sft"}, ran)
	require.Equal(t, "basebase cold rl-first traces sft", text(t, l, ledger[4]))
	require.Equal(t, 4.0, ledger[0].Output.Scores["length"])
	require.Equal(t, filepath.Join("02-rl", "checkpoint-0"), ledger[3].Inputs[0])

	path, err := l.Report("a <line>", ledger)
	require.NoError(t, err)
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(page), "<h1>a &lt;line&gt;</h1>")
	require.Contains(t, string(page), "<tr><td>base</td><td>4</td><td>0</td></tr>")
	require.Contains(t, string(page), "<h2>traces</h2>\n<p>from 02-rl/checkpoint-0;")
	require.NotContains(t, string(page), "src=")

	again, err := l.Run(context.Background())
	require.NoError(t, err)
	require.Len(t, ran, 4)
	require.Equal(t, ledger, again)

	l.Again = "traces"
	redone, err := l.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, []string{"traces", "sft"}, ran[4:])
	for i := range redone {
		require.Equal(t, ledger[i].Hash, redone[i].Hash)
	}

	l.Again, l.Stages[1].Config = "", 2
	_, err = l.Run(context.Background())
	require.ErrorContains(t, err, "stage rl was done with another configuration or other inputs")
	require.ErrorContains(t, err, "--from rl")
}

// A stage that collapsed gives its best checkpoint to whoever asked for the last, and the ledger says so.
func TestCollapsedFallsBack(t *testing.T) {
	var ran []string
	rl := copyStage("rl", &ran, pipeline.From{})
	whole := rl.Run
	rl.Run = func(ctx context.Context, dir *run.Run, in []string) (pipeline.Output, error) {
		out, err := whole(ctx, dir, in)
		out.Collapsed = "accuracy .1, .9 before"
		return out, err
	}
	l := pipeline.Line{Dir: t.TempDir(), Base: baseFolder(t), Stages: []pipeline.Stage{rl, copyStage("next", &ran, from("rl"))}}
	ledger, err := l.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, "base rl-first next", text(t, l, ledger[1]))
	require.Equal(t, "rl collapsed (accuracy .1, .9 before): its best checkpoint was taken", ledger[1].Note)
}

// A gate that refuses stops the line there, now and on the next run; a gate that was changed lets it go on.
func TestGate(t *testing.T) {
	var ran []string
	s := copyStage("rl", &ran, pipeline.From{})
	s.Gate = func(pipeline.Output) error { return errors.New("accuracy 0.1, want at least 0.5") }
	l := pipeline.Line{Dir: t.TempDir(), Base: baseFolder(t), Stages: []pipeline.Stage{s, copyStage("next", &ran, from("rl"))}}
	for range 2 {
		_, err := l.Run(context.Background())
		require.ErrorIs(t, err, pipeline.ErrGate)
		require.ErrorContains(t, err, "stage rl: the gate refused the stage's output: accuracy 0.1, want at least 0.5; change the stage, or its gate, and do it again with --from rl")
	}
	require.Equal(t, []string{"rl"}, ran)
	l.Stages[0].Gate = nil
	_, err := l.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, []string{"rl", "next"}, ran)
}

// What cannot be a line is refused before anything is done.
func TestBadLine(t *testing.T) {
	var ran []string
	for want, stages := range map[string][]pipeline.Stage{
		`stage ""`:                      {copyStage("", &ran)},
		`stage "a/b"`:                   {copyStage("a/b", &ran)},
		`stage "a": want a name`:        {copyStage("a", &ran), copyStage("a", &ran)},
		`"later", which is no stage`:    {copyStage("a", &ran, from("later")), copyStage("later", &ran)},
		"there is no stage \"nothing\"": {copyStage("a", &ran)},
	} {
		l := pipeline.Line{Dir: filepath.Join(t.TempDir(), "line"), Stages: stages}
		if strings.HasPrefix(want, "there") {
			l.Again = "nothing"
		}
		_, err := l.Run(context.Background())
		require.ErrorContains(t, err, want)
		require.NoDirExists(t, l.Dir)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ledger.jsonl"), []byte("{\"stage\":\"a\"}\n{"), 0o644))
	_, err := pipeline.Line{Dir: dir, Stages: []pipeline.Stage{copyStage("a", &ran)}}.Run(context.Background())
	require.ErrorContains(t, err, "ledger.jsonl, entry 2")
	bad := pipeline.Stage{Name: "a", Run: func(context.Context, *run.Run, []string) (pipeline.Output, error) {
		return pipeline.Output{}, fmt.Errorf("boom")
	}}
	_, err = pipeline.Line{Dir: t.TempDir(), Stages: []pipeline.Stage{bad}}.Run(context.Background())
	require.EqualError(t, err, "pipeline: stage a: boom")
	require.Empty(t, ran)
}

// A stage ends once its held-out score stays within its interval, and going on after the end does nothing more.
func TestConverged(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		g := stage(t, 50)
		g.HeldOut.Every, g.HeldOut.Converged = 2, 2
		g.HeldOut.Score = func(context.Context, reward.Sample) (reward.Score, error) { return reward.Scored(1), nil }
		r, err := run.Open(dir)
		require.NoError(t, err)
		res, err := g.Run(context.Background(), r, nil)
		require.NoError(t, err)
		require.Equal(t, 6, res.Steps) // measured after 2, 4 and 6
		require.Equal(t, r.Path(6), res.Checkpoint)
		require.NoError(t, run.Verify(res.Checkpoint))
		require.Empty(t, res.Collapsed)
		require.NoError(t, r.Close())
	}
}

// A policy that was right and is wrong at the end has collapsed.
func TestCollapsed(t *testing.T) {
	g := stage(t, 4)
	measured := 0
	g.HeldOut.Every, g.HeldOut.Samples, g.Batch.Refill = 2, 40, 0
	g.HeldOut.Score = func(context.Context, reward.Sample) (reward.Score, error) {
		if measured == 0 {
			return reward.Scored(1), nil
		}
		return reward.Scored(0), nil
	}
	r, err := run.Open(t.TempDir())
	require.NoError(t, err)
	defer r.Close()
	res, err := g.Run(context.Background(), r, func(s pipeline.GRPOStep) {
		if s.Held != nil {
			measured++
		}
	})
	require.NoError(t, err)
	require.Equal(t, "held-out accuracy 0.000 after 4 steps, 1.000 after 2", res.Collapsed)
	require.Equal(t, r.Path(2), res.Best)
}
