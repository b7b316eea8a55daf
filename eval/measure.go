package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// Step is the step number in the counters of evaluations: far from any training step, so that no draw is used twice.
const Step = 1 << 30

// Report is how a policy does on a set of problems. Shares are of 1, lengths in tokens with the end-of-sequence token.
type Report struct {
	Problems, Samples int       // problems that could be judged, samples of each
	Unscored          int       // problems that could not: every sample was left unscored
	PassRate          []float64 // of each judged problem: the mean score of its samples
	Pass1             float64   // their mean: R1's pass@1
	Low, High         float64   // its 95 % interval: Wilson's with one sample a problem of score 0 or 1, else the normal one over problems
	PassK             float64   // share of problems with at least one right sample
	Length            float64   // mean of the completions
	Truncated         float64   // share cut at the length limit
	Parts             map[string]float64
	Groups            []sampling.Group // the completions, in the order of the problems
}

// Measure draws samples of each problem and judges them with score, which gives 1 to a right completion and 0 to a wrong one (or a
// share between). A problem none of whose samples was scored is left out and counted.
func Measure(ctx context.Context, e *sampling.Engine, problems []reward.Problem, samples int, score reward.Func, progress func(done, total int)) (Report, error) {
	if len(problems) == 0 || score == nil {
		return Report{}, errors.New("eval: nothing to measure: want problems and a score")
	}
	groups, err := sampling.Rollout(ctx, e, sampling.Request{Step: Step, Problems: problems, Samples: samples, Score: score, Progress: progress})
	if err != nil {
		return Report{}, fmt.Errorf("eval: %w", err)
	}
	return summarise(groups, samples)
}

// Judge judges completions that are there once more, with another score. groups are not changed.
func Judge(ctx context.Context, groups []sampling.Group, codec sampling.Codec, score reward.Func) (Report, error) {
	again, samples := slices.Clone(groups), 0
	for g := range again {
		again[g].Samples = slices.Clone(groups[g].Samples)
		samples = max(samples, len(again[g].Samples))
		for i := range again[g].Samples {
			if err := ctx.Err(); err != nil {
				return Report{}, fmt.Errorf("eval: %w", err)
			}
			s := &again[g].Samples[i]
			r := reward.Evaluate(ctx, score, reward.Sample{Problem: groups[g].Problem, Completion: s.Text(codec), Tokens: s.Tokens, Truncated: s.Stop == sampling.StopLength})
			s.Score, s.Parts = r.Score, r.Parts
		}
	}
	return summarise(again, samples)
}

func summarise(groups []sampling.Group, samples int) (Report, error) {
	r := Report{Samples: samples, Parts: map[string]float64{}, Groups: groups}
	n, counts, whole, right := 0.0, map[string]float64{}, true, 0
	for _, g := range groups {
		sum, scored, best := 0.0, 0.0, 0.0
		for _, s := range g.Samples {
			n++
			r.Length += float64(len(s.Tokens))
			if s.Stop == sampling.StopLength {
				r.Truncated++
			}
			for _, p := range s.Parts {
				if v, ok := p.Score.Value(); ok {
					r.Parts[p.Name] += v
					counts[p.Name]++
				}
			}
			if v, ok := s.Score.Value(); ok {
				sum, scored, best = sum+v, scored+1, math.Max(best, v)
				whole = whole && (v == 0 || v == 1)
			}
		}
		if scored == 0 {
			r.Unscored++
			continue
		}
		r.PassRate = append(r.PassRate, sum/scored)
		r.Pass1 += sum / scored
		if best >= 1 {
			r.PassK++
			right++
		}
	}
	for name, c := range counts {
		r.Parts[name] /= c
	}
	r.Problems = len(r.PassRate)
	r.Length, r.Truncated = r.Length/n, r.Truncated/n
	if r.Problems == 0 {
		return r, fmt.Errorf("eval: none of %d problems could be judged: are their reference answers readable?", len(groups))
	}
	r.Pass1, r.PassK = r.Pass1/float64(r.Problems), r.PassK/float64(r.Problems)
	if samples == 1 && whole {
		var err error
		r.Low, r.High, err = Wilson(right, r.Problems)
		return r, err
	}
	r.Low, r.High = normal(r.PassRate, r.Pass1)
	return r, nil
}

// normal is the 95 % interval of a mean over problems, whatever the number of samples of each, inside 0..1 where the mean is.
func normal(v []float64, mean float64) (low, high float64) {
	sum := 0.0
	for _, x := range v {
		sum += float64((x - mean) * (x - mean))
	}
	half := z95 * math.Sqrt(sum/math.Max(float64(len(v)-1), 1)/float64(len(v)))
	low, high = mean-half, mean+half
	if mean >= 0 && mean <= 1 {
		low, high = math.Max(low, 0), math.Min(high, 1)
	}
	return low, high
}
