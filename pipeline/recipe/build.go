package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// presets are the papers' values, by key, for what neither flags nor file give.
var presets = map[string]map[string]string{
	// arXiv 2501.12948 and its supplement: 32 questions x 16 completions a step, 8,192 completions drawn at once.
	"r1zero": {
		"learning_rate": "3e-6", "lr_scheduler_type": "constant", "beta": "0.001", "epsilon": "10", "loss_type": "grpo", "temperature": "1", "num_generations": "16", "per_device_train_batch_size": "512",
		"generation_batch_size": "8192", "max_completion_length": "32768", "sync_ref_model": "true", "ref_model_sync_steps": "400", "ref_model_mixup_alpha": "1", "use_bias_correction_kl": "false",
	},
	// arXiv 2503.14476, section 4.1: 512 prompts x 16, mini-batches of 512, clip-higher, dynamic sampling.
	"dapo": {
		"learning_rate": "1e-6", "lr_scheduler_type": "constant", "beta": "0", "epsilon": "0.2", "epsilon_high": "0.28", "loss_type": "dapo", "num_generations": "16", "per_device_train_batch_size": "512",
		"generation_batch_size": "8192", "max_completion_length": "20480", "dynamic_sampling": "10",
	},
	// arXiv 2503.20783, section 3.2.
	"dr_grpo": {"learning_rate": "1e-6", "lr_scheduler_type": "constant", "beta": "0", "epsilon": "0.2", "loss_type": "dr_grpo", "scale_rewards": "none"},
}

// Complete sets what a preset says and neither flags nor file gave. fs must be the set that v was bound to.
func (g *GRPO) Complete(fs *pflag.FlagSet) error {
	if g.Preset == "" {
		return nil
	}
	values, ok := presets[g.Preset]
	if g.Preset == "r1" { // R1's first RL stage has R1-Zero's values
		values, ok = presets["r1zero"], true
	}
	if !ok {
		return fmt.Errorf("recipe: preset is %q, want r1zero, r1, dapo or dr_grpo", g.Preset)
	}
	for key, value := range values {
		if f := fs.Lookup(key); !f.Changed {
			if err := f.Value.Set(value); err != nil {
				return fmt.Errorf("recipe: preset %s: %s: %w", g.Preset, key, err)
			}
		}
	}
	return nil
}

// Prepared is a stage that is ready to run. Close frees the model and the device.
type Prepared struct {
	pipeline.GRPO
	closers
	ruled []string // the routes whose rows HeldOut.Score can tell right from wrong
}

// Sources are where models and data sets that are not folders come from.
type Sources struct {
	Model func(ctx context.Context, nameOrPath, revision string) (dir string, err error) // nil: folders only
	Data  data.Hub                                                                       // nil: files and folders only
	Key   string                                                                         // of servers that judge; it goes into no file and no error
}

