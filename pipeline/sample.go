package pipeline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

// Sample draws and judges completions of problems, once each, into a run's rollouts/: the first half of rejection sampling, of which
// [Recorded] and a selector are the second. A file of rollouts is there whole or not at all; what is there is not drawn again.
type Sample struct {
	Policy   *model.LM
	Options  sampling.Options
	Problems []reward.Problem
	Samples  int              // of each problem
	Score    reward.Func      // judges each completion; nil: nothing does
	Compare  reward.GroupFunc // judges a group's completions against each other, and adds; nil: none
	Chunk    int              // problems of a file: what a killed process may have to draw again; 0: what is decoded at once
	Config   map[string]any   // what the rollouts are a function of besides: others are not added to
}

// sampleConfig is the file that holds a Sample's Config.
const sampleConfig = "sample.json"

// SampleFiles are what rejection sampling leaves in a run's directory beside what a run has: the Config, the set and its summary.
var SampleFiles = []string{sampleConfig, "kept.jsonl", "summary.json"}

// Run draws what is not there yet. progress is told of completions done and of how many in all; it may be nil.
func (g Sample) Run(ctx context.Context, dir *run.Run, progress func(done, of int)) error {
	if g.Policy == nil || len(g.Problems) == 0 || g.Samples < 1 || g.Chunk < 0 {
		return fmt.Errorf("pipeline: sampling needs a policy, problems (%d) and at least 1 sample of each (%d)", len(g.Problems), g.Samples)
	}
	chunk := g.Chunk
	if chunk == 0 {
		chunk = max(1, 512/g.Samples)
	}
	if err := g.same(dir, chunk); err != nil {
		return err
	}
	engine := sampling.New(g.Policy, g.Options)
	of := len(g.Problems) * g.Samples
	for n, from := 0, 0; from < len(g.Problems); n, from = n+1, from+chunk {
		to := min(from+chunk, len(g.Problems))
		name := rolloutsFile(n)
		if exists(filepath.Join(dir.Dir(), name)) {
			continue
		}
		req := sampling.Request{Problems: g.Problems[from:to], Samples: g.Samples, Score: g.Score, Compare: g.Compare}
		for i := from; i < to; i++ {
			req.Rows = append(req.Rows, uint32(i))
		}
		if progress != nil {
			req.Progress = func(done, _ int) { progress(from*g.Samples+done, of) }
		}
		groups, err := sampling.Rollout(ctx, engine, req)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("pipeline: %w after %d of %d completions; run the same command again to go on", ErrInterrupted, from*g.Samples, of)
			}
			return err
		}
		if err := dir.WriteFile(name, func(w io.Writer) error { return writeRollouts(w, g.Options.Codec, groups) }); err != nil {
			return err
		}
	}
	return nil
}

// same compares the configuration with that of the rollouts that are there.
func (g Sample) same(dir *run.Run, chunk int) error {
	config := map[string]any{"problems of a file": chunk, "samples": g.Samples, "number of problems": len(g.Problems)}
	maps.Copy(config, g.Config)
	was, err := os.ReadFile(filepath.Join(dir.Dir(), sampleConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return dir.WriteFile(sampleConfig, func(w io.Writer) error { return json.NewEncoder(w).Encode(config) })
	}
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	return Loop{Config: config}.sameConfig(dir.Dir(), was)
}

// rolloutsFile is the name of a file of rollouts in a run's directory.
func rolloutsFile(n int) string { return fmt.Sprintf("rollouts/step-%06d.jsonl", n) }

// Recorded is one problem's completions as they stand in a run's rollouts.
type Recorded struct {
	Step, Row uint32
	Group     []pick.Candidate // Tokens are not recorded, only how many: all are 0
}

// ReadRollouts yields the groups of a run's rollouts, in the order of the files and of their lines. Problems have the columns that problem
// returns for them; with problem nil they have what is recorded: ID, Prompt and Answer.
func ReadRollouts(dir string, problem func(r Recorded) (reward.Problem, error)) func(yield func(Recorded, error) bool) {
	return func(yield func(Recorded, error) bool) {
		names, err := filepath.Glob(filepath.Join(dir, "rollouts", "step-*.jsonl"))
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("there are no rollouts/step-*.jsonl; r1 grpo writes them with log_completions")
		}
		if err != nil {
			yield(Recorded{}, fmt.Errorf("pipeline: %s: %w", dir, err))
			return
		}
		slices.Sort(names)
		for _, name := range names {
			groups, err := readRollouts(name)
			if err != nil {
				yield(Recorded{}, err)
				return
			}
			for _, g := range groups {
				if problem != nil {
					p, err := problem(g)
					if err != nil {
						yield(Recorded{}, err)
						return
					}
					for i := range g.Group {
						g.Group[i].Problem = p
					}
				}
				if !yield(g, nil) {
					return
				}
			}
		}
	}
}

// readRollouts reads a file, whose lines of one group follow each other.
func readRollouts(name string) (groups []Recorded, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			return groups, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("pipeline: %w", err)
		}
		var r rolloutRow
		if err := json.Unmarshal(text, &r); err != nil || r.Tokens < 0 || r.Tokens > 1<<24 {
			return nil, fmt.Errorf("pipeline: %s:%d is no rollout: %d tokens (%v)", name, line, r.Tokens, err)
		}
		if n := len(groups); n == 0 || groups[n-1].Step != r.Step || groups[n-1].Row != r.Row {
			groups = append(groups, Recorded{Step: r.Step, Row: r.Row})
		}
		g := &groups[len(groups)-1]
		g.Group = append(g.Group, r.candidate())
	}
}

// candidate is a recorded completion as selectors see it.
func (r rolloutRow) candidate() pick.Candidate {
	c := pick.Candidate{Number: r.Sample, Sample: reward.Sample{
		Problem:    reward.Problem{ID: r.ID, Prompt: r.Prompt, Answer: r.Answer},
		Completion: r.Completion, Tokens: make([]int32, r.Tokens), Truncated: r.Stop == sampling.StopLength.String(),
	}}
	if r.Reward != nil {
		c.Score = reward.Scored(*r.Reward)
	}
	names := make([]string, 0, len(r.Parts))
	for name := range r.Parts {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		c.Parts = append(c.Parts, reward.Part{Name: name, Score: reward.Scored(r.Parts[name])})
	}
	return c
}
