package grpo_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
)

// data is one random micro-batch: completions of 5, 1 and 7 tokens, one token masked.
type data struct {
	newLP, old, ref, adv, mask, weight, penalty, entropy []float64
	lengths                                              []int
}

func randomData(seed uint64) data {
	r := rand.New(rand.NewPCG(seed, 1))
	d := data{lengths: []int{5, 1, 7}}
	for i, n := range d.lengths {
		a := []float64{1.3, -0.7, -1.1}[i]
		for range n {
			old := -0.1 - 2*r.Float64()
			near := func() float64 { return math.Min(old+r.NormFloat64()/2, -0.01) }
			d.old, d.newLP, d.ref = append(d.old, old), append(d.newLP, near()), append(d.ref, near())
			d.adv, d.mask, d.entropy = append(d.adv, a), append(d.mask, 1), append(d.entropy, r.Float64())
			d.weight, d.penalty = append(d.weight, float64(r.IntN(2))), append(d.penalty, float64(r.IntN(2)))
		}
	}
	d.mask[2] = 0
	for i := range d.newLP { // exact in float32
		for _, v := range []*float64{&d.newLP[i], &d.old[i], &d.ref[i], &d.adv[i], &d.entropy[i]} {
			*v = float64(float32(*v))
		}
	}
	return d
}

// each calls f for each completion with its range of tokens.
func (d data) each(f func(from, to int)) {
	at := 0
	for _, n := range d.lengths {
		f(at, at+n)
		at += n
	}
}

// masked sums f over a completion's tokens that count, and counts them.
func (d data) masked(from, to int, f func(t int) float64) (sum, n float64) {
	for t := from; t < to; t++ {
		sum += d.mask[t] * f(t)
		n += d.mask[t]
	}
	return sum, max(n, 1)
}

const (
	low  = 0.2
	high = 0.3
)

func clip(x, lo, hi float64) float64 { return math.Min(math.Max(x, lo), hi) }

// reference is a loss written from its paper in float64: the mean over completions of the mean over tokens of its terms, unless it
// says otherwise. x are the log-probs that are differentiated and d.newLP the same numbers, held: what a paper stops the gradient of.
type reference struct {
	name string
	cfg  grpo.LossConfig
	loss func(d data, x []float64) float64
	use  func(in *grpo.LossInput, s *kernels.Scope, d data)
	held bool // part of the loss is held: its gradient is not that of its value
}

// perToken is the GRPO mean of a token's loss.
func perToken(term func(d data, x []float64, t int) float64) func(d data, x []float64) float64 {
	return func(d data, x []float64) (loss float64) {
		d.each(func(from, to int) {
			sum, n := d.masked(from, to, func(t int) float64 { return term(d, x, t) })
			loss += sum / n / float64(len(d.lengths))
		})
		return loss
	}
}

// perCompletionOf is the mean over completions of one number each.
func perCompletionOf(term func(d data, x []float64, from, to int) float64) func(d data, x []float64) float64 {
	return func(d data, x []float64) (loss float64) {
		d.each(func(from, to int) { loss += term(d, x, from, to) / float64(len(d.lengths)) })
		return loss
	}
}

