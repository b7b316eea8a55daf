package pipeline

import (
	"context"
	"slices"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
)

// Tripwires say how often a stage looks what answers without content would earn: nothing, another problem's answer, the prompt, all
// options, words that are known to fool judges (package reward, Probes).
type Tripwires struct {
	Problems int                        // of the training data, that the probes answer; 0: no look at all
	Every    int                        // steps between looks; 0: only before the first step
	Wrap     func(answer string) string // makes a completion of an answer, in the form the reward pays; nil: R1-Zero's
}

// tripRise is how much more a probe may earn than at the start, or less than the right answers do, before it is told.
const tripRise = 0.05

// trip looks, where the step is one to look at, and returns metrics and what looks wrong.
func (s *grpoStage) trip(ctx context.Context, n int) ([]run.Field, []string, error) {
	t := s.Tripwires
	if t.Problems == 0 || s.Score == nil || n > 0 && (t.Every == 0 || n%t.Every != 0) {
		return nil, nil, nil
	}
	problems := make([]reward.Problem, min(t.Problems, s.Problems.Len()))
	for i := range problems {
		problems[i], _ = s.Problems.At(uint64(i))
	}
	now, err := reward.Tripwires(ctx, s.Score, problems, t.Wrap)
	if err != nil {
		return nil, nil, err
	}
	alarms := reward.Alarms(s.state.Trips, now, tripRise)
	if s.state.Trips == nil {
		s.state.Trips = now
	}
	var fields []run.Field
	for name, v := range reward.TripMetrics(now, alarms) {
		fields = append(fields, run.Field{Name: name, Value: v})
	}
	slices.SortFunc(fields, func(a, b run.Field) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return fields, alarms, nil
}
