// Package lab is the bench on which the examples run: flags, the live line, tables, curves and the files of a run. What an
// example teaches stands in its own main file; what every example needs to be pleasant stands here.
package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// Options are the flags of an example.
type Options struct {
	Seed       uint64
	Steps      int
	Device     string
	Out        string
	Eval       string
	Checkpoint string
	Problems   string
	Reward     string // "rules", and the controls "format" and "shuffled"
	NoCache    bool
	JSON       bool
	Threads    int
	ISA        string

	stdout, stderr io.Writer
	rows           []reward.Problem // of the file Problems
	eval           []reward.Problem // of the file Eval
	all            []reward.Problem // what Questions deals out
}

const usage = `R1-Zero in miniature: pre-trains a tiny base model on a synthetic web, then GRPO with two rule rewards.

Usage: r1zero [flags]

Examples:
  r1zero                                            the whole run, into ./out
  r1zero --seed 2 --out out2 --json                 another seed; the last line is one JSON object
  r1zero --problems mine.jsonl                      train on your own questions: {"prompt":"3+4=?","answer":"7"}
  r1zero --checkpoint out/checkpoint-160 --eval questions.jsonl

Flags:
`

// errUsage marks errors of the command line: exit code 2.
var errUsage = errors.New("usage")

// parse reads the command line.
func parse(args []string, stdout, stderr io.Writer) (Options, error) {
	o := Options{stdout: stdout, stderr: stderr}
	f := flag.NewFlagSet("r1zero", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Uint64Var(&o.Seed, "seed", 1, "of everything: corpus, weights, questions, draws")
	f.IntVar(&o.Steps, "steps", 160, "GRPO steps")
	f.StringVar(&o.Device, "device", "cpu", "where to compute: cpu, or torch after r1 setup torch")
	f.StringVar(&o.Out, "out", "out", "folder for metrics.jsonl, checkpoint, eval.jsonl and curves.svg")
	f.StringVar(&o.Eval, "eval", "", "file of further problems to answer at the end: {\"prompt\":..,\"answer\":..} a line")
	f.StringVar(&o.Checkpoint, "checkpoint", "", "do not train: answer --eval (or the held-out problems) with this checkpoint folder")
	f.StringVar(&o.Problems, "problems", "", "file of own problems to train on, in the form of --eval")
	f.StringVar(&o.Reward, "reward", "rules", "rules; or a control: format (answers are not paid), shuffled (inside the batch)")
	f.BoolVar(&o.NoCache, "no-cache", false, "pre-train anew, and do not keep the base model for the next run")
	f.BoolVar(&o.JSON, "json", false, "make the last line of the output one JSON object")
	f.IntVar(&o.Threads, "threads", 0, "threads to compute on; 0: R1_THREADS, else one a core")
	f.StringVar(&o.ISA, "isa", os.Getenv("R1_ISA"), "instruction set: portable, avx2, avx512, neon; empty: R1_ISA, else the best here")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			f.SetOutput(stdout)
			f.PrintDefaults()
		}
		return o, fmt.Errorf("%w: %w; see --help", errUsage, err)
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%w: argument %q is not a flag; see --help", errUsage, f.Arg(0))
	case o.Steps < 1 || o.Steps > 100_000:
		return o, fmt.Errorf("%w: --steps is %d, want 1 to 100000", errUsage, o.Steps)
	case o.Reward != "rules" && o.Reward != "format" && o.Reward != "shuffled":
		return o, fmt.Errorf("%w: --reward is %q, want rules, format or shuffled", errUsage, o.Reward)
	}
	if env := os.Getenv("R1_THREADS"); o.Threads == 0 && env != "" {
		n, err := strconv.Atoi(env)
		if err != nil {
			return o, fmt.Errorf("%w: R1_THREADS is %q, want a number", errUsage, env)
		}
		o.Threads = n
	}
	var err error
	if o.Problems != "" {
		if o.rows, err = toy.ReadProblems(o.Problems); err != nil {
			return o, err
		}
	}
	if o.Eval != "" {
		if o.eval, err = toy.ReadProblems(o.Eval); err != nil {
			return o, err
		}
	}
	return o, nil
}

// Main runs an example: it parses the flags, handles Ctrl-C (the first ends cleanly, a second at once) and turns an error into
// one sentence and an exit code: 0 done, 1 failed, 2 usage, 130 interrupted.
func Main(args []string, stdout, stderr io.Writer, experiment func(ctx context.Context, o Options) error) int {
	o, err := parse(args, stdout, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second signal has its default effect
		err = experiment(ctx, o)
		interrupted := ctx.Err() != nil
		stop()
		if interrupted && err != nil {
			if errors.Is(err, context.Canceled) {
				err = errors.New("interrupted; there was nothing to save yet")
			}
			fmt.Fprintln(stderr, err)
			return 130
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "r1zero:", err)
		if errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	return 0
}

// Questions deals out the problems of a step and their row numbers. Over a run no question of the toy world repeats; own
// problems are dealt in shuffled passes.
func (o *Options) Questions(step, n int) ([]reward.Problem, []uint32, error) {
	need := (step + 1) * n
	if o.all == nil {
		o.all = toy.Problems(toy.Questions(toy.RL, o.Seed, o.Steps*n))
		if o.rows != nil {
			o.all = nil
			r := rand.New(rand.NewPCG(o.Seed, 0x726f7773))
			for len(o.all) < o.Steps*n {
				for _, i := range r.Perm(len(o.rows)) {
					o.all = append(o.all, o.rows[i])
				}
			}
		}
	}
	if need > len(o.all) {
		return nil, nil, fmt.Errorf("lab: step %d asks for question %d of %d", step, need, len(o.all))
	}
	rows := make([]uint32, n)
	for i := range rows {
		rows[i] = uint32(need - n + i)
	}
	return o.all[need-n : need], rows, nil
}

// Score is the reward: the two rules, or the format alone.
func (o *Options) Score() reward.Func {
	if o.Reward == "format" {
		return reward.Sum(reward.Format, reward.Weight(0, reward.Accuracy)) // accuracy is recorded, not paid
	}
	return toy.Score()
}

// Control shuffles the scores of the whole batch where that control is on: then nothing can be learnt from them.
func (o *Options) Control(groups []sampling.Group, step int) {
	if o.Reward != "shuffled" {
		return
	}
	var all []*sampling.Sample
	for g := range groups {
		for i := range groups[g].Samples {
			all = append(all, &groups[g].Samples[i])
		}
	}
	r := rand.New(rand.NewPCG(o.Seed, uint64(step)))
	r.Shuffle(len(all), func(i, j int) { all[i].Score, all[j].Score = all[j].Score, all[i].Score })
}

// cacheDir is where base models are kept; empty: nowhere.
func (o *Options) cacheDir() string {
	if o.NoCache {
		return ""
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "gor1")
}
