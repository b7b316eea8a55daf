package pipeline

import (
	"math"
	"slices"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/run"
	"github.com/gor1/gor1/sampling"
)

// metrics are a GRPO step's numbers under TRL's names. Shares are of 1, lengths in tokens with the end-of-sequence token.
func metrics(groups []sampling.Group, st grpo.StepStats) []run.Field {
	all, ended := lengths(groups, false), lengths(groups, true)
	signal, noise := st.Signal, st.Noise
	if signal == 0 && noise == 0 {
		signal, noise = math.NaN(), math.NaN() // not measured
	}
	fields := []run.Field{
		{Name: "reward", Value: st.Reward}, {Name: "reward_std", Value: st.RewardStd}, {Name: "frac_reward_zero_std", Value: st.ZeroStd}, {Name: "unscored", Value: st.Unscored},
		{Name: "loss", Value: st.Loss}, {Name: "grad_norm", Value: st.GradNorm}, {Name: "gradient_noise/signal", Value: signal}, {Name: "gradient_noise/noise", Value: noise}, {Name: "learning_rate", Value: st.LearningRate}, {Name: "kl", Value: st.KL / math.Max(st.Tokens, 1)}, {Name: "entropy", Value: st.Entropy},
		{Name: "completions/mean_length", Value: st.MeanLength}, {Name: "completions/min_length", Value: least(all)}, {Name: "completions/max_length", Value: most(all)},
		{Name: "completions/mean_terminated_length", Value: mean(ended)}, {Name: "completions/min_terminated_length", Value: least(ended)}, {Name: "completions/max_terminated_length", Value: most(ended)},
		{Name: "completions/clipped_ratio", Value: st.Truncated},
		{Name: "clip_ratio/low_mean", Value: st.ClipLow / math.Max(st.Tokens, 1)}, {Name: "clip_ratio/high_mean", Value: st.ClipHigh / math.Max(st.Tokens, 1)},
		{Name: "clip_ratio/region_mean", Value: (st.ClipLow + st.ClipHigh) / math.Max(st.Tokens, 1)},
		{Name: "sampling/sampling_logp_difference/max", Value: st.Drift}, {Name: "skipped", Value: st.Skipped},
	}
	if mass := masses(groups); len(mass) > 0 {
		fields = append(fields, run.Field{Name: "sampling/surviving_mass/mean", Value: mean(mass)}, run.Field{Name: "sampling/surviving_mass/min", Value: least(mass)})
	}
	return append(fields, parts(groups)...)
}

// masses are what truncated sampling left of each token's distribution; none where nothing was truncated.
func masses(groups []sampling.Group) (mass []float64) {
	for _, g := range groups {
		for _, s := range g.Samples {
			for _, m := range s.Mass {
				mass = append(mass, float64(m))
			}
		}
	}
	return mass
}

// parts are mean and deviation of each named reward over the samples it scored, in the order of their names.
func parts(groups []sampling.Group) []run.Field {
	values := map[string][]float64{}
	for _, g := range groups {
		for _, s := range g.Samples {
			for _, p := range s.Parts {
				if v, ok := p.Score.Value(); ok {
					values[p.Name] = append(values[p.Name], v)
				} else if values[p.Name] == nil {
					values[p.Name] = []float64{}
				}
			}
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	var fields []run.Field
	for _, name := range names {
		v := values[name]
		fields = append(fields, run.Field{Name: "rewards/" + name + "/mean", Value: mean(v)}, run.Field{Name: "rewards/" + name + "/std", Value: std(v)})
	}
	return fields
}

// lengths are the completions' lengths; ended leaves out those that the limit cut.
func lengths(groups []sampling.Group, ended bool) []float64 {
	var out []float64
	for _, g := range groups {
		for _, s := range g.Samples {
			if !ended || s.Stop != sampling.StopLength {
				out = append(out, float64(len(s.Tokens)))
			}
		}
	}
	return out
}

// mean of no values is NaN, which metrics.jsonl writes as null.
func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// std is the deviation over n-1, as TRL's.
func std(v []float64) float64 {
	m, sum := mean(v), 0.0
	for _, x := range v {
		sum += float64((x - m) * (x - m))
	}
	return math.Sqrt(sum / math.Max(float64(len(v)-1), 1))
}

func least(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return slices.Min(v)
}

func most(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return slices.Max(v)
}