func references() []reference {
	plain := grpo.LossConfig{EpsilonLow: low, EpsilonHigh: high, Normalize: grpo.PerSequence}
	with := func(change func(c *grpo.LossConfig)) grpo.LossConfig {
		c := plain
		change(&c)
		return c
	}
	ratio := func(d data, x []float64, t int) float64 { return math.Exp(x[t] - d.old[t]) }
	clipped := func(r, a float64) float64 { return math.Min(r*a, clip(r, 1-low, 1+high)*a) }
	kl := func(estimate func(d data, x []float64, t int) float64) func(d data, x []float64) float64 {
		return perToken(func(d data, x []float64, t int) float64 {
			return -clipped(ratio(d, x, t), d.adv[t]) + 0.5*estimate(d, x, t)
		})
	}
	sumOf := func(d data, v []float64, from, to int) float64 {
		sum, _ := d.masked(from, to, func(t int) float64 { return v[t] })
		return sum
	}
	dppo := func(far func(p, q float64) bool) func(d data, x []float64) float64 {
		return perToken(func(d data, x []float64, t int) float64 {
			r := math.Exp(d.newLP[t] - d.old[t])
			if far(math.Exp(d.old[t]), math.Exp(d.newLP[t])) && (d.adv[t] > 0 && r > 1 || d.adv[t] < 0 && r < 1) {
				return 0
			}
			return -ratio(d, x, t) * d.adv[t]
		})
	}
	weigh := func(in *grpo.LossInput, s *kernels.Scope, d data) { in.WeightT = s.FromF32(single(d.weight)) }
	return []reference{
		{name: "GRPO, arXiv 2402.03300 eq. 3", cfg: plain, loss: perToken(func(d data, x []float64, t int) float64 { return -clipped(ratio(d, x, t), d.adv[t]) })},
		{name: "GMPO, arXiv 2507.20673 algorithm 1", cfg: with(func(c *grpo.LossConfig) { c.Ratio, c.Surrogate = grpo.GeometricRatio(0.4), grpo.Unclipped }),
			loss: perCompletionOf(func(d data, x []float64, from, to int) float64 {
				// prod_t min over {r, clip(r)} in the direction of A, to the power 1/|o|, times A
				product, sign := 1.0, math.Copysign(1, d.adv[from])
				_, n := d.masked(from, to, func(t int) float64 {
					r := ratio(d, x, t)
					lr := sign * math.Log(r)
					product *= math.Exp(d.mask[t] * sign * math.Min(lr, clip(lr, -0.4, 0.4)))
					return 0
				})
				return -math.Pow(product, 1/n) * d.adv[from]
			})},
		{name: "GPG, arXiv 2504.02546", cfg: with(func(c *grpo.LossConfig) { c.Surrogate = grpo.PolicyGradient }),
			loss: perToken(func(d data, x []float64, t int) float64 { return -x[t] * d.adv[t] })},
		{name: "whole outputs, arXiv 2501.12948 eq. 1 and 2", cfg: with(func(c *grpo.LossConfig) {
			c.Ratio, c.KL, c.Beta = grpo.WholeRatio, grpo.Whole(grpo.K3), 0.5
		}), loss: perCompletionOf(func(d data, x []float64, from, to int) float64 {
			lr := sumOf(d, d.ref, from, to) - sumOf(d, x, from, to)
			return -clipped(math.Exp(sumOf(d, x, from, to)-sumOf(d, d.old, from, to)), d.adv[from]) + 0.5*(math.Exp(lr)-lr-1)
		})},
		{name: "RLOO, arXiv 2402.14740", cfg: with(func(c *grpo.LossConfig) { c.Ratio, c.Surrogate = grpo.WholeRatio, grpo.Unclipped }),
			loss: perCompletionOf(func(d data, x []float64, from, to int) float64 {
				return -math.Exp(sumOf(d, x, from, to)-sumOf(d, d.old, from, to)) * d.adv[from]
			})},
		{held: true, name: "DPPO binary TV, arXiv 2602.04879", cfg: with(func(c *grpo.LossConfig) { c.Surrogate, c.Mask = grpo.Unclipped, grpo.DPPOTV(0.05) }),
			loss: dppo(func(p, q float64) bool { return math.Abs(p-q) > 0.05 })},
		{held: true, name: "DPPO binary KL, arXiv 2602.04879", cfg: with(func(c *grpo.LossConfig) { c.Surrogate, c.Mask = grpo.Unclipped, grpo.DPPOKL(0.01) }),
			loss: dppo(func(p, q float64) bool { return p*math.Log(p/q)+(1-p)*math.Log((1-p)/(1-q)) > 0.01 })},
		{held: true, name: "two masks", cfg: with(func(c *grpo.LossConfig) {
			c.Surrogate, c.Mask = grpo.Unclipped, grpo.And(grpo.DPPOTV(0.05), grpo.OffPolicy(0.1))
		}), loss: func(d data, x []float64) float64 {
			tv := dppo(func(p, q float64) bool { return math.Abs(p-q) > 0.05 })
			kept := d
			kept.adv = slices.Clone(d.adv)
			d.each(func(from, to int) {
				far, n := d.masked(from, to, func(t int) float64 { return d.old[t] - d.newLP[t] })
				for t := from; t < to && d.adv[from] < 0 && far/n > 0.1; t++ {
					kept.adv[t] = 0
				}
			})
			return tv(kept, x)
		}},
		{held: true, name: "CISPO, arXiv 2506.13585 eq. 4 and 5", cfg: with(func(c *grpo.LossConfig) { c.Surrogate = grpo.CISPO(1.2) }),
			loss: perToken(func(d data, x []float64, t int) float64 {
				return -math.Min(math.Exp(d.newLP[t]-d.old[t]), 1.2) * d.adv[t] * x[t]
			})},
		{held: true, name: "VESPO, arXiv 2602.10693", cfg: with(func(c *grpo.LossConfig) {
			c.Surrogate = grpo.VESPO(grpo.Gamma{K: 2, Lambda: 3}, grpo.Gamma{K: 3, Lambda: 2})
		}),
			loss: perToken(func(d data, x []float64, t int) (loss float64) {
				d.each(func(from, to int) {
					if t < from || t >= to {
						return
					}
					w := math.Exp(sumOf(d, d.newLP, from, to) - sumOf(d, d.old, from, to))
					k, l := 2.0, 3.0
					if d.adv[from] < 0 {
						k, l = 3, 2
					}
					loss = -math.Exp(l) * math.Pow(w, k) * math.Exp(-l*w) * d.adv[t] * x[t]
				})
				return loss
			})},
		{name: "Clip-Cov, arXiv 2505.22617 eq. 12", cfg: plain, use: weigh, loss: perToken(func(d data, x []float64, t int) float64 {
			return -d.weight[t] * clipped(ratio(d, x, t), d.adv[t])
		})},
		{name: "KL-Cov, arXiv 2505.22617 eq. 14", cfg: with(func(c *grpo.LossConfig) { c.Surrogate = grpo.Unclipped }),
			use: func(in *grpo.LossInput, s *kernels.Scope, d data) { in.PenaltyT = s.FromF32(single(d.penalty)) },
			loss: perToken(func(d data, x []float64, t int) float64 {
				return -ratio(d, x, t)*d.adv[t] + d.penalty[t]*math.Abs(x[t]-d.old[t])
			})},
		{name: "k1", cfg: with(func(c *grpo.LossConfig) { c.KL, c.Beta = grpo.K1, 0.5 }), loss: kl(func(d data, x []float64, t int) float64 { return x[t] - d.ref[t] })},
		{name: "k2", cfg: with(func(c *grpo.LossConfig) { c.KL, c.Beta = grpo.K2, 0.5 }), loss: kl(func(d data, x []float64, t int) float64 { return (x[t] - d.ref[t]) * (x[t] - d.ref[t]) / 2 })},
		{name: "k3, arXiv 2402.03300 eq. 4", cfg: with(func(c *grpo.LossConfig) { c.Beta = 0.5 }), loss: kl(func(d data, x []float64, t int) float64 { return math.Exp(d.ref[t]-x[t]) - (d.ref[t] - x[t]) - 1 })},
		{name: "k3 unbiased, arXiv 2512.02556", cfg: with(func(c *grpo.LossConfig) { c.KL, c.Beta = grpo.Unbiased(grpo.K3), 0.5 }),
			loss: kl(func(d data, x []float64, t int) float64 {
				return ratio(d, x, t) * (math.Exp(d.ref[t]-x[t]) - (d.ref[t] - x[t]) - 1)
			})},
		{name: "entropy bonus", cfg: with(func(c *grpo.LossConfig) { c.Entropy = 0.1 }), use: weigh, loss: func(d data, x []float64) float64 {
			policy := perToken(func(d data, x []float64, t int) float64 { return -d.weight[t] * clipped(ratio(d, x, t), d.adv[t]) })(d, x)
			sum, active := 0.0, 0.0
			for t := range x {
				sum, active = sum+d.mask[t]*d.weight[t]*d.entropy[t], active+d.mask[t]*d.weight[t]
			}
			return policy - 0.1*sum/active
		}},
	}
}

