package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

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
	tables []*kernels.Tensor    // rotary cosines and sines [positions, d]; a second one for sliding layers
	fixed  map[string][]float32 // arrays of the checkpoint that are not trained, by name
	lora   *adapter             // nil: none; else the weights are another model's, frozen
	noise  *noise               // nil: none; else this is a view for a step of supervised training
	bf16   bool                 // products, keys and values are rounded
	again  bool                 // training keeps the layers' inputs only
}

type layer struct {
	inNorm, postNorm *kernels.Param // before attention and before the gated unit
	attnOut, mlpOut  *kernels.Param // after them; nil where the family has none
	q, k, v, o       linear
	qNorm, kNorm     *kernels.Param // nil where the family has none
	latent           latent         // in place of q, k, v where the config has MLA
	unit             unit
	router           linear // w nil: the layer is dense
	correction       []float32
	experts          []unit
	table            *kernels.Tensor
	attn             kernels.AttnOptions
}

// unit is a gated unit: down(act(gate x) * up x).
type unit struct{ gate, up, down linear }

type linear struct {
	w, b *kernels.Param // b may be nil
	lora *lora          // nil: none
}

func (l linear) apply(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor {
	var bias *kernels.Tensor
	if l.b != nil {
		bias = l.b.Tensor
	}
	y := s.Linear(x, l.w.Tensor, bias)
	if l.lora != nil {
		y = l.lora.add(s, y, x)
	}
	return y
}

// applyAll are the products of x with several weights, in one operation; with adapters one after the other, each with its own, because
// the order in which gradients reach x is part of their bits.
func applyAll(s *kernels.Scope, x *kernels.Tensor, ls ...linear) []*kernels.Tensor {
	ys, ws, biases := make([]*kernels.Tensor, len(ls)), make([]*kernels.Tensor, len(ls)), make([]*kernels.Tensor, len(ls))
	plain := true
	for i, l := range ls {
		ws[i], plain = l.w.Tensor, plain && l.lora == nil
		if l.b != nil {
			biases[i] = l.b.Tensor
		}
	}
	if plain {
		return s.Linears(x, ws, biases)
	}
	for i, l := range ls {
		ys[i] = l.apply(s, x)
	}
	return ys
}

// weight is one array of a checkpoint.
type weight struct {
	name  string
	shape []int
	fixed bool // not trained
}

// rounds tells whether a model in bf16 rounds the array in its products: every matrix but an expert router's.
func (w weight) rounds() bool {
	return len(w.shape) == 2 && !strings.HasSuffix(w.name, ".mlp.gate.weight")
}

// weights lists the checkpoint's arrays under Hugging Face's names, in the model's order. It is the description of the
// architecture that loading, saving, initialising and counting share.
func (c Config) weights() []weight {
	ws := &weightList{{name: "model.embed_tokens.weight", shape: []int{c.VocabSize, c.HiddenSize}}}
	for i := range c.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		ws.vec(p+"input_layernorm", c.HiddenSize)
		if c.MLA != nil {
			c.latentWeights(ws, p+"self_attn.")
		} else {
			ws.lin(p+"self_attn.q_proj", c.Heads*c.HeadDim, c.HiddenSize, c.QKVBias)
			ws.lin(p+"self_attn.k_proj", c.KVHeads*c.HeadDim, c.HiddenSize, c.QKVBias)
			ws.lin(p+"self_attn.v_proj", c.KVHeads*c.HeadDim, c.HiddenSize, c.QKVBias)
			ws.lin(p+"self_attn.o_proj", c.HiddenSize, c.Heads*c.HeadDim, c.OutBias)
		}
		if c.QKNorm {
			ws.vec(p+"self_attn.q_norm", c.HeadDim)
			ws.vec(p+"self_attn.k_norm", c.HeadDim)
		}
		ws.vec(p+"post_attention_layernorm", c.HiddenSize)
		if c.Gemma != nil {
			ws.vec(p+"pre_feedforward_layernorm", c.HiddenSize)
			ws.vec(p+"post_feedforward_layernorm", c.HiddenSize)
		}
		if c.sparse(i) {
			c.expertWeights(ws, p+"mlp.")
		} else {
			ws.unit(p+"mlp.", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		}
	}
	ws.vec("model.norm", c.HiddenSize)
	if !c.TieEmbeddings {
		ws.lin("lm_head", c.VocabSize, c.HiddenSize, false)
	}
	return *ws
}

type weightList []weight

func (ws *weightList) lin(name string, out, in int, bias bool) {
	*ws = append(*ws, weight{name: name + ".weight", shape: []int{out, in}})
	if bias {
		*ws = append(*ws, weight{name: name + ".bias", shape: []int{out}})
	}
}

func (ws *weightList) vec(name string, n int) {
	*ws = append(*ws, weight{name: name + ".weight", shape: []int{n}})
}

func (ws *weightList) unit(prefix string, width, in int, bias bool) {
	ws.lin(prefix+"gate_proj", width, in, bias)
	ws.lin(prefix+"up_proj", width, in, bias)
	ws.lin(prefix+"down_proj", in, width, bias)
}

// build makes the model, computing in bf16 or not ([LM.UseBF16]), from a function that gives each array's values.
func build(dev *kernels.Device, c Config, bf16 bool, values func(w weight) ([]float32, error)) (*LM, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	m := &LM{config: c, dev: dev, bf16: bf16, byName: map[string]*kernels.Param{}, fixed: map[string][]float32{}}
	fail := func(err error) (*LM, error) { return nil, errors.Join(err, m.Close()) }
	for _, w := range c.weights() {
		v, err := values(w)
		if err != nil {
			return fail(err)
		}
		if w.fixed {
			m.fixed[w.name] = v
			continue
		}
		newParam := dev.NewParam
		if bf16 && w.rounds() {
			newParam = dev.NewParamBF16
		}
		p, err := newParam(w.name, v, w.shape...)
		if err != nil {
			return fail(fmt.Errorf("model: %w", err))
		}
		m.params = append(m.params, p)
		m.byName[w.name] = p
	}
	ropes := []Rope{c.Rope}
	if c.Gemma != nil {
		ropes = append(ropes, c.Gemma.LocalRope)
	}
	for _, r := range ropes {
		t, err := dev.NewBuffer(kernels.F32, c.MaxPositions, c.ropeDim())
		if err != nil {
			return fail(fmt.Errorf("model: rotary table: %w", err))
		}
		m.tables = append(m.tables, t)
		err = dev.Do(context.Background(), func(s *kernels.Scope) error {
			s.CopyTo(t, s.FromF32(c.ropeTable(r, c.MaxPositions), c.MaxPositions, c.ropeDim()))
			return nil
		})
		if err != nil {
			return fail(fmt.Errorf("model: rotary table: %w", err))
		}
	}
	m.bind()
	return m, nil
}

// bind gives the parameters their places in the layers.
func (m *LM) bind() {
	lin := func(name string) linear {
		return linear{w: m.byName[name+".weight"], b: m.byName[name+".bias"], lora: m.lora.of(name)}
	}
	vec := func(name string) *kernels.Param { return m.byName[name+".weight"] }
	m.embed, m.norm, m.head = vec("model.embed_tokens"), vec("model.norm"), vec("lm_head")
	if m.config.TieEmbeddings {
		m.head = m.embed.Tied("lm_head.weight")
	}
	gated := func(p string) unit { return unit{lin(p + "gate_proj"), lin(p + "up_proj"), lin(p + "down_proj")} }
	for i := range m.config.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		l := layer{
			inNorm: vec(p + "input_layernorm"), postNorm: vec(p + "post_attention_layernorm"),
			q: lin(p + "self_attn.q_proj"), k: lin(p + "self_attn.k_proj"), v: lin(p + "self_attn.v_proj"), o: lin(p + "self_attn.o_proj"),
			qNorm: vec(p + "self_attn.q_norm"), kNorm: vec(p + "self_attn.k_norm"),
			unit: gated(p + "mlp."), table: m.tables[0], attn: m.config.attnOptions(i),
		}
		if g := m.config.Gemma; g != nil {
			l.attnOut, l.postNorm, l.mlpOut = l.postNorm, vec(p+"pre_feedforward_layernorm"), vec(p+"post_feedforward_layernorm")
			if g.Sliding[i] {
				l.table = m.tables[1]
			}
		}
		if m.config.MLA != nil {
			l.latent = latent{
				q: l.q, qa: lin(p + "self_attn.q_a_proj"), qb: lin(p + "self_attn.q_b_proj"), qNorm: vec(p + "self_attn.q_a_layernorm"),
				kva: lin(p + "self_attn.kv_a_proj_with_mqa"), kvb: lin(p + "self_attn.kv_b_proj"), kvNorm: vec(p + "self_attn.kv_a_layernorm"),
			}
		}
		if m.config.sparse(i) {
			l.router, l.correction = lin(p+"mlp.gate"), m.fixed[p+"mlp.gate.e_score_correction_bias"]
			for e := range m.config.MoE.Experts {
				l.experts = append(l.experts, gated(fmt.Sprintf("%smlp.experts.%d.", p, e)))
			}
			l.unit = gated(p + "mlp.shared_experts.")
		}
		m.layers = append(m.layers, l)
	}
}

