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

	"github.com/spf13/pflag"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

// Planned is a stage as a plan shows it. Bytes, its peak as r1 plan has it, and FLOP are upper bounds; FLOP 0: the length depends on stages before.
type Planned struct {
	Name, Kind string
	From       []pipeline.From
	Until      string
	Gate       map[string]float64
	Bytes      int64
	FLOP       float64
}

// grpo is a stage of reinforcement learning: the keys of r1 grpo.
func (l *Line) grpo(s LineStage, c stageConfig, from Sources) (stageRun, error) {
	build := func(in []string) (*GRPO, error) {
		g := NewGRPO()
		fs := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
		Bind(fs, g)
		if err := c.bind(fs, TRL, in); err != nil {
			return nil, err
		}
		g.Machine = l.Machine
		return g, g.Complete(fs)
	}
	g, err := build(nil)
	if err != nil {
		return stageRun{}, err
	}
	if g.Model.Model != "" {
		return stageRun{}, errors.New("a stage of RL starts from the base or from a stage: leave model_name_or_path out, and give from")
	}
	return stageRun{cost: g.cost, run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		g, err := build(in[1:])
		if err != nil {
			return out, err
		}
		g.Model.Model = in[0]
		p, err := g.Prepare(ctx, Sources{Data: from.Data, Key: from.Key})
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		if s.Until == "converged" {
			if p.HeldOut.Converged = 3; p.HeldOut.Every == 0 {
				return out, errors.New("recipe: until converged needs measurements on the way: eval_strategy steps, and a held-out split")
			}
		}
		if err := dir.WriteFile("config.yaml", func(w io.Writer) error { return Write(w, g) }); err != nil {
			return out, err
		}
		res, err := p.Run(ctx, dir, func(st pipeline.GRPOStep) {
			l.watch(s.Name, st.Step, "reward %.3f, length %.0f", st.Stats.Reward, st.Stats.MeanLength)
		})
		out = pipeline.Output{Last: res.Checkpoint, Best: res.Best, Collapsed: res.Collapsed, Scores: map[string]float64{"steps": float64(res.Steps), "trained_tokens": float64(res.Tokens)}}
		if len(p.HeldOut.Problems) > 0 {
			out.Scores["eval_accuracy"] = res.Held.Accuracy
		}
		return out, err
	}}, nil
}

// cost bounds memory and work: 2 FLOP a parameter and token sampled, 6 trained, 2 for a reference.
func (g *GRPO) cost(c model.Config, b Budget) (cost, error) {
	m, err := g.Plan(c, b)
	each := 8.0
	if g.Beta > 0 {
		each += 2
	}
	return cost{m.Peak(), each * float64(c.ParamCount()) * float64(max(g.MaxSteps, 0)) * float64(g.DeviceBatch*g.Accumulate) * float64(g.MaxTokens+g.MaxPrompt)}, err
}

func (l *Line) watch(stage string, s pipeline.Step, format string, args ...any) {
	if l.Watch != nil {
		l.Watch(stage, s.Number+1, s.Of, fmt.Sprintf(format, args...))
	}
}

// sft is a stage of supervised fine-tuning: the keys of r1 sft.
func (l *Line) sft(s LineStage, c stageConfig, from Sources) (stageRun, error) {
	build := func(in []string) (*SFT, error) {
		g := NewSFT()
		fs := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
		Bind(fs, g)
		err := c.bind(fs, TRLSFT, in)
		g.Machine = l.Machine
		return g, err
	}
	g, err := build(nil)
	if err != nil {
		return stageRun{}, err
	}
	if g.Model.Model != "" && s.From != "" {
		return stageRun{}, errors.New("model_name_or_path and from both say what the stage starts from: leave one out")
	}
	own := g.Model.Model != ""
	return stageRun{own: own, cost: g.cost, run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		to, start := Sources{Data: from.Data, Model: from.Model}, ""
		if !own {
			to.Model, start, in = nil, in[0], in[1:]
		}
		g, err := build(in)
		if err != nil {
			return out, err
		}
		if !own {
			g.Model.Model = start
		}
		p, err := g.Prepare(ctx, to)
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		if err := dir.WriteFile("config.yaml", func(w io.Writer) error { return Write(w, g) }); err != nil {
			return out, err
		}
		tokens := int64(0)
		res, err := p.Run(ctx, dir, func(st pipeline.SFTStep) {
			tokens = st.Tokens
			l.watch(s.Name, st.Step, "loss %.4f", st.Stats.Loss)
		})
		return learned(res, p.Rows, tokens, len(p.HeldOut) > 0), err
	}}, nil
}

