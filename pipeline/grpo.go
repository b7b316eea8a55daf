package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

// GRPO is reinforcement learning as one stage: R1-Zero, R1's reasoning stage and its last one differ in data, rewards and constants.
type GRPO struct {
	Policy    *model.LM
	Ref       grpo.Policy // of the KL term; nil where Train.Loss.Beta is 0
	Train     grpo.Config
	Sample    sampling.Options
	Score     reward.Func      // judges each completion
	Compare   reward.GroupFunc // judges a group's completions against each other, and adds; nil: none
	Problems  *Stream[reward.Problem]
	Batch     Batch
	HeldOut   HeldOut
	Every     Every
	Alarms    Alarms
	Tripwires Tripwires
	Parts     []Part // what a checkpoint holds besides weights, optimiser and counters: the tokenizer's files, a reference
	Renew     Renew
	// Config is what the user asked for, recorded in checkpoints; resuming with another is refused.
	Config any
}

// Renew moves the reference while training: DeepSeek-R1 takes the policy over every 400 steps, TRL's sync_ref_model a share of it. The
// zero value leaves the reference as it is.
type Renew struct {
	Every int     // steps
	Share float64 // of the way to the policy; 1: all of it
	Ref   Model   // what a checkpoint must hold then
}

// Batch says how a step's groups are drawn.
type Batch struct {
	Prompts int // groups of a step
	Samples int // of each: G
	// Refill is dynamic sampling (DAPO, arXiv 2503.14476, eq. 11): groups whose rewards are all equal teach nothing; up to so many further
	// batches are drawn to replace them. 0: they stay.
	Refill int
	// Skip leaves out rows that were too hard or too easy when they were drawn last.
	Skip Skip
	// Replay adds up to so many earlier groups that taught something to every step, the newest first, each once: they are learnt from
	// with the log-probs they were drawn with, as a further epoch would. 0: none.
	Replay int
}

// Skip is a filter by difficulty. The zero value skips nothing.
type Skip struct {
	Low, High float64 // a row whose mean accuracy was at most Low, or at least High, is left out; High 0: none is
	Again     int     // epochs until it is tried again; 0: never
}

// Every says how often what happens, in steps; 0: never (but a checkpoint and an evaluation at the end).
type Every struct {
	Steps    int // of the whole stage
	Save     int // a checkpoint
	Keep     int // checkpoints that stay besides the best; 0: all
	Rollouts int // a file in rollouts/ with the step's completions
}

// grpoState is what the stage itself counts.
type grpoState struct {
	Cursor  uint64        `json:"cursor"`     // position in the stream
	Tokens  int64         `json:"num_tokens"` // trained so far
	Sampled int64         `json:"sampled"`    // tokens drawn so far
	Steps   int           `json:"steps"`
	Best    best          `json:"best"`
	Held    *Held         `json:"held,omitempty"` // of the last evaluation
	Skipped int           `json:"skipped"`        // steps in a row whose gradient was not finite
	Renewed int           `json:"renewed"`        // the step before which the reference was moved last
	Flat    flat          `json:"flat"`
	Trainer grpo.State    `json:"trainer"`
	Rates   map[int]rate  `json:"rates,omitempty"`  // of rows drawn so far, where Skip asks for them
	Skips   int64         `json:"skips"`            // rows left out so far
	Trips   []reward.Trip `json:"trips,omitempty"`  // what the probes earned before the first step
	Replay  []replayed    `json:"replay,omitempty"` // groups that can be learnt from again, the newest first
	Alarms  alarmState    `json:"alarms"`
}

// Result is how a stage ended.
type Result struct {
	Steps      int
	Checkpoint string // the folder of the last one
	Best       string // of the one with the best held-out score; the last one where nothing was held out
	Held       Held   // of the last evaluation
	Tokens     int64  // trained on
	Sampled    int64  // tokens drawn
	Collapsed  string // why the last checkpoint is worse than the best beyond doubt; empty: it is not
}

const maxSkipped = 5 // steps in a row without a finite gradient before the stage gives up

