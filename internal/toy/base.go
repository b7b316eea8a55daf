package toy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// BaseConfig is the base model: 301,824 parameters.
func BaseConfig() model.Config {
	return model.Config{
		ModelType: "llama", VocabSize: VocabSize, HiddenSize: 96, IntermediateSize: 256, Layers: 3, Heads: 3, KVHeads: 1, HeadDim: 32, MaxPositions: 128,
		NormEps: 1e-6, InitializerRange: 0.05, TieEmbeddings: true, BOS: int(BOS), EOS: []int{int(EOS)}, PAD: -1, Rope: model.Rope{Type: "default", Theta: 1000},
	}
}

// initStd draws embeddings with 0.05, matrices with 1/sqrt(fan-in), and those that write to the residual with half of it.
func initStd(name string, shape []int) float64 {
	if strings.Contains(name, "embed_tokens") {
		return 0.05
	}
	std := 1 / math.Sqrt(float64(shape[1]))
	if strings.Contains(name, "o_proj") || strings.Contains(name, "down_proj") {
		std /= 2
	}
	return std
}

// Pretraining says how a base is made. Its content hash names the cached result.
type Pretraining struct {
	Seed         uint64
	Cycles       []Cycle
	StepTokens   int     // tokens of one optimiser step
	Beta1, Beta2 float64 // AdamW
	Decay        float64
	Version      int // of the world: changed by hand when documents or model change
}

// Cycle is one run of warm-up and cosine decay with a fresh optimiser.
type Cycle struct {
	Tokens       int
	LearningRate float64
}

// DefaultPretraining is the recipe of the example: 7 million tokens in two cycles.
func DefaultPretraining(seed uint64) Pretraining {
	return Pretraining{
		Seed: seed, Cycles: []Cycle{{8_500_000, 3e-3}}, StepTokens: 900, Beta1: 0.9, Beta2: 0.95, Decay: 0.1, Version: 3,
	}
}

// World is what a base model is made from: what it is, and what it reads.
type World struct {
	Config     model.Config
	Vocabulary []string // <bos> and <eos> are its ids 0 and 1
	// Document draws the ids of one document, <bos> first and <eos> last.
	Document func(r *rand.Rand) []int32
	// Ready tells whether a base can do what RL is to make it want to; nil: it is not asked.
	Ready func(ctx context.Context, m *model.LM, seed uint64) (bool, error)
}

