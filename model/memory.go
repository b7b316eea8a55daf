package model

import (
	"fmt"
	"strings"
)

// Store is how many bytes a device keeps of each number. The zero value is nothing; see [Kept] and [SplitStore].
type Store struct {
	Name string
	// Of a parameter: the value that the optimiser changes; the copies that products read forward and back, of matrices only; the
	// gradient; AdamW's two moments together.
	Master, Forward, Backward, Gradient, Moments int64
	// Low is what is kept of a matrix in bf16 beside the forward copy, which together are its value: then there is no master of it, and the
	// backward copy is there only where something is trained. 0: there is a master.
	Low   int64
	Value int64 // of an activation or its gradient
	Key   int64 // of a number of a cached key or value
	// Missing is what of this the library does not have yet, in a sentence: then the plan is of what is to be built, and nothing can be
	// run like it. Empty: the library keeps exactly this.
	Missing string
}

// Kept is what the library keeps today: fp32 everywhere, and where the device packs weights (cpu does, libtorch does not) two packed copies of
// each matrix. In bf16 cpu keeps a matrix in halves, the high one in its packed copies, and cached keys and values in bf16; libtorch keeps one copy in bf16 beside the fp32 value.
func Kept(packs, bf16 bool) Store {
	s := Store{Name: "fp32", Master: 4, Gradient: 4, Moments: 8, Value: 4, Key: 4}
	if bf16 {
		s.Name = "bf16 products"
	}
	switch {
	case packs && bf16:
		s.Forward, s.Backward, s.Low, s.Key = 2, 2, 2, 2
	case packs:
		s.Forward, s.Backward = 4, 4
	case bf16:
		s.Forward = 2
	}
	return s
}

// SplitStore is what is meant for large models on a GPU: the high half of a master weight is its bf16 value and serves products as it lies,
// the low half completes it (4 bytes a parameter in all), moments and cached keys are bf16; gradients are fp32, or bf16.
func SplitStore(bf16Gradients bool) Store {
	s := Store{
		Name: "split bf16", Master: 4, Gradient: 4, Moments: 4, Value: 4, Key: 2,
		Missing: "split master weights, bf16 moments and bf16 cached keys are not implemented on a GPU: nothing can be run like this yet",
	}
	if bf16Gradients {
		s.Name, s.Gradient = "split bf16, bf16 gradients", 2
		s.Missing = "split master weights, bf16 moments, bf16 gradients and bf16 cached keys are not implemented on a GPU: nothing can be run like this yet"
	}
	return s
}

// Work is what is done with a model, as far as its memory goes.
type Work struct {
	Store      Store
	BF16       bool        // products in bf16 ([LM.UseBF16])
	LoRA       *LoRAConfig // trained in place of the weights; nil: all weights are
	References int         // further whole models for inference: a reference, teachers of this size
	TrainRows  int         // of the largest pass with a gradient; 0: nothing is trained
	Recompute  bool        // [LM.Recompute]
	ExactKL    bool        // another model's head beside the own ([kernels.Scope.HeadKL])
	Positions  int         // of the cache; 0: nothing is sampled
	Prefill    int         // rows of prompts that are run at once
	Sequences  int         // decoded at once
}

// Plan is what a run keeps in the device's memory, in bytes, from the config and the work alone: exact for weights and what belongs to them, an
// upper bound for the rest. Go's own heap, with texts and rollouts, is not in it.
type Plan struct {
	// As long as the run lasts.
	Weights    int64 `json:"weights"` // an adapter's too, and rotary tables
	Forward    int64 `json:"packed_forward"`
	Backward   int64 `json:"packed_backward"`
	Gradients  int64 `json:"gradients"` // a tied head has its own
	Moments    int64 `json:"moments"`
	References int64 `json:"references"`
	Scratch    int64 `json:"scratch"` // of the kernels: the head's logits of a block of rows, a product's rounded rows. Device.Stats does not see it

	// While it trains.
	Activations int64 `json:"activations"` // of all layers, or with Recompute the layers' inputs; what is before and after the layers
	Layer       int64 `json:"layer"`       // one layer's working set: its values where they are computed again, and gradients

	// While it samples.
	KV      int64 `json:"kv"`      // the cache's pages
	Prefill int64 `json:"prefill"` // one layer's values for the prompts that are run at once

	SeqKV int64 `json:"kv_per_position"`
}

