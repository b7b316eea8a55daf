package weights

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// architecture is what is particular to one of GGUF's model architectures.
type architecture struct {
	modelType string            // of config.json
	permuted  bool              // rows of q and k are in llama.cpp's order
	lessOne   bool              // norms are stored plus 1
	keys      []string          // metadata under its name that it understands, beside commonKeys
	blocks    map[string]string // tensors of a layer that it has beside commonBlocks
}

var architectures = map[string]architecture{
	"llama":    {modelType: "llama", permuted: true},
	"qwen2":    {modelType: "qwen2"},
	"qwen3":    {modelType: "qwen3", blocks: qkNorms},
	"qwen3moe": {modelType: "qwen3_moe", blocks: merged(qkNorms, experts), keys: []string{"expert_count", "expert_used_count", "expert_feed_forward_length"}},
	"gemma3": {
		modelType: "gemma3_text", lessOne: true, keys: []string{"attention.sliding_window", "attention.sliding_window_pattern", "rope.freq_base_swa", "final_logit_softcapping"},
		blocks: merged(qkNorms, map[string]string{
			"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
		}),
	},
}

// commonBlocks are the tensors of a layer, without .weight and .bias; GGUF's name is blk.N.KEY.
var commonBlocks = map[string]string{
	"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	"ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

var (
	qkNorms = map[string]string{"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
	experts = map[string]string{
		"ffn_gate_inp": "mlp.gate", "ffn_gate_exps": "mlp.experts.%d.gate_proj", "ffn_up_exps": "mlp.experts.%d.up_proj", "ffn_down_exps": "mlp.experts.%d.down_proj",
	}
)

func merged(a, b map[string]string) map[string]string {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}

var outside = map[string]string{"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

// architecture is the file's, by general.architecture.
func (f *File) architecture() (string, architecture, error) {
	name, _ := f.gguf["general.architecture"].(string)
	arch, ok := architectures[name]
	if !ok {
		return "", arch, fmt.Errorf("general.architecture %q is not supported; known are %s", name, strings.Join(slices.Sorted(maps.Keys(architectures)), ", "))
	}
	return name, arch, nil
}

var blockName = regexp.MustCompile(`^blk\.(\d{1,5})\.([a-z_]+)$`)

// llamaNames gives the tensors of a GGUF file Hugging Face's names and says what is to be undone.
func (f *File) llamaNames() (map[string]array, error) {
	name, arch, err := f.architecture()
	if err != nil {
		return nil, err
	}
	heads, err := MetaInt(f.gguf, name+".attention.head_count", 0)
	if err != nil {
		return nil, err
	}
	kvHeads, err := MetaInt(f.gguf, name+".attention.head_count_kv", heads)
	if err != nil {
		return nil, err
	}
	arrays, n := map[string]array{}, 0
	for tensor, e := range f.entries {
		if tensor == ropeFactors {
			continue // config.json says it: see ropeScaling
		}
		stem, kind := tensor, ""
		if dot := strings.LastIndexByte(tensor, '.'); dot >= 0 {
			stem, kind = tensor[:dot], tensor[dot:]
		}
		hf, ok := outside[stem]
		key := ""
		if m := blockName.FindStringSubmatch(stem); m != nil {
			key = m[2]
			if hf, ok = arch.blocks[key]; !ok {
				hf, ok = commonBlocks[key]
			}
			hf = "model.layers." + m[1] + "." + hf
		}
		if !ok || (kind != ".weight" && kind != ".bias") {
			return nil, fmt.Errorf("tensor %s is not known in architecture %s", tensor, name)
		}
		a := array{entry: &e, shape: e.shape}
		if arch.lessOne && strings.HasSuffix(stem, "_norm") {
			a.less = 1
		}
		switch {
		case strings.Contains(hf, "%d"):
			err = a.split()
		case arch.permuted && key == "attn_q":
			err = a.heads(heads)
		case arch.permuted && key == "attn_k":
			err = a.heads(kvHeads)
		}
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", tensor, err)
		}
		if n += max(a.experts, 1); n > maxArrays {
			return nil, fmt.Errorf("more than %d arrays", maxArrays)
		}
		arrays[hf+kind] = a
	}
	return arrays, nil
}

// Limits of what a file may be taken apart into; DeepSeek-V3 has 47,000 arrays.
const (
	maxHeadRows = 1024
	maxArrays   = 1 << 16
)

// heads says of how many heads an array's rows are.
func (a *array) heads(n int) error {
	rows := a.shape[0]
	if n < 1 || rows%(2*n) != 0 || rows/n > maxHeadRows {
		return fmt.Errorf("%d rows are not %d heads of an even number of rows, at most %d", rows, n, maxHeadRows)
	}
	a.head = elements(a.shape) / n
	return nil
}

// split says that a tensor [E, rows, columns] is E arrays, one for each expert.
func (a *array) split() error {
	if len(a.shape) != 3 || a.shape[0] > maxArrays {
		return fmt.Errorf("shape %v, want experts, rows, columns", a.shape)
	}
	a.experts, a.shape = a.shape[0], a.shape[1:]
	return nil
}
