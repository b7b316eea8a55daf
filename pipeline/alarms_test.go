package pipeline

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
)

// Every watch is told after so many steps in a row beyond its limit, by name, and not where the run is well or gets well between.
func TestAlarms(t *testing.T) {
	well := grpo.StepStats{ZeroStd: 0.2, Truncated: 0.1, Unscored: 1, Entropy: 1, MeanLength: 20, Stats: grpo.Stats{Tokens: 100, KL: 1}}
	for say, hurt := range map[string]func(st *grpo.StepStats){
		"":                         func(*grpo.StepStats) {},
		"equal rewards":            func(st *grpo.StepStats) { st.ZeroStd = 0.95 },
		"cut at the length limit":  func(st *grpo.StepStats) { st.Truncated = 0.6 },
		"could not be scored":      func(st *grpo.StepStats) { st.Unscored = 5 },
		"nats a token from":        func(st *grpo.StepStats) { st.KL = 150 },
		"the policy is collapsing": func(st *grpo.StepStats) { st.Entropy = 0.05 },
		"from 20 to 90 tokens":     func(st *grpo.StepStats) { st.MeanLength = 90 },
		"from 20 to 4 tokens":      func(st *grpo.StepStats) { st.MeanLength = 4 },
	} {
		a, s := DefaultAlarms(), alarmState{}
		bad := well
		hurt(&bad)
		for step := range 40 {
			st := well
			if step >= 20 && step != 24 { // well again once, just before it would be told
				st = bad
			}
			out := a.look(&s, st, 20, nil)
			if say == "" || step < 29 {
				require.Empty(t, out, "%s, step %d", say, step)
				continue
			}
			require.Len(t, out, 1, "%s, step %d", say, step)
			require.True(t, strings.Contains(out[0], say), "%s: %s", say, out[0])
		}
	}
}
