package reward_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

func questions(n int) []reward.Problem {
	ps := make([]reward.Problem, n)
	for i := range ps {
		ps[i] = reward.Problem{ID: fmt.Sprint(i), Prompt: fmt.Sprintf("What is %d + %d?", i, i), Answer: fmt.Sprint(2 * i)}
	}
	return ps
}

func trips(t *testing.T, f reward.Func, ps []reward.Problem) map[string]reward.Trip {
	got, err := reward.Tripwires(context.Background(), f, ps, nil)
	require.NoError(t, err)
	by := map[string]reward.Trip{}
	for _, trip := range got {
		by[trip.Probe] = trip
	}
	return by
}

// R1-Zero's rules earn the probes nothing but the format.
func TestTripwiresOfRules(t *testing.T) {
	ps := questions(40)
	by := trips(t, reward.Accuracy, ps)
	require.Len(t, by, 7)
	for name, trip := range by {
		require.Zero(t, trip.Unscored)
		require.Equal(t, 40, trip.Scored, name)
		require.Equal(t, name == "reference", trip.Mean == 1, name)
		require.Equal(t, name == "reference", trip.Most == 1, name)
	}
	f := reward.Sum(reward.Accuracy, reward.Weight(0.2, reward.Format))
	now, err := reward.Tripwires(context.Background(), f, ps, nil)
	require.NoError(t, err)
	require.Empty(t, reward.Alarms(nil, now, 0.1))
	m := reward.TripMetrics(now, nil)
	require.InDelta(t, 1.2, m["probe/reference"], 1e-12)
	require.InDelta(t, 0.2, m["probe/perturbed"], 1e-12)
	require.Zero(t, m["probe/empty"])
	require.Zero(t, m["probe/alarms"])
}

// Each leak in a grader trips its own wire.
func TestTripwiresFindLeaks(t *testing.T) {
	ps := questions(40)
	leak := func(pays func(p reward.Problem, answer string) bool) reward.Func {
		return reward.FromText(func(prompt, completion, reference string) float64 {
			_, rest, _ := strings.Cut(completion, "<answer>")
			answer := strings.TrimSuffix(rest, "</answer>")
			if answer == reference || pays(reward.Problem{Prompt: prompt, Answer: reference}, answer) {
				return 1
			}
			return 0
		})
	}
	sound, err := reward.Tripwires(context.Background(), reward.Accuracy, ps, nil)
	require.NoError(t, err)
	require.Empty(t, reward.Alarms(sound, sound, 0.1))
	for name, f := range map[string]reward.Func{
		"empty":      leak(func(_ reward.Problem, a string) bool { return a == "" }),
		"swapped":    leak(func(_ reward.Problem, a string) bool { return strings.Trim(a, "0123456789") == "" }),
		"perturbed":  leak(func(p reward.Problem, a string) bool { return len(a) == len(p.Answer) }),
		"prompt":     leak(func(p reward.Problem, a string) bool { return strings.Contains(a, "What") }),
		"options":    leak(func(p reward.Problem, a string) bool { return strings.Contains(" "+a+" ", " "+p.Answer+" ") }),
		"master key": leak(func(_ reward.Problem, a string) bool { return strings.ContainsAny(a, ":.") && len(a) < 50 }),
	} {
		now, err := reward.Tripwires(context.Background(), f, ps, nil)
		require.NoError(t, err)
		require.Contains(t, strings.Join(reward.Alarms(nil, now, 0.6), "; "), fmt.Sprintf("%q", name), "near the right answers'")
		require.Contains(t, strings.Join(reward.Alarms(sound, now, 0.3), "; "), fmt.Sprintf("%q", name), "it rose")
		require.Positive(t, reward.TripMetrics(now, reward.Alarms(sound, now, 0.3))["probe/alarms"])
	}
}

func TestTripwiresEdges(t *testing.T) {
	letters := []reward.Problem{{Prompt: "?", Answer: "B"}, {Prompt: "??", Answer: "Paris"}, {Prompt: "???", Answer: ""}, {Answer: "§"}}
	var seen []string
	f := reward.FromText(func(_, completion, _ string) float64 { seen = append(seen, completion); return 0 })
	by := trips(t, f, letters)
	all := strings.Join(seen, "\n")
	require.Contains(t, all, "<answer>A or B or C or D</answer>")
	require.Contains(t, all, "<answer>Parit</answer>")
	require.Equal(t, 3, by["prompt"].Scored)
	require.Equal(t, 3, by["reference"].Scored)
	require.Equal(t, 2, by["perturbed"].Scored)
	panics := trips(t, func(context.Context, reward.Sample) (reward.Score, error) { panic("x") }, letters)
	require.Equal(t, 4, panics["empty"].Unscored)
	got, err := reward.Tripwires(context.Background(), reward.Accuracy, nil, nil)
	require.NoError(t, err)
	require.Empty(t, reward.Alarms(got, got, 0))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = reward.Tripwires(ctx, reward.Accuracy, letters, nil)
	require.ErrorIs(t, err, context.Canceled)
}
