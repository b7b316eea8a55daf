package weights

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzHeader feeds arbitrary files to the reader. Whatever it accepts must be whole: tensors end to end, sizes as their
// shapes say; and what is written from it must read back the same.
func FuzzHeader(f *testing.F) {
	for _, h := range hostile() {
		if len(h.content) < 4096 {
			f.Add(h.content)
		}
	}
	f.Add(raw(`{"__metadata__":{"format":"pt"},`+oneF32+`}`, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, _, err := readHeader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return
		}
		tensors, covered := map[string]Tensor{}, 0
		for name, e := range entries {
			x := Tensor{e.dtype, e.shape, content[e.start:e.end]}
			require.Equal(t, int(elementBytes[e.dtype])*x.Len(), len(x.Data))
			require.LessOrEqual(t, len(x.Shape), maxDims)
			covered += len(x.Data)
			tensors[name] = x
		}
		require.LessOrEqual(t, covered, len(content)-8)
		path := filepath.Join(t.TempDir(), "x.safetensors")
		require.NoError(t, Write(path, tensors))
		back, err := Open(path)
		require.NoError(t, err)
		defer back.Close()
		require.Len(t, back.Names(), len(tensors))
		for name, want := range tensors {
			got, err := back.Tensor(name)
			require.NoError(t, err)
			require.Equal(t, want.DType, got.DType)
			require.Equal(t, want.Shape, got.Shape)
			require.True(t, bytes.Equal(want.Data, got.Data))
		}
	})
}

// FuzzIndex feeds arbitrary shard indexes; the folder holds one good shard, and nothing outside it may be opened.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":4},"weight_map":{"a":"one.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../one.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"one.safetensors","a":"/etc/passwd"}}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "one.safetensors"), raw(`{`+oneF32+`}`, 1, 2, 3, 4), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o644))
		got, err := Open(dir)
		if err != nil {
			return
		}
		defer got.Close()
		require.Equal(t, []string{"a"}, got.Names())
	})
}
