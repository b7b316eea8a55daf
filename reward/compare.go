package reward

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Equal says whether two answers are the same mathematics. Its error says that it cannot tell. Package mathx has the full one;
// [Rational] is exact arithmetic on plain numbers.
type Equal func(gold, answer string) (bool, error)

// Majority pays 1 to the samples whose answer is their group's commonest one, as equal sees it, and 0 to the others; it needs no
// label. Samples without an answer vote for nothing and get 0. Where two answers share the first place, or nobody agrees with
// anybody, no sample is scored. answer finds a sample's answer; nil is [FinalAnswer]. (Test-time reinforcement learning, arXiv
// 2504.16084, eq. 1 to 3.) It rewards agreement, not truth: watch a held-out label beside it.
func Majority(answer func(s Sample) (string, bool), equal Equal) GroupFunc {
	if answer == nil {
		answer = FinalAnswer
	}
	return NamedGroup("majority", func(_ context.Context, group []Sample) ([]Score, error) {
		class, votes := make([]int, len(group)), []int(nil)
		var first []string // of each class
		for i, s := range group {
			class[i] = -1
			a, ok := answer(s)
			if !ok {
				continue
			}
			class[i] = len(first)
			for c, b := range first {
				if same, err := equal(b, a); err == nil && same {
					class[i] = c
					break
				}
			}
			if class[i] == len(first) {
				first, votes = append(first, a), append(votes, 0)
			}
			votes[class[i]]++
		}
		best, shared := -1, false
		for c, n := range votes {
			switch {
			case best < 0 || n > votes[best]:
				best, shared = c, false
			case n == votes[best]:
				shared = true
			}
		}
		scores := make([]Score, len(group))
		if best < 0 || shared || votes[best] < 2 {
			return scores, nil
		}
		for i := range scores {
			scores[i] = Scored(0)
			if class[i] == best {
				scores[i] = Scored(1)
			}
		}
		return scores, nil
	})
}

// Brevity pays right answers for being shorter than the rest of their group, and charges wrong ones for being longer (Kimi k1.5,
// arXiv 2501.12599, section 2.3.3): lambda = 0.5 - (length - shortest) / (longest - shortest); a right answer gets lambda, a wrong
// one min(0, lambda), all 0 where every length is the same. right scores 1 or more where the answer is right; a sample it does
// not score is not scored and counts for no length. length nil is [TokenCount].
func Brevity(right Func, length Length) GroupFunc {
	if length == nil {
		length = TokenCount
	}
	return NamedGroup("length", func(ctx context.Context, group []Sample) ([]Score, error) {
		scores := make([]Score, len(group))
		var errs []error
		shortest, longest := 0, -1
		for i, s := range group {
			score, err := safely(ctx, right, s)
			errs = append(errs, err)
			if _, ok := score.Value(); !ok {
				continue
			}
			scores[i] = score
			n := length(s)
			if longest < 0 {
				shortest, longest = n, n
			}
			shortest, longest = min(shortest, n), max(longest, n)
		}
		for i, s := range group {
			v, ok := scores[i].Value()
			if !ok {
				continue
			}
			lambda := 0.0
			if longest > shortest {
				lambda = 0.5 - float64(length(s)-shortest)/float64(longest-shortest)
			}
			if v < 1 {
				lambda = min(0, lambda)
			}
			scores[i] = Scored(lambda)
		}
		return scores, errors.Join(errs...)
	})
}

// Scorer is a reward model: it scores completions to prompts, in batches. Higher is better; the scale is the model's.
type Scorer interface {
	// Score returns one number for each prompt and completion of the same index.
	Score(ctx context.Context, prompts, completions []string) ([]float64, error)
}

// RewardModel scores completions with m, a batch being a group. show is the part of a sample that m reads: [Summary] for R1's
// helpfulness model (arXiv 2501.12948 v2, section 3.1). A sample that was cut or shows nothing is not shown
// to m, which never learnt to judge it: it gets the lowest score of its group, and none where nobody has one.
func RewardModel(m Scorer, show func(s Sample) string) GroupFunc {
	return NamedGroup("reward_model", scoredBy(m, show))
}

// SafetyModel is [RewardModel] for one that reads the [Whole] completion, as R1's safety model does, under its own name.
func SafetyModel(m Scorer) GroupFunc { return NamedGroup("safety_model", scoredBy(m, Whole)) }

func scoredBy(m Scorer, show func(s Sample) string) GroupFunc {
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		var prompts, texts []string
		var shown, hollow []int
		for i, s := range group {
			text := show(s)
			if s.Truncated || blank(text) {
				hollow = append(hollow, i)
				continue
			}
			prompts, texts, shown = append(prompts, s.Problem.Prompt), append(texts, text), append(shown, i)
		}
		scores := make([]Score, len(group))
		if len(shown) == 0 {
			return scores, nil
		}
		values, err := m.Score(ctx, prompts, texts)
		if err != nil {
			return nil, fmt.Errorf("reward: reward model: %w", err)
		}
		if len(values) != len(shown) {
			return nil, fmt.Errorf("%w: the reward model gave %d for %d completions", ErrCount, len(values), len(shown))
		}
		var errs []error
		var lowest Score
		for i, v := range values {
			score := Scored(v)
			if scores[shown[i]] = score; !score.scored {
				errs = append(errs, fmt.Errorf("reward: reward model: sample %d: %g is not a score", shown[i], v))
			} else if !lowest.scored || v < lowest.value {
				lowest = score
			}
		}
		for _, i := range hollow {
			scores[i] = lowest
		}
		return scores, errors.Join(errs...)
	}
}

// Whole is all of a completion.
func Whole(s Sample) string { return s.Completion }

// Summary is what a completion says after its reasoning: the answer alone where the format is kept, else what follows the last
// </think>, else nothing.
func Summary(s Sample) string {
	if _, answer, ok := Parse(s.Completion); ok {
		return answer
	}
	_, answer, _ := ParseR1(s.Problem.Prompt, s.Completion)
	if strings.Contains(answer, "<answer>") || strings.Contains(answer, "</answer>") {
		return "" // R1-Zero's format, broken
	}
	return answer
}
