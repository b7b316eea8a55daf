package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// family is what one model_type adds to a plain decoder.
type family struct {
	class  string   // of transformers
	tied   bool     // tie_word_embeddings where config.json does not say
	act    string   // the gate's activation where it is not silu
	fields []string // config.json's fields that it understands and the others refuse
	read   func(c *Config, h *hfConfig) error
	is     func(c Config) bool // whether config.json of this family can say c
}

var families = map[string]family{
	"llama": {
		class: "LlamaForCausalLM",
		read: func(c *Config, h *hfConfig) error {
			c.QKVBias, c.OutBias, c.MLPBias = h.AttentionBias, h.AttentionBias, h.MLPBias
			return nil
		},
		is: func(c Config) bool { return c.OutBias == c.QKVBias && !c.QKNorm && c.plain() },
	},
	"qwen2": {
		class: "Qwen2ForCausalLM",
		read:  func(c *Config, _ *hfConfig) error { c.QKVBias = true; return nil },
		is:    func(c Config) bool { return c.QKVBias && !c.OutBias && !c.MLPBias && !c.QKNorm && c.plain() },
	},
	"qwen3": {
		class: "Qwen3ForCausalLM",
		read:  readQwen3,
		is:    func(c Config) bool { return c.OutBias == c.QKVBias && !c.MLPBias && c.QKNorm && c.plain() },
	},
	"qwen3_moe": {
		class:  "Qwen3MoeForCausalLM",
		fields: []string{"num_experts", "num_local_experts"},
		read:   readQwen3MoE,
		is: func(c Config) bool {
			return c.OutBias == c.QKVBias && !c.MLPBias && c.QKNorm && c.MoE != nil && c.Gemma == nil && c.MLA == nil &&
				!c.MoE.Sigmoid && c.MoE.Groups == 1 && c.MoE.Shared == 0 && c.MoE.Scale == 1
		},
	},
	"gemma3_text": {
		class: "Gemma3ForCausalLM", tied: true, act: "gelu_pytorch_tanh",
		// attn_logit_softcapping stays foreign: transformers reads it for this family and never applies it, so a model that has it would
		// mean two different things. No released one does.
		fields: []string{"query_pre_attn_scalar", "final_logit_softcapping", "rope_local_base_freq"},
		read:   readGemma3,
		is: func(c Config) bool {
			return c.OutBias == c.QKVBias && !c.MLPBias && c.QKNorm && c.Gemma != nil && c.MLA == nil && c.MoE == nil
		},
	},
	"deepseek_v3": {
		class:  "DeepseekV3ForCausalLM",
		fields: []string{"n_routed_experts", "kv_lora_rank", "q_lora_rank", "first_k_dense_replace", "rope_interleave"},
		read:   readDeepSeekV3,
		is: func(c Config) bool {
			return c.OutBias == c.QKVBias && !c.MLPBias && !c.QKNorm && c.MLA != nil && c.MoE != nil && c.Gemma == nil && c.MoE.Sigmoid && firstDense(c.MoE.Sparse) >= 0
		},
	},
}

func (c Config) plain() bool { return c.Gemma == nil && c.MLA == nil && c.MoE == nil }

type hfGemma struct {
	HiddenActivation string   `json:"hidden_activation"`
	QueryScalar      *float64 `json:"query_pre_attn_scalar"`
	SlidingWindow    *int     `json:"sliding_window"`
	SlidingPattern   *int     `json:"sliding_window_pattern"`
	HeadSoftCap      *float64 `json:"final_logit_softcapping"`
	LocalTheta       *float64 `json:"rope_local_base_freq"`
}

type hfMLA struct {
	QRank      *int  `json:"q_lora_rank"`
	KVRank     int   `json:"kv_lora_rank"`
	NopeDim    int   `json:"qk_nope_head_dim"`
	RopeDim    int   `json:"qk_rope_head_dim"`
	VDim       int   `json:"v_head_dim"`
	Interleave *bool `json:"rope_interleave"`
}

type hfMoE struct {
	Experts       *int     `json:"num_experts"`
	LocalExperts  *int     `json:"num_local_experts"`
	RoutedExperts *int     `json:"n_routed_experts"`
	PerToken      *int     `json:"num_experts_per_tok"`
	ExpertWidth   int      `json:"moe_intermediate_size"`
	SharedExperts *int     `json:"n_shared_experts"`
	Normalise     *bool    `json:"norm_topk_prob"`
	SparseStep    *int     `json:"decoder_sparse_step"`
	DenseLayers   []int    `json:"mlp_only_layers"`
	FirstDense    *int     `json:"first_k_dense_replace"`
	Groups        *int     `json:"n_group"`
	TopGroups     *int     `json:"topk_group"`
	RoutedScale   *float64 `json:"routed_scaling_factor"`
	Scoring       *string  `json:"scoring_func"`
	TopKMethod    *string  `json:"topk_method"`
}

