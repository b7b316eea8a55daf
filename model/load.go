package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

// Options say how to load a model.
type Options struct {
	MaxPositions int           // use fewer positions than the config allows, and save as many; 0: all
	DType        kernels.DType // what products are computed in: kernels.F32, or kernels.BF16 as [LM.UseBF16] says
	// Find gives the folder of a name that no folder or file has, such as "Qwen/Qwen3-0.6B": hub.Resolve does, with its options bound.
	// nil: names are folders, and nothing touches the network.
	Find func(name string) (dir string, err error)
}

// Load loads a Hugging Face folder (config.json and safetensors weights), a .gguf file, or what Options.Find finds, into fp32 weights, or on cpu in bf16 into
// halves of them, the second of which weights from bf16 files do without. Quantised weights are
// expanded: GGUF's as llama.cpp does, DeepSeek's F8 to the values that transformers has in bfloat16. Everything the files say is
// checked before memory is taken for the weights, and that the device has it.
func Load(dev *kernels.Device, dirOrID string, o Options) (*LM, error) {
	dir, err := o.find(dirOrID)
	if err != nil {
		return nil, err
	}
	m, _, err := load(dev, dir, o, false)
	return m, err
}

// find is the folder of a name.
func (o Options) find(name string) (string, error) {
	_, err := os.Stat(name)
	if o.Find == nil || err == nil || !errors.Is(err, fs.ErrNotExist) {
		return name, nil
	}
	dir, err := o.Find(name)
	if err != nil {
		return "", fmt.Errorf("model: %s: %w", name, err)
	}
	return dir, nil
}

// load loads a model; with score, in place of an output head, the head of a [Scorer].
func load(dev *kernels.Device, dir string, o Options, score bool) (m *LM, head []float32, err error) {
	if o.DType != kernels.F32 && o.DType != kernels.BF16 {
		return nil, nil, fmt.Errorf("model: Options.DType is %s; f32 and bf16 are computed", o.DType)
	}
	c, block, err := readConfig(dir)
	if err != nil {
		return nil, nil, err
	}
	var extra []weight
	if score {
		c.TieEmbeddings = true // it has no output head
		extra = []weight{{name: scoreName, shape: []int{1, c.HiddenSize}}}
	}
	if o.MaxPositions < 0 || o.MaxPositions > c.MaxPositions {
		return nil, nil, fmt.Errorf("model: Options.MaxPositions is %d, the model has %d", o.MaxPositions, c.MaxPositions)
	}
	if o.MaxPositions > 0 {
		c.MaxPositions = o.MaxPositions
	}
	need, in := c.LoadBytes(), "fp32"
	if o.DType == kernels.BF16 && dev.KeepsHalves() {
		need, in = c.loadHalves(), "bf16"
	}
	if have := dev.Memory(); have > 0 && need > have {
		return nil, nil, fmt.Errorf("model: %s: the weights need %d bytes in %s, the device has %d; take a smaller model or Options.MaxPositions below %d", dir, need, in, have, c.MaxPositions)
	}
	file, err := weights.OpenCheckpoint(dir, block)
	if err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	defer file.Close()
	if err := c.checkShapes(dir, file, extra...); err != nil {
		return nil, nil, err
	}
	m, err = build(dev, c, o.DType == kernels.BF16, func(w weight) ([]float32, error) {
		if w.fixed {
			return file.Float32(w.name)
		}
		return nil, nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range m.params {
		err := file.Each(p.Name, func(at int, values []float32) error { return p.WriteAt(values, at) })
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("model: %w", err), m.Close())
		}
	}
	if score {
		if head, err = file.Float32(scoreName); err != nil {
			return nil, nil, errors.Join(err, m.Close())
		}
	}
	return m, head, nil
}

// checkShapes holds a checkpoint's arrays against the config's and the extra ones: none missing, none of another shape, none without a place.
func (c Config) checkShapes(dir string, file *weights.Checkpoint, extra ...weight) error {
	used := map[string]bool{}
	for _, w := range append(c.weights(), extra...) {
		used[w.name] = true
		dtype, shape, ok := file.Shape(w.name)
		if !ok {
			return fmt.Errorf("model: %s: tensor %s is missing", dir, w.name)
		}
		if !slices.Equal(shape, w.shape) {
			return fmt.Errorf("model: %s: tensor %s is %s%v, config.json wants %v", dir, w.name, dtype, shape, w.shape)
		}
	}
	for _, name := range file.Names() {
		if c.MLA != nil && c.extraLayer(name) {
			continue // DeepSeek's multi-token prediction layers, which transformers drops too
		}
		// A tied model's file may hold the head as well; old checkpoints carry rotary frequencies.
		if !used[name] && name != "lm_head.weight" && filepath.Ext(name) != ".inv_freq" {
			return fmt.Errorf("model: %s: tensor %s belongs to no layer of a %s", dir, name, c.ModelType)
		}
	}
	return nil
}

