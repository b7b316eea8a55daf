package reward_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/mathx"
)

func TestMath(t *testing.T) {
	good := "<think>3/6</think><answer>\\boxed{\\frac{3}{6}}</answer>"
	require.Equal(t, 1.0, score(t, reward.Math, sample(good, "0.5")))
	require.Equal(t, 1.0, score(t, reward.Math, sample("So it is $\\frac12$.", "#### 0.5")))
	require.Equal(t, 0.0, score(t, reward.Math, sample("\\boxed{0.51}", "0.5")))
	require.Equal(t, 0.0, score(t, reward.Math, sample("", "0.5")))
	require.Equal(t, 0.0, score(t, reward.Math, reward.Sample{Problem: reward.Problem{Answer: "0.5"}, Completion: good, Truncated: true}))
	require.Equal(t, 1.0, score(t, reward.MathUnder(mathx.Policy{Tolerance: 0.1}), sample("\\boxed{0.51}", "0.5")))
	require.Equal(t, 0.0, score(t, reward.Gate(reward.Format, reward.Math), sample("\\boxed{0.5}", "0.5")), "right, but without the format")
}

// A reference that cannot be read is not scored: never a 0.
func TestMathUnreadableReference(t *testing.T) {
	for gold, isError := range map[string]bool{"": false, " ": false, "\\frac{1}{0}": true, "\\unknown{3}": true, "x^{": true} {
		r := reward.Evaluate(context.Background(), reward.Math, sample("\\boxed{1}", gold))
		_, scored := r.Score.Value()
		require.False(t, scored, "%q", gold)
		require.Equal(t, isError, r.Err != nil, "%q", gold)
	}
}
