package model

import "strings"

// LoadBytes is the memory that Load takes: fp32 weights and the rotary tables.
func (c Config) LoadBytes() int64 {
	tables := int64(1)
	if c.Gemma != nil {
		tables = 2
	}
	return 4 * (c.ParamCount() + tables*int64(c.MaxPositions)*int64(c.ropeDim()))
}

// InferBytes is what inference keeps, the cache aside: fp32 weights and their packed copies.
func (c Config) InferBytes() int64 { return 4 * (1 + 2) * c.ParamCount() }

// CacheBytes is what a cache keeps of one position: keys and values of every layer in fp32.
func (c Config) CacheBytes() int64 {
	return 4 * 2 * int64(c.Layers) * int64(c.KVHeads) * int64(c.HeadDim)
}

// LoRABytes is what LoRA training of the given rank keeps per step whatever the batch: the frozen weights as for inference, and
// for A [rank, in] and B [out, rank] of every projection of attention and gated units the values, packed copies, gradients and
// AdamW's two moments.
func (c Config) LoRABytes(rank int) int64 {
	n := int64(0)
	for _, w := range c.weights() {
		if strings.HasSuffix(w.name, "_proj.weight") {
			n += int64(rank) * int64(w.shape[0]+w.shape[1])
		}
	}
	return c.InferBytes() + 4*(1+2+1+2)*n
}
