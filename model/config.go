package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Config describes a decoder, under the names of Hugging Face's config.json.
type Config struct {
	ModelType        string // "llama" (also SmolLM2), "qwen2", "qwen3", "qwen3_moe", "gemma3_text", "deepseek_v3"
	VocabSize        int
	HiddenSize       int     // D
	IntermediateSize int     // width of the gated unit
	Layers           int     // num_hidden_layers
	Heads            int     // query heads
	KVHeads          int     // key and value heads; Heads is a multiple
	HeadDim          int     // d; Heads*HeadDim need not be HiddenSize
	MaxPositions     int     // max_position_embeddings
	NormEps          float64 // rms_norm_eps
	InitializerRange float64 // std of fresh weights
	TieEmbeddings    bool    // the head is the embedding
	BOS, PAD         int     // token ids; -1: none
	EOS              []int   // ids that end a sequence
	Rope             Rope

	// Where the families differ.
	QKVBias bool // biases on q, k, v
	OutBias bool // and on the attention's output
	MLPBias bool // and on the gated unit
	QKNorm  bool // RMSNorm over each query and key head
	Gemma   *Gemma
	MLA     *MLA
	MoE     *MoE
}

// Gemma is what Gemma 3 does differently (arXiv 2503.19786): embeddings times sqrt(D), norms that multiply by 1 + weight and
// stand before and after each block, a tanh-GELU gate, and layers that see only a window.
type Gemma struct {
	QueryScale  float64 // query_pre_attn_scalar: scores are divided by its square root
	Window      int     // sliding_window: how many positions, its own included, a row of a sliding layer sees
	Sliding     []bool  // which layers slide (layer_types)
	LocalRope   Rope    // rotary positions of the sliding layers
	HeadSoftCap float64 // final_logit_softcapping; 0: none
}

// MLA is multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): queries and keys of NopeDim + RopeDim
// dimensions, of which the last are rotated and, in the keys, shared by all heads.
type MLA struct {
	QRank      int  // q_lora_rank; 0: queries are projected directly
	KVRank     int  // kv_lora_rank
	NopeDim    int  // qk_nope_head_dim
	RopeDim    int  // qk_rope_head_dim
	VDim       int  // v_head_dim
	Interleave bool // rope_interleave: neighbours are rotated, not halves
}

// MoE is a mixture of experts in place of the gated unit.
type MoE struct {
	Experts   int     // routed experts
	PerToken  int     // of which each token takes
	Width     int     // moe_intermediate_size: of one expert
	Shared    int     // n_shared_experts: as one unit of Shared*Width that every token takes
	Sparse    []bool  // which layers have experts; the others have the dense unit
	Normalise bool    // norm_topk_prob: the chosen experts' scores are divided by their sum
	Sigmoid   bool    // scores are sigmoids, chosen with a correction bias (DeepSeek-V3, arXiv 2412.19437, eq. 13-16); else a softmax
	Groups    int     // n_group: experts are chosen from the best groups only; 1: one group
	TopGroups int     // topk_group
	Scale     float64 // routed_scaling_factor
}

// hfConfig is config.json in both spellings, today's (rope_parameters, dtype) and the older one (rope_theta, rope_scaling).
type hfConfig struct {
	ModelType        string          `json:"model_type"`
	VocabSize        int             `json:"vocab_size"`
	HiddenSize       int             `json:"hidden_size"`
	IntermediateSize int             `json:"intermediate_size"`
	Layers           int             `json:"num_hidden_layers"`
	Heads            int             `json:"num_attention_heads"`
	KVHeads          *int            `json:"num_key_value_heads"`
	HeadDim          *int            `json:"head_dim"`
	MaxPositions     int             `json:"max_position_embeddings"`
	NormEps          *float64        `json:"rms_norm_eps"`
	InitializerRange *float64        `json:"initializer_range"`
	Tie              *bool           `json:"tie_word_embeddings"`
	BOS              *int            `json:"bos_token_id"`
	EOS              json.RawMessage `json:"eos_token_id"`
	PAD              *int            `json:"pad_token_id"`
	AttentionBias    bool            `json:"attention_bias"`
	MLPBias          bool            `json:"mlp_bias"`
	HiddenAct        string          `json:"hidden_act"`
	UseSlidingWindow bool            `json:"use_sliding_window"`
	LayerTypes       []string        `json:"layer_types"`
	RopeTheta        *float64        `json:"rope_theta"`
	RopeScaling      *hfRope         `json:"rope_scaling"`
	RopeParameters   json.RawMessage `json:"rope_parameters"`
	hfGemma
	hfMLA
	hfMoE
}

