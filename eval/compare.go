package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// z95 is the normal distribution's 97.5 % quantile.
const z95 = 1.959963984540054

// Wilson is the 95 % interval of a rate of which right of n trials succeeded (Wilson 1927): unlike the normal one it stays inside
// 0..1 and is no point at 0 or n. It fails where not 0 <= right <= n or n is 0.
func Wilson(right, n int) (low, high float64, err error) {
	if right < 0 || right > n || n < 1 {
		return 0, 0, fmt.Errorf("eval: interval of %d right among %d: want 0 <= right <= n, n at least 1", right, n)
	}
	trials := float64(n)
	p, zz := float64(right)/trials, z95*z95/trials
	centre := (p + zz/2) / (1 + zz)
	half := z95 / (1 + zz) * math.Sqrt(p*(1-p)/trials+zz/(4*trials))
	return max(centre-half, 0), min(centre+half, 1), nil
}

// McNemar is the exact two-sided p-value that two policies are equally good on the same problems, from the problems that only the
// first solved and those that only the second did: a sign test on the problems where they differ.
func McNemar(onlyFirst, onlySecond int) (float64, error) {
	if onlyFirst < 0 || onlySecond < 0 {
		return 0, fmt.Errorf("eval: McNemar of %d and %d problems", onlyFirst, onlySecond)
	}
	n, k := onlyFirst+onlySecond, min(onlyFirst, onlySecond)
	all, _ := math.Lgamma(float64(n + 1))
	tail := 0.0
	for i := range k + 1 {
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		tail += math.Exp(all - a - b - float64(n)*math.Ln2)
	}
	return min(2*tail, 1), nil
}

// Difference is how much better the second of two policies scored.
type Difference struct {
	Mean      float64 // mean of second - first
	Low, High float64 // its 95 % interval: percentiles of the resampled means
	P         float64 // two-sided: twice the share of resampled means on the other side of 0, at least 1/(resamples+1)
}

// PairedBootstrap compares two policies by their scores on the same problems (pass rates, rewards): it draws the problems anew,
// with replacement, resamples times. The same seed gives the same result. It fails where the slices differ in length, are empty,
// hold NaN or an infinity, or resamples is below 100.
func PairedBootstrap(first, second []float64, resamples int, seed uint64) (Difference, error) {
	n := len(first)
	if n == 0 || len(second) != n || resamples < 100 {
		return Difference{}, fmt.Errorf("eval: bootstrap of %d and %d scores, %d resamples: want equally many, at least 1, and at least 100 resamples", n, len(second), resamples)
	}
	gain, sum := make([]float64, n), 0.0
	for i := range gain {
		gain[i] = second[i] - first[i]
		if math.IsNaN(gain[i]) || math.IsInf(gain[i], 0) {
			return Difference{}, fmt.Errorf("eval: bootstrap: scores %d are %g and %g", i, first[i], second[i])
		}
		sum += gain[i]
	}
	d := Difference{Mean: sum / float64(n)}
	rng := rand.New(rand.NewPCG(seed, 0))
	means, below, above := make([]float64, resamples), 0, 0
	for r := range means {
		s := 0.0
		for range n {
			s += gain[rng.IntN(n)]
		}
		means[r] = s / float64(n)
		if s <= 0 {
			below++
		}
		if s >= 0 {
			above++
		}
	}
	slices.Sort(means)
	at := func(q float64) float64 { return means[int(math.Round(q*float64(resamples-1)))] }
	d.Low, d.High = at(0.025), at(0.975)
	d.P = min(1, 2*float64(min(below, above)+1)/float64(resamples+1))
	return d, nil
}
