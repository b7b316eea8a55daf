package reward_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

// solved is a right chain with its result.
func solved(r *rand.Rand) (steps []string, result int) {
	value := r.IntN(50) + 10
	for range r.IntN(4) + 3 {
		k := r.IntN(20) + 2
		steps = append(steps, fmt.Sprintf("We add %d: %d + %d = %d.", k, value, k, value+k))
		value += k
	}
	return steps, value
}

// Coherence is 1 on chains whose answer is the last step's, and falls with each of 100 planted defects.
func TestCoherenceFallsWithDefects(t *testing.T) {
	f := reward.Coherence(reward.Rational)
	r := rand.New(rand.NewPCG(8, 8))
	closings := []string{"", "\nSo the answer is %d.", "\nThe result: \\boxed{%d}", "\nTherefore we get $%d$.", "\nThus it is %d."}
	wrap := func(steps []string, closing string, answer int) reward.Sample {
		if closing != "" {
			closing = fmt.Sprintf(closing, answer)
		}
		return reward.Sample{Completion: fmt.Sprintf("<think>%s%s</think><answer>%d</answer>", strings.Join(steps, "\n"), closing, answer)}
	}
	for i := range 100 {
		steps, result := solved(r)
		closing := closings[i%len(closings)]
		good := wrap(steps, closing, result)
		require.Equal(t, 1.0, score(t, f, good), good.Completion)
		answer := fmt.Sprintf("<answer>%d<", result)
		for name, bad := range map[string]string{
			"another answer":     strings.Replace(good.Completion, answer, fmt.Sprintf("<answer>%d<", result+1000), 1),
			"the last step gone": wrap(steps[:len(steps)-1], "", result).Completion,
			"another conclusion": strings.Replace(good.Completion, "</think>", "\nNo, it is 999999.</think>", 1),
			"no reasoning":       fmt.Sprintf("<think></think><answer>%d</answer>", result),
			"no answer":          strings.Replace(good.Completion, answer, "<answer><", 1),
			"every number":       "<think>" + everyNumber + "</think>" + strings.Split(good.Completion, "</think>")[1],
		} {
			require.Less(t, score(t, f, reward.Sample{Completion: bad}), 1.0, "%s: %s", name, bad)
		}
		good.Truncated = true
		require.Equal(t, 0.0, score(t, f, good))
	}
}

var everyNumber = func() string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprint(&b, i, ", ")
	}
	return b.String() + "7777"
}()

func TestCoherence(t *testing.T) {
	for text, want := range map[string]float64{
		"<think>It rains, so we stay in. The capital is Paris.</think><answer>Paris</answer>": 1,
		"<think>The capital is Paris. But it rains.</think><answer>paris</answer>":            0.5,
		"<think>The capital is Lyon.</think><answer>Paris</answer>":                           0,
		"<think>The capital is Parisian.</think><answer>Paris</answer>":                       0,
		"<think>9.8 = 9.80 and 9.80 > 9.11, so 9.8 is larger</think><answer>9.8</answer>":     1,
		"<think>a = 1/2</think> So \\boxed{0.5}.":                                             1,
		"<think>First 3 * 4 = 12\nthen 12 + 5 = 17</think><answer>12</answer>":                0.5,
		"<think>17 apples</think><answer>7</answer>":                                          0,
		"<think>We find $\\frac{1}{3}$</think><answer>1/3</answer>":                           1,
		"<think>So it is 1,200 in all.</think><answer>1200</answer>":                          1,
		"2":                                      0,
		"<think>2</think>":                       0,
		"<think>x</think><answer>!</answer>":     0,
		"<think>1 + 1 = 2</think><answer>2":      0,
		"<answer>2</answer><think>2</think>":     0,
		"<think></think><answer>so</answer>":     0,
		"<think>\n \n</think><answer>1</answer>": 0,
	} {
		require.Equal(t, want, score(t, reward.Coherence(reward.Rational), reward.Sample{Completion: text}), text)
	}
}

// Completeness is 1 on whole completions of both formats and falls with each of 100 planted defects.
func TestCompletenessFallsWithDefects(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for i := range 100 {
		steps, result := solved(r)
		reasoning := strings.Join(steps, "\n") + "\n```python\nprint(1)\n```\n\\[ x = \\frac{1}{2} \\]\n\\begin{align} a \\end{align}\nThat costs $5."
		zero := fmt.Sprintf("<think>%s</think>\n<answer>It is %d.</answer>", reasoning, result)
		one := fmt.Sprintf("<think>\n%s\n</think>\n\nIt is \\boxed{%d}.", reasoning, result)
		for _, good := range []string{zero, one} {
			require.Equal(t, 1.0, score(t, reward.Completeness, reward.Sample{Completion: good}), good)
			require.Less(t, score(t, reward.Completeness, reward.Sample{Completion: good, Truncated: true}), 1.0)
			cut := good[:len(good)/4+r.IntN(len(good)/2)]
			for name, bad := range map[string]string{
				"cut":                  cut,
				"no reasoning":         strings.Replace(good, reasoning, "", 1),
				"think not closed":     strings.Replace(good, "</think>", "", 1),
				"think not opened":     strings.Replace(good, "<think>", "", 1),
				"think closed twice":   strings.Replace(good, "</think>", "</think></think>", 1),
				"code not closed":      strings.Replace(good, "print(1)\n```", "print(1)\n", 1),
				"formula not closed":   strings.Replace(good, "\\]", "", 1),
				"brace not closed":     strings.Replace(good, "{2}", "{2", 1),
				"block not closed":     strings.Replace(good, "\\end{align}", "", 1),
				"answer gone":          strings.Split(good, "</think>")[0] + "</think>",
				"answer blank":         strings.Split(good, "</think>")[0] + "</think><answer> </answer>",
				"answer not closed":    strings.Split(zero, "</answer>")[0],
				"answer breaks off":    strings.Replace(good, ".</answer>", " and</answer>", 1) + map[bool]string{true: " It is the", false: ""}[good == one],
				"answer ends in comma": strings.Replace(good, ".</answer>", ",</answer>", 1) + map[bool]string{true: " so,", false: ""}[good == one],
				"nothing":              "",
			} {
				require.Less(t, score(t, reward.Completeness, reward.Sample{Completion: bad}), 1.0, "%d: %s: %q", i, name, bad)
			}
		}
	}
	require.Equal(t, 0.0, score(t, reward.Completeness, reward.Sample{Completion: ""}))
}
