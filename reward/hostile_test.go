package reward_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
)

// hostile are pieces that have cost parsers more than their length when repeated.
var hostile = []string{
	"(", ")", "{", "}", "=", "1=", "=1", "1+", "\\frac{", "\\boxed{", "<think>", "</think>", "<answer>", "```", "`", "$", "$$", "\\[", "\n", " ", "-", "^2", "9", "9^9^", "a", "a ", "我", "\u0301", "\u200b", "A1", "aB",
	"1,", "1.", ".", "...", "of 1=1 ", "\\", "\\begin{a}", "http://", "<", "&", "e\u0301", "\xff", "1 = 1. ", "\n= 1", "- ", "x_1 ", "f(", "{}", "[](", "word word ", "#", "\n#", "no, 2 = 3; ",
}

// Every reward that reads text takes thousands of any of them; what they say is a number or nothing.
func TestHostileText(t *testing.T) {
	const size = 1000
	equal := reward.Rational
	fs := map[string]reward.Func{
		"format": reward.Format, "FormatR1": reward.FormatR1, "accuracy": reward.Accuracy, "tag_count": reward.TagCount, "reasoning_steps": reward.ReasoningSteps,
		"repetition": reward.RepetitionPenalty(3, -1), "coherence": reward.Coherence(equal), "completeness": reward.Completeness, "consistent_steps": reward.ConsistentSteps(equal),
		"fluency": lang.Fluency, "language": lang.Consistency(lang.Fixed("en")), "majority": reward.Alone(reward.Majority(nil, equal)),
	}
	for _, piece := range hostile {
		body := strings.Repeat(piece, size/len(piece))
		for _, c := range []string{body, "<think>" + body + "</think><answer>" + body + "</answer>"} {
			for name, f := range fs {
				r := reward.Evaluate(context.Background(), f, reward.Sample{Problem: reward.Problem{Answer: "1"}, Completion: c})
				require.NoError(t, r.Err, "%s on %q", name, piece)
			}
		}
		require.NotPanics(t, func() { reward.Hollow(body) })
	}
}
