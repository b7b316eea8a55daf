package bench

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gor1/gor1/model"
)

// shapes are models that people know the speed of: a toy, Karpathy's stories15M, SmolLM2-135M, Qwen2.5-0.5B, -1.5B and -7B, Qwen3-0.6B.
var shapes = map[string]model.Config{
	"1m": {
		ModelType: "llama", VocabSize: 512, HiddenSize: 128, IntermediateSize: 512, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 32,
	},
	"15m": {
		ModelType: "llama", VocabSize: 32000, HiddenSize: 288, IntermediateSize: 768, Layers: 6, Heads: 6, KVHeads: 6, HeadDim: 48,
	},
	"135m": {
		ModelType: "llama", VocabSize: 49152, HiddenSize: 576, IntermediateSize: 1536, Layers: 30, Heads: 9, KVHeads: 3, HeadDim: 64,
	},
	"0.5b": {
		ModelType: "qwen2", VocabSize: 151936, HiddenSize: 896, IntermediateSize: 4864, Layers: 24, Heads: 14, KVHeads: 2, HeadDim: 64, QKVBias: true,
	},
	"0.6b": {
		ModelType: "qwen3", VocabSize: 151936, HiddenSize: 1024, IntermediateSize: 3072, Layers: 28, Heads: 16, KVHeads: 8, HeadDim: 128, QKNorm: true,
	},
	"1.5b": {
		ModelType: "qwen2", VocabSize: 151936, HiddenSize: 1536, IntermediateSize: 8960, Layers: 28, Heads: 12, KVHeads: 2, HeadDim: 128, QKVBias: true,
	},
	"7b": {
		ModelType: "qwen2", VocabSize: 152064, HiddenSize: 3584, IntermediateSize: 18944, Layers: 28, Heads: 28, KVHeads: 4, HeadDim: 128, QKVBias: true,
	},
}

// ErrUnknown marks errors of a name that is not in the tables.
var ErrUnknown = errors.New("bench")

// Shape returns the model of a name, for at least the given number of positions.
func Shape(name string, positions int) (model.Config, error) {
	c, ok := shapes[name]
	if !ok {
		return c, fmt.Errorf("%w: no shape %q; known are %s", ErrUnknown, name, strings.Join(slices.Sorted(maps.Keys(shapes)), ", "))
	}
	c.TieEmbeddings, c.NormEps, c.InitializerRange = name != "7b", 1e-6, 0.02
	c.BOS, c.PAD, c.MaxPositions = -1, -1, positions
	c.Rope = model.Rope{Type: "default", Theta: 10000}
	return c, c.Validate()
}

// costs of a model: of a token's matrix products with and without the head, of one query's attention over one key, and of the cache.
type costs struct {
	params      float64 // in matrix products, the head among them
	head        float64
	attention   float64 // FLOP of one query and one key, all layers
	cacheBytes  float64 // of one position
	weightBytes float64 // of the packed weights that a forward pass reads
}

func costsOf(c model.Config, bf16 bool) costs {
	size, key := 4.0, model.Kept(true, bf16).Key // on cpu
	if bf16 {
		size = 2
	}
	head := float64(c.VocabSize) * float64(c.HiddenSize)
	params := float64(c.ParamCount())
	if !c.TieEmbeddings {
		params -= head // rows that are looked up
	}
	return costs{
		params: params, head: head, attention: 4 * float64(c.Layers*c.Heads*c.HeadDim),
		cacheBytes: float64(c.CacheBytes(key)), weightBytes: size * params,
	}
}
