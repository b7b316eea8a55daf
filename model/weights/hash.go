package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Hash is the SHA-256, in hexadecimal, of a model folder's configuration, tokenizer and weights, or of a .gguf file: the files' names and
// contents in the order of the names.
func Hash(path string) (string, error) {
	var names []string
	for _, pattern := range []string{"*.safetensors", "*.gguf", "config.json", "tokenizer.json", "adapter_config.json"} {
		found, err := filepath.Glob(filepath.Join(path, pattern))
		if err != nil {
			return "", fmt.Errorf("weights: %w", err)
		}
		names = append(names, found...)
	}
	if info, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	} else if !info.IsDir() {
		names = []string{path}
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("weights: %w", err)
		}
		one := sha256.New()
		_, err = io.Copy(one, f)
		_ = f.Close()
		if err != nil {
			return "", fmt.Errorf("weights: %s: %w", name, err)
		}
		fmt.Fprintf(h, "%s %x\n", filepath.Base(name), one.Sum(nil))
	}
	if len(names) == 0 {
		return "", fmt.Errorf("weights: %s: there is no model", path)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