// Always is what stays as long as the run lasts.
func (p Plan) Always() int64 {
	return p.Weights + p.Forward + p.Backward + p.Gradients + p.Moments + p.References + p.Scratch
}

// Training is the most while a step's gradient is computed.
func (p Plan) Training() int64 { return p.Always() + p.Activations + p.Layer }

// Sampling is the most while completions are drawn. The cache is gone before training begins.
func (p Plan) Sampling() int64 { return p.Always() + p.KV + p.Prefill }

// Peak is the most of both.
func (p Plan) Peak() int64 { return max(p.Training(), p.Sampling()) }

// Room is how many positions a cache may have where the device has so many bytes.
func (p Plan) Room(limit int64) int64 {
	left := limit - p.Always() - p.Prefill
	if left < 0 || p.SeqKV == 0 || limit < p.Training() {
		return 0
	}
	return left / (p.SeqKV * PageRows) * PageRows
}

// Plan computes what a run needs before it begins. The error is a LoRA configuration that fits no layer.
func (c Config) Plan(w Work) (Plan, error) {
	s := w.Store
	n := c.sizes(s.Low > 0)
	train := w.TrainRows > 0
	p := Plan{Weights: s.Master*(n.all-n.halved) + s.Low*n.halved + c.tableBytes(), Forward: s.Forward * n.forward, SeqKV: c.CacheBytes(s.Key)}
	p.References = int64(w.References) * (p.Weights + p.Forward)
	if s.Low == 0 {
		p.References += int64(w.References) * s.Backward * n.backward
	}
	if train || s.Low == 0 {
		p.Backward = s.Backward * n.backward
	}
	var targets []target
	trained, tied := n.all, n.tied // what has gradients
	if w.LoRA != nil {
		var err error
		if targets, err = w.LoRA.targets(c); err != nil {
			return Plan{}, err
		}
		trained, tied = 0, 0
		var own sizes
		for _, t := range targets {
			own.matrix(t.r, t.in)
			own.matrix(t.out, t.r)
		}
		trained = own.all
		fp32 := Kept(s.Backward > 0, false) // as an adapter's own products are
		p.Weights, p.Forward, p.Backward = p.Weights+s.Master*own.all, p.Forward+fp32.Forward*own.forward, p.Backward+fp32.Backward*own.backward
	}
	if train {
		p.Gradients, p.Moments = s.Gradient*(trained+tied), s.Moments*trained
		c.trainPlan(&p, w, targets)
	}
	if w.Positions > 0 {
		p.KV = p.SeqKV * int64((w.Positions+PageRows-1)/PageRows*PageRows)
		rows, d := int64(max(w.Prefill, w.Sequences)), int64(c.HiddenSize)
		p.Prefill = s.Value * (rows*(c.largest(w.BF16, targets).values+c.embedRow()+2*d+2) + int64(w.Sequences)*(d+8))
	}
	p.Scratch = c.scratch(w)
	return p, nil
}

// trainPlan adds what a pass of TrainRows rows with a gradient needs.
func (c Config) trainPlan(p *Plan, w Work, targets []target) {
	t, d := int64(w.TrainRows), int64(c.HiddenSize)
	most := c.largest(w.BF16, targets)
	outside := c.embedRow() + 3*d + 32 // last norm, the rows that are scored; their log-probs and the loss's vectors
	if w.ExactKL {
		outside += 2 * d
	}
	layers, working := int64(0), most.gradients+d
	for i := range c.Layers {
		layers += c.layerRow(i, w.BF16, targets).values
	}
	if w.Recompute {
		layers, working = int64(c.Layers)*d, working+most.values
	}
	p.Activations, p.Layer = w.Store.Value*t*(layers+outside), w.Store.Value*t*max(working, 3*d)
}

