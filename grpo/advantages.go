package grpo

import (
	"fmt"
	"math"
)

// Scale says how rewards become advantages.
type Scale struct {
	// By divides by the standard deviation of the group, of the whole batch, or of nothing.
	By By
	// Population takes the standard deviation over n instead of n-1. DeepSeekMath prints neither; TRL takes n-1.
	Population bool
	// Epsilon is added to the standard deviation. The papers print none; TRL adds 1e-4.
	Epsilon float64
	// LeaveOneOut takes the mean of the group's other rewards as the baseline, as RLOO does (arXiv 2402.14740).
	LeaveOneOut bool
}

// By names what standard deviation divides.
type By int

// Choices of By.
const (
	PerGroup By = iota // of the group: GRPO
	PerBatch           // of all rewards of the batch
	Unscaled           // Dr. GRPO: the difference from the mean as it is
)

// GroupScale is GRPO's: (r - mean) / (std + 1e-4) over the group, n-1, as TRL computes it.
func GroupScale() Scale { return Scale{By: PerGroup, Epsilon: 1e-4} }

// Advantages are the advantages of one group's rewards: (r_i - mean) / (std + 1e-4) (arXiv 2402.03300, section 4.1.2). NaN
// stands for a sample that was not scored: it is left out of mean and deviation and gets advantage 0. A group whose rewards
// are all equal gets exactly 0.
func Advantages(rewards []float64) []float64 {
	return BatchAdvantages([][]float64{rewards}, GroupScale())[0]
}

// BatchAdvantages are the advantages of a batch of groups, rewardsPG[p][g] the reward of sample g of problem p.
func BatchAdvantages(rewardsPG [][]float64, scale Scale) [][]float64 {
	var batch []float64
	for _, rewardsG := range rewardsPG {
		batch = append(batch, scored(rewardsG)...)
	}
	batchStd := deviation(batch, scale.Population)
	out := make([][]float64, len(rewardsPG))
	for p, rewardsG := range rewardsPG {
		out[p] = make([]float64, len(rewardsG))
		known := scored(rewardsG)
		if equal(known) {
			continue
		}
		std := 1.0
		switch scale.By {
		case PerGroup:
			std = deviation(known, scale.Population) + scale.Epsilon
		case PerBatch:
			std = batchStd + scale.Epsilon
		}
		baseline := mean(known)
		for g, r := range rewardsG {
			if math.IsNaN(r) {
				continue
			}
			a := r - baseline
			if scale.LeaveOneOut { // r - (sum - r)/(n-1) = (r - mean) n/(n-1)
				a *= float64(len(known)) / float64(len(known)-1)
			}
			out[p][g] = a / std
		}
	}
	return out
}

func scored(rewards []float64) []float64 {
	known := make([]float64, 0, len(rewards))
	for _, r := range rewards {
		if !math.IsNaN(r) {
			known = append(known, r)
		}
	}
	return known
}

// equal reports that there is nothing to compare: fewer than two rewards, or all the same.
func equal(rewards []float64) bool {
	for _, r := range rewards {
		if r != rewards[0] {
			return false
		}
	}
	return true
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func deviation(v []float64, population bool) float64 {
	n := float64(len(v))
	if !population {
		n--
	}
	if n <= 0 {
		return 0
	}
	m, sum := mean(v), 0.0
	for _, x := range v {
		sum += float64((x - m) * (x - m))
	}
	return math.Sqrt(sum / n)
}

// GDPOAdvantages normalise each reward of several in its own group before they are added up, so that a reward with a small spread
// is not drowned by one with a large: rewardsKPG[k][p][g] is reward k of sample g of problem p. The weighted sums are then normalised
// over the batch (GDPO, arXiv 2601.05242). A NaN reward counts as nothing in its sum; a sample without any gets 0.
func GDPOAdvantages(rewardsKPG [][][]float64, weights []float64, scale Scale) ([][]float64, error) {
	if len(weights) != len(rewardsKPG) || len(weights) == 0 {
		return nil, fmt.Errorf("grpo: GDPO with %d rewards and %d weights", len(rewardsKPG), len(weights))
	}
	sums := make([][]float64, len(rewardsKPG[0]))
	for k, rewardsPG := range rewardsKPG {
		if len(rewardsPG) != len(sums) {
			return nil, fmt.Errorf("grpo: GDPO: reward %d has %d groups, the first %d", k, len(rewardsPG), len(sums))
		}
		for p, group := range BatchAdvantages(rewardsPG, scale) {
			if sums[p] == nil {
				sums[p] = make([]float64, len(group))
			}
			if len(group) != len(sums[p]) {
				return nil, fmt.Errorf("grpo: GDPO: reward %d has %d samples in group %d, the first %d", k, len(group), p, len(sums[p]))
			}
			for g, a := range group {
				sums[p][g] += float64(weights[k] * a)
			}
		}
	}
	return overBatch(rewardsKPG, sums, scale), nil
}

// overBatch normalises sums over the samples of the batch that any reward scored.
func overBatch(rewardsKPG [][][]float64, sums [][]float64, scale Scale) [][]float64 {
	var all []float64
	counts := make([][]bool, len(sums))
	for p := range sums {
		counts[p] = make([]bool, len(sums[p]))
		for g, v := range sums[p] {
			for _, rewardsPG := range rewardsKPG {
				counts[p][g] = counts[p][g] || !math.IsNaN(rewardsPG[p][g])
			}
			if counts[p][g] {
				all = append(all, v)
			}
		}
	}
	m, std := mean(all), deviation(all, scale.Population)+scale.Epsilon
	for p := range sums {
		for g := range sums[p] {
			if counts[p][g] {
				sums[p][g] = (sums[p][g] - m) / std
			}
		}
	}
	return sums
}
