package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gor1/gor1/reward"
)

// Rewards are the functions that judge completions, by name, and their constants under open-r1's names.
type Rewards struct {
	Funcs        []string  `key:"reward_funcs" help:"names, see docs/rewards.md; their weighted sum is the reward"`
	Weights      []float64 `key:"reward_weights" help:"one a function; absent: 1 each"`
	CosineMinBad float64   `key:"cosine_min_value_wrong" help:"cosine: a wrong answer of the greatest length"`
	CosineMaxBad float64   `key:"cosine_max_value_wrong" help:"cosine: a wrong answer of length 0"`
	CosineMin    float64   `key:"cosine_min_value_correct" help:"cosine: a right answer of the greatest length"`
	CosineMax    float64   `key:"cosine_max_value_correct" help:"cosine: a right answer of length 0"`
	CosineLen    float64   `key:"cosine_max_len" help:"cosine: the greatest length, in characters as open-r1 counts"`
	NGrams       int       `key:"repetition_n_grams" help:"repetition_penalty: words of an n-gram"`
	MaxPenalty   float64   `key:"repetition_max_penalty" help:"repetition_penalty: of a text that only repeats"`
	SoftCache    int       `key:"soft_punish_cache" help:"soft_overlong_punishment: tokens before max_completion_length from where it grows"`
}

func defaultRewards() Rewards {
	return Rewards{
		Funcs: []string{"accuracy", "format"}, CosineMinBad: 0, CosineMaxBad: -0.5, CosineMin: 0.5, CosineMax: 1, CosineLen: 1000, NGrams: 3, MaxPenalty: -1, SoftCache: 4096,
	}
}

// rewardNames is the one table of names. A function judges each completion by itself or compares a group's.
var rewardNames = map[string]func(g *GRPO) (reward.Func, reward.GroupFunc, error){
	"accuracy":                 one(func(*GRPO) reward.Func { return reward.Accuracy }),
	"format":                   one(func(*GRPO) reward.Func { return reward.Format }),
	"think_format":             one(func(*GRPO) reward.Func { return reward.FormatR1 }),
	"tag_count":                one(func(*GRPO) reward.Func { return reward.TagCount }),
	"reasoning_steps":          one(func(*GRPO) reward.Func { return reward.ReasoningSteps }),
	"consistent_steps":         one(func(*GRPO) reward.Func { return reward.ConsistentSteps(reward.Rational) }),
	"repetition_penalty":       one(func(g *GRPO) reward.Func { return reward.RepetitionPenalty(g.NGrams, g.MaxPenalty) }),
	"soft_overlong_punishment": one(func(g *GRPO) reward.Func { return reward.SoftOverlong(g.MaxTokens, min(g.SoftCache, g.MaxTokens)) }),
	"cosine": one(func(g *GRPO) reward.Func {
		c := reward.CosineConfig{RightShort: g.CosineMax, RightLong: g.CosineMin, WrongShort: g.CosineMaxBad, WrongLong: g.CosineMinBad, Max: int(g.CosineLen), Length: reward.CharacterCount}
		return reward.Cosine(c, reward.Accuracy)
	}),
	"length":   group(func(*GRPO) reward.GroupFunc { return reward.Brevity(reward.Accuracy, reward.TokenCount) }),
	"majority": group(func(*GRPO) reward.GroupFunc { return reward.Majority(reward.FinalAnswer, reward.Rational) }),
}

// rewardAliases are names that TRL and open-r1 use for the same functions.
var rewardAliases = map[string]string{
	"accuracy_reward": "accuracy", "reasoning_accuracy_reward": "accuracy", "think_format_reward": "think_format", "format_reward": "format", "get_soft_overlong_punishment": "soft_overlong_punishment",
	"tag_count_reward": "tag_count",
}

func one(f func(g *GRPO) reward.Func) func(g *GRPO) (reward.Func, reward.GroupFunc, error) {
	return func(g *GRPO) (reward.Func, reward.GroupFunc, error) { return f(g), nil, nil }
}

func group(f func(g *GRPO) reward.GroupFunc) func(g *GRPO) (reward.Func, reward.GroupFunc, error) {
	return func(g *GRPO) (reward.Func, reward.GroupFunc, error) { return nil, f(g), nil }
}

// score is the weighted sum of the named functions: those that judge alone, and those that compare.
func (g *GRPO) score() (reward.Func, reward.GroupFunc, error) {
	if len(g.Funcs) == 0 {
		return nil, nil, fmt.Errorf("recipe: reward_funcs is empty; want some of %s", strings.Join(RewardNames(), ", "))
	}
	if len(g.Weights) > 0 && len(g.Weights) != len(g.Funcs) {
		return nil, nil, fmt.Errorf("recipe: %d reward_weights for %d reward_funcs", len(g.Weights), len(g.Funcs))
	}
	var alone []reward.Func
	var compared []reward.GroupFunc
	for i, name := range g.Funcs {
		if to, ok := rewardAliases[name]; ok {
			name = to
		}
		build, ok := rewardNames[name]
		if !ok {
			return nil, nil, fmt.Errorf("recipe: reward_funcs: %q is not a reward; want some of %s", name, strings.Join(RewardNames(), ", "))
		}
		f, c, err := build(g)
		if err != nil {
			return nil, nil, err
		}
		weight := 1.0
		if len(g.Weights) > 0 {
			weight = g.Weights[i]
		}
		if f != nil {
			alone = append(alone, reward.Weight(weight, f))
		} else {
			compared = append(compared, reward.WeightGroup(weight, c))
		}
	}
	var score reward.Func
	var compare reward.GroupFunc
	if len(alone) > 0 {
		score = reward.Sum(alone...)
	}
	if len(compared) > 0 {
		compare = reward.SumGroup(compared...)
	}
	return score, compare, nil
}

// RewardNames lists the names of rewards.
func RewardNames() []string { return slices.Sorted(maps.Keys(rewardNames)) }
