package grpo

import (
	"fmt"
	"math"
	"slices"
)

// Outcomes are what advantages are made of: a batch of groups, their rewards, and the KL to the reference where the reward pays
// for it.
type Outcomes struct {
	Groups  []Group
	Rewards [][]float64   // rewardsPG[p][g]: the reward of sample g of problem p, NaN: not scored
	KL      [][][]float64 // [p][g][t]: log pi_old/pi_ref of each token; nil without KLConfig.InReward
	Beta    float64       // weight of that KL
}

// Paid are the rewards less Beta times the KL summed over each completion (arXiv 2402.14740).
func (o Outcomes) Paid() [][]float64 {
	if o.KL == nil {
		return o.Rewards
	}
	out := make([][]float64, len(o.Rewards))
	for p, rewardsG := range o.Rewards {
		out[p] = make([]float64, len(rewardsG))
		for g, r := range rewardsG {
			sum := 0.0
			for _, kl := range o.KL[p][g] {
				sum += kl
			}
			out[p][g] = r - float64(o.Beta*sum)
		}
	}
	return out
}

// Advantager turns a batch's outcomes into advantages: [p][g] has one for the whole completion or one for each of its tokens.
type Advantager func(o Outcomes) [][][]float64

// Outcome is the Advantager of a function of the rewards alone, KL paid: [RLOOAdvantages], [MaxRLAdvantages] and the like.
func Outcome(f func(rewardsPG [][]float64) [][]float64) Advantager {
	return func(o Outcomes) [][][]float64 {
		out := make([][][]float64, len(o.Groups))
		for p, advG := range f(o.Paid()) {
			for _, a := range advG {
				out[p] = append(out[p], []float64{a})
			}
		}
		return out
	}
}

// RLOOAdvantages are the rewards less the mean of the group's other rewards (RLOO, arXiv 2402.14740). normalize makes them mean
// 0 and deviation 1 over the batch, as TRL's normalize_advantages: (A - mean)/(std + 1e-4), n-1.
func RLOOAdvantages(rewardsPG [][]float64, normalize bool) [][]float64 {
	out := BatchAdvantages(rewardsPG, Scale{By: Unscaled, LeaveOneOut: true})
	if normalize {
		overScored(rewardsPG, out, 1e-4)
	}
	return out
}

// ReinforcePPAdvantages are REINFORCE++-baseline's: rewards less their group's mean, then mean 0 and deviation 1 over the batch
// (arXiv 2501.03262). Its KL term is K2 in the loss.
func ReinforcePPAdvantages(rewardsPG [][]float64) [][]float64 {
	out := BatchAdvantages(rewardsPG, Scale{By: Unscaled})
	overScored(rewardsPG, out, 1e-8)
	return out
}

// overScored normalises advantages over the samples of the batch that are compared with others, in place.
func overScored(rewardsPG, advPG [][]float64, epsilon float64) {
	var all []float64
	compared := func(p, g int) bool { return len(scored(rewardsPG[p])) > 1 && !math.IsNaN(rewardsPG[p][g]) }
	for p := range advPG {
		for g, a := range advPG[p] {
			if compared(p, g) {
				all = append(all, a)
			}
		}
	}
	m, std := mean(all), deviation(all, false)+epsilon
	for p := range advPG {
		for g := range advPG[p] {
			if compared(p, g) {
				advPG[p][g] = (advPG[p][g] - m) / std
			}
		}
	}
}

// ReinforcePP is REINFORCE++ without groups (arXiv 2501.03262): each token's return is the completion's reward less Beta times
// the KL of the tokens from it on, A_t = r - Beta sum_(i>=t) log pi_old/pi_ref, made mean 0 and deviation 1 over all tokens of the batch.
func ReinforcePP(o Outcomes) [][][]float64 {
	out, all := make([][][]float64, len(o.Groups)), []float64(nil)
	for p, g := range o.Groups {
		out[p] = make([][]float64, len(g.Samples))
		for i := range g.Samples {
			n := len(g.Samples[i].Tokens)
			out[p][i] = make([]float64, n)
			if math.IsNaN(o.Rewards[p][i]) {
				continue
			}
			back := o.Rewards[p][i]
			for t := n - 1; t >= 0; t-- {
				if o.KL != nil {
					back -= float64(o.Beta * o.KL[p][i][t])
				}
				out[p][i][t] = back
			}
			all = append(all, out[p][i]...)
		}
	}
	m, std := mean(all), deviation(all, false)+1e-8
	for p := range out {
		for i := range out[p] {
			for t := range out[p][i] {
				if !math.IsNaN(o.Rewards[p][i]) {
					out[p][i][t] = (out[p][i][t] - m) / std
				}
			}
		}
	}
	return out
}

// GPGAdvantages are rewards less their group's mean, times P/(P - Z) with Z of the P groups without variance, whose gradient is 0
// (GPG, arXiv 2504.02546). It goes with [PolicyGradient] and [PerToken].
func GPGAdvantages(rewardsPG [][]float64) [][]float64 {
	out, zero := BatchAdvantages(rewardsPG, Scale{By: Unscaled}), 0
	for _, rewardsG := range rewardsPG {
		if equal(scored(rewardsG)) {
			zero++
		}
	}
	if zero == len(rewardsPG) {
		return out // all 0
	}
	for _, advG := range out {
		for g := range advG {
			advG[g] *= float64(len(rewardsPG)) / float64(len(rewardsPG)-zero)
		}
	}
	return out
}

