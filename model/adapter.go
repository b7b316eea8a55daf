package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

// adapter is what makes a model another's with low-rank additions.
type adapter struct {
	config LoRAConfig
	base   *LM
	pairs  map[string]*lora // by layer
	drop   *dropout         // nil: none
}

func (a *adapter) of(module string) *lora {
	if a == nil {
		return nil
	}
	return a.pairs[module]
}

// lora is one layer's addition.
type lora struct {
	a, b  *kernels.Param // [r, in], [out, r]
	scale float32
	mask  *mask // nil: no dropout
}

// add is y + scale (x A) B, in this order wherever the model runs.
func (l *lora) add(s *kernels.Scope, y, x *kernels.Tensor) *kernels.Tensor {
	if l.mask != nil {
		x = l.mask.apply(s, x)
	}
	return s.Add(y, s.Affine(s.Linear(s.Linear(x, l.a.Tensor, nil), l.b.Tensor, nil), l.scale, 0))
}

// WithLoRA returns the model with a fresh adapter: A uniform within 1/sqrt(in) as in peft, B zero, so it computes what m
// computes. It shares m's weights, which are frozen in it: only the adapter is trained ([LM.Params]), and no other gradient is
// computed. m stays as it is, for one thing as the reference of a KL term that costs no memory. Close the adapted model before m;
// a model with an adapter takes no second one.
func (m *LM) WithLoRA(c LoRAConfig, seed uint64) (*LM, error) {
	array := uint32(0)
	return m.adapt(c, func(name string, shape []int) ([]float32, error) {
		v := make([]float32, shape[0]*shape[1])
		array++
		if strings.HasSuffix(name, ".lora_A.weight") {
			fillUniform(v, seed, array, 1/math.Sqrt(float64(shape[1])))
		}
		return v, nil
	})
}

// fillUniform draws values between -bound and bound.
func fillUniform(v []float32, seed uint64, array uint32, bound float64) {
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for i := 0; i < len(v); i += 4 {
		words := kernels.Philox(key, [4]uint32{uint32(i), uint32(uint64(i) >> 32), array, 0})
		for j := range min(4, len(v)-i) {
			v[i+j] = float32(bound * (float64(words[j])/(1<<31) - 1))
		}
	}
}

// LoadAdapter returns the model with the adapter of a folder as peft writes it (adapter_config.json,
// adapter_model.safetensors). See [LM.WithLoRA] for what is shared.
func (m *LM) LoadAdapter(dir string) (*LM, error) {
	path := filepath.Join(dir, "adapter_config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("model: adapter: %w", err)
	}
	c, err := ParseLoRAConfig(text)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	path = filepath.Join(dir, "adapter_model.safetensors")
	file, err := weights.Open(path)
	if err != nil {
		return nil, fmt.Errorf("model: adapter: %w", err)
	}
	defer file.Close()
	used := map[string]bool{}
	a, err := m.adapt(c, func(name string, shape []int) ([]float32, error) {
		name = peftPrefix + name
		used[name] = true
		return readTensor(file, path, name, shape)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range file.Names() {
		if !used[name] {
			return nil, errors.Join(fmt.Errorf("model: %s: tensor %s belongs to no layer that adapter_config.json targets on this model", path, name), a.Close())
		}
	}
	return a, nil
}

// readTensor reads one tensor that must be there, of the given shape.
func readTensor(file *weights.File, path, name string, shape []int) ([]float32, error) {
	dtype, have, ok := file.Shape(name)
	if !ok {
		return nil, fmt.Errorf("model: %s: tensor %s is missing", path, name)
	}
	if !slices.Equal(have, shape) {
		return nil, fmt.Errorf("model: %s: tensor %s is %s%v, the configuration wants %v", path, name, dtype, have, shape)
	}
	t, err := file.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.Float32()
}

// peftPrefix is what peft puts before the names of a language model.
const peftPrefix = "base_model.model."

// adapt makes the adapted model from a function that gives each array of the adapter.
func (m *LM) adapt(c LoRAConfig, values func(name string, shape []int) ([]float32, error)) (*LM, error) {
	if m.lora != nil {
		return nil, errors.New("model: adapter: the model has one already; train that, or put the new one on LM.Merged")
	}
	list, err := c.targets(m.config)
	if err != nil {
		return nil, fmt.Errorf("model: adapter: %w", err)
	}
	a := &LM{config: m.config, dev: m.dev, byName: map[string]*kernels.Param{}, tables: m.tables, fixed: m.fixed, bf16: m.bf16, again: m.again}
	a.lora = &adapter{config: c, base: m, pairs: map[string]*lora{}}
	for name, p := range m.byName {
		a.byName[name] = p.Frozen()
	}
	for _, t := range list {
		pair := &lora{scale: t.scale}
		for _, part := range []struct {
			to    **kernels.Param
			name  string
			shape []int
		}{{&pair.a, t.module + ".lora_A.weight", []int{t.r, t.in}}, {&pair.b, t.module + ".lora_B.weight", []int{t.out, t.r}}} {
			v, err := values(part.name, part.shape)
			if err != nil {
				return nil, errors.Join(err, a.Close())
			}
			p, err := m.dev.NewParam(part.name, v, part.shape...)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("model: adapter: %w", err), a.Close())
			}
			a.params, a.byName[part.name], *part.to = append(a.params, p), p, p
		}
		a.lora.pairs[t.module] = pair
	}
	a.bind()
	return a, nil
}