func readQwen3(c *Config, h *hfConfig) error {
	c.QKVBias, c.OutBias, c.QKNorm = h.AttentionBias, h.AttentionBias, true
	return nil
}

func readQwen3MoE(c *Config, h *hfConfig) error {
	experts := h.Experts
	if experts == nil {
		experts = h.LocalExperts
	}
	c.MoE = &MoE{
		Experts: or(experts, 128), PerToken: or(h.PerToken, 8), Width: h.ExpertWidth, Normalise: or(h.Normalise, false), Groups: 1, TopGroups: 1, Scale: 1,
		Sparse: make([]bool, c.Layers),
	}
	step := or(h.SparseStep, 1)
	if step < 1 {
		return fmt.Errorf("decoder_sparse_step is %d, want at least 1", step)
	}
	if len(h.DenseLayers) > c.Layers {
		return fmt.Errorf("mlp_only_layers has %d entries for %d layers", len(h.DenseLayers), c.Layers)
	}
	for i := range c.MoE.Sparse {
		c.MoE.Sparse[i] = (i+1)%step == 0 && !slices.Contains(h.DenseLayers, i)
	}
	return readQwen3(c, h)
}

func readGemma3(c *Config, h *hfConfig) error {
	if h.HiddenActivation != "" && h.HiddenActivation != "gelu_pytorch_tanh" {
		return fmt.Errorf("hidden_activation %q is not supported, want \"gelu_pytorch_tanh\"", h.HiddenActivation)
	}
	c.QKVBias, c.OutBias, c.QKNorm = h.AttentionBias, h.AttentionBias, true
	c.HeadDim = or(h.HeadDim, 256)
	g := &Gemma{
		QueryScale: or(h.QueryScalar, 256), Window: or(h.SlidingWindow, 4096), HeadSoftCap: or(h.HeadSoftCap, 0),
		Sliding: make([]bool, c.Layers), LocalRope: Rope{Type: "default", Theta: or(h.LocalTheta, 10000)},
	}
	c.Gemma = g
	pattern := or(h.SlidingPattern, 6)
	if pattern < 1 || (len(h.LayerTypes) > 0 && len(h.LayerTypes) != c.Layers) {
		return fmt.Errorf("sliding_window_pattern is %d, layer_types has %d entries for %d layers", pattern, len(h.LayerTypes), c.Layers)
	}
	for i := range g.Sliding {
		g.Sliding[i] = (i+1)%pattern != 0
		if len(h.LayerTypes) > 0 {
			if t := h.LayerTypes[i]; t != "sliding_attention" && t != "full_attention" {
				return fmt.Errorf("layer_types[%d] is %q, want \"sliding_attention\" or \"full_attention\"", i, t)
			}
			g.Sliding[i] = h.LayerTypes[i] == "sliding_attention"
		}
	}
	var kinds map[string]json.RawMessage
	if len(h.RopeParameters) > 0 {
		if err := json.Unmarshal(h.RopeParameters, &kinds); err != nil {
			return fmt.Errorf("rope_parameters: %w", err)
		}
	}
	var err error
	if c.Rope, err = h.rope(kinds["full_attention"], 1e6); err != nil || len(kinds["sliding_attention"]) == 0 {
		return err
	}
	local := hfConfig{RopeTheta: &g.LocalRope.Theta}
	g.LocalRope, err = local.rope(kinds["sliding_attention"], 10000)
	return err
}

func readDeepSeekV3(c *Config, h *hfConfig) error {
	if s := or(h.Scoring, "sigmoid"); s != "sigmoid" {
		return fmt.Errorf("scoring_func %q is not supported, want \"sigmoid\"", s)
	}
	if m := or(h.TopKMethod, "noaux_tc"); m != "noaux_tc" {
		return fmt.Errorf("topk_method %q is not supported, want \"noaux_tc\"", m)
	}
	c.QKVBias, c.OutBias = h.AttentionBias, h.AttentionBias
	c.MLA = &MLA{QRank: or(h.QRank, 0), KVRank: h.KVRank, NopeDim: h.NopeDim, RopeDim: h.RopeDim, VDim: h.VDim, Interleave: or(h.Interleave, true)}
	c.KVHeads, c.HeadDim = c.Heads, h.NopeDim+h.RopeDim
	c.MoE = &MoE{
		Experts: or(h.RoutedExperts, 256), PerToken: or(h.PerToken, 8), Width: h.ExpertWidth, Shared: or(h.SharedExperts, 1), Normalise: or(h.Normalise, true),
		Sigmoid: true, Groups: or(h.Groups, 8), TopGroups: or(h.TopGroups, 4), Scale: or(h.RoutedScale, 2.5), Sparse: make([]bool, c.Layers),
	}
	for i := range c.MoE.Sparse {
		c.MoE.Sparse[i] = i >= or(h.FirstDense, 3)
	}
	return nil
}

