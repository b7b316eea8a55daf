// Package importer is a program outside the module: it brings its own policy to grpo, and calls other stages each alone.
package importer

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/reward"
)

const (
	words = 8
	width = 16
)

// net is a two-layer network that scores the next of eight words from the last one.
type net struct {
	dev     *kernels.Device
	in, out *kernels.Param
}

func newNet(t *testing.T, dev *kernels.Device) *net {
	r := rand.New(rand.NewPCG(1, 2))
	param := func(name string, rows, cols int) *kernels.Param {
		v := make([]float32, rows*cols)
		for i := range v {
			v[i] = float32(r.NormFloat64() * 0.3)
		}
		p, err := dev.NewParam(name, v, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return &net{dev, param("in", words, width), param("out", words, width)}
}

func (n *net) Device() *kernels.Device  { return n.dev }
func (n *net) Params() []*kernels.Param { return []*kernels.Param{n.in, n.out} }

func (n *net) logProbs(s *kernels.Scope, ids []int32) *kernels.Tensor {
	return s.LogSoftmax(s.Linear(s.Tanh(s.Embedding(n.in.Tensor, ids)), n.out.Tensor, nil))
}

// LogProbs implements grpo.Policy.
func (n *net) LogProbs(s *kernels.Scope, ids []int32, _ kernels.Segs, rows, targets []int32, _ float32) (logp, entropy *kernels.Tensor) {
	all := s.Gather(n.logProbs(s, ids), rows)
	return s.Pick(all, targets), s.Neg(s.RowSum(s.Mul(s.Exp(all), all)))
}

// draw samples one completion of one word.
func (n *net) draw(t *testing.T, r *rand.Rand, prompt int32) grpo.Sample {
	logp := make([]float32, words)
	err := n.dev.Do(context.Background(), func(s *kernels.Scope) error { return s.Read(n.logProbs(s.NoGrad(), []int32{prompt}), logp) })
	if err != nil {
		t.Fatal(err)
	}
	u, word := r.Float64(), 0
	for ; word < words-1; word++ {
		if u -= math.Exp(float64(logp[word])); u < 0 {
			break
		}
	}
	return grpo.Sample{Tokens: []int32{int32(word)}, LogP: []float32{logp[word]}, Entropy: []float32{0}}
}

// The program's own policy and reward: fifty steps, and the reward rises.
func TestOwnPolicyLearns(t *testing.T) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	policy := newNet(t, dev)
	config := grpo.DrGRPO()
	config.LearningRate = 0.05
	trainer, err := grpo.New(policy, nil, config)
	if err != nil {
		t.Fatal(err)
	}
	score := reward.Named("three times", func(_ context.Context, s reward.Sample) (reward.Score, error) {
		if int(s.Tokens[0]) == 3*s.Problem.Columns["prompt"].(int)%words {
			return reward.Scored(1), nil
		}
		return reward.Scored(0), nil
	})
	r := rand.New(rand.NewPCG(3, 4))
	var first, last float64
	for step := range 50 {
		groups := make([]grpo.Group, words)
		for p := range groups {
			groups[p] = grpo.Group{Problem: reward.Problem{Columns: map[string]any{"prompt": p}}, Temperature: 1, Prompt: []int32{int32(p)}}
			for range 16 {
				s := policy.draw(t, r, int32(p))
				s.Score = reward.Evaluate(context.Background(), score, reward.Sample{Problem: groups[p].Problem, Tokens: s.Tokens}).Score
				groups[p].Samples = append(groups[p].Samples, s)
			}
		}
		st, err := trainer.Step(context.Background(), groups)
		if err != nil {
			t.Fatal(err)
		}
		if step == 0 {
			first = st.Reward
		}
		last = st.Reward
	}
	t.Logf("reward %.2f -> %.2f", first, last)
	if first > 0.4 || last < 0.9 {
		t.Fatalf("reward went from %.2f to %.2f", first, last)
	}
}

// The loss on the program's own tensors: -(1/2)(min(2*1, 1.2*1) + min(0.5*-1, 0.8*-1)) = -0.2.
func TestLossByHand(t *testing.T) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		loss, _ := grpo.Loss(s, grpo.LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: grpo.PerToken}, grpo.LossInput{
			NewT: s.FromF32([]float32{float32(math.Log(2)), float32(math.Log(0.5))}), OldT: s.Zeros(2),
			AdvT: s.FromF32([]float32{1, -1}), MaskT: s.Full(1, 2), Segs: kernels.PackedSegs(1, 1), Totals: grpo.Totals{Sequences: 2, Tokens: 2},
		})
		out := make([]float32, 1)
		if err := s.Read(loss, out); err != nil {
			return err
		}
		if math.Abs(float64(out[0])+0.2) > 1e-6 {
			t.Errorf("loss %g, want -0.2", out[0])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
