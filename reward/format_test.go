package reward_test

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

// The values of open-r1's and TRL's own tests.
func TestFormatsEqualOpenR1AndTRL(t *testing.T) {
	f, err := os.Open("testdata/format.jsonl")
	require.NoError(t, err)
	defer f.Close()
	rules := map[string]reward.Func{"format_reward": reward.Format, "think_format_reward": reward.FormatR1, "tag_count_reward": reward.TagCount}
	n := 0
	for in := bufio.NewScanner(f); in.Scan(); n++ {
		var c struct {
			ID, Reward, Completion string
			Expected               float64
		}
		require.NoError(t, json.Unmarshal(in.Bytes(), &c))
		require.Equal(t, c.Expected, score(t, rules[c.Reward], reward.Sample{Completion: c.Completion}), c.ID)
	}
	require.Equal(t, 27, n)
}

func TestFormatR1(t *testing.T) {
	opened := reward.Problem{Prompt: "<|Assistant|><think>\n"}
	for _, c := range []struct {
		s    reward.Sample
		want float64
	}{
		{reward.Sample{Completion: "<think>a</think>b"}, 1},
		{reward.Sample{Completion: "<think>\na\n</think>\n\nSo \\boxed{2}."}, 1},
		{reward.Sample{Completion: "a\n</think>\nb", Problem: opened}, 1},
		{reward.Sample{Completion: "<think>a</think>b", Problem: opened}, 0}, // opened twice
		{reward.Sample{Completion: "a</think>b"}, 0},
		{reward.Sample{Completion: "<think>a</think>b", Truncated: true}, 0},
		{reward.Sample{Completion: "<think>a</think>"}, 0},
		{reward.Sample{Completion: "<think>a</think>\u200b \n"}, 0},
		{reward.Sample{Completion: "<think>a</think>b</think>c"}, 0},
		{reward.Sample{Completion: " <think>a</think>b"}, 0},
		{reward.Sample{Completion: "<think>a"}, 0},
		{reward.Sample{}, 0},
	} {
		require.Equal(t, c.want, score(t, reward.FormatR1, c.s), "%+v", c.s)
	}
}

func TestReasoningAndAnswer(t *testing.T) {
	for _, c := range []struct {
		text, reasoning, answer, summary string
	}{
		{"<think>a</think><answer>b</answer>", "a", "b", "b"},
		{"<think>a</think>so \\boxed{b} and \\boxed{{c}\\}}.", "a", "{c}\\}", "so \\boxed{b} and \\boxed{{c}\\}}."},
		{"<think>a", "a", "", ""},
		{"a</think>b", "a", "", ""},
		{"a<answer>b</answer>", "a", "", ""},
		{"a", "a", "", ""},
		{"<think>\\boxed{1}</think>no box", "\\boxed{1}", "", "no box"},
		{"<think>a</think>\\boxed{}", "a", "", "\\boxed{}"},
		{"<think>a</think>\\boxed{b", "a", "", "\\boxed{b"},
		{"<think>a</think><answer> </answer>", "a", "", ""},
	} {
		s := reward.Sample{Completion: c.text}
		answer, ok := reward.FinalAnswer(s)
		require.Equal(t, c.reasoning, reward.Reasoning(c.text), c.text)
		require.Equal(t, c.answer != "", ok, c.text)
		if ok {
			require.Equal(t, c.answer, answer, c.text)
		}
		require.Equal(t, c.summary, reward.Summary(s), c.text)
		s.Truncated = true
		_, ok = reward.FinalAnswer(s)
		require.False(t, ok)
	}
}
