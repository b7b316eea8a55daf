package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gor1/gor1/model/weights"
)

// readConfig reads the config of a folder or a .gguf file, and which elements of F8 weights share a scale.
func readConfig(path string) (Config, weights.Blocks, error) {
	var text []byte
	var err error
	if filepath.Ext(path) == ".gguf" {
		text, err = ggufConfig(path)
	} else {
		path = filepath.Join(path, "config.json")
		text, err = readLimited(path)
	}
	if err != nil {
		return Config{}, weights.Blocks{}, fmt.Errorf("model: %w", err)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return Config{}, weights.Blocks{}, fmt.Errorf("model: %s: %w", path, err)
	}
	var j struct {
		Quantization json.RawMessage `json:"quantization_config"`
	}
	if err := json.Unmarshal(text, &j); err != nil {
		return Config{}, weights.Blocks{}, fmt.Errorf("model: %s: %w", path, err)
	}
	block, err := f8Blocks(j.Quantization)
	return c, block, err
}

// maxConfig bounds config.json's bytes; real ones have some thousands.
const maxConfig = 4 << 20

func readLimited(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: want a regular file of at most %d bytes", path, maxConfig)
	}
	return os.ReadFile(path)
}

func ggufConfig(path string) ([]byte, error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := f.ConfigJSON()
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return text, errors.Join(err, f.Close())
}

// f8Blocks reads a quantization_config. The one kind that is supported is DeepSeek-V3's own: F8_E4M3 weights with a scale for
// each block of rows and columns. The others are refused by their names.
func f8Blocks(raw json.RawMessage) (weights.Blocks, error) {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "{}" {
		return weights.Blocks{}, nil
	}
	var q struct {
		Method string `json:"quant_method"`
		Format string `json:"fmt"`
		Block  []int  `json:"weight_block_size"`
		Load4  bool   `json:"load_in_4bit"`
		Load8  bool   `json:"load_in_8bit"`
	}
	if err := json.Unmarshal(raw, &q); err != nil {
		return weights.Blocks{}, fmt.Errorf("quantization_config: %w", err)
	}
	if q.Method == "" && (q.Load4 || q.Load8) {
		q.Method = "bitsandbytes"
	}
	switch {
	case q.Method != "fp8":
		return weights.Blocks{}, fmt.Errorf("quantization_config: weights quantised by %q are not supported; take the unquantised model, or a GGUF file of it", q.Method)
	case q.Format != "" && q.Format != "e4m3" || len(q.Block) != 2 || q.Block[0] < 1 || q.Block[1] < 1:
		return weights.Blocks{}, fmt.Errorf("quantization_config: fp8 weights of format %q in blocks of %v are not supported; want \"e4m3\" and weight_block_size of two numbers, "+
			"as DeepSeek-V3 has", q.Format, q.Block)
	}
	return weights.Blocks{q.Block[0], q.Block[1]}, nil
}
