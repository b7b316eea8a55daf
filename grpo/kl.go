package grpo

import "github.com/gor1/gor1/kernels"

// Estimator gives each token's estimate [T] of KL(policy || reference) from the log-prob of the sampled token under both. What is
// exact needs no estimator: kernels.Scope.HeadKL gives the KL over the whole vocabulary ([KLConfig].Exact).
type Estimator func(s *kernels.Scope, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor

// K1 is new - ref: unbiased and noisy. Its gradient in a loss is the gradient of the log-prob, which is 0 on average: use K1 in the
// reward ([KLConfig].InReward), not in the loss.
func K1(s *kernels.Scope, _ *kernels.Tensor, in LossInput) *kernels.Tensor {
	return s.Minus(in.NewT, in.RefT)
}

// K2 is (new - ref)^2 / 2: biased in value; at ratio 1 its gradient is an unbiased one of the KL.
func K2(s *kernels.Scope, _ *kernels.Tensor, in LossInput) *kernels.Tensor {
	return s.Affine(s.Square(s.Minus(in.NewT, in.RefT)), 0.5, 0)
}

// K3 is exp(d) - d - 1, d = ref - new: unbiased in value, never negative (arXiv 2402.03300, eq. 4).
func K3(s *kernels.Scope, _ *kernels.Tensor, in LossInput) *kernels.Tensor {
	dT := s.Minus(in.RefT, in.NewT)
	return s.Affine(s.Minus(s.Exp(dT), dT), 1, -1)
}

// Unbiased weighs an estimator by the importance ratio, so that its value is unbiased off policy and its gradient is the KL's
// (DeepSeek-V3.2, arXiv 2512.02556, section 3.1; TRL's use_bias_correction_kl).
func Unbiased(estimate Estimator) Estimator {
	return func(s *kernels.Scope, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
		return s.Mul(estimate(s, ratioT, in), ratioT)
	}
}

// Whole applies an estimator to whole completions, at each of their tokens: the KL term as DeepSeek-R1 prints it (arXiv
// 2501.12948, eq. 2), pi_ref(o)/pi(o) - log pi_ref(o)/pi(o) - 1 with K3. It goes with [WholeRatio].
func Whole(estimate Estimator) Estimator {
	return func(s *kernels.Scope, ratioT *kernels.Tensor, in LossInput) *kernels.Tensor {
		sum := func(t *kernels.Tensor) *kernels.Tensor {
			return s.SegSpread(s.SegSum(s.Mul(t, in.MaskT), in.Segs), in.Segs)
		}
		in.NewT, in.RefT = sum(in.NewT), sum(in.RefT)
		return estimate(s, ratioT, in)
	}
}
