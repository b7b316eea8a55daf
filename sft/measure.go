package sft

import (
	"context"
	"errors"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// Measured is how a model does on texts it does not train on: means over the weights of the tokens.
type Measured struct {
	Loss     float64 // nats a token; its exponential is the perplexity
	Accuracy float64 // share of tokens that are the likeliest one (TRL's mean_token_accuracy)
	Entropy  float64 // nats a token
	Tokens   int     // with a weight
}

// Measure runs sequences through a model, microTokens rows at a time.
func Measure(ctx context.Context, m *model.LM, sequences []Sequence, microTokens int) (Measured, error) {
	if microTokens < 1 {
		return Measured{}, errors.New("sft: measure: no rows a pass")
	}
	var out Measured
	total := 0.0
	for len(sequences) > 0 {
		n := take(sequences, microTokens)
		p := Pack(sequences[:n])
		sequences = sequences[n:]
		if len(p.Rows) == 0 {
			continue
		}
		logp, entropy, likeliest := make([]float32, len(p.Rows)), make([]float32, len(p.Rows)), make([]int32, len(p.Rows))
		err := m.Device().Do(ctx, func(s *kernels.Scope) error {
			s = s.NoGrad()
			hidden := s.Gather(m.Forward(s, p.IDs, p.Segs), p.Rows)
			logpT, entropyT := m.Head(s, hidden, p.Targets, 1)
			token, _, _ := m.Sample(s, hidden, kernels.SampleOptions{Temp: make([]float32, len(p.Rows)), Counter: make([][4]uint32, len(p.Rows))})
			return errors.Join(s.Read(logpT, logp), s.Read(entropyT, entropy), s.Read(token, likeliest))
		})
		if err != nil {
			return out, err
		}
		for i, w := range p.Weights {
			w := float64(w)
			total += w
			out.Loss -= float64(w * float64(logp[i]))
			out.Entropy += float64(w * float64(entropy[i]))
			if likeliest[i] == p.Targets[i] {
				out.Accuracy += w
			}
		}
		out.Tokens += len(p.Rows)
	}
	if total == 0 {
		return out, errors.New("sft: measure: every weight is 0")
	}
	out.Loss, out.Accuracy, out.Entropy = out.Loss/total, out.Accuracy/total, out.Entropy/total
	return out, nil
}
