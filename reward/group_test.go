package reward_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

func constant(v float64) reward.Func {
	return func(context.Context, reward.Sample) (reward.Score, error) { return reward.Scored(v), nil }
}

// values of a group's scores; NaN: not scored.
func values(rs []reward.Result) []float64 {
	out := make([]float64, len(rs))
	for i, r := range rs {
		v, ok := r.Score.Value()
		if out[i] = v; !ok {
			out[i] = math.NaN()
		}
	}
	return out
}

func requireValues(t *testing.T, want []float64, rs []reward.Result, msg ...any) {
	t.Helper()
	got := values(rs)
	require.Len(t, got, len(want), msg...)
	for i := range want {
		if math.IsNaN(want[i]) {
			require.True(t, math.IsNaN(got[i]), "sample %d: %v", i, got)
			continue
		}
		require.InDelta(t, want[i], got[i], 1e-12, "sample %d of %v", i, got)
	}
}

// F12, F14: a group function that breaks scores nobody, and is counted under its name.
func TestGroupNeverGuesses(t *testing.T) {
	group := make([]reward.Sample, 3)
	scores := func(n int) reward.GroupFunc {
		return func(context.Context, []reward.Sample) ([]reward.Score, error) {
			out := make([]reward.Score, n)
			for i := range out {
				out[i] = reward.Scored(1)
			}
			return out, nil
		}
	}
	for name, c := range map[string]struct {
		f    reward.GroupFunc
		want reward.Counts
	}{
		"none":     {scores(0), reward.Counts{Unscored: 3, Failed: 3}},
		"one":      {scores(1), reward.Counts{Unscored: 3, Failed: 3}},
		"n-1":      {scores(2), reward.Counts{Unscored: 3, Failed: 3}},
		"n+1":      {scores(4), reward.Counts{Unscored: 3, Failed: 3}},
		"panic":    {func(context.Context, []reward.Sample) ([]reward.Score, error) { panic("x") }, reward.Counts{Unscored: 3, Panicked: 3}},
		"error":    {func(context.Context, []reward.Sample) ([]reward.Score, error) { return nil, errors.New("x") }, reward.Counts{Unscored: 3, Failed: 3}},
		"overflow": {reward.WeightGroup(1e300, reward.Each(constant(1e300))), reward.Counts{Unscored: 3, Failed: 3}},
		"good":     {scores(3), reward.Counts{Scored: 3}},
	} {
		tally := reward.Tally{}
		for _, r := range reward.EvaluateGroup(context.Background(), reward.NamedGroup("f", c.f), group) {
			tally.Add(r.Parts)
			_, ok := r.Score.Value()
			require.Equal(t, c.want.Scored > 0, ok, name)
			require.Equal(t, ok, r.Err == nil, name)
		}
		require.Equal(t, reward.Tally{"f": c.want}, tally, name)
	}
}

func TestGroupHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	defer close(release)
	rs := reward.EvaluateGroup(ctx, func(context.Context, []reward.Sample) ([]reward.Score, error) { cancel(); <-release; return nil, nil }, make([]reward.Sample, 2))
	for _, r := range rs {
		require.ErrorIs(t, r.Err, context.Canceled)
	}
}

func TestSumGroupAndParts(t *testing.T) {
	broken := func(context.Context, reward.Sample) (reward.Score, error) { return reward.Score{}, errors.New("down") }
	f := reward.SumGroup(reward.Each(reward.Named("two", constant(2))), reward.WeightGroup(0.5, reward.NamedGroup("one", reward.Each(constant(1)))), reward.Each(broken))
	rs := reward.EvaluateGroup(context.Background(), f, make([]reward.Sample, 2))
	requireValues(t, []float64{2.5, 2.5}, rs)
	for _, r := range rs {
		require.Equal(t, []reward.Part{{Name: "two", Score: reward.Scored(2)}, {Name: "one", Score: reward.Scored(1)}}, r.Parts)
	}
	r := reward.Evaluate(context.Background(), reward.Alone(reward.NamedGroup("alone", reward.Each(constant(3)))), reward.Sample{})
	require.Equal(t, []reward.Part{{Name: "alone", Score: reward.Scored(3)}}, r.Parts)
}

func answers(as ...string) []reward.Sample {
	group := make([]reward.Sample, len(as))
	for i, a := range as {
		group[i].Completion = "<think>w</think><answer>" + a + "</answer>"
	}
	return group
}

