package recipe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/distill"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// Distill is the recipe of distillation, with the names of TRL's DistillationConfig and GKDConfig. Mode logits trains a student on its
// teachers' distributions; mode traces asks a teacher behind a server and writes what r1 sft then learns.
type Distill struct {
	Machine
	Model
	Output
	Optimizer
	Adapter
	Texts
	Teaching
	Teacher
}

// Teaching is how a student is compared with its teachers (mode logits).
type Teaching struct {
	Mode         string   `key:"mode" help:"logits: learn the teacher's distributions, with its weights in this process; traces: ask a server and write a data set"`
	TeacherPath  string   `key:"teacher_model_name_or_path" help:"the teacher: a Hugging Face model folder or hub id with the student's vocabulary"`
	TeacherRev   string   `key:"teacher_model_revision" help:"branch, tag or commit of a hub id"`
	Teachers     []string `key:"teachers" help:"several teachers in place of one: VALUE=MODEL, for rows whose teacher_column is VALUE"`
	Column       string   `key:"teacher_column" help:"column that says which of the teachers a row is for"`
	Lambda       float64  `key:"lmbda" help:"share of the steps on completions that the student draws itself (GKD); 1: on-policy, 0: the data set's own"`
	Beta         float64  `key:"beta" help:"0: KL from student to teacher (forward), 1: reverse, between: generalised Jensen-Shannon divergence"`
	Temperature  float64  `key:"temperature" help:"of the student's draws and of both distributions in the loss"`
	TopP         float64  `key:"top_p" help:"the student draws from the likeliest tokens with this share of probability"`
	TopK         int      `key:"top_k" help:"the student draws from so many tokens; 0: all"`
	MinP         *float64 `key:"min_p" help:"the student draws from tokens with this share of the likeliest one's probability"`
	MaxTokens    int      `key:"max_completion_length" help:"tokens of a completion that the student draws"`
	MaxNewTokens *int     `key:"max_new_tokens" help:"GKD's name of max_completion_length"`
	Likelihood   float64  `key:"nll_weight" help:"weight of the completions' negative log-likelihood beside the divergence"`
	DeviceBatch  int      `key:"per_device_train_batch_size" help:"sequences; times gradient_accumulation_steps: those of an optimiser step"`
	Accumulate   int      `key:"gradient_accumulation_steps" help:"see per_device_train_batch_size"`
	MicroTokens  int      `key:"micro_tokens" help:"rows of one pass; memory, not results" run:"-"`
	ReportTo     []string `key:"report_to" help:"TensorBoard events are always written" run:"-"`
}

// NewDistill is the recipe with every value at its default: on-policy, reverse KL, as TRL's DistillationConfig.
func NewDistill() *Distill {
	texts := NewSFT().Texts
	return &Distill{
		Machine: Machine{Device: "cpu"}, Model: Model{Revision: "main"}, Output: defaultOutput(), Optimizer: defaultOptimizer(1e-6), Adapter: Adapter{Rank: 16, Alpha: 32}, Texts: texts,
		Teaching: Teaching{Mode: "logits", TeacherRev: "main", Lambda: 1, Beta: 1, Temperature: 1, TopP: 1, MaxTokens: 512, DeviceBatch: 8, Accumulate: 1, MicroTokens: 2048, ReportTo: []string{"tensorboard"}},
		Teacher:  defaultTeacher(),
	}
}

// TRLDistill are the keys of TRL's GKD and distillation that this library does not have.
var TRLDistill = Foreign{
	Ignored: with(TRLSFT.Ignored, map[string]string{
		"loss_type": "the loss is the divergence that beta says", "log_completions": watchOnly, "num_completions_to_print": watchOnly,
	}),
	Refused: with(refused, map[string]string{
		"eos_token": "give it in the model's tokenizer_config.json", "seq_kd": "let the teacher write: r1 sample, or r1 distill --mode traces; then r1 sft",
		"teacher_model_init_kwargs": "give the values in the teacher's config.json",
	}),
	Harmless: with(TRLSFT.Harmless, map[string][]string{"seq_kd": {"false"}}),
}

// PreparedDistill is a stage that is ready to run. Close frees the models and the device.
type PreparedDistill struct {
	pipeline.Distill
	closers
	Rows int // of a pass over the data

	marks []string // of each lesson's teacher and rows
}

