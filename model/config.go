package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Config describes a decoder, under the names of Hugging Face's config.json.
type Config struct {
	ModelType        string // "llama" (also SmolLM2), "qwen2", "qwen3"
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
}

// Rope is the rotary positions' base and scaling.
type Rope struct {
	Type   string  // "default", "linear", "llama3", "yarn"
	Theta  float64 // the base
	Factor float64 // of linear, llama3, yarn

	LowFreqFactor, HighFreqFactor float64 // of llama3
	OriginalMaxPositions          int     // of llama3, yarn
	AttentionFactor               float64 // of yarn; 0: 0.1 ln(Factor) + 1
	BetaFast, BetaSlow            float64 // of yarn; 0: 32 and 1
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
	RopeParameters   *hfRope         `json:"rope_parameters"`
}

type hfRope struct {
	Type            string   `json:"rope_type"`
	OldType         string   `json:"type"`
	Theta           *float64 `json:"rope_theta"`
	Factor          float64  `json:"factor"`
	LowFreqFactor   float64  `json:"low_freq_factor"`
	HighFreqFactor  float64  `json:"high_freq_factor"`
	Original        int      `json:"original_max_position_embeddings"`
	AttentionFactor float64  `json:"attention_factor"`
	BetaFast        float64  `json:"beta_fast"`
	BetaSlow        float64  `json:"beta_slow"`
}

// foreign are fields that change what a model computes and that this package does not compute, each with the value, if
// there is one, at which it does nothing. null, false, [] and {} do nothing in all of them.
var foreign = map[string]string{
	"quantization_config": "", "attn_logit_softcapping": "", "final_logit_softcapping": "", "query_pre_attn_scalar": "", "partial_rotary_factor": "1",
	"embedding_multiplier": "1", "attention_multiplier": "", "residual_multiplier": "1", "logits_scaling": "1", "no_rope_layers": "", "clip_qkv": "",
	"num_experts": "0", "num_local_experts": "0", "n_routed_experts": "0", "kv_lora_rank": "0", "q_lora_rank": "0", "attention_chunk_size": "0",
	"use_qk_norm": "", "rope_local_base_freq": "",
}

// foreignRope are the same inside the rotary parameters. "truncate": false would leave yarn's bounds unrounded.
var foreignRope = map[string]string{
	"mscale": "0", "mscale_all_dim": "0", "short_factor": "", "long_factor": "", "truncate": "true", "partial_rotary_factor": "1",
}

