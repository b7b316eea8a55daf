package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/model/weights"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

// Sample is the recipe of rejection sampling: completions are drawn and judged, those worth learning are chosen, and written as rows that
// SFT learns.
type Sample struct {
	Machine
	Model
	Place
	Questions
	Rewards
	Draws
	Choice
}

// Place is where the set goes.
type Place struct {
	Dir       string `key:"output_dir" help:"the set's directory; what was drawn there is not drawn again" run:"-"`
	Overwrite bool   `key:"overwrite_output_dir" help:"remove what is there and begin again" run:"-"`
	Seed      uint64 `key:"seed" help:"of the draws"`
}

// Draws are how completions are drawn.
type Draws struct {
	Samples     int      `key:"num_generations" help:"completions of each prompt"`
	MaxTokens   int      `key:"max_completion_length" help:"tokens of a completion"`
	Temperature float64  `key:"temperature" help:"of the draws"`
	TopP        float64  `key:"top_p" help:"draw from the likeliest tokens with this share of probability"`
	TopK        int      `key:"top_k" help:"draw from so many tokens; 0: all"`
	MinP        *float64 `key:"min_p" help:"draw from tokens with this share of the likeliest one's probability"`
	Rows        int      `key:"max_rows" help:"prompts, the first ones; 0: all"`
	Chunk       int      `key:"prompts_per_file" help:"prompts of a file of rollouts, which is what a killed process may have to draw again; 0: as many as are decoded at once"`
}

// NewSample is the recipe with every value at its default.
func NewSample() *Sample {
	rewards := defaultRewards()
	return &Sample{
		Machine: Machine{Device: "cpu"}, Model: Model{Revision: "main"}, Place: Place{Dir: "out", Seed: 42}, Questions: Questions{TrainSplit: "train", PromptColumn: "prompt"}, Rewards: rewards,
		Draws: Draws{Samples: 8, MaxTokens: 512, Temperature: 1, TopP: 1}, Choice: defaultChoice(),
	}
}

// PreparedSample is a selection that is ready to run. Close frees the model and the device.
type PreparedSample struct {
	Draw *pipeline.Sample // nil: a run's rollouts are selected from
	closers
	run     string // whose rollouts those are
	keep    pick.Selector
	pass    pipeline.Pass
	write   Choice
	bos     string // the tokenizer writes at the beginning by itself
	source  map[string]any
	system  string
	problem []reward.Problem
}