// Prepare opens device, models and data and makes the stage.
func (g *Distill) Prepare(ctx context.Context, from Sources) (*PreparedDistill, error) {
	p := &PreparedDistill{}
	if err := g.prepare(ctx, from, p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (g *Distill) prepare(ctx context.Context, from Sources, p *PreparedDistill) error {
	if g.Packing {
		p.note("packing changes nothing here: sequences are always packed, without padding")
	}
	if g.MaxNewTokens != nil {
		g.MaxTokens = *g.MaxNewTokens
	}
	if !(g.Lambda >= 0 && g.Lambda <= 1) || !(g.Beta >= 0 && g.Beta <= 1) || !(g.Temperature > 0) || g.MaxTokens < 1 {
		return fmt.Errorf("recipe: lmbda is %g, beta %g, temperature %g and max_completion_length %d: want 0 to 1, 0 to 1, more than 0 and at least 1", g.Lambda, g.Beta, g.Temperature, g.MaxTokens)
	}
	p.reportTo(g.ReportTo, g.Dir)
	base, dir, err := openModel(ctx, g.Machine, g.Model, from, &p.closers)
	if err != nil {
		return err
	}
	if p.Student = base; g.Use {
		if g.Dropout != 0 {
			return fmt.Errorf("recipe: lora_dropout is %g: with dropout the student that samples is not the one that is trained; set it to 0", g.Dropout)
		}
		if p.Student, err = g.on(base, g.Model.Model, g.Seed, &p.closers); err != nil {
			return err
		}
	}
	how, parts, err := g.sequences(dir, base)
	if err != nil {
		return err
	}
	p.Parts = append(p.Parts, parts...)
	if err := g.lessons(ctx, from, dir, how, p); err != nil {
		return err
	}
	if g.Lambda < 1 {
		held, missing, err := g.held(ctx, from, how)
		if err != nil {
			return err
		}
		if p.HeldOut = held; missing != nil {
			p.note("nothing is held out: %v", missing)
		}
	}
	if err := g.steps(dir, base, p); err != nil {
		return err
	}
	config := Values(g)
	if err := record(config, p.Student, dir); err != nil {
		return err
	}
	config["rows"], config["teachers_and_data"] = p.Rows, p.marks
	p.Config = config
	return nil
}

// sequences makes sequences of rows: prompts with completions, or prompts alone where the student writes all of them. The last message
// of a conversation is its completion. What of the model's folder belongs into checkpoints comes back, too.
func (g *Distill) sequences(dir string, m *model.LM) (func(row data.Row) (sft.Sequence, error), []pipeline.Part, error) {
	p, err := g.Texts.prepare(dir, m)
	if err != nil {
		return nil, nil, err
	}
	whole, parts, err := g.how(dir, m)
	if err != nil {
		return nil, nil, err
	}
	room := m.Config().MaxPositions - g.MaxTokens + 1
	if g.Lambda > 0 && room < 1 {
		return nil, nil, fmt.Errorf("recipe: max_completion_length is %d, the model has %d positions", g.MaxTokens, m.Config().MaxPositions)
	}
	return func(row data.Row) (sft.Sequence, error) {
		row = lastAnswers(row)
		if g.Lambda > 0 && row.Has("prompt") {
			ids, err := p.Prompt(row)
			switch {
			case err != nil:
				return sft.Sequence{}, err
			case len(ids) > room:
				return sft.Sequence{}, fmt.Errorf("recipe: %s: %w: a prompt of %d tokens leaves no room for max_completion_length %d", row.Place, sft.ErrNothing, len(ids), g.MaxTokens)
			case g.Lambda == 1:
				return sft.Sequence{IDs: ids, Weights: make([]float32, len(ids))}, nil
			}
		}
		return whole(row)
	}, parts, nil
}

// lastAnswers splits a conversation that ends with the assistant into prompt and completion.
func lastAnswers(row data.Row) data.Row {
	v, _ := row.Fields.Get("messages")
	all, ok := v.([]any)
	if !ok || len(all) < 2 || row.Has("prompt") || row.Has("completion") {
		return row
	}
	last, ok := all[len(all)-1].(data.Object)
	if role, _ := last.Get("role"); !ok || role != "assistant" {
		return row
	}
	fields := data.Object{{Name: "prompt", Value: all[:len(all)-1]}, {Name: "completion", Value: all[len(all)-1:]}}
	for _, f := range row.Fields {
		if f.Name != "messages" {
			fields = append(fields, f)
		}
	}
	row.Fields = fields
	return row
}

// lessons opens the teachers and gives each its rows.
func (g *Distill) lessons(ctx context.Context, from Sources, student string, how func(row data.Row) (sft.Sequence, error), p *PreparedDistill) error {
	add := func(name string, once, endless data.Stream) error {
		teacher, teacherMark, err := g.teacher(ctx, from, name, student, p)
		if err != nil {
			return err
		}
		l := pipeline.Lesson{Teacher: teacher, Feed: pipeline.Feed{Rows: endless, Prepare: how, Seed: g.Seed}}
		rows, _, seen, err := count(ctx, l.Feed, once)
		if err != nil {
			return err
		}
		p.marks = append(p.marks, teacherMark+" "+seen)
		l.Weight = float64(rows)
		p.Lessons, p.Rows = append(p.Lessons, l), p.Rows+rows
		return nil
	}
	if len(g.Teachers) == 0 {
		if g.TeacherPath == "" {
			return errors.New("recipe: teacher_model_name_or_path is missing: a Hugging Face folder or hub id; or --mode traces with teacher_url for one behind a server")
		}
		once, endless, _, err := g.streams(ctx, g.Seed, from)
		if err != nil {
			return err
		}
		return add(g.TeacherPath, once, endless)
	}
	if g.Column == "" || g.Dataset == "" || g.TeacherPath != "" {
		return errors.New("recipe: teachers (several) need teacher_column and dataset_name, and no teacher_model_name_or_path")
	}
	table, err := g.read(ctx, g.Dataset, g.TrainSplit, from)
	if err != nil {
		return err
	}
	taught := 0
	for i, t := range g.Teachers {
		value, name, ok := strings.Cut(t, "=")
		if !ok {
			return fmt.Errorf("recipe: teachers: %q: want VALUE=MODEL", t)
		}
		var own data.Table
		for _, row := range table {
			if v, _ := row.Fields.Get(g.Column); v != nil && fmt.Sprint(v) == value {
				own = append(own, row)
			}
		}
		if len(own) == 0 {
			return fmt.Errorf("recipe: teachers: no row of %s has %q in the column %s", g.Dataset, value, g.Column)
		}
		taught += len(own)
		once, endless := g.order(own, g.Seed+uint64(i))
		if err := add(name, once, endless); err != nil {
			return err
		}
	}
	if taught < len(table) {
		p.note("%d of %d rows are for none of the teachers and left out", len(table)-taught, len(table))
	}
	return nil
}

// teacher loads a teacher onto the student's device, once, and sees that its tokens are the student's; sum is its mark.
func (g *Distill) teacher(ctx context.Context, from Sources, name, student string, p *PreparedDistill) (m distill.Model, sum string, err error) {
	dir := name
	if from.Model != nil {
		if dir, err = from.Model(ctx, name, g.TeacherRev); err != nil {
			return nil, "", err
		}
	}
	ours, err := tokenizer.Load(student)
	if err != nil {
		return nil, "", err
	}
	theirs, err := tokenizer.Load(dir)
	if err != nil {
		return nil, "", err
	}
	for id := range int32(max(ours.VocabSize(), theirs.VocabSize())) {
		a, _ := ours.Token(id)
		b, _ := theirs.Token(id)
		if a != b {
			return nil, "", fmt.Errorf("recipe: token %d is %q for the student and %q for the teacher %s: distributions over different tokens cannot be compared; let the teacher write texts instead (r1 sample, or --mode traces), and r1 sft", id, a, b, name)
		}
	}
	if sum, err = mark(dir); err != nil {
		return nil, "", err
	}
	lm, err := model.Load(p.Student.Device(), dir, g.options())
	if err != nil {
		return nil, "", err
	}
	p.close = append(p.close, lm.Close)
	return lm, sum, nil
}

// steps sets draws, batch, steps and schedule.
func (g *Distill) steps(dir string, m *model.LM, p *PreparedDistill) (err error) {
	if p.Batch, p.Every, p.Eval, err = g.plan(g.Output, g.DeviceBatch, g.Accumulate, p.Rows); err != nil {
		return err
	}
	schedule, err := g.schedule(p.Every.Steps)
	if err != nil {
		return err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return err
	}
	p.Train = distill.Config{Divergence: kernels.Divergence(g.Beta), Temperature: float32(g.Temperature), Likelihood: g.Likelihood, LearningRate: g.LearningRate, Schedule: schedule, Optim: g.config(), MicroTokens: g.MicroTokens}
	p.Sample = sampling.Options{Temperature: float32(g.Temperature), MaxTokens: g.MaxTokens, Seed: g.Seed, EOS: slices.Compact(slices.Sorted(slices.Values(ends(tok, m)))), Truncation: kernels.Truncation{TopK: g.TopK, TopP: float32(g.TopP)}}
	if g.MinP != nil {
		p.Sample.Truncation.MinP = float32(*g.MinP)
	}
	p.OnPolicy = g.Lambda
	return nil
}