// validateFamily checks what only some families have, and that config.json can say it.
func (c Config) validateFamily() error {
	f, ok := families[c.ModelType]
	if !ok || !f.is(c) {
		return fmt.Errorf("model_type %q has no variant with QKVBias %t, OutBias %t, MLPBias %t, QKNorm %t, Gemma %t, MLA %t, MoE %t", c.ModelType, c.QKVBias, c.OutBias,
			c.MLPBias, c.QKNorm, c.Gemma != nil, c.MLA != nil, c.MoE != nil)
	}
	if g := c.Gemma; g != nil {
		if len(g.Sliding) != c.Layers || g.Window < 1 || !(g.QueryScale > 0 && g.QueryScale < 1e9) ||
			!(g.HeadSoftCap >= 0 && g.HeadSoftCap < 1e9) {
			return fmt.Errorf("sliding_window %d, %d layer_types for %d layers, query_pre_attn_scalar %g, final_logit_softcapping %g",
				g.Window, len(g.Sliding), c.Layers, g.QueryScale, g.HeadSoftCap)
		}
		if err := g.LocalRope.validate(); err != nil {
			return fmt.Errorf("sliding layers: %w", err)
		}
	}
	if a := c.MLA; a != nil {
		if a.QRank < 0 || a.QRank > 1<<20 || a.KVRank < 1 || a.KVRank > 1<<20 || a.NopeDim < 1 || a.RopeDim < 2 || a.RopeDim%2 != 0 || a.VDim < 1 ||
			a.VDim > a.NopeDim+a.RopeDim || c.HeadDim != a.NopeDim+a.RopeDim || c.KVHeads != c.Heads {
			return fmt.Errorf("q_lora_rank %d, kv_lora_rank %d, qk_nope_head_dim %d, qk_rope_head_dim %d, v_head_dim %d: want ranks above 0, an even rotary part "+
				"and values no wider than queries", a.QRank, a.KVRank, a.NopeDim, a.RopeDim, a.VDim)
		}
	}
	return c.MoE.validate(c.Layers)
}

// maxExperts bounds the experts of all layers: DeepSeek-V3 has 15,616.
const maxExperts = 1 << 15

func (m *MoE) validate(layers int) error {
	switch {
	case m == nil:
	case m.Experts > maxExperts/max(layers, 1):
		return fmt.Errorf("%d experts in each of %d layers, limit %d in all", m.Experts, layers, maxExperts)
	case m.Experts < 1 || m.PerToken < 1 || m.PerToken > m.Experts:
		return fmt.Errorf("%d experts of which a token takes %d (num_experts_per_tok)", m.Experts, m.PerToken)
	case m.Width < 1 || m.Width > 1<<20 || m.Shared < 0 || m.Shared > 1024 || len(m.Sparse) != layers:
		return fmt.Errorf("moe_intermediate_size is %d, n_shared_experts %d, layers told dense or sparse %d of %d", m.Width, m.Shared, len(m.Sparse), layers)
	case m.Groups < 1 || m.Experts%m.Groups != 0 || m.TopGroups < 1 || m.TopGroups > m.Groups || m.Experts/m.Groups*m.TopGroups < m.PerToken:
		return fmt.Errorf("n_group %d, topk_group %d for %d experts, %d a token", m.Groups, m.TopGroups, m.Experts, m.PerToken)
	case m.Groups > 1 && m.Experts/m.Groups < 2:
		return fmt.Errorf("n_group %d leaves fewer than two of %d experts a group", m.Groups, m.Experts)
	case !(m.Scale > 0 && m.Scale < 1e6):
		return fmt.Errorf("routed_scaling_factor is %g", m.Scale)
	}
	return nil
}

// firstDense is how many layers at the start are dense where all others are sparse, else -1.
func firstDense(sparse []bool) int {
	n := slices.Index(sparse, true)
	if n < 0 {
		return len(sparse)
	}
	if slices.Contains(sparse[n:], false) {
		return -1
	}
	return n
}

