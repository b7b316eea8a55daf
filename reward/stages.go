package reward

import "context"

// R1Zero is the reward of R1-Zero (arXiv 2501.12948 v2, eq. 4): Reward_rule = Reward_acc + Reward_format, of the same weight. R1-Zero used
// nothing else.
func R1Zero(accuracy, format Func) Func { return Sum(accuracy, format) }

// R1First is the reward of R1's first RL stage: R1-Zero's rule and the language's consistency (eq. 7), added directly.
func R1First(rule, language Func) Func { return Sum(rule, language) }

// R1Second is the reward of R1's second RL stage (arXiv 2501.12948 v2, eq. 8 to 10):
//
//	Reward           = Reward_reasoning + Reward_general + Reward_language   (8)
//	Reward_reasoning = Reward_rule                                           (9)
//	Reward_general   = Reward_reward_model + Reward_format                   (10)
//
// reasoning tells which rows have the reasoning part; the others have the general one. rule is [R1Zero]'s, model usually a
// [RewardModel].
func R1Second(reasoning func(p Problem) bool, rule Func, model GroupFunc, format, language Func) GroupFunc {
	forReasoning := SumGroup(Each(rule), Each(language))
	forGeneral := SumGroup(model, Each(format), Each(language))
	return func(ctx context.Context, group []Sample) ([]Score, error) {
		if len(group) > 0 && reasoning(group[0].Problem) {
			return forReasoning(ctx, group)
		}
		return forGeneral(ctx, group)
	}
}
