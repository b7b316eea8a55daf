package model_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/weights"
)

// ggufFile writes GGUF files of fp32 tensors as llama.cpp's converter lays them out.
type ggufFile struct {
	head, data []byte
	n          uint64
}

func (g *ggufFile) u64(v uint64) { g.head = binary.LittleEndian.AppendUint64(g.head, v) }

func (g *ggufFile) u32(v uint32) { g.head = binary.LittleEndian.AppendUint32(g.head, v) }

func (g *ggufFile) text(s string) { g.u64(uint64(len(s))); g.head = append(g.head, s...) }

func (g *ggufFile) tensor(name string, shape []int, values []float32) {
	g.text(name)
	g.u32(uint32(len(shape)))
	for _, d := range slices.Backward(shape) {
		g.u64(uint64(d))
	}
	g.u32(0)
	g.u64(uint64(len(g.data)))
	for _, v := range values {
		g.data = binary.LittleEndian.AppendUint32(g.data, math.Float32bits(v))
	}
	g.data = append(g.data, make([]byte, (32-len(g.data)%32)%32)...)
	g.n++
}

// bytes puts the file together; meta holds uint32, float32 and string entries.
func (g *ggufFile) bytes(meta map[string]any) []byte {
	f := &ggufFile{head: []byte("GGUF")}
	f.u32(3)
	f.u64(g.n)
	f.u64(uint64(len(meta)))
	for key, v := range meta {
		f.text(key)
		switch v := v.(type) {
		case uint32:
			f.u32(4)
			f.u32(v)
		case float32:
			f.u32(6)
			f.u32(math.Float32bits(v))
		case string:
			f.u32(8)
			f.text(v)
		}
	}
	all := append(f.head, g.head...)
	return append(append(all, make([]byte, (32-len(all)%32)%32)...), g.data...)
}

var ggufNames = strings.NewReplacer("model.layers.", "blk.", "model.embed_tokens", "token_embd", "model.norm", "output_norm", "lm_head", "output",
	"input_layernorm", "attn_norm", "self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k", "self_attn.v_proj", "attn_v", "self_attn.o_proj", "attn_output",
	"self_attn.q_norm", "attn_q_norm", "self_attn.k_norm", "attn_k_norm", "post_attention_layernorm", "ffn_norm",
	"mlp.gate_proj", "ffn_gate", "mlp.up_proj", "ffn_up", "mlp.down_proj", "ffn_down", "mlp.gate.", "ffn_gate_inp.")

var expertName = regexp.MustCompile(`^model\.layers\.(\d+)\.mlp\.experts\.0\.(gate|up|down)_proj\.weight$`)

// asGGUF turns a golden folder into a GGUF file.
func asGGUF(t *testing.T, name, arch string, meta map[string]any) string {
	dir := filepath.Join("testdata/golden", name)
	c, err := model.ReadConfig(dir)
	require.NoError(t, err)
	f, err := weights.OpenCheckpoint(dir, weights.Blocks{})
	require.NoError(t, err)
	defer f.Close()
	read := func(name string) ([]float32, []int) {
		v, err := f.Float32(name)
		require.NoError(t, err)
		_, shape, _ := f.Shape(name)
		return v, shape
	}
	g := &ggufFile{}
	for _, name := range f.Names() {
		v, shape := read(name)
		if m := expertName.FindStringSubmatch(name); m != nil {
			for e := 1; e < c.MoE.Experts; e++ {
				more, _ := read(strings.Replace(name, "experts.0", "experts."+strconv.Itoa(e), 1))
				v = append(v, more...)
			}
			g.tensor("blk."+m[1]+".ffn_"+m[2]+"_exps.weight", append([]int{c.MoE.Experts}, shape...), v)
			continue
		}
		if strings.Contains(name, ".experts.") {
			continue
		}
		if arch == "llama" && (strings.Contains(name, "q_proj") || strings.Contains(name, "k_proj")) {
			v = interleave(v, shape[1], c.HeadDim)
		}
		g.tensor(ggufNames.Replace(name), shape, v)
	}
	all := map[string]any{"general.architecture": arch}
	for key, v := range map[string]any{
		"context_length": uint32(c.MaxPositions), "embedding_length": uint32(c.HiddenSize), "block_count": uint32(c.Layers), "feed_forward_length": uint32(c.IntermediateSize),
		"attention.head_count": uint32(c.Heads), "attention.head_count_kv": uint32(c.KVHeads), "attention.key_length": uint32(c.HeadDim),
		"attention.layer_norm_rms_epsilon": float32(c.NormEps), "rope.freq_base": float32(c.Rope.Theta),
	} {
		all[arch+"."+key] = v
	}
	for key, v := range meta {
		all[key] = v
	}
	path := filepath.Join(t.TempDir(), name+".gguf")
	require.NoError(t, os.WriteFile(path, g.bytes(all), 0o644))
	return path
}

