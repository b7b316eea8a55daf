package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

// Scorer is a decoder whose head gives one number a row in place of logits: PPO's value function, or a reward model. Its
// folder is what transformers calls AutoModelForSequenceClassification with num_labels 1. Close frees it.
type Scorer struct {
	lm     *LM
	score  *kernels.Param // [1, D]
	params []*kernels.Param
}

// scoreName is transformers' name of the head, which has no bias.
const scoreName = "score.weight"

// NewScorer puts a fresh head on a model's decoder: std is the standard deviation of its weights; 0 makes every score 0 at
// first. The scorer takes m over, closing included, and m's output head is not used. To keep m, give m.Clone; with an
// adapter (m.WithLoRA), the adapter and the head are trained.
func NewScorer(m *LM, std float64, seed uint64) (*Scorer, error) {
	v := make([]float32, m.config.HiddenSize)
	fillNormal(v, seed, 0, std)
	return newScorer(m, v)
}

func newScorer(m *LM, head []float32) (*Scorer, error) {
	p, err := m.dev.NewParam(scoreName, head, 1, m.config.HiddenSize)
	if err != nil {
		return nil, fmt.Errorf("model: scorer: %w", err)
	}
	r := &Scorer{lm: m, score: p}
	for _, q := range m.params {
		if q != m.head {
			r.params = append(r.params, q)
		}
	}
	r.params = append(r.params, p)
	return r, nil
}

// LoadScorer loads a folder that [Scorer.Save], or transformers' AutoModelForSequenceClassification with one label, wrote.
func LoadScorer(dev *kernels.Device, dirOrID string, o Options) (*Scorer, error) {
	dir, err := o.find(dirOrID)
	if err != nil {
		return nil, err
	}
	m, head, err := load(dev, dir, o, true)
	if err != nil {
		return nil, err
	}
	r, err := newScorer(m, head)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return r, nil
}

// Device is where the scorer lies.
func (r *Scorer) Device() *kernels.Device { return r.lm.dev }

// LM is the decoder, owned by the scorer.
func (r *Scorer) LM() *LM { return r.lm }

// Params are the parameters that are trained: the decoder's (with an adapter, the adapter's), then the head.
func (r *Scorer) Params() []*kernels.Param { return r.params }

// Close frees the scorer and its decoder.
func (r *Scorer) Close() error { return errors.Join(r.score.Free(), r.lm.Close()) }

// Values runs packed sequences and returns the score at each of rows, [len(rows)]. A row sees its sequence up to itself and no
// more, so the last row of a text has the text's score.
func (r *Scorer) Values(s *kernels.Scope, ids []int32, segs kernels.Segs, rows []int32) *kernels.Tensor {
	return s.Reshape(s.Linear(s.Gather(r.lm.Forward(s, ids, segs), rows), r.score.Tensor, nil), len(rows))
}

// Clone copies the scorer, as [LM.Clone] copies a model.
func (r *Scorer) Clone() (*Scorer, error) {
	m, err := r.lm.Clone()
	if err != nil {
		return nil, err
	}
	v, err := r.score.Values()
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	c, err := newScorer(m, v)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return c, nil
}

// Save writes config.json and model.safetensors into dir, which must exist. transformers' AutoModelForSequenceClassification
// loads the folder as it is. An adapter is merged first ([LM.Merged]).
func (r *Scorer) Save(dir string) error {
	m := r.lm
	if m.lora != nil {
		var err error
		if m, err = m.Merged(); err != nil {
			return err
		}
		defer m.Close()
	}
	tensors := map[string]weights.Tensor{}
	for _, p := range append(slices.Clone(m.params), r.score) {
		if p == m.head {
			continue
		}
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
	text, err := scorerJSON(m.config)
	if err != nil {
		return fmt.Errorf("model: save: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("model: save: %w", err)
	}
	if err := weights.WriteDir(dir, tensors); err != nil {
		return fmt.Errorf("model: save: %w", err)
	}
	return nil
}

// scorerJSON is config.json with the class of a scorer and its one label.
func scorerJSON(c Config) ([]byte, error) {
	text, err := c.JSON()
	if err != nil {
		return nil, err
	}
	var j map[string]any
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber() // 3.0 stays 3.0
	if err := d.Decode(&j); err != nil {
		return nil, err
	}
	class := strings.TrimSuffix(families[c.ModelType].class, "ForCausalLM")
	if c.Gemma != nil {
		class += "Text"
	}
	j["architectures"] = []string{class + "ForSequenceClassification"}
	j["id2label"], j["label2id"], j["problem_type"] = map[string]string{"0": "LABEL_0"}, map[string]int{"LABEL_0": 0}, "regression"
	return json.MarshalIndent(j, "", "  ")
}
