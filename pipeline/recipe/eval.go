package recipe

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gor1/gor1/eval"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// Eval is a measurement: problems, how completions are drawn, and what counts as right.
type Eval struct {
	Machine
	Model
	Questions
	Rows        int      `key:"eval_rows" help:"rows that are measured, the first ones; 0: all"`
	Adapter     string   `key:"adapter" help:"the folder of a LoRA adapter on the model"`
	Split       string   `key:"split" help:"split to measure on"`
	Samples     int      `key:"samples" help:"completions of each problem; R1 draws 64 at temperature 0.6 and top_p 0.95"`
	MaxTokens   int      `key:"max_completion_length" help:"tokens of a completion"`
	Temperature float64  `key:"temperature" help:"of the draws; 0: the likeliest token"`
	TopP        float64  `key:"top_p" help:"draw from the likeliest tokens with this share of probability"`
	Seed        uint64   `key:"seed" help:"of the draws"`
	Scores      []string `key:"score" help:"one or more, for the same completions: accuracy: the final answer by mathematics; last_number: the last number of the text; strict: as accuracy, in R1-Zero's format"`
}

// NewEval is the recipe with every value at its default.
func NewEval() *Eval {
	return &Eval{
		Machine: Machine{Device: "cpu"}, Model: Model{Revision: "main"}, Questions: Questions{PromptColumn: "prompt"}, Split: "test", Samples: 1, MaxTokens: 1024, TopP: 1, Seed: 42, Scores: []string{"accuracy"},
	}
}

// scores are what counts as right, by name.
var scores = map[string]reward.Func{
	"accuracy": reward.Math, "strict": reward.Gate(reward.Format, reward.Math), "last_number": lastNumber,
}

var number = regexp.MustCompile(`-?\d[\d,]*(?:\.\d+)?`)

// lastNumber is lenient: 1 where the last number of the text, whatever stands around it and however the text ended, is the reference.
func lastNumber(_ context.Context, s reward.Sample) (reward.Score, error) {
	all := number.FindAllString(s.Completion, -1)
	if len(all) == 0 {
		return reward.Scored(0), nil
	}
	same, err := equal(s.Problem.Answer, strings.ReplaceAll(all[len(all)-1], ",", ""))
	if err != nil {
		return reward.Score{}, err
	}
	if same {
		return reward.Scored(1), nil
	}
	return reward.Scored(0), nil
}

// Run measures: one report a score, of the same completions. The codec that comes back writes them as text.
func (g *Eval) Run(ctx context.Context, from Sources, progress func(done, total int)) (r []eval.Report, c sampling.Codec, notes []string, err error) {
	var open closers
	defer func() { err = errors.Join(err, open.Close()) }()
	if len(g.Scores) == 0 {
		return r, nil, nil, errors.New("recipe: score is empty, want some of accuracy, strict and last_number")
	}
	for i, name := range g.Scores {
		if scores[name] == nil || slices.Contains(g.Scores[:i], name) {
			return r, nil, nil, fmt.Errorf("recipe: score is %q, want accuracy, strict or last_number, each at most once", name)
		}
	}
	m, dir, err := openModel(ctx, g.Machine, g.Model, from, &open)
	if err != nil {
		return r, nil, nil, err
	}
	if g.Adapter != "" {
		if m, err = m.LoadAdapter(g.Adapter); err != nil {
			return r, nil, nil, err
		}
		open.close = append(open.close, m.Close)
	}
	if g.Dataset == "" {
		return r, nil, nil, errors.New("recipe: dataset_name is missing: a file (jsonl, json, csv, parquet), a folder or a hub id")
	}
	f, codec, err := g.asking(dir, &open)
	if err != nil {
		return r, nil, nil, err
	}
	limit := m.Config().MaxPositions - g.MaxTokens + 1
	problems, long, err := g.Questions.read(ctx, g.Dataset, g.Split, f, codec, limit, g.Rows, from.Data)
	if err != nil {
		return r, nil, nil, err
	}
	if long > 0 {
		open.note("%d prompts are longer than %d tokens and left out", long, limit)
	}
	o := sampling.Options{Codec: codec, Temperature: float32(g.Temperature), MaxTokens: g.MaxTokens, Seed: g.Seed, EOS: ends(codec.tok, m), Truncation: kernels.Truncation{TopP: float32(g.TopP)}}
	first, err := eval.Measure(ctx, sampling.New(m, o), problems, g.Samples, scores[g.Scores[0]], progress)
	if err != nil {
		return nil, nil, nil, err
	}
	r = []eval.Report{first}
	for _, name := range g.Scores[1:] {
		other, err := eval.Judge(ctx, first.Groups, codec, scores[name])
		if err != nil {
			return nil, nil, nil, err
		}
		r = append(r, other)
	}
	return r, codec, open.Notes, nil
}