// foreign are fields that change what a model computes and that this package does not compute, each with the value, if
// there is one, at which it does nothing. null, false, [] and {} do nothing in all of them.
var foreign = map[string]string{
	"attn_logit_softcapping": "", "final_logit_softcapping": "", "query_pre_attn_scalar": "", "partial_rotary_factor": "1",
	"embedding_multiplier": "1", "attention_multiplier": "", "residual_multiplier": "1", "logits_scaling": "1", "no_rope_layers": "", "clip_qkv": "",
	"num_experts": "0", "num_local_experts": "0", "n_routed_experts": "0", "kv_lora_rank": "0", "q_lora_rank": "0", "attention_chunk_size": "0",
	"use_qk_norm": "", "rope_local_base_freq": "", "use_bidirectional_attention": "", "rope_interleave": "", "first_k_dense_replace": "0",
}

// ReadConfig reads config.json of a model folder, or makes it from the metadata of a .gguf file.
func ReadConfig(dir string) (Config, error) {
	c, _, err := readConfig(dir)
	return c, err
}

// ParseConfig reads the text of a config.json. A model type, or a field that changes the mathematics, that this package
// does not know is an error that names it.
func ParseConfig(text []byte) (Config, error) {
	var h hfConfig
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return Config{}, err
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return Config{}, err
	}
	family, ok := families[h.ModelType]
	if !ok {
		return Config{}, fmt.Errorf("model_type %q is not supported; known are %s", h.ModelType, strings.Join(slices.Sorted(maps.Keys(families)), ", "))
	}
	for _, name := range family.fields {
		delete(all, name)
	}
	if err := refuse(all, foreign); err != nil {
		return Config{}, err
	}
	if _, err := f8Blocks(all["quantization_config"]); err != nil {
		return Config{}, err
	}
	if h.HiddenAct != "silu" && family.act == "" {
		return Config{}, fmt.Errorf("hidden_act %q is not supported, want \"silu\"", h.HiddenAct)
	}
	if h.UseSlidingWindow || (family.act == "" && slices.ContainsFunc(h.LayerTypes, func(t string) bool { return t != "full_attention" })) {
		return Config{}, fmt.Errorf("sliding-window attention (use_sliding_window, layer_types) is not supported in a %s", h.ModelType)
	}
	c := Config{
		ModelType: h.ModelType, VocabSize: h.VocabSize, HiddenSize: h.HiddenSize, IntermediateSize: h.IntermediateSize, Layers: h.Layers, Heads: h.Heads,
		KVHeads: or(h.KVHeads, h.Heads), MaxPositions: h.MaxPositions, NormEps: or(h.NormEps, 1e-6), InitializerRange: or(h.InitializerRange, 0.02),
		BOS: or(h.BOS, -1), PAD: or(h.PAD, -1), TieEmbeddings: or(h.Tie, family.tied),
	}
	if c.Heads > 0 {
		c.HeadDim = or(h.HeadDim, c.HiddenSize/c.Heads)
	}
	if c.Layers > maxLayers || c.Layers < 0 {
		return Config{}, fmt.Errorf("num_hidden_layers is %d, want 1 to %d", c.Layers, maxLayers)
	}
	if err := family.read(&c, &h); err != nil {
		return Config{}, err
	}
	if err := c.readEOS(h.EOS); err != nil {
		return Config{}, err
	}
	if c.Gemma == nil { // whose layers have two kinds
		var err error
		if c.Rope, err = h.rope(h.RopeParameters, 10000); err != nil {
			return Config{}, err
		}
	}
	return c, c.Validate()
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func refuse(all map[string]json.RawMessage, names map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch text := strings.TrimSuffix(string(bytes.TrimSpace(all[name])), ".0"); {
		case text == "", text == "null", text == "[]", text == "{}":
		case text == "false" && name != "truncate":
		case text == names[name] && text != "":
		default:
			return fmt.Errorf("field %s = %s changes what the model computes and is not supported", name, all[name])
		}
	}
	return nil
}

