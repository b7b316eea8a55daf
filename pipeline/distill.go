package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gor1/gor1/distill"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// Distill teaches a student by its teachers' distributions, as one stage: on fixed texts, on the student's own samples, or on a mix of
// both as GKD has it (arXiv 2306.13649, algorithm 1). Student and teachers are in this process.
type Distill struct {
	Student *model.LM
	Lessons []Lesson
	Train   distill.Config
	Batch   int // sequences of an optimiser step
	// OnPolicy is GKD's lambda: the share of the steps whose completions the student draws itself. Which steps those are depends on the seed
	// and the step's number alone.
	OnPolicy float64
	Sample   sampling.Options // of the student's draws; Codec plays no part; its Seed is also that of the choice of steps
	HeldOut  []sft.Sequence   // what the student's loss is measured on; nil: nothing
	Every    Every            // Rollouts plays no part
	Eval     int              // steps between measurements; 0: only after the last
	Parts    []Part
	Config   any // what the user asked for, recorded in checkpoints
}

// Lesson is a teacher with the texts it is for. A step is of one lesson, drawn by the weights.
type Lesson struct {
	Teacher distill.Model
	Feed    Feed    // the tokens before the first that is learnt are the prompt, all of them where none is: such a row is for OnPolicy 1 only
	Weight  float64 // more than 0; it plays no part where there is one lesson
}

// distillState is what the stage itself counts.
type distillState struct {
	Feeds  []FeedState `json:"feeds"`
	Tokens int64       `json:"num_tokens"`
	losses
}

// DistillStep is what a stage tells of a step.
type DistillStep struct {
	Step
	Stats    distill.Stats
	OnPolicy bool          // the completions were the student's
	Lesson   int           // the step was of
	Samples  [][]int32     // the student's completions, where they were
	Measured *sft.Measured // of a measurement after this step; nil: there was none
	Tokens   int64         // rows that went through the student so far
}

// Run trains, from the newest checkpoint in dir on where there is one.
func (g Distill) Run(ctx context.Context, dir *run.Run, watch func(DistillStep)) (res SFTResult, err error) {
	if err := g.check(); err != nil {
		return res, err
	}
	teachers := make([]distill.Model, len(g.Lessons))
	for i, l := range g.Lessons {
		teachers[i] = l.Teacher
	}
	trainer, err := distill.New(g.Student, teachers, g.Train)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, trainer.Close()) }()
	s := &distillStage{Distill: g, trainer: trainer, state: distillState{Feeds: make([]FeedState, len(g.Lessons))}}
	loop := Loop{
		Dir: dir, Steps: g.Every.Steps, SaveEvery: g.Every.Save, Keep: g.Every.Keep, Config: g.Config, State: &s.state,
		Parts: append([]Part{Weights(g.Student, ""), Moments(trainer.Optimizer())}, g.Parts...),
		Best:  func() (int64, bool) { return int64(s.state.BestStep), s.state.Best },
		Watch: func(st Step) {
			if s.last.Step = st; watch != nil {
				watch(s.last)
			}
		},
	}
	if err := loop.Run(ctx, s.step); err != nil {
		return res, err
	}
	res.Steps, res.Checkpoint, res.Measured = g.Every.Steps, dir.Path(int64(g.Every.Steps)), s.measured
	if s.state.Last != nil {
		res.Measured = *s.state.Last
	}
	if res.Best = res.Checkpoint; s.state.Best {
		res.Best = dir.Path(int64(s.state.BestStep))
	}
	for _, f := range s.state.Feeds {
		res.Dropped += f.Dropped
	}
	return res, nil
}

func (g Distill) check() error {
	if g.Student == nil || len(g.Lessons) == 0 || g.Batch < 1 || g.Every.Steps < 1 {
		return fmt.Errorf("pipeline: distillation needs a student, at least 1 lesson (%d), a batch of at least 1 (%d) and at least 1 step (%d)", len(g.Lessons), g.Batch, g.Every.Steps)
	}
	if g.Every.Save < 0 || g.Every.Keep < 0 || g.Eval < 0 {
		return fmt.Errorf("pipeline: save every %d, keep %d, measure every %d: want 0 or more", g.Every.Save, g.Every.Keep, g.Eval)
	}
	if !(g.OnPolicy >= 0 && g.OnPolicy <= 1) {
		return fmt.Errorf("pipeline: the share of steps on the student's own samples is %g, want 0 to 1", g.OnPolicy)
	}
	for i, l := range g.Lessons {
		if l.Teacher == nil || l.Feed.Rows == nil || l.Feed.Prepare == nil || len(g.Lessons) > 1 && !(l.Weight > 0) {
			return fmt.Errorf("pipeline: lesson %d needs a teacher, rows, how to prepare them, and a weight of more than 0 (%g)", i, l.Weight)
		}
	}
	return nil
}

type distillStage struct {
	Distill
	trainer  *distill.Trainer
	state    distillState
	feeders  []*feeder // made when the state has been restored
	last     DistillStep
	measured sft.Measured
}

