package weights

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// commonKeys are the metadata entries of an architecture that every one understands, without its name.
var commonKeys = []string{
	"context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count", "attention.head_count_kv", "attention.key_length",
	"attention.value_length", "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
	"rope.scaling.original_context_length", "rope.scaling.finetuned", "rope.scaling.attn_factor", "vocab_size",
}

// ropeFactors is the tensor in which llama.cpp keeps Llama 3's rotary scaling.
const ropeFactors = "rope_freqs.weight"

// ConfigJSON makes the config.json of a GGUF file's model from its metadata. An entry of the architecture that is not known is
// an error that names it: it may change what the model computes.
func (f *File) ConfigJSON() ([]byte, error) {
	name, arch, err := f.architecture()
	if err != nil {
		return nil, err
	}
	r := &metaReader{meta: f.gguf, prefix: name + "."}
	r.onlyKnown(append(slices.Clone(commonKeys), arch.keys...))
	heads := r.integer("attention.head_count", 0)
	head := r.integer("attention.key_length", r.integer("embedding_length", 0)/max(heads, 1))
	j := map[string]any{
		"model_type": arch.modelType, "hidden_size": r.integer("embedding_length", 0), "num_hidden_layers": r.integer("block_count", 0),
		"intermediate_size": r.integer("feed_forward_length", 0), "num_attention_heads": heads, "num_key_value_heads": r.integer("attention.head_count_kv", heads),
		"head_dim": head, "max_position_embeddings": r.integer("context_length", 0), "rms_norm_eps": r.float("attention.layer_norm_rms_epsilon", 1e-6),
		"rope_theta": r.float("rope.freq_base", 10000), "hidden_act": "silu", "tie_word_embeddings": !f.has("output.weight"),
	}
	if v := r.integer("attention.value_length", head); v != head {
		r.fail("attention.value_length is %d, attention.key_length %d: values of another width are not supported", v, head)
	}
	if d := r.integer("rope.dimension_count", head); d != head {
		r.fail("rope.dimension_count is %d, a head has %d: partial rotation is not supported", d, head)
	}
	if e, ok := f.entries["token_embd.weight"]; ok && len(e.shape) == 2 {
		j["vocab_size"] = e.shape[0]
	} else {
		r.fail("no matrix token_embd.weight")
	}
	for key, field := range map[string]string{"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"} {
		if _, ok := f.gguf["tokenizer.ggml."+field+"_token_id"]; ok {
			id, err := MetaInt(f.gguf, "tokenizer.ggml."+field+"_token_id", 0)
			r.stick(err)
			j[key] = id
		}
	}
	if scaling := f.ropeScaling(r, head); scaling != nil {
		j["rope_scaling"] = scaling
	}
	if f.has("blk.0.attn_q.bias") && arch.modelType != "qwen2" {
		j["attention_bias"] = true
	}
	if f.has("blk.0.ffn_gate.bias") {
		j["mlp_bias"] = true
	}
	f.familyJSON(r, arch, head, j)
	if r.err != nil {
		return nil, r.err
	}
	return json.MarshalIndent(j, "", "  ")
}

func (f *File) has(tensor string) bool {
	_, ok := f.entries[tensor]
	return ok
}

// familyJSON adds what only some architectures have.
func (f *File) familyJSON(r *metaReader, arch architecture, head int, j map[string]any) {
	switch arch.modelType {
	case "qwen3_moe":
		j["num_experts"], j["num_experts_per_tok"] = r.integer("expert_count", 0), r.integer("expert_used_count", 0)
		// norm_topk_prob is not in the metadata; llama.cpp's graph for this architecture normalises.
		j["moe_intermediate_size"], j["norm_topk_prob"] = r.integer("expert_feed_forward_length", 0), true
	case "gemma3_text":
		delete(j, "hidden_act")
		j["hidden_activation"], j["sliding_window"] = "gelu_pytorch_tanh", r.integer("attention.sliding_window", 1024)
		j["sliding_window_pattern"], j["rope_local_base_freq"] = r.integer("attention.sliding_window_pattern", 6), r.float("rope.freq_base_swa", 10000)
		// Not in the metadata either: the 27B model alone scales scores by the width of the stream over the heads.
		j["query_pre_attn_scalar"] = head
		if layers, heads := r.integer("block_count", 0), r.integer("attention.head_count", 0); layers == 62 && heads > 0 {
			j["query_pre_attn_scalar"] = r.integer("embedding_length", 0) / heads
		}
		if _, ok := f.gguf[r.prefix+"final_logit_softcapping"]; ok {
			j["final_logit_softcapping"] = r.float("final_logit_softcapping", 0)
		}
		if _, ok := f.gguf[r.prefix+"rope.freq_base"]; !ok {
			j["rope_theta"] = json.Number("1000000.0")
		}
	}
}

