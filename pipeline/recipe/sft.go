package recipe

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"strings"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/chat"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/sft"
)

// SFT is the recipe of supervised fine-tuning, with TRL's names and defaults.
type SFT struct {
	Machine
	Model
	Output
	Optimizer
	Adapter
	Texts
	Fit
}

// Texts are what is learnt.
type Texts struct {
	Dataset      string         `key:"dataset_name" help:"a file (jsonl, json, csv, parquet), a folder or a hub id, with rows of text, messages, or prompt and completion"`
	Config       string         `key:"dataset_config" help:"configuration of a hub data set"`
	Mix          []string       `key:"dataset_mixture" help:"several data sets in place of dataset_name: NAME or NAME=WEIGHT, rows drawn in proportion to the weights"`
	TrainSplit   string         `key:"dataset_train_split" help:"split to train on"`
	TestSplit    string         `key:"dataset_test_split" help:"split of a folder or hub id to measure the loss on, where it is there"`
	TextField    string         `key:"dataset_text_field" help:"column of rows of text"`
	Length       int            `key:"max_length" help:"tokens of a sequence; longer ones are cut; 0 or null: no limit" null:"0"`
	Truncation   string         `key:"truncation_mode" help:"keep_start or keep_end"`
	Packing      bool           `key:"packing" help:"lay several examples into one row of max_length; attention never crosses from one to the next"`
	Strategy     string         `key:"packing_strategy" help:"bfd, bfd_split or wrapped"`
	Completion   *bool          `key:"completion_only_loss" help:"learn only the completion of rows with a prompt; absent: where there is one"`
	Assistant    bool           `key:"assistant_only_loss" help:"learn only what the template marks with {% generation %}"`
	TemplatePath string         `key:"chat_template_path" help:"a chat template's file or a folder with one, in place of the model's"`
	TemplateArgs map[string]any `key:"chat_template_kwargs" help:"variables for the chat template"`
	Shuffle      bool           `key:"shuffle_dataset" help:"a new order every epoch; false: as in the file"`
	Epochs       float64        `key:"num_train_epochs" help:"passes over the data where max_steps is not given"`
	MaxSteps     int            `key:"max_steps" help:"optimiser steps; -1: as num_train_epochs says"`
}

// Fit is the loss and the batch.
type Fit struct {
	Loss        string   `key:"loss_type" help:"nll, chunked_nll (the same number) or dft"`
	NEFTune     float64  `key:"neftune_noise_alpha" help:"noise on the embeddings; 0: none"`
	DeviceBatch int      `key:"per_device_train_batch_size" help:"rows; times gradient_accumulation_steps: those of an optimiser step"`
	Accumulate  int      `key:"gradient_accumulation_steps" help:"see per_device_train_batch_size"`
	MicroTokens int      `key:"micro_tokens" help:"rows of one pass; memory, not results" run:"-"`
	ReportTo    []string `key:"report_to" help:"TensorBoard events are always written" run:"-"`
}

// NewSFT is the recipe with every value at its default.
func NewSFT() *SFT {
	return &SFT{
		Machine: Machine{Device: "cpu"}, Model: Model{Revision: "main"}, Output: defaultOutput(), Optimizer: defaultOptimizer(2e-5),
		Adapter: Adapter{Rank: 16, Alpha: 32, Dropout: 0.05},
		Texts:   Texts{TrainSplit: "train", TestSplit: "test", TextField: "text", Length: 1024, Truncation: "keep_start", Strategy: "bfd", Shuffle: true, Epochs: 3, MaxSteps: -1},
		Fit:     Fit{Loss: "nll", DeviceBatch: 8, Accumulate: 1, MicroTokens: 2048, ReportTo: []string{"tensorboard"}},
	}
}

// TRLSFT are the keys of TRL's SFT that this library does not have.
var TRLSFT = Foreign{
	Ignored: with(ignored(), map[string]string{
		"padding_free": "there is never any padding", "eval_packing": "the held-out loss is per example", "dataset_kwargs": "the data set's own options are not needed", "pad_token": "there is never any padding",
	}),
	Refused: without(with(refused, map[string]string{"eos_token": "give it in the model's tokenizer_config.json"}), "neftune_noise_alpha"), Harmless: with(harmless, map[string][]string{"eos_token": {"<eos_token>"}}), // TRL's way to leave it open
}

