package sampling_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// codec maps token id i to the byte '0'+i.
type codec struct{}

func (codec) Encode(text string) ([]int32, error) {
	ids := make([]int32, len(text))
	for i := range text {
		if text[i] < '0' || text[i] >= '0'+64 {
			return nil, fmt.Errorf("character %q at byte %d", text[i], i)
		}
		ids[i] = int32(text[i] - '0')
	}
	return ids, nil
}

func (codec) Decode(ids []int32) string {
	b := make([]byte, len(ids))
	for i, id := range ids {
		b[i] = byte(id) + '0'
	}
	return string(b)
}

func tiny(t testing.TB, o ...kernels.Options) *model.LM {
	dev, err := kernels.Open("cpu", o...)
	require.NoError(t, err)
	return tinyOn(t, dev)
}

func tinyOn(t testing.TB, dev *kernels.Device) *model.LM {
	m, err := model.Tiny(dev, 7)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Close())
		require.Zero(t, dev.Stats().LiveTensors)
		require.NoError(t, dev.Close())
	})
	return m
}

func problems(n int) []reward.Problem {
	ps := make([]reward.Problem, n)
	for i := range ps {
		prompt := make([]byte, 1+i*5%37)
		for j := range prompt {
			prompt[j] = byte('0' + (i*7+j*3)%60)
		}
		ps[i] = reward.Problem{Prompt: string(prompt)}
	}
	return ps
}

func roll(t testing.TB, m *model.LM, o sampling.Options, req sampling.Request) []sampling.Group {
	o.Codec = codec{}
	if o.MaxTokens == 0 {
		o.MaxTokens = 20
	}
	groups, err := sampling.Rollout(context.Background(), sampling.New(m, o), req)
	require.NoError(t, err)
	return groups
}

// What a rollout draws does not depend on how many sequences run at once, on threads or instruction set, nor on what else was
// asked for: any sample can be drawn again alone.
func TestDrawsAreIndependent(t *testing.T) {
	m := tiny(t)
	ps := problems(9)
	o := sampling.Options{Temperature: 1, Seed: 42}
	want := roll(t, m, o, sampling.Request{Step: 5, Problems: ps, Samples: 7})
	for _, seqs := range []int{1, 3, 10, 64} {
		o.MaxSeqs = seqs
		require.Equal(t, want, roll(t, m, o, sampling.Request{Step: 5, Problems: ps, Samples: 7}), "%d at once", seqs)
	}
	o.MaxSeqs = 0
	for _, k := range []kernels.Options{{Threads: 1}, {Threads: 4}, {ISA: "portable"}} {
		require.Equal(t, want, roll(t, tiny(t, k), o, sampling.Request{Step: 5, Problems: ps, Samples: 7}), "%+v", k)
	}
	for _, g := range []int{0, 4, 8} {
		for _, s := range []uint32{0, 6} {
			again := roll(t, m, o, sampling.Request{Step: 5, Problems: ps[g : g+1], Rows: []uint32{uint32(g)}, Samples: 1, First: s})
			require.Equal(t, want[g].Samples[s], again[0].Samples[0])
		}
	}
	other := roll(t, m, o, sampling.Request{Step: 6, Problems: ps, Samples: 7})
	require.NotEqual(t, want[0].Samples, other[0].Samples, "another step draws anew")
}

// The log-prob and entropy that the sampler reports are the bits the training forward computes, for every token.
func TestSamplerIsTrainer(t *testing.T) {
	samplerIsTrainer(t, tiny(t), func(want, got []float32, what string, temperature float32) {
		require.Equal(t, want, got, "%s at temperature %g", what, temperature)
	})
}

func samplerIsTrainer(t *testing.T, m *model.LM, check func(want, got []float32, what string, temperature float32)) {
	for _, temperature := range []float32{1, 0.7, 0} {
		groups := roll(t, m, sampling.Options{Temperature: temperature, Seed: 1, MaxTokens: 70}, sampling.Request{Problems: problems(8), Samples: 4})
		var ids, rows, targets []int32
		var lengths []int
		var logp, entropy []float32
		for _, g := range groups {
			for _, s := range g.Samples {
				at := int32(len(ids) + len(g.Prompt) - 1)
				for i, tok := range s.Tokens {
					rows, targets = append(rows, at+int32(i)), append(targets, tok)
				}
				ids = append(append(ids, g.Prompt...), s.Tokens...)
				lengths = append(lengths, len(g.Prompt)+len(s.Tokens))
				logp, entropy = append(logp, s.LogP...), append(entropy, s.Entropy...)
			}
		}
		train := temperature
		if train == 0 {
			train = 1
		}
		require.NoError(t, m.Device().Do(context.Background(), func(s *kernels.Scope) error {
			lp, h := m.LogProbs(s, ids, kernels.PackedSegs(lengths...), rows, targets, train)
			a, b := make([]float32, len(rows)), make([]float32, len(rows))
			require.NoError(t, s.Read(lp, a))
			require.NoError(t, s.Read(h, b))
			check(a, logp, "log-probs", temperature)
			check(b, entropy, "entropies", temperature)
			return nil
		}))
	}
}

