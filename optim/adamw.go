package optim

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
)

// Config are AdamW's constants (arXiv 1711.05101).
type Config struct {
	Beta1, Beta2 float64 // decay of the moments
	Eps          float64 // added to the root of the second moment
	Decay        float64 // weight decay, times the learning rate, of the parameters that Decayed names
	MaxNorm      float64 // the gradient is scaled down to this global norm; 0: never
	// Decayed tells which parameters decay; nil: those of two dimensions, so norms and biases do not.
	Decayed func(p *kernels.Param) bool
}

// Default is AdamW as transformers has it: betas 0.9 and 0.999, eps 1e-8, no decay, gradients clipped to norm 1.
func Default() Config { return Config{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxNorm: 1} }

// AdamW is the optimiser of a set of parameters. Close frees its moments.
type AdamW struct {
	config Config
	params []*kernels.Param
	m, v   []*kernels.Tensor
	step   int
}

// ErrNotFinite is wrapped by the error of a step whose gradient is NaN or infinite. The parameters are as they were.
var ErrNotFinite = errors.New("gradient is not finite")

// New returns an optimiser for params, all of one device.
func New(params []*kernels.Param, c Config) (*AdamW, error) {
	if !(c.Beta1 >= 0 && c.Beta1 < 1) || !(c.Beta2 >= 0 && c.Beta2 < 1) || !(c.Eps > 0) || !(c.Decay >= 0) || !(c.MaxNorm >= 0) {
		return nil, fmt.Errorf("optim: betas %g and %g, eps %g, decay %g, max norm %g: out of range", c.Beta1, c.Beta2, c.Eps, c.Decay, c.MaxNorm)
	}
	if len(params) == 0 {
		return nil, errors.New("optim: no parameters")
	}
	if c.Decayed == nil {
		c.Decayed = func(p *kernels.Param) bool { return len(p.Shape()) >= 2 }
	}
	a := &AdamW{config: c, params: params}
	for _, p := range params {
		for _, list := range []*[]*kernels.Tensor{&a.m, &a.v} {
			t, err := p.Device().NewBuffer(kernels.F32, p.Shape()...)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("optim: moments of %s: %w", p.Name, err), a.Close())
			}
			*list = append(*list, t)
		}
	}
	return a, nil
}

// Close frees the moments.
func (a *AdamW) Close() error {
	var errs []error
	for _, t := range append(a.m, a.v...) {
		errs = append(errs, t.Free())
	}
	a.m, a.v = nil, nil
	return errors.Join(errs...)
}

// Steps is how many steps were taken.
func (a *AdamW) Steps() int { return a.step }

// Step takes the accumulated gradients (the uses of a tied weight added in order), clips them, updates the parameters with
// the learning rate lr and sets the gradients to zero. It returns the global norm before clipping: square sums in float64
// over fixed blocks, so it does not depend on threads.
func (a *AdamW) Step(ctx context.Context, lr float64) (norm float64, err error) {
	grads := make([]*kernels.Tensor, len(a.params))
	err = a.params[0].Device().Do(ctx, func(s *kernels.Scope) error {
		for i, p := range a.params {
			uses, err := p.Grads()
			if err != nil {
				return err
			}
			for _, g := range uses[1:] {
				s.AddTo(uses[0], g)
			}
			grads[i] = uses[0]
		}
		norm = math.Sqrt(s.SqNorm(grads...))
		if s.Err() == nil && (math.IsNaN(norm) || math.IsInf(norm, 0)) {
			return fmt.Errorf("optim: step %d: %w", a.step+1, ErrNotFinite)
		}
		scale := 1.0
		if a.config.MaxNorm > 0 {
			scale = math.Min(1, a.config.MaxNorm/(norm+1e-6))
		}
		for i, p := range a.params {
			o := kernels.AdamWOptions{LR: lr, Beta1: a.config.Beta1, Beta2: a.config.Beta2, Eps: a.config.Eps, Scale: scale, Step: a.step + 1}
			if a.config.Decayed(p) {
				o.Decay = a.config.Decay
			}
			s.AdamW(p.Tensor, a.m[i], a.v[i], grads[i], o)
			p.Changed()
		}
		return nil
	})
	err = errors.Join(err, a.ZeroGrads())
	if err == nil {
		a.step++
	}
	return norm, err
}

// SqGradNorm is the squared norm of the gradients accumulated so far, summed as Step sums them. It changes nothing.
func (a *AdamW) SqGradNorm(ctx context.Context) (sum float64, err error) {
	err = a.params[0].Device().Do(ctx, func(s *kernels.Scope) error {
		s = s.NoGrad()
		grads := make([]*kernels.Tensor, len(a.params))
		for i, p := range a.params {
			uses, err := p.Grads()
			if err != nil {
				return err
			}
			for grads[i] = uses[0]; len(uses) > 1; uses = uses[1:] {
				grads[i] = s.Add(grads[i], uses[1])
			}
		}
		sum = s.SqNorm(grads...)
		return s.Err()
	})
	return sum, err
}

// ZeroGrads forgets the gradients that have been accumulated, as after a pass that failed.
func (a *AdamW) ZeroGrads() error {
	var errs []error
	for _, p := range a.params {
		errs = append(errs, p.ZeroGrad())
	}
	return errors.Join(errs...)
}

// Names are the parameters' names, in order.
func (a *AdamW) Names() []string {
	names := make([]string, len(a.params))
	for i, p := range a.params {
		names[i] = p.Name
	}
	return names
}

// State is everything the optimiser remembers, by parameter name.
type State struct {
	Step int
	M, V map[string][]float32
}

// State copies the state.
func (a *AdamW) State() (State, error) {
	st := State{Step: a.step, M: map[string][]float32{}, V: map[string][]float32{}}
	err := a.params[0].Device().Do(context.Background(), func(s *kernels.Scope) error {
		for i, p := range a.params {
			m, v := make([]float32, p.Len()), make([]float32, p.Len())
			if err := errors.Join(s.Read(a.m[i], m), s.Read(a.v[i], v)); err != nil {
				return err
			}
			st.M[p.Name], st.V[p.Name] = m, v
		}
		return nil
	})
	return st, err
}

// SetState continues from a state that State returned.
func (a *AdamW) SetState(st State) error {
	for _, p := range a.params {
		if len(st.M[p.Name]) != p.Len() || len(st.V[p.Name]) != p.Len() {
			return fmt.Errorf("optim: state of %s has %d and %d values, want %d", p.Name, len(st.M[p.Name]), len(st.V[p.Name]), p.Len())
		}
	}
	a.step = st.Step
	return a.params[0].Device().Do(context.Background(), func(s *kernels.Scope) error {
		for i, p := range a.params {
			s.CopyTo(a.m[i], s.FromF32(st.M[p.Name], p.Shape()...))
			s.CopyTo(a.v[i], s.FromF32(st.V[p.Name], p.Shape()...))
		}
		return nil
	})
}
