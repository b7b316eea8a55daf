package weights

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func (g *ggml) f32(v ...float32) *ggml {
	for _, x := range v {
		g.u32(math.Float32bits(x))
	}
	return g
}

// Gemma's norms are stored plus 1, and its four norms of a layer have names of their own; other tensors stay as they are.
func TestGemmaNames(t *testing.T) {
	names := []string{"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm", "attn_q"}
	g := head(uint64(len(names)), 1).text("general.architecture").u32(8).text("gemma3")
	for i, n := range names {
		g.info("blk.3."+n+".weight", 0, uint64(32*i), 8)
	}
	g.data(0)
	for range names {
		g.f32(1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5)
	}
	c, err := OpenCheckpoint(file(t, t.TempDir(), "x.gguf", g.b), Blocks{})
	require.NoError(t, err)
	defer c.Close()
	want := map[string]float32{
		"input_layernorm": 0.5, "post_attention_layernorm": 0.5, "pre_feedforward_layernorm": 0.5, "post_feedforward_layernorm": 0.5,
		"self_attn.q_norm": 0.5, "self_attn.k_norm": 0.5, "self_attn.q_proj": 1.5,
	}
	require.Len(t, c.Names(), len(want))
	for name, x := range want {
		v, err := c.Float32("model.layers.3." + name + ".weight")
		require.NoError(t, err, name)
		require.Equal(t, []float32{x, x, x, x, x, x, x, x}, v, name)
	}
}

// Llama 3's scaling comes back from the factors that llama.cpp's converter makes of it; factors that are not its are refused.
func TestLlama3Scaling(t *testing.T) {
	for _, c := range []struct {
		factor, positions, theta float64
		head                     int
	}{{8, 8192, 500000, 128}, {32, 8192, 500000, 64}, {8, 64, 500000, 16}} {
		factors := make([]float32, c.head/2)
		for i := range factors {
			length := 2 * math.Pi * float64(float32(math.Pow(c.theta, float64(2*i)/float64(c.head))))
			smooth := min(max((c.positions/length-1)/3, 0), 1) // 0 at the low frequencies, 1 at the high ones
			factors[i] = float32(1 / ((1-smooth)/c.factor + smooth))
		}
		r := &metaReader{}
		got := llama3Scaling(r, factors, c.head, c.theta)
		require.NoError(t, r.err)
		text, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, string(must(json.Marshal(map[string]any{
			"rope_type": "llama3", "factor": c.factor, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": c.positions,
		}))), string(text))
		factors[0] += 0.01
		llama3Scaling(r, factors, c.head, c.theta)
		require.ErrorContains(t, r.err, "rope_freqs.weight has factor 1.01 at 0")
		r = &metaReader{}
		llama3Scaling(r, factors[1:], c.head, c.theta)
		require.ErrorContains(t, r.err, "factors for heads of")
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
