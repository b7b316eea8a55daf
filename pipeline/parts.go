package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
	"github.com/gor1/gor1/optim"
)

// Model is what of a model a checkpoint needs; *model.LM has it.
type Model interface {
	Params() []*kernels.Param
	Save(dir string) error
}

// Weights is a model in a checkpoint, in the Hugging Face files that Save writes, or peft's where it has an adapter. Restore writes
// their values into the model's parameters. sub is a folder inside the checkpoint; empty: the checkpoint itself.
func Weights(m Model, sub string) Part { return weightsPart{m, sub} }

type weightsPart struct {
	m   Model
	sub string
}

func (p weightsPart) Save(dir string) error {
	dir = filepath.Join(dir, p.sub)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	return p.m.Save(dir)
}

func (p weightsPart) Restore(dir string) (err error) {
	dir = filepath.Join(dir, p.sub)
	path, prefix := dir, ""
	if adapter := filepath.Join(dir, "adapter_model.safetensors"); exists(adapter) {
		path, prefix = adapter, "base_model.model." // as peft names an adapter's arrays
	}
	f, err := weights.Open(path)
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, q := range p.m.Params() {
		t, err := f.Tensor(prefix + q.Name)
		if err != nil {
			return fmt.Errorf("pipeline: %s: %w", dir, err)
		}
		if t.DType != "F32" || !slices.Equal(t.Shape, q.Shape()) {
			return fmt.Errorf("pipeline: %s: %s is %s%v, the model has F32%v", dir, q.Name, t.DType, t.Shape, q.Shape())
		}
		v, err := t.Float32()
		if err != nil {
			return fmt.Errorf("pipeline: %s: %s: %w", dir, q.Name, err)
		}
		if err := q.Write(v); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Moments is an optimiser in a checkpoint: optimizer.safetensors with each parameter's two moments and the step.
func Moments(o *optim.AdamW) Part { return momentsPart{o} }

type momentsPart struct{ o *optim.AdamW }

const (
	momentsFile      = "optimizer.safetensors"
	firstM, secondM  = "exp_avg.", "exp_avg_sq."
	optimizerCounter = "step"
)

func (p momentsPart) Save(dir string) error {
	st, err := p.o.State()
	if err != nil {
		return err
	}
	all := map[string]weights.Tensor{optimizerCounter: {DType: "I64", Shape: []int{1}, Data: binary.LittleEndian.AppendUint64(nil, uint64(st.Step))}}
	for name, m := range st.M {
		all[firstM+name] = weights.FromFloat32(m, len(m))
	}
	for name, v := range st.V {
		all[secondM+name] = weights.FromFloat32(v, len(v))
	}
	return weights.Write(filepath.Join(dir, momentsFile), all)
}

func (p momentsPart) Restore(dir string) (err error) {
	f, err := weights.Open(filepath.Join(dir, momentsFile))
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	read := func(name string) ([]float32, error) {
		t, err := f.Tensor(name)
		if err != nil {
			return nil, fmt.Errorf("pipeline: %s: %w", dir, err)
		}
		return t.Float32()
	}
	step, err := f.Tensor(optimizerCounter)
	if err != nil || step.DType != "I64" || len(step.Data) != 8 {
		return errors.Join(err, fmt.Errorf("pipeline: %s: %s: %q is %s%v, want one I64", dir, momentsFile, optimizerCounter, step.DType, step.Shape))
	}
	st := optim.State{Step: int(binary.LittleEndian.Uint64(step.Data)), M: map[string][]float32{}, V: map[string][]float32{}}
	for _, name := range p.o.Names() {
		if st.M[name], err = read(firstM + name); err != nil {
			return err
		}
		if st.V[name], err = read(secondM + name); err != nil {
			return err
		}
	}
	return p.o.SetState(st)
}

// Files copies files of a folder into every checkpoint, such as the tokenizer's: those of names that are there.
func Files(from string, names ...string) Part { return filesPart{from, names} }

type filesPart struct {
	from  string
	names []string
}

// TokenizerFiles are the files of a Hugging Face folder that a saved model is used with.
var TokenizerFiles = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt", "added_tokens.json"}

func (p filesPart) Save(dir string) error {
	for _, name := range p.names {
		if err := copyFile(filepath.Join(p.from, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("pipeline: %w", err)
		}
	}
	return nil
}

func (p filesPart) Restore(string) error { return nil }

// Text puts a file with the given text into every checkpoint.
func Text(name, text string) Part { return textPart{name, text} }

type textPart struct{ name, text string }

func (p textPart) Save(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, p.name), []byte(p.text), 0o644); err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	return nil
}

func (p textPart) Restore(string) error { return nil }

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