// ReadConfig reads config.json of a model folder.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("model: %w", err)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("model: %s: %w", path, err)
	}
	return c, nil
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
	if err := refuse(all, foreign); err != nil {
		return Config{}, err
	}
	for _, field := range []string{"rope_parameters", "rope_scaling"} {
		var inner map[string]json.RawMessage
		if json.Unmarshal(all[field], &inner) == nil {
			if err := refuse(inner, foreignRope); err != nil {
				return Config{}, fmt.Errorf("%s: %w", field, err)
			}
		}
	}
	if h.HiddenAct != "silu" {
		return Config{}, fmt.Errorf("hidden_act %q is not supported, want \"silu\"", h.HiddenAct)
	}
	if h.UseSlidingWindow || slices.ContainsFunc(h.LayerTypes, func(t string) bool { return t != "full_attention" }) {
		return Config{}, fmt.Errorf("sliding-window attention (use_sliding_window, layer_types) is not supported yet")
	}
	c := Config{
		ModelType: h.ModelType, VocabSize: h.VocabSize, HiddenSize: h.HiddenSize, IntermediateSize: h.IntermediateSize, Layers: h.Layers, Heads: h.Heads,
		KVHeads: or(h.KVHeads, h.Heads), MaxPositions: h.MaxPositions, NormEps: or(h.NormEps, 1e-6), InitializerRange: or(h.InitializerRange, 0.02),
		BOS: or(h.BOS, -1), PAD: or(h.PAD, -1),
	}
	switch h.ModelType {
	case "llama":
		c.QKVBias, c.OutBias, c.MLPBias = h.AttentionBias, h.AttentionBias, h.MLPBias
	case "qwen2":
		c.QKVBias = true
	case "qwen3":
		c.QKVBias, c.OutBias, c.QKNorm = h.AttentionBias, h.AttentionBias, true
	default:
		return Config{}, fmt.Errorf("model_type %q is not supported; known are llama, qwen2, qwen3", h.ModelType)
	}
	c.TieEmbeddings = or(h.Tie, false)
	if c.Heads > 0 {
		c.HeadDim = or(h.HeadDim, c.HiddenSize/c.Heads)
	}
	if err := c.readEOS(h.EOS); err != nil {
		return Config{}, err
	}
	if err := c.readRope(h); err != nil {
		return Config{}, err
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

func (c *Config) readRope(h hfConfig) error {
	r := Rope{Type: "default", Theta: or(h.RopeTheta, 10000)}
	p := h.RopeParameters
	if p == nil {
		p = h.RopeScaling
	}
	if p != nil {
		r = Rope{
			Type: p.Type, Theta: or(p.Theta, r.Theta), Factor: p.Factor, LowFreqFactor: p.LowFreqFactor, HighFreqFactor: p.HighFreqFactor,
			OriginalMaxPositions: p.Original, AttentionFactor: p.AttentionFactor, BetaFast: p.BetaFast, BetaSlow: p.BetaSlow,
		}
		if r.Type == "" {
			r.Type = p.OldType
		}
		if r.Type == "" {
			r.Type = "default"
		}
	}
	c.Rope = r
	return nil
}

// maxTable bounds the rotary table's elements: 1 GiB, two million positions of head size 128.
const maxTable = 1 << 28

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	dims := []struct {
		name  string
		value int
		max   int
	}{
		{"vocab_size", c.VocabSize, 1 << 24}, {"hidden_size", c.HiddenSize, 1 << 20}, {"intermediate_size", c.IntermediateSize, 1 << 22},
		{"num_hidden_layers", c.Layers, 4096}, {"num_attention_heads", c.Heads, 4096}, {"num_key_value_heads", c.KVHeads, 4096},
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
	var is bool // what the family's config.json can say
	switch c.ModelType {
	case "llama":
		is = c.OutBias == c.QKVBias && !c.QKNorm
	case "qwen2":
		is = c.QKVBias && !c.OutBias && !c.MLPBias && !c.QKNorm
	case "qwen3":
		is = c.OutBias == c.QKVBias && !c.MLPBias && c.QKNorm
	}
	if !is {
		return fmt.Errorf("model_type %q has no variant with QKVBias %t, OutBias %t, MLPBias %t, QKNorm %t; known are llama, qwen2, qwen3",
			c.ModelType, c.QKVBias, c.OutBias, c.MLPBias, c.QKNorm)
	}
	return c.Rope.validate()
}

func (r Rope) validate() error {
	if !(r.Theta > 0 && r.Theta < 1e12) {
		return fmt.Errorf("rope_theta is %g", r.Theta)
	}
	switch r.Type {
	case "default":
		return nil
	case "linear", "llama3", "yarn":
	default:
		return fmt.Errorf("rope_type %q is not supported; known are default, linear, llama3, yarn", r.Type)
	}
	if !(r.Factor >= 1 && r.Factor < 1e6) {
		return fmt.Errorf("rope factor is %g", r.Factor)
	}
	if r.Type != "linear" && r.OriginalMaxPositions < 1 {
		return fmt.Errorf("rope original_max_position_embeddings is %d", r.OriginalMaxPositions)
	}
	if r.Type == "llama3" && !(r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor && r.HighFreqFactor < 1e6) {
		return fmt.Errorf("rope low_freq_factor %g, high_freq_factor %g", r.LowFreqFactor, r.HighFreqFactor)
	}
	if !(r.AttentionFactor >= 0 && r.AttentionFactor < 1e3) || !(r.BetaFast >= 0 && r.BetaFast < 1e6) || !(r.BetaSlow >= 0 && r.BetaSlow < 1e6) {
		return fmt.Errorf("rope attention_factor %g, beta_fast %g, beta_slow %g", r.AttentionFactor, r.BetaFast, r.BetaSlow)
	}
	return nil
}

// JSON is the config.json that transformers reads, in both spellings of the rotary base.
func (c Config) JSON() ([]byte, error) {
	arch := map[string]string{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[c.ModelType]
	rope := map[string]any{"rope_type": c.Rope.Type, "rope_theta": c.Rope.Theta}
	optional := map[string]float64{
		"factor": c.Rope.Factor, "low_freq_factor": c.Rope.LowFreqFactor, "high_freq_factor": c.Rope.HighFreqFactor,
		"attention_factor": c.Rope.AttentionFactor, "beta_fast": c.Rope.BetaFast, "beta_slow": c.Rope.BetaSlow,
	}
	for name, v := range optional {
		if v != 0 {
			rope[name] = v
		}
	}
	if c.Rope.OriginalMaxPositions != 0 {
		rope["original_max_position_embeddings"] = c.Rope.OriginalMaxPositions
	}
	j := map[string]any{
		"architectures": []string{arch}, "model_type": c.ModelType, "vocab_size": c.VocabSize, "hidden_size": c.HiddenSize,
		"intermediate_size": c.IntermediateSize, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads,
		"head_dim": c.HeadDim, "max_position_embeddings": c.MaxPositions, "rms_norm_eps": c.NormEps, "initializer_range": c.InitializerRange,
		"tie_word_embeddings": c.TieEmbeddings, "hidden_act": "silu", "attention_dropout": 0.0, "use_cache": true, "dtype": "float32",
		"torch_dtype": "float32", "rope_theta": c.Rope.Theta, "rope_parameters": rope,
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
	maps.Copy(j, c.specialTokens())
	return json.MarshalIndent(j, "", "  ")
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

// TrainBytes is what full fine-tuning keeps per step whatever the batch: fp32 weights, their packed copies, gradients and
// AdamW's two moments.
func (c Config) TrainBytes() int64 { return c.ParamCount() * 4 * (1 + 2 + 1 + 2) }

// invFreq are the rotary frequencies, and the factor that multiplies cosines and sines.
func (r Rope) invFreq(d, maxPositions int) (freq []float64, scale float64) {
	freq, scale = make([]float64, d/2), 1
	for i := range freq {
		freq[i] = math.Pow(r.Theta, -2*float64(i)/float64(d))
	}
	switch r.Type {
	case "linear":
		for i := range freq {
			freq[i] /= r.Factor
		}
	case "llama3": // Llama 3.1's: long wavelengths are divided by the factor, short ones kept, a ramp between
		original := float64(r.OriginalMaxPositions)
		for i, f := range freq {
			turns := original * f / (2 * math.Pi)
			switch smooth := (turns - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor); {
			case smooth <= 0:
				freq[i] = f / r.Factor
			case smooth < 1:
				freq[i] = float64((1-smooth)*f/r.Factor) + float64(smooth*f)
			}
		}
	case "yarn": // arXiv 2309.00071, section 3.2
		scale = r.AttentionFactor
		if scale == 0 {
			scale = float64(0.1*math.Log(r.Factor)) + 1
		}
		fast, slow := r.BetaFast, r.BetaSlow
		if fast == 0 {
			fast = 32
		}
		if slow == 0 {
			slow = 1
		}
		dim := func(turns float64) float64 {
			return float64(d) * math.Log(float64(r.OriginalMaxPositions)/(turns*2*math.Pi)) / (2 * math.Log(r.Theta))
		}
		low, high := max(math.Floor(dim(fast)), 0), min(math.Ceil(dim(slow)), float64(d-1))
		if low == high {
			high += 0.001
		}
		for i, f := range freq {
			ramp := min(max((float64(i)-low)/(high-low), 0), 1)
			freq[i] = float64(f/r.Factor*ramp) + float64(f*(1-ramp))
		}
	}
	return freq, scale
}

// ropeTable is [positions, d]: d/2 cosines, then d/2 sines, computed in float64.
func (c Config) ropeTable(positions int) []float32 {
	freq, scale := c.Rope.invFreq(c.HeadDim, c.MaxPositions)
	table := make([]float32, positions*c.HeadDim)
	for p := range positions {
		row := table[p*c.HeadDim:]
		for i, f := range freq {
			sin, cos := math.Sincos(float64(p) * f)
			row[i], row[i+len(freq)] = float32(cos*scale), float32(sin*scale)
		}
	}
	return table
}
