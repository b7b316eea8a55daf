package recipe

import (
	"context"
	"errors"
	"fmt"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/distill/traces"
	"github.com/gor1/gor1/reward/remote"
)

// Teacher is one behind a server, and how it is asked (mode traces).
type Teacher struct {
	URL       string         `key:"teacher_url" help:"a server's chat completions, e.g. https://api.deepseek.com/chat/completions; its key is R1_TEACHER_KEY"`
	Name      string         `key:"teacher_model" help:"the teacher's name there, e.g. deepseek-reasoner"`
	Names     []string       `key:"teacher_names" help:"further names that its replies may bear"`
	Samples   int            `key:"num_generations" help:"answers to each question"`
	Options   map[string]any `key:"teacher_options" help:"further fields of the request, such as {\"temperature\": 0.6}"`
	Reply     int            `key:"teacher_max_tokens" help:"tokens of a reply; 0: the server's own limit"`
	Reasoning bool           `key:"require_reasoning" help:"refuse replies without reasoning"`
	Stream    bool           `key:"teacher_stream" help:"ask for a stream, which keeps long replies alive through proxies"`
	Workers   int            `key:"teacher_concurrency" help:"questions asked at once" run:"-"`
	Attempts  int            `key:"teacher_attempts" help:"requests for one question, the first included" run:"-"`
	Budget    int            `key:"teacher_budget" help:"requests in all; 0: no limit" run:"-"`
	Retry     bool           `key:"retry_failed" help:"ask again what failed for good before" run:"-"`
}

func defaultTeacher() Teacher { return Teacher{Samples: 1, Reasoning: true, Workers: 8, Attempts: 6} }

// Questions are what a teacher is asked, in order.
func (g *Distill) Questions(ctx context.Context, from Sources) (*traces.Teacher, []traces.Question, error) {
	if g.URL == "" || g.Name == "" || g.Samples < 1 || g.Workers < 1 {
		return nil, nil, fmt.Errorf("recipe: mode traces needs teacher_url (%q) and teacher_model (%q), and at least 1 of num_generations (%d) and teacher_concurrency (%d); a teacher whose weights are here writes with r1 sample", g.URL, g.Name, g.Samples, g.Workers)
	}
	t, err := traces.New(traces.Config{
		URL: g.URL, Key: from.Key, Model: g.Name, Names: g.Names, MaxTokens: g.Reply, Options: g.Options, Reasoning: g.Reasoning, Stream: g.Stream,
		Limits: remote.Limits{Attempts: g.Attempts, Budget: int64(g.Budget)},
	})
	if err != nil {
		return nil, nil, err
	}
	names, _, err := g.sources()
	if err != nil {
		return nil, nil, err
	}
	var all []traces.Question
	for _, name := range names {
		table, err := g.read(ctx, name, g.TrainSplit, from)
		if err != nil {
			return nil, nil, err
		}
		for _, row := range table {
			messages, err := g.question(row)
			if err != nil {
				return nil, nil, err
			}
			for i := range g.Samples {
				all = append(all, traces.Question{ID: row.Place.String(), Messages: messages, Sample: i})
			}
		}
	}
	if len(all) == 0 {
		return nil, nil, errors.New("recipe: the data set has no rows")
	}
	return t, all, nil
}

// question is a row's prompt as messages.
func (g *Distill) question(row data.Row) ([]traces.Message, error) {
	c, err := lastAnswers(row).Content("prompt")
	if err != nil {
		return nil, err
	}
	if c.Messages == nil {
		return []traces.Message{{Role: "user", Content: c.Text}}, nil
	}
	var out []traces.Message
	for _, m := range c.Messages {
		out = append(out, traces.Message{Role: m.Role, Content: m.Content})
	}
	return out, nil
}