// learned is what a stage over texts leaves.
func learned(res pipeline.SFTResult, rows int, tokens int64, held bool) pipeline.Output {
	out := pipeline.Output{Last: res.Checkpoint, Best: res.Best, Scores: map[string]float64{"steps": float64(res.Steps), "rows": float64(rows), "trained_tokens": float64(tokens)}}
	if held {
		out.Scores["eval_loss"] = res.Measured.Loss
	}
	return out
}

func (g *SFT) cost(c model.Config, b Budget) (cost, error) {
	c = g.Model.of(c)
	m, err := g.Plan(c, b)
	return cost{m.Peak(), 6 * float64(c.ParamCount()) * float64(max(g.MaxSteps, 0)) * float64(g.DeviceBatch*g.Accumulate) * float64(g.Length)}, err
}

// distill is R1's distillation: SFT of another model, the student of model_name_or_path, on traces. With mode logits it is r1 distill's: the student
// learns the distributions of a teacher, which may be a stage's output.
func (l *Line) distill(s LineStage, c stageConfig, from Sources) (stageRun, error) {
	if keys, _ := c.values().(map[string]any); keys["mode"] == "logits" {
		return l.logits(s, c, from)
	}
	g := NewSFT()
	fs := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
	Bind(fs, g)
	if err := c.bind(fs, TRLSFT, nil); err != nil {
		return stageRun{}, err
	}
	if g.Model.Model == "" {
		return stageRun{}, errors.New("model_name_or_path is missing: the student that learns from the traces")
	}
	return l.sft(s, c, from)
}

func (l *Line) logits(s LineStage, c stageConfig, from Sources) (stageRun, error) {
	build := func(in []string) (*Distill, error) {
		g := NewDistill()
		fs := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
		Bind(fs, g)
		err := c.bind(fs, TRLDistill, in)
		g.Machine = l.Machine
		return g, err
	}
	g, err := build(nil)
	if err != nil {
		return stageRun{}, err
	}
	own := g.Model.Model != ""
	if own == (s.From != "") {
		return stageRun{}, errors.New("the student is model_name_or_path, or what from names: give one of them")
	}
	if g.TeacherPath == "" && len(g.Teachers) == 0 {
		return stageRun{}, errors.New("teacher_model_name_or_path is missing: a model, or @STAGE")
	}
	return stageRun{own: own, cost: g.cost, run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		start := ""
		if !own {
			start, in = in[0], in[1:]
		}
		g, err := build(in)
		if err != nil {
			return out, err
		}
		if !own {
			g.Model.Model = start
		}
		p, err := g.Prepare(ctx, Sources{Data: from.Data, Model: from.Model})
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		if err := dir.WriteFile("config.yaml", func(w io.Writer) error { return Write(w, g) }); err != nil {
			return out, err
		}
		tokens := int64(0)
		res, err := p.Run(ctx, dir, func(st pipeline.DistillStep) {
			tokens = st.Tokens
			l.watch(s.Name, st.Step, "divergence %.4f", st.Stats.Divergence)
		})
		return learned(res, p.Rows, tokens, len(p.HeldOut) > 0), err
	}}, nil
}

// cost bounds memory and work: the student samples, both read, it is trained. Teachers count as models of its size.
func (g *Distill) cost(c model.Config, b Budget) (cost, error) {
	c = g.Model.of(c)
	m, err := g.Plan(c, b)
	return cost{m.Peak(), (2*g.Lambda + 2 + 6) * float64(c.ParamCount()) * float64(max(g.MaxSteps, 0)) * float64(g.DeviceBatch*g.Accumulate) * float64(g.MaxTokens+g.Length)}, err
}

// selection is what a stage of kind sample keeps.
type selection struct {
	Least  float64 `key:"keep_reward" help:"the reward that a completion must have"`
	Choose string  `key:"keep" help:"of a prompt's completions with that reward: one, all, shortest or longest"`
}

// choices are what keep says.
var choices = map[string]pick.Selector{"one": pick.First(1), "all": pick.All(), "shortest": pick.Shortest(1, reward.TokenCount), "longest": pick.Longest(1, reward.TokenCount)}

func (k *selection) selector() pick.Selector {
	scored := func(c pick.Candidate) bool { _, ok := c.Score.Value(); return ok }
	enough := func(c pick.Candidate) bool { v, _ := c.Score.Value(); return v >= k.Least }
	whole := func(c pick.Candidate) bool { return !c.Truncated }
	return pick.All(pick.Where("not scored", scored), pick.Where("cut", whole), pick.Where("reward", enough), choices[k.Choose])
}

