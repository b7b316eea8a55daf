// Command pyreward scores completions with a reward function written in Python for TRL, from Go: the way to bring an existing
// reward into a run. It needs python3 and nothing else.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/remote"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pyreward:", err)
		os.Exit(1)
	}
}

func run() error {
	folder := "examples/pyreward"
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	python, err := remote.NewCommand(remote.CommandConfig{Name: "short_and_right", Path: "python3", Args: []string{"serve.py", "reward.py", "short_and_right"}, Dir: folder})
	if err != nil {
		return err
	}
	defer python.Close()
	problem := reward.Problem{Prompt: "What is 6 * 7?", Answer: "42"}
	group := []reward.Sample{
		{Problem: problem, Completion: "<think>6 * 7 = 42</think><answer>42</answer>"},
		{Problem: problem, Completion: "<think>6 * 7 = 41</think><answer>41</answer>"},
	}
	// Python's opinion beside a rule of ours; in a run this is sampling.Request's Compare and Score
	for i, r := range reward.EvaluateGroup(context.Background(), reward.SumGroup(python.Group(), reward.Each(reward.Format)), group) {
		score, ok := r.Score.Value()
		fmt.Printf("sample %d: %.3f %t\n", i, score, ok)
		for _, p := range r.Parts {
			v, _ := p.Score.Value()
			fmt.Printf("  %s %.3f\n", p.Name, v)
		}
	}
	return nil
}
