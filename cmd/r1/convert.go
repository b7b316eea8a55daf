package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/model/weights"
	"github.com/gor1/gor1/pipeline"
)

func newConvert() *cobra.Command {
	var dtype, adapter string
	var weightsOnly bool
	cmd := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Write a model as a Hugging Face folder",
		Long: "Reads a .gguf file or a model folder and writes OUT, a new folder that transformers and vLLM load: quantised weights expanded, the\n" +
			"tokenizer and the chat template of a .gguf file as tokenizer.json and tokenizer_config.json. OUT must not exist; it appears when it is whole.\n" +
			"--adapter merges a LoRA adapter (a run's checkpoint, or peft's folder) into the model's weights.",
		Example: "  r1 convert SmolLM2.gguf smollm2\n  r1 convert DIR DIR-bf16 --dtype bf16\n  r1 convert DIR merged --adapter out/checkpoint-60",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%w: want IN and OUT, got %d arguments", errUsage, len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t := strings.ToUpper(dtype)
			if t != "F32" && t != "BF16" && t != "F16" {
				return fmt.Errorf("%w: --dtype is %q, want f32, bf16 or f16", errUsage, dtype)
			}
			var line progress.Line
			if f, ok := cmd.ErrOrStderr().(*os.File); ok {
				line = *progress.New(f)
			}
			in := args[0]
			if adapter != "" {
				merged, err := os.MkdirTemp("", "r1-merge-*")
				if err != nil {
					return err
				}
				defer os.RemoveAll(merged)
				if err := merge(in, adapter, merged); err != nil {
					return err
				}
				in = merged
			}
			return convert(in, args[1], t, weightsOnly, &line)
		},
	}
	cmd.Flags().StringVar(&dtype, "dtype", "f32", "of the weights: f32, bf16 or f16")
	cmd.Flags().StringVar(&adapter, "adapter", "", "the folder of a LoRA adapter on the model, which is merged into its weights")
	cmd.Flags().BoolVar(&weightsOnly, "weights-only", false, "leave a .gguf file's tokenizer out, as when it is of a kind that is not supported")
	return cmd
}

// merge writes the model of a folder with an adapter merged into it.
func merge(in, adapter, out string) (err error) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	base, err := model.Load(dev, in, model.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	adapted, err := base.LoadAdapter(adapter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, adapted.Close()) }()
	whole, err := adapted.Merged()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, whole.Close()) }()
	if err := pipeline.Files(in, pipeline.TokenizerFiles...).Save(out); err != nil {
		return err
	}
	return whole.Save(out)
}

// convert writes beside out and renames, so that out is whole or absent.
func convert(in, out, dtype string, weightsOnly bool, line *progress.Line) (err error) {
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("%s exists; give the name of a new folder", out)
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".convert-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if filepath.Ext(in) == ".gguf" && !weightsOnly {
		if err := writeTokenizer(in, temp); err != nil {
			return err
		}
	}
	start := time.Now()
	err = model.Convert(in, temp, model.ConvertOptions{DType: dtype, Progress: func(done, total int64) {
		if time.Since(start) > 2*time.Second {
			line.Show(float64(done)/float64(total), "convert %.1f of %.1f M parameters", float64(done)/1e6, float64(total)/1e6)
		}
	}})
	line.Clear()
	if err != nil {
		return err
	}
	return os.Rename(temp, out)
}

// writeTokenizer writes the tokenizer's files of a .gguf file, if it has a tokenizer.
func writeTokenizer(in, dir string) error {
	f, err := weights.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.GGUF()["tokenizer.ggml.model"] == nil {
		return nil
	}
	if _, err := tokenizer.FromGGUF(f.GGUF()); err != nil {
		return fmt.Errorf("%s: %w (or convert with --weights-only)", in, err)
	}
	files, err := tokenizer.GGUFFiles(f.GGUF())
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// loadTokenizer reads the tokenizer of a folder, a tokenizer.json or a .gguf file.
func loadTokenizer(path string) (*tokenizer.Tokenizer, error) {
	if filepath.Ext(path) != ".gguf" {
		return tokenizer.Load(path)
	}
	f, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := tokenizer.FromGGUF(f.GGUF())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