// sample draws completions of every problem and keeps those with enough reward as rows to learn from: the keys of r1 grpo, and of selection.
func (l *Line) sample(s LineStage, c stageConfig, from Sources) (stageRun, error) {
	build := func(in []string) (*GRPO, *selection, error) {
		g, k := NewGRPO(), &selection{Least: 1, Choose: "one"}
		fs := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
		Bind(fs, g)
		Bind(fs, k)
		err := c.bind(fs, TRL, in)
		g.Machine, g.Beta, g.MaxSteps = l.Machine, 0, 1
		if _, ok := choices[k.Choose]; !ok {
			err = errors.Join(err, fmt.Errorf("keep is %q, want one, all, shortest or longest", k.Choose))
		}
		return g, k, err
	}
	g, _, err := build(nil)
	if err != nil {
		return stageRun{}, err
	}
	return stageRun{data: true, cost: g.drawCost, run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		g, k, err := build(in[1:])
		if err != nil {
			return out, err
		}
		g.Model.Model = in[0]
		p, err := g.Prepare(ctx, Sources{Data: from.Data, Key: from.Key})
		if err != nil {
			return out, err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		req := sampling.Request{Problems: onePass(p.Problems), Samples: g.Samples, Score: p.Score, Compare: p.Compare}
		out.Scores = map[string]float64{}
		out.Last, err = filepath.Join(dir.Dir(), "rows.jsonl"), dir.WriteFile("rows.jsonl", func(w io.Writer) error {
			return write(w, p.Sample.Codec, sampling.Reject(ctx, sampling.New(p.Policy, p.Sample), req, k.selector()), in[0], out.Scores)
		})
		return out, err
	}}, nil
}

// onePass is one pass over a stream.
func onePass(s *pipeline.Stream[reward.Problem]) []reward.Problem {
	all := make([]reward.Problem, s.Len())
	for i := range all {
		q, n := s.At(uint64(i))
		all[n] = q
	}
	return all
}

// kept is a row that a stage of kind sample writes.
type kept struct {
	Prompt     string  `json:"prompt"`
	Completion string  `json:"completion"`
	Answer     string  `json:"answer,omitempty"`
	ID         string  `json:"id"`
	Sample     int     `json:"sample"`
	Reward     float64 `json:"reward"`
	Source     string  `json:"source"`
}

// write writes the rows that are kept and counts, by reason, those that are not.
func write(w io.Writer, codec sampling.Codec, groups iter.Seq2[sampling.Kept, error], source string, counts map[string]float64) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	prompts := 0
	for g, err := range groups {
		if err != nil {
			return err
		}
		prompts++
		for why, n := range g.Dropped {
			counts["dropped: "+why] += float64(n)
		}
		for i, q := range g.Samples {
			v, _ := q.Score.Value()
			counts["kept"]++
			if err := enc.Encode(kept{g.Problem.Prompt, codec.Decode(q.Tokens), g.Problem.Answer, g.Problem.ID, g.Numbers[i], v, source}); err != nil {
				return err
			}
		}
	}
	if counts["kept"] == 0 {
		return fmt.Errorf("recipe: of %d prompts nothing was kept: %v; lower keep_reward, or sample from a better model", prompts, counts)
	}
	return nil
}

// merging is a stage of kind merge.
type merging struct {
	Sources []string `key:"sources" help:"data sets NAME or NAME=WEIGHT: rows are drawn in proportion to the weights"`
	Rows    int      `key:"rows" help:"of the result; 0: every row of every source once"`
	Domain  string   `key:"domain_column" help:"column that names a row's domain, whose tokens are counted; rows without it: the source's name"`
	Seed    uint64   `key:"seed" help:"of the draws"`
}

// merge mixes data sets into one file and counts its tokens by domain.
func (l *Line) merge(s LineStage, c stageConfig, from Sources) (stageRun, error) {
	build := func(in []string) (*merging, error) {
		m := &merging{Domain: "domain", Seed: 42}
		fs := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
		Bind(fs, m)
		err := c.bind(fs, Foreign{}, in)
		if err == nil && len(m.Sources) == 0 {
			err = errors.New("sources is missing: the data sets to mix, such as [\"@traces=3\", general.jsonl=1]")
		}
		return m, err
	}
	if _, err := build(nil); err != nil {
		return stageRun{}, err
	}
	return stageRun{data: true, run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		m, err := build(in[1:])
		if err != nil {
			return out, err
		}
		tok, err := tokenizer.Load(in[0])
		if err != nil {
			return out, err
		}
		out.Scores = map[string]float64{}
		out.Last, err = filepath.Join(dir.Dir(), "rows.jsonl"), dir.WriteFile("rows.jsonl", func(w io.Writer) error { return m.write(ctx, w, tok, from, out.Scores) })
		return out, err
	}}, nil
}

