package weights

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzGGUF feeds arbitrary files to the reader, to what makes config.json, and to what gives Hugging Face's names. What they accept
// lies inside the file, and no claim costs more than twice the file and 16 MiB.
func FuzzGGUF(f *testing.F) {
	for _, h := range hostileGGUF() {
		if len(h.content) < 4096 {
			f.Add(h.content)
		}
	}
	f.Add(smallLlama())
	f.Fuzz(func(t *testing.T, content []byte) {
		path := file(t, t.TempDir(), "x.gguf", content)
		var g *File
		var c *Checkpoint
		cost := allocated(func() {
			var err error
			if g, err = Open(path); err == nil {
				_, _ = g.ConfigJSON()
				c, _ = OpenCheckpoint(path, Blocks{})
			}
		})
		require.Less(t, cost, uint64(2*len(content)+16<<20))
		if g == nil {
			return
		}
		defer g.Close()
		total := 0
		for _, name := range g.Names() {
			x, err := g.Tensor(name)
			require.NoError(t, err)
			total += len(x.Data)
			if v, err := x.Float32(); err == nil {
				require.Len(t, v, elements(x.Shape))
			}
		}
		require.LessOrEqual(t, total, len(content))
		if c == nil {
			return
		}
		defer c.Close()
		for _, name := range c.Names() {
			_, shape, ok := c.Shape(name)
			require.True(t, ok)
			n := 0
			if c.Each(name, func(at int, v []float32) error { require.Equal(t, n, at); n += len(v); return nil }) == nil {
				require.Equal(t, elements(shape), n)
			}
		}
	})
}

// smallLlama is a GGUF file with everything that is looked at: heads to put in order, experts' shapes, rotary factors.
func smallLlama() []byte {
	g := head(5, 6).text("general.architecture").u32(8).text("llama").text("llama.attention.head_count").u32(4, 2).text("llama.embedding_length").u32(4, 32)
	g.text("llama.block_count").u32(4, 1).text("llama.rope.freq_base").u32(6, 0x461c4000).text("tokenizer.ggml.tokens").u32(9, 8).u64(2).text("a").text("b")
	g.info("blk.0.attn_q.weight", 8, 0, 32, 32).info("token_embd.weight", 2, 1088, 32, 2).info("blk.0.attn_norm.weight", 0, 1152, 32)
	g.info("rope_freqs.weight", 0, 1280, 8).info("output_norm.bias", 1, 1312, 32)
	return g.data(1376).b
}

func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Large files of tiny things: what is kept and what is thrown away together stay below twice the file and 16 MiB.
func TestGGUFClaimsCostNothing(t *testing.T) {
	for name, h := range hostileGGUF() {
		path := file(t, t.TempDir(), "x.gguf", h.content)
		require.Less(t, allocated(func() { _, _ = Open(path) }), uint64(2*len(h.content)+16<<20), name)
	}
	words := head(0, 1).text("k").u32(9, 8).u64(4_000_000)
	for range 4_000_000 {
		words.u64(0)
	}
	entries := head(0, maxEntries)
	for i := range uint32(maxEntries) {
		entries.text(string([]byte{'a' + byte(i>>12), 'a' + byte(i>>8&15), 'a' + byte(i>>4&15), 'a' + byte(i&15)})).u32(0)
		entries.b = append(entries.b, 1)
	}
	experts := head(4, 1).text("general.architecture").u32(8).text("qwen3moe")
	for i := range uint64(4) {
		experts.info(fmt.Sprintf("blk.%d.ffn_up_exps.weight", i), 24, 16384*i, 1, 1, 16384)
	}
	for name, content := range map[string][]byte{"words": words.data(0).b, "entries": entries.data(0).b, "experts": experts.data(maxArrays).b} {
		path := filepath.Join(t.TempDir(), "x.gguf")
		file(t, filepath.Dir(path), "x.gguf", content)
		cost := allocated(func() {
			if name == "experts" {
				c, err := OpenCheckpoint(path, Blocks{})
				require.NoError(t, err)
				require.Len(t, c.Names(), maxArrays)
				return
			}
			_, err := Open(path)
			require.NoError(t, err)
		})
		require.Less(t, cost, uint64(2*len(content)+16<<20), name)
		t.Logf("%s: %d bytes allocated for a file of %d", name, cost, len(content))
	}
}
