package sampling

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
)

type bytesCodec struct{}

func (bytesCodec) Encode(text string) (ids []int32, err error) {
	for _, b := range []byte(text) {
		ids = append(ids, int32(b%64))
	}
	return ids, nil
}

func (bytesCodec) Decode([]int32) string { return "" }

// Guesses that are wrong anywhere, believed however often they were wrong, in a cache that is as full as it may be: nothing changes. Ends that
// were guessed and not drawn, or drawn and not guessed, are among them.
func TestHostileDrafts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.Tiny(dev, 7)
	require.NoError(t, err)
	wrong, right := 0, 0
	for range 60 {
		o := Options{Codec: bytesCodec{}, Temperature: float32(r.IntN(3)) / 2, MaxTokens: 1 + r.IntN(60), Seed: r.Uint64(), MaxSeqs: r.IntN(12), EOS: []int32{int32(r.IntN(64)), 5}}
		req := Request{Samples: 1 + r.IntN(5)}
		for range 1 + r.IntN(4) {
			req.Problems = append(req.Problems, reward.Problem{Prompt: "a long question, asked again"[:1+r.IntN(28)]})
		}
		o.Draft = -1
		want, err := Rollout(context.Background(), New(m, o), req)
		require.NoError(t, err)
		o.Draft = 1 + r.IntN(30)
		e := New(m, o)
		for i := range e.odds {
			e.odds[i].seen, e.odds[i].right = -1<<40, -1<<40 // certain for ever
		}
		for _, g := range want {
			lie := Group{Prompt: g.Prompt, Samples: make([]Sample, len(g.Samples))}
			for i, s := range g.Samples {
				for _, id := range s.Tokens {
					if r.IntN(8) == 0 {
						id = int32(r.IntN(64))
					}
					lie.Samples[i].Tokens = append(lie.Samples[i].Tokens, id)
				}
				lie.Samples[i].Tokens = append(lie.Samples[i].Tokens, int32(r.IntN(64)), int32(r.IntN(64)))
			}
			e.past.remember(&lie)
		}
		got, err := Rollout(context.Background(), e, req)
		require.NoError(t, err)
		require.Equal(t, want, got, "%+v", o)
		right, wrong = right+e.stats.Accepted, wrong+e.stats.Drafted-e.stats.Accepted
	}
	require.Greater(t, right, 1000)
	require.Greater(t, wrong, 1000)
	require.NoError(t, m.Close())
	require.Zero(t, dev.Stats().LiveTensors)
	require.NoError(t, dev.Close())
}

// What is kept of earlier epochs is bounded, and the latest is what is found.
func TestPastIsBounded(t *testing.T) {
	var p past
	group := func(row, tokens int) *Group {
		return &Group{Prompt: []int32{int32(row)}, Samples: []Sample{{Tokens: make([]int32, tokens)}}}
	}
	held := func() (bytes int) {
		for _, generation := range []map[uint64][][]int32{p.young, p.old} {
			for _, texts := range generation {
				for _, text := range texts {
					bytes += 4 * len(text)
				}
			}
		}
		return bytes
	}
	for row := range 40 {
		p.remember(group(row, 1<<20))
		require.Len(t, p.of([]int32{int32(row)}), 1)
		require.LessOrEqual(t, held(), 2*pastBytes)
	}
	require.Greater(t, held(), pastBytes/2)
	require.Nil(t, p.of([]int32{0}))
	p.remember(group(39, 3))
	require.Len(t, p.of([]int32{39})[0], 3)
	p.remember(group(39, pastBytes)) // more than all
	require.LessOrEqual(t, held(), 2*pastBytes)
}
