package reward_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

// The values of open-r1's and TRL's own tests.
func TestShapingEqualsOpenR1AndTRL(t *testing.T) {
	f, err := os.Open("testdata/shaping.jsonl")
	require.NoError(t, err)
	defer f.Close()
	n := map[string]int{}
	for in := bufio.NewScanner(f); in.Scan(); {
		var c struct {
			ID, Reward, Completion, Gold string
			Tokens                       *int
			IDs                          []int32
			Config                       struct {
				WrongLong  float64 `json:"max_value_wrong"`
				WrongShort float64 `json:"min_value_wrong"`
				RightLong  float64 `json:"min_value_correct"`
				RightShort float64 `json:"max_value_correct"`
				MaxLen     int     `json:"max_len"`
				NGram      int     `json:"ngram_size"`
				Penalty    float64 `json:"max_penalty"`
				Limit      int     `json:"max_completion_len"`
				Cache      int     `json:"soft_punish_cache"`
				Language   string
			}
			Expected *float64 // null: not scored
		}
		c.Config.WrongShort, c.Config.WrongLong, c.Config.RightLong, c.Config.RightShort = -1, -0.5, 0.5, 1 // TRL's defaults
		require.NoError(t, json.Unmarshal(in.Bytes(), &c))
		if c.Config.Language == "zh" {
			continue // open-r1 cuts Chinese into words with a dictionary; here each character is one
		}
		s, length := reward.Sample{Completion: c.Completion}, reward.Length(reward.CharacterCount)
		if c.Tokens != nil {
			s.Tokens, length = make([]int32, *c.Tokens), nil
		}
		var fn reward.Func
		tolerance := 1e-12
		switch c.Reward {
		case "cosine_scaled_reward":
			right := reward.FromText(func(_, completion, _ string) float64 {
				if c.Expected == nil {
					return math.NaN() // the reference cannot be read
				}
				if strings.Contains(completion, "{"+c.Gold+"}") {
					return 1
				}
				return 0
			})
			fn = reward.Cosine(reward.CosineConfig{RightShort: c.Config.RightShort, RightLong: c.Config.RightLong, WrongShort: c.Config.WrongShort,
				WrongLong: c.Config.WrongLong, Max: c.Config.MaxLen, Length: length}, right)
			tolerance = 1e-3 // printed with three digits
		case "repetition_penalty_reward":
			fn = reward.RepetitionPenalty(c.Config.NGram, c.Config.Penalty)
			if c.IDs != nil {
				fn, s.Tokens = reward.TokenRepetitionPenalty(c.Config.NGram, c.Config.Penalty), c.IDs
			}
			tolerance = 5e-5 // printed with four
		case "reasoning_steps_reward":
			fn = reward.ReasoningSteps
		case "soft_overlong_punishment":
			fn = reward.SoftOverlong(c.Config.Limit, c.Config.Cache)
		}
		n[c.Reward]++
		if c.Expected == nil {
			_, ok := reward.Evaluate(context.Background(), fn, s).Score.Value()
			require.False(t, ok, c.ID)
			continue
		}
		require.InDelta(t, *c.Expected, score(t, fn, s), tolerance, "%s %s", c.ID, in.Text())
	}
	t.Log(n)
	require.Len(t, n, 4)
}

func TestTagCount(t *testing.T) {
	for text, want := range map[string]float64{
		"<think>\na\n</think>\n<answer>\n1\n</answer>":            1,
		"<think>\na\n</think>\n\n<answer>\n1\n</answer>":          1,
		"<think>\n<think>\na\n</think>\n\n<answer>\n1\n</answer>": 0.75,
		"<think>a</think><answer>1</answer>":                      0,
		"":                                                        0,
	} {
		require.Equal(t, want, score(t, reward.TagCount, reward.Sample{Completion: text}), text)
	}
}

func TestGateAndRoute(t *testing.T) {
	one := func(context.Context, reward.Sample) (reward.Score, error) { return reward.Scored(1), nil }
	broken := func(context.Context, reward.Sample) (reward.Score, error) { return reward.Score{}, errors.New("down") }
	unwanted := func(context.Context, reward.Sample) (reward.Score, error) { panic("ran") }
	zero := func(context.Context, reward.Sample) (reward.Score, error) { return reward.Scored(0), nil }
	require.Equal(t, 1.0, score(t, reward.Gate(one, one), reward.Sample{}))
	require.Equal(t, 0.0, score(t, reward.Gate(zero, unwanted), reward.Sample{}))
	for _, f := range []reward.Func{reward.Gate(broken, one), reward.Gate(one, broken), reward.Route("kind", nil)} {
		r := reward.Evaluate(context.Background(), f, reward.Sample{})
		_, ok := r.Score.Value()
		require.False(t, ok)
		require.Error(t, r.Err)
	}
	route := reward.Route("kind", map[string]reward.Func{"math": one, "other": zero})
	row := func(kind any) reward.Sample {
		return reward.Sample{Problem: reward.Problem{ID: "p7", Columns: map[string]any{"kind": kind}}}
	}
	require.Equal(t, 1.0, score(t, route, row("math")))
	require.Equal(t, 0.0, score(t, route, row("other")))
	for _, kind := range []any{"poetry", 3, nil} {
		r := reward.Evaluate(context.Background(), route, row(kind))
		require.ErrorContains(t, r.Err, "p7")
	}
}

// A setting that makes no sense is an error at each sample, never a score.
func TestShapingRefuses(t *testing.T) {
	for _, f := range []reward.Func{
		reward.RepetitionPenalty(0, -1), reward.RepetitionPenalty(3, 1), reward.SoftOverlong(10, 0), reward.SoftOverlong(10, 11),
		reward.Cosine(reward.CosineConfig{}, reward.Accuracy),
	} {
		r := reward.Evaluate(context.Background(), f, reward.Sample{Completion: "a b"})
		_, ok := r.Score.Value()
		require.False(t, ok)
		require.Error(t, r.Err)
	}
	require.Equal(t, []string{"我", "们", "go", "now!"}, reward.Words("我们 Go\nnow!"))
}
