package model_test

import (
	"context"
	"fmt"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// Scoring a text, and taking its gradient.
func Example() {
	dev, err := kernels.Open("cpu")
	if err != nil {
		panic(err)
	}
	lm, err := model.Tiny(dev, 1) // model.Load(dev, "a Hugging Face folder", model.Options{}) for a real one
	if err != nil {
		panic(err)
	}
	defer lm.Close()
	ids := []int32{3, 1, 4, 1, 5 /* and a second text */, 9, 2, 6}
	segs := kernels.PackedSegs(5, 3)
	rows, targets := model.NextTokens(ids, segs)
	logp := make([]float32, len(targets))
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		logpT, _ := lm.LogProbs(s, ids, segs, rows, targets, 1)
		s.Backward([]*kernels.Tensor{s.Neg(s.Mean(logpT))}, nil)
		return s.Read(logpT, logp)
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(logp), "log-probs, of", targets)
	grad, err := lm.Params()[0].Grad()
	fmt.Println(lm.Params()[0].Name, grad.Shape(), err)
	// Output:
	// 6 log-probs, of [1 4 1 5 2 6]
	// model.embed_tokens.weight [64 32] <nil>
}

// A low-rank adapter is trained; the model without it is the reference, at no extra memory.
func ExampleLM_WithLoRA() {
	dev, err := kernels.Open("cpu")
	if err != nil {
		panic(err)
	}
	base, err := model.Tiny(dev, 1)
	if err != nil {
		panic(err)
	}
	defer base.Close()
	policy, err := base.WithLoRA(model.LoRAConfig{R: 4, Alpha: 8, Targets: []string{"q_proj", "v_proj"}}, 1)
	if err != nil {
		panic(err)
	}
	defer policy.Close()
	trained := 0
	for _, p := range policy.Params() {
		trained += p.Len()
	}
	fmt.Println(trained, "of", base.Config().ParamCount(), "numbers are trained; the reference is", policy.Base() == base)
	// Then grpo.New(policy, base, grpo.R1Zero()), policy.Save(dir) for peft, and policy.Merged() for one folder.
	// Output:
	// 1536 of 26848 numbers are trained; the reference is true
}
