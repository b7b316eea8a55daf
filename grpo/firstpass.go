package grpo

import (
	"math"
	"slices"

	"github.com/gor1/gor1/kernels"
)

// TokenStats are what is known of a batch's tokens before the first gradient, in canonical order: the statistics that losses over a
// whole batch are made of. They come from the log-probs of sampling, so that they are the same for every epoch and micro-batch.
type TokenStats struct {
	LogP      []float32 // when sampled
	Entropy   []float32 // of the distribution it was drawn from
	Advantage []float32
	Step      uint32 // optimiser steps so far, for random choices
}

// Selector gives every token of a batch a number from the batch's statistics: a factor of its policy term ([TopEntropy], [ClipCov])
// or the weight of a penalty ([KLCov]).
type Selector func(b TokenStats) []float32

// TopEntropy keeps the share of tokens with the highest entropy and takes the others' policy term away: "high-entropy minority tokens"
// (arXiv 2506.01939; share 0.2 there). A token is kept if its entropy is at least the (1 - share)-quantile, which is
// interpolated as numpy and torch do.
func TopEntropy(share float64) Selector {
	return func(b TokenStats) []float32 {
		sorted := slices.Clone(b.Entropy)
		slices.Sort(sorted)
		weights := make([]float32, len(sorted))
		if len(sorted) == 0 {
			return weights
		}
		// in float32 throughout, as torch.quantile of float32 values
		rank := float32(1-share) * float32(len(sorted)-1)
		below := int(rank)
		above := min(below+1, len(sorted)-1)
		threshold := float32(float64((rank-float32(below))*(sorted[above]-sorted[below]))) + sorted[below]
		for i, h := range b.Entropy {
			if h >= threshold {
				weights[i] = 1
			}
		}
		return weights
	}
}

// covariances are each token's part of the covariance of log-prob and advantage (arXiv 2505.22617, eq. 10).
func covariances(b TokenStats) []float64 {
	var logp, adv float64
	for i := range b.LogP {
		logp, adv = logp+float64(b.LogP[i]), adv+float64(b.Advantage[i])
	}
	n := float64(len(b.LogP))
	cov := make([]float64, len(b.LogP))
	for i := range cov {
		cov[i] = (float64(b.LogP[i]) - logp/n) * (float64(b.Advantage[i]) - adv/n)
	}
	return cov
}

// ClipCov takes the policy term of a random share of the batch's tokens away, chosen among those whose covariance lies in low..high
// (Clip-Cov, arXiv 2505.22617, eq. 11 and 12). The draw is a function of the seed, the step and the token's place.
func ClipCov(share, low, high float64, seed uint64) Selector {
	return func(b TokenStats) []float32 {
		weights := make([]float32, len(b.LogP))
		type draw struct {
			token int
			u     float64
		}
		var in []draw
		for i, c := range covariances(b) {
			weights[i] = 1
			if c >= low && c <= high {
				in = append(in, draw{i, kernels.Uniform([2]uint32{uint32(seed), uint32(seed >> 32)}, [4]uint32{b.Step, uint32(i)})})
			}
		}
		slices.SortFunc(in, func(x, y draw) int {
			if x.u != y.u {
				return int(math.Copysign(1, x.u-y.u))
			}
			return x.token - y.token
		})
		for _, d := range in[:min(len(in), int(share*float64(len(b.LogP))))] {
			weights[d.token] = 0
		}
		return weights
	}
}

// KLCov gives the share of the batch's tokens with the largest covariance the weight coefficient, the others 0, for the penalty
// on |new - old|: KL-Cov (arXiv 2505.22617, eq. 13 and 14; the paper leaves the estimator of its KL term open, its authors' code takes
// the absolute log ratio). It goes with [Unclipped]. Ties: the earlier token.
func KLCov(share float64, coefficient float32) Selector {
	return func(b TokenStats) []float32 {
		cov := covariances(b)
		order := make([]int, len(cov))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(x, y int) int {
			switch {
			case cov[x] > cov[y]:
				return -1
			case cov[x] < cov[y]:
				return 1
			}
			return 0
		})
		weights := make([]float32, len(cov))
		for _, i := range order[:int(share*float64(len(cov)))] {
			weights[i] = coefficient
		}
		return weights
	}
}

// Correction makes importance weights pi_old/pi_sampled for samples that another engine drew, whose log-probs are not the trainer's
// to the bit (TRL's vllm_importance_sampling_*).
type Correction struct {
	Sequence bool    // one weight a completion, from the sum of its tokens' differences
	Mask     bool    // a weight outside Min..Max becomes 0; else it is clamped
	Min, Max float64 // bounds; Max 0: none
}

// Weights are one completion's: old are the trainer's log-probs and sampled the engine's, NaN where it reported none (weight 1).
func (c Correction) Weights(old, sampled []float32) []float32 {
	diff, sum := make([]float64, len(old)), 0.0
	for i := range old {
		if d := float64(old[i]) - float64(sampled[i]); !math.IsNaN(d) {
			diff[i] = d
		}
		sum += diff[i]
	}
	weights := make([]float32, len(old))
	for i, d := range diff {
		if c.Sequence {
			d = sum
		}
		w, most := math.Exp(d), c.Max
		if most == 0 {
			most = math.Inf(1)
		}
		switch {
		case !c.Mask:
			w = min(max(w, c.Min), most)
		case w < c.Min || w > most:
			w = 0
		}
		weights[i] = float32(w)
	}
	return weights
}