// MaxRLAdvantages are (r - mean)/mean over the group (MaxRL, arXiv 2602.02710): for rewards of 0 and 1 the gradient of log pass@1, the
// likelihood of a right answer, so that hard problems weigh more. Rewards are 0 or more; a group whose mean is not above 0 gets 0.
func MaxRLAdvantages(rewardsPG [][]float64) [][]float64 {
	out := BatchAdvantages(rewardsPG, Scale{By: Unscaled})
	for p, advG := range out {
		m := mean(scored(rewardsPG[p]))
		for g := range advG {
			if !(m > 0) { // nothing is right, or the rewards are none of MaxRL's: their quotient would point the wrong way
				advG[g] = 0
			} else {
				advG[g] /= m
			}
		}
	}
	return out
}

// PassAtK are the advantages of pass@k training in closed form (arXiv 2508.10751, its analytical form): among the group's n samples, m of them
// wrong (reward not above 0), a set of k has reward 1 if one of it is right, its advantage is normalised over all sets, and a sample's is
// the mean over the sets it is in:
//
//	R = 1 - C(m,k)/C(n,k),  s = sqrt(R (1-R)),  A_right = (1-R)/s,  A_wrong = (1 - R - C(m-1,k-1)/C(n-1,k-1))/s
//
// k must be 1 or more; a group with fewer scored samples than k, or all sets alike, gets 0.
func PassAtK(k int) func(rewardsPG [][]float64) [][]float64 {
	return func(rewardsPG [][]float64) [][]float64 {
		out := make([][]float64, len(rewardsPG))
		for p, rewardsG := range rewardsPG {
			out[p] = make([]float64, len(rewardsG))
			n, m := len(scored(rewardsG)), 0
			for _, r := range scored(rewardsG) {
				if !(r > 0) {
					m++
				}
			}
			if k < 1 || n < k {
				continue
			}
			r := 1 - chooseRatio(m, n, k)
			s := math.Sqrt(r * (1 - r))
			if s == 0 {
				continue
			}
			for g, v := range rewardsG {
				switch {
				case v > 0:
					out[p][g] = (1 - r) / s
				case !math.IsNaN(v):
					out[p][g] = (1 - r - chooseRatio(m-1, n-1, k-1)) / s
				}
			}
		}
		return out
	}
}

// chooseRatio is C(m,k)/C(n,k) for m <= n.
func chooseRatio(m, n, k int) float64 {
	if m < k {
		return 0
	}
	ratio := 1.0
	for i := range k {
		ratio *= float64(m-i) / float64(n-i)
	}
	return ratio
}

// StepReward is a reward at the end of one step of a completion.
type StepReward struct {
	End   int // index of the step's last token
	Value float64
}

// Process are the advantages of process supervision (arXiv 2402.03300, section 4.1.3): all step rewards of a group are made mean 0 and
// deviation 1 (n-1, + 1e-4), and a token's advantage is the sum of those of the steps that end at it or later. steps judges a sample, ends
// ascending; a sample without steps gets 0, as one that is not scored does.
func Process(steps func(g Group, s Sample) []StepReward) Advantager {
	return func(o Outcomes) [][][]float64 {
		out := make([][][]float64, len(o.Groups))
		for p, g := range o.Groups {
			stepsG, lengths := make([][]StepReward, len(g.Samples)), make([]int, len(g.Samples))
			for i, s := range g.Samples {
				lengths[i] = len(s.Tokens)
				if !math.IsNaN(o.Rewards[p][i]) {
					stepsG[i] = steps(g, s)
				}
			}
			out[p] = ProcessAdvantages(stepsG, lengths)
		}
		return out
	}
}

// ProcessAdvantages are [Process]'s for one group: stepsG[g] are sample g's step rewards and lengths[g] its tokens. Steps that end outside
// the completion count at its last token.
func ProcessAdvantages(stepsG [][]StepReward, lengths []int) [][]float64 {
	var all []float64
	for _, steps := range stepsG {
		for _, s := range steps {
			all = append(all, s.Value)
		}
	}
	m, std := mean(all), deviation(all, false)+1e-4
	out := make([][]float64, len(stepsG))
	for g, steps := range stepsG {
		out[g] = make([]float64, lengths[g])
		if equal(all) {
			continue
		}
		for _, s := range steps {
			for t := 0; t <= min(s.End, lengths[g]-1); t++ {
				out[g][t] += (s.Value - m) / std
			}
		}
	}
	return out
}

// check refuses advantages of another shape than the groups, and what is no number.
func (o Outcomes) check(advPG [][][]float64) error {
	if len(advPG) != len(o.Groups) {
		return fmt.Errorf("advantages of %d groups for %d", len(advPG), len(o.Groups))
	}
	for p, g := range o.Groups {
		if len(advPG[p]) != len(g.Samples) {
			return fmt.Errorf("group %d: advantages of %d samples for %d", p, len(advPG[p]), len(g.Samples))
		}
		for i, adv := range advPG[p] {
			if at := slices.IndexFunc(adv, func(a float64) bool { return a-a != 0 }); at >= 0 {
				return fmt.Errorf("group %d, sample %d: an advantage of %g", p, i, adv[at])
			}
		}
	}
	return nil
}
