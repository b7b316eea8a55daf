package grpo_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

func TestHackingAlarm(t *testing.T) {
	line := func(n int, slope float64, noise *rand.Rand, std float64) []float64 {
		y := make([]float64, n)
		for i := range y {
			y[i] = slope*float64(i) + std*noise.NormFloat64()
		}
		return y
	}
	r := rand.New(rand.NewPCG(1, 1))
	a := grpo.DefaultHackingAlarm()
	up, down := line(12, 1, r, 1), line(12, -1, r, 1)
	require.True(t, a.Fires(up, down))
	require.False(t, a.Fires(down, up))
	require.False(t, a.Fires(up, up))
	require.False(t, a.Fires(up[:5], down[:5]), "too few to say")
	require.False(t, a.Fires(up, make([]float64, 12)))
	require.True(t, a.Fires([]float64{0, 1, 2, 3, 4, 5}, []float64{5, 4, 3, 2, 1, 0}), "lines without noise")
	require.False(t, a.Fires(nil, nil))
	for i := range down {
		if i%2 == 1 {
			down[i] = math.NaN()
		}
	}
	require.True(t, a.Fires(up, down), "measured at every other step")
	false1 := 0
	for range 2000 {
		if a.Fires(line(20, 0, r, 1), line(20, 0, r, 1)) {
			false1++
		}
	}
	require.LessOrEqual(t, false1, 1, "two flat series")
	healthy := 0
	for range 2000 {
		if a.Fires(line(20, 0.5, r, 1), line(20, 0, r, 1)) {
			healthy++
		}
	}
	require.LessOrEqual(t, healthy, 30, "one flat series")
}

// A reward model that was taught the wrong thing, that longer is better: GRPO makes its score rise and the rule's, that an answer ends
// inside the limit, fall; the alarm fires before step 20. With the rule as the reward it does not fire.
func TestFlawedRewardModel(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	ctx := context.Background()
	const limit = 40
	rule := func(s sampling.Sample) float64 {
		if s.Stop == sampling.StopEOS {
			return 1
		}
		return 0
	}
	problems := func(step int) []reward.Problem {
		ps := make([]reward.Problem, 8)
		for i := range ps {
			ps[i].Prompt = string(rune('a'+(step+i)%26)) + string(rune('a'+(3*step+7*i)%26))
		}
		return ps
	}
	for _, flawed := range []bool{true, false} {
		dev := openCPU(t)
		policy, err := model.Tiny(dev, 3)
		require.NoError(t, err)
		defer policy.Close()
		engine := sampling.New(policy, sampling.Options{Codec: toyCodec{}, Temperature: 1, MaxTokens: limit, Seed: 5})
		score := reward.Func(func(_ context.Context, s reward.Sample) (reward.Score, error) {
			if s.Truncated {
				return reward.Scored(0), nil
			}
			return reward.Scored(1), nil
		})
		if flawed {
			rm := lengthLover(t, policy, engine)
			defer rm.Close()
			judge := sft.RewardModel{Model: rm, Encode: encodeText}
			score = func(ctx context.Context, s reward.Sample) (reward.Score, error) {
				v, err := judge.Score(ctx, []string{s.Problem.Prompt}, []string{s.Completion})
				if err != nil {
					return reward.Score{}, err
				}
				return reward.Scored(v[0]), nil
			}
		}
		c := config(4096, 0, false)
		c.LearningRate = 3e-3
		trainer, err := grpo.New(policy, nil, c)
		require.NoError(t, err)
		defer trainer.Close()
		var paid, held []float64
		fired := -1
		for step := range 20 {
			groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: uint32(step), Problems: problems(step), Samples: 8, Score: score})
			require.NoError(t, err)
			st, err := trainer.Step(ctx, groups)
			require.NoError(t, err)
			paid = append(paid, st.Reward)
			groups, err = sampling.Rollout(ctx, engine, sampling.Request{Step: uint32(step), Problems: problems(1000), Samples: 12, First: 1000})
			require.NoError(t, err)
			ended := 0.0
			for _, g := range groups {
				for _, s := range g.Samples {
					ended += rule(s) / float64(len(groups)*len(g.Samples))
				}
			}
			held = append(held, ended)
			if fired < 0 && grpo.DefaultHackingAlarm().Fires(paid, held) {
				fired = step
			}
		}
		t.Logf("flawed %t: reward %.2f to %.2f, held-out rule %.2f to %.2f, alarm at step %d", flawed, paid[0], paid[19], held[0], held[19], fired)
		if flawed {
			require.Greater(t, paid[19], paid[0])
			require.Less(t, held[19], held[0]-0.1)
			require.GreaterOrEqual(t, fired, 0)
			require.Less(t, fired, 20)
		} else {
			require.Equal(t, -1, fired)
		}
	}
}

func encodeText(prompt, completion string) ([]int32, error) {
	return toyCodec{}.Encode(prompt + completion)
}

