package grpo_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
)

// RLOO's advantages against TRL's RLOOTrainer: leave-one-out, normalised or not, rewards that are missing, the KL paid in the reward.
func TestRLOOAdvantagesEqualTRL(t *testing.T) {
	type row struct {
		ID      string
		Algo    string
		Group   int `json:"num_generations"`
		Rewards [][]*float64
		Config  struct {
			Normalize bool        `json:"normalize_advantages"`
			Beta      float64     `json:"beta"`
			Weights   []float64   `json:"reward_weights"`
			Clip      *[2]float64 `json:"reward_clip_range"`
		}
		Lengths    []int       `json:"completion_lengths"`
		Old        [][]float64 `json:"old_logps"`
		Ref        [][]float64 `json:"ref_logps"`
		Advantages []float64   `json:"advantages_f64"`
	}
	checked := 0
	for _, c := range lines[row](t, "testdata/advantages.jsonl") {
		if c.Algo != "rloo" {
			continue
		}
		checked++
		o := grpo.Outcomes{Beta: c.Config.Beta}
		for i, parts := range c.Rewards {
			if i%c.Group == 0 {
				o.Groups, o.Rewards, o.KL = append(o.Groups, grpo.Group{}), append(o.Rewards, nil), append(o.KL, nil)
			}
			p := len(o.Groups) - 1
			total := math.NaN()
			for k, r := range parts {
				if r == nil {
					continue
				}
				w := 1.0
				if c.Config.Weights != nil {
					w = c.Config.Weights[k]
				}
				if math.IsNaN(total) {
					total = 0
				}
				total += w * *r
			}
			if b := c.Config.Clip; b != nil {
				total = min(max(total, b[0]), b[1])
			}
			var kl []float64
			if c.Config.Beta != 0 {
				for j := range c.Lengths[i] {
					kl = append(kl, c.Old[i][j]-c.Ref[i][j])
				}
			}
			o.Groups[p].Samples, o.Rewards[p], o.KL[p] = append(o.Groups[p].Samples, grpo.Sample{}), append(o.Rewards[p], total), append(o.KL[p], kl)
		}
		i := 0
		for _, advG := range grpo.Outcome(func(r [][]float64) [][]float64 { return grpo.RLOOAdvantages(r, c.Config.Normalize) })(o) {
			for _, a := range advG {
				require.InDelta(t, c.Advantages[i], a[0], 2e-6*max(1, math.Abs(a[0])), "%s row %d", c.ID, i) // TRL rounds rewards to fp32
				i++
			}
		}
	}
	require.Equal(t, 17, checked)
}

// Pass@k's closed form is the mean over all sets of k samples of the sets' normalised advantage.
func TestPassAtK(t *testing.T) {
	for _, right := range []int{0, 1, 3, 6, 7} {
		for k := 1; k <= 7; k++ {
			const n = 7
			rewards := make([]float64, n)
			for i := range right {
				rewards[i] = 1
			}
			got := grpo.PassAtK(k)([][]float64{rewards})[0]
			var sets []int
			var value []float64
			for set := range 1 << n {
				size, best := 0, 0.0
				for i := range n {
					if set>>i&1 == 1 {
						size, best = size+1, max(best, rewards[i])
					}
				}
				if size == k {
					sets, value = append(sets, set), append(value, best)
				}
			}
			m, sq := 0.0, 0.0
			for _, v := range value {
				m += v / float64(len(value))
			}
			for _, v := range value {
				sq += (v - m) * (v - m) / float64(len(value))
			}
			for i := range n {
				sum, in := 0.0, 0.0
				for j, set := range sets {
					if set>>i&1 == 1 && sq > 1e-12 {
						sum, in = sum+(value[j]-m)/math.Sqrt(sq), in+1
					}
				}
				require.InDelta(t, sum/max(in, 1), got[i], 1e-12, "%d right, k %d, sample %d", right, k, i)
			}
		}
	}
	require.Equal(t, [][]float64{{0, 0}}, grpo.PassAtK(3)([][]float64{{1, 0}}), "fewer samples than k")
	nan := math.NaN()
	require.Equal(t, 0.0, grpo.PassAtK(1)([][]float64{{1, 0, nan}})[0][2])
}

