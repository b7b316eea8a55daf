package toy

import (
	"context"
	"slices"
	"strings"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sft"
)

// NewWords is a tokenizer of the given special tokens, then the words of texts, and of letters, digits and signs for those it does not
// have.
func NewWords(special []string, texts []string) *Table {
	tokens, seen := slices.Clone(special), map[string]bool{}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"()-/&%$+@[]_*#~=<>"
	for _, w := range append(strings.Fields(strings.Join(texts, " ")), strings.Split(letters, "")...) {
		for _, form := range []string{w + " ", w} {
			if !seen[form] {
				seen[form] = true
				tokens = append(tokens, form)
			}
		}
	}
	return NewTable(append(tokens, " "))
}

// SmallModel is a fresh model of two layers for examples that make their own vocabulary.
func SmallModel(dev *kernels.Device, vocabulary, positions int, seed uint64) (*model.LM, error) {
	c := BaseConfig()
	c.VocabSize, c.MaxPositions, c.HiddenSize, c.Layers, c.IntermediateSize, c.Heads, c.HeadDim = vocabulary, positions, 48, 2, 96, 3, 16
	return model.New(dev, c, seed, initStd)
}

// Completion is a training text of which the completion is learnt, <eos> included.
func Completion(c *Table, prompt, completion string) (sft.Sequence, error) {
	before, err := c.Encode(prompt)
	if err != nil {
		return sft.Sequence{}, err
	}
	after, err := c.Encode(completion)
	after = append(after, EOS)
	return sft.Sequence{IDs: append(before, after...), Weights: append(make([]float32, len(before)), slices.Repeat([]float32{1}, len(after))...)}, err
}

// Fit trains a model on texts, batch after batch in their order, over and over for the given steps.
func Fit(ctx context.Context, m *model.LM, texts []sft.Sequence, batch int, rate float64, steps int) error {
	trainer, err := sft.New(m, sft.Config{
		LearningRate: rate, Schedule: optim.Cosine(steps/10, steps, 0.1), Optim: optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, MaxNorm: 1}, MicroTokens: 2048,
	})
	if err != nil {
		return err
	}
	defer trainer.Close()
	for n := range steps {
		at := n % (len(texts) / batch) * batch
		if _, err := trainer.Step(ctx, texts[at:at+batch]); err != nil {
			return err
		}
	}
	return nil
}
