package sampling_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

// What rejection leaves are a rollout's own samples, whatever the number decoded at once; every dropped one has a reason.
func TestReject(t *testing.T) {
	m := tiny(t)
	even := reward.Named("even", reward.FromText(func(_, completion, _ string) float64 { return float64((len(completion) + 1) % 2) }))
	req := sampling.Request{Step: 3, Problems: problems(9), Samples: 6, Score: even}
	o := sampling.Options{Temperature: 1, Seed: 5}
	all := roll(t, m, o, req)
	var want []sampling.Kept
	for _, seqs := range []int{0, 13, 1} {
		o.MaxSeqs = seqs
		o.Codec, o.MaxTokens = codec{}, 20
		var got []sampling.Kept
		dropped, total := 0, 0
		for k, err := range sampling.Reject(context.Background(), sampling.New(m, o), req, pick.All(pick.AtLeast("even", 1), pick.First(2))) {
			require.NoError(t, err)
			got = append(got, k)
			total += k.Drawn
			for i, n := range k.Numbers {
				require.Equal(t, all[len(got)-1].Samples[n], k.Samples[i])
			}
			for _, n := range k.Dropped {
				dropped += n
			}
			dropped += len(k.Samples)
			require.LessOrEqual(t, len(k.Samples), 2)
		}
		require.Len(t, got, 9)
		require.Equal(t, total, dropped)
		if want == nil {
			want = got
		}
		require.Equal(t, want, got)
	}
	for k, err := range sampling.Reject(context.Background(), sampling.New(m, o), req, pick.Judged("again", even, 1)) {
		require.NoError(t, err)
		for _, q := range k.Samples {
			require.Equal(t, "again", q.Parts[1].Name, "what keep asked for stays with the sample")
		}
	}
	for k, err := range sampling.Reject(context.Background(), sampling.New(m, o), req, pick.Whole) {
		require.NoError(t, err)
		require.Equal(t, all[0].Prompt, k.Prompt)
		break // the rest is not drawn
	}
	req.Rows = []uint32{1}
	for _, err := range sampling.Reject(context.Background(), sampling.New(m, o), req, pick.Whole) {
		require.ErrorContains(t, err, "1 rows for 9")
	}
	req.Rows = nil
	broken := func(context.Context, []pick.Candidate) error { return fmt.Errorf("broken") }
	n := 0
	for _, err := range sampling.Reject(context.Background(), sampling.New(m, o), req, broken) {
		require.EqualError(t, err, "broken")
		n++
	}
	require.Equal(t, 1, n)
}

func ExampleReject() {
	dev, _ := kernels.Open("cpu")
	defer dev.Close()
	policy, _ := model.Tiny(dev, 1)
	defer policy.Close()
	engine := sampling.New(policy, sampling.Options{Codec: codec{}, Temperature: 1, MaxTokens: 16, Seed: 7})
	short := reward.Named("short", reward.FromText(func(_, completion, _ string) float64 { return -float64(len(completion)) }))
	req := sampling.Request{Problems: []reward.Problem{{Prompt: "12"}}, Samples: 8, Score: short}
	for g, err := range sampling.Reject(context.Background(), engine, req, pick.Best(2, "short")) {
		fmt.Println(len(g.Samples), g.Drawn, g.Dropped, err)
	}
	// Output: 2 8 map[not chosen:6] <nil>
}
