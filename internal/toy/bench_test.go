package toy

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sft"
)

// BenchmarkTrain times whole training steps of the base model (forward, backward, AdamW; 6 FLOP a parameter and token) and
// BenchmarkDecode whole rollouts (2 FLOP), as shares of the machine's fp32 peak measured in the same run.
//
//	go test ./internal/toy -run - -bench 'Train|Decode' -count 7
func BenchmarkTrain(b *testing.B) {
	dev, m, peak := benchModel(b)
	defer m.Close()
	trainer, err := sft.New(m, sft.Config{LearningRate: 1e-3, Optim: optim.Default(), MicroTokens: 4096})
	if err != nil {
		b.Fatal(err)
	}
	defer trainer.Close()
	r := rand.New(rand.NewPCG(1, 2))
	tokens := 0
	for b.Loop() {
		var batch []sft.Sequence
		for n := 0; n < 900; {
			text, _ := Document(r)
			ids := append(append([]int32{BOS}, must(text)...), EOS)
			batch, n = append(batch, sft.Sequence{IDs: ids}), n+len(ids)
		}
		st, err := trainer.Step(context.Background(), batch)
		if err != nil {
			b.Fatal(err)
		}
		tokens += st.Tokens
	}
	report(b, dev, m, peak, tokens, 6)
}

// BenchmarkDecode: see BenchmarkTrain.
func BenchmarkDecode(b *testing.B) {
	dev, m, peak := benchModel(b)
	defer m.Close()
	e := sampling.New(m, sampling.Options{Codec: Codec{}, Temperature: 1, MaxTokens: 40, Seed: 1, EOS: []int32{}})
	problems := Problems(Questions(RL, 1, 32))
	tokens := 0
	for b.Loop() {
		groups, err := sampling.Rollout(context.Background(), e, sampling.Request{Problems: problems, Samples: 16})
		if err != nil {
			b.Fatal(err)
		}
		for _, g := range groups {
			for _, s := range g.Samples {
				tokens += len(s.Tokens)
			}
		}
	}
	report(b, dev, m, peak, tokens, 2)
}

// BenchmarkGRPO times whole GRPO steps (the update, without the rollout) on one batch of completions of random length, in R1-Zero's
// setting with a reference, and without; 6 FLOP a parameter and trained row.
//
//	go test ./internal/toy -run - -bench GRPO -count 7
func BenchmarkGRPO(b *testing.B) {
	for name, c := range map[string]grpo.Config{"r1zero": grpo.R1Zero(), "dapo": grpo.DAPO()} {
		b.Run(name, func(b *testing.B) {
			dev, m, peak := benchModel(b)
			defer m.Close()
			ref, err := m.Clone()
			if err != nil {
				b.Fatal(err)
			}
			defer ref.Close()
			e := sampling.New(m, sampling.Options{Codec: Codec{}, Temperature: 1, MaxTokens: 40, Seed: 1})
			groups, err := sampling.Rollout(context.Background(), e, sampling.Request{Problems: Problems(Questions(RL, 1, 16)), Samples: 8})
			if err != nil {
				b.Fatal(err)
			}
			for i := range groups {
				for j := range groups[i].Samples {
					groups[i].Samples[j].Score = reward.Scored(float64(j % 3))
				}
			}
			c.LearningRate = 1e-9 // the samples stay nearly the policy's own
			trainer, err := grpo.New(m, ref, c)
			if err != nil {
				b.Fatal(err)
			}
			defer trainer.Close()
			rows := 0
			for b.Loop() {
				st, err := trainer.Step(context.Background(), groups)
				if err != nil {
					b.Fatal(err)
				}
				rows += st.Trained
			}
			report(b, dev, m, peak, rows, 6)
		})
	}
}

func benchModel(b *testing.B) (*kernels.Device, *model.LM, float64) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		b.Fatal(err)
	}
	m, err := model.New(dev, BaseConfig(), 1, initStd)
	if err != nil {
		b.Fatal(err)
	}
	peak, err := dev.Measure(kernels.PeakF32, 0.2)
	if err != nil {
		b.Fatal(err)
	}
	return dev, m, peak
}

func report(b *testing.B, dev *kernels.Device, m *model.LM, peak float64, tokens int, flops float64) {
	rate := float64(tokens) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "tokens/s")
	b.ReportMetric(100*flops*float64(m.Config().ParamCount())*rate/peak, "%peak")
}