// Base is the model an adapted one was made from: the same weights without the adapter. nil for a model without.
func (m *LM) Base() *LM {
	if m.lora == nil {
		return nil
	}
	return m.lora.base
}

// LoRA is the adapter's configuration; ok is false for a model without one.
func (m *LM) LoRA() (c LoRAConfig, ok bool) {
	if m.lora == nil {
		return LoRAConfig{}, false
	}
	return m.lora.config, true
}

// cloneAdapter is a further model over the same base with a copy of the adapter.
func (m *LM) cloneAdapter() (*LM, error) {
	return m.lora.base.adapt(m.lora.config, func(name string, _ []int) ([]float32, error) { return m.byName[name].Values() })
}

// saveAdapter writes adapter_config.json and adapter_model.safetensors.
func (m *LM) saveAdapter(dir string) error {
	text, err := m.lora.config.json(m.config)
	if err != nil {
		return fmt.Errorf("model: save adapter: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("model: save adapter: %w", err)
	}
	tensors := map[string]weights.Tensor{}
	for _, p := range m.params {
		v, err := p.Values()
		if err != nil {
			return fmt.Errorf("model: save adapter: %w", err)
		}
		tensors[peftPrefix+p.Name] = weights.FromFloat32(v, p.Shape()...)
	}
	if err := weights.Write(filepath.Join(dir, "adapter_model.safetensors"), tensors); err != nil {
		return fmt.Errorf("model: save adapter: %w", err)
	}
	return nil
}

// Merged returns a model of its own whose weights are W + s B A, as for export: the same function as the adapted model's to
// rounding, not to the bit, so neither trainer nor sampler of a run uses it.
func (m *LM) Merged() (*LM, error) {
	if m.lora == nil {
		return nil, errors.New("model: merge: the model has no adapter")
	}
	return m.shifted(m.lora.base, 1)
}

// Unmerged returns a model of its own whose weights are those of merged, a model that [LM.Merged] or peft made with this
// adapter, less s B A: the base again, to rounding.
func (m *LM) Unmerged(merged *LM) (*LM, error) {
	if m.lora == nil {
		return nil, errors.New("model: unmerge: the model has no adapter")
	}
	return m.shifted(merged, -1)
}

// shifted copies from with sign times the adapter's product added to each target.
func (m *LM) shifted(from *LM, sign float32) (*LM, error) {
	return build(m.dev, m.config, m.bf16, func(w weight) ([]float32, error) {
		if w.fixed {
			return slices.Clone(from.fixed[w.name]), nil
		}
		p := from.byName[w.name]
		if p == nil || !slices.Equal(p.Shape(), w.shape) {
			return nil, fmt.Errorf("model: merge: the models differ in %s", w.name)
		}
		l := m.lora.of(strings.TrimSuffix(w.name, ".weight"))
		if l == nil || !strings.HasSuffix(w.name, ".weight") {
			return p.Values()
		}
		v := make([]float32, p.Len())
		err := m.dev.Do(context.Background(), func(s *kernels.Scope) error {
			s = s.NoGrad()
			return s.Read(s.Add(s.Values(p.Tensor), s.Affine(s.MatMul(l.b.Tensor, l.a.Tensor), sign*l.scale, 0)), v)
		})
		return v, err
	})
}

// ---- dropout, for supervised fine-tuning ----

// dropout is one training step's.
type dropout struct {
	seed uint64
	step uint32
}

// drops says whether this view of the model drops.
func (a *adapter) drops() bool { return a != nil && a.drop != nil }

// mask is a layer's dropout in one pass.
type mask struct {
	p   float64
	key [2]uint32
	row [][3]uint32 // of each row: its sequence's hash in two words, its position
}

// Dropout returns the adapted model as step n of supervised training sees it: Forward and LogProbs drop elements of x in x A
// with the probability LoRAConfig.Dropout and scale the others up. What is dropped is a function of seed, step, the sequence's
// ids, position and layer: not of the batch or how it is split. It shares everything with m and is not closed. Caches, and so
// sampling, never drop. An adapter on experts, whose rows are in no fixed place, is an error.
func (m *LM) Dropout(seed uint64, step int) (*LM, error) {
	if m.lora == nil {
		return nil, errors.New("model: dropout: the model has no adapter")
	}
	if m.lora.config.Dropout == 0 {
		return m, nil
	}
	for module := range m.lora.pairs {
		if strings.Contains(module, ".experts.") {
			return nil, fmt.Errorf("model: dropout: lora_dropout on an expert (%s) is not supported", module)
		}
	}
	v, a := *m, *m.lora
	a.drop = &dropout{seed, uint32(step)}
	v.lora = &a
	return &v, nil
}

// dropping is a view of the model for one pass over these sequences.
func (m *LM) dropping(ids []int32, segs kernels.Segs) *LM {
	v, a := *m, *m.lora
	a.pairs, v.lora, v.layers = map[string]*lora{}, &a, nil
	row := rowKeys(ids, segs)
	seed := [2]uint32{uint32(a.drop.seed), uint32(a.drop.seed >> 32)}
	for i, module := range slices.Sorted(maps.Keys(m.lora.pairs)) {
		words := kernels.Philox(seed, [4]uint32{uint32(i), a.drop.step, 0, 0})
		pair := *m.lora.pairs[module]
		pair.mask = &mask{p: a.config.Dropout, key: [2]uint32{words[0], words[1]}, row: row}
		a.pairs[module] = &pair
	}
	v.bind()
	return &v
}

// apply is x [T, K] with elements set to 0 with probability p and the others divided by 1 - p.
func (d *mask) apply(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor {
	width := x.Dim(-1)
	keep, scale := make([]float32, x.Len()), float32(1/(1-d.p))
	for t, r := range d.row {
		for j := 0; j < width; j += 4 {
			words := kernels.Philox(d.key, [4]uint32{r[0], r[1], r[2], uint32(j)})
			for k := range min(4, width-j) {
				if float64(words[k])/(1<<32) >= d.p {
					keep[t*width+j+k] = scale
				}
			}
		}
	}
	return s.Mul(x, s.FromF32(keep, x.Shape()...))
}
