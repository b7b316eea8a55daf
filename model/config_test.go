package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

// edited is a golden config.json with some fields replaced; a nil value removes the field.
func edited(t testing.TB, name string, fields map[string]any) []byte {
	text, err := os.ReadFile(filepath.Join("testdata", "golden", name, "config.json"))
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, json.Unmarshal(text, &all))
	for k, v := range fields {
		all[k] = v
		if v == nil {
			delete(all, k)
		}
	}
	text, err = json.Marshal(all)
	require.NoError(t, err)
	return text
}

type fields = map[string]any

// Every field that is out of range, or asks for mathematics that are not here, is an error that names it.
func TestConfigRefuses(t *testing.T) {
	rope := func(kv ...any) fields {
		p := fields{"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
		for i := 0; i < len(kv); i += 2 {
			p[kv[i].(string)] = kv[i+1]
		}
		return fields{"rope_parameters": p}
	}
	cases := map[string]struct {
		fields fields
		says   []string
	}{
		"model type":            {fields{"model_type": "mamba"}, []string{"model_type", "mamba"}},
		"no model type":         {fields{"model_type": nil}, []string{"model_type"}},
		"activation":            {fields{"hidden_act": "gelu"}, []string{"hidden_act", "gelu"}},
		"sliding window":        {fields{"use_sliding_window": true, "sliding_window": 128}, []string{"use_sliding_window"}},
		"sliding layers":        {fields{"layer_types": []string{"full_attention", "sliding_attention"}}, []string{"layer_types"}},
		"quantised":             {fields{"quantization_config": fields{"quant_method": "awq", "bits": 4}}, []string{"quantization_config", "awq"}},
		"attention soft-cap":    {fields{"attn_logit_softcapping": 50.0}, []string{"attn_logit_softcapping", "50"}},
		"final soft-cap":        {fields{"final_logit_softcapping": 30.0}, []string{"final_logit_softcapping", "30"}},
		"partial rotary":        {fields{"partial_rotary_factor": 0.5}, []string{"partial_rotary_factor", "0.5"}},
		"embedding multiplier":  {fields{"embedding_multiplier": 12.0}, []string{"embedding_multiplier"}},
		"residual multiplier":   {fields{"residual_multiplier": 0.22}, []string{"residual_multiplier"}},
		"logits scaling":        {fields{"logits_scaling": 8.0}, []string{"logits_scaling"}},
		"no rotary layers":      {fields{"no_rope_layers": []int{1, 0}}, []string{"no_rope_layers"}},
		"experts":               {fields{"num_experts": 8}, []string{"num_experts"}},
		"clipped qkv":           {fields{"clip_qkv": 8.0}, []string{"clip_qkv"}},
		"vocabulary 0":          {fields{"vocab_size": 0}, []string{"vocab_size is 0"}},
		"no vocabulary":         {fields{"vocab_size": nil}, []string{"vocab_size"}},
		"vocabulary negative":   {fields{"vocab_size": -160}, []string{"vocab_size is -160"}},
		"vocabulary huge":       {fields{"vocab_size": 1 << 40}, []string{"vocab_size"}},
		"vocabulary fractional": {fields{"vocab_size": 160.5}, []string{"vocab_size"}},
		"vocabulary text":       {fields{"vocab_size": "160"}, []string{"vocab_size"}},
		"past int64":            {fields{"hidden_size": json.Number("99999999999999999999")}, []string{"hidden_size"}},
		"hidden 0":              {fields{"hidden_size": 0}, []string{"hidden_size is 0"}},
		"layers 0":              {fields{"num_hidden_layers": 0}, []string{"num_hidden_layers is 0"}},
		"layers 1e9":            {fields{"num_hidden_layers": 1_000_000_000}, []string{"num_hidden_layers"}},
		"heads 0":               {fields{"num_attention_heads": 0}, []string{"num_attention_heads is 0"}},
		"heads negative":        {fields{"num_attention_heads": -4}, []string{"num_attention_heads is -4"}},
		"key heads 0":           {fields{"num_key_value_heads": 0}, []string{"num_key_value_heads is 0"}},
		"heads do not divide":   {fields{"num_key_value_heads": 3}, []string{"num_attention_heads 4", "num_key_value_heads 3"}},
		"more key heads":        {fields{"num_key_value_heads": 8}, []string{"num_key_value_heads 8"}},
		"head size odd":         {fields{"head_dim": 15}, []string{"head_dim is 15"}},
		"head size 0":           {fields{"head_dim": 0}, []string{"head_dim is 0"}},
		"head size 1e6":         {fields{"head_dim": 1_000_000}, []string{"head_dim is 1000000"}},
		"inner 0":               {fields{"intermediate_size": 0}, []string{"intermediate_size is 0"}},
		"positions 0":           {fields{"max_position_embeddings": 0}, []string{"max_position_embeddings is 0"}},
		"positions huge":        {fields{"max_position_embeddings": 1 << 50}, []string{"max_position_embeddings"}},
		"eps 0":                 {fields{"rms_norm_eps": 0.0}, []string{"rms_norm_eps is 0"}},
		"eps negative":          {fields{"rms_norm_eps": -1e-6}, []string{"rms_norm_eps is -1e-06"}},
		"eps 1e308":             {fields{"rms_norm_eps": 1e308}, []string{"rms_norm_eps"}},
		"eps past float64":      {fields{"rms_norm_eps": json.Number("1e999")}, []string{"rms_norm_eps"}},
		"initial negative":      {fields{"initializer_range": -1.0}, []string{"initializer_range is -1"}},
		"eos outside":           {fields{"eos_token_id": 160}, []string{"160"}},
		"eos list outside":      {fields{"eos_token_id": []int{2, 1000}}, []string{"1000"}},
		"eos text":              {fields{"eos_token_id": "end"}, []string{"eos_token_id", "end"}},
		"bos outside":           {fields{"bos_token_id": -7}, []string{"-7"}},
		"bos list":              {fields{"bos_token_id": []int{1}}, []string{"bos_token_id"}},
		"pad outside":           {fields{"pad_token_id": 1 << 30}, []string{"1073741824"}},
		"theta 0":               {fields{"rope_parameters": fields{"rope_type": "default", "rope_theta": 0.0}}, []string{"rope_theta is 0"}},
		"theta negative":        {rope("rope_theta", -1.0), []string{"rope_theta is -1"}},
		"theta 1e300":           {rope("rope_theta", 1e300), []string{"rope_theta"}},
		"dynamic rotary":        {rope("rope_type", "dynamic"), []string{"rope_type", "dynamic", "yarn"}},
		"long rotary":           {rope("rope_type", "longrope"), []string{"longrope"}},
		"older spelling":        {fields{"rope_parameters": nil, "rope_scaling": fields{"type": "su", "factor": 4.0}}, []string{"su"}},
		"rotary number":         {rope("rope_type", 3), []string{"rope_type"}},
		"no factor":             {rope("factor", 0.0), []string{"factor is 0"}},
		"factor below 1":        {rope("factor", 0.5), []string{"factor is 0.5"}},
		"factor 1e9":            {rope("factor", 1e9), []string{"factor"}},
		"linear, no factor":     {rope("rope_type", "linear", "factor", 0.0), []string{"factor is 0"}},
		"no original":           {rope("original_max_position_embeddings", 0), []string{"original_max_position_embeddings is 0"}},
		"original negative":     {rope("original_max_position_embeddings", -64), []string{"original_max_position_embeddings is -64"}},
		"llama3, no bounds":     {rope("rope_type", "llama3"), []string{"low_freq_factor", "high_freq_factor"}},
		"llama3, equal bounds":  {rope("rope_type", "llama3", "low_freq_factor", 4.0, "high_freq_factor", 4.0), []string{"high_freq_factor 4"}},
		"beta negative":         {rope("beta_fast", -1.0), []string{"beta_fast -1"}},
		"attention factor":      {rope("attention_factor", -1.0), []string{"attention_factor -1"}},
		"yarn not truncated":    {rope("truncate", false), []string{"truncate = false"}},
		"partial, new spelling": {rope("partial_rotary_factor", 0.5), []string{"rope_parameters", "partial_rotary_factor"}},
		"soft-cap of 1":         {fields{"final_logit_softcapping": 1.0}, []string{"final_logit_softcapping"}},
		"table of 128 GiB":      {fields{"max_position_embeddings": 1 << 26, "head_dim": 512}, []string{"max_position_embeddings 67108864", "head_dim 512"}},
		"rotary list":           {fields{"rope_parameters": []int{1}}, []string{"rope_parameters"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConfig(edited(t, "llama3", c.fields))
			require.Error(t, err)
			for _, part := range c.says {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

// What merely looks odd is accepted.
func TestConfigAccepts(t *testing.T) {
	for name, f := range map[string]fields{
		"fields nobody knows":    {"auto_map": fields{"AutoModel": "evil.py"}, "x": []int{1}, "_name_or_path": "/etc"},
		"neutral foreign fields": {"partial_rotary_factor": 1.0, "quantization_config": nil, "logits_scaling": 1.0, "attn_logit_softcapping": nil},
		"truncated, as usual":    {"rope_parameters": fields{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "truncate": true}},
		"no eos":                 {"eos_token_id": nil},
		"pad -1":                 {"pad_token_id": -1},
		"window not used":        {"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28},
		"all layers full":        {"layer_types": []string{"full_attention", "full_attention"}},
		"dropout in training":    {"attention_dropout": 0.1},
	} {
		_, err := ParseConfig(edited(t, "llama3", f))
		require.NoError(t, err, name)
	}
	c, err := ParseConfig(edited(t, "llama3", fields{"eos_token_id": []int{2, 5}, "head_dim": nil, "num_key_value_heads": nil}))
	require.NoError(t, err)
	require.Equal(t, []int{2, 5}, c.EOS)
	require.Equal(t, 16, c.HeadDim, "hidden_size / num_attention_heads")
	require.Equal(t, 4, c.KVHeads, "as many as query heads")
}

func TestConfigNotJSON(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "null", "1", `{"model_type":"llama"} x`, `{"vocab_size":NaN}`, "\xff"} {
		_, err := ParseConfig([]byte(text))
		require.Error(t, err, text)
	}
	dir := t.TempDir()
	_, err := ReadConfig(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"gpt2","hidden_act":"silu"}`), 0o644))
	_, err = ReadConfig(dir)
	require.ErrorContains(t, err, filepath.Join(dir, "config.json"))
	require.ErrorContains(t, err, `"gpt2"`)
}

// The families' differences are data: which arrays a checkpoint has.
func TestFamilies(t *testing.T) {
	has := func(name string, f fields, want map[string]bool) {
		c, err := ParseConfig(edited(t, name, f))
		require.NoError(t, err)
		names := map[string]bool{}
		for _, w := range c.weights() {
			require.False(t, names[w.name], w.name)
			names[w.name] = true
		}
		for n, yes := range want {
			require.Equal(t, yes, names[n], "%s %v: %s", name, f, n)
		}
	}
	const attn, mlp = "model.layers.1.self_attn.", "model.layers.1.mlp."
	has("qwen2", nil, map[string]bool{attn + "q_proj.bias": true, attn + "o_proj.bias": false, attn + "q_norm.weight": false, "lm_head.weight": false})
	has("qwen2", fields{"tie_word_embeddings": false}, map[string]bool{"lm_head.weight": true})
	has("qwen3", nil, map[string]bool{attn + "q_proj.bias": false, attn + "q_norm.weight": true, attn + "k_norm.weight": true})
	has("llama3", nil, map[string]bool{attn + "q_proj.bias": false, mlp + "up_proj.bias": false, "lm_head.weight": true})
	has("llama3", fields{"attention_bias": true, "mlp_bias": true}, map[string]bool{
		attn + "v_proj.bias": true, attn + "o_proj.bias": true, mlp + "gate_proj.bias": true, mlp + "down_proj.bias": true,
	})
}

// A Config that no config.json can say is refused before a model is made of it that could not be saved.
func TestNoSuchFamily(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"type":          func(c *Config) { c.ModelType = "mamba" },
		"none":          func(c *Config) { c.ModelType = "" },
		"llama, norms":  func(c *Config) { c.ModelType, c.QKVBias, c.QKNorm = "llama", false, true },
		"qwen2, plain":  func(c *Config) { c.QKVBias = false },
		"qwen2, output": func(c *Config) { c.OutBias = true },
		"qwen3, plain":  func(c *Config) { c.ModelType, c.QKVBias = "qwen3", false },
	} {
		c, err := ParseConfig(edited(t, "qwen2", nil))
		require.NoError(t, err)
		change(&c)
		require.ErrorContains(t, c.Validate(), "model_type", name)
	}
}

// A mixture's, Gemma's or latent attention's field that is out of range, or that asks for other mathematics, is an error.
func TestFamilyRefuses(t *testing.T) {
	for _, c := range []struct {
		model  string
		fields fields
		says   string
	}{
		{"qwen3_moe", fields{"num_experts_per_tok": 9}, "8 experts of which a token takes 9"},
		{"qwen3_moe", fields{"num_local_experts": 0}, "0 experts"},
		{"qwen3_moe", fields{"moe_intermediate_size": 0}, "moe_intermediate_size is 0"},
		{"qwen3_moe", fields{"decoder_sparse_step": 0}, "decoder_sparse_step is 0"},
		{"qwen3_moe", fields{"use_sliding_window": true}, "use_sliding_window"},
		{"qwen3_moe", fields{"kv_lora_rank": 16}, "kv_lora_rank"},
		{"gemma3", fields{"hidden_activation": "silu"}, "hidden_activation"},
		{"gemma3", fields{"layer_types": []string{"full_attention"}}, "layer_types has 1 entries for 4 layers"},
		{"gemma3", fields{"layer_types": []string{"a", "b", "c", "d"}}, "layer_types[0] is \"a\""},
		{"gemma3", fields{"sliding_window": 0}, "sliding_window 0"},
		{"gemma3", fields{"query_pre_attn_scalar": -1}, "query_pre_attn_scalar -1"},
		{"gemma3", fields{"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"},
		{"gemma3", fields{"use_bidirectional_attention": true}, "use_bidirectional_attention"},
		{"gemma3", fields{"num_experts": 4}, "num_experts"},
		{"deepseek_v3", fields{"scoring_func": "softmax"}, "scoring_func"},
		{"deepseek_v3", fields{"topk_method": "greedy"}, "topk_method"},
		{"deepseek_v3", fields{"kv_lora_rank": 0}, "kv_lora_rank 0"},
		{"deepseek_v3", fields{"qk_rope_head_dim": 7}, "head_dim is 19"},
		{"deepseek_v3", fields{"v_head_dim": 100}, "v_head_dim 100"},
		{"deepseek_v3", fields{"n_group": 3}, "n_group 3"},
		{"deepseek_v3", fields{"topk_group": 5}, "topk_group 5"},
		{"deepseek_v3", fields{"n_group": 8, "topk_group": 2}, "n_group 8 leaves fewer than two"},
		{"deepseek_v3", fields{"routed_scaling_factor": 0}, "routed_scaling_factor is 0"},
		{"deepseek_v3", fields{"num_hidden_layers": 1 << 40}, "num_hidden_layers"},
		{"deepseek_v3", fields{"quantization_config": fields{"quant_method": "gptq"}}, "gptq"},
		{"qwen3", fields{"n_routed_experts": 8}, "n_routed_experts"},
		{"llama3", fields{"query_pre_attn_scalar": 8}, "query_pre_attn_scalar"},
	} {
		_, err := ParseConfig(edited(t, c.model, c.fields))
		require.ErrorContains(t, err, c.says, "%s %v", c.model, c.fields)
	}
}

// JSON writes what ParseConfig reads, for the families with parts of their own.
func TestFamilyRoundTrip(t *testing.T) {
	for name, changes := range map[string][]fields{
		"qwen3_moe":           {nil, {"mlp_only_layers": []int{1}}, {"decoder_sparse_step": 2}, {"norm_topk_prob": false}},
		"gemma3":              {nil, {"final_logit_softcapping": 30.0}, {"layer_types": nil, "sliding_window_pattern": 2}},
		"deepseek_v3":         {nil, {"first_k_dense_replace": 3}, {"rope_interleave": false}, {"attention_bias": true}, {"n_shared_experts": 2}},
		"deepseek_v3_noqlora": {nil},
	} {
		for _, change := range changes {
			c, err := ParseConfig(edited(t, name, change))
			require.NoError(t, err, name)
			text, err := c.JSON()
			require.NoError(t, err)
			again, err := ParseConfig(text)
			require.NoError(t, err, string(text))
			require.Equal(t, c, again)
		}
	}
}

// JSON writes what ParseConfig reads, for every rotary scaling.
func TestConfigRoundTrip(t *testing.T) {
	for _, name := range []string{"qwen2", "qwen3", "llama3", "smollm2"} {
		for _, rope := range []Rope{
			{Type: "default", Theta: 10000},
			{Type: "linear", Theta: 10000, Factor: 4},
			{Type: "llama3", Theta: 5e5, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192},
			{Type: "yarn", Theta: 1e6, Factor: 4, OriginalMaxPositions: 32768},
			{Type: "yarn", Theta: 1e6, Factor: 4, OriginalMaxPositions: 32768, AttentionFactor: 1.25, BetaFast: 20, BetaSlow: 2},
		} {
			c, err := ParseConfig(edited(t, name, nil))
			require.NoError(t, err)
			c.Rope, c.EOS, c.PAD = rope, []int{3, 4}, -1
			text, err := c.JSON()
			require.NoError(t, err)
			again, err := ParseConfig(text)
			require.NoError(t, err)
			require.Equal(t, c, again)

			// A reader of the older spelling alone sees the same rotary positions.
			var all map[string]any
			require.NoError(t, json.Unmarshal(text, &all))
			delete(all, "rope_parameters")
			text, err = json.Marshal(all)
			require.NoError(t, err)
			again, err = ParseConfig(text)
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	}
}

// Load says which tensor of the folder does not fit, and leaves nothing behind.
func TestLoadRefuses(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	from := filepath.Join("testdata", "golden", "qwen2")
	f, err := weights.Open(from)
	require.NoError(t, err)
	defer f.Close()
	good := map[string]weights.Tensor{}
	for _, n := range f.Names() {
		good[n], err = f.Tensor(n)
		require.NoError(t, err)
	}
	const q = "model.layers.1.self_attn.q_proj.weight"
	for name, c := range map[string]struct {
		change func(ts map[string]weights.Tensor)
		fields fields
		o      Options
		says   []string
	}{
		"missing": {func(ts map[string]weights.Tensor) { delete(ts, q) }, nil, Options{}, []string{q, "missing"}},
		"shape":   {func(ts map[string]weights.Tensor) { ts[q] = weights.FromFloat32(make([]float32, 4), 2, 2) }, nil, Options{}, []string{q, "F32[2 2]", "[48 48]"}},
		"flat": {func(ts map[string]weights.Tensor) {
			ts[q] = weights.Tensor{DType: "F32", Shape: []int{48 * 48}, Data: ts[q].Data}
		}, nil, Options{}, []string{q, "[2304]"}},
		"type": {func(ts map[string]weights.Tensor) {
			ts[q] = weights.Tensor{DType: "I32", Shape: []int{48, 48}, Data: ts[q].Data}
		}, nil, Options{}, []string{"I32"}},
		"one too many":  {func(ts map[string]weights.Tensor) { ts["model.layers.9.x"] = weights.FromFloat32(nil, 0) }, nil, Options{}, []string{"model.layers.9.x"}},
		"wider config":  {nil, fields{"intermediate_size": 112}, Options{}, []string{"mlp.gate_proj.weight", "[112 48]"}},
		"deeper config": {nil, fields{"num_hidden_layers": 4, "layer_types": nil}, Options{}, []string{"model.layers.3", "missing"}},
		"family":        {nil, fields{"model_type": "qwen3"}, Options{}, []string{"missing"}},
		"positions":     {nil, nil, Options{MaxPositions: 513}, []string{"MaxPositions is 513", "512"}},
		"less than 0":   {nil, nil, Options{MaxPositions: -1}, []string{"MaxPositions is -1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, ts := t.TempDir(), map[string]weights.Tensor{}
			for n, x := range good {
				ts[n] = x
			}
			if c.change != nil {
				c.change(ts)
			}
			require.NoError(t, weights.WriteDir(dir, ts))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), edited(t, "qwen2", c.fields), 0o644))
			m, err := Load(dev, dir, c.o)
			require.Nil(t, m)
			require.Error(t, err)
			for _, part := range c.says {
				require.ErrorContains(t, err, part)
			}
			require.Zero(t, dev.Stats().LiveTensors)
		})
	}
	require.NoError(t, dev.Close())
}

// Old files that carry a tied head or rotary frequencies besides load.
func TestLoadIgnoresKnownExtras(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	f, err := weights.Open(filepath.Join("testdata", "golden", "qwen2"))
	require.NoError(t, err)
	defer f.Close()
	ts := map[string]weights.Tensor{
		"model.layers.0.self_attn.rotary_emb.inv_freq": weights.FromFloat32(make([]float32, 6), 6),
	}
	for _, n := range f.Names() {
		ts[n], err = f.Tensor(n)
		require.NoError(t, err)
	}
	ts["lm_head.weight"] = ts["model.embed_tokens.weight"]
	dir := t.TempDir()
	require.NoError(t, weights.WriteDir(dir, ts))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), edited(t, "qwen2", nil), 0o644))
	m, err := Load(dev, dir, Options{MaxPositions: 64})
	require.NoError(t, err)
	require.Equal(t, 64, m.Config().MaxPositions)
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
}

// Half-precision checkpoints load as the values they hold.
func TestLoadBF16(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	f, err := weights.Open(filepath.Join("testdata", "golden", "qwen2"))
	require.NoError(t, err)
	defer f.Close()
	ts, want := map[string]weights.Tensor{}, map[string][]float32{}
	for _, n := range f.Names() {
		x, err := f.Tensor(n)
		require.NoError(t, err)
		v, err := x.Float32()
		require.NoError(t, err)
		short := make([]byte, 2*len(v)) // truncated: the upper half of each float32
		for i := range v {
			v[i] = math.Float32frombits(math.Float32bits(v[i]) &^ 0xffff)
			copy(short[2*i:], x.Data[4*i+2:4*i+4])
		}
		ts[n], want[n] = weights.Tensor{DType: "BF16", Shape: x.Shape, Data: short}, v
	}
	dir := t.TempDir()
	require.NoError(t, weights.WriteDir(dir, ts))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), edited(t, "qwen2", nil), 0o644))
	m, err := Load(dev, dir, Options{})
	require.NoError(t, err)
	for _, p := range m.Params() {
		v, err := p.Values()
		require.NoError(t, err)
		require.Equal(t, want[p.Name], v, p.Name)
	}
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
}

// ParamCount is what the folder holds, and does not overflow at the largest sizes Validate lets through.
func TestParamCount(t *testing.T) {
	f, err := weights.Open(filepath.Join("testdata", "golden", "llama3"))
	require.NoError(t, err)
	defer f.Close()
	n := int64(0)
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		require.NoError(t, err)
		n += int64(x.Len())
	}
	c, err := ReadConfig(filepath.Join("testdata", "golden", "llama3"))
	require.NoError(t, err)
	require.Equal(t, n, c.ParamCount())
	c.VocabSize, c.HiddenSize, c.IntermediateSize, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 1<<24, 1<<20, 1<<22, 4096, 4096, 4096, 512
	require.NoError(t, c.Validate())
	require.Greater(t, 4*c.ParamCount(), int64(1)<<57)
}

// FuzzParseConfig: whatever is accepted is in range, and is written and read the same.
func FuzzParseConfig(f *testing.F) {
	for _, name := range []string{"qwen2", "qwen3", "llama3", "smollm2"} {
		f.Add(edited(f, name, nil))
	}
	f.Add(edited(f, "llama3", fields{"rope_parameters": fields{"rope_type": "yarn", "rope_theta": 1e4, "factor": 4, "original_max_position_embeddings": 64}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		require.NoError(t, c.Validate())
		require.Positive(t, c.ParamCount())
		out, err := c.JSON()
		require.NoError(t, err)
		again, err := ParseConfig(out)
		require.NoError(t, err)
		require.Equal(t, c.ParamCount(), again.ParamCount())
	})
}
