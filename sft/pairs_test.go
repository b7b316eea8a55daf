package sft_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/eval"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/sft"
)

var long = flag.Bool("long", false, "run the tests that take minutes")

// A reward model from nothing, over bytes, on people's choices between answers of language models: 200 pairs to learn from, 100
// to be measured on. It says little about such a small model and much about the path from a file to an interval.
//
//	go test ./sft -run PublicPairs -long -v
func TestPublicPairs(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	train, held := publicPairs(t)
	steps := 2
	if *long {
		steps = 100
	}
	dev := openCPU(t)
	m, err := model.New(dev, model.Config{
		ModelType: "llama", VocabSize: 257, HiddenSize: 48, IntermediateSize: 96, Layers: 2, Heads: 3, KVHeads: 1, HeadDim: 16, MaxPositions: 640,
		NormEps: 1e-6, InitializerRange: 0.1, TieEmbeddings: true, BOS: -1, PAD: -1, EOS: []int{256}, Rope: model.Rope{Type: "default", Theta: 1000},
	}, 1, nil)
	require.NoError(t, err)
	rm, err := model.NewScorer(m, 0.02, 1)
	require.NoError(t, err)
	defer rm.Close()
	c := sft.Default()
	c.LearningRate = 1e-3
	tr, err := sft.NewPreference(rm, c)
	require.NoError(t, err)
	defer tr.Close()
	draw := rand.New(rand.NewPCG(1, 1))
	var st sft.PreferenceStats
	for range steps {
		batch := make([]sft.Pair, 20)
		for i := range batch {
			batch[i] = train[draw.IntN(len(train))]
		}
		st, err = tr.StepPairs(context.Background(), batch)
		require.NoError(t, err)
	}
	right, err := sft.PairAccuracy(context.Background(), rm, held, 4096)
	require.NoError(t, err)
	low, high, err := eval.Wilson(int(right), len(held))
	require.NoError(t, err)
	t.Logf("last batch: loss %.3f, %.0f %% right; held out: %.0f of %d pairs, %.0f %% (95 %% interval %.0f to %.0f)", st.Loss, 100*st.Accuracy, right, len(held),
		right, 100*low, 100*high)
	require.Greater(t, high, 0.5)
	if *long {
		require.Greater(t, st.Accuracy, 0.8, "what it has seen it has learnt")
	}
}

// publicPairs are the pairs of testdata as bytes, the last 100 apart.
func publicPairs(t *testing.T) (train, held []sft.Pair) {
	f, err := os.Open("testdata/pairs.jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for d := json.NewDecoder(z); d.More(); {
		var row struct{ Prompt, Chosen, Rejected string }
		require.NoError(t, d.Decode(&row))
		text := func(answer string) []int32 {
			var ids []int32
			for _, b := range []byte(row.Prompt + "\n\n" + answer) {
				ids = append(ids, int32(b))
			}
			return append(ids, 256)
		}
		train = append(train, sft.Pair{Chosen: text(row.Chosen), Rejected: text(row.Rejected)})
	}
	require.Len(t, train, 300)
	return train[:200], train[200:]
}
