package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// Load is what a model is given: Batch sequences at once, or Prompts prompts with Group samples each, of Prompt tokens and New new ones.
type Load struct {
	Batch, Prompt, New, Prompts, Group int
	BF16                               bool // the model computes in bf16
	SharePrompt                        bool // a step trains the prompt of a group once
}

func (l Load) check() error {
	if min(l.Batch, l.Prompt, l.New, l.Prompts, l.Group) < 1 {
		return fmt.Errorf("bench: batch %d, prompt %d, new tokens %d, prompts %d, group %d: want at least 1 of each", l.Batch, l.Prompt, l.New, l.Prompts, l.Group)
	}
	return nil
}

// fresh is a random model of a shape.
func fresh(dev *kernels.Device, shape string, l Load) (*model.LM, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	c, err := Shape(shape, l.Prompt+l.New)
	if err != nil {
		return nil, err
	}
	m, err := model.New(dev, c, 1, nil)
	if err == nil && l.BF16 {
		if err = m.UseBF16(); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	return m, err
}

// ids are n tokens of the vocabulary, others for each sequence.
func ids(sequence, n, vocabulary int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32((7919*sequence + 104729*i + i*i) % vocabulary)
	}
	return v
}

// planned is the memory that a model and its work take by the plan.
func planned(m *model.LM, l Load, w model.Work) (int64, error) {
	w.Store, w.BF16 = model.Kept(m.Device().Name() == "cpu", l.BF16), l.BF16
	p, err := m.Config().Plan(w)
	return p.Peak(), err
}

// microTokens are the rows of a training pass, of whole sequences.
const microTokens = 2048

// Decode is New steps of Batch sequences, one token each, over a cache that holds their prompts.
func Decode(dev *kernels.Device, shape string, l Load) ([]Case, error) {
	m, err := fresh(dev, shape, l)
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(m, l)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	k, b := costsOf(m.Config(), l.BF16), float64(l.Batch)
	memory, err := planned(m, l, model.Work{Positions: d.positions, Prefill: l.Prompt, Sequences: l.Batch})
	if err != nil {
		return nil, errors.Join(err, d.cache.Close(), m.Close())
	}
	one := Case{
		Planned: memory,
		Name:    fmt.Sprintf("decode %s B%d prompt %d new %d", shape, l.Batch, l.Prompt, l.New), Unit: "tokens/s", Work: b * float64(l.New),
		Run: d.run, Close: func() error { return errors.Join(d.cache.Close(), m.Close()) },
	}
	for i := range l.New {
		keys := float64(l.Prompt + i + 1)
		one.Stages = append(one.Stages, Stage{FLOPs: b * (2*k.params + k.attention*keys), Bytes: k.weightBytes + b*keys*k.cacheBytes})
	}
	return []Case{one}, nil
}

type decoder struct {
	m         *model.LM
	l         Load
	cache     *model.Cache
	positions int // of the cache
	prompts   []*model.Seq
}

func newDecoder(m *model.LM, l Load) (*decoder, error) {
	pages := l.Batch * ((l.Prompt+model.PageRows-1)/model.PageRows + (l.Prompt+l.New+model.PageRows-1)/model.PageRows)
	cache, err := m.NewCache(pages * model.PageRows)
	if err != nil {
		return nil, err
	}
	d := &decoder{m: m, l: l, cache: cache, positions: pages * model.PageRows}
	for i := range l.Batch {
		q := cache.NewSeq()
		d.prompts = append(d.prompts, q)
		err := m.Device().Do(context.Background(), func(s *kernels.Scope) error {
			cache.Extend(s.NoGrad(), []*model.Seq{q}, [][]int32{ids(i, l.Prompt, m.Config().VocabSize)})
			return s.Err()
		})
		if err != nil {
			return nil, errors.Join(err, cache.Close())
		}
	}
	return d, nil
}

