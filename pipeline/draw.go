package pipeline

import (
	"context"
	"math"
	"slices"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// draw samples the groups of a step. With Refill, groups whose rewards are all equal are replaced by further problems' while
// there are some: those that teach come first, in the order they were drawn.
func (s *grpoStage) draw(ctx context.Context, n int) (groups []sampling.Group, drawn int, cursor uint64, err error) {
	cursor = s.state.Cursor
	s.skips = 0
	var equal []sampling.Group
	for round := 0; ; round++ {
		want := s.Batch.Prompts - len(groups)
		problems, rows := make([]reward.Problem, want), make([]uint32, want)
		for i := range problems {
			cursor = s.pass(cursor)
			problems[i], _ = s.Problems.At(cursor)
			rows[i] = uint32(cursor) // of the endless stream: no two groups of a run share their draws
			cursor++
		}
		fresh, err := sampling.Rollout(ctx, s.engine, sampling.Request{Step: uint32(n), Problems: problems, Rows: rows, Samples: s.Batch.Samples, Score: s.Score, Compare: s.Compare})
		if err != nil {
			return nil, 0, 0, err
		}
		drawn += len(fresh)
		s.drawn = append(s.drawn, fresh...)
		if s.Batch.Refill == 0 {
			return fresh, drawn, cursor, nil
		}
		for _, g := range fresh {
			if teaches(g) {
				groups = append(groups, g)
			} else {
				equal = append(equal, g)
			}
		}
		if len(groups) >= s.Batch.Prompts || round >= s.Batch.Refill {
			return append(groups, equal[:min(len(equal), s.Batch.Prompts-len(groups))]...), drawn, cursor, nil
		}
	}
}

// teaches tells whether a group's scored rewards differ.
func teaches(g sampling.Group) bool {
	first, any := 0.0, false
	for _, s := range g.Samples {
		v, ok := s.Score.Value()
		if ok && any && v != first {
			return true
		}
		if ok && !any {
			first, any = v, true
		}
	}
	return false
}

// rate is what a row was like when it was drawn last.
type rate struct {
	Accuracy float64 `json:"accuracy"`
	Epoch    uint64  `json:"epoch"`
}

// pass moves the cursor past rows that Skip leaves out, but past no more than one epoch of them.
func (s *grpoStage) pass(cursor uint64) uint64 {
	skip, n := s.Batch.Skip, uint64(s.Problems.Len())
	for range n {
		_, row := s.Problems.At(cursor)
		r, seen := s.state.Rates[row]
		if !seen || skip.High == 0 || r.Accuracy > skip.Low && r.Accuracy < skip.High || skip.Again > 0 && cursor/n >= r.Epoch+uint64(skip.Again) {
			return cursor
		}
		cursor++
		s.skips++
	}
	return cursor
}

// remember notes what a step showed of its rows, and keeps the groups that taught for later steps. It is called once the step is done.
func (s *grpoStage) remember(groups []sampling.Group) {
	s.state.Skips += s.skips
	if s.Batch.Skip.High > 0 {
		if s.state.Rates == nil {
			s.state.Rates = map[int]rate{}
		}
		for _, g := range s.drawn {
			if a, ok := accuracy(g); ok {
				_, row := s.Problems.At(uint64(g.Row))
				s.state.Rates[row] = rate{a, uint64(g.Row) / uint64(s.Problems.Len())}
			}
		}
	}
	s.drawn = nil
	if s.Batch.Replay == 0 {
		return
	}
	s.state.Replay = s.state.Replay[min(len(s.state.Replay), s.Batch.Replay):] // those were learnt from in this step
	var fresh []replayed
	for _, g := range groups {
		if teaches(g) {
			fresh = append(fresh, keep(g))
		}
	}
	s.state.Replay = append(fresh, s.state.Replay...)
	if most := 4 * s.Batch.Replay; len(s.state.Replay) > most {
		s.state.Replay = s.state.Replay[:most]
	}
}

// accuracy is the mean of a group's reward accuracy, or of its whole rewards where there is none of that name.
func accuracy(g sampling.Group) (float64, bool) {
	var named, whole []float64
	for _, q := range g.Samples {
		if v, ok := q.Score.Value(); ok {
			whole = append(whole, v)
		}
		for _, p := range q.Parts {
			if v, ok := p.Score.Value(); ok && p.Name == "accuracy" {
				named = append(named, v)
			}
		}
	}
	if len(named) == 0 {
		named = whole
	}
	return mean(named), len(named) > 0
}

// replay are the earlier groups of a step.
func (s *grpoStage) replay() []sampling.Group {
	var out []sampling.Group
	for _, r := range s.state.Replay[:min(len(s.state.Replay), s.Batch.Replay)] {
		out = append(out, r.group())
	}
	return out
}

// replayed is a group as a checkpoint holds it: what the trainer reads, every float32 exactly.
type replayed struct {
	ID          string           `json:"id"`
	Step        uint32           `json:"step"`
	Row         uint32           `json:"row"`
	Temperature float32          `json:"temperature"`
	Prompt      []int32          `json:"prompt"`
	Samples     []replayedSample `json:"samples"`
}

type replayedSample struct {
	Tokens  []int32       `json:"tokens"`
	LogP    []float32     `json:"logp"`
	Entropy []float32     `json:"entropy"`
	Keep    [][]int32     `json:"keep,omitempty"`
	Mass    []float32     `json:"mass,omitempty"`
	Stop    sampling.Stop `json:"stop"`
	Score   *float64      `json:"score"` // null: not scored
}

func keep(g sampling.Group) replayed {
	r := replayed{ID: g.Problem.ID, Step: g.Step, Row: g.Row, Temperature: g.Temperature, Prompt: g.Prompt}
	for _, q := range g.Samples {
		k := replayedSample{Tokens: q.Tokens, LogP: q.LogP, Entropy: q.Entropy, Keep: q.Keep, Mass: q.Mass, Stop: q.Stop}
		if v, ok := q.Score.Value(); ok && !math.IsNaN(v) {
			k.Score = &v
		}
		r.Samples = append(r.Samples, k)
	}
	return r
}

func (r replayed) group() sampling.Group {
	g := sampling.Group{Problem: reward.Problem{ID: r.ID}, Step: r.Step, Row: r.Row, Temperature: r.Temperature, Prompt: r.Prompt}
	for _, k := range r.Samples {
		q := sampling.Sample{Tokens: slices.Clone(k.Tokens), LogP: k.LogP, Entropy: k.Entropy, Keep: k.Keep, Mass: k.Mass, Stop: k.Stop}
		if k.Score != nil {
			q.Score = reward.Scored(*k.Score)
		}
		g.Samples = append(g.Samples, q)
	}
	return g
}