func TestMajority(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		answers []string
		want    []float64
	}{
		{[]string{"2", "4/2", "3", "2.0"}, []float64{1, 1, 0, 1}},
		{[]string{"3", "2", "2", ""}, []float64{0, 1, 1, 0}},
		{[]string{"2", "2", "3", "3"}, []float64{nan, nan, nan, nan}}, // shared
		{[]string{"1", "2", "3"}, []float64{nan, nan, nan}},           // nobody agrees
		{[]string{"1"}, []float64{nan}},
		{[]string{"", "", " "}, []float64{nan, nan, nan}}, // silence is no majority
	} {
		group := answers(c.answers...)
		requireValues(t, c.want, reward.EvaluateGroup(context.Background(), reward.Majority(nil, reward.Rational), group), c.answers)
	}
	boxed := []reward.Sample{{Completion: `<think>x</think> So \boxed{\frac{1}{2}}.`}, {Completion: `<think>x</think>\boxed{0.5}`}, {Completion: "<think>x</think> 0.5"}}
	requireValues(t, []float64{1, 1, 0}, reward.EvaluateGroup(context.Background(), reward.Majority(nil, reward.Rational), boxed))
}

// or1-007, or1-020 and or1-021 of open-r1's tests (huggingface/open-r1 at 1416fa0), and Kimi's formula beside them.
func TestBrevity(t *testing.T) {
	group := answers("1", "1", "2", "2")
	for i, n := range []int{10, 30, 10, 20} {
		group[i].Tokens, group[i].Problem.Answer = make([]int32, n), "1"
	}
	f := reward.Brevity(reward.Accuracy, nil)
	requireValues(t, []float64{0.5, -0.5, 0, 0}, reward.EvaluateGroup(context.Background(), f, group))
	group[2].Tokens = make([]int32, 30)
	requireValues(t, []float64{0.5, -0.5, -0.5, 0}, reward.EvaluateGroup(context.Background(), f, group))
	same := answers("1", "2")
	same[0].Problem.Answer, same[1].Problem.Answer = "1", "1"
	requireValues(t, []float64{0, 0}, reward.EvaluateGroup(context.Background(), f, same))
	same[1].Problem.Answer = "" // cannot be judged
	requireValues(t, []float64{0, math.NaN()}, reward.EvaluateGroup(context.Background(), f, same))
}

type scorer func(prompts, completions []string) ([]float64, error)

func (f scorer) Score(_ context.Context, prompts, completions []string) ([]float64, error) {
	return f(prompts, completions)
}

func TestRewardModel(t *testing.T) {
	group := answers("a", "bbb", "cc", "")
	group[2].Truncated = true
	length := scorer(func(_, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = float64(len(text)) - 2
		}
		return out, nil
	})
	// the cut and the empty one are not better off than the worst that was judged
	requireValues(t, []float64{-1, 1, -1, -1}, reward.EvaluateGroup(context.Background(), reward.RewardModel(length, reward.Summary), group))
	nan := math.NaN()
	for _, m := range []scorer{
		func(_, _ []string) ([]float64, error) { return []float64{1}, nil },
		func(_, _ []string) ([]float64, error) { return nil, errors.New("down") },
		func(_, _ []string) ([]float64, error) { panic("x") },
	} {
		requireValues(t, []float64{nan, nan, nan, nan}, reward.EvaluateGroup(context.Background(), reward.RewardModel(m, reward.Whole), group))
	}
	half := scorer(func(_, _ []string) ([]float64, error) { return []float64{math.Inf(1), 2, 3}, nil })
	requireValues(t, []float64{nan, 2, 2, 3}, reward.EvaluateGroup(context.Background(), reward.RewardModel(half, reward.Whole), group))
}

// Equations 8 to 10.
func TestR1Second(t *testing.T) {
	rule := reward.R1Zero(constant(1), constant(1))
	f := reward.R1Second(func(p reward.Problem) bool { return p.Columns["kind"] == "math" }, rule, reward.Each(constant(10)), constant(100), constant(1000))
	math, general := make([]reward.Sample, 2), make([]reward.Sample, 2)
	math[0].Problem.Columns = map[string]any{"kind": "math"}
	requireValues(t, []float64{1002, 1002}, reward.EvaluateGroup(context.Background(), f, math))
	requireValues(t, []float64{1110, 1110}, reward.EvaluateGroup(context.Background(), f, general))
	require.Equal(t, 1002.0, score(t, reward.R1First(rule, constant(1000)), reward.Sample{}))
}