// Prepare opens device, model and data and makes the stage.
func (g *GRPO) Prepare(ctx context.Context, from Sources) (*Prepared, error) {
	p := &Prepared{}
	if err := g.prepare(ctx, from, p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (g *GRPO) prepare(ctx context.Context, from Sources, p *Prepared) error {
	p.reportTo(g.ReportTo, g.Dir)
	dir, err := g.openModel(ctx, from, p)
	if err != nil {
		return err
	}
	if p.Train, err = g.train(); err != nil {
		return err
	}
	if p.Score, p.Compare, err = g.score(from, p); err != nil {
		return err
	}
	f, c, err := g.asking(dir, &p.closers)
	if err != nil {
		return err
	}
	p.Sample = sampling.Options{Codec: c, Temperature: float32(g.Temperature), MaxTokens: g.MaxTokens, Seed: g.Seed, EOS: ends(c.tok, p.Policy), Truncation: kernels.Truncation{TopK: g.TopK, TopP: float32(g.TopP)}}
	if g.MinP != nil {
		p.Sample.Truncation.MinP = float32(*g.MinP)
	}
	train, held, err := g.problems(ctx, from, p, f, c)
	if err != nil {
		return err
	}
	if err := g.onRoute(append(train[:len(train):len(train)], held...)); err != nil {
		return err
	}
	if g.RouteColumn != "" {
		all := len(held)
		held = slices.DeleteFunc(held, func(q reward.Problem) bool { return !slices.Contains(p.ruled, fmt.Sprint(q.Columns[g.RouteColumn])) })
		if len(held) < all {
			p.note("%d of %d held-out rows are judged by no rule and are not measured", all-len(held), all)
		}
	}
	if err := g.Problems.order(train); err != nil {
		return err
	}
	p.Problems = pipeline.NewStream(train, g.Seed, g.Shuffle && g.Curriculum == "")
	if len(held) > 0 {
		if g.EvalSamples > 1 && g.EvalTemp == 0 {
			return fmt.Errorf("recipe: eval_samples is %d at eval_temperature 0: greedy completions of a prompt are all the same; give a temperature, or 1 sample", g.EvalSamples)
		}
		p.HeldOut = pipeline.HeldOut{Problems: held, Score: p.HeldOut.Score, Samples: g.EvalSamples, Temperature: float32(g.EvalTemp)}
	}
	if err := g.steps(p); err != nil {
		return err
	}
	p.Parts = append(p.Parts, pipeline.Files(dir, pipeline.TokenizerFiles...))
	p.Alarms = pipeline.DefaultAlarms()
	p.Tripwires = pipeline.Tripwires{Every: g.Tripwires, Problems: 32}
	config := Values(g)
	if err := record(config, p.Policy, dir); err != nil {
		return err
	}
	config["problems"] = fmt.Sprintf("%016x", p.Problems.Fingerprint(func(q reward.Problem) string { // all that a reward may read
		return fmt.Sprintf("%q %q %v", q.Prompt, q.Answer, q.Columns)
	}))
	p.Config = config
	return nil
}

// ends are the ids that end a completion: the tokenizer's and the model's.
func ends(tok *tokenizer.Tokenizer, m *model.LM) []int32 {
	ids := tok.EOS()
	for _, id := range m.Config().EOS {
		ids = append(ids, int32(id))
	}
	return ids
}

// openModel loads the policy, its adapter, and the reference where the objective has one.
func (g *GRPO) openModel(ctx context.Context, from Sources, p *Prepared) (dir string, err error) {
	base, dir, err := openModel(ctx, g.Machine, g.Model, from, &p.closers)
	if err != nil {
		return "", err
	}
	p.Policy = base
	if g.Use {
		if g.Dropout != 0 {
			return "", fmt.Errorf("recipe: lora_dropout is %g: with dropout the policy that samples is not the one that is trained; set it to 0", g.Dropout)
		}
		if p.Policy, err = g.on(base, g.Model.Model, g.Seed, &p.closers); err != nil {
			return "", err
		}
	}
	return dir, g.reference(base, p)
}

// reference is the model of the KL term: with an adapter the base itself, or, where it is renewed, a frozen copy of the adapter; else a
// copy of all weights.
func (g *GRPO) reference(base *model.LM, p *Prepared) error {
	if g.Beta == 0 {
		return nil
	}
	if g.Use && !g.SyncRef {
		p.Ref = base
		return nil
	}
	var ref *model.LM
	var err error
	if g.Use {
		ref, err = g.on(base, g.Model.Model, g.Seed, &p.closers)
	} else if ref, err = base.Clone(); err == nil {
		p.close = append(p.close, ref.Close)
	}
	if err != nil {
		return fmt.Errorf("recipe: the reference of beta %g (use_peft needs no second copy of the weights): %w", g.Beta, err)
	}
	p.Ref = ref
	if g.SyncRef {
		p.Renew = pipeline.Renew{Share: g.SyncAlpha, Ref: ref} // steps says how often
	}
	return nil
}

// train is the trainer's configuration, but for what depends on the number of steps.
func (g *GRPO) train() (grpo.Config, error) {
	c := grpo.Config{LearningRate: g.LearningRate, Optim: g.config(), Epochs: g.Iterations, MaxTokens: g.MaxTokens, MicroTokens: g.MicroTokens, SharePrompt: g.SharePrompt}
	c.Loss = grpo.LossConfig{EpsilonLow: float32(g.Epsilon), EpsilonHigh: float32(g.Epsilon), Beta: float32(g.Beta), Entropy: float32(g.EntropyCoef)}
	if g.EpsilonHigh != nil {
		c.Loss.EpsilonHigh = float32(*g.EpsilonHigh)
	}
	if g.Delta != nil {
		c.Loss.Delta = float32(*g.Delta)
	}
	if err := g.loss(&c.Loss); err != nil {
		return c, err
	}
	c.MaskTruncated = g.Overlong
	if err := errors.Join(g.kl(&c), g.entropy(&c)); err != nil {
		return c, err
	}
	var err error
	if c.Advantages, err = g.advantages(); err != nil {
		return c, err
	}
	c.Scale, err = g.scale()
	return c, err
}

// problems reads both splits.
func (g *GRPO) problems(ctx context.Context, from Sources, p *Prepared, f render, c codec) (train, held []reward.Problem, err error) {
	if g.Dataset == "" {
		return nil, nil, errors.New("recipe: dataset_name is missing: a file (jsonl, json, csv, parquet), a folder or a hub id")
	}
	limit := p.Policy.Config().MaxPositions - g.MaxTokens + 1
	if limit < 1 {
		return nil, nil, fmt.Errorf("recipe: max_completion_length is %d, the model has %d positions", g.MaxTokens, p.Policy.Config().MaxPositions)
	}
	if g.MaxPrompt > 0 {
		limit = min(limit, g.MaxPrompt)
	}
	train, long, err := g.Problems.read(ctx, g.Dataset, g.TrainSplit, f, c, limit, 0, from.Data)
	if err != nil {
		return nil, nil, err
	}
	if long > 0 {
		p.note("%d of %d prompts are longer than %d tokens and left out", long, long+len(train), limit)
	}
	name, split := g.Dataset, g.TestSplit
	switch {
	case g.EvalDataset != "":
		name = g.EvalDataset
	case split == g.TrainSplit:
		return train, nil, nil
	case oneFile(name):
		p.note("nothing is held out: %s is one file; eval_dataset_name gives another", name)
		return train, nil, nil
	}
	held, long, err = g.Problems.read(ctx, name, split, f, c, limit, g.EvalRows, from.Data)
	if g.EvalDataset == "" && errors.Is(err, data.ErrNoSplit) {
		p.note("nothing is held out: %s", strings.TrimPrefix(err.Error(), "data: "))
		return train, nil, nil
	}
	if long > 0 {
		p.note("%d held-out prompts are longer than %d tokens and left out", long, limit)
	}
	return train, held, err
}

// steps sets batch, steps and schedule. The stage counts rollouts, the keys optimiser steps, of which a rollout has several: what falls
// due inside one happens at its end.
func (g *GRPO) steps(p *Prepared) error {
	prompts, mini, err := g.batch(g.Samples)
	if err != nil {
		return err
	}
	p.Batch = pipeline.Batch{Prompts: prompts, Samples: g.Samples, Refill: g.Refill, Replay: g.Replay, Skip: pipeline.Skip{Low: g.SkipLow, High: g.SkipHigh, Again: g.SkipAgain}}
	p.Train.MiniBatches, p.Train.GradientNoise = mini, g.Noise
	n, err := g.rollouts(p.Problems.Len(), prompts, mini)
	if err != nil {
		return err
	}
	each := mini * g.Iterations
	if p.Train.Schedule, err = g.schedule(n * each); err != nil {
		return err
	}
	if g.MaxSteps > 0 && g.MaxSteps%each != 0 {
		p.note("max_steps is %d, but a rollout serves %d optimiser steps: %d are taken", g.MaxSteps, each, n*each)
	}
	epoch := each * ((p.Problems.Len() + prompts - 1) / prompts)
	save, err := g.save(epoch)
	if err != nil {
		return err
	}
	eval, err := g.eval(epoch)
	if err != nil {
		return err
	}
	rollouts := func(steps int) int { return (steps + each - 1) / each }
	p.Every, p.HeldOut.Every = pipeline.Every{Steps: n, Save: rollouts(save)}, rollouts(eval)
	if p.Renew.Ref != nil {
		if g.SyncSteps < 1 {
			return fmt.Errorf("recipe: ref_model_sync_steps is %d, want at least 1; sync_ref_model false keeps the reference", g.SyncSteps)
		}
		p.Renew.Every = rollouts(g.SyncSteps)
	}
	if g.SaveLimit != nil {
		p.Every.Keep = *g.SaveLimit
	}
	if g.LogRollouts {
		p.Every.Rollouts = 1
	}
	if math.IsNaN(g.Temperature) || g.Temperature <= 0 {
		return fmt.Errorf("recipe: temperature is %g: greedy completions of a prompt are all the same and teach nothing; want more than 0", g.Temperature)
	}
	return nil
}
