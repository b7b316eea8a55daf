package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

// When a policy is measured.
const (
	Before = "before"
	After  = "after"
)

// heldOut is how many held-out problems a measurement has, and passK how many samples of each the base's pass@k has.
const (
	heldOut    = 1000
	heldSeed   = 20250120
	passK      = 16
	maxTokens  = 64
	tableEvery = 20 // steps between lasting lines
)

// Live shows a run as it goes and keeps what it will report.
type Live struct {
	o     Options
	dir   *run.Run
	dev   *kernels.Device
	line  *progress.Line
	start time.Time
	peak  float64 // measured fp32 FLOP/s
	n     int     // held-out problems of a measurement

	result                  map[string]any
	measured                map[string][2]toy.Report // at temperature 1, greedy
	shown                   map[string][2]string     // answers to the post's own questions
	steps, accuracy, format []float64
	length, reward          []float64
	last                    time.Time
}

// NewLive begins a run and prints the machine's measured limit.
func NewLive(dev *kernels.Device, dir *run.Run, o Options) *Live {
	l := &Live{o: o, dir: dir, dev: dev, n: heldOut, line: &progress.Line{}, start: time.Now(), result: map[string]any{}, measured: map[string][2]toy.Report{}, shown: map[string][2]string{}}
	if f, ok := o.stdout.(*os.File); ok {
		l.line = progress.New(f)
	}
	l.peak, _ = dev.Measure(kernels.PeakF32, 0.2)
	l.line.Print("gor1 r1zero: seed %d, %s, measured fp32 peak %.0f GFLOP/s", o.Seed, dev, l.peak/1e9)
	return l
}

// Base makes the base model, or takes it from the cache.
func (l *Live) Base(ctx context.Context, dev *kernels.Device) (*model.LM, error) {
	l.line.Begin()
	params := float64(toy.BaseConfig().ParamCount())
	m, made, err := toy.Base(ctx, dev, toy.DefaultPretraining(l.o.Seed), l.o.cacheDir(), func(share, loss, rate float64) {
		l.line.Show(share, "pre-training %3.0f %% | loss %.3f | %.0fk tok/s (%.0f %% of peak)", 100*share, loss, rate/1000, 100*6*params*rate/l.peak)
	})
	if err != nil {
		return nil, err
	}
	if made {
		l.line.Print("base model: %.0f thousand parameters, read %.1f million tokens in %.0f s", params/1e3, float64(toy.DefaultPretraining(l.o.Seed).Tokens())/1e6, time.Since(l.start).Seconds())
	} else {
		l.line.Print("base model: %.0f thousand parameters, from the cache (%s)", params/1e3, l.o.cacheDir())
	}
	docs, templates := toy.CorpusDocs(l.o.Seed, 500_000)
	l.result["template_share"] = float64(templates) / float64(len(docs))
	return m, nil
}

func engine(m *model.LM, temperature float32, seed uint64) *sampling.Engine {
	return sampling.New(m, sampling.Options{Codec: toy.Codec{}, Temperature: temperature, MaxTokens: maxTokens, Seed: seed})
}

// Measure answers the held-out problems at temperature 1 and greedily, and the post's two questions.
func (l *Live) Measure(ctx context.Context, m *model.LM, when string) error {
	problems := toy.Problems(toy.Questions(toy.HeldOut, heldSeed, l.n))
	one, err := toy.Evaluate(ctx, engine(m, 1, l.o.Seed), problems, 1)
	if err != nil {
		return err
	}
	greedy, err := toy.Evaluate(ctx, engine(m, 0, l.o.Seed), problems, 1)
	if err != nil {
		return err
	}
	l.measured[when] = [2]toy.Report{one, greedy}
	l.result["accuracy_"+when], l.result["greedy_"+when] = one.Accuracy, greedy.Accuracy
	l.result["length_"+when], l.result["format_"+when] = one.Length, one.Format
	if when == Before {
		k, err := toy.Evaluate(ctx, engine(m, 1, l.o.Seed+1), problems, passK)
		if err != nil {
			return err
		}
		l.result["base_pass16"] = k.PassK
	}
	post, err := toy.Evaluate(ctx, engine(m, 0, l.o.Seed), toy.Problems([]toy.Question{toy.Strawberry, toy.Greater}), 1)
	if err != nil {
		return err
	}
	var answers [2]string
	for i, g := range post.Groups {
		answers[i] = toy.Codec{}.Decode(g.Samples[0].Tokens)
	}
	l.shown[when] = answers
	l.line.Print("%s RL: %.1f %% right at temperature 1, %.1f %% greedy, %.1f tokens a response", when, 100*one.Accuracy, 100*greedy.Accuracy, one.Length)
	l.line.Begin()
	l.last = time.Now()
	return nil
}