// Prepare opens what is drawn with, or the run that is selected from.
func (g *Sample) Prepare(ctx context.Context, from Sources) (*PreparedSample, error) {
	p := &PreparedSample{write: g.Choice, pass: pipeline.Pass{Name: g.PassReward, Min: g.PassMin}, system: g.System}
	err := g.drawing(ctx, from, p)
	if err == nil {
		p.keep, err = g.selector(ctx, from, p)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// drawing opens model and problems; of a run that is selected from, the tokenizer alone, where a model is named.
func (g *Sample) drawing(ctx context.Context, from Sources, p *PreparedSample) error {
	if g.FromRun != "" {
		p.run, p.source = g.FromRun, map[string]any{"run": filepath.Base(filepath.Clean(g.FromRun))}
		if g.Model.Model == "" {
			return nil
		}
		dir := g.Model.Model
		if from.Model != nil {
			var err error
			if dir, err = from.Model(ctx, dir, g.Revision); err != nil {
				return err
			}
		}
		tok, err := tokenizer.Load(dir)
		p.bos = beginning(tok)
		return err
	}
	grpo := NewGRPO()
	grpo.Machine, grpo.Model, grpo.Rewards, grpo.Questions, grpo.Seed, grpo.Sampling.MaxTokens = g.Machine, g.Model, g.Rewards, g.Questions, g.Seed, g.Draws.MaxTokens
	q := &Prepared{}
	dir, err := grpo.openModel(ctx, from, q)
	if err != nil {
		return errors.Join(err, q.Close())
	}
	score, compare, err := grpo.score(from, q)
	p.closers = q.closers
	if err != nil {
		return err
	}
	f, c, err := g.asking(dir, &p.closers)
	if err != nil {
		return err
	}
	limit := q.Policy.Config().MaxPositions - g.Draws.MaxTokens + 1
	if limit < 1 || !(g.Draws.Temperature >= 0) {
		return fmt.Errorf("recipe: max_completion_length is %d, the model has %d positions; temperature is %g, want 0 or more", g.Draws.MaxTokens, q.Policy.Config().MaxPositions, g.Draws.Temperature)
	}
	if g.MaxPrompt > 0 {
		limit = min(limit, g.MaxPrompt)
	}
	if g.Dataset == "" {
		return errors.New("recipe: dataset_name is missing: a file (jsonl, json, csv, parquet), a folder or a hub id")
	}
	problems, long, err := g.read(ctx, g.Dataset, g.TrainSplit, f, c, limit, g.Rows, from.Data)
	if err != nil {
		return err
	}
	if long > 0 {
		p.note("%d of %d prompts are longer than %d tokens and left out", long, long+len(problems), limit)
	}
	hash, err := weights.Hash(dir)
	if err != nil {
		return err
	}
	if !c.special {
		p.bos = beginning(c.tok)
	}
	p.problem, p.source = problems, map[string]any{"model": g.Model.Model, "sha256": hash, "seed": g.Seed, "temperature": g.Draws.Temperature}
	o := sampling.Options{Codec: c, Temperature: float32(g.Draws.Temperature), MaxTokens: g.Draws.MaxTokens, Seed: g.Seed, EOS: ends(c.tok, q.Policy), Truncation: kernels.Truncation{TopK: g.TopK, TopP: float32(g.TopP)}}
	if g.MinP != nil {
		o.Truncation.MinP = float32(*g.MinP)
	}
	config := Values(&struct {
		Place
		Questions
		Rewards
		Draws
	}{g.Place, g.Questions, g.Rewards, g.Draws})
	config["sha256"] = hash
	class(config, q.Policy)
	config["problems"] = fmt.Sprintf("%016x", pipeline.NewStream(problems, 0, false).Fingerprint(func(q reward.Problem) string { return q.Prompt + "\x00" + q.Answer }))
	p.Draw = &pipeline.Sample{Policy: q.Policy, Options: o, Problems: problems, Samples: g.Draws.Samples, Score: score, Compare: compare, Chunk: g.Chunk, Config: config}
	return nil
}

// beginning is the text of the token that the tokenizer puts before every text by itself; empty: there is none.
func beginning(tok *tokenizer.Tokenizer) string {
	if tok == nil {
		return ""
	}
	bos, ok := tok.BOS()
	if ids := tok.Encode("", true); !ok || len(ids) == 0 || ids[0] != bos {
		return ""
	}
	text, _ := tok.Token(bos)
	return text
}

// Select chooses among what was drawn and writes the rows.
func (p *PreparedSample) Select(ctx context.Context, dir *run.Run) (s pipeline.Selected, err error) {
	err = dir.WriteFile("kept.jsonl", func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		s, err = pipeline.Select(ctx, p.groups(dir), p.keep, p.pass, func(g pipeline.Recorded, c pick.Candidate, rate float64, rated bool) error {
			row, err := p.row(g, c, rate, rated)
			if err != nil {
				return err
			}
			return enc.Encode(row)
		})
		return err
	})
	if err != nil {
		return s, err
	}
	return s, dir.WriteFile("summary.json", func(w io.Writer) error { return json.NewEncoder(w).Encode(s) })
}

// groups are those to select from.
func (p *PreparedSample) groups(dir *run.Run) iter.Seq2[pipeline.Recorded, error] {
	if p.Draw == nil {
		return pipeline.ReadRollouts(p.run, nil)
	}
	return pipeline.ReadRollouts(dir.Dir(), func(r pipeline.Recorded) (reward.Problem, error) {
		if int(r.Row) >= len(p.problem) {
			return reward.Problem{}, fmt.Errorf("recipe: %s holds rollouts of row %d, there are %d", dir.Dir(), r.Row, len(p.problem))
		}
		return p.problem[r.Row], nil
	})
}

// keptRow is a line of the set.
type keptRow struct {
	Prompt     any                `json:"prompt"`
	Completion any                `json:"completion"`
	ID         string             `json:"id,omitempty"`
	Reference  string             `json:"reference,omitempty"` // the answer that was to be found
	Reward     *float64           `json:"reward,omitempty"`
	Scores     map[string]float64 `json:"scores,omitempty"`
	PassRate   *float64           `json:"pass_rate,omitempty"`
	Tokens     int                `json:"tokens"`
	Source     map[string]any     `json:"source"`
}

// row is a kept completion with where it is from.
func (p *PreparedSample) row(g pipeline.Recorded, c pick.Candidate, rate float64, rated bool) (keptRow, error) {
	r := keptRow{Prompt: strings.TrimPrefix(c.Problem.Prompt, p.bos), Completion: c.Completion, ID: c.Problem.ID, Reference: c.Problem.Answer, Tokens: len(c.Tokens), Source: map[string]any{"step": g.Step, "row": g.Row, "sample": c.Number}}
	for k, v := range p.source {
		r.Source[k] = v
	}
	if v, ok := c.Score.Value(); ok {
		r.Reward = &v
	}
	if rated {
		r.PassRate = &rate
	}
	for _, part := range c.Parts {
		if v, ok := part.Score.Value(); ok {
			if r.Scores == nil {
				r.Scores = map[string]float64{}
			}
			r.Scores[part.Name] = v
		}
	}
	if p.write.Form != "messages" {
		return r, nil
	}
	if p.Draw == nil {
		return r, errors.New("recipe: a run's rollouts hold prompts as the model saw them: format messages needs them drawn here; use prompt_completion")
	}
	var messages []any
	if p.system != "" {
		messages = append(messages, turn("system", p.system))
	}
	asked, _ := c.Problem.Columns[p.write.prompt].([]any)
	if asked == nil {
		asked = []any{turn("user", question(c.Problem))}
	}
	completion := c.Completion
	if strings.HasSuffix(strings.TrimSpace(c.Problem.Prompt), "<think>") {
		completion = "<think>" + completion // which the template opened
	}
	r.Prompt, r.Completion = append(messages, asked...), []any{turn("assistant", completion)}
	return r, nil
}