func (c *Config) readEOS(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var one int
	if json.Unmarshal(raw, &one) == nil {
		c.EOS = []int{one}
		return nil
	}
	if err := json.Unmarshal(raw, &c.EOS); err != nil {
		return fmt.Errorf("eos_token_id %s: want a number or a list of numbers", raw)
	}
	return nil
}

// maxTable bounds the rotary table's elements: 1 GiB, two million positions of head size 128.
const maxTable = 1 << 28

const maxLayers = 4096

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	dims := []struct {
		name  string
		value int
		max   int
	}{
		{"vocab_size", c.VocabSize, 1 << 24}, {"hidden_size", c.HiddenSize, 1 << 20}, {"intermediate_size", c.IntermediateSize, 1 << 22},
		{"num_hidden_layers", c.Layers, maxLayers}, {"num_attention_heads", c.Heads, 4096}, {"num_key_value_heads", c.KVHeads, 4096},
		{"head_dim", c.HeadDim, 512}, {"max_position_embeddings", c.MaxPositions, 1 << 26},
	}
	for _, d := range dims {
		if d.value < 1 || d.value > d.max {
			return fmt.Errorf("%s is %d, want 1 to %d", d.name, d.value, d.max)
		}
	}
	switch {
	case c.MaxPositions > maxTable/c.HeadDim:
		return fmt.Errorf("max_position_embeddings %d by head_dim %d needs a rotary table of more than %d elements", c.MaxPositions, c.HeadDim, maxTable)
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	case c.HeadDim%2 != 0:
		return fmt.Errorf("head_dim is %d, want an even number", c.HeadDim)
	case !(c.NormEps > 0 && c.NormEps < 1):
		return fmt.Errorf("rms_norm_eps is %g", c.NormEps)
	case !(c.InitializerRange >= 0 && c.InitializerRange < 100):
		return fmt.Errorf("initializer_range is %g", c.InitializerRange)
	}
	for _, id := range append([]int{c.BOS, c.PAD}, c.EOS...) {
		if id < -1 || id >= c.VocabSize {
			return fmt.Errorf("special token id %d is outside the vocabulary of %d", id, c.VocabSize)
		}
	}
	if err := c.validateFamily(); err != nil {
		return err
	}
	return c.Rope.validate()
}

func (c Config) specialTokens() map[string]any {
	j := map[string]any{"bos_token_id": nil, "pad_token_id": nil, "eos_token_id": nil}
	if c.BOS >= 0 {
		j["bos_token_id"] = c.BOS
	}
	if c.PAD >= 0 {
		j["pad_token_id"] = c.PAD
	}
	switch len(c.EOS) {
	case 0:
	case 1:
		j["eos_token_id"] = c.EOS[0]
	default:
		j["eos_token_id"] = c.EOS
	}
	return j
}

// ParamCount is the number of parameters, tied ones once.
func (c Config) ParamCount() int64 {
	n := int64(0)
	for _, w := range c.weights() {
		size := int64(1)
		for _, d := range w.shape {
			size *= int64(d)
		}
		n += size
	}
	return n
}
