package model

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
)

// Shape suffixes: T packed tokens, D hidden size, V vocabulary, H query heads, G key heads, d head size.

// LM is a decoder-only language model on a device. Its methods may run in several scopes at once while nobody changes the
// parameters. Close frees it.
type LM struct {
	config Config
	dev    *kernels.Device
	params []*kernels.Param
	byName map[string]*kernels.Param
	embed  *kernels.Param
	head   *kernels.Param // the embedding's second use where they are tied
	norm   *kernels.Param
	layers []layer
	table  *kernels.Tensor // rotary cosines and sines [positions, d]
}

type layer struct {
	inNorm, postNorm *kernels.Param
	q, k, v, o       linear
	qNorm, kNorm     *kernels.Param // nil where the family has none
	gate, up, down   linear
}

type linear struct{ w, b *kernels.Param } // b may be nil

func (l linear) apply(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor {
	if l.b == nil {
		return s.Linear(x, l.w.Tensor, nil)
	}
	return s.Linear(x, l.w.Tensor, l.b.Tensor)
}

// weight is one array of a checkpoint.
type weight struct {
	name  string
	shape []int
}

// weights lists the checkpoint's arrays under Hugging Face's names, in the model's order. It is the description of the
// architecture that loading, saving, initialising and counting share.
func (c Config) weights() []weight {
	ws := []weight{{"model.embed_tokens.weight", []int{c.VocabSize, c.HiddenSize}}}
	lin := func(name string, out, in int, bias bool) {
		ws = append(ws, weight{name + ".weight", []int{out, in}})
		if bias {
			ws = append(ws, weight{name + ".bias", []int{out}})
		}
	}
	vec := func(name string, n int) { ws = append(ws, weight{name + ".weight", []int{n}}) }
	for i := range c.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		vec(p+"input_layernorm", c.HiddenSize)
		lin(p+"self_attn.q_proj", c.Heads*c.HeadDim, c.HiddenSize, c.QKVBias)
		lin(p+"self_attn.k_proj", c.KVHeads*c.HeadDim, c.HiddenSize, c.QKVBias)
		lin(p+"self_attn.v_proj", c.KVHeads*c.HeadDim, c.HiddenSize, c.QKVBias)
		lin(p+"self_attn.o_proj", c.HiddenSize, c.Heads*c.HeadDim, c.OutBias)
		if c.QKNorm {
			vec(p+"self_attn.q_norm", c.HeadDim)
			vec(p+"self_attn.k_norm", c.HeadDim)
		}
		vec(p+"post_attention_layernorm", c.HiddenSize)
		lin(p+"mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		lin(p+"mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		lin(p+"mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.MLPBias)
	}
	vec("model.norm", c.HiddenSize)
	if !c.TieEmbeddings {
		ws = append(ws, weight{"lm_head.weight", []int{c.VocabSize, c.HiddenSize}})
	}
	return ws
}

// build makes the model from a function that gives each array's values.
func build(dev *kernels.Device, c Config, values func(w weight) ([]float32, error)) (*LM, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	m := &LM{config: c, dev: dev, byName: map[string]*kernels.Param{}}
	fail := func(err error) (*LM, error) { return nil, errors.Join(err, m.Close()) }
	for _, w := range c.weights() {
		v, err := values(w)
		if err != nil {
			return fail(err)
		}
		p, err := dev.NewParam(w.name, v, w.shape...)
		if err != nil {
			return fail(fmt.Errorf("model: %w", err))
		}
		m.params = append(m.params, p)
		m.byName[w.name] = p
	}
	m.bind()
	table := c.ropeTable(c.MaxPositions)
	t, err := dev.NewBuffer(kernels.F32, c.MaxPositions, c.HeadDim)
	if err != nil {
		return fail(fmt.Errorf("model: rotary table: %w", err))
	}
	m.table = t
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.CopyTo(m.table, s.FromF32(table, c.MaxPositions, c.HeadDim))
		return nil
	})
	if err != nil {
		return fail(fmt.Errorf("model: rotary table: %w", err))
	}
	return m, nil
}

// bind gives the parameters their places in the layers.
func (m *LM) bind() {
	lin := func(name string) linear { return linear{m.byName[name+".weight"], m.byName[name+".bias"]} }
	vec := func(name string) *kernels.Param { return m.byName[name+".weight"] }
	m.embed, m.norm, m.head = vec("model.embed_tokens"), vec("model.norm"), vec("lm_head")
	if m.config.TieEmbeddings {
		m.head = m.embed.Tied("lm_head.weight")
	}
	for i := range m.config.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		m.layers = append(m.layers, layer{
			inNorm: vec(p + "input_layernorm"), postNorm: vec(p + "post_attention_layernorm"),
			q: lin(p + "self_attn.q_proj"), k: lin(p + "self_attn.k_proj"), v: lin(p + "self_attn.v_proj"), o: lin(p + "self_attn.o_proj"),
			qNorm: vec(p + "self_attn.q_norm"), kNorm: vec(p + "self_attn.k_norm"),
			gate: lin(p + "mlp.gate_proj"), up: lin(p + "mlp.up_proj"), down: lin(p + "mlp.down_proj"),
		})
	}
}

// Config describes the model.
func (m *LM) Config() Config { return m.config }

// Device is where the model lies.
func (m *LM) Device() *kernels.Device { return m.dev }

// Params are the parameters, in the order of the checkpoint; a tied head is a use of the first, not one of them.
func (m *LM) Params() []*kernels.Param { return m.params }

// Param returns the parameter with a Hugging Face name, or nil.
func (m *LM) Param(name string) *kernels.Param { return m.byName[name] }

