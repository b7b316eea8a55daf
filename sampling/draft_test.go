package sampling_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// Whatever is guessed, what is drawn has the bits that it has without: tokens, log-probs, entropies, the kept words and their mass, why it
// stopped. Three epochs of one engine, so that earlier completions are guessed from too; with problems that share a prompt.
func TestDraftsChangeNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		dtype kernels.DType
		o     kernels.Options
	}{
		{"qwen2", kernels.F32, kernels.Options{Threads: 1}},
		{"qwen2", kernels.F32, kernels.Options{Threads: 2, ISA: "portable"}},
		{"qwen2", kernels.BF16, kernels.Options{BF16: "fma", Threads: 2}},
		{"qwen2", kernels.BF16, kernels.Options{BF16: "dot"}},
		{"qwen2", kernels.BF16, kernels.Options{BF16: "tile", Threads: 2}},
		{"deepseek_v3", kernels.F32, kernels.Options{Threads: 2}},
		{"deepseek_v3", kernels.BF16, kernels.Options{Threads: 1}},
		{"qwen3_moe", kernels.F32, kernels.Options{Threads: 2}},
		{"gemma3", kernels.F32, kernels.Options{Threads: 2}},
	} {
		dev, err := kernels.Open("cpu", c.o)
		require.NoError(t, err)
		m, err := model.Load(dev, filepath.Join("..", "model", "testdata", "golden", c.name), model.Options{DType: c.dtype})
		require.NoError(t, err)
		var sum sampling.Stats
		for _, o := range []sampling.Options{
			{Temperature: 0, MaxTokens: 60}, {Temperature: 1, MaxTokens: 20}, {Temperature: 0.1, MaxTokens: 60},
			{Temperature: 0.2, MaxTokens: 40, Truncation: kernels.Truncation{TopK: 4, TopP: 0.95}},
		} {
			o.Codec, o.Seed, o.EOS = codec{}, r.Uint64(), []int32{int32(r.IntN(64))}
			ps := append(problems(4), problems(2)...)
			with, without := o, o
			with.Draft, without.Draft = r.IntN(2)*(1+r.IntN(6)), -1
			with.MaxSeqs = r.IntN(2) * (1 + r.IntN(30))
			drafting, plain := sampling.New(m, with), sampling.New(m, without)
			for epoch := range uint32(3) {
				req := sampling.Request{Step: epoch, Problems: ps, Samples: 1 + r.IntN(4)}
				want, err := sampling.Rollout(context.Background(), plain, req)
				require.NoError(t, err)
				told := map[*sampling.Group]map[int][]int32{}
				req.Token = func(g *sampling.Group, sample int, id int32) {
					if told[g] == nil {
						told[g] = map[int][]int32{}
					}
					told[g][sample] = append(told[g][sample], id)
				}
				got, err := sampling.Rollout(context.Background(), drafting, req)
				require.NoError(t, err)
				require.Equal(t, want, got, "%s %v %+v, %+v", c.name, c.dtype, c.o, with)
				for i := range got {
					for j, s := range got[i].Samples {
						require.Equal(t, s.Tokens, told[&got[i]][j], "each token was told once, in order")
					}
				}
			}
			require.Zero(t, plain.Stats().Drafted)
			require.Less(t, drafting.Stats().Accepted, drafting.Stats().Drafted+1)
			sum.Drafted, sum.Accepted = sum.Drafted+drafting.Stats().Drafted, sum.Accepted+drafting.Stats().Accepted
		}
		require.Greater(t, sum.Accepted, 100, "%s: right guesses were tried", c.name)
		require.Greater(t, sum.Drafted-sum.Accepted, 20, "%s: and wrong ones", c.name)
		require.NoError(t, m.Close())
		require.Zero(t, dev.Stats().LiveTensors)
		require.NoError(t, dev.Close())
	}
}

// A text that repeats itself is written in far fewer steps, and one that was written before in fewer still.
func TestDraftsSaveSteps(t *testing.T) {
	m := tiny(t)
	o := sampling.Options{Codec: codec{}, MaxTokens: 90, EOS: []int32{}}
	req := sampling.Request{Problems: []reward.Problem{{Prompt: strings.Repeat("ABCDE", 4)}}, Samples: 1}
	steps := func(e *sampling.Engine) int {
		before := e.Stats().Steps
		_, err := sampling.Rollout(context.Background(), e, req)
		require.NoError(t, err)
		return e.Stats().Steps - before
	}
	e := sampling.New(m, o)
	first, second := steps(e), steps(e)
	t.Log(first, second, e.Stats())
	o.Draft = -1
	require.Equal(t, 89, steps(sampling.New(m, o)), "one a token, the first with the prompt")
	require.Less(t, first, 60)
	require.Less(t, second, first/2)
}
