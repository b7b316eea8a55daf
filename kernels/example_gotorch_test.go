package kernels_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gor1/gor1/kernels"
)

// GoTorch's training loop of a multi-layer perceptron, over kernels: parameters instead of modules, a scope instead of a garbage
// collector, returned errors instead of panics. It learns which of two rings a point lies on.
func Example_gotorchMLP() {
	dev, err := kernels.Open("cpu") // gotorch.NewDevice("cpu")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()
	r := rand.New(rand.NewPCG(1, 2))
	layer := func(name string, out, in int) *kernels.Param { // nn.Linear
		w := make([]float32, out*in)
		for i := range w {
			w[i] = float32(r.NormFloat64()) * 0.7
		}
		p, _ := dev.NewParam(name, w, out, in)
		return p
	}
	params := []*kernels.Param{layer("w1", 16, 3), layer("w2", 2, 16)}
	var right float64
	for range 300 {
		points, labels := rings(r, 64)
		err := dev.Do(context.Background(), func(s *kernels.Scope) error {
			h := s.Relu(s.Linear(s.FromF32(points, 64, 3), params[0].Tensor, nil))
			logp := s.LogSoftmax(s.Linear(h, params[1].Tensor, nil))
			loss := s.Neg(s.Mean(s.Pick(logp, labels))) // F.NllLoss
			s.Backward([]*kernels.Tensor{loss}, nil)    // loss.Backward()
			for _, p := range params {                  // opt.Step(), opt.ZeroGrad(): plain SGD
				g, err := p.Grad()
				if err != nil {
					return err
				}
				s.AddTo(p.Tensor, s.Affine(g, -0.3, 0))
				p.Changed()
				if err := p.ZeroGrad(); err != nil {
					return err
				}
			}
			scores := make([]float32, 128)
			if err := s.Read(logp, scores); err != nil {
				return err
			}
			right = 0
			for i, label := range labels {
				if (scores[2*i+1] > scores[2*i]) == (label == 1) {
					right++
				}
			}
			return nil
		}) // everything made through s is freed here
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("more than 95 % right:", right/64 > 0.95)
	for _, p := range params {
		if err := p.Free(); err != nil {
			fmt.Println(err)
		}
	}
	// Output: more than 95 % right: true
}

// rings draws points (x, y, 1) inside and outside a circle.
func rings(r *rand.Rand, n int) (points []float32, labels []int32) {
	for len(labels) < n {
		x, y := 2*r.Float64()-1, 2*r.Float64()-1
		d := x*x + y*y
		if d > 0.3 && d < 0.5 {
			continue
		}
		label := int32(0)
		if d >= 0.5 {
			label = 1
		}
		points, labels = append(points, float32(x), float32(y), 1), append(labels, label)
	}
	return points, labels
}
