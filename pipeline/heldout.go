package pipeline

import (
	"context"

	"github.com/gor1/gor1/eval"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

// HeldOut is what a stage is measured on: problems that it never trains on.
type HeldOut struct {
	Problems    []reward.Problem
	Score       reward.Func // 1: right, 0: wrong
	Samples     int         // of each problem; 0: 1
	Temperature float32     // of the draws; 0: the likeliest token
	Every       int         // steps between measurements; 0: only after the last
	// Converged ends the stage early: once so many measurements in a row lie in the interval of the one before them. 0: never.
	Converged int
}

// Held is one measurement.
type Held struct {
	Accuracy  float64   `json:"accuracy"`
	Low       float64   `json:"low"` // its 95 % interval
	High      float64   `json:"high"`
	Length    float64   `json:"length"`
	Truncated float64   `json:"truncated"`
	PassRate  []float64 `json:"pass_rate,omitempty"` // of each problem, for paired tests
}

func (h HeldOut) due(done, of int) bool {
	return len(h.Problems) > 0 && (done == of || h.Every > 0 && done%h.Every == 0)
}

// Measure measures a policy.
func (h HeldOut) Measure(ctx context.Context, policy *model.LM, o sampling.Options) (Held, error) {
	o.Temperature = h.Temperature
	r, err := eval.Measure(ctx, sampling.New(policy, o), h.Problems, max(h.Samples, 1), h.Score, nil)
	if err != nil {
		return Held{}, err
	}
	return Held{Accuracy: r.Pass1, Low: r.Low, High: r.High, Length: r.Length, Truncated: r.Truncated, PassRate: r.PassRate}, nil
}

// flat counts the measurements in a row that lie in the interval of the one that the row began after.
type flat struct {
	Set  bool `json:"set"`
	From Held `json:"from"`
	Row  int  `json:"row"`
}

func (f *flat) offer(h Held) {
	h.PassRate = nil
	if f.Set && f.From.Low <= h.Accuracy && h.Accuracy <= f.From.High {
		f.Row++
		return
	}
	*f = flat{Set: true, From: h}
}

// fields are the measurement's metrics.
func (h Held) fields() []run.Field {
	return []run.Field{
		{Name: "eval_accuracy", Value: h.Accuracy}, {Name: "eval_accuracy_low", Value: h.Low}, {Name: "eval_accuracy_high", Value: h.High},
		{Name: "eval_mean_length", Value: h.Length}, {Name: "eval_clipped_ratio", Value: h.Truncated},
	}
}

// best remembers the checkpoint with the best measurement; of equals the first.
type best struct {
	Set  bool `json:"set"`
	Step int  `json:"step"`
	Held Held `json:"held"`
}

func (b *best) offer(step int, h Held) {
	if !b.Set || h.Accuracy > b.Held.Accuracy {
		*b = best{true, step, h}
	}
}
