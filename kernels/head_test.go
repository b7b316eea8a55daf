package kernels_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// fixed are n values of an input that is not differentiated, between -size and size.
func fixed(which uint32, n int, size float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(size * (2*kernels.Uniform([2]uint32{77, which}, [4]uint32{uint32(i)}) - 1))
	}
	return v
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// logDistribution is the log-softmax of one row of logits through soft-cap and temperature, over the kept words alone (nil: all).
func logDistribution(row []float64, softCap, temp float64, keep []int32) []float64 {
	if keep == nil {
		for j := range row {
			keep = append(keep, int32(j))
		}
	}
	z := make([]float64, len(keep))
	for i, j := range keep {
		z[i] = row[j]
		if softCap > 0 {
			z[i] = softCap * math.Tanh(z[i]/softCap)
		}
		z[i] /= temp
	}
	return logSoftmax(z)
}

// divergence is the plain sum over the words, in float64.
func divergence(b float64, lp, lq []float64) (sum float64) {
	kl := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += math.Exp(a[i]) * (a[i] - b[i])
		}
		return sum
	}
	switch b {
	case 1:
		return kl(lp, lq)
	case 0:
		return kl(lq, lp)
	}
	lm := make([]float64, len(lp))
	for i := range lm {
		lm[i] = math.Log(b*math.Exp(lq[i]) + (1-b)*math.Exp(lp[i]))
	}
	return b*kl(lq, lm) + (1-b)*kl(lp, lm)
}

// every keeps each step-th word and the target.
func every(step, v int, targets []int32) [][]int32 {
	keep := make([][]int32, len(targets))
	for t, target := range targets {
		for j := t % step; j < v; j += step {
			keep[t] = append(keep[t], int32(j))
		}
		if !slices.Contains(keep[t], target) {
			keep[t] = append(keep[t], target)
			slices.Sort(keep[t])
		}
	}
	return keep
}

func headKLCases() []opCase {
	var out []opCase
	for _, c := range []struct {
		name          string
		v             int
		how           kernels.Divergence
		temp          float32
		softCap, ycap float32
		step          int // of kept words; 0: all
	}{
		{"HeadKL/reverse", 71, kernels.ReverseKL, 1, 0, 0, 0},
		{"HeadKL/forward", 71, kernels.ForwardKL, 1, 0, 0, 0},
		{"HeadKL/jsd", 71, 0.3, 1, 0, 0, 0},
		{"HeadKL/softcap", 40, kernels.ReverseKL, 1.3, 2, 3, 0},
		{"HeadKL/large", 2600, kernels.ReverseKL, 0.8, 0, 0, 0},
		{"HeadKL/large/jsd", 2600, kernels.JSD, 1, 0, 0, 0},
		{"HeadKL/kept", 2600, kernels.ReverseKL, 0.8, 5, 0, 2},
		{"Head/kept", 71, -1, 0.8, 2, 0, 3},
	} {
		const t, d, e = 5, 12, 7
		targets := []int32{3, 0, int32(c.v - 1), 7, 3}
		y, u := fixed(1, t*e, 1), fixed(2, c.v*e, 1)
		var keep [][]int32
		if c.step > 0 {
			keep = every(c.step, c.v, targets)
		}
		out = append(out, opCase{
			name: c.name, shapes: [][]int{{t, d}, {c.v, d}}, tol: 5e-6,
			op: func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
				o := kernels.HeadOptions{SoftCap: c.softCap, Keep: keep}
				if c.temp != 1 {
					o.Temp = s.Full(c.temp, t)
				}
				if c.how < 0 {
					logp, ent := s.Head(x[0], x[1], targets, o)
					return []*kernels.Tensor{logp, ent}
				}
				logp, ent, kl := s.HeadKL(x[0], x[1], targets, kernels.HeadOther{X: s.FromF32(y, t, e), W: s.FromF32(u, c.v, e), SoftCap: c.ycap, Divergence: c.how}, o)
				return []*kernels.Tensor{logp, ent, kl}
			},
			twin: func(x [][]float64) [][]float64 {
				var logp, ent, kl []float64
				others := mat(linear(wide(y), wide(u), nil, e), c.v)
				for i, row := range mat(linear(x[0], x[1], nil, d), c.v) {
					words, at := []int32(nil), int(targets[i])
					if keep != nil {
						words = keep[i]
						at = slices.Index(words, targets[i])
					}
					lp, h := logDistribution(row, float64(c.softCap), float64(c.temp), words), 0.0
					for _, l := range lp {
						h -= math.Exp(l) * l
					}
					logp, ent = append(logp, lp[at]), append(ent, h)
					kl = append(kl, divergence(float64(c.how), lp, logDistribution(others[i], float64(c.ycap), float64(c.temp), words)))
				}
				if c.how < 0 {
					return [][]float64{logp, ent}
				}
				return [][]float64{logp, ent, kl}
			},
		})
	}
	return out
}

