package reward_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

func sample(completion, answer string) reward.Sample {
	return reward.Sample{Problem: reward.Problem{Answer: answer}, Completion: completion}
}

func score(t *testing.T, f reward.Func, s reward.Sample) float64 {
	r := reward.Evaluate(context.Background(), f, s)
	require.NoError(t, r.Err)
	v, ok := r.Score.Value()
	require.True(t, ok)
	return v
}

// What earns the format reward, and the ways to fake it.
func TestFormat(t *testing.T) {
	good := []string{
		"<think>1+1=2</think><answer>2</answer>",
		"<think></think><answer>2</answer>",
		" <think> a\nb </think>\n\n<answer> 2 </answer>\n",
	}
	for _, c := range good {
		require.Equal(t, 1.0, score(t, reward.Format, sample(c, "")), c)
		require.Equal(t, 0.0, score(t, reward.Format, reward.Sample{Completion: c, Truncated: true}), "cut at the length limit")
	}
	bad := map[string]string{
		"nothing":             "",
		"no tags":             "2",
		"think not closed":    "<think>1<answer>2</answer>",
		"answer not closed":   "<think>1</think><answer>2",
		"no think":            "<answer>2</answer>",
		"closed first":        "</think>1<think><answer>2</answer>",
		"answer first":        "<answer>2</answer><think>1</think>",
		"answer inside think": "<think>1<answer>2</answer></think>",
		"only think":          "<think>2</think>",
		"two thinks":          "<think>1</think><think>1</think><answer>2</answer>",
		"doubled close":       "<think>1</think></think><answer>2</answer>",
		"two opens":           "<think><think>1</think><answer>2</answer>",
		"two answers":         "<think>1</think><answer>2</answer><answer>2</answer>",
		"answer repeated":     "<think>1</think>" + strings.Repeat("<answer>2</answer>", 1000),
		"text before":         "well <think>1</think><answer>2</answer>",
		"text between":        "<think>1</think> so <answer>2</answer>",
		"text after":          "<think>1</think><answer>2</answer> indeed",
		"empty answer":        "<think>1</think><answer></answer>",
		"blank answer":        "<think>1</think><answer> \n\t</answer>",
		"invisible answer":    "<think>1</think><answer>\u200b\u2060</answer>",
		"other case":          "<Think>1</Think><Answer>2</Answer>",
		"zero width in tag":   "<thi\u200bnk>1</think><answer>2</answer>",
		"spaces in tag":       "< think >1</ think ><answer>2</answer>",
	}
	for name, c := range bad {
		require.Equal(t, 0.0, score(t, reward.Format, sample(c, "")), name)
		require.Equal(t, 0.0, score(t, reward.Accuracy, sample(c, "2")), name)
	}
}

func TestAccuracy(t *testing.T) {
	wrap := func(a string) string { return "<think>w</think><answer>" + a + "</answer>" }
	for _, c := range []struct {
		answer, reference string
		want              float64
	}{
		{"49", "49", 1}, {" 49 ", "49", 1}, {"49", "48", 0}, {"9.80", "9.8", 1}, {"1/2", "0.50", 1}, {"+3", "3", 1}, {"-3", "3", 0},
		{"9.8 or 9.11", "9.8", 0}, {"two  words", "two words", 1}, {"1e3", "1000", 0}, {"0x10", "16", 0}, {"1_000", "1000", 0}, {"Inf", "Inf", 1},
		{"1/0", "1/0", 1}, {"1/0", "2/0", 0}, {"3-", "3", 0}, {strings.Repeat("9", 50), "1", 0}, {"4.", "4", 1}, {"٣", "3", 0},
	} {
		require.Equal(t, c.want, score(t, reward.Accuracy, sample(wrap(c.answer), c.reference)), "%q against %q", c.answer, c.reference)
	}
	r := reward.Evaluate(context.Background(), reward.Accuracy, sample(wrap("1"), " "))
	_, ok := r.Score.Value()
	require.False(t, ok, "no reference: not scored, not wrong")
}

func TestSumAndParts(t *testing.T) {
	f := reward.Sum(reward.Accuracy, reward.Weight(0.2, reward.Format))
	r := reward.Evaluate(context.Background(), f, sample("<think>x</think><answer>2</answer>", "3"))
	v, ok := r.Score.Value()
	require.True(t, ok)
	require.Equal(t, 0.2, v)
	require.Equal(t, []reward.Part{{Name: "accuracy", Score: reward.Scored(0)}, {Name: "format", Score: reward.Scored(1)}}, r.Parts)

	// without a reference only the format counts
	r = reward.Evaluate(context.Background(), f, sample("<think>x</think><answer>2</answer>", ""))
	v, ok = r.Score.Value()
	require.True(t, ok)
	require.Equal(t, 0.2, v)
}

// A broken function is counted, never scored.
func TestNotScored(t *testing.T) {
	boom := errors.New("judge is down")
	cases := map[string]reward.Func{
		"panic":    func(context.Context, reward.Sample) (reward.Score, error) { panic("x") },
		"NaN":      reward.FromText(func(_, _, _ string) float64 { return math.NaN() }),
		"infinite": reward.FromText(func(_, _, _ string) float64 { return math.Inf(1) }),
		"error":    func(context.Context, reward.Sample) (reward.Score, error) { return reward.Score{}, boom },
	}
	var n reward.Counts
	for name, f := range cases {
		r := reward.Evaluate(context.Background(), reward.Named(name, f), sample("", ""))
		_, ok := r.Score.Value()
		require.False(t, ok, name)
		require.Error(t, r.Err, name)
		require.Len(t, r.Parts, 1)
		require.NotEmpty(t, r.Parts[0].Err)
		n.Add(r)
		// in a sum the other part still counts
		r = reward.Evaluate(context.Background(), reward.Sum(f, reward.FromText(func(_, _, _ string) float64 { return 2 })), sample("", ""))
		v, ok := r.Score.Value()
		require.True(t, ok, name)
		require.Equal(t, 2.0, v)
	}
	require.Equal(t, reward.Counts{Unscored: 4, Panicked: 1, Failed: 3}, n)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, ok := reward.Scored(v).Value()
		require.False(t, ok)
	}
}

// A function that does not come back cannot hold the caller past its context.
func TestEvaluateNeverHangs(t *testing.T) {
	release := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	r := reward.Evaluate(ctx, func(context.Context, reward.Sample) (reward.Score, error) { <-release; return reward.Scored(1), nil }, sample("", ""))
	close(release)
	require.ErrorIs(t, r.Err, context.Canceled)
	_, ok := r.Score.Value()
	require.False(t, ok)
	var n reward.Counts
	n.Add(r)
	require.Equal(t, 1, n.TimedOut)
}

func FuzzParse(f *testing.F) {
	f.Add("<think>a</think><answer>b</answer>")
	f.Add("<answer></think><think></answer>")
	f.Fuzz(func(t *testing.T, text string) {
		reasoning, answer, ok := reward.Parse(text)
		if ok {
			require.Contains(t, text, "<think>"+reasoning+"</think>")
			require.NotEmpty(t, strings.TrimSpace(answer))
		}
	})
}

func ExampleSum() {
	f := reward.Sum(reward.Accuracy, reward.Weight(0.2, reward.Format))
	r := reward.Evaluate(context.Background(), f, reward.Sample{
		Problem:    reward.Problem{Prompt: "2+2=?", Answer: "4"},
		Completion: "<think>two and two</think><answer>4</answer>",
	})
	v, _ := r.Score.Value()
	fmt.Println(v, len(r.Parts))
	// Output: 1.2 2
}
