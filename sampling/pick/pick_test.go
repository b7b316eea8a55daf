package pick_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
	"github.com/gor1/gor1/sampling/pick"
)

// group makes candidates of completions; those that contain "right" have accuracy 1.
func group(texts ...string) []pick.Candidate {
	out := make([]pick.Candidate, len(texts))
	for i, text := range texts {
		right := 0.0
		if strings.Contains(text, "right") {
			right = 1
		}
		out[i] = pick.Candidate{
			Sample: reward.Sample{Problem: reward.Problem{Prompt: "q"}, Completion: text}, Number: i,
			Score: reward.Scored(right + float64(len(text))/1000), Parts: []reward.Part{{Name: "accuracy", Score: reward.Scored(right)}},
		}
	}
	return out
}

// why applies a selector and lists what each candidate was dropped for.
func why(t *testing.T, s pick.Selector, g []pick.Candidate) (out []string) {
	require.NoError(t, s(context.Background(), g))
	for _, c := range g {
		out = append(out, c.Why)
	}
	return out
}

func TestFilters(t *testing.T) {
	english := lang.Fixed("en")
	mixed := "<think>First I add the two numbers, 然后我把它们相加得到结果七</think> right"
	for name, c := range map[string]struct {
		s     pick.Selector
		texts []string
		want  []string
	}{
		"at least":   {pick.AtLeast("accuracy", 1), []string{"right", "wrong"}, []string{"", "accuracy below 1"}},
		"the score":  {pick.AtLeast("reward", 1), []string{"right", "wrong"}, []string{"", "reward below 1"}},
		"no such":    {pick.AtLeast("style", 0), []string{"right"}, []string{"style not scored"}},
		"format":     {pick.Formatted, []string{"<think>a</think> <answer>7</answer>", "<think>a</think>\n\n7", "7", "<think>a</think>"}, []string{"", "", "format", "format"}},
		"language":   {pick.OneLanguage(0.9, english), []string{"<think>We add the two numbers and we get seven</think> 7", mixed, "<think>3+4=7</think> 7"}, []string{"", "mixed language", ""}},
		"code":       {pick.NoCode, []string{"a", "```go\nx\n```", "~~~\nx"}, []string{"", "code block", "code block"}},
		"paragraphs": {pick.Paragraphs(10), []string{"0123456789", "01234\n567890", "012345\n\n0123456", "<think>0123456789</think>0123456789", "数数数数数数数数数数"}, []string{"", "long paragraph", "", "", ""}},
		"length":     {pick.Length(reward.CharacterCount, 2, 3), []string{"1", "12", "123", "1234"}, []string{"too short", "", "", "too long"}},
		"repetition": {pick.Repetition(2, 0.5), []string{"a b c d", "a b a b a b a b a b"}, []string{"", "repetition"}},
		"too hard":   {pick.Difficulty("accuracy", 1, 0.5, 0.9), []string{"right", "wrong", "wrong"}, []string{"problem too hard", "problem too hard", "problem too hard"}},
		"too easy":   {pick.Difficulty("accuracy", 1, 0.1, 0.9), []string{"right"}, []string{"problem too easy"}},
		"first":      {pick.First(2), []string{"a", "b", "c"}, []string{"", "", "not chosen"}},
		"shortest":   {pick.Shortest(1, reward.CharacterCount), []string{"aaa", "b", "cc", "d"}, []string{"not chosen", "", "not chosen", "not chosen"}},
		"longest":    {pick.Longest(1, reward.CharacterCount), []string{"aaa", "b", "ccc"}, []string{"", "not chosen", "not chosen"}},
		"best":       {pick.Best(1, "reward"), []string{"right a", "wrong", "right bb"}, []string{"not chosen", "not chosen", ""}},
		"diverse":    {pick.Diverse(2), []string{"a b c d", "a b c d e", "v w x y"}, []string{"", "not chosen", ""}},
		"more asked": {pick.Diverse(9), []string{"a", "b"}, []string{"", ""}},
		"duplicates": {pick.Dedup(), []string{"A b", "a  B", "a c"}, []string{"", "duplicate", ""}},
		"in order":   {pick.All(pick.AtLeast("accuracy", 1), pick.First(1)), []string{"wrong", "right", "right 2"}, []string{"accuracy below 1", "", "not chosen"}},
	} {
		require.Equal(t, c.want, why(t, c.s, group(c.texts...)), name)
	}
	cut := group("a", "b")
	cut[1].Truncated = true
	require.Equal(t, []string{"", "cut by the length limit"}, why(t, pick.Whole, cut))
	seen := pick.Dedup()
	require.Equal(t, []string{""}, why(t, seen, group("a")))
	require.Equal(t, []string{"duplicate", ""}, why(t, seen, group("a", "b")), "over groups")
}