// real is a number that config.json spells with a point or an exponent: transformers refuses 3 where it wants 3.0.
type real float64

// MarshalJSON writes the shortest decimal that reads back the same.
func (r real) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(float64(r))
	if err == nil && !bytes.ContainsAny(text, ".eE") {
		text = append(text, ".0"...)
	}
	return text, err
}

// JSON is the config.json that transformers reads, in both spellings of the rotary base.
func (c Config) JSON() ([]byte, error) {
	rope := c.Rope.json()
	j := map[string]any{
		"architectures": []string{families[c.ModelType].class}, "model_type": c.ModelType, "vocab_size": c.VocabSize, "hidden_size": c.HiddenSize,
		"intermediate_size": c.IntermediateSize, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads,
		"head_dim": c.HeadDim, "max_position_embeddings": c.MaxPositions, "rms_norm_eps": real(c.NormEps), "initializer_range": real(c.InitializerRange),
		"tie_word_embeddings": c.TieEmbeddings, "hidden_act": "silu", "attention_dropout": real(0), "use_cache": true, "dtype": "float32",
		"torch_dtype": "float32", "rope_theta": real(c.Rope.Theta), "rope_parameters": rope,
	}
	if c.Rope.Type != "default" {
		scaling := maps.Clone(rope)
		delete(scaling, "rope_theta")
		j["rope_scaling"] = scaling
	}
	if c.ModelType != "qwen2" {
		j["attention_bias"] = c.QKVBias
	}
	if c.ModelType == "llama" {
		j["mlp_bias"] = c.MLPBias
	}
	c.gemmaJSON(j)
	c.mlaJSON(j)
	c.moeJSON(j)
	maps.Copy(j, c.specialTokens())
	return json.MarshalIndent(j, "", "  ")
}

func (c Config) gemmaJSON(j map[string]any) {
	g := c.Gemma
	if g == nil {
		return
	}
	delete(j, "hidden_act")
	j["hidden_activation"], j["query_pre_attn_scalar"], j["sliding_window"] = "gelu_pytorch_tanh", real(g.QueryScale), g.Window
	j["rope_local_base_freq"] = real(g.LocalRope.Theta)
	j["rope_parameters"] = map[string]any{"full_attention": c.Rope.json(), "sliding_attention": g.LocalRope.json()}
	if g.QueryScale == float64(int64(g.QueryScale)) {
		j["query_pre_attn_scalar"] = int64(g.QueryScale) // transformers wants a whole number
	}
	types := make([]string, c.Layers)
	for i := range types {
		types[i] = "full_attention"
		if g.Sliding[i] {
			types[i] = "sliding_attention"
		}
	}
	j["layer_types"] = types
	if g.HeadSoftCap != 0 {
		j["final_logit_softcapping"] = real(g.HeadSoftCap)
	}
}

func (c Config) mlaJSON(j map[string]any) {
	a := c.MLA
	if a == nil {
		return
	}
	j["head_dim"], j["kv_lora_rank"], j["qk_nope_head_dim"], j["qk_rope_head_dim"], j["v_head_dim"] = a.RopeDim, a.KVRank, a.NopeDim, a.RopeDim, a.VDim
	j["qk_head_dim"], j["rope_interleave"], j["num_nextn_predict_layers"], j["q_lora_rank"] = a.NopeDim+a.RopeDim, a.Interleave, 0, nil
	if a.QRank > 0 {
		j["q_lora_rank"] = a.QRank
	}
}

func (c Config) moeJSON(j map[string]any) {
	m := c.MoE
	if m == nil {
		return
	}
	j["num_experts_per_tok"], j["moe_intermediate_size"], j["norm_topk_prob"] = m.PerToken, m.Width, m.Normalise
	if !m.Sigmoid {
		dense := []int{}
		for i, sparse := range m.Sparse {
			if !sparse {
				dense = append(dense, i)
			}
		}
		j["num_experts"], j["num_local_experts"], j["decoder_sparse_step"], j["mlp_only_layers"] = m.Experts, m.Experts, 1, dense
		return
	}
	j["n_routed_experts"], j["n_shared_experts"], j["n_group"], j["topk_group"] = m.Experts, m.Shared, m.Groups, m.TopGroups
	j["routed_scaling_factor"], j["first_k_dense_replace"], j["scoring_func"], j["topk_method"] = real(m.Scale), firstDense(m.Sparse), "sigmoid", "noaux_tc"
}
