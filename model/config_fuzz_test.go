package model_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/model"
)

// FuzzConfig feeds arbitrary texts to the reader of config.json. What it accepts can be counted and written, and what is written
// is read as the same config; nothing costs more than twice the text and 16 MiB.
func FuzzConfig(f *testing.F) {
	for _, pattern := range []string{"config.json", "config_legacy.json"} {
		paths, err := filepath.Glob("testdata/golden/*/" + pattern)
		require.NoError(f, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(text)
		}
	}
	f.Add([]byte(`{"model_type":"qwen3_moe","hidden_act":"silu","num_experts":65536,"num_hidden_layers":4096}`))
	f.Add([]byte(`{"model_type":"llama","quantization_config":{"quant_method":"fp8","weight_block_size":[0,-1]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c model.Config
		var err error
		cost := allocated(func() { c, err = model.ParseConfig(text) })
		require.Less(t, cost, int64(2*len(text)+16<<20))
		if err != nil {
			return
		}
		require.Less(t, allocated(func() { require.Positive(t, c.LoadBytes()) }), int64(64<<20))
		out, err := c.JSON()
		require.NoError(t, err)
		again, err := model.ParseConfig(out)
		require.NoError(t, err, "%s", out)
		once, err := again.JSON()
		require.NoError(t, err)
		require.True(t, bytes.Equal(out, once))
	})
}