// ropeScaling is config.json's rope_scaling, or nil where positions are not scaled.
func (f *File) ropeScaling(r *metaReader, head int) map[string]any {
	kind, _ := f.gguf[r.prefix+"rope.scaling.type"].(string)
	if e, ok := f.entries[ropeFactors]; ok {
		factors, err := array{entry: &e, shape: e.shape}.whole()
		r.stick(err)
		theta, _ := r.float("rope.freq_base", 10000).Float64()
		if r.err == nil {
			return llama3Scaling(r, factors, head, theta)
		}
	}
	switch kind {
	case "", "none":
		return nil
	case "linear":
		return map[string]any{"rope_type": "linear", "factor": r.float("rope.scaling.factor", 1)}
	case "yarn":
		s := map[string]any{"rope_type": "yarn", "factor": r.float("rope.scaling.factor", 1)}
		if n := r.integer("rope.scaling.original_context_length", 0); n > 0 {
			s["original_max_position_embeddings"] = n
		}
		if _, ok := f.gguf[r.prefix+"rope.scaling.attn_factor"]; ok {
			s["attention_factor"] = r.float("rope.scaling.attn_factor", 1)
		}
		return s
	}
	r.fail("rope.scaling.type %q is not supported; none, linear and yarn are", kind)
	return nil
}

// llama3Scaling finds the parameters of Llama 3's scaling from the factors by which llama.cpp divides each frequency. All
// released models have low_freq_factor 1 and high_freq_factor 4; then the factor is that of the lowest frequency, and one
// between the two ends gives the original positions (8,192 where there is none). Factors that these do not give are an error.
func llama3Scaling(r *metaReader, factors []float32, head int, theta float64) map[string]any {
	if len(factors) != head/2 || len(factors) == 0 {
		r.fail("%s has %d factors for heads of %d", ropeFactors, len(factors), head)
		return nil
	}
	const low, high = 1.0, 4.0
	factor, positions := float64(factors[len(factors)-1]), 8192.0
	wavelength := func(i int) float64 { return 2 * math.Pi * math.Pow(theta, float64(2*i)/float64(head)) }
	for i, f := range factors {
		if f > 1 && float64(f) < factor {
			smooth := (1/float64(f) - 1/factor) / (1 - 1/factor)
			positions = math.Round(wavelength(i) * (smooth*(high-low) + low))
			break
		}
	}
	for i, got := range factors {
		want := 1.0
		switch wl := wavelength(i); {
		case wl > positions/low:
			want = factor
		case wl >= positions/high:
			smooth := (positions/wl - low) / (high - low)
			want = 1 / ((1-smooth)/factor + smooth)
		}
		if !(math.Abs(float64(got)-want) <= 1e-4*want) || positions > 1<<30 {
			r.fail("%s has factor %g at %d where Llama 3's scaling by %g gives %g: use the Hugging Face folder of the original model", ropeFactors, got, i, factor, want)
			return nil
		}
	}
	return map[string]any{
		"rope_type": "llama3", "factor": shortest(float32(factor)), "low_freq_factor": json.Number("1.0"), "high_freq_factor": json.Number("4.0"),
		"original_max_position_embeddings": int(positions),
	}
}

// metaReader reads the entries of one architecture. The first error sticks.
type metaReader struct {
	meta   map[string]any
	prefix string
	err    error
}

func (r *metaReader) stick(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *metaReader) fail(format string, args ...any) { r.stick(fmt.Errorf(format, args...)) }

func (r *metaReader) onlyKnown(keys []string) {
	for _, key := range slices.Sorted(maps.Keys(r.meta)) {
		if short, ours := strings.CutPrefix(key, r.prefix); ours && !slices.Contains(keys, short) {
			r.fail("metadata %s = %.40s may change what the model computes and is not supported", key, fmt.Sprint(r.meta[key]))
		}
	}
}

func (r *metaReader) integer(key string, otherwise int) int {
	n, err := MetaInt(r.meta, r.prefix+key, otherwise)
	r.stick(err)
	return n
}

// float is a fraction in the shortest decimal that reads back the same.
func (r *metaReader) float(key string, otherwise float64) json.Number {
	switch v := r.meta[r.prefix+key].(type) {
	case nil:
		return point(strconv.FormatFloat(otherwise, 'g', -1, 64))
	case float32:
		if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
			return shortest(v)
		}
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return point(strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	r.fail("%s%s is %v, want a finite fraction", r.prefix, key, r.meta[r.prefix+key])
	return "0.0"
}

func shortest(v float32) json.Number { return point(strconv.FormatFloat(float64(v), 'g', -1, 32)) }

// point makes sure that a number is not taken for a whole one.
func point(text string) json.Number {
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}