// Step shows and records one GRPO step.
func (l *Live) Step(step int, groups []sampling.Group, st grpo.StepStats) error {
	accuracy, format := means(groups)
	l.steps = append(l.steps, float64(step))
	l.accuracy, l.format = append(l.accuracy, accuracy), append(l.format, format)
	l.length, l.reward = append(l.length, st.MeanLength), append(l.reward, st.Reward)
	l.line.Show(float64(step+1)/float64(l.o.Steps), "step %3d/%d | reward %.2f | right %3.0f %% | format %3.0f %% | length %.1f | entropy %.2f",
		step+1, l.o.Steps, st.Reward, 100*accuracy, 100*format, st.MeanLength, st.Entropy)
	if (step+1)%tableEvery == 0 {
		n := min(tableEvery, len(l.accuracy))
		l.line.Print("  steps %3d-%3d: %5.1f %% right, %5.1f %% well-formed, %4.1f tokens", step+2-n, step+1, 100*mean(l.accuracy, n), 100*mean(l.format, n), mean(l.length, n))
	}
	now := time.Now()
	seconds := now.Sub(l.last).Seconds()
	l.last = now
	return l.dir.Metrics(int64(step), []run.Field{
		{Name: "reward", Value: st.Reward}, {Name: "reward_std", Value: st.RewardStd}, {Name: "rewards/accuracy/mean", Value: accuracy}, {Name: "rewards/format/mean", Value: format},
		{Name: "completions/mean_length", Value: st.MeanLength}, {Name: "completions/clipped_ratio", Value: st.Truncated}, {Name: "frac_reward_zero_std", Value: st.ZeroStd},
		{Name: "entropy", Value: st.Entropy}, {Name: "loss", Value: st.Loss}, {Name: "grad_norm", Value: st.GradNorm}, {Name: "learning_rate", Value: st.LearningRate},
		{Name: "num_tokens", Value: st.Trained}, {Name: "sampling/sampling_logp_difference/max", Value: st.MaxDrift}, {Name: "unscored", Value: st.Unscored},
		{Name: "step_time", Value: seconds}, {Name: "seconds", Value: now.Sub(l.start).Seconds()},
	}...)
}

// means are the mean accuracy and format of a batch.
func means(groups []sampling.Group) (accuracy, format float64) {
	sum, n := map[string]float64{}, 0.0
	for _, g := range groups {
		for _, s := range g.Samples {
			n++
			for _, p := range s.Parts {
				v, _ := p.Score.Value()
				sum[p.Name] += v
			}
		}
	}
	return sum["accuracy"] / max(n, 1), sum["format"] / max(n, 1)
}

// mean is the mean of the last n values.
func mean(v []float64, n int) float64 {
	sum := 0.0
	for _, x := range v[len(v)-n:] {
		sum += x
	}
	return sum / float64(max(n, 1))
}

// Interrupted saves the policy when a signal ended the training; any other error is passed on.
func (l *Live) Interrupted(ctx context.Context, m *model.LM, err error) error {
	if !errors.Is(err, context.Canceled) || ctx.Err() == nil {
		return err
	}
	l.line.Clear()
	if err := l.dir.Commit(int64(len(l.steps)), m.Save); err != nil {
		return err
	}
	return fmt.Errorf("interrupted after %d steps; the policy is in %s", len(l.steps), l.dir.Path(int64(len(l.steps))))
}

