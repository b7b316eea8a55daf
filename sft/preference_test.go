package sft_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/sft"
)

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Both losses and their gradients against float64, far out on both sides too, and split.
func TestPreferenceLosses(t *testing.T) {
	dev := openCPU(t)
	c := []float32{1.5, -2, 0, 30, -40, 0.25}
	r := []float32{0.5, 3, 0, -30, 40, 0.3}
	y := []float32{1, 0, 0.25, 1, 1, 0.5}
	var pair, point float64
	pairGrad, pointGrad := make([]float64, 6), make([]float64, 6)
	for i := range c {
		d := float64(c[i]) - float64(r[i])
		pair += math.Log1p(math.Exp(-math.Abs(d))) + math.Max(-d, 0)
		pairGrad[i] = -sigmoid(-d) / 6
		x := float64(c[i])
		point += math.Log1p(math.Exp(-math.Abs(x))) + math.Max(x, 0) - float64(y[i])*x
		pointGrad[i] = (sigmoid(x) - float64(y[i])) / 6
	}
	for _, parts := range []int{1, 2, 3} {
		lossPair, lossPoint := 0.0, 0.0
		var gc, gr, gp []float32
		for part := range parts {
			lo, hi := part*6/parts, (part+1)*6/parts
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				cT, rT, pT := s.Leaf(s.FromF32(c[lo:hi])), s.Leaf(s.FromF32(r[lo:hi])), s.Leaf(s.FromF32(c[lo:hi]))
				a, b := sft.BradleyTerry(s, cT, rT, 6), sft.Pointwise(s, pT, s.FromF32(y[lo:hi]), 6)
				s.Backward([]*kernels.Tensor{a, b}, nil)
				read := func(x *kernels.Tensor) []float32 {
					v := make([]float32, x.Len())
					require.NoError(t, s.Read(x, v))
					return v
				}
				lossPair, lossPoint = lossPair+float64(read(a)[0]), lossPoint+float64(read(b)[0])
				gc, gr, gp = append(gc, read(s.GradOf(cT))...), append(gr, read(s.GradOf(rT))...), append(gp, read(s.GradOf(pT))...)
				return nil
			}))
		}
		require.InEpsilon(t, pair/6, lossPair, 1e-6)
		require.InEpsilon(t, point/6, lossPoint, 1e-6)
		for i := range c {
			require.InDelta(t, pairGrad[i], float64(gc[i]), 1e-7)
			require.InDelta(t, -pairGrad[i], float64(gr[i]), 1e-7)
			require.InDelta(t, pointGrad[i], float64(gp[i]), 1e-7)
		}
	}
}