// with is a with b's keys.
func with[V any](a, b map[string]V) map[string]V {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// without is a without a key.
func without[V any](a map[string]V, key string) map[string]V {
	out := maps.Clone(a)
	delete(out, key)
	return out
}

// PreparedSFT is a stage that is ready to run. Close frees the model and the device.
type PreparedSFT struct {
	pipeline.SFT
	closers
	Rows   int   // of a pass over the data, packed
	Tokens int64 // in them
}

// Prepare opens device, model and data and makes the stage.
func (g *SFT) Prepare(ctx context.Context, from Sources) (*PreparedSFT, error) {
	p := &PreparedSFT{}
	if err := g.prepare(ctx, from, p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (g *SFT) prepare(ctx context.Context, from Sources, p *PreparedSFT) error {
	p.reportTo(g.ReportTo, g.Dir)
	base, dir, err := openModel(ctx, g.Machine, g.Model, from, &p.closers)
	if err != nil {
		return err
	}
	if p.Policy = base; g.Use {
		if p.Policy, err = g.on(base, g.Model.Model, g.Seed, &p.closers); err != nil {
			return err
		}
	}
	how, parts, err := g.how(dir, p.Policy)
	if err != nil {
		return err
	}
	p.Parts = parts
	p.Feed = pipeline.Feed{Prepare: how, Max: g.Length, Seed: g.Seed}
	if g.Packing {
		packers := map[string]sft.Packer{"bfd": sft.BestFit, "bfd_split": sft.BestFitSplit, "wrapped": sft.Wrap}
		if p.Feed.Pack = packers[g.Strategy]; p.Feed.Pack == nil || g.Length < 1 {
			return fmt.Errorf("recipe: packing_strategy is %q and max_length %d, want bfd, bfd_split or wrapped, and at least 1", g.Strategy, g.Length)
		}
	}
	once, endless, rows, err := g.streams(ctx, g.Seed, from)
	if err != nil {
		return err
	}
	p.Feed.Rows = endless
	p.Feed.Window = min(1000, rows) // TRL's; no more than a pass, so that packing does not mix the epochs of a small data set
	var seen string
	if p.Rows, p.Tokens, seen, err = count(ctx, p.Feed, once); err != nil {
		return err
	}
	held, missing, err := g.held(ctx, from, how)
	if err != nil {
		return err
	}
	if p.HeldOut = held; missing != nil {
		p.note("nothing is held out: %v", missing)
	}
	if err := g.steps(p); err != nil {
		return err
	}
	config := Values(g)
	if err := record(config, p.Policy, dir); err != nil {
		return err
	}
	config["rows"], config["tokens"], config["data"] = p.Rows, p.Tokens, seen
	p.Config = config
	return nil
}

// prepare says how rows become sequences of the model in dir.
func (g Texts) prepare(dir string, m *model.LM) (p sft.Prepare, err error) {
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return p, err
	}
	if have := m.Config().VocabSize; tok.VocabSize() > have {
		return p, fmt.Errorf("recipe: %s: the tokenizer has %d tokens, the model's vocabulary %d: they do not belong together", dir, tok.VocabSize(), have)
	}
	if g.Truncation != "keep_start" && g.Truncation != "keep_end" {
		return p, fmt.Errorf("recipe: truncation_mode is %q, want keep_start or keep_end", g.Truncation)
	}
	length := g.Length
	if most := m.Config().MaxPositions; length == 0 || length > most {
		length = most
	}
	if g.Packing && g.Strategy != "bfd" {
		length = 0 // the packer splits
	}
	p = sft.Prepare{Tokenizer: tok, MaxLength: length, KeepEnd: g.Truncation == "keep_end", WholePrompt: g.Completion != nil && !*g.Completion, AssistantOnly: g.Assistant, Variables: g.TemplateArgs}
	if g.TemplatePath != "" {
		p.Template, err = chat.LoadWith(dir, g.TemplatePath)
	} else if p.Template, err = chat.Load(dir); errors.Is(err, chat.ErrNoTemplate) {
		err = nil
	}
	return p, err
}

// files are what a checkpoint holds of the model's folder, with the template that was used.
func (g Texts) files(dir string, p sft.Prepare) []pipeline.Part {
	parts := []pipeline.Part{pipeline.Files(dir, pipeline.TokenizerFiles...)}
	if g.TemplatePath != "" {
		parts = append(parts, pipeline.Text("chat_template.jinja", p.Template.Text()))
	}
	return parts
}

// how makes sequences of rows, and says what of the model's folder belongs into checkpoints.
func (g Texts) how(dir string, m *model.LM) (func(row data.Row) (sft.Sequence, error), []pipeline.Part, error) {
	p, err := g.prepare(dir, m)
	if err != nil {
		return nil, nil, err
	}
	if g.TextField == "text" {
		return p.Sequence, g.files(dir, p), nil
	}
	rename := data.Rename(map[string]string{g.TextField: "text"})
	return func(row data.Row) (sft.Sequence, error) {
		if !row.Has("messages") && !row.Has("prompt") {
			var err error
			if row, err = rename(row); err != nil {
				return sft.Sequence{}, err
			}
		}
		return p.Sequence(row)
	}, g.files(dir, p), nil
}

// streams are the rows: one pass over them, and without end; and how many a pass has.
func (g Texts) streams(ctx context.Context, seed uint64, from Sources) (once, endless data.Stream, rows int, err error) {
	names, weights, err := g.sources()
	if err != nil {
		return nil, nil, 0, err
	}
	var all, passes []data.Part
	for i, name := range names {
		table, err := g.read(ctx, name, g.TrainSplit, from)
		if err != nil {
			return nil, nil, 0, err
		}
		rows += len(table)
		pass, endless := g.order(table, seed+uint64(i))
		passes, all = append(passes, data.Part{Stream: pass, Weight: weights[i]}), append(all, data.Part{Stream: endless, Weight: weights[i]})
	}
	if len(names) == 1 {
		return passes[0].Stream, all[0].Stream, rows, nil
	}
	return data.Mix(seed, passes...), data.Mix(seed, all...), rows, nil
}

// order is a table as streams, one pass and without end.
func (g Texts) order(table data.Table, seed uint64) (once, endless data.Stream) {
	if !g.Shuffle {
		return inOrder(table), data.Repeat(inOrder(table), 0)
	}
	return data.Shuffle(table, seed, 1), data.Shuffle(table, seed, 0)
}

// held prepares what the loss is measured on; missing says why there is none.
func (g Texts) held(ctx context.Context, from Sources, how func(row data.Row) (sft.Sequence, error)) (held []sft.Sequence, missing, err error) {
	if g.TestSplit == g.TrainSplit || g.Dataset == "" {
		return nil, nil, nil
	}
	if oneFile(g.Dataset) {
		return nil, fmt.Errorf("%s is one file; a folder has splits", g.Dataset), nil
	}
	table, err := g.read(ctx, g.Dataset, g.TestSplit, from)
	if errors.Is(err, data.ErrNoSplit) {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "data: ")), nil
	} else if err != nil {
		return nil, nil, err
	}
	for _, row := range table {
		q, err := how(row)
		if errors.Is(err, sft.ErrNothing) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		held = append(held, q)
	}
	return held, nil, nil
}

