package grpo_test

import (
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

var plot = flag.String("plot", "", "TestKLVariance: write its picture to this file, from more batches")

// spread is what one way to compute the KL gives over many batches.
type spread struct {
	values []float64
	sum    []float64 // of gradients
	square float64   // of gradients' square norms
}

// deviation is the standard deviation of the values over their own mean's true value.
func (s spread) deviation(truth float64) float64 {
	sum := 0.0
	for _, v := range s.values {
		sum += (v - truth) * (v - truth)
	}
	return math.Sqrt(sum/float64(len(s.values))) / truth
}

// gradientDeviation is the root of E|g - Eg|^2 over |Eg|.
func (s spread) gradientDeviation() float64 {
	n, mean := float64(len(s.values)), 0.0
	for _, g := range s.sum {
		mean += g / n * g / n
	}
	return math.Sqrt((s.square/n - mean) / mean)
}

// The KL of a policy to its reference, and its gradient in all parameters, over batches of completions drawn anew: from the sampled tokens
// (k1, k3) and over the whole vocabulary. The three agree on average, and the exact one varies least. docs/rl-kl.svg is
//
//	go test ./grpo -run KLVariance -args -plot ../docs/rl-kl.svg
func TestKLVariance(t *testing.T) {
	distances, batches := []float64{0.04}, 60
	if *plot != "" {
		distances, batches = []float64{0.01, 0.02, 0.03, 0.04, 0.05, 0.06}, 200
	}
	names := []string{"exact", "k3", "k1"}
	lines := [2][]run.Line{{{Name: "exact"}, {Name: "k3"}, {Name: "k1"}}, {{Name: "exact"}, {Name: "k3 weighted"}}}
	for _, distance := range distances {
		spreads := klSpreads(t, distance, batches)
		truth := 0.0
		for _, v := range spreads["exact"].values {
			truth += v / float64(batches)
		}
		for i, name := range names {
			d := spreads[name].deviation(truth)
			lines[0][i].X, lines[0][i].Y = append(lines[0][i].X, 1000*truth), append(lines[0][i].Y, d)
			t.Logf("KL %.4f nats: %s: deviation of a batch %.3f of it; gradient %.2f", truth, name, d, spreads[name].gradientDeviation())
			sum := 0.0
			for _, v := range spreads[name].values {
				sum += v / float64(batches)
			}
			require.InDelta(t, truth, sum, 4*d*truth/math.Sqrt(float64(batches)), "%s is unbiased", name)
		}
		for i, name := range names[:2] {
			lines[1][i].X, lines[1][i].Y = append(lines[1][i].X, 1000*truth), append(lines[1][i].Y, spreads[name].gradientDeviation())
		}
		require.Less(t, spreads["exact"].deviation(truth), spreads["k3"].deviation(truth))
		require.Less(t, spreads["k3"].deviation(truth), spreads["k1"].deviation(truth))
		require.Less(t, spreads["exact"].gradientDeviation(), spreads["k3"].gradientDeviation())
	}
	if *plot != "" {
		require.NoError(t, run.WriteCurves(*plot, "KL to the reference, 18 completions: deviation over mean, by KL (millinats a token)", []run.Panel{
			{Title: "the value", Lines: lines[0]}, {Title: "the gradient", Lines: lines[1]},
		}))
	}
}

func klSpreads(t *testing.T, distance float64, batches int) map[string]*spread {
	dev := openCPU(t)
	policy, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer policy.Close()
	ref, err := policy.Clone()
	require.NoError(t, err)
	defer ref.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range ref.Params() {
		v, err := p.Values()
		require.NoError(t, err)
		for i := range v {
			v[i] += float32(distance * r.NormFloat64())
		}
		require.NoError(t, p.Write(v))
	}
	out := map[string]*spread{"k1": {}, "k3": {}, "exact": {}}
	for step := range batches {
		var ids, rows, to []int32
		var lengths []int
		for _, g := range rolloutOf(t, policy, uint32(step), sampling.Options{Temperature: 1, Seed: 3}) {
			for _, s := range g.Samples {
				at := int32(len(ids) + len(g.Prompt) - 1)
				for i := range s.Tokens {
					rows = append(rows, at+int32(i))
				}
				ids, to = append(append(ids, g.Prompt...), s.Tokens...), append(to, s.Tokens...)
				lengths = append(lengths, len(g.Prompt)+len(s.Tokens))
			}
		}
		m := passed{policy: policy, ref: ref, ids: ids, rows: rows, to: to, segs: kernels.PackedSegs(lengths...)}
		for name, estimate := range map[string]grpo.Estimator{"k1": grpo.K1, "k3": grpo.Unbiased(grpo.K3), "exact": nil} {
			out[name].add(t, m, estimate)
		}
	}
	return out
}

// add computes one batch's mean KL and its gradient.
func (s *spread) add(t *testing.T, m passed, estimate grpo.Estimator) {
	require.NoError(t, m.policy.Device().Do(context.Background(), func(sc *kernels.Scope) error {
		logp, _, kl, ref := m.forward(sc)
		if estimate != nil {
			kl = estimate(sc, sc.Exp(sc.Minus(logp, sc.Detach(logp))), grpo.LossInput{NewT: logp, RefT: ref})
		}
		mean := sc.Mean(kl)
		sc.Backward([]*kernels.Tensor{mean}, nil)
		var v [1]float32
		if err := sc.Read(mean, v[:]); err != nil {
			return err
		}
		s.values = append(s.values, float64(v[0]))
		return nil
	}))
	g := gradient(t, m.policy)
	if s.sum == nil {
		s.sum = make([]float64, len(g))
	}
	for i, x := range g {
		s.sum[i] += x
		s.square += x * x
	}
}

// gradient is the sum of all accumulators of each parameter, which it empties.
func gradient(t *testing.T, m *model.LM) (all []float64) {
	for _, p := range m.Params() {
		grads, err := p.Grads()
		require.NoError(t, err)
		g := make([]float64, p.Len())
		for _, use := range grads {
			v := make([]float32, p.Len())
			require.NoError(t, m.Device().Do(context.Background(), func(s *kernels.Scope) error { return s.Read(use, v) }))
			for i := range v {
				g[i] += float64(v[i])
			}
		}
		all = append(all, g...)
		require.NoError(t, p.ZeroGrad())
	}
	return all
}
