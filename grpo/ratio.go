package grpo

import "github.com/gor1/gor1/kernels"

// Ratio gives each token's importance ratio from log-probs' differences new - old [T].
type Ratio func(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor

// TokenRatio is GRPO's: each token its own exp(new_t - old_t) (arXiv 2402.03300, eq. 3).
func TokenRatio(s *kernels.Scope, diffT *kernels.Tensor, _ LossInput) *kernels.Tensor {
	return s.Exp(diffT)
}

// SequenceRatio is GSPO's: every token of a completion has exp(mean of new - old over its tokens), the ratio of the whole
// completion's probabilities to the power 1/|o| (arXiv 2507.18071).
func SequenceRatio(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor {
	lenN := s.Max(s.SegSum(in.MaskT, in.Segs), s.Full(1, 1))
	meanN := s.Div(s.SegSum(s.Mul(diffT, in.MaskT), in.Segs), lenN)
	return s.SegSpread(s.Exp(meanN), in.Segs)
}

// WholeRatio is pi(o)/pi_old(o) of the whole completion at each of its tokens, with no root: what DeepSeek-R1 prints
// (arXiv 2501.12948, eq. 1) and what RLOO uses (arXiv 2402.14740). With [PerSequence] a completion counts once.
func WholeRatio(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor {
	return s.SegSpread(s.Exp(s.SegSum(s.Mul(diffT, in.MaskT), in.Segs)), in.Segs)
}

// GeometricRatio is GMPO's: the geometric mean over a completion of token ratios that are clipped one by one in log space, on the
// side where they would gain, at most epsilon (arXiv 2507.20673, algorithm 1; 0.4 there). It goes with [Unclipped] and
// [PerSequence].
func GeometricRatio(epsilon float32) Ratio {
	return func(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor {
		zero := s.Full(0, 1)
		// A > 0: min(d, epsilon); A < 0: max(d, -epsilon)
		clippedT := s.Where(s.Less(in.AdvT, zero), s.Max(diffT, s.Full(-epsilon, 1)), s.Min(diffT, s.Full(epsilon, 1)))
		return SequenceRatio(s, clippedT, in)
	}
}
