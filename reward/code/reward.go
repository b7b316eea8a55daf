package code

import (
	"context"
	"strings"

	"github.com/gor1/gor1/reward"
)

// Code is the reward "code": the share of the problem's tests that the answer passes, 0..1. The answer is the last code
// block of the completion ([Extract]); a completion without one gets 0. A problem whose tests cannot be read, or a sandbox
// that fails, is an error: not scored.
func (g *Grader) Code(ctx context.Context, s reward.Sample) (reward.Score, error) {
	rep, err := g.sample(ctx, s)
	if err != nil || len(rep.Tests) == 0 {
		return reward.Score{}, err
	}
	return reward.Scored(float64(rep.Passed()) / float64(len(rep.Tests))), nil
}

// Binary is the reward "binary_code": 1 where the answer passes every test, else 0; otherwise as [Grader.Code].
func (g *Grader) Binary(ctx context.Context, s reward.Sample) (reward.Score, error) {
	rep, err := g.sample(ctx, s)
	switch {
	case err != nil:
		return reward.Score{}, err
	case rep.All():
		return reward.Scored(1), nil
	}
	return reward.Scored(0), nil
}

func (g *Grader) sample(ctx context.Context, s reward.Sample) (Report, error) {
	t, err := ParseTests(s.Problem)
	if err != nil {
		return Report{}, err
	}
	source := Extract(s.Completion, t.Language)
	if strings.TrimSpace(source) == "" {
		return Report{Tests: make([]Outcome, t.count())}, nil
	}
	return g.Grade(ctx, t, source)
}

// Extract returns an answer's code: the last fenced block that names the language lang, else the last fenced block,
// without the fences. Where the last fence is never closed (the completion was cut), or there is none, it is empty. Text
// before the last </think> is not looked at.
func Extract(completion, lang string) string {
	if i := strings.LastIndex(completion, "</think>"); i >= 0 {
		completion = completion[i+len("</think>"):]
	}
	var last, named string
	var block []string
	open, tag := "", ""
	for _, line := range strings.Split(completion, "\n") {
		trimmed := strings.TrimSpace(line)
		fence := fenceOf(trimmed)
		switch {
		case open == "" && fence != "":
			open, tag, block = fence, trimmed[len(fence):], nil
		case open != "" && len(fence) >= len(open) && fence[0] == open[0] && trimmed == fence:
			last, open = strings.Join(block, "\n")+"\n", ""
			if tag != "" && language(tag) == lang {
				named = last
			}
		case open != "":
			block = append(block, strings.TrimSuffix(line, "\r"))
		}
	}
	switch {
	case open != "":
		return ""
	case named != "":
		return named
	}
	return last
}

// fenceOf returns the run of three or more backticks or tildes a line begins with.
func fenceOf(line string) string {
	n := 0
	for n < len(line) && line[n] == line[0] && (line[0] == '`' || line[0] == '~') {
		n++
	}
	if n < 3 {
		return ""
	}
	return line[:n]
}