// Save writes config.json, generation_config.json and model.safetensors (sharded over 5 GB) into dir, which must exist.
// transformers and vLLM load the folder as it is. A model with an adapter writes the adapter's two files instead, which peft
// loads; [LM.Merged] has the whole.
func (m *LM) Save(dir string) error {
	if m.lora != nil {
		return m.saveAdapter(dir)
	}
	if err := m.config.writeConfigs(dir, "float32"); err != nil {
		return fmt.Errorf("model: save: %w", err)
	}
	tensors := map[string]weights.Tensor{}
	for _, p := range m.params {
		v, err := p.Values()
		if err != nil {
			return fmt.Errorf("model: save: %w", err)
		}
		tensors[p.Name] = weights.FromFloat32(v, p.Shape()...)
	}
	for _, w := range m.config.weights() {
		if w.fixed {
			tensors[w.name] = weights.FromFloat32(m.fixed[w.name], w.shape...)
		}
	}
	if err := weights.WriteDir(dir, tensors); err != nil {
		return fmt.Errorf("model: save: %w", err)
	}
	return nil
}

// Clone copies the model, as for a frozen reference. Of a model with an adapter it copies the adapter and shares the base.
func (m *LM) Clone() (*LM, error) {
	if m.lora != nil {
		return m.cloneAdapter()
	}
	return build(m.dev, m.config, m.bf16, func(w weight) ([]float32, error) {
		if w.fixed {
			return slices.Clone(m.fixed[w.name]), nil
		}
		return m.byName[w.name].Values()
	})
}

// CopyFrom takes over the values of another model of the same architecture; with an adapter, of another adapter over the same base.
func (m *LM) CopyFrom(other *LM) error {
	if m.Base() != other.Base() {
		return errors.New("model: copy: the models have adapters over different bases, or one has none")
	}
	for name, v := range m.fixed {
		if len(other.fixed[name]) != len(v) {
			return fmt.Errorf("model: copy: the models differ in %s", name)
		}
		copy(v, other.fixed[name])
	}
	for _, p := range m.params {
		from := other.byName[p.Name]
		if from == nil || !slices.Equal(from.Shape(), p.Shape()) {
			return fmt.Errorf("model: copy: the models differ in %s", p.Name)
		}
		v, err := from.Values()
		if err != nil {
			return err
		}
		if err := p.Write(v); err != nil {
			return err
		}
	}
	return nil
}

// Init gives the standard deviation of a fresh matrix of the given name and shape.
type Init func(name string, shape []int) float64

// New makes a model with fresh weights: norms 1, biases 0, matrices drawn with the standard deviation that init gives (nil:
// config's InitializerRange). The same seed gives the same bits on every machine.
func New(dev *kernels.Device, c Config, seed uint64, init Init) (*LM, error) {
	if init == nil {
		init = func(string, []int) float64 { return c.InitializerRange }
	}
	array := uint32(0)
	return build(dev, c, false, func(w weight) ([]float32, error) {
		n := 1
		for _, d := range w.shape {
			n *= d
		}
		v := make([]float32, n)
		array++
		switch {
		case len(w.shape) == 2:
			fillNormal(v, seed, array, init(w.name, w.shape))
		case filepath.Ext(w.name) == ".weight" && c.Gemma == nil: // Gemma's norms are stored less 1
			for i := range v {
				v[i] = 1
			}
		}
		return v, nil
	})
}

// fillNormal draws nearly normal values as the sum of 12 uniforms less 6 (variance 1): whole numbers until the last
// multiplication, so no library function's rounding enters.
func fillNormal(v []float32, seed uint64, array uint32, std float64) {
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	const run = 1 << 16
	var all errgroup.Group
	all.SetLimit(runtime.GOMAXPROCS(0))
	for at := 0; at < len(v); at += run {
		all.Go(func() error {
			for i := at; i < min(at+run, len(v)); i++ {
				sum := uint64(0)
				for part := range uint32(3) {
					for _, word := range kernels.Philox(key, [4]uint32{uint32(i), uint32(uint64(i) >> 32), array, part}) {
						sum += uint64(word)
					}
				}
				v[i] = float32(std * (float64(sum)/(1<<32) - 6))
			}
			return nil
		})
	}
	_ = all.Wait() // nothing fails
}

// Tiny is a small random Qwen3-shaped model in memory (about 28,000 parameters, vocabulary 64, 128 positions), for unit
// tests: no files, the same for the same seed.
func Tiny(dev *kernels.Device, seed uint64) (*LM, error) {
	return New(dev, Config{
		ModelType: "qwen3", VocabSize: 64, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPositions: 128,
		NormEps: 1e-6, InitializerRange: 0.1, TieEmbeddings: true, QKNorm: true, BOS: 0, EOS: []int{1}, PAD: -1, Rope: Rope{Type: "default", Theta: 10000},
	}, seed, nil)
}
