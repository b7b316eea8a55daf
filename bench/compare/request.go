package main

import (
	"github.com/gor1/gor1/internal/bench"
)

// request is what a worker is asked to set up and time, ours and the drivers in bench/peers alike (protocol.py says how).
type request struct {
	Bench       string  `json:"bench"`
	Shape       string  `json:"shape"`
	DType       string  `json:"dtype"`
	Rows        []int   `json:"rows,omitempty"`
	Batch       int     `json:"batch,omitempty"`
	Prompt      int     `json:"prompt,omitempty"`
	New         int     `json:"new,omitempty"`
	Prompts     int     `json:"prompts,omitempty"`
	Group       int     `json:"group,omitempty"`
	SharePrompt bool    `json:"share_prompt,omitempty"`
	MinTime     float64 `json:"min_time"` // seconds of one measurement

	Model    string  `json:"model,omitempty"`    // of peers: the folder
	Products [][]any `json:"products,omitempty"` // of peers: name, N, K of each
	Params   int64   `json:"params,omitempty"`
	Set      setting `json:"set,omitempty"`
}

// setting is a peer's own options, of those its driver documents.
type setting map[string]any

func (r request) load() bench.Load {
	one := func(n int) int { return max(1, n) }
	return bench.Load{
		Batch: one(r.Batch), Prompt: one(r.Prompt), New: one(r.New), Prompts: one(r.Prompts), Group: one(r.Group),
		BF16: r.DType == "bf16", SharePrompt: r.SharePrompt,
	}
}

// forPeer adds what a peer cannot know: the folder of the model and the sizes of the shape.
func (r request) forPeer(folder string, set setting) (request, error) {
	c, err := bench.Shape(r.Shape, 1)
	if err != nil {
		return r, err
	}
	r.Model, r.Params, r.Set, r.Products = folder, c.ParamCount(), set, nil
	for _, p := range bench.Products(c) {
		r.Products = append(r.Products, []any{p.Name, p.N, p.K})
	}
	return r, nil
}

// answer is one row of a worker's reply.
type answer struct {
	bench.Result
	PeakRSS int64    `json:"peak_rss"`
	Check   *float64 `json:"check"` // the largest difference of a log-prob from ours
	Error   string   `json:"error"`
}
