package model_test

import (
	"context"
	"flag"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

var long = flag.Bool("long", false, "run the long tests: one sequence of 65,536 tokens (about 4 minutes)")

// gradients runs forward and backward over one sequence and returns the hidden rows from position tail on, the gradients
// and the most memory that was in use beyond what the model holds.
func gradients(t *testing.T, m *model.LM, ids []int32, tail int) (hidden []float32, grads [][]float32, peak int64) {
	dev, n := m.Device(), len(ids)
	before := dev.Stats().LiveBytes
	rows, targets := make([]int32, n-1), ids[1:]
	for i := range rows {
		rows[i] = int32(i)
	}
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		h := m.Forward(s, ids, kernels.PackedSegs(n))
		logp, _ := m.Head(s, s.Gather(h, rows), targets, 1)
		loss := s.Affine(s.Sum(logp), -1/float32(n), 0)
		s.Backward([]*kernels.Tensor{loss}, nil)
		hidden = make([]float32, (n-tail)*m.Config().HiddenSize)
		return s.Read(s.Rows(h, tail, n-tail), hidden)
	}))
	peak = dev.Stats().PeakBytes - before
	for _, p := range m.Params() {
		gs, err := p.Grads()
		require.NoError(t, err)
		for _, g := range gs {
			v := make([]float32, g.Len())
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { return s.Read(g, v) }))
			grads = append(grads, v)
		}
		require.NoError(t, p.ZeroGrad())
	}
	return hidden, grads, peak
}

// One sequence of 65,536 tokens through a model of a million parameters: forward and backward with layers computed again,
// the memory for it no more than its parts, and the same bits from prefill in chunks and from decoding the last positions
// one by one.
func TestVeryLongSequence(t *testing.T) {
	if !*long {
		t.Skip("a long test: go test ./model -run TestVeryLongSequence -long -timeout 60m")
	}
	const n, tail, width, hiddenSize, layers = 65536, 65528, 512, 128, 4
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.New(dev, model.Config{
		ModelType: "llama", VocabSize: 512, HiddenSize: hiddenSize, IntermediateSize: width, Layers: layers, Heads: 4, KVHeads: 4, HeadDim: 32, MaxPositions: n,
		NormEps: 1e-6, InitializerRange: 0.02, TieEmbeddings: true, BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}, 1, nil)
	require.NoError(t, err)
	m.Recompute(true)
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(kernels.Philox([2]uint32{9}, [4]uint32{uint32(i)})[0] % 512)
	}
	start := time.Now()
	want, grads, peak := gradients(t, m, ids, tail)
	t.Logf("forward and backward: %v, %d MiB", time.Since(start).Round(time.Second), peak>>20)
	for _, g := range grads {
		for _, x := range g {
			require.False(t, math.IsNaN(float64(x)) || math.IsInf(float64(x), 0))
		}
	}
	// a layer's input each; one layer's rows with their gradients: 12 of the model's width, 3 of the unit's; gradients of the
	// weights, weights packed both ways; scratch of the head
	plan := 4 * int64(n) * (hiddenSize*(layers+3) + 2*(12*hiddenSize+3*width))
	plan += 3*4*m.Config().ParamCount() + 64<<20
	require.LessOrEqual(t, float64(peak), 1.10*float64(plan), "peak of %d MiB, planned %d", peak>>20, plan>>20)

	cache, err := m.NewCache(n)
	require.NoError(t, err)
	seq := cache.NewSeq()
	var got []float32
	extend := func(from, to int) {
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			h := cache.Extend(s, []*model.Seq{seq}, [][]int32{ids[from:to]})
			if from < tail {
				return s.Err()
			}
			v := make([]float32, (to-from)*hiddenSize)
			got = append(got, v...)
			return s.Read(h, got[len(got)-len(v):])
		}))
	}
	start = time.Now()
	for at := 0; at < tail; at += 1000 {
		extend(at, min(at+1000, tail))
	}
	t.Logf("prefill in chunks: %v", time.Since(start).Round(time.Second))
	extend(tail, tail+3)
	for at := tail + 3; at < n; at++ {
		extend(at, at+1)
	}
	require.Equal(t, want, got)
	require.NoError(t, cache.Close())
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
}