// MaxRL's estimate is, over 0/1 rewards, the gradient of the log of the share of right answers: its advantages are those of
// the mean over right samples less the mean over all, times n.
func TestMaxRLAndGPG(t *testing.T) {
	got := grpo.MaxRLAdvantages([][]float64{{1, 0, 0, 0}, {1, 1, 1, 0}, {0, 0, 0, 0}, {1, 1, 1, 1}, {math.NaN(), 2, 0, 1}})
	require.Equal(t, [][]float64{{3, -1, -1, -1}, {1. / 3, 1. / 3, 1. / 3, -1}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 1, -1, 0}}, round(got))
	require.Equal(t, [][]float64{{0, 0}}, grpo.MaxRLAdvantages([][]float64{{-3, 1}}), "a mean below 0 would turn the sign")
	require.Equal(t, [][]float64{{0, 0}}, grpo.MaxRLAdvantages([][]float64{{-1, 1}}), "and one of 0 divide by it")
	require.Equal(t, [][]float64{{0, 0}, {0, 0}}, grpo.GPGAdvantages([][]float64{{1, 1}, {0, 0}}), "no group teaches")
	gpg := grpo.GPGAdvantages([][]float64{{1, 0}, {1, 1}, {0, 0}, {3, 1}})
	require.Equal(t, [][]float64{{1, -1}, {0, 0}, {0, 0}, {2, -2}}, gpg, "4 groups, 2 of them without variance")
}

func round(v [][]float64) [][]float64 {
	for _, row := range v {
		for i := range row {
			if r := math.Round(3*row[i]) / 3; math.Abs(r-row[i]) < 1e-12 {
				row[i] = r
			}
		}
	}
	return v
}

// REINFORCE++ by its formulas, written out.
func TestReinforcePP(t *testing.T) {
	o := grpo.Outcomes{
		Groups:  []grpo.Group{{Samples: []grpo.Sample{{Tokens: make([]int32, 2)}, {Tokens: make([]int32, 3)}}}, {Samples: []grpo.Sample{{Tokens: make([]int32, 1)}, {Tokens: make([]int32, 4)}}}},
		Rewards: [][]float64{{1, 0}, {0.5, math.NaN()}}, Beta: 0.1,
		KL: [][][]float64{{{0.2, -0.1}, {0.3, 0.4, 0}}, {{1}, nil}},
	}
	got := grpo.ReinforcePP(o)
	raw := []float64{1 - 0.1*(0.2-0.1), 1 - 0.1*-0.1, 0 - 0.1*0.7, 0 - 0.1*0.4, 0, 0.5 - 0.1}
	m, sq := 0.0, 0.0
	for _, v := range raw {
		m += v / 6
	}
	for _, v := range raw {
		sq += (v - m) * (v - m) / 5
	}
	flat := append(append(append([]float64{}, got[0][0]...), got[0][1]...), got[1][0]...)
	for i := range raw {
		require.InDelta(t, (raw[i]-m)/(math.Sqrt(sq)+1e-8), flat[i], 1e-12)
	}
	require.Equal(t, []float64{0, 0, 0, 0}, got[1][1], "not scored")

	base := grpo.ReinforcePPAdvantages([][]float64{{1, 0}, {3, 1}})
	s := math.Sqrt((0.25+0.25+1+1)/3.0) + 1e-8
	require.InDeltaSlice(t, []float64{0.5 / s, -0.5 / s}, base[0], 1e-12)
	require.InDeltaSlice(t, []float64{1 / s, -1 / s}, base[1], 1e-12)
}