// run decodes from the prompts on and forgets what it wrote.
func (d *decoder) run(ctx context.Context) error {
	live, next := make([]*model.Seq, d.l.Batch), make([][]int32, d.l.Batch)
	token := make([]int32, d.l.Batch)
	defer func() {
		for _, q := range live {
			if q != nil {
				d.cache.Drop(q)
			}
		}
	}()
	for step := range d.l.New {
		err := d.m.Device().Do(ctx, func(s *kernels.Scope) error {
			s = s.NoGrad()
			for i := range live {
				if step == 0 {
					live[i] = d.cache.Fork(s, d.prompts[i], d.l.Prompt)
				}
				next[i] = []int32{token[i]}
			}
			hidden := d.cache.Extend(s, live, next)
			drawn, _, _ := d.m.Sample(s, hidden, kernels.SampleOptions{Counter: counters(step, d.l.Batch)})
			return s.Read(drawn, token)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func counters(step, n int) [][4]uint32 {
	c := make([][4]uint32, n)
	for i := range c {
		c[i] = [4]uint32{0, uint32(i), 0, uint32(step)}
	}
	return c
}

// Prefill runs Batch prompts into an empty cache, without the head.
func Prefill(dev *kernels.Device, shape string, l Load) ([]Case, error) {
	m, err := fresh(dev, shape, l)
	if err != nil {
		return nil, err
	}
	cache, err := m.NewCache(l.Batch * (l.Prompt + model.PageRows))
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	prompts := make([][]int32, l.Batch)
	for i := range prompts {
		prompts[i] = ids(i, l.Prompt, m.Config().VocabSize)
	}
	k, tokens, n := costsOf(m.Config(), l.BF16), float64(l.Batch*l.Prompt), float64(l.Prompt)
	return []Case{{
		Name: fmt.Sprintf("prefill %s B%d prompt %d", shape, l.Batch, l.Prompt), Unit: "tokens/s", Work: tokens,
		Stages: []Stage{{FLOPs: tokens * (2*(k.params-k.head) + k.attention*(n+1)/2), Bytes: k.weightBytes}},
		Run: func(ctx context.Context) error {
			seqs := make([]*model.Seq, l.Batch)
			for i := range seqs {
				seqs[i] = cache.NewSeq()
				defer cache.Drop(seqs[i])
			}
			return dev.Do(ctx, func(s *kernels.Scope) error {
				cache.Extend(s.NoGrad(), seqs, prompts)
				return s.Err()
			})
		},
		Close: func() error { return errors.Join(cache.Close(), m.Close()) },
	}}, nil
}

// Train is a whole step of supervised training on Batch sequences of Prompt+New tokens: forward, backward, AdamW.
func Train(dev *kernels.Device, shape string, l Load) ([]Case, error) {
	m, err := fresh(dev, shape, l)
	if err != nil {
		return nil, err
	}
	trainer, err := sft.New(m, sft.Config{LearningRate: 1e-6, Optim: optim.Default(), MicroTokens: microTokens})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	batch := make([]sft.Sequence, l.Batch)
	for i := range batch {
		batch[i].IDs = ids(i, l.Prompt+l.New+1, m.Config().VocabSize) // the last is a target only
	}
	n := l.Prompt + l.New
	memory, err := planned(m, l, model.Work{TrainRows: min(l.Batch, max(1, microTokens/n)) * n})
	if err != nil {
		return nil, errors.Join(err, trainer.Close(), m.Close())
	}
	return []Case{{
		Planned: memory,
		Name:    fmt.Sprintf("train %s B%d T%d", shape, l.Batch, n), Unit: "tokens/s", Work: float64(l.Batch * n),
		Stages: training(costsOf(m.Config(), l.BF16), float64(l.Batch), float64(n)),
		Run: func(ctx context.Context) error {
			_, err := trainer.Step(ctx, batch)
			return err
		},
		Close: func() error { return errors.Join(trainer.Close(), m.Close()) },
	}}, nil
}

// training is 6 FLOP a parameter and token, three times the forward pass's attention, and AdamW's 32 bytes a parameter.
func training(k costs, sequences, n float64) []Stage {
	return []Stage{{FLOPs: 3 * sequences * n * (2*k.params + k.attention*(n+1)/2)}, {Bytes: 32 * k.params}}
}

// codec turns the decimal number of a prompt into its tokens.
type codec struct{ length, vocabulary int }

func (c codec) Encode(text string) ([]int32, error) {
	n, err := strconv.Atoi(text)
	return ids(n, c.length, c.vocabulary), err
}

func (codec) Decode([]int32) string { return "" }

// Step is a whole GRPO step (DAPO's setting: no reference model): rollout of Prompts prompts, Group samples of New tokens each, none of
// which ends early, rewards that differ inside each group, advantages, loss, backward, AdamW. Its tokens are the new ones. A sample
// without a group has its reward as advantage: the group's mean would leave nothing to train. On an exact device a step fails whose trainer computes another
// log-prob than the sampler, of any token and by any bit.
func Step(dev *kernels.Device, shape string, l Load) ([]Case, error) {
	m, err := fresh(dev, shape, l)
	if err != nil {
		return nil, err
	}
	config := grpo.DAPO()
	config.LearningRate, config.SharePrompt = 1e-6, l.SharePrompt
	if l.SharePrompt {
		config.MicroTokens = max(microTokens, l.Prompt+l.Group*l.New) // a group in one pass: a pass of fewer rows runs the prompt again
	}
	if l.Group == 1 {
		config.Advantages = grpo.Outcome(func(rewardsPG [][]float64) [][]float64 { return rewardsPG })
	}
	trainer, err := grpo.New(m, nil, config)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	engine := sampling.New(m, sampling.Options{Codec: codec{l.Prompt, m.Config().VocabSize}, Temperature: 1, MaxTokens: l.New, Seed: 1, EOS: []int32{}})
	problems := make([]reward.Problem, l.Prompts)
	for i := range problems {
		problems[i].Prompt = strconv.Itoa(i)
	}
	step := uint32(0) // what is drawn differs from step to step, or each would be guessed from the last
	return []Case{{
		Name: fmt.Sprintf("step %s prompts %d group %d prompt %d new %d%s", shape, l.Prompts, l.Group, l.Prompt, l.New, map[bool]string{true: " shared"}[l.SharePrompt]),
		Unit: "tokens/s", Work: float64(l.Prompts * l.Group * l.New), Stages: stepStages(costsOf(m.Config(), l.BF16), l),
		Run: func(ctx context.Context) error {
			step++
			return grpoStep(ctx, dev, engine, trainer, step, problems, l.Group)
		},
		Close: func() error { return errors.Join(trainer.Close(), m.Close()) },
	}}, nil
}

// stepStages are a GRPO step's: prompts once into the cache, the rollout's tokens one by one, the training pass, whose head sees the new
// tokens only, AdamW.
func stepStages(k costs, l Load) []Stage {
	prompts, seqs, prompt, fresh := float64(l.Prompts), float64(l.Prompts*l.Group), float64(l.Prompt), float64(l.New)
	body := k.params - k.head
	onePrompt := prompt * (2*body + k.attention*(prompt+1)/2)
	trained := seqs
	if l.SharePrompt {
		trained = prompts
	}
	forward := trained*onePrompt + seqs*fresh*(2*k.params+k.attention*(prompt+(fresh+1)/2))
	stages := []Stage{{FLOPs: prompts * onePrompt, Bytes: k.weightBytes}, {FLOPs: 3 * forward}, {Bytes: 32 * k.params}}
	for i := range l.New {
		keys := prompt + float64(i+1)
		stages = append(stages, Stage{FLOPs: seqs * (2*k.params + k.attention*keys), Bytes: k.weightBytes + (prompts*prompt+seqs*float64(i+1))*k.cacheBytes})
	}
	return stages
}

func grpoStep(ctx context.Context, dev *kernels.Device, engine *sampling.Engine, trainer *grpo.Trainer, step uint32, problems []reward.Problem, group int) error {
	groups, err := sampling.Rollout(ctx, engine, sampling.Request{Step: step, Problems: problems, Samples: group})
	if err != nil {
		return err
	}
	for i := range groups {
		for j := range groups[i].Samples {
			groups[i].Samples[j].Score = reward.Scored(float64(1 + j%3))
		}
	}
	st, err := trainer.Step(ctx, groups)
	if err == nil && dev.Exact() && st.Drift != 0 {
		err = fmt.Errorf("bench: %s breaks the execution contract: a log-prob of the trainer differs by %g from the sampler's", dev, st.Drift)
	}
	return err
}
