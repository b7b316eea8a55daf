package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sft"
)

// SFT is supervised fine-tuning as one stage: a cold start, the second round on reasoning and general data, a student on a teacher's
// traces.
type SFT struct {
	Policy  *model.LM
	Train   sft.Config
	Feed    Feed
	Batch   int            // packed rows of an optimiser step
	HeldOut []sft.Sequence // what the loss is measured on; nil: nothing
	Every   Every          // Rollouts plays no part
	Eval    int            // steps between measurements; 0: only after the last
	Parts   []Part
	Config  any // what the user asked for, recorded in checkpoints
}

// sftState is what the stage itself counts.
type sftState struct {
	Feed   FeedState `json:"feed"`
	Tokens int64     `json:"num_tokens"`
	losses
}

// losses are what a stage remembers of its held-out loss.
type losses struct {
	Best     bool    `json:"best"`
	BestStep int     `json:"best_step"`
	BestLoss float64 `json:"best_loss"`
	// Last is the last measurement, which a run that is found finished reports again; nil: there was none with finite numbers.
	Last *sft.Measured `json:"last,omitempty"`
}

// note takes a measurement after a step. One that is not finite is left out: a state is JSON, which has no NaN.
func (l *losses) note(step int, m sft.Measured) {
	if l.Last = nil; math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) {
		return
	}
	l.Last = &m
	if !l.Best || m.Loss < l.BestLoss {
		l.Best, l.BestStep, l.BestLoss = true, step, m.Loss
	}
}

// SFTStep is what a stage tells of a step.
type SFTStep struct {
	Step
	Stats    sft.Stats
	Tokens   int64         // so far
	Measured *sft.Measured // of a measurement after this step; nil: there was none
}

// SFTResult is how a stage ended.
type SFTResult struct {
	Steps      int
	Checkpoint string       // the folder of the last one
	Best       string       // of the one with the lowest held-out loss; the last one where nothing was held out
	Measured   sft.Measured // of the last measurement; zero where nothing was held out
	Dropped    int64        // rows in which nothing was to be learnt
}

// Run trains, from the newest checkpoint in dir on where there is one.
func (g SFT) Run(ctx context.Context, dir *run.Run, watch func(SFTStep)) (res SFTResult, err error) {
	if g.Policy == nil || g.Feed.Rows == nil || g.Feed.Prepare == nil || g.Batch < 1 || g.Every.Steps < 1 {
		return res, fmt.Errorf("pipeline: SFT needs a policy, rows, how to prepare them, a batch of at least 1 (%d) and at least 1 step (%d)", g.Batch, g.Every.Steps)
	}
	if g.Every.Save < 0 || g.Every.Keep < 0 || g.Eval < 0 {
		return res, fmt.Errorf("pipeline: save every %d, keep %d, measure every %d: want 0 or more", g.Every.Save, g.Every.Keep, g.Eval)
	}
	trainer, err := sft.New(g.Policy, g.Train)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, trainer.Close()) }()
	var state sftState
	var last SFTStep
	feeder := feeder{Feed: g.Feed, state: &state.Feed}
	loop := Loop{
		Dir: dir, Steps: g.Every.Steps, SaveEvery: g.Every.Save, Keep: g.Every.Keep, Config: g.Config, State: &state,
		Parts: append([]Part{Weights(g.Policy, ""), Moments(trainer.Optimizer())}, g.Parts...),
		Best:  func() (int64, bool) { return int64(state.BestStep), state.Best },
		Watch: func(s Step) {
			if last.Step = s; watch != nil {
				watch(last)
			}
		},
	}
	err = loop.Run(ctx, func(ctx context.Context, n int) ([]run.Field, error) {
		batch, err := feeder.next(ctx, g.Batch)
		if err != nil {
			return nil, untouched{err}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		whole := context.WithoutCancel(ctx)
		st, err := trainer.Step(whole, batch)
		if err != nil {
			return nil, err
		}
		feeder.commit()
		state.Tokens += int64(st.Tokens)
		last = SFTStep{Stats: st, Tokens: state.Tokens}
		fields := []run.Field{
			{Name: "loss", Value: st.Loss}, {Name: "grad_norm", Value: st.GradNorm}, {Name: "learning_rate", Value: st.LearningRate},
			{Name: "num_tokens", Value: state.Tokens}, {Name: "targets", Value: st.Targets}, {Name: "rows_dropped", Value: state.Feed.Dropped},
		}
		if len(g.HeldOut) > 0 && (n+1 == g.Every.Steps || g.Eval > 0 && (n+1)%g.Eval == 0) {
			m, err := sft.Measure(whole, g.Policy, g.HeldOut, g.Train.MicroTokens)
			if err != nil {
				return nil, err
			}
			last.Measured, res.Measured = &m, m
			state.note(n+1, m)
			fields = append(fields, run.Field{Name: "eval_loss", Value: m.Loss}, run.Field{Name: "eval_mean_token_accuracy", Value: m.Accuracy}, run.Field{Name: "eval_entropy", Value: m.Entropy})
		}
		return fields, nil
	})
	if err != nil {
		return res, err
	}
	if state.Last != nil {
		res.Measured = *state.Last
	}
	res.Steps, res.Checkpoint, res.Dropped = g.Every.Steps, dir.Path(int64(g.Every.Steps)), state.Feed.Dropped
	if res.Best = res.Checkpoint; state.Best {
		res.Best = dir.Path(int64(state.BestStep))
	}
	return res, nil
}
