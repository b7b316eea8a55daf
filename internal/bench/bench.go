// Package bench times the library against the machine's own limits: peak and copy rate are measured in every round beside the cases,
// rounds are interleaved, and rounds that others disturbed do not count.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gor1/gor1/kernels"
)

// Bound is the share of the machine's cores above which others' work, or the hypervisor's steal, voids a round.
const Bound = 0.05

// Stage is work that cannot take less time than its operations at the peak or its bytes at the copy rate, whichever is more.
type Stage struct {
	FLOPs, Bytes float64
}

func (g Stage) floor(peak, copyRate float64) float64 { return max(g.FLOPs/peak, g.Bytes/copyRate) }

// Case is one thing to time.
type Case struct {
	Name    string
	Unit    string  // of Work a second, such as "tokens/s"
	Work    float64 // of one run
	Stages  []Stage // of one run, one after another; none: there is no limit to compare with
	Planned int64   // bytes of the device's memory that the plan ([model.Config.Plan]) says; 0: not planned
	Run     func(ctx context.Context) error
	Close   func() error
}

// Result is a case's row.
type Result struct {
	Name         string  `json:"name"`
	Value        float64 `json:"value"` // median over the rounds
	Unit         string  `json:"unit"`
	Limit        float64 `json:"limit,omitempty"`         // the value at the peak and copy rate measured in the same rounds
	Share        float64 `json:"share,omitempty"`         // Value / Limit
	Rounds       int     `json:"rounds"`                  // that Value is the median of
	Void         int     `json:"void"`                    // rounds that others disturbed
	Disturbed    string  `json:"disturbed,omitempty"`     // why Value is not an idle machine's number; "": it is one
	PeakBytes    int64   `json:"peak_bytes"`              // the device's memory so far
	PlannedBytes int64   `json:"planned_bytes,omitempty"` // what the plan allows for it
	DType        string  `json:"dtype"`                   // of the products: f32 or bf16
	Peak         float64 `json:"peak"`                    // its FLOP/s
	Copy         float64 `json:"peak_copy"`               // bytes read plus written a second
	Device       string  `json:"device"`
}

// Options say how long to measure.
type Options struct {
	Rounds  int           // undisturbed ones wanted; at most twice as many are run
	MinTime time.Duration // of one case in one round: short runs are repeated
	BF16    bool          // the limit is the peak of products in bf16, not fp32's
}

func (o Options) dtype() string {
	if o.BF16 {
		return kernels.PeakBF16
	}
	return kernels.PeakF32
}

type round struct {
	peak, copy float64
	others     float64 // share of the cores; negative: not known
	values     []float64
}

// Series times cases round by round.
type Series struct {
	dev     *kernels.Device
	cases   []Case
	repeat  []int // runs of each case in a round
	options Options
}

// NewSeries runs each case once, to warm it and to learn how often a round repeats it. Options.Rounds plays no part. The caller closes the cases.
func NewSeries(ctx context.Context, dev *kernels.Device, cases []Case, o Options) (*Series, error) {
	if o.MinTime < 0 {
		return nil, fmt.Errorf("bench: minimal time %v: want none or a positive one", o.MinTime)
	}
	s := &Series{dev: dev, cases: cases, options: o}
	for _, c := range cases {
		start := time.Now()
		if err := c.Run(ctx); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", c.Name, err)
		}
		s.repeat = append(s.repeat, 1+int(o.MinTime/max(time.Since(start), time.Microsecond)))
	}
	return s, nil
}

// Round times each case once, the machine's limits beside. It does not judge who else was at work.
func (s *Series) Round(ctx context.Context) ([]Result, error) {
	r, err := s.round(ctx)
	if err != nil {
		return nil, err
	}
	r.others = 0
	return results(s.dev, s.cases, []round{r}, Options{Rounds: 1, BF16: s.options.BF16}), nil
}

// Measure times the cases in interleaved rounds. Where fewer rounds than wanted were undisturbed, the results are medians of all rounds
// and say so in Disturbed.
func Measure(ctx context.Context, dev *kernels.Device, cases []Case, o Options) ([]Result, error) {
	if o.Rounds < 1 {
		return nil, fmt.Errorf("bench: %d rounds: want at least 1", o.Rounds)
	}
	s, err := NewSeries(ctx, dev, cases, o)
	if err != nil {
		return nil, err
	}
	var rounds []round
	for clean := 0; clean < o.Rounds && clean+2*o.Rounds-len(rounds) >= o.Rounds && len(rounds) < 2*o.Rounds; {
		r, err := s.round(ctx)
		if err != nil {
			return nil, err
		}
		if r.others <= Bound {
			clean++
		}
		rounds = append(rounds, r)
	}
	return results(dev, cases, rounds, o), nil
}

func (s *Series) round(ctx context.Context) (round, error) {
	var r round
	var err, err2 error
	w := Watch()
	r.peak, err = s.dev.Measure(s.options.dtype(), 0.05)
	r.copy, err2 = s.dev.Measure(kernels.PeakCopy, 0.1)
	if err := errors.Join(err, err2); err != nil {
		return r, err
	}
	for i, c := range s.cases {
		start := time.Now()
		for range s.repeat[i] {
			if err := c.Run(ctx); err != nil {
				return r, fmt.Errorf("bench: %s: %w", c.Name, err)
			}
		}
		r.values = append(r.values, c.Work*float64(s.repeat[i])/time.Since(start).Seconds())
	}
	r.others = w.Others()
	return r, nil
}

// results are the medians over the undisturbed rounds where there are enough, else over all.
func results(dev *kernels.Device, cases []Case, rounds []round, o Options) []Result {
	disturbed := func(r round) bool { return r.others > Bound }
	clean := slices.DeleteFunc(slices.Clone(rounds), disturbed)
	use, why := clean, ""
	if len(clean) < o.Rounds {
		use = rounds
		why = fmt.Sprintf("others took %.0f %% of the cores (median; more than %.0f %% in %d of %d rounds)",
			100*median(rounds, func(r round) float64 { return r.others }), 100*Bound, len(rounds)-len(clean), len(rounds))
	} else if use[0].others < 0 {
		why = "what others do is not known on this system"
	}
	peak, rate := median(use, func(r round) float64 { return r.peak }), median(use, func(r round) float64 { return r.copy })
	var out []Result
	for i, c := range cases {
		r := Result{Name: c.Name, Unit: c.Unit, Rounds: len(use), Void: len(rounds) - len(clean), Disturbed: why, PeakBytes: dev.Stats().PeakBytes, PlannedBytes: c.Planned, DType: o.dtype(), Peak: peak, Copy: rate, Device: dev.String()}
		r.Value = median(use, func(r round) float64 { return r.values[i] })
		floor := 0.0
		for _, g := range c.Stages {
			floor += g.floor(peak, rate)
		}
		if floor > 0 {
			r.Limit = c.Work / floor
			r.Share = r.Value / r.Limit
		}
		out = append(out, r)
	}
	return out
}

func median(rounds []round, of func(r round) float64) float64 {
	v := make([]float64, len(rounds))
	for i, r := range rounds {
		v[i] = of(r)
	}
	slices.SortFunc(v, cmp.Compare[float64])
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// CloseAll frees what the cases hold, the last first.
func CloseAll(cases []Case) error {
	var errs []error
	for i := len(cases) - 1; i >= 0; i-- {
		if c := cases[i].Close; c != nil {
			errs = append(errs, c())
		}
	}
	return errors.Join(errs...)
}