// interleave puts rows i and i + d/2 of each head side by side, as llama.cpp stores them.
func interleave(v []float32, cols, d int) []float32 {
	out := make([]float32, 0, len(v))
	for head := 0; head < len(v); head += d * cols {
		for i := range d / 2 {
			for _, row := range []int{i, i + d/2} {
				out = append(out, v[head+row*cols:head+(row+1)*cols]...)
			}
		}
	}
	return out
}

// A golden model read from a GGUF file is the model of its folder, bit for bit. .ci/gguf/run has the files that gguf-py writes.
func TestLoadGGUF(t *testing.T) {
	for name, arch := range map[string]string{"smollm2": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe"} {
		meta := map[string]any{}
		if arch == "qwen3moe" {
			meta = map[string]any{"qwen3moe.expert_count": uint32(8), "qwen3moe.expert_used_count": uint32(2), "qwen3moe.expert_feed_forward_length": uint32(24)}
		}
		dev := openCPU(t)
		want, err := model.Load(dev, filepath.Join("testdata/golden", name), model.Options{})
		require.NoError(t, err)
		got, err := model.Load(dev, asGGUF(t, name, arch, meta), model.Options{})
		require.NoError(t, err)
		a, b := want.Config(), got.Config()
		a.BOS, a.EOS, a.PAD = b.BOS, b.EOS, b.PAD // of a tokenizer, which these files have not
		require.Equal(t, a, b)
		for _, p := range want.Params() {
			x, err := p.Values()
			require.NoError(t, err)
			y, err := got.Param(p.Name).Values()
			require.NoError(t, err)
			require.Equal(t, x, y, "%s %s", name, p.Name)
		}
		require.NoError(t, want.Close())
		require.NoError(t, got.Close())
	}
}

// What the metadata says and this package does not compute is named.
func TestGGUFConfigErrors(t *testing.T) {
	for says, meta := range map[string]map[string]any{
		`"mamba"`:                       {"general.architecture": "mamba"},
		"llama.expert_count = 8":        {"llama.expert_count": uint32(8)},
		"llama.attention.sliding":       {"llama.attention.sliding_window": uint32(64)},
		"llama.logit_scale":             {"llama.logit_scale": float32(2)},
		"partial rotation":              {"llama.rope.dimension_count": uint32(4)},
		"another width":                 {"llama.attention.value_length": uint32(4)},
		`rope.scaling.type "longrope"`:  {"llama.rope.scaling.type": "longrope"},
		"llama.context_length is":       {"llama.context_length": "many"},
		"layer_norm_rms_epsilon is NaN": {"llama.attention.layer_norm_rms_epsilon": float32(math.NaN())},
		"max_position_embeddings is 0":  {"llama.context_length": uint32(0)},
		"wants [40 54]":                 {"llama.feed_forward_length": uint32(40)},
	} {
		_, err := model.Load(openCPU(t), asGGUF(t, "smollm2", "llama", meta), model.Options{})
		require.ErrorContains(t, err, says)
	}
}

// What does not fit is refused by its config alone, before weights are looked for.
func TestMemoryEstimate(t *testing.T) {
	dir := t.TempDir()
	text := `{"model_type":"llama","hidden_act":"silu","vocab_size":1000000,"hidden_size":1000000,"intermediate_size":4000000,"num_hidden_layers":1000,
		"num_attention_heads":2000,"head_dim":500,"max_position_embeddings":64}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o644))
	dev := openCPU(t)
	before := dev.Stats()
	_, err := model.Load(dev, dir, model.Options{})
	c, e := model.ParseConfig([]byte(text))
	require.NoError(t, e)
	require.ErrorContains(t, err, "the weights need "+strconv.FormatInt(c.LoadBytes(), 10)+" bytes in fp32, the device has "+strconv.FormatInt(dev.Memory(), 10))
	require.Equal(t, before, dev.Stats(), "nothing was allocated")
}

// Loading takes the weights' memory and one piece.
func TestLoadMemory(t *testing.T) {
	dev := openCPU(t)
	c := model.Config{
		ModelType: "qwen3", VocabSize: 8000, HiddenSize: 512, IntermediateSize: 512, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 128, MaxPositions: 128,
		NormEps: 1e-6, InitializerRange: 1, TieEmbeddings: true, QKNorm: true, BOS: 0, EOS: []int{1}, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}
	m, err := model.New(dev, c, 1, nil)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, m.Save(dir))
	require.NoError(t, m.Close())
	fresh := openCPU(t)
	got := allocated(func() { m, err = model.Load(fresh, dir, model.Options{}) })
	require.NoError(t, err)
	defer m.Close()
	require.LessOrEqual(t, fresh.Stats().PeakBytes, c.LoadBytes()*11/10)
	require.Less(t, got, c.LoadBytes()/2, "the Go heap, garbage included")
}

func allocated(fn func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}
