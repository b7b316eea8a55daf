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

// Surrogate gives each token's objective [T], to be maximised, from its ratio.
type Surrogate func(s *kernels.Scope, cfg LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor

// Clipped is PPO's and GRPO's: min(r A, clip(r, 1-EpsilonLow, 1+EpsilonHigh) A) (arXiv 2402.03300, eq. 3). With cfg.Delta the
// first r is at most Delta, which bounds it where A < 0 (two-sided clipping, arXiv 2505.07291).
func Clipped(s *kernels.Scope, cfg LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
	clippedT := s.Clamp(ratioT, 1-cfg.EpsilonLow, 1+cfg.EpsilonHigh)
	if cfg.Delta > 0 {
		ratioT = s.Clamp(ratioT, 0, cfg.Delta)
	}
	return s.Min(s.Mul(ratioT, in.AdvT), s.Mul(clippedT, in.AdvT))
}

// CISPO is the policy gradient weighted by a ratio that is cut off at most and not differentiated: min(r, most) A new_t
// (arXiv 2506.13585). Every token keeps a gradient.
func CISPO(most float32) Surrogate {
	return func(s *kernels.Scope, _ LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
		weightT := s.Detach(s.Clamp(ratioT, 0, most))
		return s.Mul(s.Mul(weightT, in.AdvT), in.NewT)
	}
}

// SAPO replaces the clip by a soft gate: 4/tau sigmoid(tau (r - 1)) A, with tau = positive where A > 0 and negative elsewhere
// (arXiv 2511.20347).
func SAPO(positive, negative float32) Surrogate {
	return func(s *kernels.Scope, _ LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
		gate := func(tau float32) *kernels.Tensor {
			return s.Affine(s.Sigmoid(s.Affine(ratioT, tau, -tau)), 4/tau, 0)
		}
		gateT := s.Where(s.Greater(in.AdvT, s.Full(0, 1)), gate(positive), gate(negative))
		return s.Mul(gateT, in.AdvT)
	}
}