// A reward model learns a taste from pairs, and from labels, and holds it on texts it has not seen.
func TestRewardModelLearns(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	text := func(likes int) []int32 { // of 12 tokens, likes are the liked one
		ids := make([]int32, 12)
		for i := range ids {
			ids[i] = 10 + draw.Int32N(50)
			if i < likes {
				ids[i] = 7
			}
		}
		draw.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		return ids
	}
	pairs := func(n int) []sft.Pair {
		out := make([]sft.Pair, n)
		for i := range out {
			few := draw.IntN(4)
			out[i] = sft.Pair{Chosen: text(few + 1 + draw.IntN(3)), Rejected: text(few)}
		}
		return out
	}
	for _, labels := range []bool{false, true} {
		dev := openCPU(t)
		m, err := model.Tiny(dev, 1)
		require.NoError(t, err)
		rm, err := model.NewScorer(m, 0.02, 1)
		require.NoError(t, err)
		defer rm.Close()
		c := sft.Default()
		c.LearningRate = 3e-3
		tr, err := sft.NewPreference(rm, c)
		require.NoError(t, err)
		defer tr.Close()
		var st sft.PreferenceStats
		for range 60 {
			batch := pairs(16)
			if labels {
				var points []sft.Labelled
				for i := range batch {
					points = append(points, sft.Labelled{IDs: text(5), Label: 1}, sft.Labelled{IDs: text(i % 3)})
				}
				st, err = tr.StepLabelled(context.Background(), points)
			} else {
				st, err = tr.StepPairs(context.Background(), batch)
				require.NotZero(t, st.Margin)
			}
			require.NoError(t, err)
			require.Positive(t, st.GradNorm)
		}
		require.Greater(t, st.Accuracy, 0.8)
		right, err := sft.PairAccuracy(context.Background(), rm, pairs(200), 300)
		require.NoError(t, err)
		t.Logf("labels %t: %.1f of 200 unseen pairs", labels, right)
		require.Greater(t, right, 160.0)

		judge := sft.RewardModel{Model: rm, Encode: func(prompt, completion string) ([]int32, error) {
			if completion == "" {
				return nil, errors.New("nothing to encode")
			}
			var ids []int32
			for _, b := range prompt + completion {
				ids = append(ids, int32(b)%64)
			}
			return ids, nil
		}}
		v, err := judge.Score(context.Background(), []string{"qu", "qu"}, []string{"GGGGGG", "rstuvw"}) // G is 7
		require.NoError(t, err)
		require.Greater(t, v[0], v[1])
		_, err = judge.Score(context.Background(), []string{"q"}, []string{""})
		require.ErrorContains(t, err, "nothing to encode")
		_, err = judge.Score(context.Background(), []string{"q"}, nil)
		require.ErrorContains(t, err, "1 prompts for 0")
		head := rm.Params()[len(rm.Params())-1]
		bad := make([]float32, head.Len())
		bad[0] = float32(math.NaN())
		require.NoError(t, head.Write(bad))
		_, err = judge.Score(context.Background(), []string{"q"}, []string{"a"})
		require.ErrorContains(t, err, "is NaN")
	}
}

func TestPreferenceRefuses(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	rm, err := model.NewScorer(m, 0, 1)
	require.NoError(t, err)
	defer rm.Close()
	c := sft.Default()
	c.LearningRate = 0
	_, err = sft.NewPreference(rm, c)
	require.ErrorContains(t, err, "learning rate 0")
	c = sft.Default()
	c.Pass = func(int) (sft.Policy, error) { return m, nil }
	_, err = sft.NewPreference(rm, c)
	require.ErrorContains(t, err, "Config.Pass")
	tr, err := sft.NewPreference(rm, sft.Default())
	require.NoError(t, err)
	defer tr.Close()
	_, err = tr.StepPairs(context.Background(), nil)
	require.ErrorContains(t, err, "empty")
	_, err = tr.StepPairs(context.Background(), []sft.Pair{{Chosen: []int32{1}}})
	require.ErrorContains(t, err, "empty text")
	_, err = tr.StepLabelled(context.Background(), []sft.Labelled{{IDs: []int32{1}, Label: 2}})
	require.ErrorContains(t, err, "label 2")
	require.Zero(t, tr.Optimizer().Steps())
}

func TestReplayed(t *testing.T) {
	pair := func(id int32) sft.Pair { return sft.Pair{Chosen: []int32{id}} }
	var fresh, past []sft.Pair
	for i := range int32(18) {
		fresh, past = append(fresh, pair(i)), append(past, pair(100+i))
	}
	got := sft.Replayed(fresh, past, 0.1, 1)
	require.Len(t, got, 20)
	require.Equal(t, fresh, got[:18])
	require.Subset(t, past, got[18:])
	require.Equal(t, got, sft.Replayed(fresh, past, 0.1, 1))
	require.NotEqual(t, got, sft.Replayed(fresh, past, 0.1, 2))
	require.Len(t, sft.Replayed(fresh, past[:1], 0.5, 1), 19, "no more than there are")
	require.Len(t, sft.Replayed(fresh, past, 1, 1), 36)
	require.Len(t, sft.Replayed(fresh, nil, 0.1, 1), 18)
	require.Len(t, sft.Replayed(fresh, past, 0, 1), 18)
}