// hash names the base that p makes in a world.
func (p Pretraining) hash(w World) string {
	text, _ := json.Marshal([]any{p, w.Config, w.Vocabulary})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Progress is told how far a long piece of work is: a share of 1, the latest loss, tokens a second.
type Progress func(share, loss, tokensPerSecond float64)

// Base makes the base model of the toy world by next-token prediction on the synthetic web, or loads it from cacheDir where the same
// base was made before; an empty cacheDir neither reads nor writes. made tells whether it was made now.
func Base(ctx context.Context, dev *kernels.Device, p Pretraining, cacheDir string, progress Progress) (m *model.LM, made bool, err error) {
	w := World{Config: BaseConfig(), Vocabulary: vocabulary, Ready: ready, Document: func(r *rand.Rand) []int32 {
		text, _ := Document(r)
		return append(append([]int32{BOS}, must(text)...), EOS)
	}}
	return w.Base(ctx, dev, p, cacheDir, progress)
}

// Base makes the base model of a world, or loads it: see the function of that name.
func (w World) Base(ctx context.Context, dev *kernels.Device, p Pretraining, cacheDir string, progress Progress) (m *model.LM, made bool, err error) {
	dir := filepath.Join(cacheDir, "gor1-toy-base-"+p.hash(w))
	if cacheDir != "" {
		if m, err := model.Load(dev, dir, model.Options{}); err == nil {
			return m, false, nil
		}
	}
	if m, err = model.New(dev, w.Config, p.Seed, initStd); err != nil {
		return nil, false, err
	}
	total, before := 0, 0
	for _, c := range p.Cycles {
		total += c.Tokens
	}
	start := time.Now()
	for i, c := range p.Cycles {
		err := p.cycle(ctx, w, m, i, c, func(tokens int, loss float64) {
			if progress != nil {
				progress(float64(before+tokens)/float64(total), loss, float64(before+tokens)/time.Since(start).Seconds())
			}
		})
		if err != nil {
			return nil, false, fmt.Errorf("toy: pre-training: %w (closing: %v)", err, m.Close())
		}
		before += c.Tokens
	}
	if err := p.untilReady(ctx, w, m, len(p.Cycles)); err != nil {
		return nil, false, fmt.Errorf("toy: pre-training: %w (closing: %v)", err, m.Close())
	}
	if cacheDir != "" {
		if err := saveWhole(m, dir); err != nil {
			return nil, false, fmt.Errorf("toy: caching the base: %w (closing: %v)", err, m.Close())
		}
	}
	return m, true, nil
}

// What a base must be able to do before RL can make it want to: the accuracy in small steps, per task, on a development set.
const (
	readyAccuracy = 0.6
	readyCycles   = 3 // more of them at most
)

func ready(ctx context.Context, m *model.LM, seed uint64) (bool, error) {
	e := sampling.New(m, sampling.Options{Codec: Codec{}, Temperature: 1, MaxTokens: 64, Seed: seed})
	forced, err := Forced(ctx, e, Questions(RL, 1<<40+seed, 400))
	return slices.Min(forced[:]) >= readyAccuracy, err
}

// untilReady adds short cycles while the base is not ready. The recipe's seeds need none.
func (p Pretraining) untilReady(ctx context.Context, w World, m *model.LM, number int) error {
	if w.Ready == nil {
		return nil
	}
	for extra := range readyCycles {
		ok, err := w.Ready(ctx, m, p.Seed)
		if err != nil || ok {
			return err
		}
		if err := p.cycle(ctx, w, m, number+extra, Cycle{1_500_000, 2e-3}, func(int, float64) {}); err != nil {
			return err
		}
	}
	return nil
}

// saveWhole saves a model folder under a temporary name first, so that a folder of that name is whole.
func saveWhole(m *model.LM, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".gor1-toy-base-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := m.Save(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !os.IsExist(err) {
		if _, there := os.Stat(filepath.Join(dir, "model.safetensors")); there != nil {
			return err // another process did not just write the same
		}
	}
	return nil
}

// cycle trains on one cycle's documents.
func (p Pretraining) cycle(ctx context.Context, w World, m *model.LM, number int, c Cycle, progress func(tokens int, loss float64)) error {
	steps := (c.Tokens + p.StepTokens - 1) / p.StepTokens
	trainer, err := sft.New(m, sft.Config{
		LearningRate: c.LearningRate, Schedule: optim.Cosine(steps/20, steps, 0.1), MicroTokens: 4096,
		Optim: optim.Config{Beta1: p.Beta1, Beta2: p.Beta2, Eps: 1e-8, Decay: p.Decay, MaxNorm: 1},
	})
	if err != nil {
		return err
	}
	defer trainer.Close()
	r := rand.New(rand.NewPCG(p.Seed*1000+uint64(number), 0x636f72707573))
	loss, tokens := 0.0, 0
	for tokens < c.Tokens {
		var batch []sft.Sequence
		for n := 0; n < p.StepTokens; {
			ids := w.Document(r)
			batch = append(batch, sft.Sequence{IDs: ids})
			n += len(ids)
			tokens += len(ids)
		}
		st, err := trainer.Step(ctx, batch)
		if err != nil {
			return err
		}
		if loss == 0 {
			loss = st.Loss
		}
		loss += 0.02 * (st.Loss - loss)
		progress(min(tokens, c.Tokens), loss)
	}
	return nil
}

// Tokens is how many tokens of the corpus are read in all.
func (p Pretraining) Tokens() int {
	n := 0
	for _, c := range p.Cycles {
		n += c.Tokens
	}
	return n
}
