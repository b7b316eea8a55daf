// Command coldstart is R1's cold start on FAQ pairs scraped from websites (faq.csv): every pair becomes an example of R1's readable
// pattern, reasoning in <think> and then a summary, and SFT teaches a model that knows the domain's text, but no pattern, to answer in it.
//
//	go run ./examples/coldstart
package main

import (
	"context"
	_ "embed"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

//go:embed faq.csv
var faq string

type pair struct{ question, answer string }

// read gives the pairs; every fifth is held out.
func read() (train, held []pair, err error) {
	rows, err := csv.NewReader(strings.NewReader(faq)).ReadAll()
	for i, r := range rows[min(1, len(rows)):] {
		if p := (pair{r[0], r[1]}); i%5 == 4 {
			held = append(held, p)
		} else {
			train = append(train, p)
		}
	}
	return train, held, err
}

func prompt(p pair) string { return "<bos>User: " + p.question + "\nAssistant: " }

// readable is R1's pattern: what is asked for is thought over (its first words, here), then the answer is told.
func readable(p pair) string {
	words := strings.Fields(p.question)
	return "<think>they ask: " + strings.Join(words[:min(2, len(words))], " ") + "</think>" + p.answer
}

// measure is the perplexity of held-out answers in the pattern, and the share of sampled replies to held-out questions that keep it.
func measure(ctx context.Context, m *model.LM, c *toy.Table, held []pair, seed uint64) (perplexity, format float64, err error) {
	var texts []sft.Sequence
	var problems []reward.Problem
	for _, p := range held {
		q, err := toy.Completion(c, prompt(p), readable(p))
		if err != nil {
			return 0, 0, err
		}
		texts, problems = append(texts, q), append(problems, reward.Problem{Prompt: prompt(p)})
	}
	x, err := sft.Measure(ctx, m, texts, 2048)
	if err != nil {
		return 0, 0, err
	}
	engine := sampling.New(m, sampling.Options{Codec: c, Temperature: 0.5, MaxTokens: 240, Seed: seed})
	groups, err := sampling.Rollout(ctx, engine, sampling.Request{Problems: problems, Samples: 4, Score: reward.FormatR1})
	for _, g := range groups {
		for _, s := range g.Samples {
			v, _ := s.Score.Value()
			format += v / float64(4*len(groups))
		}
	}
	return math.Exp(x.Loss), format, err
}

// experiment makes the model that knows the text, measures, gives it the cold start, and measures again.
func experiment(ctx context.Context, seed uint64) (before, after [2]float64, err error) {
	train, held, err := read()
	if err != nil {
		return before, after, err
	}
	var web, cold []sft.Sequence
	c := toy.NewWords([]string{"<bos>", "<eos>", "<think>", "</think>", "User: ", "\nAssistant: ", "they ask: "}, nil) // characters
	for _, p := range train {
		page, errPage := toy.Completion(c, "<bos>", p.question+" "+p.answer)
		example, errExample := toy.Completion(c, prompt(p), readable(p))
		if errPage != nil || errExample != nil {
			return before, after, fmt.Errorf("%w, %w", errPage, errExample)
		}
		web, cold = append(web, page), append(cold, example)
	}
	dev, err := kernels.Open("cpu")
	if err != nil {
		return before, after, err
	}
	defer dev.Close()
	m, err := toy.SmallModel(dev, c.Size(), 320, seed)
	if err != nil {
		return before, after, err
	}
	defer m.Close()
	if err = toy.Fit(ctx, m, web, 4, 3e-3, 15*len(web)/4); err == nil {
		before[0], before[1], err = measure(ctx, m, c, held, seed)
	}
	if err == nil {
		err = toy.Fit(ctx, m, cold, 4, 3e-3, 12*len(cold)/4)
	}
	if err == nil {
		after[0], after[1], err = measure(ctx, m, c, held, seed)
	}
	return before, after, err
}

func main() {
	before, after, err := experiment(context.Background(), 1)
	if err != nil {
		fmt.Fprintln(os.Stderr, "coldstart:", err)
		os.Exit(1)
	}
	fmt.Printf("held-out FAQ: perplexity %.1f before, %.1f after; replies in R1's pattern %.0f %% before, %.0f %% after\n", before[0], after[0], 100*before[1], 100*after[1])
}
