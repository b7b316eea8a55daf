package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/gor1/gor1/eval"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// Preflight is what a stage looks like before its first step: the policy's answers to some of its own problems.
type Preflight struct {
	Prompts, Samples int
	Reward           float64            // mean of the scored samples
	Parts            map[string]float64 // mean of each named reward
	Unscored         float64            // share of samples that could not be judged
	Truncated        float64            // share cut at the length limit
	ZeroStd          float64            // share of groups whose rewards are all equal: they teach nothing
	Length           float64            // tokens, mean
	Seconds          float64            // that sampling one step's batch will take at this pace
	Findings         []Finding
	Groups           []sampling.Group
}

// Finding is something that is wrong with a run before it begins.
type Finding struct {
	Fatal bool   // nothing can be learnt like this
	What  string // with its number
	Fix   string
}

// String is the finding in one sentence.
func (f Finding) String() string { return f.What + ": " + f.Fix }

// Err is an error with the fatal findings, or nil.
func (p Preflight) Err() error {
	text := ""
	for _, f := range p.Findings {
		if f.Fatal {
			text += "\n  " + f.String()
		}
	}
	if text == "" {
		return nil
	}
	return fmt.Errorf("pipeline: nothing can be learnt from this run as it is:%s", text)
}

// preflightStep is the step number in its counters: no training step and no evaluation has it.
const preflightStep = eval.Step - 1

// Preflight samples up to n problems as a step would and says what it saw. It changes nothing.
func (g GRPO) Preflight(ctx context.Context, n int, progress func(done, total int)) (Preflight, error) {
	if err := g.check(); err != nil {
		return Preflight{}, err
	}
	n = min(n, g.Problems.Len())
	problems := make([]reward.Problem, n)
	for i := range problems {
		problems[i], _ = g.Problems.At(uint64(i))
	}
	from := time.Now()
	groups, err := sampling.Rollout(ctx, sampling.New(g.Policy, g.Sample), sampling.Request{Step: preflightStep, Problems: problems, Samples: g.Batch.Samples, Score: g.Score, Compare: g.Compare, Progress: progress})
	if err != nil {
		return Preflight{}, err
	}
	p := Preflight{Prompts: n, Samples: g.Batch.Samples, Parts: map[string]float64{}, Groups: groups, Seconds: time.Since(from).Seconds() * float64(g.Batch.Prompts) / float64(n)}
	p.count()
	p.judge(g)
	return p, nil
}

func (p *Preflight) count() {
	total, scored, counts := 0.0, 0.0, map[string]float64{}
	for _, g := range p.Groups {
		if !teaches(g) {
			p.ZeroStd += 1 / float64(len(p.Groups))
		}
		for _, s := range g.Samples {
			total++
			p.Length += float64(len(s.Tokens))
			if s.Stop == sampling.StopLength {
				p.Truncated++
			}
			if v, ok := s.Score.Value(); ok {
				p.Reward += v
				scored++
			}
			for _, part := range s.Parts {
				if v, ok := part.Score.Value(); ok {
					p.Parts[part.Name] += v
					counts[part.Name]++
				}
			}
		}
	}
	for name, c := range counts {
		p.Parts[name] /= c
	}
	p.Unscored, p.Truncated, p.Length = 1-scored/total, p.Truncated/total, p.Length/total
	p.Reward /= max(scored, 1)
}

// cause is the first error of a reward, and its name; empty: none said anything.
func (p *Preflight) cause() (name, text string) {
	for _, g := range p.Groups {
		for _, s := range g.Samples {
			for _, part := range s.Parts {
				if part.Err != "" {
					return part.Name, part.Err
				}
			}
		}
	}
	return "", ""
}

// judge lists what is wrong, the causes before their effects.
func (p *Preflight) judge(g GRPO) {
	find := func(fatal bool, fix, what string, args ...any) {
		p.Findings = append(p.Findings, Finding{fatal, fmt.Sprintf(what, args...), fix})
	}
	fix := "look at the answer column (dataset_answer_column)"
	if name, cause := p.cause(); cause != "" {
		fix = fmt.Sprintf("the reward %s says %q", name, cause)
	} else if p.Unscored == 1 {
		fix += fmt.Sprintf("; the first problem's answer reads as %.60q", p.Groups[0].Problem.Answer)
	}
	switch {
	case p.Unscored == 1:
		find(true, fix, "no completion could be scored")
		return
	case p.Unscored > 0.5:
		find(true, fix, "%.0f %% of the completions could not be scored", 100*p.Unscored)
	case p.Unscored > 0.05:
		find(false, "their samples are left out; "+fix, "%.0f %% of the completions could not be scored", 100*p.Unscored)
	}
	switch {
	case p.Truncated > 0.5:
		find(true, fmt.Sprintf("raise max_completion_length above %d, or check that the prompt's template makes the model stop", g.Sample.MaxTokens), "%.0f %% of the completions are cut at the length limit", 100*p.Truncated)
	case p.Truncated > 0.1:
		find(false, "raise max_completion_length, or set mask_truncated_completions", "%.0f %% of the completions are cut at the length limit", 100*p.Truncated)
	}
	right, known := p.Parts["accuracy"]
	switch {
	case p.ZeroStd < 1:
	case known && right >= 1:
		find(true, "the policy answers all of them already: use harder problems", "every group's rewards are equal, at accuracy 1")
		return
	case known && right == 0:
		find(true, "the policy answers none: use easier problems, more samples (num_generations), a cold start by SFT, or check that the answer column and the prompt's template are the right ones", "every group's rewards are equal, at accuracy 0")
		return
	default:
		find(true, "the reward does not tell completions apart: use other problems, more samples (num_generations) or another reward", "every group's rewards are equal, at %.3g", p.Reward)
		return
	}
	if p.ZeroStd > 0.8 {
		find(false, "raise num_generations or set dynamic_sampling", "%.0f %% of the groups have equal rewards and teach nothing", 100*p.ZeroStd)
	}
	if known && right == 0 {
		find(false, "what differs is not the accuracy: the policy may learn the rest and never an answer; check the answer column, use easier problems or a cold start by SFT", "no completion is right")
	}
}
