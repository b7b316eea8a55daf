package toy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// Rows are the groups' samples as SFT learns them: the prompts are read, the completions learnt.
func Rows(groups []sampling.Group) (rows []sft.Sequence) {
	for _, g := range groups {
		for _, q := range g.Samples {
			weights := make([]float32, len(g.Prompt), len(g.Prompt)+len(q.Tokens))
			rows = append(rows, sft.Sequence{IDs: slices.Concat(g.Prompt, q.Tokens), Weights: append(weights, slices.Repeat([]float32{1}, len(q.Tokens))...)})
		}
	}
	return rows
}

// Learn is SFT on rows, 32 a step, in an order that depends on their number alone.
func Learn(ctx context.Context, m *model.LM, rows []sft.Sequence, steps int) (err error) {
	const batch, stride = 32, 7919 // a prime: neighbours are spread, and all come up
	if len(rows) == 0 {
		return errors.New("toy: there are no rows to learn")
	}
	trainer, err := sft.New(m, sft.Config{LearningRate: 1e-3, Schedule: optim.Cosine(10, steps, 0.1), Optim: optim.Default(), MicroTokens: 4096})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trainer.Close()) }()
	for step := range steps {
		b := make([]sft.Sequence, batch)
		for i := range b {
			b[i] = rows[(step*batch+i)*stride%len(rows)]
		}
		if _, err := trainer.Step(ctx, b); err != nil {
			return fmt.Errorf("toy: step %d: %w", step, err)
		}
	}
	return nil
}