// Finish saves everything and prints the closing table.
func (l *Live) Finish(m *model.LM) error {
	if err := l.dir.Commit(int64(l.o.Steps), m.Save); err != nil {
		return err
	}
	greedy := l.measured[After][1]
	if l.o.eval != nil {
		r, err := toy.Evaluate(context.Background(), engine(m, 1, l.o.Seed), l.o.eval, 1)
		if err != nil {
			return err
		}
		l.result["eval_accuracy"], greedy = r.Accuracy, r
		l.line.Print("%s: %.1f %% right (± %.1f) of %d at temperature 1", l.o.Eval, 100*r.Accuracy, 100*r.Interval(), r.N)
	}
	if err := toy.WriteReport(filepath.Join(l.dir.Dir(), "eval.jsonl"), greedy); err != nil {
		return err
	}
	picture := filepath.Join(l.dir.Dir(), "curves.svg")
	if err := run.WriteCurves(picture, fmt.Sprintf("R1-Zero in miniature: GRPO with two rule rewards, seed %d", l.o.Seed), l.panels()); err != nil {
		return err
	}
	l.table()
	seconds := time.Since(l.start).Seconds()
	l.line.Print("done in %.0f s; %s: metrics.jsonl, %s, eval.jsonl, curves.svg", seconds, l.dir.Dir(), filepath.Base(l.dir.Path(int64(l.o.Steps))))
	l.result["seed"], l.result["steps"], l.result["seconds"], l.result["peak_gflops"] = l.o.Seed, l.o.Steps, seconds, l.peak/1e9
	l.result["reward_kind"] = l.o.Reward
	if l.o.JSON {
		text, err := json.Marshal(l.result)
		if err != nil {
			return err
		}
		fmt.Fprintln(l.o.stdout, string(text))
	}
	return nil
}

func (l *Live) panels() []run.Panel {
	line := func(name string, y []float64) run.Line { return run.Line{Name: name, X: l.steps, Y: run.Smooth(y, 7)} }
	return []run.Panel{
		{Title: "share of samples, training batch", Lines: []run.Line{line("right", l.accuracy), line("well-formed", l.format)}},
		{Title: "response length, tokens", Lines: []run.Line{line("length", l.length)}},
		{Title: "reward", Lines: []run.Line{line("reward", l.reward)}},
	}
}

func (l *Live) table() {
	b, a := l.measured[Before], l.measured[After]
	l.line.Print("\n%d held-out problems            before     after", l.n)
	row := func(name, format string, before, after float64) {
		l.line.Print("  %-28s"+format+format, name, before, after)
	}
	row("right, temperature 1, %", "%9.1f ", 100*b[0].Accuracy, 100*a[0].Accuracy)
	row("right, greedy, %", "%9.1f ", 100*b[1].Accuracy, 100*a[1].Accuracy)
	for _, kind := range []string{"chain", "letter", "decimal"} {
		row("  greedy, "+kind+", %", "%9.1f ", 100*b[1].Kind[kind], 100*a[1].Kind[kind])
	}
	row("well-formed, %", "%9.1f ", 100*b[0].Format, 100*a[0].Format)
	row("works before answering, %", "%9.1f ", 100*b[0].SmallSteps, 100*a[0].SmallSteps)
	row("tokens a response", "%9.1f ", b[0].Length, a[0].Length)
	l.line.Print("  base's pass@%d: %.1f %%", passK, 100*l.result["base_pass16"].(float64))
	for i, q := range []toy.Question{toy.Strawberry, toy.Greater} {
		l.line.Print("\n%s\n  before: %q\n  after:  %q", q.Text, l.shown[Before][i], l.shown[After][i])
	}
	l.line.Print("")
}

// EvaluateCheckpoint answers a file of problems, or the held-out ones, with a saved policy.
func EvaluateCheckpoint(ctx context.Context, dev *kernels.Device, o Options) error {
	m, err := model.Load(dev, o.Checkpoint, model.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Config().VocabSize != toy.VocabSize {
		return fmt.Errorf("%s has a vocabulary of %d, the toy world of %d: it is not one of this example's checkpoints", o.Checkpoint, m.Config().VocabSize, toy.VocabSize)
	}
	problems, name := o.eval, o.Eval
	if problems == nil {
		problems, name = toy.Problems(toy.Questions(toy.HeldOut, heldSeed, heldOut)), "held-out problems"
	}
	result := map[string]any{"seed": o.Seed, "problems": len(problems)}
	for _, t := range []struct {
		name        string
		temperature float32
	}{{"accuracy", 1}, {"greedy", 0}} {
		r, err := toy.Evaluate(ctx, engine(m, t.temperature, o.Seed), problems, 1)
		if err != nil {
			return err
		}
		result[t.name], result[t.name+"_interval"] = r.Accuracy, r.Interval()
		fmt.Fprintf(o.stdout, "%s, temperature %g: %.1f %% right (± %.1f, 95 %%) of %d, %.1f tokens a response\n", name, t.temperature, 100*r.Accuracy, 100*r.Interval(), r.N, r.Length)
	}
	if o.JSON {
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		fmt.Fprintln(o.stdout, string(text))
	}
	return nil
}