// lengthLover is a reward model trained on pairs of the policy's own answers of which the longer was preferred.
func lengthLover(t *testing.T, policy *model.LM, engine *sampling.Engine) *model.Scorer {
	m, err := policy.Clone()
	require.NoError(t, err)
	rm, err := model.NewScorer(m, 0, 1)
	require.NoError(t, err)
	c := sft.Default()
	c.LearningRate = 3e-3
	tr, err := sft.NewPreference(rm, c)
	require.NoError(t, err)
	defer tr.Close()
	for step := range uint32(25) {
		st, err := tr.StepPairs(context.Background(), answerPairs(t, engine, 1<<20+step, func(a, b sampling.Sample) int { return len(a.Tokens) - len(b.Tokens) }))
		require.NoError(t, err)
		if step == 24 {
			t.Logf("reward model: %.0f %% of its last batch", 100*st.Accuracy)
		}
	}
	return rm
}

// answerPairs are pairs of the policy's answers, the first of each preferred: better says by how much a is.
func answerPairs(t *testing.T, engine *sampling.Engine, step uint32, better func(a, b sampling.Sample) int) (pairs []sft.Pair) {
	groups, err := sampling.Rollout(context.Background(), engine, sampling.Request{Step: step, Problems: []reward.Problem{{Prompt: "ab"}, {Prompt: "xy"}}, Samples: 16})
	require.NoError(t, err)
	for _, g := range groups {
		for i := 0; i+1 < len(g.Samples); i += 2 {
			var texts [2][]int32
			for j := range texts {
				tokens := g.Samples[i+j].Tokens
				if g.Samples[i+j].Stop == sampling.StopEOS {
					tokens = tokens[:len(tokens)-1]
				}
				texts[j], err = encodeText(g.Problem.Prompt, toyCodec{}.Decode(tokens))
				require.NoError(t, err)
			}
			switch d := better(g.Samples[i], g.Samples[i+1]); {
			case d > 0:
				pairs = append(pairs, sft.Pair{Chosen: texts[0], Rejected: texts[1]})
			case d < 0:
				pairs = append(pairs, sft.Pair{Chosen: texts[1], Rejected: texts[0]})
			}
		}
	}
	return pairs
}

// Iterative GRPO (arXiv 2402.03300, algorithm 1): each round the policy becomes its own reference, takes steps against the reward model,
// and the reward model learns from new answers and a tenth of old ones. People who prefer answers that end mend a reward model that
// began by liking length.
func TestIterativeGRPO(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	ctx, dev := context.Background(), openCPU(t)
	policy, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	defer policy.Close()
	ref, err := policy.Clone()
	require.NoError(t, err)
	defer ref.Close()
	engine := sampling.New(policy, sampling.Options{Codec: toyCodec{}, Temperature: 1, MaxTokens: 40, Seed: 5})
	rm := lengthLover(t, policy, engine)
	defer rm.Close()
	judge := sft.RewardModel{Model: rm, Encode: encodeText}
	teach := sft.Default()
	teach.LearningRate = 3e-3
	teacher, err := sft.NewPreference(rm, teach)
	require.NoError(t, err)
	defer teacher.Close()
	c := config(4096, 0.01, false)
	c.LearningRate = 3e-3
	trainer, err := grpo.New(policy, ref, c)
	require.NoError(t, err)
	defer trainer.Close()
	shorter := func(a, b sampling.Sample) int { return len(b.Tokens) - len(a.Tokens) }
	var past []sft.Pair
	var ended []float64
	step := uint32(0)
	for round := range uint32(4) {
		require.NoError(t, ref.CopyFrom(policy))
		for inner := range 5 {
			problems := make([]reward.Problem, 8)
			for i := range problems {
				problems[i].Prompt = string(rune('a'+(int(step)+i)%26)) + string(rune('a'+(3*int(step)+7*i)%26))
			}
			groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: step, Problems: problems, Samples: 8, Score: func(ctx context.Context, s reward.Sample) (reward.Score, error) {
				v, err := judge.Score(ctx, []string{s.Problem.Prompt}, []string{s.Completion})
				if err != nil {
					return reward.Score{}, err
				}
				return reward.Scored(v[0]), nil
			}})
			require.NoError(t, err)
			st, err := trainer.Step(ctx, groups)
			require.NoError(t, err)
			require.Equal(t, inner > 0, st.KL > 0, "a round begins at its reference")
			ended = append(ended, 1-st.Truncated)
			step++
		}
		for k := range uint32(10) {
			fresh := answerPairs(t, engine, 1<<21+10*round+k, shorter)
			_, err := teacher.StepPairs(ctx, sft.Replayed(fresh, past, 0.1, uint64(step)))
			require.NoError(t, err)
			past = append(past, fresh...)
		}
	}
	t.Logf("share of answers that end, by step: %.2f", ended)
	require.Less(t, ended[4], ended[0], "the flawed model is pleased first")
	require.Greater(t, ended[19], ended[4]+0.2, "and then the mended one")
}
