package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gor1/gor1/model/weights"
)

// ConvertOptions say what Convert writes.
type ConvertOptions struct {
	DType    string                  // of the weights: "F32" (where it is empty), "BF16" or "F16"
	Progress func(done, total int64) // called with the parameters written so far; may be nil
}

// besides are the files of a folder that belong to a model and do not change with its weights.
var besides = []string{
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
	"chat_template.jinja", "generation_config.json",
}

// Convert writes the model that Load would load from in, a folder or a .gguf file, as a Hugging Face folder: config.json,
// generation_config.json and the weights as plain numbers; the tokenizer's files too where in is a folder that has them. out
// must be there. It needs memory for one piece of one weight.
func Convert(in, out string, o ConvertOptions) error {
	if o.DType == "" {
		o.DType = "F32"
	}
	torch, ok := map[string]string{"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[o.DType]
	if !ok {
		return fmt.Errorf("model: convert: dtype %q is not supported; want F32, BF16 or F16", o.DType)
	}
	c, block, err := readConfig(in)
	if err != nil {
		return err
	}
	file, err := weights.OpenCheckpoint(in, block)
	if err != nil {
		return fmt.Errorf("model: convert: %w", err)
	}
	defer file.Close()
	if err := c.checkShapes(in, file); err != nil {
		return err
	}
	if err := c.writeConfigs(out, torch); err != nil {
		return fmt.Errorf("model: convert: %w", err)
	}
	if filepath.Ext(in) != ".gguf" {
		for _, name := range besides {
			if err := copyFile(filepath.Join(in, name), filepath.Join(out, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("model: convert: %w", err)
			}
		}
	}
	if err := convertWeights(c, file, out, o); err != nil {
		return fmt.Errorf("model: convert: %w", err)
	}
	return nil
}

func convertWeights(c Config, file *weights.Checkpoint, out string, o ConvertOptions) error {
	var list []weights.Entry
	types := map[string]string{}
	for _, w := range c.weights() {
		types[w.name] = o.DType
		if w.fixed {
			types[w.name] = "F32" // transformers keeps them so
		}
		list = append(list, weights.Entry{Name: w.name, DType: types[w.name], Shape: w.shape})
	}
	done, total := int64(0), c.ParamCount()
	var buf []byte
	return weights.WriteDirFrom(out, list, func(name string, w io.Writer) error {
		return file.Each(name, func(_ int, values []float32) (err error) {
			if buf, err = weights.Append(buf[:0], types[name], values); err != nil {
				return err
			}
			if done += int64(len(values)); o.Progress != nil {
				o.Progress(done, total)
			}
			_, err = w.Write(buf)
			return err
		})
	})
}

// writeConfigs writes config.json, with the weights' type under torch's name, and generation_config.json.
func (c Config) writeConfigs(dir, dtype string) error {
	text, err := c.JSON()
	if err != nil {
		return err
	}
	var j map[string]json.RawMessage
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	quoted, _ := json.Marshal(dtype)
	j["dtype"], j["torch_dtype"] = quoted, quoted
	for name, v := range map[string]any{"config.json": j, "generation_config.json": c.specialTokens()} {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