// plan is the rows of a step, the number of steps, and when what happens, of a stage over texts whose pass has so many rows.
func (t Texts) plan(o Output, deviceBatch, accumulate, rows int) (batch int, every pipeline.Every, eval int, err error) {
	if batch = deviceBatch * accumulate; batch < 1 {
		return 0, every, 0, fmt.Errorf("recipe: per_device_train_batch_size %d x gradient_accumulation_steps %d: want at least 1", deviceBatch, accumulate)
	}
	if every.Steps = t.MaxSteps; every.Steps <= 0 {
		if !(t.Epochs > 0) {
			return 0, every, 0, fmt.Errorf("recipe: max_steps is %d and num_train_epochs %g: one of them must be more than 0", t.MaxSteps, t.Epochs)
		}
		every.Steps = max(1, int(math.Ceil(t.Epochs*float64(rows)/float64(batch))))
	}
	epoch := (rows + batch - 1) / batch
	if every.Save, err = o.save(epoch); err != nil {
		return 0, every, 0, err
	}
	if o.SaveLimit != nil {
		every.Keep = *o.SaveLimit
	}
	eval, err = o.eval(epoch)
	return batch, every, eval, err
}

// count counts what one pass gives, and marks it: a number that changes when a sequence does.
func count(ctx context.Context, f pipeline.Feed, once data.Stream) (rows int, tokens int64, mark string, err error) {
	seen, how := fnv.New64a(), f.Prepare
	f.Prepare = func(row data.Row) (sft.Sequence, error) {
		q, err := how(row)
		fmt.Fprintln(seen, q.IDs, q.Weights)
		return q, err
	}
	rows, tokens, err = f.Count(ctx, once)
	return rows, tokens, fmt.Sprintf("%016x", seen.Sum64()), err
}

// steps sets batch, steps and schedule.
func (g *SFT) steps(p *PreparedSFT) (err error) {
	if p.Batch, p.Every, p.Eval, err = g.plan(g.Output, g.DeviceBatch, g.Accumulate, p.Rows); err != nil {
		return err
	}
	schedule, err := g.schedule(p.Every.Steps)
	if err != nil {
		return err
	}
	p.Train = sft.Config{LearningRate: g.LearningRate, Schedule: schedule, Optim: g.config(), MicroTokens: g.MicroTokens}
	switch g.Loss {
	case "nll", "chunked_nll":
	case "dft":
		p.Train.Weigh = sft.DFT
	default:
		return fmt.Errorf("recipe: loss_type is %q, want nll, chunked_nll or dft", g.Loss)
	}
	p.Train.Pass = g.pass(p.Policy)
	return nil
}

// pass is the policy as a step sees it: with dropout in its adapter and noise on its embeddings.
func (g *SFT) pass(m *model.LM) func(step int) (sft.Policy, error) {
	if g.NEFTune == 0 && (!g.Use || g.Dropout == 0) {
		return nil
	}
	return func(step int) (sft.Policy, error) {
		v := m
		if g.Use {
			var err error
			if v, err = v.Dropout(g.Seed, step); err != nil {
				return nil, err
			}
		}
		return v.Noisy(g.NEFTune, g.Seed, step)
	}
}
