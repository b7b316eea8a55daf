package grpo

import "github.com/gor1/gor1/kernels"

// Mask gives each token a 1, or a 0 that takes its policy term away, from new - old [T]. It is not differentiated.
type Mask func(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor

// OffPolicy drops the completions with A < 0 that have become unlikely: those whose mean of sampled - new over their tokens is more
// than threshold (off-policy sequence masking, DeepSeek-V3.2, arXiv 2512.02556, section 3.1).
func OffPolicy(threshold float32) Mask {
	return func(s *kernels.Scope, _ *kernels.Tensor, in LossInput) *kernels.Tensor {
		s = s.NoGrad()
		sampledT := in.OldT
		if in.SampledT != nil { // NaN: no evidence
			sampledT = s.Where(s.Equal(in.SampledT, in.SampledT), in.SampledT, in.NewT)
		}
		lenN := s.Max(s.SegSum(in.MaskT, in.Segs), s.Full(1, 1))
		meanN := s.Div(s.SegSum(s.Mul(s.Minus(sampledT, in.NewT), in.MaskT), in.Segs), lenN)
		farT := s.Greater(s.SegSpread(meanN, in.Segs), s.Full(threshold, 1))
		return s.Affine(s.Mul(farT, s.Less(in.AdvT, s.Full(0, 1))), -1, 1)
	}
}

// DPPOTV drops a token that would move further from the policy that sampled than the trust region allows: where |pi - pi_old| of
// the token is more than threshold, A > 0 and r > 1, or A < 0 and r < 1 (DPPO with binary total variation, arXiv 2602.04879). It
// goes with [Unclipped].
func DPPOTV(threshold float32) Mask {
	return dppo(func(s *kernels.Scope, newT, oldT *kernels.Tensor) *kernels.Tensor {
		return s.Greater(s.Abs(s.Minus(s.Exp(newT), s.Exp(oldT))), s.Full(threshold, 1))
	})
}

// DPPOKL is [DPPOTV] with the KL of the two-way choice "this token or another", p log(p/q) + (1-p) log((1-p)/(1-q)), p the
// probability when sampled and q now (DPPO with binary KL, arXiv 2602.04879).
func DPPOKL(threshold float32) Mask {
	return dppo(func(s *kernels.Scope, newT, oldT *kernels.Tensor) *kernels.Tensor {
		p, q := s.Exp(oldT), s.Exp(newT)
		rest := func(x *kernels.Tensor) *kernels.Tensor { return s.Max(s.Affine(x, -1, 1), s.Full(1e-7, 1)) }
		klT := s.Add(s.Mul(p, s.Minus(oldT, newT)), s.Mul(rest(p), s.Log(s.Div(rest(p), rest(q)))))
		return s.Greater(klT, s.Full(threshold, 1))
	})
}

func dppo(far func(s *kernels.Scope, newT, oldT *kernels.Tensor) *kernels.Tensor) Mask {
	return func(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor {
		s = s.NoGrad()
		outwardT := s.Greater(s.Mul(diffT, in.AdvT), s.Full(0, 1)) // A > 0 and r > 1, or A < 0 and r < 1
		return s.Affine(s.Mul(far(s, in.NewT, in.OldT), outwardT), -1, 1)
	}
}

// And keeps the tokens that all masks keep.
func And(masks ...Mask) Mask {
	return func(s *kernels.Scope, diffT *kernels.Tensor, in LossInput) *kernels.Tensor {
		keepT := in.MaskT
		for _, m := range masks {
			keepT = s.Mul(keepT, m(s, diffT, in))
		}
		return keepT
	}
}