// Process supervision: a token's advantage is the sum of the normalised rewards of the steps that end at it or later.
func TestProcessAdvantages(t *testing.T) {
	got := grpo.ProcessAdvantages([][]grpo.StepReward{{{End: 1, Value: 1}, {End: 3, Value: 0}}, {{End: 2, Value: 0.5}}, nil}, []int{4, 3, 2})
	const m = 0.5
	s := 0.5 + 1e-4
	require.InDeltaSlice(t, []float64{0, 0, -m / s, -m / s}, got[0], 1e-12)
	require.InDeltaSlice(t, []float64{0, 0, 0}, got[1], 1e-12)
	require.Equal(t, []float64{0, 0}, got[2])
	one := grpo.ProcessAdvantages([][]grpo.StepReward{{{End: 1, Value: 1}}, {{End: 9, Value: 0}}}, []int{2, 3})
	whole := grpo.Advantages([]float64{1, 0})
	require.InDeltaSlice(t, []float64{whole[0], whole[0]}, one[0], 1e-12, "one step at the end is the outcome")
	require.InDeltaSlice(t, []float64{whole[1], whole[1], whole[1]}, one[1], 1e-12)
	require.Equal(t, [][]float64{{0}, {0}}, grpo.ProcessAdvantages([][]grpo.StepReward{{{Value: 1}}, {{Value: 1}}}, []int{1, 1}), "no variance")
}

// The controllers move as published.
func TestControllers(t *testing.T) {
	c := grpo.KLControl{Target: 6, Horizon: 10000}
	require.InDelta(t, 0.1*(1+0.1*256/10000), c.Next(0.1, 6.6, 256), 1e-15)
	require.InDelta(t, 0.1*(1+0.2*256/10000), c.Next(0.1, 60, 256), 1e-15, "at most a fifth")
	require.InDelta(t, 0.1*(1-0.2*256/10000), c.Next(0.1, 0, 256), 1e-15)

	e := grpo.EntropyControl{Target: 1, Delta: 0.01, Max: 0.02}.Start(0.015)
	require.Zero(t, e.Weight(), "nothing is known yet")
	e = e.Next(0.5)
	require.InDelta(t, 0.02, e.Weight(), 1e-15, "at most Max")
	e = e.Next(2)
	require.Zero(t, e.Weight())
	require.InDelta(t, 0.01, e.State.Weight, 1e-15)
}

// What the first pass chooses.
func TestSelectors(t *testing.T) {
	b := grpo.TokenStats{LogP: []float32{-1, -2, -3, -4}, Entropy: []float32{0.1, 0.4, 0.2, 0.3}, Advantage: []float32{1, 1, -1, -1}}
	require.Equal(t, []float32{0, 1, 0, 0}, grpo.TopEntropy(0.25)(b))
	require.Equal(t, []float32{0, 1, 0, 1}, grpo.TopEntropy(0.5)(b))
	require.Equal(t, []float32{1, 1, 1, 1}, grpo.TopEntropy(1)(b))
	require.Equal(t, []float32{0, 1, 0, 0}, grpo.TopEntropy(0)(b), "the highest stays")
	require.Empty(t, grpo.TopEntropy(0.5)(grpo.TokenStats{}))
	// covariances: 1.5, 0.5, 0.5, 1.5
	require.Equal(t, []float32{2, 0, 0, 2}, grpo.KLCov(0.5, 2)(b))
	require.Equal(t, []float32{2, 0, 0, 0}, grpo.KLCov(0.25, 2)(b), "ties: the earlier")
	cut := grpo.ClipCov(0.25, 1, 2, 7)(b)
	require.Equal(t, float32(1), cut[0]+cut[3], "one of the two inside the bounds")
	require.Equal(t, []float32{1, 1}, cut[1:3])
	require.Equal(t, cut, grpo.ClipCov(0.25, 1, 2, 7)(b))
	seen := map[string]bool{}
	for step := range uint32(20) {
		b.Step = step
		seen[fmt.Sprint(grpo.ClipCov(0.25, 1, 2, 7)(b))] = true
	}
	require.Len(t, seen, 2, "each of the two is chosen at some step")
}