// The exact KL over a large vocabulary equals a float64 sum to 1e-5, also where the two models are close and the KL is small; it is
// never negative; and no call allocates anything as large as [T, V].
func TestHeadKLIsExact(t *testing.T) { headKLIsExact(t, openCPU(t)) }

func headKLIsExact(t *testing.T, dev *kernels.Device) {
	const n, d, v = 40, 16, 50000
	x, w := fixed(3, n*d, 1), fixed(4, v*d, 2)
	for _, far := range []float64{1, 1e-2, 1e-4, 0} {
		y := slices.Clone(x)
		for i, e := range fixed(5, n*d, far) {
			y[i] += e
		}
		for _, how := range []kernels.Divergence{kernels.ReverseKL, kernels.ForwardKL, kernels.JSD} {
			got, dx := make([]float32, n), make([]float32, n*d)
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				xt, wt, yt := s.Leaf(s.FromF32(x, n, d)), s.FromF32(w, v, d), s.FromF32(y, n, d)
				before := dev.Stats()
				_, _, kl := s.HeadKL(xt, wt, make([]int32, n), kernels.HeadOther{X: yt, W: wt, Divergence: how}, kernels.HeadOptions{})
				loss := s.Sum(kl)
				s.Backward([]*kernels.Tensor{loss}, nil)
				after := dev.Stats()
				require.Less(t, after.PeakBytes-before.LiveBytes, int64(n*v), "a quarter of [T, V]")
				require.NoError(t, s.Read(s.GradOf(xt), dx))
				return s.Read(kl, got)
			}))
			worst := 0.0
			for i, row := range mat(linear(wide(x[:3*d]), wide(w), nil, d), v) {
				other := mat(linear(wide(y[i*d:(i+1)*d]), wide(w), nil, d), v)[0]
				want := divergence(float64(how), logSoftmax(row), logSoftmax(other))
				worst = max(worst, math.Abs(want-float64(got[i])))
				require.InDelta(t, want, float64(got[i]), 1e-5*max(1, want), "divergence %g, distance %g", how, far)
				if want > 1e-7 {
					require.InEpsilon(t, want, float64(got[i]), 2e-3, "divergence %g, distance %g", how, far)
				}
			}
			for i := range got {
				require.GreaterOrEqual(t, got[i], float32(0))
			}
			t.Logf("divergence %g, models %g apart: KL about %.3g, largest difference from float64 %.2g", how, far, got[0], worst)
			if far == 0 {
				require.Zero(t, slices.Max(dx), "the same model: no pull")
			}
		}
	}
}

// HeadKL's log-prob, entropy and their gradients are Head's bits, and each row's results are its bits alone.
func TestHeadKLIsHead(t *testing.T) { headKLIsHead(t, openCPU(t)) }

func headKLIsHead(t *testing.T, dev *kernels.Device) {
	const n, d, v = 70, 12, 1500
	x, w, y, u := fixed(3, n*d, 2), fixed(4, v*d, 1), fixed(5, n*d, 2), fixed(6, v*d, 1)
	targets := make([]int32, n)
	for i := range targets {
		targets[i] = int32(i * 17 % v)
	}
	run := func(from, to int, beside bool, keep [][]int32) (out [][]float32) {
		m := to - from
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			xt, wt := s.Leaf(s.FromF32(x[from*d:to*d], m, d)), s.Leaf(s.FromF32(w, v, d))
			var logp, ent *kernels.Tensor
			o := kernels.HeadOptions{Temp: s.Full(0.9, m)}
			if keep != nil {
				o.Keep = keep[from:to]
			}
			if beside {
				var kl *kernels.Tensor
				logp, ent, kl = s.HeadKL(xt, wt, targets[from:to], kernels.HeadOther{X: s.FromF32(y[from*d:to*d], m, d), W: s.FromF32(u, v, d), Divergence: kernels.ReverseKL}, o)
				v := make([]float32, m)
				require.NoError(t, s.Read(kl, v))
				out = append(out, v)
			} else {
				logp, ent = s.Head(xt, wt, targets[from:to], o)
			}
			s.Backward([]*kernels.Tensor{s.Sum(s.Add(logp, s.Square(ent)))}, nil)
			for _, r := range []*kernels.Tensor{logp, ent, s.GradOf(xt), s.GradOf(wt)} {
				v := make([]float32, r.Len())
				require.NoError(t, s.Read(r, v))
				out = append(out, v)
			}
			return nil
		}))
		return out
	}
	all := make([][]int32, n)
	for i := range all {
		for j := range v {
			all[i] = append(all[i], int32(j))
		}
	}
	plain, beside, kept := run(0, n, false, nil), run(0, n, true, nil), run(0, n, false, all)
	require.Equal(t, bits(plain...), bits(beside[1:]...), "beside another model")
	require.Equal(t, bits(plain...), bits(kept...), "all words kept")
	some := every(5, v, targets)
	for _, keep := range [][][]int32{nil, some} {
		whole := run(0, n, true, keep)
		for _, part := range [][2]int{{0, 1}, {13, 14}, {5, 40}, {69, 70}} {
			alone := run(part[0], part[1], true, keep)
			for k := range 3 {
				require.Equal(t, bits(whole[k][part[0]:part[1]]), bits(alone[k]), "rows %v", part)
			}
			require.Equal(t, bits(whole[3][part[0]*d:part[1]*d]), bits(alone[3]), "gradient of rows %v", part)
		}
	}
}