func (m *merging) write(ctx context.Context, w io.Writer, tok *tokenizer.Tokenizer, from Sources, counts map[string]float64) error {
	names, weights, err := (&SFT{Texts: Texts{Mix: m.Sources}}).sources()
	if err != nil {
		return err
	}
	var parts []data.Part
	for i, name := range names {
		table, err := (&SFT{}).read(ctx, name, "train", from)
		if err != nil {
			return err
		}
		epochs := int64(1)
		if m.Rows > 0 {
			epochs = 0
		}
		parts = append(parts, data.Part{Stream: data.Shuffle(table, m.Seed+uint64(i), epochs), Weight: weights[i]})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	n := 0
	for row, err := range data.Mix(m.Seed, parts...).Rows(ctx, data.Cursor{}) {
		if err != nil {
			return err
		}
		domain := strings.TrimSuffix(filepath.Base(row.Place.File), filepath.Ext(row.Place.File))
		if v, ok := row.Fields.Get(m.Domain); ok {
			domain = fmt.Sprint(v)
		}
		text, err := json.Marshal(row.Fields)
		if err != nil {
			return fmt.Errorf("recipe: %s: %w", row.Place, err)
		}
		for _, f := range row.Fields {
			if v, ok := f.Value.(string); ok && f.Name != m.Domain {
				counts["tokens: "+domain] += float64(len(tok.Encode(v, false)))
			}
		}
		if err := enc.Encode(json.RawMessage(text)); err != nil {
			return err
		}
		if n++; n == m.Rows {
			break
		}
	}
	return nil
}

// measure makes the function that judges every model on the same held-out problems.
func (l *Line) measure(from Sources) (func(ctx context.Context, dir string) (map[string]float64, error), error) {
	build := l.evaluator(stageConfig{l.Eval})
	if _, err := build(nil); err != nil {
		return nil, fmt.Errorf("recipe: %s: eval: %w", l.path, err)
	}
	return func(ctx context.Context, dir string) (map[string]float64, error) {
		return l.held(ctx, build, dir, nil, from)
	}, nil
}

func (l *Line) evaluator(c stageConfig) func(in []string) (*GRPO, error) {
	return func(in []string) (*GRPO, error) {
		g := NewGRPO()
		fs := pflag.NewFlagSet("eval", pflag.ContinueOnError)
		Bind(fs, g)
		err := c.bind(fs, TRL, in)
		if err == nil && g.Dataset == "" {
			err = errors.New("dataset_name is missing: the problems to measure on")
		}
		g.Machine, g.Beta, g.MaxSteps = l.Machine, 0, 1
		return g, err
	}
}

func (l *Line) held(ctx context.Context, build func([]string) (*GRPO, error), dir string, in []string, from Sources) (scores map[string]float64, err error) {
	g, err := build(in)
	if err != nil {
		return nil, err
	}
	g.Model.Model = dir
	p, err := g.Prepare(ctx, Sources{Data: from.Data, Key: from.Key})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if len(p.HeldOut.Problems) == 0 {
		return nil, fmt.Errorf("recipe: eval: %s has no split %s to measure on", g.Dataset, g.TestSplit)
	}
	h, err := p.HeldOut.Measure(ctx, p.Policy, p.Sample)
	return map[string]float64{"accuracy": h.Accuracy, "accuracy_low": h.Low, "accuracy_high": h.High, "length": h.Length, "truncated": h.Truncated}, err
}

// eval is a stage that only measures, on problems of its own.
func (l *Line) eval(_ LineStage, c stageConfig, from Sources) (stageRun, error) {
	build := l.evaluator(c)
	if _, err := build(nil); err != nil {
		return stageRun{}, err
	}
	return stageRun{data: true, run: func(ctx context.Context, dir *run.Run, in []string) (out pipeline.Output, err error) {
		if out.Scores, err = l.held(ctx, build, in[0], in[1:], from); err != nil {
			return out, err
		}
		out.Last, err = filepath.Join(dir.Dir(), "eval.json"), dir.WriteFile("eval.json", func(w io.Writer) error { return json.NewEncoder(w).Encode(out.Scores) })
		return out, err
	}}, nil
}
