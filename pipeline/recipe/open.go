package recipe

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// closers are what a prepared run must give back, in the order in which it was opened.
type closers struct {
	close []func() error
	Notes []string // what a user should know: rows left out, defaults chosen
}

// Close frees what was opened, in reverse.
func (c *closers) Close() error {
	var errs []error
	for i := len(c.close) - 1; i >= 0; i-- {
		errs = append(errs, c.close[i]())
	}
	c.close = nil
	return errors.Join(errs...)
}

func (c *closers) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// reportTo tells where the curves are that a run was asked to send elsewhere.
func (c *closers) reportTo(names []string, dir string) {
	for _, name := range names {
		switch name {
		case "wandb":
			c.note("report_to wandb: nothing is sent while training; wandb sync %s sends the TensorBoard events there", dir)
		case "tensorboard", "none", "all":
		default:
			c.note("report_to %s: nothing is sent; the curves are TensorBoard events in %s (tensorboard --logdir %s), the numbers in metrics.jsonl", name, dir, dir)
		}
	}
}

// openModel opens the device and loads a model, a folder or what from finds under its name.
func openModel(ctx context.Context, at Machine, m Model, from Sources, c *closers) (base *model.LM, dir string, err error) {
	if m.Model == "" {
		return nil, "", errors.New("recipe: model_name_or_path is missing: a Hugging Face folder or hub id")
	}
	dir = m.Model
	if from.Model != nil {
		if dir, err = from.Model(ctx, dir, m.Revision); err != nil {
			return nil, "", err
		}
	}
	if filepath.Ext(dir) == ".gguf" {
		return nil, "", fmt.Errorf("recipe: model_name_or_path is the file %s: a run needs a folder with a tokenizer beside the weights; r1 convert %s DIR makes one", dir, dir)
	}
	dev, err := kernels.Open(at.Device, kernels.Options{Threads: at.Threads, ISA: at.ISA, BF16: at.Class})
	if err != nil {
		return nil, "", err
	}
	c.close = append(c.close, dev.Close)
	if base, err = model.Load(dev, dir, m.options()); err != nil {
		return nil, "", err
	}
	base.Recompute(m.Again)
	c.close = append(c.close, base.Close)
	return base, dir, nil
}

// options are how the model, and one beside it, is loaded.
func (m Model) options() (o model.Options) {
	if m.BF16 {
		o.DType = kernels.BF16
	}
	return o
}

// record adds to a run's configuration what makes the policy's numbers: the mark of the folder it began as, and the class of bf16 if it computes in that.
func record(config map[string]any, m *model.LM, dir string) (err error) {
	class(config, m)
	config["model"], err = mark(dir)
	return err
}

func class(config map[string]any, m *model.LM) {
	if m.BF16() {
		config["bf16_class"] = m.Device().BF16()
	}
}

// end is how much of each end of a file of weights a mark is made of.
const end = 1 << 16

// mark changes when a model's folder does: the names and sizes of its JSON and safetensors files with their beginnings and ends. What it misses is
// a change in the midst of a file that leaves both ends as they were, which training never does.
func mark(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("recipe: %w", err)
	}
	h := fnv.New64a()
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".json" && ext != ".safetensors" && ext != ".jinja" {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", fmt.Errorf("recipe: %w", err)
		}
		info, err := f.Stat()
		if err == nil {
			fmt.Fprintf(h, "%q %d\n", e.Name(), info.Size())
			_, err = io.Copy(h, io.NewSectionReader(f, 0, end))
		}
		if err == nil {
			_, err = io.Copy(h, io.NewSectionReader(f, max(0, info.Size()-end), end))
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return "", fmt.Errorf("recipe: %w", err)
		}
	}
	return fmt.Sprintf("%016x", h.Sum64()), nil
}

// lora is the adapter's on a base of the given name.
func (a Adapter) lora(name string) model.LoRAConfig {
	targets := a.Targets
	if len(targets) == 0 {
		targets = []string{model.AllLinear}
	}
	return model.LoRAConfig{R: a.Rank, Alpha: a.Alpha, RSLoRA: a.RSLoRA, Dropout: a.Dropout, Targets: targets, Base: name}
}

// on puts a fresh adapter on a base.
func (a Adapter) on(base *model.LM, name string, seed uint64, c *closers) (*model.LM, error) {
	m, err := base.WithLoRA(a.lora(name), seed)
	if err == nil {
		c.close = append(c.close, m.Close)
	}
	return m, err
}
