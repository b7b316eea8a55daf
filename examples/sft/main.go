// Command sft fine-tunes a model that has read nothing on customer-support questions with their answers (support.tsv, written for this
// repository), and shows before and after how often it ranks the right answer to a held-out paraphrase first.
//
//	go run ./examples/sft
package main

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sft"
)

//go:embed support.tsv
var support string

// pair is a question and the number of its answer. The last question of every answer is held out.
type pair struct {
	question string
	answer   int
}

func read() (train, held []pair, answers []string) {
	for line := range strings.Lines(support) {
		columns := strings.Split(strings.TrimSpace(line), "\t") // the answer, then ways to ask
		for _, q := range columns[1 : len(columns)-1] {
			train = append(train, pair{q, len(answers)})
		}
		held = append(held, pair{columns[len(columns)-1], len(answers)})
		answers = append(answers, columns[0])
	}
	return train, held, answers
}

// ranked is the share of held-out questions whose right answer is the likeliest of all answers, by its mean log-prob a token.
func ranked(ctx context.Context, m *model.LM, c *toy.Table, held []pair, answers []string) (float64, error) {
	right := 0.0
	for _, p := range held {
		losses := make([]float64, len(answers))
		for i, a := range answers {
			q, err := toy.Completion(c, "<bos>Q: "+p.question+"\nA: ", a)
			if err != nil {
				return 0, err
			}
			x, err := sft.Measure(ctx, m, []sft.Sequence{q}, 1024)
			if err != nil {
				return 0, err
			}
			losses[i] = x.Loss
		}
		if slices.Index(losses, slices.Min(losses)) == p.answer {
			right++
		}
	}
	return right / float64(len(held)), nil
}

// experiment trains and measures before and after.
func experiment(ctx context.Context, seed uint64) (before, after float64, err error) {
	train, held, answers := read()
	texts := slices.Clone(answers)
	for _, p := range train {
		texts = append(texts, p.question)
	}
	c := toy.NewWords([]string{"<bos>", "<eos>", "Q: ", "\nA: "}, texts)
	dev, err := kernels.Open("cpu")
	if err != nil {
		return 0, 0, err
	}
	defer dev.Close()
	m, err := toy.SmallModel(dev, c.Size(), 64, seed)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	if before, err = ranked(ctx, m, c, held, answers); err != nil {
		return before, 0, err
	}
	const steps = 250
	trainer, err := sft.New(m, sft.Config{LearningRate: 3e-3, Schedule: optim.Cosine(10, steps, 0.1), Optim: optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, MaxNorm: 1}, MicroTokens: 2048})
	if err != nil {
		return before, 0, err
	}
	defer trainer.Close()
	r := rand.New(rand.NewPCG(seed, 0))
	for range steps {
		var batch []sft.Sequence
		for range 8 {
			p := train[r.IntN(len(train))]
			q, err := toy.Completion(c, "<bos>Q: "+p.question+"\nA: ", answers[p.answer])
			if err != nil {
				return before, 0, err
			}
			batch = append(batch, q)
		}
		if _, err := trainer.Step(ctx, batch); err != nil {
			return before, 0, err
		}
	}
	after, err = ranked(ctx, m, c, held, answers)
	return before, after, err
}

func main() {
	before, after, err := experiment(context.Background(), 1)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sft:", err)
		os.Exit(1)
	}
	fmt.Printf("held-out paraphrases whose right answer is ranked first: %.0f %% before, %.0f %% after\n", 100*before, 100*after)
}
