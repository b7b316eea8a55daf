package importer

import (
	"context"
	"testing"

	"github.com/gor1/gor1/distill"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
	"github.com/gor1/gor1/sampling/pick"
	"github.com/gor1/gor1/sft"
)

// digits is a tokenizer of the 64 ids of model.Tiny.
type digits struct{}

func (digits) Encode(text string) (ids []int32, err error) {
	for _, b := range []byte(text) {
		ids = append(ids, int32(b-'0'))
	}
	return ids, nil
}

func (digits) Decode(ids []int32) string {
	b := make([]byte, len(ids))
	for i, id := range ids {
		b[i] = '0' + byte(id)
	}
	return string(b)
}

// Rejection sampling, the SFT loss and the distillation loss are each called alone, on a model of the library's.
func TestStages(t *testing.T) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	var models [2]*model.LM
	for i := range models {
		if models[i], err = model.Tiny(dev, uint64(i)); err != nil {
			t.Fatal(err)
		}
		defer models[i].Close()
	}
	student, teacher := models[0], models[1]
	long := reward.Named("long", reward.FromText(func(_, completion, _ string) float64 { return float64(len(completion)) }))
	engine := sampling.New(student, sampling.Options{Codec: digits{}, Temperature: 1, MaxTokens: 8, Seed: 1})
	var row []int32
	for g, err := range sampling.Reject(context.Background(), engine, sampling.Request{Problems: []reward.Problem{{Prompt: "12"}}, Samples: 4, Score: long}, pick.Best(1, "long")) {
		if err != nil || len(g.Samples) != 1 || g.Dropped["not chosen"] != 3 {
			t.Fatal(g, err)
		}
		row = append(append(row, g.Prompt...), g.Samples[0].Tokens...)
	}
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		head := func(s *kernels.Scope, m *model.LM) distill.Head {
			w, cap := m.OutputHead()
			rows := make([]int32, len(row)-1)
			for i := range rows {
				rows[i] = int32(i)
			}
			return distill.Head{Hidden: s.Gather(m.Forward(s, row, kernels.PackedSegs(len(row))), rows), Weight: w, SoftCap: cap}
		}
		n := float64(len(row) - 1)
		weightT := s.Full(1, len(row)-1)
		kl, logpT, _ := distill.KL(s, head(s, student), head(s.NoGrad(), teacher), row[1:], weightT, n, 1, distill.Reverse)
		loss := sft.Loss(s, logpT, weightT, n)
		s.Backward([]*kernels.Tensor{s.Add(kl, loss)}, nil)
		var v [2]float32
		if err := s.Read(kl, v[:1]); err != nil {
			return err
		}
		if err := s.Read(loss, v[1:]); err != nil {
			return err
		}
		if !(v[0] > 0) || !(v[1] > 0) {
			t.Errorf("divergence %g, loss %g", v[0], v[1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
