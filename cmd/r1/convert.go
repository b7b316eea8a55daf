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
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/model/weights"
)

func newConvert() *cobra.Command {
	var dtype string
	var weightsOnly bool
	cmd := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "Write a model as a Hugging Face folder",
		Long: "Reads a .gguf file or a model folder and writes OUT, a new folder that transformers and vLLM load: quantised weights expanded, the\n" +
			"tokenizer and the chat template of a .gguf file as tokenizer.json and tokenizer_config.json. OUT must not exist; it appears when it is whole.",
		Example: "  r1 convert SmolLM2.gguf smollm2\n  r1 convert DIR DIR-bf16 --dtype bf16",
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
			return convert(args[0], args[1], t, weightsOnly, &line)
		},
	}
	cmd.Flags().StringVar(&dtype, "dtype", "f32", "of the weights: f32, bf16 or f16")
	cmd.Flags().BoolVar(&weightsOnly, "weights-only", false, "leave a .gguf file's tokenizer out, as when it is of a kind that is not supported")
	return cmd
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
