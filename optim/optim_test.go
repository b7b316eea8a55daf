package optim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
)

func readJSON(t *testing.T, path string, v any) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, v))
}

// Every schedule this package has against transformers' tables; those it does not have are named here.
func TestSchedulesEqualTransformers(t *testing.T) {
	var tables []struct {
		Name   string         `json:"name"`
		Warmup int            `json:"num_warmup_steps"`
		Total  int            `json:"num_training_steps"`
		Kwargs map[string]any `json:"kwargs"`
		Base   float64        `json:"base_lr"`
		LR     []float64      `json:"lr"`
	}
	readJSON(t, "testdata/lr_schedules.json", &tables)
	num := func(kw map[string]any, name string) float64 { v, _ := kw[name].(float64); return v }
	checked, notOffered := 0, map[string]int{}
	for _, g := range tables {
		var s optim.Schedule
		switch _, odd := g.Kwargs["decay_type"]; {
		case g.Name == "constant":
			s = optim.Constant()
		case g.Name == "constant_with_warmup":
			s = optim.ConstantWithWarmup(g.Warmup)
		case g.Name == "linear":
			s = optim.Linear(g.Warmup, g.Total, 0)
		case g.Name == "cosine" && len(g.Kwargs) == 0:
			s = optim.Cosine(g.Warmup, g.Total, 0)
		case g.Name == "cosine_with_min_lr":
			floor := num(g.Kwargs, "min_lr_rate")
			if lr := num(g.Kwargs, "min_lr"); lr > 0 {
				floor = lr / g.Base
			}
			s = optim.Cosine(g.Warmup, g.Total, floor)
		case g.Name == "warmup_stable_decay" && !odd:
			decay := int(num(g.Kwargs, "num_decay_steps"))
			stable := g.Total - g.Warmup - decay
			if n := num(g.Kwargs, "num_stable_steps"); n > 0 {
				stable = int(n)
			}
			s = optim.WSD(g.Warmup, stable, decay, num(g.Kwargs, "min_lr_ratio"))
		default:
			notOffered[fmt.Sprint(g.Name, g.Kwargs)]++
			continue
		}
		checked++
		for step, want := range g.LR {
			require.InDelta(t, want, g.Base*s(step), 1e-12*g.Base, "%s %v warmup %d step %d", g.Name, g.Kwargs, g.Warmup, step)
		}
	}
	require.Equal(t, 24, checked, "tables checked; not offered: %v", notOffered)
}

// flat is an array of any depth, read row-major.
type flat []float64

func (f *flat) UnmarshalJSON(text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	f.add(v)
	return nil
}

func (f *flat) add(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			f.add(x)
		}
	case float64:
		*f = append(*f, v)
	}
}

func TestAdamWEqualsTorch(t *testing.T) {
	var cases []struct {
		ID      string    `json:"id"`
		LR      float64   `json:"lr"`
		Betas   []float64 `json:"betas"`
		Eps     float64   `json:"eps"`
		Decay   float64   `json:"weight_decay"`
		MaxNorm *float64  `json:"max_grad_norm"`
		DType   string    `json:"dtype"`
		Initial []flat    `json:"initial"`
		Grads   [][]flat  `json:"grads"`
		Steps   []struct {
			Norm   *float64 `json:"grad_norm_before_clip"`
			Params []flat   `json:"params"`
		} `json:"steps"`
	}
	readJSON(t, "testdata/adamw.json", &cases)
	for _, g := range cases {
		t.Run(g.ID, func(t *testing.T) {
			dev, err := kernels.Open("cpu")
			require.NoError(t, err)
			var params []*kernels.Param
			for i, v := range g.Initial {
				p, err := dev.NewParam(fmt.Sprint("p", i), narrow(v), len(v))
				require.NoError(t, err)
				params = append(params, p)
			}
			c := optim.Config{Beta1: g.Betas[0], Beta2: g.Betas[1], Eps: g.Eps, Decay: g.Decay, Decayed: func(*kernels.Param) bool { return true }}
			if g.MaxNorm != nil {
				c.MaxNorm = *g.MaxNorm
			}
			opt, err := optim.New(params, c)
			require.NoError(t, err)
			for step, grads := range g.Grads {
				for i, p := range params {
					acc, err := p.Grad()
					require.NoError(t, err)
					require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
						s.CopyTo(acc, s.FromF32(narrow(grads[i])))
						return nil
					}))
				}
				norm, err := opt.Step(context.Background(), g.LR)
				require.NoError(t, err)
				want := g.Steps[step]
				if want.Norm != nil {
					require.InEpsilon(t, *want.Norm, norm, 1e-6)
				}
				for i, p := range params {
					got, err := p.Values()
					require.NoError(t, err)
					for j, w := range want.Params[i] {
						require.InDelta(t, w, float64(got[j]), 2e-6, "step %d parameter %d[%d]", step, i, j)
					}
				}
			}
			require.NoError(t, opt.Close())
			for _, p := range params {
				require.NoError(t, p.Free())
			}
			require.NoError(t, dev.Close())
		})
	}
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func newParam(t *testing.T, dev *kernels.Device, name string, shape ...int) *kernels.Param {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%5) - 2
	}
	p, err := dev.NewParam(name, v, shape...)
	require.NoError(t, err)
	return p
}