func TestStops(t *testing.T) {
	m := tiny(t)
	groups := roll(t, m, sampling.Options{Temperature: 1, Seed: 3, MaxTokens: 90}, sampling.Request{Problems: problems(4), Samples: 16})
	seen := map[sampling.Stop]int{}
	for _, g := range groups {
		for _, s := range g.Samples {
			seen[s.Stop]++
			require.Len(t, s.LogP, len(s.Tokens))
			require.Len(t, s.Entropy, len(s.Tokens))
			last := s.Tokens[len(s.Tokens)-1]
			require.Equal(t, s.Stop == sampling.StopEOS, last == 1, "an end-of-sequence token ends the sample and is in it")
			if s.Stop == sampling.StopLength {
				require.Len(t, s.Tokens, 90)
			}
		}
	}
	require.Positive(t, seen[sampling.StopEOS])
	require.Positive(t, seen[sampling.StopLength])
	require.Zero(t, seen[sampling.StopNone])
	require.Equal(t, "eos length", fmt.Sprint(sampling.StopEOS, " ", sampling.StopLength))
}

// Rewards see the text without its end; a broken one leaves its sample not scored; progress counts samples.
func TestRewards(t *testing.T) {
	m := tiny(t)
	done := 0
	groups := roll(t, m, sampling.Options{Temperature: 1, Seed: 3}, sampling.Request{
		Problems: problems(3), Samples: 5, Progress: func(n, total int) { done = n; require.Equal(t, 15, total) },
		Score: reward.Named("length", func(_ context.Context, s reward.Sample) (reward.Score, error) {
			if len(s.Completion) == 0 {
				panic("empty")
			}
			return reward.Scored(float64(len(s.Completion))), nil
		}),
	})
	require.Equal(t, 15, done)
	for _, g := range groups {
		for _, s := range g.Samples {
			n := len(s.Tokens)
			if s.Stop == sampling.StopEOS {
				n--
			}
			v, ok := s.Score.Value()
			require.Equal(t, n > 0, ok)
			require.Equal(t, float64(n), v)
			require.Len(t, s.Parts, 1)
		}
	}
}

