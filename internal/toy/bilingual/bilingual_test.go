package bilingual

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/reward"
)

// Every document of the web and every worked answer can be written, and no held-out question stands in the web in either language.
func TestNothingLeaks(t *testing.T) {
	held := map[string]bool{}
	for _, q := range Questions(toy.HeldOut, 20250120, 1000, Chain, Letter) {
		require.Equal(t, toy.HeldOut, q.Split())
		held[q.key] = true
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		text := document(r)
		require.Len(t, Ids(text), len(Ids(text))) // panics on a character outside the vocabulary
		for line := range strings.Lines(English.In(text)) {
			for _, part := range strings.FieldsFunc(line, func(r rune) bool { return !strings.ContainsRune("0123456789+-abcdefghijklmnopqrstuvwxyz", r) }) {
				require.False(t, held[part] && (strings.ContainsAny(part, "+-") || strings.Contains(text, "有几个") || strings.Contains(text, "How many")), text)
			}
		}
	}
}

// What the judges say of answers in R1-Zero's pattern, in R1's, mixed, repeated, broken.
func TestJudges(t *testing.T) {
	english := Question{Domain: Chain, Tongue: English, Text: "7+5-3=?", Answer: "9"}
	chinese := Question{Domain: Chain, Tongue: Chinese, Text: "七+五-三=?", Answer: "九"}
	self := Question{Domain: Self, Tongue: Chinese, Text: "你是谁?", Answer: "我是r一"}
	for _, c := range []struct {
		q                                  Question
		completion                         string
		accuracy, format, formatR1, tongue float64
		dropped                            string
	}{
		{english, "<think>12-3=9</think><answer>9</answer>", 1, 1, 0, 1, ""},
		{english, "<think>12-3=9</think><answer>九</answer>", 1, 1, 0, 1, ""}, // either numerals are right
		{english, "<think>12-3=9</think>the answer is 9", 1, 1, 1, 1, ""},
		{english, "<think>12-3=9</think>9", 1, 1, 0, 1, ""},
		{english, "<think>12-三=九</think>the answer is 9", 1, 1, 1, 0.5, "mixed"},
		{english, "<think>一二-三=九</think>the answer is 9", 1, 1, 1, 0, "mixed"},
		{english, "<think>easy</think>the answer is 9", 1, 1, 1, 1, "no reasoning"},
		{english, "<think>12-3=8</think>the answer is 8", 0, 1, 1, 1, "wrong"},
		{english, "<think>12-3=9</think>答案是9", 0, 1, 0, 1, "wrong"}, // a summary of the other language
		{english, "<think>12-3=12-3=12-3=12-3=9</think>the answer is 9", 1, 1, 1, 1, "repeats"},
		{english, "12-3=9", 0, 0, 0, 1, "malformed"},
		{chinese, "<think>一二-三=九</think>答案是九", 1, 1, 1, 1, ""},
		{self, "<think></think>我是r一", 1, 1, 1, 1, ""},
		{self, "<think></think>好的,我是r一", 1, 1, 1, 1, ""},
		{self, "<think></think>i am r1", 0, 1, 1, 1, "wrong"},
	} {
		s := reward.Sample{Problem: c.q.Problem(), Completion: c.completion}
		for i, f := range []reward.Func{Accuracy, Format, FormatR1, Language} {
			score, err := f(context.Background(), s)
			require.NoError(t, err)
			v, _ := score.Value()
			require.InDelta(t, []float64{c.accuracy, c.format, c.formatR1, c.tongue}[i], v, 1e-12, "%d: %s", i, c.completion)
		}
		text, dropped := Keep(context.Background(), s)
		require.Equal(t, c.dropped, dropped, c.completion)
		if dropped == "" { // what is kept is in R1's pattern
			s.Completion = text
			score, _ := FormatR1(context.Background(), s)
			require.Equal(t, reward.Scored(1), score, text)
		}
	}
}

// Worked answers are what the judges want, in both languages, and numerals translate there and back.
func TestReadable(t *testing.T) {
	for _, q := range Questions(toy.RL, 3, 500, Chain, Letter, Translate, Spell, Self) {
		s := reward.Sample{Problem: q.Problem(), Completion: q.Readable()}
		for _, f := range []reward.Func{Accuracy, Format, FormatR1, Language} {
			score, _ := f(context.Background(), s)
			require.Equal(t, reward.Scored(1), score, s.Completion)
		}
		if q.Domain.Reasoning() {
			require.Equal(t, q.Answer, q.Tongue.In(q.Tongue.other().In(q.Answer)))
			require.True(t, strings.HasPrefix(q.Steps, strings.TrimSuffix(q.First, "=")), q.Steps)
		}
	}
}

// The preferred reply of a pair is never worse than the other by the rule.
func TestFeedback(t *testing.T) {
	pairs, err := Feedback(1, 300)
	require.NoError(t, err)
	for _, p := range pairs {
		require.NotEqual(t, p.Chosen, p.Rejected)
	}
	again, err := Feedback(1, 300)
	require.NoError(t, err)
	require.Equal(t, pairs, again)
}