func setGrad(t *testing.T, p *kernels.Param, value float32) {
	acc, err := p.Grad()
	require.NoError(t, err)
	require.NoError(t, p.Device().Do(context.Background(), func(s *kernels.Scope) error {
		s.CopyTo(acc, s.Full(value, p.Shape()...))
		return nil
	}))
}

// Matrices decay, vectors do not; a tied weight moves by the sum of its uses' gradients.
func TestGroupsAndTies(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	w, b := newParam(t, dev, "w", 2, 3), newParam(t, dev, "b", 3)
	before, err := w.Values()
	require.NoError(t, err)
	opt, err := optim.New([]*kernels.Param{w, b}, optim.Config{Beta1: .9, Beta2: .99, Eps: 1e-8, Decay: .5})
	require.NoError(t, err)
	setGrad(t, w, 0)
	setGrad(t, b, 0)
	_, err = opt.Step(context.Background(), .1)
	require.NoError(t, err)
	after, err := w.Values()
	require.NoError(t, err)
	for i := range before {
		require.InDelta(t, float64(before[i])*.95, float64(after[i]), 1e-6)
	}
	unchanged, err := b.Values()
	require.NoError(t, err)
	require.Equal(t, []float32{-2, -1, 0}, unchanged)

	tied := w.Tied("head")
	setGrad(t, w, 1)
	setGrad(t, tied, -1) // cancels
	norm, err := opt.Step(context.Background(), 0)
	require.NoError(t, err)
	require.Zero(t, norm)

	setGrad(t, b, float32(math.NaN()))
	kept, err := opt.State()
	require.NoError(t, err)
	_, err = opt.Step(context.Background(), .1)
	require.ErrorIs(t, err, optim.ErrNotFinite)
	now, err := opt.State()
	require.NoError(t, err)
	require.Equal(t, kept, now, "a refused step changes nothing")
	_, err = opt.Step(context.Background(), .1)
	require.NoError(t, err, "the bad gradient is gone")
}

// A restored optimiser goes on with the same bits.
func TestStateRoundTrip(t *testing.T) {
	run := func(save int) []float32 {
		dev, err := kernels.Open("cpu")
		require.NoError(t, err)
		w := newParam(t, dev, "w", 40, 30)
		opt, err := optim.New([]*kernels.Param{w}, optim.Default())
		require.NoError(t, err)
		for step := range 6 {
			if step == save {
				st, err := opt.State()
				require.NoError(t, err)
				require.NoError(t, opt.Close())
				opt, err = optim.New([]*kernels.Param{w}, optim.Default())
				require.NoError(t, err)
				require.NoError(t, opt.SetState(st))
			}
			setGrad(t, w, float32(step)-2.5)
			_, err := opt.Step(context.Background(), .01)
			require.NoError(t, err)
		}
		v, err := w.Values()
		require.NoError(t, err)
		return v
	}
	require.Equal(t, run(-1), run(3))
}

func TestConfigRefused(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	w := newParam(t, dev, "w", 2)
	for _, c := range []optim.Config{{}, {Beta1: 1, Beta2: .9, Eps: 1}, {Beta1: .9, Beta2: .9, Eps: 1, Decay: -1}, {Beta1: .9, Beta2: math.NaN(), Eps: 1}} {
		_, err := optim.New([]*kernels.Param{w}, c)
		require.ErrorContains(t, err, "out of range")
	}
	_, err = optim.New(nil, optim.Default())
	require.ErrorContains(t, err, "no parameters")
}

func ExampleCosine() {
	lr := optim.Cosine(10, 100, 0.1)
	fmt.Printf("%.2f %.2f %.2f %.2f\n", lr(0), lr(10), lr(55), lr(100))
	// Output: 0.00 1.00 0.55 0.10
}
