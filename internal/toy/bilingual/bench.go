package bilingual

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
)

// What the two bases read.
const (
	BaseTokens  = 3_500_000
	SmallTokens = 700_000
)

// BenchOptions are the flags of the example.
type BenchOptions struct {
	Seed    uint64
	Out     string
	Again   string  // stage to do again, with what follows
	Short   float64 // share of every stage's length
	NoCache bool
	JSON    bool
	Threads int

	stdout io.Writer
}

// Bench is what the whole recipe needs to be pleasant: progress, the base from the cache, measurements, the closing table.
type Bench struct {
	BenchOptions
	Device *kernels.Device

	out     *progress.Line
	held    []Question
	started time.Time
}

// NewBench returns a bench on a device.
func NewBench(dev *kernels.Device, o BenchOptions) *Bench {
	b := &Bench{BenchOptions: o, Device: dev, out: &progress.Line{}, started: time.Now()}
	if f, ok := o.stdout.(*os.File); ok {
		b.out = progress.New(f)
	}
	n := max(70, b.Scale(1400))
	b.held = Questions(toy.HeldOut, 20250120, n, Chain, Letter, Chain, Letter, Translate, Spell, Self)
	return b
}

// Scale is a length as asked for with --short, at least 2.
func (b *Bench) Scale(n int) int { return max(2, int(math.Round(float64(n)*b.Short))) }

// AtLeast is the gate of a stage whose held-out score must be at least so high. A shortened recipe has no gates: it learns nothing.
func (b *Bench) AtLeast(score string, least float64) func(pipeline.Output) error {
	return func(o pipeline.Output) error {
		if v := o.Scores[score]; b.Short == 1 && v < least {
			return fmt.Errorf("%s is %.3f, want at least %g", score, v, least)
		}
		return nil
	}
}

// Pretrain makes a base model, or takes it from the cache.
func (b *Bench) Pretrain(ctx context.Context, w toy.World, tokens int) (*model.LM, error) {
	cache := ""
	if dir, err := os.UserCacheDir(); err == nil && !b.NoCache {
		cache = filepath.Join(dir, "gor1")
	}
	b.out.Begin()
	m, made, err := w.Base(ctx, b.Device, Pretraining(b.Seed, b.Scale(tokens)), cache, func(share, loss, rate float64) {
		b.out.Show(share, "pre-training %3.0f %% | loss %.3f | %.0fk tokens/s", 100*share, loss, rate/1000)
	})
	b.out.Clear()
	if err == nil {
		b.out.Print("base of %.0f thousand parameters: %s", float64(w.Config.ParamCount())/1e3, map[bool]string{true: fmt.Sprintf("read %.1f million tokens", float64(b.Scale(tokens))/1e6), false: "from the cache"}[made])
	}
	return m, err
}

