package grpo

import (
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
)

// GAEConfig is generalized advantage estimation's constants.
type GAEConfig struct {
	Gamma  float64 // discount of later rewards; 1 for language models
	Lambda float64 // 1: the return less the value; 0: one step ahead
}

// GAE is PPO's advantages with a value function, the critic that GRPO does without (arXiv 1506.02438, eq. 16, as a recursion
// from the end):
//
//	delta_t = r_t + gamma V_(t+1) - V_t,  A_t = delta_t + gamma lambda A_(t+1)
//
// with V and A past the end of an episode 0. done[t] says that step t ended one; nil: none did. last is the value after the
// final step, 0 where it ended. The returns are A + V. It fails where the slices differ in length.
func GAE(c GAEConfig, rewards, values []float64, done []bool, last float64) (advantages, returns []float64, err error) {
	n := len(rewards)
	if len(values) != n || (done != nil && len(done) != n) {
		return nil, nil, fmt.Errorf("grpo: GAE of %d rewards, %d values, %d ends", n, len(values), len(done))
	}
	advantages, returns = make([]float64, n), make([]float64, n)
	next, after := last, 0.0 // value and advantage of the step after
	for t := n - 1; t >= 0; t-- {
		if done != nil && done[t] {
			next, after = 0, 0
		}
		delta := rewards[t] + float64(c.Gamma*next) - values[t]
		after = delta + float64(c.Gamma*c.Lambda*after)
		next = values[t]
		advantages[t], returns[t] = after, after+values[t]
	}
	return advantages, returns, nil
}

// Whiten shifts and scales values to mean 0 and variance 1, over n-1, as PPO does with a batch's advantages.
func Whiten(values []float64) []float64 {
	m, d := mean(values), deviation(values, false)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = (v - m) / math.Sqrt(float64(d*d)+1e-8)
	}
	return out
}

// ValueLoss is PPO's clipped loss of a value head, 1/2 sum_t w_t max((v - R)^2, (clip(v, old - clip, old + clip) - R)^2), all
// tensors [T], with w_t a token's weight as a [Normalizer] gives it.
func ValueLoss(s *kernels.Scope, newT, oldT, returnT, weightT *kernels.Tensor, clip float32) *kernels.Tensor {
	movedT := s.Add(oldT, s.Clamp(s.Minus(newT, oldT), -clip, clip))
	lossT := s.Max(s.Square(s.Minus(newT, returnT)), s.Square(s.Minus(movedT, returnT)))
	return s.Affine(s.Sum(s.Mul(lossT, weightT)), 0.5, 0)
}