// Run trains, from the newest checkpoint in dir on where there is one.
func (g GRPO) Run(ctx context.Context, dir *run.Run, watch func(GRPOStep)) (res Result, err error) {
	if err := g.check(); err != nil {
		return res, err
	}
	trainer, err := grpo.New(g.Policy, g.Ref, g.Train)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, trainer.Close()) }()
	s := &grpoStage{GRPO: g, dir: dir, trainer: trainer, engine: sampling.New(g.Policy, g.Sample), watch: watch}
	if g.Renew.Every > 0 {
		g.Parts = append(g.Parts, Weights(g.Renew.Ref, "reference"))
	}
	loop := Loop{
		Dir: dir, Steps: g.Every.Steps, SaveEvery: g.Every.Save, Keep: g.Every.Keep, Config: g.Config, State: &s.state,
		Parts: append([]Part{Weights(g.Policy, ""), Moments(trainer.Optimizer()), controls{s}}, g.Parts...),
		Best:  func() (int64, bool) { return int64(s.state.Best.Step), s.state.Best.Set },
		Stop:  func() bool { return g.HeldOut.Converged > 0 && s.state.Flat.Row >= g.HeldOut.Converged },
	}
	loop.Watch = func(st Step) {
		if watch != nil {
			watch(GRPOStep{Step: st, Groups: s.groups, Stats: s.stats, Held: s.held, Alarms: s.alarms})
		}
	}
	if err := loop.Run(ctx, s.step); err != nil {
		return res, err
	}
	last := dir.Path(int64(s.state.Steps))
	res = Result{Steps: s.state.Steps, Checkpoint: last, Best: last}
	if s.state.Best.Set {
		res.Best = dir.Path(int64(s.state.Best.Step))
	}
	if s.state.Held != nil {
		res.Held = *s.state.Held
	}
	res.Tokens, res.Sampled = s.state.Tokens, s.state.Sampled
	if b := s.state.Best; b.Set && res.Held.High < b.Held.Low {
		res.Collapsed = fmt.Sprintf("held-out accuracy %.3f after %d steps, %.3f after %d", res.Held.Accuracy, res.Steps, b.Held.Accuracy, b.Step)
	}
	return res, nil
}

func (g GRPO) check() error {
	switch {
	case g.Policy == nil || g.Score == nil && g.Compare == nil || g.Problems == nil:
		return errors.New("pipeline: GRPO needs a policy, a reward and problems")
	case g.Problems.Len() == 0:
		return errors.New("pipeline: there are no problems to train on")
	case g.Batch.Prompts < 1 || g.Batch.Samples < 2:
		return fmt.Errorf("pipeline: %d prompts a step with %d samples each: want at least 1 and 2 (one sample has nothing to be compared with)", g.Batch.Prompts, g.Batch.Samples)
	case g.Renew.Every > 0 && (g.Renew.Ref == nil || g.Ref == nil || !(g.Renew.Share > 0 && g.Renew.Share <= 1)):
		return fmt.Errorf("pipeline: the reference is renewed every %d steps by a share of %g: want a reference and a share in (0, 1]", g.Renew.Every, g.Renew.Share)
	case g.Batch.Replay < 0 || !(g.Batch.Skip.Low >= 0 && g.Batch.Skip.High >= 0 && g.Batch.Skip.High <= 1) || g.Batch.Skip.Again < 0:
		return fmt.Errorf("pipeline: replay %d, skip %+v: out of range", g.Batch.Replay, g.Batch.Skip)
	case g.Batch.Refill < 0 || g.Every.Steps < 1 || g.Every.Save < 0 || g.Every.Keep < 0:
		return fmt.Errorf("pipeline: refill %d, steps %d, save every %d, keep %d: out of range", g.Batch.Refill, g.Every.Steps, g.Every.Save, g.Every.Keep)
	}
	return nil
}

// GRPOStep is what a stage tells of a step.
type GRPOStep struct {
	Step
	Groups []sampling.Group
	Stats  grpo.StepStats // Drift is NaN where groups were replayed
	Held   *Held          // of an evaluation after this step; nil: there was none
	Alarms []string       // what looks wrong, each with its number and what to do
}

type grpoStage struct {
	GRPO
	dir     *run.Run
	trainer *grpo.Trainer
	engine  *sampling.Engine // what it remembers changes no result: none of it is state
	state   grpoState
	watch   func(GRPOStep)

	drawn []sampling.Group // in the step at hand, those that Refill dropped too
	skips int64            // rows passed over in it

	// Of the step at hand, for watch.
	groups []sampling.Group
	stats  grpo.StepStats
	held   *Held
	alarms []string
}

// controls gives the trainer back what it remembered, which is in the stage's state.
type controls struct{ s *grpoStage }

func (c controls) Save(string) error { return nil }

func (c controls) Restore(string) error {
	c.s.trainer.SetState(c.s.state.Trainer)
	return nil
}