// SaveBase is the folder of the base model in the line's directory.
func (b *Bench) SaveBase(ctx context.Context) (string, error) {
	dir := filepath.Join(b.Out, "base")
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return dir, nil
	}
	m, err := b.Pretrain(ctx, Base(), BaseTokens)
	if err != nil {
		return "", err
	}
	defer m.Close()
	if err := os.MkdirAll(b.Out, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(b.Out, ".base-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := m.Save(tmp); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

// Step shows a step of a stage.
func (b *Bench) Step(stage string, s pipeline.Step, format string, args ...any) {
	b.out.Show(float64(s.Number+1)/float64(s.Of), "%s, step %d/%d | %s", stage, s.Number+1, s.Of, fmt.Sprintf(format, args...))
}

// Measure judges a model on the held-out questions, the same for every stage.
func (b *Bench) Measure(ctx context.Context, dir string) (map[string]float64, error) {
	m, err := model.Load(b.Device, dir, model.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	x, err := Measure(ctx, m, b.held, b.Seed)
	scores := map[string]float64{
		"accuracy": x.Accuracy, "accuracy_low": x.Low, "accuracy_high": x.High, "format": x.Format, "mixed": x.Mixed, "language": x.Language, "readable": x.Readable, "length": x.Length, "polite": x.Polite,
		"params": float64(m.Config().ParamCount()),
	}
	for d, v := range x.Domain {
		scores[Domain(d).String()] = v
	}
	return scores, err
}

// Watch shows a stage that begins or ends.
func (b *Bench) Watch(e pipeline.Entry, done bool) {
	b.out.Clear()
	if b.out.Begin(); !done {
		return
	}
	if e.Note != "" {
		b.out.Print("%s", e.Note)
	}
	s := e.Output.Scores
	if _, measured := s["accuracy"]; !measured {
		text, _ := json.Marshal(s)
		b.out.Print("%-16s %4.0f s  %s", e.Stage, e.Seconds, text)
		return
	}
	b.out.Print("%-16s %4.0f s  %5.1f %% right, %5.1f %% formatted, %5.1f %% mixed, %5.1f %% readable, %.1f tokens", e.Stage, e.Seconds, 100*s["accuracy"], 100*s["format"], 100*s["mixed"], 100*s["readable"], s["length"])
}

// Relative is a path as the line's files name it.
func (b *Bench) Relative(path string) string {
	if r, err := filepath.Rel(b.Out, path); err == nil {
		return r
	}
	return path
}

// Claim is one of R1's findings on this world: what was measured, and whether it is so.
type Claim struct {
	Text  string
	Holds bool
}

// Claims judges a ledger.
func Claims(ledger []pipeline.Entry) []Claim {
	s := map[string]map[string]float64{}
	for _, e := range ledger {
		s[e.Stage] = e.Output.Scores
	}
	best, cheapest := "", math.Inf(1)
	for name, v := range s {
		if len(name) > 8 && name[:8] == "small-rl" {
			if best == "" || v["accuracy"] > s[best]["accuracy"] {
				best = name
			}
			cheapest = min(cheapest, 6*v["params"]*v["trained_tokens"]+2*v["params"]*v["sampled_tokens"])
		}
	}
	zero, r1, student := s["zero"], s["r1"], s["student"]
	distillation := 6*student["params"]*student["trained_tokens"] + 2*r1["params"]*s["teaching"]["sampled_tokens"]
	claim := func(holds bool, format string, args ...any) Claim { return Claim{fmt.Sprintf(format, args...), holds} }
	return []Claim{
		claim(zero["accuracy_low"] > s["base"]["accuracy_high"], "RL alone makes the base reason: %.1f %% right, %.1f %% before", 100*zero["accuracy"], 100*s["base"]["accuracy"]),
		claim(zero["mixed"] >= 0.15, "and keeps mixing languages: %.1f %% of its responses (want at least 15)", 100*zero["mixed"]),
		claim(s["reasoning-rl"]["mixed"] <= 0.03, "a cold start and the language reward end that: %.1f %% (want at most 3)", 100*s["reasoning-rl"]["mixed"]),
		claim(s["reasoning-rl"]["accuracy"] >= zero["accuracy_low"], "at no cost: %.1f %% right (RL alone: %.1f to %.1f)", 100*s["reasoning-rl"]["accuracy"], 100*zero["accuracy_low"], 100*zero["accuracy_high"]),
		claim(s["second-sft"]["accuracy_low"] > s["base"]["accuracy_high"], "SFT of the base on rejection-sampled traces beats it: %.1f %% right", 100*s["second-sft"]["accuracy"]),
		claim(r1["polite"] > s["second-sft"]["polite"]+0.1, "RL for all scenarios gives users what they prefer: %.1f %% of replies, %.1f %% before", 100*r1["polite"], 100*s["second-sft"]["polite"]),
		claim(r1["mixed"] <= 0.03 && r1["accuracy"] >= zero["accuracy_low"], "and keeps reasoning: %.1f %% right, %.1f %% mixed", 100*r1["accuracy"], 100*r1["mixed"]),
		claim(student["accuracy_low"] > s[best]["accuracy_high"] && cheapest >= distillation, "distillation beats RL on the small model: %.1f %% against %.1f %% (%s, the best of 3; at least %.2f TFLOP each against %.2f)", 100*student["accuracy"], 100*s[best]["accuracy"], best, cheapest/1e12, distillation/1e12),
	}
}

// Finish prints the table and the claims, and writes the report.
func (b *Bench) Finish(l pipeline.Line, ledger []pipeline.Entry) error {
	b.out.Print("\n%-16s %8s %15s %8s %8s %8s %8s %8s | %6s %6s %6s %6s %6s", "held out, %", "right", "95 %", "format", "mixed", "language", "readable", "polite", "chain", "letter", "transl", "write", "self")
	for _, e := range ledger {
		s := e.Output.Scores
		if _, measured := s["accuracy"]; measured {
			b.out.Print("%-16s %8.1f %7.1f-%7.1f %8.1f %8.1f %8.1f %8.1f %8.1f | %6.1f %6.1f %6.1f %6.1f %6.1f", e.Stage, 100*s["accuracy"], 100*s["accuracy_low"], 100*s["accuracy_high"], 100*s["format"], 100*s["mixed"],
				100*s["language"], 100*s["readable"], 100*s["polite"], 100*s["chain"], 100*s["letter"], 100*s["translation"], 100*s["writing"], 100*s["self"])
		}
	}
	b.out.Print("")
	claims := Claims(ledger)
	for _, c := range claims {
		b.out.Print("%-3s %s", map[bool]string{true: "yes", false: "NO"}[c.Holds], c.Text)
	}
	seconds := time.Since(b.started).Seconds()
	report, err := l.Report(fmt.Sprintf("R1's recipe in miniature, seed %d", b.Seed), ledger)
	if err != nil {
		return err
	}
	b.out.Print("done in %.0f s; %s", seconds, report)
	if !b.JSON {
		return nil
	}
	return json.NewEncoder(b.stdout).Encode(map[string]any{"seed": b.Seed, "seconds": seconds, "ledger": ledger, "claims": claims})
}

// Main runs the example: 0 done, 1 failed with one sentence, 2 usage, 130 interrupted.
func Main(args []string, stdout, stderr io.Writer, experiment func(context.Context, BenchOptions) error) int {
	o := BenchOptions{stdout: stdout}
	f := flag.NewFlagSet("r1", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Uint64Var(&o.Seed, "seed", 1, "of everything")
	f.StringVar(&o.Out, "out", "out-r1", "the line's directory; the same command goes on where it was stopped or killed")
	f.StringVar(&o.Again, "from", "", "stage to do again, with all that follow")
	f.Float64Var(&o.Short, "short", 1, "share of every stage's length: 0.05 shows the machinery in seconds and learns nothing")
	f.BoolVar(&o.NoCache, "no-cache", false, "pre-train anew, and do not keep the base models for the next run")
	f.BoolVar(&o.JSON, "json", false, "make the last line of the output one JSON object")
	f.IntVar(&o.Threads, "threads", 0, "threads; 0: one a core")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || f.NArg() > 0 || !(o.Short > 0 && o.Short <= 1) {
		fmt.Fprintln(stderr, "r1: want flags only, and --short in (0, 1]; see --help")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := experiment(ctx, o); err != nil {
		fmt.Fprintln(stderr, "r1:", err)
		if errors.Is(err, pipeline.ErrInterrupted) || errors.Is(err, context.Canceled) {
			return 130
		}
		return 1
	}
	return 0
}