// A judge is asked about those that are left only; what it cannot judge is dropped.
func TestJudged(t *testing.T) {
	f := func(_ context.Context, s reward.Sample) (reward.Score, error) {
		if strings.Contains(s.Completion, "broken") {
			return reward.Score{}, errors.New("down")
		}
		require.NotEqual(t, "wrong", s.Completion)
		return reward.Scored(float64(len(s.Completion))), nil
	}
	g := group("wrong", "right", "right 2", "right broken")
	require.Equal(t, []string{"accuracy below 1", "judge below 6", "", "judge not scored"}, why(t, pick.All(pick.AtLeast("accuracy", 1), pick.Judged("judge", f, 6)), g))
	v, ok := g[2].Value("judge")
	require.True(t, ok)
	require.Equal(t, 7.0, v)
	counts := pick.Counts{}
	counts.Count(g)
	counts.Count(group("a"))
	require.Equal(t, pick.Counts{"accuracy below 1": 1, "judge below 6": 1, "judge not scored": 1}, counts)
	require.Equal(t, []string{"accuracy below 1", "judge below 6", "judge not scored"}, counts.Reasons())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, pick.Judged("judge", f, 6)(ctx, group("right")), context.Canceled)
}

// A run of ten words of an evaluation set is found anywhere, whatever its punctuation; nine are not; short texts only as a whole.
func TestDecontaminate(t *testing.T) {
	x, err := pick.NewIndex(10, 1<<20)
	require.NoError(t, err)
	const natalia = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
	for _, text := range []string{natalia, "What is 3+4?", "小明有三个苹果他又买了四个苹果"} {
		require.NoError(t, x.Add(text))
	}
	for text, want := range map[string]bool{
		natalia: true,
		"sold clips to 48 of her friends in april and":          true,
		"Sold CLIPS to 48 of her friends -- in April; AND then": true,
		"to 48 of her friends in April, and THEN a dog":         false, // nine
		"what is 3+4?":             true,
		"What is 3-4?":             false,
		"Well, what is 3+4? Seven": false,
		"问题是小明有三个苹果他又买了两个": true,
		"": false,
	} {
		require.Equal(t, want, x.Overlaps(text), text)
	}
	g := group("clean", "as Natalia sold clips to 48 of her friends in April we see")
	require.Equal(t, []string{"", "in an evaluation set"}, why(t, pick.Decontaminate(x, func(p reward.Problem) string { return p.Prompt }), g))

	// 20,000 runs in 1 MiB: none of 200,000 others is found.
	for i := range 20_000 {
		require.NoError(t, x.Add(fmt.Sprintf("a b c d e f g h i %d", i)))
	}
	for i := range 200_000 {
		require.False(t, x.Overlaps(fmt.Sprintf("a b c d e f g h j %d", i)))
	}
	require.Less(t, x.Chance(), 1e-9)
	small, err := pick.NewIndex(10, 64)
	require.NoError(t, err)
	require.ErrorContains(t, small.Add(natalia), "give it more memory")
	_, err = pick.NewIndex(0, 64)
	require.ErrorContains(t, err, "0 words")
}

func ExampleAll() {
	ctx := context.Background()
	g := group("wrong", "a long right answer", "right")
	keep := pick.All(pick.AtLeast("accuracy", 1), pick.Shortest(1, reward.CharacterCount))
	if err := keep(ctx, g); err != nil {
		panic(err)
	}
	for _, c := range g {
		fmt.Printf("%s: %s\n", c.Completion, c.Why)
	}
	// Output:
	// wrong: accuracy below 1
	// a long right answer: not chosen
	// right:
}