// truncated is the plain twin of a truncation of one row of probabilities: sort, cut, list.
func truncated(logits []float32, c kernels.Truncation) []int32 {
	order := make([]int32, len(logits))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		switch {
		case logits[a] > logits[b]:
			return -1
		case logits[a] < logits[b]:
			return 1
		}
		return 0
	})
	p := func(i int32) float64 { return math.Exp(float64(logits[i] - logits[order[0]])) }
	if c.TopK > 0 {
		order = order[:min(c.TopK, len(order))]
	}
	if c.TopP > 0 && c.TopP < 1 {
		total, sum := 0.0, 0.0
		for _, i := range order {
			total += p(i)
		}
		for n, i := range order {
			if sum += p(i); sum >= float64(c.TopP)*total {
				order = order[:n+1]
				break
			}
		}
	}
	var kept []int32
	for _, i := range order {
		if p(i) >= float64(c.MinP) {
			kept = append(kept, i)
		}
	}
	slices.Sort(kept)
	return kept
}

// A truncated draw chooses among the words that a plain sort leaves, reports Head's bits for them, and depends on its counter alone.
func TestSampleHeadKeep(t *testing.T) { sampleHeadKeep(t, openCPU(t)) }

func sampleHeadKeep(t *testing.T, dev *kernels.Device) {
	const b, d, v = 60, 8, 3000
	x, w := fixed(8, b*d, 1), fixed(9, v*d, 2)
	for i := range d { // words that are equally likely, in row 0 the likeliest
		w[7*d+i] = 3 * x[i]
		for _, j := range []int{5, 40, 2999, 1024} {
			w[j*d+i] = w[7*d+i]
		}
	}
	logits := make([]float32, b*v)
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		return s.Read(s.Linear(s.FromF32(x, b, d), s.FromF32(w, v, d), nil), logits)
	}))
	for _, c := range []kernels.Truncation{{TopK: 1}, {TopK: 50}, {TopK: 5000}, {TopP: 0.9}, {TopP: 0.999}, {TopP: 1e-6}, {MinP: 0.05}, {TopK: 40, TopP: 0.7, MinP: 0.3}, {TopK: 3, TopP: 1}, {}} {
		for _, temp := range []float32{1, 0.7} {
			draw := func(from, n int) (token []int32, logp, ent []float32, keep [][]int32) {
				token, logp, ent = make([]int32, n), make([]float32, n), make([]float32, n)
				require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
					o := kernels.SampleOptions{Key: [2]uint32{8, 9}, Counter: make([][4]uint32, n), Temp: slices.Repeat([]float32{temp}, n)}
					for i := range o.Counter {
						o.Counter[i] = [4]uint32{uint32(from + i)}
					}
					xt, wt := s.FromF32(x[from*d:(from+n)*d], n, d), s.FromF32(w, v, d)
					tk, lp, h, kept := s.SampleHeadKeep(xt, wt, o, slices.Repeat([]kernels.Truncation{c}, n))
					words := (v + 31) / 32
					flags := make([]int32, n*words)
					mass, full := make([]float32, n), make([]float32, n)
					require.NoError(t, s.Read(kept.Bits, flags))
					require.NoError(t, s.Read(kept.Mass, mass))
					require.NoError(t, s.Read(tk, token))
					require.NoError(t, s.Read(lp, logp))
					require.NoError(t, s.Read(h, ent))
					for i := range n {
						keep = append(keep, kernels.KeptWords(flags[i*words:(i+1)*words], v))
					}
					whole, _ := s.Head(xt, wt, token, kernels.HeadOptions{Temp: s.Full(temp, n)})
					require.NoError(t, s.Read(whole, full))
					for i := range n {
						require.InDelta(t, math.Exp(float64(full[i]-logp[i])), mass[i], 1e-5, "%+v: a kept word is likelier by what was cut", c)
					}
					headLogp, headEnt := s.Head(xt, wt, token, kernels.HeadOptions{Temp: s.Full(temp, n), Keep: keep})
					a, b := make([]float32, n), make([]float32, n)
					require.NoError(t, s.Read(headLogp, a))
					require.NoError(t, s.Read(headEnt, b))
					require.Equal(t, bits(a, b), bits(logp, ent), "%+v", c)
					return nil
				}))
				return
			}
			token, logp, _, keep := draw(0, b)
			for i := range b {
				shaped := slices.Clone(logits[i*v : (i+1)*v])
				for j := range shaped {
					shaped[j] /= temp
				}
				require.Equal(t, truncated(shaped, c), keep[i], "%+v, row %d", c, i)
				require.Contains(t, keep[i], token[i])
			}
			again, lp, _, _ := draw(17, 3)
			require.Equal(t, token[17:20], again)
			require.Equal(t, bits(logp[17:20]), bits(lp))
		}
	}
}

