package grpo

import (
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

// LossConfig is the objective's constants.
type LossConfig struct {
	EpsilonLow  float32    // the ratio is clipped below at 1 - EpsilonLow; GRPO's epsilon
	EpsilonHigh float32    // and above at 1 + EpsilonHigh; DAPO's clip-higher sets it larger
	Beta        float32    // weight of the KL term; 0 leaves it, and the reference, out
	Normalize   Normalizer // PerSequence, PerToken, Constant, PerCompletion or the program's own
	Delta       float32    // bounds the ratio where A < 0: two-sided clipping; 0: no bound
	Ratio       Ratio      // TokenRatio (nil) or SequenceRatio
	Surrogate   Surrogate  // Clipped (nil), CISPO, SAPO or the program's own
	UnbiasedKL  bool       // weigh k3 by the ratio, so that its gradient is the KL's under the sampling policy too
}

// LossInput is packed over the T tokens of the completions at hand. All tensors are fp32 [T].
type LossInput struct {
	NewT  *kernels.Tensor // log-probs under the policy being trained; the gradient flows here
	OldT  *kernels.Tensor // under the policy that sampled; nil: the policy itself, ratio 1
	RefT  *kernels.Tensor // under the reference; needed only with Beta > 0
	AdvT  *kernels.Tensor // the completion's advantage, at each of its tokens
	MaskT *kernels.Tensor // 1 where a token counts, 0 where not
	Segs  kernels.Segs    // the completions, without parents
	Totals
}

// Loss is GRPO's objective, negated and summed over the tokens at hand (arXiv 2402.03300, eq. 3 and 4):
//
//	r_t = exp(new_t - old_t)
//	L = -sum_t w_t ( min(r_t A_t, clip(r_t, 1-EpsilonLow, 1+EpsilonHigh) A_t) - Beta k3_t )
//	k3_t = exp(ref_t - new_t) - (ref_t - new_t) - 1
//
// with w_t from cfg.Normalize, and r_t and the min in its other published forms from cfg.Ratio and cfg.Surrogate. It returns the loss [1]; its gradient with respect to new_t at ratio 1 is
// -w_t (A_t + Beta (exp(ref_t - new_t) - 1)), their eq. 21. Summed over micro-batches of one batch (Totals the whole
// batch's) it is the batch's loss.
func Loss(s *kernels.Scope, cfg LossConfig, in LossInput) (*kernels.Tensor, Stats) {
	oldT := in.OldT
	if oldT == nil {
		oldT = s.Detach(in.NewT)
	}
	ratio, surrogate := cfg.Ratio, cfg.Surrogate
	if ratio == nil {
		ratio = TokenRatio
	}
	if surrogate == nil {
		surrogate = Clipped
	}
	ratioT := ratio(s, s.Minus(in.NewT, oldT), in)
	lossT := s.Neg(surrogate(s, cfg, ratioT, in))
	if cfg.Beta > 0 {
		klT := k3(s, in.NewT, in.RefT)
		if cfg.UnbiasedKL {
			klT = s.Mul(klT, ratioT)
		}
		lossT = s.Add(lossT, s.Affine(klT, cfg.Beta, 0))
	}
	loss := s.Sum(s.Mul(lossT, cfg.Normalize(s, in.MaskT, in.Segs, in.Totals)))
	return loss, lossStats(s, cfg, in, loss)
}

// k3 is the estimator exp(d) - d - 1, d = ref - new, of KL(policy || reference): unbiased, never negative (eq. 4).
func k3(s *kernels.Scope, newT, refT *kernels.Tensor) *kernels.Tensor {
	dT := s.Minus(refT, newT)
	return s.Affine(s.Minus(s.Exp(dT), dT), 1, -1)
}

// Stats are sums over the tokens of a loss; a batch's are its micro-batches' added up with Add, and the means are methods.
type Stats struct {
	Loss     float64 // sum of the losses
	Tokens   float64 // tokens that count
	ClipLow  float64 // tokens where the clip took the gradient away below (A < 0)
	ClipHigh float64 // and above (A > 0)
	KL       float64 // sum of k3; 0 without a reference
	MaxDrift float64 // largest |new - old|: in the first epoch of exact sampling it is 0
}

// Add adds up the statistics of two micro-batches.
func (a Stats) Add(b Stats) Stats {
	return Stats{
		Loss: a.Loss + b.Loss, Tokens: a.Tokens + b.Tokens, ClipLow: a.ClipLow + b.ClipLow, ClipHigh: a.ClipHigh + b.ClipHigh,
		KL: a.KL + b.KL, MaxDrift: max(a.MaxDrift, b.MaxDrift),
	}
}

func lossStats(s *kernels.Scope, cfg LossConfig, in LossInput, loss *kernels.Tensor) Stats {
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
	if cfg.Beta > 0 {
		for t, ref := range host(in.RefT) {
			d := float64(ref) - float64(newT[t])
			st.KL += float64(maskT[t]) * (math.Expm1(d) - d)
		}
	}
	return st
}
