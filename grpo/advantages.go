package grpo

import "math"

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