func TestKeepRefused(t *testing.T) { keepRefused(t, openCPU(t)) }

func keepRefused(t *testing.T, dev *kernels.Device) {
	for want, keep := range map[string][][]int32{
		"the target 3 is not among":  {{0, 1}, {3}},
		"kept word 1 after 3":        {{3, 1}, {3}},
		"kept word 9 after 3":        {{3, 9}, {3}},
		"row 1 keeps words":          {{3}, {}},
		"kept words of 1 rows for 2": {{3}},
	} {
		err := dev.Do(context.Background(), func(s *kernels.Scope) error {
			s.Head(s.Zeros(2, 3), s.Zeros(9, 3), []int32{3, 3}, kernels.HeadOptions{Keep: keep})
			return s.Err()
		})
		require.ErrorContains(t, err, want)
	}
	err := dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.SampleHeadKeep(s.Zeros(1, 3), s.Zeros(9, 3), kernels.SampleOptions{Counter: make([][4]uint32, 1)}, []kernels.Truncation{{MinP: 2}})
		return s.Err()
	})
	require.ErrorContains(t, err, "min-p 2: want 0 or more")
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.HeadKL(s.Zeros(2, 3), s.Zeros(9, 3), []int32{3, 3}, kernels.HeadOther{X: s.Zeros(2, 4), W: s.Zeros(8, 4)}, kernels.HeadOptions{})
		return s.Err()
	})
	require.ErrorContains(t, err, "want [T,C], [V,C] with T 2, V 9")
}

// Values that are not finite give results that are not finite, or some word: never a crash or a word that does not exist.
func TestHeadSurvivesNonsense(t *testing.T) { headSurvivesNonsense(t, openCPU(t)) }

func headSurvivesNonsense(t *testing.T, dev *kernels.Device) {
	const b, d, v = 6, 4, 1100
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := []float32{nan, 0, 0, 0, inf, 1, 1, 1, -inf, 1, 1, 1, 0, 0, 0, 0, 3e38, 3e38, 3e38, 3e38, 1e-45, 0, 0, 0}
	w := fixed(1, v*d, 2)
	for _, c := range []kernels.Truncation{{TopK: 7}, {TopP: 0.5}, {MinP: 1}, {TopK: 3, TopP: 0.9, MinP: 0.1}} {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			xt, wt := s.Leaf(s.FromF32(x, b, d)), s.FromF32(w, v, d)
			token, _, _, kept := s.SampleHeadKeep(xt, wt, kernels.SampleOptions{Counter: make([][4]uint32, b)}, slices.Repeat([]kernels.Truncation{c}, b))
			ids, flags := make([]int32, b), make([]int32, kept.Bits.Len())
			require.NoError(t, s.Read(token, ids))
			require.NoError(t, s.Read(kept.Bits, flags))
			var keep [][]int32
			for i, id := range ids {
				keep = append(keep, kernels.KeptWords(flags[i*len(flags)/b:(i+1)*len(flags)/b], v))
				require.Contains(t, keep[i], id, "%+v, row %d", c, i)
			}
			logp, ent, kl := s.HeadKL(xt, wt, ids, kernels.HeadOther{X: xt, W: wt, Divergence: kernels.JSD}, kernels.HeadOptions{Keep: keep})
			s.Backward([]*kernels.Tensor{s.Sum(s.Add(s.Add(logp, ent), kl))}, nil)
			return s.Err()
		}))
	}
}