// Close frees the model.
func (m *LM) Close() error {
	var errs []error
	for _, p := range m.params {
		errs = append(errs, p.Free())
	}
	if m.table != nil {
		errs = append(errs, m.table.Free())
	}
	m.params, m.table = nil, nil
	return errors.Join(errs...)
}

// attend is what differs between training and cached decoding: where the keys and values of earlier rows are.
type attend func(s *kernels.Scope, layer int, q, k, v *kernels.Tensor) *kernels.Tensor

// run is the decoder: the hidden rows after the final norm [T, D].
func (m *LM) run(s *kernels.Scope, ids, positions []int32, at attend) *kernels.Tensor {
	c := m.config
	for i, p := range positions {
		if int(p) >= c.MaxPositions {
			s.Fail(fmt.Errorf("model: row %d is at position %d; the model has %d (max_position_embeddings)", i, p, c.MaxPositions))
		}
	}
	eps := float32(c.NormEps)
	pos := s.FromI32(positions)
	x := s.Embedding(m.embed.Tensor, ids)
	for i := range m.layers {
		out := s.Sub(func(s *kernels.Scope) []*kernels.Tensor { return []*kernels.Tensor{m.layer(s, i, x, pos, at)} })
		if s.Err() != nil {
			break
		}
		x = out[0]
	}
	return s.RMSNorm(x, m.norm.Tensor, eps)
}

// layer is one block: attention, then the gated unit, each after a norm and added to the residual x [T, D].
func (m *LM) layer(s *kernels.Scope, i int, x, pos *kernels.Tensor, at attend) *kernels.Tensor {
	c, l, eps, t := m.config, &m.layers[i], float32(m.config.NormEps), x.Dim(0)
	h := s.RMSNorm(x, l.inNorm.Tensor, eps)
	q := s.Reshape(l.q.apply(s, h), t, c.Heads, c.HeadDim)
	k := s.Reshape(l.k.apply(s, h), t, c.KVHeads, c.HeadDim)
	v := s.Reshape(l.v.apply(s, h), t, c.KVHeads, c.HeadDim)
	if l.qNorm != nil {
		q, k = s.RMSNorm(q, l.qNorm.Tensor, eps), s.RMSNorm(k, l.kNorm.Tensor, eps)
	}
	o := at(s, i, s.Rope(q, pos, m.table), s.Rope(k, pos, m.table), v)
	x = s.Add(x, l.o.apply(s, s.Reshape(o, t, c.Heads*c.HeadDim)))
	h = s.RMSNorm(x, l.postNorm.Tensor, eps)
	return s.Add(x, l.down.apply(s, s.SwiGLU(l.gate.apply(s, h), l.up.apply(s, h))))
}

func (m *LM) attnOptions() kernels.AttnOptions {
	return kernels.AttnOptions{Scale: float32(1 / math.Sqrt(float64(m.config.HeadDim)))}
}

// Forward runs packed sequences and returns the hidden rows after the final norm, [T, D].
func (m *LM) Forward(s *kernels.Scope, ids []int32, segs kernels.Segs) *kernels.Tensor {
	if err := segs.Validate(); err != nil {
		s.Fail(fmt.Errorf("model: %w", err))
		return s.Zeros(0, m.config.HiddenSize)
	}
	if len(ids) != segs.Rows() {
		s.Fail(fmt.Errorf("model: %d ids for segs of %d rows", len(ids), segs.Rows()))
	}
	return m.run(s, ids, segs.Positions(), func(s *kernels.Scope, _ int, q, k, v *kernels.Tensor) *kernels.Tensor {
		return s.Attention(q, k, v, segs, m.attnOptions())
	})
}

// Logits are the head's raw scores of hidden rows, [T, V]: for looking at; training and sampling never store them.
func (m *LM) Logits(s *kernels.Scope, hiddenTD *kernels.Tensor) *kernels.Tensor {
	return s.Linear(hiddenTD, m.head.Tensor, nil)
}

// LogProbs runs packed sequences and returns, for each i, the log-probability of targets[i] as the token that follows row
// rows[i], and the entropy of that distribution: two tensors [len(rows)], in nats, at the given temperature (1: as is).
// A sequence with a parent continues the parent's rows, so the parent's last row predicts each child's first token.
func (m *LM) LogProbs(s *kernels.Scope, ids []int32, segs kernels.Segs, rows, targets []int32, temperature float32) (logpC, entropyC *kernels.Tensor) {
	return m.Head(s, s.Gather(m.Forward(s, ids, segs), rows), targets, temperature)
}

// Head gives the log-probability of targets after hidden rows [C, D], and the entropy there.
func (m *LM) Head(s *kernels.Scope, hiddenCD *kernels.Tensor, targets []int32, temperature float32) (logpC, entropyC *kernels.Tensor) {
	o := kernels.HeadOptions{}
	if !(temperature > 0) || math.IsInf(float64(temperature), 1) {
		s.Fail(fmt.Errorf("model: temperature is %g, want a positive number", temperature))
	}
	if temperature != 1 {
		o.Temp = s.Full(temperature, len(targets))
	}
	return s.Head(hiddenCD, m.head.Tensor, targets, o)
}

// Sample draws one token after each hidden row [B, D].
func (m *LM) Sample(s *kernels.Scope, hiddenBD *kernels.Tensor, o kernels.SampleOptions) (tokenB, logpB, entropyB *kernels.Tensor) {
	return s.SampleHead(hiddenBD, m.head.Tensor, o)
}

// NextTokens lists what a language model trains on: in each sequence every row but the last, and the token after it.
func NextTokens(ids []int32, segs kernels.Segs) (rows, targets []int32) {
	for _, g := range segs {
		for t := g.Start; t < g.Start+g.Len-1; t++ {
			rows, targets = append(rows, t), append(targets, ids[t+1])
		}
	}
	return rows, targets
}