// embedRow is what LM.embedding makes of a row.
func (c Config) embedRow() int64 {
	if c.Gemma != nil {
		return 2 * int64(c.HiddenSize)
	}
	return int64(c.HiddenSize)
}

// perRow counts the numbers that a layer makes of one row.
type perRow struct{ values, gradients int64 }

// largest is the layer that makes most.
func (c Config) largest(bf16 bool, targets []target) (most perRow) {
	for i := range c.Layers {
		r := c.layerRow(i, bf16, targets)
		most.values, most.gradients = max(most.values, r.values), max(most.gradients, r.gradients)
	}
	return most
}

// layerRow follows LM.layer operation by operation: every result counts once, as the tape keeps it. Of gradients those count that
// are alive at once where most are: in the gated unit, or in attention.
func (c Config) layerRow(i int, bf16 bool, targets []target) (r perRow) {
	d, h, g, hd := int64(c.HiddenSize), int64(c.Heads), int64(c.KVHeads), int64(c.HeadDim)
	r.values = 6*d + 2 // two norms, two projections back to D, two sums
	if c.Gemma != nil {
		r.values += 2*d + 2
	}
	q, kv := h*hd, 2*g*hd
	if c.MLA != nil {
		r.values += c.latentRow()
		kv = 2 * q
	} else {
		r.values += q + kv + q + kv/2 // projected; queries and keys rotated
		if c.QKNorm {
			r.values += q + h + kv/2 + g
		}
	}
	if bf16 {
		r.values += kv
	}
	r.values += q + h // attention
	attention := 3*q + kv
	unit := 3 * int64(c.IntermediateSize)
	if c.sparse(i) {
		e := c.MoE
		k := int64(e.PerToken)
		unit = max(3*k*int64(e.Width)+4*k*d, 3*int64(e.Shared*e.Width))
		r.values += 6*int64(e.Experts) + 8*k + 3*k*int64(e.Width) + 6*k*d
		if e.Shared > 0 {
			r.values += 3*int64(e.Shared*e.Width) + 2*d
		}
	} else {
		r.values += unit
	}
	r.gradients = max(unit, attention) + 3*d
	prefix := fmt.Sprintf("model.layers.%d.", i)
	for _, t := range targets {
		if strings.HasPrefix(t.module, prefix) {
			share := int64(t.r + 3*t.out)
			if c.MoE != nil && strings.Contains(t.module, ".experts.") {
				share = (share*int64(c.MoE.PerToken) + int64(c.MoE.Experts) - 1) / int64(c.MoE.Experts)
			}
			r.values += share
			r.gradients = max(r.gradients, int64(2*t.out)+unit+3*d)
		}
	}
	return r
}

// latentRow is what multi-head latent attention makes before attention, LM.latentQueries, and the values' columns after it.
func (c Config) latentRow() int64 {
	a, h, hd := c.MLA, int64(c.Heads), int64(c.HeadDim)
	rope, nope, v, rank := int64(a.RopeDim), int64(a.NopeDim), int64(a.VDim), int64(a.KVRank)
	n := 2*h*hd + h*(nope+2*rope) + 2*int64(a.QRank) + 1 // queries
	n += 3*rank + 3*rope + 1 + h*(nope+v)                // the latent and what it expands to
	n += h*(rope+nope+hd) + h*v                          // keys and values
	if hd > v {
		n += h * (hd - v + hd)
	}
	return n + h*v
}

// scratch bounds what the cpu's kernels take for themselves: 4 MiB of logits, or 16 rows of them, twice beside another head or for truncated draws;
// bf16's rounded rows of a product. Elsewhere it is what heads may take by design.
func (c Config) scratch(w Work) int64 {
	if w.Store.Backward == 0 {
		return 64 << 20
	}
	vocab, rows := int64(c.VocabSize), int64(max(w.TrainRows, w.Prefill, w.Sequences))
	heads := int64(1)
	if w.ExactKL {
		heads = 2
	}
	block := (4 << 20) / vocab // rows of logits at a time, as cpu_head.c has them
	if block < int64(c.HiddenSize)/4 {
		block = (16 << 20) / heads / vocab
	}
	block = min(max(block, 16), max(rows, 1))
	logits := heads * 4 * block * vocab
	if !w.BF16 {
		return logits
	}
	widest := int64(max(c.IntermediateSize, c.HiddenSize, c.Heads*c.HeadDim))
	words := 2 * rows * widest // what a product reads, as words
	if w.TrainRows > 0 {       // both factors of a weight's gradient
		words += 2*int64(w.TrainRows)*(widest+int64(c.HiddenSize)) + 2*block*(vocab+int64(c.HiddenSize))
	}
	return logits + words
}