// Cancelled, a rollout returns the context's error soon and leaves nothing behind (the model's cleanup checks).
func TestCancel(t *testing.T) {
	m := tiny(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	groups, err := sampling.Rollout(ctx, sampling.New(m, sampling.Options{Codec: codec{}, Temperature: 1, MaxTokens: 90}), sampling.Request{
		Problems: problems(20), Samples: 20,
		Score: func(ctx context.Context, s reward.Sample) (reward.Score, error) {
			<-ctx.Done()
			return reward.Score{}, ctx.Err()
		},
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, groups)
}

// Cancelled while the last completions are judged, a rollout is no result either: what was not judged looks like what cannot be.
func TestCancelJudging(t *testing.T) {
	m := tiny(t)
	ctx, cancel := context.WithCancel(context.Background())
	score := func(ctx context.Context, _ reward.Sample) (reward.Score, error) {
		cancel()
		return reward.Score{}, ctx.Err()
	}
	_, err := sampling.Rollout(ctx, sampling.New(m, sampling.Options{Codec: codec{}, Temperature: 1, MaxTokens: 1}), sampling.Request{Problems: problems(1), Samples: 1, Score: score})
	require.ErrorIs(t, err, context.Canceled)
}

func TestRequestRefused(t *testing.T) {
	m := tiny(t)
	good := sampling.Options{Codec: codec{}, Temperature: 1, MaxTokens: 8}
	req := sampling.Request{Problems: problems(2), Samples: 2}
	for want, change := range map[string]func(o *sampling.Options, r *sampling.Request){
		"Codec is nil":         func(o *sampling.Options, r *sampling.Request) { o.Codec = nil },
		"temperature -1":       func(o *sampling.Options, r *sampling.Request) { o.Temperature = -1 },
		"MaxTokens is 0":       func(o *sampling.Options, r *sampling.Request) { o.MaxTokens = 0 },
		"0 samples":            func(o *sampling.Options, r *sampling.Request) { r.Samples = 0 },
		"MaxSeqs is -1":        func(o *sampling.Options, r *sampling.Request) { o.MaxSeqs = -1 },
		"1 rows for 2":         func(o *sampling.Options, r *sampling.Request) { r.Rows = []uint32{1} },
		"problem 0: prompt":    func(o *sampling.Options, r *sampling.Request) { r.Problems = []reward.Problem{{Prompt: "!"}} },
		"a prompt of 0 tokens": func(o *sampling.Options, r *sampling.Request) { r.Problems = []reward.Problem{{}} },
		"at most 128 in all":   func(o *sampling.Options, r *sampling.Request) { o.MaxTokens = 128 },
	} {
		o, r := good, req
		change(&o, &r)
		_, err := sampling.Rollout(context.Background(), sampling.New(m, o), r)
		require.ErrorContains(t, err, want)
		require.False(t, errors.Is(err, context.Canceled))
	}
}

func ExampleRollout() {
	dev, _ := kernels.Open("cpu")
	defer dev.Close()
	policy, _ := model.Tiny(dev, 1)
	defer policy.Close()
	engine := sampling.New(policy, sampling.Options{Codec: codec{}, Temperature: 1, MaxTokens: 16, Seed: 7})
	groups, err := sampling.Rollout(context.Background(), engine, sampling.Request{
		Problems: []reward.Problem{{Prompt: "12"}}, Samples: 4,
		Score: reward.FromText(func(_, completion, _ string) float64 { return float64(len(completion)) }),
	})
	fmt.Println(len(groups), len(groups[0].Samples), err)
	// Output: 1 4 <nil>
}

// Group rewards see the whole group, once, and add to what each sample has; one that breaks takes nothing away.
func TestCompare(t *testing.T) {
	m := tiny(t)
	shortest := reward.NamedGroup("shortest", func(_ context.Context, group []reward.Sample) ([]reward.Score, error) {
		if len(group) != 4 {
			return nil, fmt.Errorf("%d samples", len(group))
		}
		least := len(group[0].Tokens)
		for _, s := range group {
			least = min(least, len(s.Tokens))
		}
		scores := make([]reward.Score, len(group))
		for i, s := range group {
			if len(s.Tokens) == least {
				scores[i] = reward.Scored(100)
			}
		}
		return scores, nil
	})
	one := reward.Named("one", reward.FromText(func(_, _, _ string) float64 { return 1 }))
	req := sampling.Request{Problems: problems(5), Samples: 4, Score: one, Compare: shortest}
	o := sampling.Options{Temperature: 1, Seed: 3, EOS: []int32{1, 2, 3, 4, 5, 6, 7, 8}}
	for _, g := range roll(t, m, o, req) {
		least := len(g.Samples[0].Tokens)
		for _, s := range g.Samples {
			least = min(least, len(s.Tokens))
		}
		for _, s := range g.Samples {
			v, ok := s.Score.Value()
			require.True(t, ok)
			if want := 1.0; len(s.Tokens) == least {
				require.Equal(t, want+100, v)
			} else {
				require.Equal(t, want, v)
			}
			require.Len(t, s.Parts, 2)
			require.Equal(t, "shortest", s.Parts[1].Name)
		}
	}
	req.Compare = reward.NamedGroup("broken", func(context.Context, []reward.Sample) ([]reward.Score, error) { panic("x") })
	tally := reward.Tally{}
	for _, g := range roll(t, m, o, req) {
		for _, s := range g.Samples {
			v, _ := s.Score.Value()
			require.Equal(t, 1.0, v)
			tally.Add(s.Parts)
		}
	}
	require.Equal(t, reward.Tally{"one": {Scored: 20}, "broken": {Unscored: 20, Panicked: 20}}, tally)
	req.Score, req.Compare = nil, shortest
	scored := 0
	for _, g := range roll(t, m, o, req) {
		for _, s := range g.Samples {
			if _, ok := s.Score.Value(); ok {
				scored++
			}
		}
	}
	require.GreaterOrEqual(t, scored, 5)
}

// Truncated, the sampler records what it chose among; the trainer's head over those words gives its bits, and a draw depends on its
// counter alone.
func TestTruncatedSamplerIsTrainer(t *testing.T) {
	m := tiny(t)
	for _, c := range []kernels.Truncation{{TopK: 5}, {TopP: 0.8}, {TopK: 40, TopP: 0.95, MinP: 0.02}} {
		o := sampling.Options{Temperature: 0.9, Seed: 1, Truncation: c}
		groups := roll(t, m, o, sampling.Request{Problems: problems(5), Samples: 4})
		o.MaxSeqs = 3
		require.Equal(t, groups, roll(t, m, o, sampling.Request{Problems: problems(5), Samples: 4}))
		var ids, rows, targets []int32
		var lengths []int
		var logp, entropy []float32
		var keep [][]int32
		for _, g := range groups {
			for _, s := range g.Samples {
				require.Len(t, s.Keep, len(s.Tokens))
				at := int32(len(ids) + len(g.Prompt) - 1)
				for i, tok := range s.Tokens {
					rows, targets = append(rows, at+int32(i)), append(targets, tok)
					require.Contains(t, s.Keep[i], tok)
					if c.TopK > 0 {
						require.LessOrEqual(t, len(s.Keep[i]), c.TopK)
					}
				}
				ids = append(append(ids, g.Prompt...), s.Tokens...)
				lengths = append(lengths, len(g.Prompt)+len(s.Tokens))
				logp, entropy, keep = append(logp, s.LogP...), append(entropy, s.Entropy...), append(keep, s.Keep...)
			}
		}
		require.NoError(t, m.Device().Do(context.Background(), func(s *kernels.Scope) error {
			w, softCap := m.OutputHead()
			hidden := s.Gather(m.Forward(s, ids, kernels.PackedSegs(lengths...)), rows)
			lp, h := s.Head(hidden, w, targets, kernels.HeadOptions{Temp: s.Full(0.9, len(rows)), SoftCap: softCap, Keep: keep})
			a, b := make([]float32, len(rows)), make([]float32, len(rows))
			require.NoError(t, s.Read(lp, a))
			require.NoError(t, s.Read(h, b))
			require.Equal(t, a, logp, "%+v", c)
			require.Equal(t, b, entropy, "%+v", c)
			return nil
		}))
	}
	greedy := roll(t, m, sampling.Options{Seed: 1, Truncation: kernels.Truncation{TopK: 5}}, sampling.Request{Problems: problems(1), Samples: 1})
	require.Nil(t, greedy[0].Samples[0].Keep, "temperature 0 is not truncated")
	_, err := sampling.Rollout(context.Background(), sampling.New(m, sampling.Options{Codec: codec{}, MaxTokens: 4, Truncation: kernels.Truncation{TopP: 1.5}}), sampling.Request{Problems: problems(1), Samples: 1})
	require.ErrorContains(t, err, "top-p 1.5")
}

// Many prompts are run in parts, and a group's sequences share the pages of their prompt: ten times the problems cost what their sequences keep, no
// more, and draw what they draw alone.
func TestMemoryOfManyPrompts(t *testing.T) {
	peak := func(n, samples int) (int64, []sampling.Group) {
		m := tiny(t, kernels.Options{Threads: 1}) // lanes add to the peak what they happen to do at the same time
		ps := make([]reward.Problem, n)
		for i := range ps {
			prompt := make([]byte, 100)
			for j := range prompt {
				prompt[j] = byte('0' + (i*7+j*3+i*j)%60)
			}
			ps[i] = reward.Problem{Prompt: string(prompt)}
		}
		before := m.Device().Stats().PeakBytes
		groups := roll(t, m, sampling.Options{Temperature: 1, Seed: 3, MaxTokens: 4}, sampling.Request{Problems: ps, Samples: samples})
		return m.Device().Stats().PeakBytes - before, groups
	}
	few, want := peak(40, 1)
	many, groups := peak(400, 1)
	require.Equal(t, want, groups[:40])
	cache := model.Config{Layers: 2, KVHeads: 2, HeadDim: 16}.CacheBytes(4) * model.PageRows
	require.Less(t, many-few, (400-40)*9*cache*5/4, "7 pages a sequence, one partial page of its prompt meanwhile, classes of sizes")
	shared, _ := peak(40, 10)
	require.Less(t, shared-few, 40*9*2*cache*5/4, "a page or two a sample beside its group's prompt")
}
