package toy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// Problem is the question as rewards see it; its task is a column.
func (q Question) Problem() reward.Problem {
	return reward.Problem{ID: q.key(), Prompt: q.Prompt(), Answer: q.Answer, Columns: map[string]any{"kind": q.Kind.String()}}
}

// Problems are the questions' problems.
func Problems(qs []Question) []reward.Problem {
	ps := make([]reward.Problem, len(qs))
	for i, q := range qs {
		ps[i] = q.Problem()
	}
	return ps
}

// Score is the example's reward: the right answer, and a fifth for the format.
func Score() reward.Func { return reward.Sum(reward.Accuracy, reward.Weight(0.2, reward.Format)) }

// Report is how a policy does on a set of problems. Shares are of 1, lengths in tokens with the end-of-sequence token.
type Report struct {
	N                        int
	Accuracy, Format, Length float64
	SmallSteps               float64            // share of responses that work before they answer
	PassK                    float64            // share of problems with a right sample among those drawn
	Kind                     map[string]float64 // accuracy by task
	Groups                   []sampling.Group   // the responses
}

// Interval is the half-width of the accuracy's 95 % interval (normal approximation).
func (r Report) Interval() float64 {
	return 1.96 * math.Sqrt(float64(r.Accuracy*(1-r.Accuracy))/float64(max(r.N, 1)))
}

// evalStep is the step number in the counters of evaluations: far from any training step, so no draw is used twice.
const evalStep = 1 << 30

// Evaluate draws samples of each problem and judges them.
func Evaluate(ctx context.Context, e *sampling.Engine, problems []reward.Problem, samples int) (Report, error) {
	score := reward.Sum(reward.Accuracy, reward.Format)
	groups, err := sampling.Rollout(ctx, e, sampling.Request{Step: evalStep, Problems: problems, Samples: samples, Score: score})
	if err != nil {
		return Report{}, err
	}
	r := Report{N: len(problems) * samples, Kind: map[string]float64{}, Groups: groups}
	total := map[string]float64{}
	for _, g := range groups {
		kind, _ := g.Problem.Columns["kind"].(string)
		passed := 0.0
		for _, s := range g.Samples {
			part := map[string]float64{}
			for _, p := range s.Parts {
				part[p.Name], _ = p.Score.Value()
			}
			r.Accuracy += part["accuracy"]
			r.Format += part["format"]
			r.Length += float64(len(s.Tokens))
			r.Kind[kind] += part["accuracy"]
			total[kind]++
			passed = max(passed, part["accuracy"])
			if reasoning, _, ok := reward.Parse(Codec{}.Decode(s.Tokens[:max(0, len(s.Tokens)-1)])); ok && strings.ContainsAny(reasoning, "=<>123456789") {
				r.SmallSteps++
			}
		}
		r.PassK += passed
	}
	n := float64(max(r.N, 1))
	r.Accuracy, r.Format, r.Length, r.SmallSteps, r.PassK = r.Accuracy/n, r.Format/n, r.Length/n, r.SmallSteps/n, r.PassK/float64(max(len(problems), 1))
	for kind, t := range total {
		r.Kind[kind] /= t
	}
	return r, nil
}

// Forced is the accuracy by task when the first small step is given and the rest drawn at temperature 1: whether the policy can
// work in small steps, apart from whether it does. e must sample at temperature 1.
func Forced(ctx context.Context, e *sampling.Engine, qs []Question) ([Kinds]float64, error) {
	problems := Problems(qs)
	for i, q := range qs {
		problems[i].Columns["given"] = "<think>" + q.FirstStep()
		problems[i].Prompt += "<think>" + q.FirstStep()
	}
	score := func(ctx context.Context, s reward.Sample) (reward.Score, error) {
		s.Completion = s.Problem.Columns["given"].(string) + s.Completion
		return reward.Accuracy(ctx, s)
	}
	var right, n [Kinds]float64
	groups, err := sampling.Rollout(ctx, e, sampling.Request{Step: evalStep + 1, Problems: problems, Samples: 1, Score: score})
	for i, g := range groups {
		v, _ := g.Samples[0].Score.Value()
		right[qs[i].Kind] += v
		n[qs[i].Kind]++
	}
	for k := range right {
		right[k] /= max(n[k], 1)
	}
	return right, err
}

// ReadProblems reads rows {"prompt": question, "answer": reference}, one a line; the question is put into the template. An
// error names the file, the line and the field.
func ReadProblems(path string) ([]reward.Problem, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("toy: %w", err)
	}
	var out []reward.Problem
	s := bufio.NewScanner(bytes.NewReader(text))
	for line := 1; s.Scan(); line++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var row struct {
			Prompt *string `json:"prompt"`
			Answer any     `json:"answer"`
		}
		if err := json.Unmarshal(s.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("toy: %s line %d: %w", path, line, err)
		}
		answer := fmt.Sprint(row.Answer)
		switch {
		case row.Prompt == nil || *row.Prompt == "":
			return nil, fmt.Errorf("toy: %s line %d: field \"prompt\" is missing or empty", path, line)
		case row.Answer == nil || answer == "":
			return nil, fmt.Errorf("toy: %s line %d: field \"answer\" is missing or empty", path, line)
		}
		prompt := Prompt(*row.Prompt)
		if _, err := (Codec{}).Encode(prompt); err != nil {
			return nil, fmt.Errorf("%s line %d: field \"prompt\": %w", path, line, err)
		}
		out = append(out, reward.Problem{ID: fmt.Sprint("line ", line), Prompt: prompt, Answer: answer, Columns: map[string]any{"kind": "file"}})
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("toy: %s: %w", path, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("toy: %s has no rows; want lines like {\"prompt\":\"3+4=?\",\"answer\":\"7\"}", path)
	}
	return out, nil
}

// WriteReport writes one line a problem: prompt, answer, response, whether it is right, and the tokens' number.
func WriteReport(path string, r Report) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, g := range r.Groups {
		for _, s := range g.Samples {
			correct := false
			for _, p := range s.Parts {
				if v, _ := p.Score.Value(); p.Name == "accuracy" {
					correct = v == 1
				}
			}
			row := map[string]any{
				"prompt": g.Problem.Prompt, "answer": g.Problem.Answer, "response": Codec{}.Decode(s.Tokens), "correct": correct, "tokens": len(s.Tokens),
				"kind": g.Problem.Columns["kind"], "stop": s.Stop.String(),
			}
			if err := enc.Encode(row); err != nil {
				return fmt.Errorf("toy: %w", err)
			}
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("toy: %w", err)
	}
	return nil
}
