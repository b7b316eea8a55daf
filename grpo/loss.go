package grpo

import (
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
)

// Shape suffixes in this package: T packed completion tokens, N completions, G samples of a group, P problems.

// Totals are the whole batch's, whatever part of it a call sees: a normaliser that is passed in makes the gradient of a
// batch independent of how it was split into micro-batches.
type Totals struct {
	Sequences int // completions that count
	Tokens    int // their tokens
	MaxTokens int // the length limit of a completion; used by Constant
	Active    int // tokens the entropy bonus is a mean over: those a Selector leaves; 0: Tokens
}

func (t Totals) active() int {
	if t.Active > 0 {
		return t.Active
	}
	return max(t.Tokens, 1)
}

// Normalizer gives each token's weight in the loss, from a mask of 0 and 1, the completions' extents and the totals.
type Normalizer func(s *kernels.Scope, maskT *kernels.Tensor, segs kernels.Segs, totals Totals) *kernels.Tensor

// PerSequence weighs a token 1/(N |o_i|): the mean over a completion's tokens, then over completions, as in GRPO
// (arXiv 2402.03300, eq. 3). A token of a long completion counts less.
func PerSequence(s *kernels.Scope, maskT *kernels.Tensor, segs kernels.Segs, totals Totals) *kernels.Tensor {
	lenN := s.Max(s.SegSum(maskT, segs), s.Full(1, 1))
	shareN := s.Affine(s.Reciprocal(lenN), float32(1/float64(totals.Sequences)), 0)
	return s.Mul(maskT, s.SegSpread(shareN, segs))
}

// PerToken weighs every token of the batch alike, 1/sum |o_i|, as in DAPO (arXiv 2503.14476, eq. 8).
func PerToken(s *kernels.Scope, maskT *kernels.Tensor, segs kernels.Segs, totals Totals) *kernels.Tensor {
	return s.Affine(maskT, float32(1/float64(totals.Tokens)), 0)
}

// Constant weighs a token 1/(N L) with L the length limit, as in Dr. GRPO (arXiv 2503.20783, section 3.2): no bias
// towards short right or long wrong answers.
func Constant(s *kernels.Scope, maskT *kernels.Tensor, segs kernels.Segs, totals Totals) *kernels.Tensor {
	return s.Affine(maskT, float32(1/(float64(totals.Sequences)*float64(totals.MaxTokens))), 0)
}

// PerCompletion weighs a token 1/N: the sum over a completion's tokens, then the mean over completions, as in LUSPO, where a
// long completion counts for its length.
func PerCompletion(s *kernels.Scope, maskT *kernels.Tensor, segs kernels.Segs, totals Totals) *kernels.Tensor {
	return s.Affine(maskT, float32(1/float64(totals.Sequences)), 0)
}

// LossConfig is the objective's constants and parts.
type LossConfig struct {
	EpsilonLow  float32    // the ratio is clipped below at 1 - EpsilonLow; GRPO's epsilon
	EpsilonHigh float32    // and above at 1 + EpsilonHigh; DAPO's clip-higher sets it larger
	Delta       float32    // bounds the ratio where A < 0: two-sided clipping; 0: no bound
	Beta        float32    // weight of the KL term; 0 leaves it, and the reference, out
	Entropy     float32    // weight of the entropy bonus, a mean over tokens; 0 leaves it out
	Normalize   Normalizer // PerSequence, PerToken, Constant, PerCompletion or the program's own
	Ratio       Ratio      // TokenRatio (nil), SequenceRatio, WholeRatio, GeometricRatio
	Surrogate   Surrogate  // Clipped (nil), Unclipped, PolicyGradient, CISPO, SAPO, VESPO or the program's own
	Mask        Mask       // OffPolicy, DPPO's or the program's own; nil: every token keeps its gradient
	KL          Estimator  // K3 (nil), K1, K2, Unbiased or Whole of one; not asked where KLT is given
}

// LossInput is packed over the T tokens of the completions at hand. All tensors are fp32 [T]; nil is "not there".
type LossInput struct {
	NewT     *kernels.Tensor // log-probs under the policy being trained; the gradient flows here
	OldT     *kernels.Tensor // under the policy that sampled; nil: the policy itself, ratio 1
	SampledT *kernels.Tensor // as the engine that sampled reported them, NaN where it did not; nil: OldT. Read by OffPolicy
	RefT     *kernels.Tensor // under the reference; needed with Beta > 0 and no KLT
	KLT      *kernels.Tensor // exact KL to the reference, from kernels.Scope.HeadKL, with its gradient: takes the estimator's place
	EntropyT *kernels.Tensor // entropies of the policy, with their gradient, for the bonus
	AdvT     *kernels.Tensor // the completion's advantage, at each of its tokens, or each token's own
	MaskT    *kernels.Tensor // 1 where a token counts, 0 where not
	WeightT  *kernels.Tensor // factor of each token's policy term and entropy, from a [Selector]; nil: 1
	CorrectT *kernels.Tensor // importance weights against the engine that sampled, from a [Correction]; nil: 1
	PenaltyT *kernels.Tensor // weight of |new - old| for each token, from [KLCov]; nil: 0
	Segs     kernels.Segs    // the completions, without parents
	Totals
}