func single(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// input uploads the data; leaf is what is differentiated.
func (d data) input(s *kernels.Scope, leaf *kernels.Tensor) grpo.LossInput {
	active := 0
	for t := range d.mask {
		active += int(d.mask[t] * d.weight[t])
	}
	return grpo.LossInput{
		NewT: leaf, OldT: s.FromF32(single(d.old)), RefT: s.FromF32(single(d.ref)), AdvT: s.FromF32(single(d.adv)), MaskT: s.FromF32(single(d.mask)),
		EntropyT: s.FromF32(single(d.entropy)), Segs: kernels.PackedSegs(d.lengths...), Totals: grpo.Totals{Sequences: len(d.lengths), Tokens: len(d.mask) - 1, Active: active},
	}
}

// Every loss against its equation in float64: value, and gradient by finite differences of the equation.
func TestLossEqualsItsEquation(t *testing.T) {
	dev := openCPU(t)
	for _, c := range references() {
		t.Run(c.name, func(t *testing.T) {
			moved := 0
			for seed := range uint64(20) {
				d := randomData(seed)
				require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
					leaf := s.Leaf(s.FromF32(single(d.newLP)))
					in := d.input(s, leaf)
					if c.use != nil {
						c.use(&in, s, d)
					}
					loss, st := grpo.Loss(s, c.cfg, in)
					s.Backward([]*kernels.Tensor{loss}, nil)
					want := c.loss(d, d.newLP)
					require.InDelta(t, want, st.Loss, 1e-5*max(1, math.Abs(want)))
					got := make([]float32, len(d.newLP))
					require.NoError(t, s.Read(s.GradOf(leaf), got))
					for i := range got {
						x, h := slices.Clone(d.newLP), 1e-6
						x[i] += h
						up := c.loss(d, x)
						x[i] -= 2 * h
						fd := (up - c.loss(d, x)) / (2 * h)
						require.InDelta(t, fd, float64(got[i]), 2e-5*max(1, math.Abs(fd)), "token %d", i)
						if got[i] != 0 {
							moved++
						}
					}
					return nil
				}))
			}
			require.Positive(t, moved)
		})
	}
}