// attnOptions are the attention's constants in layer i.
func (c Config) attnOptions(i int) kernels.AttnOptions {
	o := kernels.AttnOptions{Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
	if g := c.Gemma; g != nil {
		o.Scale = float32(1 / math.Sqrt(g.QueryScale))
		if g.Sliding[i] {
			o.Window = g.Window
		}
	}
	if c.MLA != nil && c.Rope.Type == "yarn" && c.Rope.MScaleAllDim != 0 { // DeepSeek's code scales the scores by it squared
		m := c.Rope.mscale(c.Rope.MScaleAllDim)
		o.Scale = float32(m * m / math.Sqrt(float64(c.HeadDim)))
	}
	return o
}

// Config describes the model.
func (m *LM) Config() Config { return m.config }

// UseBF16 makes the model compute in bf16, in sampler and trainer alike: every matrix but an expert router's is rounded in
// its products and so is what it multiplies, embeddings are, keys and values are once they are rotated; sums, norms, softmax, residual,
// losses and gradients are fp32. The weights keep all their bits for the optimiser; what Save writes does not change, and weights that bf16
// has exactly are computed with exactly. An adapter's own products stay fp32. It is called before the model is used.
func (m *LM) UseBF16() error {
	if m.lora != nil {
		return errors.New("model: bf16: the model has an adapter: call UseBF16 on its base, first")
	}
	for _, p := range m.params {
		if (weight{name: p.Name, shape: p.Shape()}).rounds() {
			if err := p.UseBF16(); err != nil {
				return fmt.Errorf("model: %w", err)
			}
		}
	}
	m.bf16 = true
	return nil
}

// BF16 reports whether the model computes in bf16.
func (m *LM) BF16() bool { return m.bf16 }

// Recompute makes training keep each layer's input only and run the layer again for its gradient, or keep everything: the same bits, in
// less memory and about a third more time. It is called while nobody trains the model.
func (m *LM) Recompute(on bool) { m.again = on }

// Device is where the model lies.
func (m *LM) Device() *kernels.Device { return m.dev }

// Params are the parameters that are trained, in the order of the checkpoint; a tied head is a use of the first, not one of
// them. With an adapter they are the adapter's.
func (m *LM) Params() []*kernels.Param { return m.params }

// Param returns the parameter with a Hugging Face name, trained or not, or nil.
func (m *LM) Param(name string) *kernels.Param { return m.byName[name] }

// Close frees the model; with an adapter, the adapter only.
func (m *LM) Close() error {
	var errs []error
	for _, p := range m.params {
		errs = append(errs, p.Free())
	}
	for _, t := range m.tables {
		if m.lora == nil {
			errs = append(errs, t.Free())
		}
	}
	m.params, m.tables = nil, nil
	return errors.Join(errs...)
}

// attend is what differs between training and cached decoding: where the keys and values of earlier rows are.
type attend func(s *kernels.Scope, layer int, q, k, v *kernels.Tensor) *kernels.Tensor

// embedding are the rows that the layers begin with [T, D].
func (m *LM) embedding(s *kernels.Scope, ids []int32) *kernels.Tensor {
	x := s.Embedding(m.embed.Tensor, ids)
	if m.config.Gemma != nil {
		x = s.Affine(x, float32(math.Sqrt(float64(m.config.HiddenSize))), 0)
	}
	return x
}

// run is the decoder over embedded rows x: the hidden rows after the final norm [T, D].
func (m *LM) run(s *kernels.Scope, x *kernels.Tensor, positions []int32, at attend) *kernels.Tensor {
	c := m.config
	for i, p := range positions {
		if int(p) >= c.MaxPositions {
			s.Fail(fmt.Errorf("model: row %d is at position %d; the model has %d (max_position_embeddings)", i, p, c.MaxPositions))
		}
	}
	pos := s.FromI32(positions)
	for i := range m.layers {
		layer := func(s *kernels.Scope, in ...*kernels.Tensor) []*kernels.Tensor {
			return []*kernels.Tensor{m.layer(s, i, in[0], pos, at)}
		}
		var out []*kernels.Tensor
		if m.again {
			out = s.Checkpoint(layer, x)
		} else {
			out = s.Sub(func(s *kernels.Scope) []*kernels.Tensor { return layer(s, x) })
		}
		if s.Err() != nil {
			break
		}
		if i > 0 {
			s.Release(x) // the layer before has made it
		}
		x = out[0]
	}
	return m.rmsNorm(s, x, m.norm)
}

// layer is one block: attention, then the gated unit, each after a norm and added to the residual x [T, D].
func (m *LM) layer(s *kernels.Scope, i int, x, pos *kernels.Tensor, at attend) *kernels.Tensor {
	l, t := &m.layers[i], x.Dim(0)
	q, k, v := m.queries(s, l, m.rmsNorm(s, x, l.inNorm), pos)
	if m.bf16 {
		k, v = s.RoundBF16(k), s.RoundBF16(v)
	}
	o := at(s, i, q, k, v)
	if a := m.config.MLA; a != nil {
		o = s.Cols(s.Reshape(o, t*m.config.Heads, m.config.HeadDim), 0, a.VDim)
	}
	o = l.o.apply(s, s.Reshape(o, t, o.Len()/max(t, 1)))
	if l.attnOut != nil {
		o = m.rmsNorm(s, o, l.attnOut)
	}
	x = s.Add(x, o)
	o = m.feedForward(s, l, m.rmsNorm(s, x, l.postNorm))
	if l.mlpOut != nil {
		o = m.rmsNorm(s, o, l.mlpOut)
	}
	return s.Add(x, o)
}

// queries are the rotated queries [T, H, d] and keys [T, G, d], and the values [T, G, d].
func (m *LM) queries(s *kernels.Scope, l *layer, h, pos *kernels.Tensor) (q, k, v *kernels.Tensor) {
	c, t := m.config, h.Dim(0)
	if c.MLA != nil {
		return m.latentQueries(s, l, h, pos)
	}
	qkv := applyAll(s, h, l.q, l.k, l.v)
	q = s.Reshape(qkv[0], t, c.Heads, c.HeadDim)
	k = s.Reshape(qkv[1], t, c.KVHeads, c.HeadDim)
	v = s.Reshape(qkv[2], t, c.KVHeads, c.HeadDim)
	if l.qNorm != nil {
		q, k = m.rmsNorm(s, q, l.qNorm), m.rmsNorm(s, k, l.kNorm)
	}
	return s.Rope(q, pos, l.table), s.Rope(k, pos, l.table), v
}

// feedForward is the layer's second half: the gated unit, or the experts and the unit they share.
func (m *LM) feedForward(s *kernels.Scope, l *layer, h *kernels.Tensor) *kernels.Tensor {
	if l.router.w == nil {
		return m.gated(s, l.unit, h)
	}
	y := m.mixture(s, l, h)
	if l.unit.gate.w != nil {
		y = s.Add(y, m.gated(s, l.unit, h))
	}
	return y
}

func (m *LM) gated(s *kernels.Scope, u unit, h *kernels.Tensor) *kernels.Tensor {
	both := applyAll(s, h, u.gate, u.up)
	if m.config.Gemma != nil {
		return u.down.apply(s, s.GeGLU(both[0], both[1]))
	}
	return u.down.apply(s, s.SwiGLU(both[0], both[1]))
}

// rmsNorm normalises by w, which in Gemma is stored less 1.
func (m *LM) rmsNorm(s *kernels.Scope, x *kernels.Tensor, w *kernels.Param) *kernels.Tensor {
	if m.config.Gemma != nil {
		return s.RMSNormOffset(x, w.Tensor, float32(m.config.NormEps))
	}
	return s.RMSNorm(x, w.Tensor, float32(m.config.NormEps))
}

// Forward runs packed sequences and returns the hidden rows after the final norm, [T, D].
func (m *LM) Forward(s *kernels.Scope, ids []int32, segs kernels.Segs) *kernels.Tensor {
	if err := segs.Validate(); err != nil {
		s.Fail(fmt.Errorf("model: %w", err))
		return s.Zeros(0, m.config.HiddenSize)
	}
	if len(ids) != segs.Rows() {
		s.Fail(fmt.Errorf("model: %d ids for segs of %d rows", len(ids), segs.Rows()))
		return s.Zeros(0, m.config.HiddenSize)
	}
	if m.lora.drops() {
		m = m.dropping(ids, segs)
	}
	s = s.Sequences(segs)
	return m.run(s, m.noise.add(s, m.embedding(s, ids), ids, segs), segs.Positions(), func(s *kernels.Scope, i int, q, k, v *kernels.Tensor) *kernels.Tensor {
		return s.Attention(q, k, v, segs, m.layers[i].attn)
	})
}

// Logits are the head's raw scores of hidden rows, [T, V]: for looking at; training and sampling never store them.
func (m *LM) Logits(s *kernels.Scope, hiddenTD *kernels.Tensor) *kernels.Tensor {
	z := s.Linear(hiddenTD, m.head.Tensor, nil)
	if cap := m.headCap(); cap != 0 {
		z = s.Affine(s.Tanh(s.Affine(z, 1/cap, 0)), cap, 0)
	}
	return z
}

// LogProbs runs packed sequences and returns, for each i, the log-probability of targets[i] as the token that follows row
// rows[i], and the entropy of that distribution: two tensors [len(rows)], in nats, at the given temperature (1: as is).
// A sequence with a parent continues the parent's rows, so the parent's last row predicts each child's first token.
func (m *LM) LogProbs(s *kernels.Scope, ids []int32, segs kernels.Segs, rows, targets []int32, temperature float32) (logpC, entropyC *kernels.Tensor) {
	return m.Head(s.Sequences(segs.At(rows)), s.Gather(m.Forward(s, ids, segs), rows), targets, temperature)
}

// Head gives the log-probability of targets after hidden rows [C, D], and the entropy there.
func (m *LM) Head(s *kernels.Scope, hiddenCD *kernels.Tensor, targets []int32, temperature float32) (logpC, entropyC *kernels.Tensor) {
	o := kernels.HeadOptions{SoftCap: m.headCap()}
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
	o.SoftCap = m.headCap()
	return s.SampleHead(hiddenBD, m.head.Tensor, o)
}

// SampleKeep is [LM.Sample] from truncated distributions; kept says which words each row chose among
// (kernels.Scope.SampleHeadKeep).
func (m *LM) SampleKeep(s *kernels.Scope, hiddenBD *kernels.Tensor, o kernels.SampleOptions, cuts []kernels.Truncation) (tokenB, logpB, entropyB *kernels.Tensor, kept kernels.Kept) {
	o.SoftCap = m.headCap()
	return s.SampleHeadKeep(hiddenBD, m.head.Tensor, o, cuts)
}

// OutputHead is the head's weight [V, D] and soft-cap (0: none), for losses that look at the whole distribution after rows of
// [LM.Forward].
func (m *LM) OutputHead() (weightVD *kernels.Tensor, softCap float32) {
	return m.head.Tensor, m.headCap()
}

func (m *LM) headCap() float32 {
	if m.config.Gemma == nil {
		return 0
	}
	return float32(m.config.Gemma.HeadSoftCap)
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