// Loss is GRPO's objective, negated and summed over the tokens at hand (arXiv 2402.03300, eq. 3 and 4):
//
//	r_t = exp(new_t - old_t)
//	L = -sum_t w_t ( min(r_t A_t, clip(r_t, 1-EpsilonLow, 1+EpsilonHigh) A_t) - Beta k3_t )
//	k3_t = exp(ref_t - new_t) - (ref_t - new_t) - 1
//
// with w_t from cfg.Normalize, and r_t, the min and k3 in their other published forms from cfg.Ratio, cfg.Surrogate and cfg.KL;
// docs/rl-losses.md lists which parts make which paper. It returns the loss [1]; its gradient with respect to new_t at ratio 1 is
// -w_t (A_t + Beta (exp(ref_t - new_t) - 1)), their eq. 21. Summed over micro-batches of one batch (Totals the whole
// batch's) it is the batch's loss.
func Loss(s *kernels.Scope, cfg LossConfig, in LossInput) (*kernels.Tensor, Stats) {
	onPolicy := in.OldT == nil
	if onPolicy {
		in.OldT = s.Detach(in.NewT)
	}
	ratio, surrogate, estimate := cfg.Ratio, cfg.Surrogate, cfg.KL
	if ratio == nil {
		ratio = TokenRatio
	}
	if surrogate == nil {
		surrogate = Clipped
	}
	if estimate == nil {
		estimate = K3
	}
	diffT := s.Minus(in.NewT, in.OldT)
	ratioT := ratio(s, diffT, in)
	lossT := s.Neg(surrogate(s, cfg, ratioT, in))
	if cfg.Mask != nil {
		lossT = s.Mul(lossT, s.Detach(cfg.Mask(s, s.Detach(diffT), in)))
	}
	if in.WeightT != nil {
		lossT = s.Mul(lossT, in.WeightT)
	}
	if in.PenaltyT != nil {
		lossT = s.Add(lossT, s.Mul(s.Abs(diffT), in.PenaltyT))
	}
	var klT *kernels.Tensor
	if cfg.Beta > 0 {
		if klT = in.KLT; klT == nil {
			klT = estimate(s, ratioT, in)
		}
		lossT = s.Add(lossT, s.Affine(klT, cfg.Beta, 0))
	}
	loss := s.Sum(s.Mul(lossT, cfg.Normalize(s, in.MaskT, in.Segs, in.Totals)))
	var entropy *kernels.Tensor
	if cfg.Entropy != 0 && in.EntropyT == nil {
		s.Fail(fmt.Errorf("grpo: the entropy bonus has weight %g but there are no entropies", cfg.Entropy))
	}
	if in.EntropyT != nil {
		entropy = s.Sum(s.Mul(in.EntropyT, in.activeT(s)))
		loss = s.Minus(loss, s.Affine(entropy, cfg.Entropy/float32(in.active()), 0))
	}
	if onPolicy {
		in.OldT = nil
	}
	st := lossStats(s, cfg, in, loss, klT)
	if entropy != nil {
		var sum [1]float32
		s.Read(entropy, sum[:])
		st.EntropySum = float64(sum[0])
	}
	return loss, st
}

// activeT is 1 for the tokens that the policy term keeps.
func (in LossInput) activeT(s *kernels.Scope) *kernels.Tensor {
	if in.WeightT == nil {
		return in.MaskT
	}
	return s.Mul(in.MaskT, in.WeightT)
}

// Stats are sums over the tokens of a loss; a batch's are its micro-batches' added up with Add, and the means are methods.
type Stats struct {
	Loss       float64 // sum of the losses
	Tokens     float64 // tokens that count
	ClipLow    float64 // tokens where the clip took the gradient away below (A < 0)
	ClipHigh   float64 // and above (A > 0)
	KL         float64 // sum of the KL term's estimates, or of what the reward paid for it; 0 without one
	EntropySum float64 // sum over the tokens the policy term keeps of the policy's entropy; 0 without a bonus
	MaxDrift   float64 // largest |new - old|: in the first epoch of exact sampling it is 0
}

// Add adds up the statistics of two micro-batches.
func (a Stats) Add(b Stats) Stats {
	return Stats{
		Loss: a.Loss + b.Loss, Tokens: a.Tokens + b.Tokens, ClipLow: a.ClipLow + b.ClipLow, ClipHigh: a.ClipHigh + b.ClipHigh,
		KL: a.KL + b.KL, EntropySum: a.EntropySum + b.EntropySum, MaxDrift: max(a.MaxDrift, b.MaxDrift),
	}
}

func lossStats(s *kernels.Scope, cfg LossConfig, in LossInput, loss, klT *kernels.Tensor) Stats {
	n := in.NewT.Len()
	host := func(t *kernels.Tensor) []float32 {
		v := make([]float32, n)
		if t != nil {
			s.Read(t, v)
		}
		return v
	}
	newT, advT, maskT := host(in.NewT), host(in.AdvT), host(in.MaskT)
	oldT := newT
	if in.OldT != nil {
		oldT = host(in.OldT)
	}
	var total [1]float32
	s.Read(loss, total[:])
	st := Stats{Loss: float64(total[0])}
	for t, m := range maskT {
		if m == 0 {
			continue
		}
		drift := float64(newT[t]) - float64(oldT[t])
		ratio := math.Exp(drift)
		st.Tokens++
		st.MaxDrift = max(st.MaxDrift, math.Abs(drift))
		if advT[t] < 0 && ratio < 1-float64(cfg.EpsilonLow) {
			st.ClipLow++
		}
		if advT[t] > 0 && ratio > 1+float64(cfg.EpsilonHigh) {
			st.ClipHigh++
		}
	}
	if klT != nil {
		for t, kl := range host(klT) {
			st.KL += float64(maskT[t]) * float64(kl)
		}
	}
	return st
}
