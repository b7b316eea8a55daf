// Command rejection lets a base model teach itself by rejection sampling: it answers each question many times, what is right and well
// formed is kept, two at most and the longest, and the base learns that. An independent grader reads the kept set over again.
//
//	go run ./examples/rejection
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
)

// grade works a question out from its text alone, with none of the toy world's code.
func grade(prompt, answer string) bool {
	question := strings.TrimSuffix(strings.TrimPrefix(prompt, "<bos>User: "), "\nAssistant: ")
	var a, b float64
	var letter, word string
	if n, _ := fmt.Sscanf(question, "How many %s in %s", &letter, &word); n == 2 {
		return answer == strconv.Itoa(strings.Count(strings.TrimSuffix(word, "?"), letter))
	}
	if n, _ := fmt.Sscanf(question, "Which is greater, %f or %f?", &a, &b); n == 2 {
		v, err := strconv.ParseFloat(answer, 64)
		return err == nil && v == max(a, b)
	}
	sum := 0
	for _, term := range strings.Fields(strings.NewReplacer("+", " +", "-", " -", "=?", "").Replace(question)) {
		v, err := strconv.Atoi(term)
		if err != nil {
			return false
		}
		sum += v
	}
	return answer == strconv.Itoa(sum)
}

// run answers, keeps, learns, and measures before and after.
func run(ctx context.Context, questions, samples, steps int, seed uint64) error {
	dev, err := kernels.Open("cpu")
	if err != nil {
		return err
	}
	defer dev.Close()
	cache, _ := os.UserCacheDir()
	base, _, err := toy.Base(ctx, dev, toy.DefaultPretraining(1), filepath.Join(cache, "gor1"), nil)
	if err != nil {
		return err
	}
	defer base.Close()
	engine := sampling.New(base, sampling.Options{Codec: toy.Codec{}, Temperature: 1, MaxTokens: 64, Seed: seed})

	held := toy.Problems(toy.Questions(toy.HeldOut, 7, 500))
	before, err := toy.Evaluate(ctx, engine, held, 1)
	if err != nil {
		return err
	}

	req := sampling.Request{Problems: toy.Problems(toy.Questions(toy.RL, seed, questions)), Samples: samples, Score: reward.Sum(reward.Accuracy, reward.Format)}
	keep := pick.All(pick.Whole, pick.AtLeast("format", 1), pick.AtLeast("accuracy", 1), pick.Dedup(), pick.Longest(2, reward.TokenCount))
	var kept []sampling.Group
	drawn, right, dropped := 0, 0, pick.Counts{}
	for k, err := range sampling.Reject(ctx, engine, req, keep) {
		if err != nil {
			return err
		}
		kept, drawn = append(kept, k.Group), drawn+k.Drawn
		dropped.Count(k.Judged)
		for _, c := range k.Judged {
			if _, answer, _ := reward.Parse(c.Completion); c.Why == "" && grade(k.Problem.Prompt, answer) {
				right++
			}
		}
	}
	rows := toy.Rows(kept)
	fmt.Printf("drawn %d, kept %d; an independent grader finds %d of them right\n", drawn, len(rows), right)
	for _, why := range dropped.Reasons() {
		fmt.Printf("  dropped %6d  %s\n", dropped[why], why)
	}
	if right != len(rows) || right == 0 {
		return fmt.Errorf("%d of %d kept completions are right", right, len(rows))
	}
	if err := toy.Learn(ctx, base, rows, steps); err != nil {
		return err
	}
	after, err := toy.Evaluate(ctx, engine, held, 1)
	if err != nil {
		return err
	}
	for i, r := range []toy.Report{before, after} {
		fmt.Printf("%-6s %5.1f %% +- %.1f right, %5.1f %% well formed, %4.1f tokens, on %d held-out questions\n", []string{"before", "after"}[i], 100*r.Accuracy, 100*r.Interval(), 100*r.Format, r.Length, r.N)
	}
	return nil
}

func main() {
	steps, seed := flag.Int("steps", 200, "of SFT"), flag.Uint64("seed", 1, "of questions and draws")
	flag.Parse()
	if err := run(context.Background(), 1000, 16, *steps, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "rejection:", err)
		os.Exit(1)
	}
}
