package weights_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/model/weights"
)

// A hash names the weights: it changes with a byte of them, not with what else is in the folder nor with where that is.
func TestHash(t *testing.T) {
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
		return dir
	}
	hash := func(files map[string]string) string {
		h, err := weights.Hash(folder(files))
		require.NoError(t, err)
		return h
	}
	one := hash(map[string]string{"model.safetensors": "abc", "config.json": "{}"})
	require.Len(t, one, 64)
	require.Equal(t, one, hash(map[string]string{"model.safetensors": "abc", "config.json": "{}", "README.md": "x"}))
	require.NotEqual(t, one, hash(map[string]string{"model.safetensors": "abd", "config.json": "{}"}))
	require.NotEqual(t, one, hash(map[string]string{"model.safetensors": "abc", "config.json": "{ }"}))
	single, err := weights.Hash(filepath.Join(folder(map[string]string{"m.gguf": "abc"}), "m.gguf"))
	require.NoError(t, err)
	require.Len(t, single, 64)
	_, err = weights.Hash(t.TempDir())
	require.ErrorContains(t, err, "there is no model")
	_, err = weights.Hash(filepath.Join(t.TempDir(), "none"))
	require.Error(t, err)
}