// step is one step: rows, the student's completions to their prompts where it is one of those steps, update.
func (s *distillStage) step(ctx context.Context, n int) ([]run.Field, error) {
	if s.feeders == nil {
		for i, l := range s.Lessons {
			s.feeders = append(s.feeders, &feeder{Feed: l.Feed, state: &s.state.Feeds[i]})
		}
	}
	lesson, own := s.choose(n)
	rows, err := s.feeders[lesson].next(ctx, s.Batch)
	if err != nil {
		return nil, untouched{err}
	}
	s.last = DistillStep{OnPolicy: own, Lesson: lesson}
	cut := 0
	if own {
		if rows, cut, err = s.draw(ctx, n, rows); err != nil {
			return nil, untouched{err}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	batch := make([]distill.Example, len(rows))
	for i, q := range rows {
		batch[i] = distill.Example{Sequence: q, Teacher: lesson}
	}
	whole := context.WithoutCancel(ctx)
	st, err := s.trainer.Step(whole, batch)
	if err != nil {
		return nil, err
	}
	s.feeders[lesson].commit()
	s.state.Tokens += int64(st.Tokens)
	s.last.Stats, s.last.Tokens = st, s.state.Tokens
	fields := []run.Field{
		{Name: "loss", Value: st.Divergence + s.Train.Likelihood*st.Likelihood}, {Name: "divergence", Value: st.Divergence}, {Name: "nll", Value: st.Likelihood}, {Name: "entropy", Value: st.Entropy},
		{Name: "grad_norm", Value: st.GradNorm}, {Name: "learning_rate", Value: st.LearningRate}, {Name: "num_tokens", Value: s.state.Tokens}, {Name: "targets", Value: st.Targets},
		{Name: "on_policy", Value: own}, {Name: "lesson", Value: lesson},
	}
	if own {
		fields = append(fields, run.Field{Name: "completions/mean_length", Value: float64(st.Targets) / float64(len(rows))}, run.Field{Name: "completions/clipped_ratio", Value: float64(cut) / float64(len(rows))})
	}
	if len(s.HeldOut) > 0 && (n+1 == s.Every.Steps || s.Eval > 0 && (n+1)%s.Eval == 0) {
		m, err := sft.Measure(whole, s.Student, s.HeldOut, cmp.Or(s.Train.MicroTokens, 2048))
		if err != nil {
			return nil, err
		}
		s.last.Measured, s.measured = &m, m
		s.state.note(n+1, m)
		fields = append(fields, run.Field{Name: "eval_loss", Value: m.Loss}, run.Field{Name: "eval_mean_token_accuracy", Value: m.Accuracy}, run.Field{Name: "eval_entropy", Value: m.Entropy})
	}
	return fields, nil
}

// choose draws a step's lesson, and whether the student writes its completions.
func (s *distillStage) choose(n int) (lesson int, own bool) {
	w := kernels.Philox([2]uint32{uint32(s.Sample.Seed), uint32(s.Sample.Seed >> 32)}, [4]uint32{uint32(n), 0, 0, 0x64697374})
	own = float64(w[0])/(1<<32) < s.OnPolicy
	total := 0.0
	for _, l := range s.Lessons {
		total += l.Weight
	}
	at := float64(w[1]) / (1 << 32) * total
	for lesson < len(s.Lessons)-1 && at >= s.Lessons[lesson].Weight {
		at -= s.Lessons[lesson].Weight
		lesson++
	}
	return lesson, own
}

// draw replaces the rows' completions by the student's own.
func (s *distillStage) draw(ctx context.Context, n int, rows []sft.Sequence) (own []sft.Sequence, cut int, err error) {
	prompts := make(idCodec, len(rows))
	problems := make([]reward.Problem, len(rows))
	for i, q := range rows {
		prompts[i] = prompt(q)
		problems[i].Prompt = strconv.Itoa(i)
		if len(prompts[i]) == 0 {
			return nil, 0, errors.New("a row has no prompt to which the student could write: give rows with prompt and completion, or set lmbda to 0")
		}
	}
	o := s.Sample
	o.Codec = prompts
	groups, err := sampling.Rollout(ctx, sampling.New(s.Student, o), sampling.Request{Step: uint32(n), Problems: problems, Samples: 1})
	if err != nil {
		return nil, 0, err
	}
	for _, g := range groups {
		q := g.Samples[0]
		if q.Stop == sampling.StopLength {
			cut++
		}
		weights := make([]float32, len(g.Prompt)+len(q.Tokens))
		for i := len(g.Prompt); i < len(weights); i++ {
			weights[i] = 1
		}
		own = append(own, sft.Sequence{IDs: slices.Concat(g.Prompt, q.Tokens), Weights: weights})
		s.last.Samples = append(s.last.Samples, q.Tokens)
	}
	return own, cut, nil
}

// prompt is what stands before the first token that is learnt.
func prompt(q sft.Sequence) []int32 {
	if q.Weights == nil {
		return nil
	}
	n := slices.IndexFunc(q.Weights, func(w float32) bool { return w != 0 })
	if n < 0 {
		n = len(q.IDs)
	}
	return q.IDs[:n]
}

// idCodec gives the sampler prompts that are ids already: the text of one is its number.
type idCodec [][]int32

func (c idCodec) Encode(text string) ([]int32, error) {
	i, err := strconv.Atoi(text)
	if err != nil || i < 0 || i >= len(c) {
		return nil, fmt.Errorf("pipeline: there is no prompt %q", text)
	}
	return c[i], nil
}

func (c idCodec) Decode([]int32) string { return "" }
