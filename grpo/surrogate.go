package grpo

import "github.com/gor1/gor1/kernels"

// Surrogate gives each token's objective [T], to be maximised, from its ratio. It multiplies by in.CorrectT where that is given
// (see [LossInput]); the mask, the weights and the normaliser come after it.
type Surrogate func(s *kernels.Scope, cfg LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor

// corrected multiplies by the importance weights against another engine, if there are any.
func (in LossInput) corrected(s *kernels.Scope, objectiveT *kernels.Tensor) *kernels.Tensor {
	if in.CorrectT == nil {
		return objectiveT
	}
	return s.Mul(objectiveT, in.CorrectT)
}

// Clipped is PPO's and GRPO's: min(r A, clip(r, 1-EpsilonLow, 1+EpsilonHigh) A) (arXiv 2402.03300, eq. 3). With cfg.Delta the
// first r is at most Delta, which bounds it where A < 0 (two-sided clipping, arXiv 2505.07291).
func Clipped(s *kernels.Scope, cfg LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
	clippedT := s.Clamp(ratioT, 1-cfg.EpsilonLow, 1+cfg.EpsilonHigh)
	if cfg.Delta > 0 {
		ratioT = s.Clamp(ratioT, 0, cfg.Delta)
	}
	return in.corrected(s, s.Min(s.Mul(ratioT, in.AdvT), s.Mul(clippedT, in.AdvT)))
}

// Unclipped is r A: the importance-weighted policy gradient, for ratios that clip themselves ([GeometricRatio]) and for losses
// whose trust region is a mask ([DPPOTV], [DPPOKL]) or a penalty ([KLCov]).
func Unclipped(s *kernels.Scope, _ LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
	return in.corrected(s, s.Mul(ratioT, in.AdvT))
}

// PolicyGradient is REINFORCE's: A new_t, without a ratio, as in GPG (arXiv 2504.02546).
func PolicyGradient(s *kernels.Scope, _ LossConfig, _ *kernels.Tensor, in LossInput) *kernels.Tensor {
	return in.corrected(s, s.Mul(in.NewT, in.AdvT))
}

// CISPO is the policy gradient weighted by a ratio that is cut off at most and not differentiated: min(r, most) A new_t
// (arXiv 2506.13585). Every token keeps a gradient.
func CISPO(most float32) Surrogate {
	return func(s *kernels.Scope, _ LossConfig, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
		weightT := s.Detach(s.Clamp(ratioT, 0, most))
		return in.corrected(s, s.Mul(s.Mul(weightT, in.AdvT), in.NewT))
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
		return in.corrected(s, s.Mul(gateT, in.AdvT))
	}
}

// Gamma shapes VESPO's weight for one sign of the advantage.
type Gamma struct{ K, Lambda float32 }

// logOf1e8 is log 1e-8: VESPO's log weights are kept between it and 20.
const logOf1e8 = -18.420680743952367

// VESPO weighs the policy gradient of a whole completion by phi(w) = e^lambda w^k e^(-lambda w), which is 1 at w = 1 and falls off on
// both sides; w = pi(o)/pi_old(o), times the token corrections in.CorrectT, is not differentiated (VESPO, arXiv 2602.10693): phi(w) A
// new_t. TRL's constants are {2, 3} where A >= 0 and {3, 2} where A < 0.
func VESPO(positive, negative Gamma) Surrogate {
	return func(s *kernels.Scope, _ LossConfig, _ *kernels.Tensor, in LossInput) *kernels.Tensor {
		ng := s.NoGrad()
		logT := ng.Clamp(ng.Minus(in.NewT, in.OldT), -20, 20)
		if in.CorrectT != nil { // a masked token's weight is 0: its log is cut off too
			logT = ng.Add(logT, ng.Log(ng.Clamp(in.CorrectT, 1e-8, 4.85e8)))
		}
		logN := ng.Clamp(ng.SegSum(ng.Mul(logT, in.MaskT), in.Segs), logOf1e8, 20)
		logT, ratioT := ng.SegSpread(logN, in.Segs), ng.SegSpread(ng.Exp(logN), in.Segs)
		phi := func(g Gamma) *kernels.Tensor {
			lambda := max(g.Lambda, 1e-4)
			return ng.Exp(ng.Minus(ng.Affine(logT, g.K, lambda), ng.Affine(ratioT, lambda, 0)))
		}
		phiT := ng.Where(ng.Less(in.AdvT, ng.Full(0, 1)), phi(negative), phi(positive))
		return s.Mul(s.Mul(s.Detach(phiT), in.AdvT), in.NewT)
	}
}