// step is one step of GRPO: problems, rollouts, rewards, update.
func (s *grpoStage) step(ctx context.Context, n int) ([]run.Field, error) {
	if r := s.Renew; r.Every > 0 && n > 0 && n%r.Every == 0 && s.state.Renewed < n {
		if err := grpo.MoveReference(s.Ref, s.Policy, r.Share); err != nil {
			return nil, err
		}
		s.state.Renewed = n
	}
	tripped, warnings, err := s.trip(ctx, n)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	groups, drawn, cursor, err := s.draw(ctx, n)
	if err != nil {
		return nil, untouched{err}
	}
	sampled := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	whole := context.WithoutCancel(ctx) // from here on the step is finished, whatever the signal
	again := s.replay()
	stats, err := s.trainer.Step(whole, append(slices.Clone(groups), again...))
	if errors.Is(err, grpo.ErrUnscored) {
		err = untouched{err}
	}
	if err != nil {
		return nil, err
	}
	trained := time.Now()
	if s.Policy.Device().Exact() && len(again) == 0 && stats.Drift != 0 {
		return nil, fmt.Errorf("the trainer's log-probs differ from the sampler's by up to %g: this must not happen; please report it with the model's config.json", stats.Drift)
	}
	if len(again) > 0 { // these were drawn with other weights: the difference says nothing of the engine
		stats.Drift = math.NaN()
	}
	s.groups, s.stats, s.held = groups, stats, nil
	s.state.Trainer = s.trainer.State()
	for _, g := range s.drawn {
		for _, q := range g.Samples {
			s.state.Sampled += int64(len(q.Tokens))
		}
	}
	s.remember(groups)
	s.state.Steps = n + 1
	s.state.Cursor, s.state.Tokens = cursor, s.state.Tokens+int64(stats.Trained)
	if s.state.Skipped++; stats.Skipped == 0 {
		s.state.Skipped = 0
	}
	if s.state.Skipped >= maxSkipped {
		return nil, fmt.Errorf("the gradient was not finite in %d steps in a row; lower the learning rate, or look at rollouts/ for what was sampled", maxSkipped)
	}
	if err := s.record(n, groups); err != nil {
		return nil, err
	}
	fields := append(metrics(groups, stats),
		run.Field{Name: "num_tokens", Value: s.state.Tokens}, run.Field{Name: "groups_drawn", Value: drawn}, run.Field{Name: "rows_skipped", Value: s.state.Skips}, run.Field{Name: "groups_replayed", Value: len(again)},
		run.Field{Name: "epoch", Value: float64(cursor) / float64(s.Problems.Len())},
		run.Field{Name: "time/rollout", Value: sampled.Sub(started).Seconds()}, run.Field{Name: "time/train", Value: trained.Sub(sampled).Seconds()})
	if s.HeldOut.due(n+1, s.Every.Steps) {
		held, err := s.HeldOut.Measure(whole, s.Policy, s.Sample)
		if err != nil {
			return nil, err
		}
		s.held, s.state.Held = &held, &held
		s.state.Best.offer(n+1, held)
		s.state.Flat.offer(held)
		fields = append(fields, held.fields()...)
	}
	s.alarms = s.Alarms.look(&s.state.Alarms, stats, samplesOf(groups)+samplesOf(again), s.held)
	fields, s.alarms = append(fields, tripped...), append(s.alarms, warnings...)
	if len(s.alarms) > 0 {
		fields = append(fields, run.Field{Name: "alarms", Value: s.alarms})
	}
	return fields, nil
}

// record writes a step's completions to rollouts/step-<n>.jsonl, one a line.
func (s *grpoStage) record(n int, groups []sampling.Group) error {
	if s.Every.Rollouts == 0 || n%s.Every.Rollouts != 0 {
		return nil
	}
	return s.dir.WriteFile(rolloutsFile(n), func(w io.Writer) error { return writeRollouts(w, s.Sample.Codec, groups) })
}

// rolloutRow is one line of a file of rollouts.
type rolloutRow struct {
	Step       uint32             `json:"step"`
	Row        uint32             `json:"row"`
	Sample     int                `json:"sample"`
	ID         string             `json:"id,omitempty"`
	Prompt     string             `json:"prompt"`
	Completion string             `json:"completion"`
	Answer     string             `json:"answer,omitempty"`
	Reward     *float64           `json:"reward"` // null: not scored
	Parts      map[string]float64 `json:"parts,omitempty"`
	Errors     map[string]string  `json:"errors,omitempty"` // of rewards, why they scored nothing
	Stop       string             `json:"stop"`
	Tokens     int                `json:"tokens"`
}

func writeRollouts(w io.Writer, codec sampling.Codec, groups []sampling.Group) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, g := range groups {
		for i, q := range g.Samples {
			row := rolloutRow{Step: g.Step, Row: g.Row, Sample: i, ID: g.Problem.ID, Prompt: g.Problem.Prompt, Completion: q.Text(codec), Answer: g.Problem.Answer, Stop: q.Stop.String(), Tokens: len(q.Tokens)}
			if v, ok := q.Score.Value(); ok {
				row.Reward = &v
			}
			for _, p := range q.Parts {
				if v, ok := p.Score.Value(); ok {
					if row.Parts == nil {
						row.Parts = map[string]float64{}
					}
					row.Parts[p.Name] = v
				} else if p.Err != "" {
					if row.Errors == nil {
						row.Errors = map[string]string{}
					}
					row.Errors[p.Name] = p.Err
				}
			}
			if err := enc.Encode(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func samplesOf(groups []sampling.Group) (n int) {
	for _, g := range groups {
		n += len(g.Samples)
	}
	return n
}