// sizes are numbers of parameters.
type sizes struct {
	all               int64
	halved            int64 // in matrices kept in halves
	forward, backward int64 // in packed copies, which are whole panels; in fp32 beside halves a number counts twice
	tied              int64 // the head's that is the embedding
}

// panel is the most columns that a packed panel has, the last one filled up.
const panel = 32

// up is x as whole panels have it.
func up(x int) int64 { return int64(x+panel-1) / panel * panel }

// matrix counts a matrix [n, k] that products read.
func (z *sizes) matrix(n, k int) {
	z.all += int64(n) * int64(k)
	z.forward += up(n) * int64(k)
	z.backward += up(k) * int64(n)
}

// halves counts a matrix [n, k] in halves, whose neighbours in depth lie in one word.
func (z *sizes) halves(n, k int, product bool) {
	z.all += int64(n) * int64(k)
	z.halved += int64(n) * int64(k)
	z.forward += up(n) * int64(k+k%2)
	if product {
		z.backward += up(k) * int64(n+n%2)
	}
}

// sizes counts the parameters of a model, in bf16 and kept in halves or not.
func (c Config) sizes(halves bool) (z sizes) {
	for _, w := range c.weights() {
		embedding := w.name == "model.embed_tokens.weight"
		product := len(w.shape) == 2 && (c.TieEmbeddings || !embedding)
		switch {
		case w.fixed:
		case halves && w.rounds():
			z.halves(w.shape[0], w.shape[1], product)
		case product:
			z.matrix(w.shape[0], w.shape[1])
			if halves { // a router, in fp32
				z.forward += up(w.shape[0]) * int64(w.shape[1])
				z.backward += up(w.shape[1]) * int64(w.shape[0])
			}
		case len(w.shape) == 2:
			z.all += int64(w.shape[0]) * int64(w.shape[1])
		default:
			z.all += int64(w.shape[0])
		}
		if embedding && product {
			z.tied = int64(w.shape[0]) * int64(w.shape[1])
		}
	}
	return z
}

func (c Config) tableBytes() int64 {
	tables := int64(1)
	if c.Gemma != nil {
		tables = 2
	}
	return 4 * tables * int64(c.MaxPositions) * int64(c.ropeDim())
}

// cached is how many keys' numbers a position has in all layers, and as many values'.
func (c Config) cached() int64 { return int64(c.Layers) * int64(c.KVHeads) * int64(c.HeadDim) }

// LoadBytes is the memory that Load takes in fp32: the weights and the rotary tables.
func (c Config) LoadBytes() int64 { return 4*c.ParamCount() + c.tableBytes() }

// loadHalves is what Load takes at least in bf16 where matrices are kept in halves: the low ones where the weights came from bf16 are none.
func (c Config) loadHalves() int64 {
	n := c.sizes(true)
	bytes := 4*(n.all-n.halved) + c.tableBytes()
	for _, w := range c.weights() {
		if w.rounds() && !w.fixed {
			bytes += 2 * up(w.shape[0]) * int64(w.shape[1]+w.shape[1]%2)
		}
	}
	return bytes
}

// CacheBytes is what a cache keeps of one position: keys and values of every layer in numbers of key bytes ([Store]'s Key).
func (c Config) CacheBytes(key int64) int64 { return key * 2 * c.cached() }

// CacheBytes is what m's cache keeps of one position.
func (m *LM) CacheBytes() int64 { return m.config.CacheBytes(int64(m.pageType().Size())) }
