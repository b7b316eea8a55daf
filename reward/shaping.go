package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Length measures a completion, for the rewards that look at it.
type Length func(s Sample) int

// TokenCount is the number of sampled tokens, the end-of-sequence token included.
func TokenCount(s Sample) int { return len(s.Tokens) }

// CharacterCount is the number of Unicode characters of the text.
func CharacterCount(s Sample) int { return len([]rune(s.Completion)) }

// CosineConfig is where [Cosine]'s curve begins and ends.
type CosineConfig struct {
	RightShort, RightLong float64 // a right answer of length 0, and of length Max
	WrongShort, WrongLong float64 // a wrong one
	Max                   int     // the length at the curve's end; longer ones score as it
	Length                Length  // nil: TokenCount
}

// Cosine pays a right answer more the shorter it is and a wrong one less, along half a cosine of its length (arXiv 2502.03373,
// section 4.2). right scores 1 or more where the answer is right; where it does not score, Cosine does not.
func Cosine(c CosineConfig, right Func) Func {
	if c.Length == nil {
		c.Length = TokenCount
	}
	return Named("cosine", func(ctx context.Context, s Sample) (Score, error) {
		if c.Max < 1 {
			return Score{}, fmt.Errorf("reward: cosine: Max is %d, want at least 1", c.Max)
		}
		score, err := safely(ctx, right, s)
		v, ok := score.Value()
		if !ok {
			return Score{}, err
		}
		short, long := c.WrongShort, c.WrongLong
		if v >= 1 {
			short, long = c.RightShort, c.RightLong
		}
		progress := min(float64(c.Length(s))/float64(c.Max), 1)
		return Scored(long + 0.5*(short-long)*(1+math.Cos(progress*math.Pi))), err
	})
}

// RepetitionPenalty is worst times the share of n-grams of words that have been said before (arXiv 2502.03373, appendix): 0 where
// nothing repeats. Words are lower case; each Chinese or Japanese character is a word.
func RepetitionPenalty(n int, worst float64) Func {
	return repetition(n, worst, func(s Sample) []string { return Words(s.Completion) })
}

// TokenRepetitionPenalty is RepetitionPenalty over n-grams of sampled tokens, whatever the language.
func TokenRepetitionPenalty(n int, worst float64) Func {
	return repetition(n, worst, func(s Sample) []string {
		units := make([]string, len(s.Tokens))
		for i, id := range s.Tokens {
			units[i] = strconv.Itoa(int(id))
		}
		return units
	})
}

func repetition(n int, worst float64, units func(s Sample) []string) Func {
	return Named("repetition_penalty", func(_ context.Context, s Sample) (Score, error) {
		if n < 1 || !(worst <= 0) {
			return Score{}, fmt.Errorf("reward: repetition penalty of %d-grams, at worst %g: want at least 1 and at most 0", n, worst)
		}
		u := units(s)
		if len(u) < n {
			return Scored(0), nil
		}
		seen := map[string]bool{}
		for i := 0; i+n <= len(u); i++ {
			seen[strings.Join(u[i:i+n], " ")] = true
		}
		return Scored(worst * (1 - float64(len(seen))/float64(len(u)-n+1))), nil
	})
}

// Words splits text at white space, in lower case; a Han, Hiragana or Katakana character is a word of its own.
func Words(text string) []string {
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, r := range strings.ToLower(text) {
		switch {
		case unicode.IsSpace(r):
			end()
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana):
			end()
			words = append(words, string(r))
		default:
			word.WriteRune(r)
		}
	}
	end()
	return words
}

// SoftOverlong punishes length near its limit (DAPO, arXiv 2503.14476, eq. 13): 0 up to limit-margin tokens, then falling evenly
// to -1 at limit, and -1 beyond.
func SoftOverlong(limit, margin int) Func {
	return Named("soft_overlong_punishment", func(_ context.Context, s Sample) (Score, error) {
		if margin < 1 || margin > limit {
			return Score{}, fmt.Errorf("reward: soft overlong punishment: margin %d of limit %d: want 1 to the limit", margin, limit)
		}
		over := len(s.Tokens) - (limit - margin)
		return Scored(-min(max(float64(over)/float64(margin), 0), 1)), nil
	})
}

// step finds the marks of step-by-step writing: "Step 1:", numbered lines, bullets, and words that open a step.
var step = regexp.MustCompile(`(?:Step \d+:|\A\d+\.|\n(?:\d+\.|-|\*)|First,|Second,|Next,|Finally,)`)

// ReasoningSteps counts marks of step-by-step writing (numbered steps, bullets, "First,", "Next,", "Finally,"): a third each, at
// most 1. It is easily gamed; R1-Zero used no such reward.
var ReasoningSteps = Named("reasoning_steps", func(_ context.Context, s Sample) (Score, error) {
	return Scored(min(float64(len(step.FindAllString(s.Completion, -1)))/3, 1)), nil
})

// TagCount pays a quarter for each of the four tags that stands on lines as R1's template has it, exactly once:
// "<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>".
var TagCount = Named("tag_count", func(_ context.Context, s Sample) (Score, error) {
	total := 0.0
	for _, tag := range []string{"<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"} {
		if strings.Count(s.Completion, tag) == 1 {
			total += 0.25
		}
	}
	return Scored(total), nil
})

// Gate scores f where gate scores more than 0, else 0; f does not run then. Where gate does not score, Gate does not: format first,
// then the answer.
func Gate(gate, f Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		score, err := safely(ctx, gate, s)
		switch v, ok := score.Value(); {
		case !ok:
			return Score{}, err
		case v <= 0:
			return Scored(0), err
		}
		score, err2 := safely(ctx, f, s)
		return score, errors.Join(err, err2)
	}
}

// Route scores each sample with the function that its problem's column names. A row whose column is absent, not text, or names no
// function is not scored, and the error says which.
func Route(column string, to map[string]Func) Func {
	return func(ctx context.Context, s Sample) (Score, error) {
		f, err := routed(column, to, s.Problem)
		if err != nil {
			return Score{}, err
		}
		return safely(ctx, f, s)
	}
}

// RouteGroup is [Route] for functions that compare a group, whose samples have one problem.
func RouteGroup(column string, to map[string]GroupFunc) GroupFunc {
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		if len(group) == 0 {
			return nil, nil
		}
		f, err := routed(column, to, group[0].Problem)
		if err != nil {
			return make([]Score, len(group)), err
		}
		return safelyGroup(ctx, f, group)
	}
}

func routed[F any](column string, to map[string]F, p Problem) (f F, err error) {
	name, ok := p.Columns[column].(string)
	if !ok {
		return f, fmt.Errorf("reward: problem %q: column %q is %v, want the name of a reward", p.ID, column, p.Columns[column])
	}
	if f, ok = to[name]; !ok {
		return f, fmt.Errorf("reward: problem %q: column %q is %q, which names no reward", p.ID, column, name)
	}
	return f, nil
}
