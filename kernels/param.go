package kernels

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

	"github.com/gor1/gor1/kernels/internal/native"
)

// Param is a long-lived fp32 tensor that is trained. Its Tensor goes into operations; Backward adds to Grad, element by
// element in one chain, so that a batch split into micro-batches gives the same bits.
//
// A weight that is used twice in one pass (tied embeddings) has a Tied parameter for the second use: the same values, an
// accumulator of its own. The gradient of the weight is the sum of Grads in order.
type Param struct {
	*Tensor
	Name string

	mu      sync.Mutex
	grad    *Tensor
	packed  *Tensor
	version int // of the values; packed is stale when packedAt differs
	at      int
	bf16    bool    // matrix products round it
	halves  *halves // how it is kept then, where the device has that; Tensor has no memory
	written bool    // there are values
	base    *Param  // of a tied use
	ties    []*Param
}

// NewParam returns a parameter with the given values, row-major in shape; nil values are undefined until [Param.WriteAt] has
// written them all. The caller frees it with [Param.Free].
func (d *Device) NewParam(name string, values []float32, shape ...int) (*Param, error) {
	return d.newParam(name, values, shape, false)
}

// NewParamBF16 is [Device.NewParam] of a matrix and then [Param.UseBF16], without memory for fp32 values in between.
func (d *Device) NewParamBF16(name string, values []float32, shape ...int) (*Param, error) {
	return d.newParam(name, values, shape, true)
}

func (d *Device) newParam(name string, values []float32, shape []int, bf16 bool) (*Param, error) {
	t := &Tensor{dev: d, n: native.Tensor{DType: native.F32}}
	if err := t.setShape(shape); err != nil {
		return nil, fmt.Errorf("kernels: new parameter %s: %w", name, err)
	}
	p := &Param{Tensor: t, Name: name}
	t.mem, t.param, t.grads = &t.own, p, true
	t.mem.owned = true
	if bf16 {
		if err := p.UseBF16(); err != nil {
			return nil, err
		}
	}
	if p.halves == nil {
		b, err := d.alloc(4 * int64(t.Len()))
		if err != nil {
			return nil, fmt.Errorf("kernels: new parameter %s: %w", name, err)
		}
		t.mem.block, t.n.P = b, b.p
	}
	if values == nil {
		return p, nil
	}
	if err := p.Write(values); err != nil {
		return nil, fmt.Errorf("%w (freeing it: %v)", err, p.Free())
	}
	return p, nil
}

// Tied returns a further use of p under its own name: the same values, its own gradient accumulator. It is freed with p.
func (p *Param) Tied(name string) *Param {
	u := p.use(name)
	if p.grads {
		p.root().ties = append(p.root().ties, u)
	}
	return u
}

// Frozen returns a use of p that is not trained: the same values and packed copy, no gradient, which operations then do not
// compute. It is freed with p.
func (p *Param) Frozen() *Param {
	u := p.use(p.Name)
	u.grads = false
	return u
}

// use is p's memory under another name.
func (p *Param) use(name string) *Param {
	t := *p.Tensor
	u := &Param{Tensor: &t, Name: name, base: p.root()}
	t.param = u
	return u
}

func (p *Param) root() *Param {
	if p.base != nil {
		return p.base
	}
	return p
}

// UseBF16 makes every product with the matrix one in bf16, for all uses of p: the weight is rounded (to nearest, halves away from 0),
// the other factor too (halves to even), gradients as they go into a product likewise; sums are fp32. No bit of the values is lost, so a
// small step of an optimiser is not either. Rows that [Scope.Embedding] reads are rounded as well. It is called
// before p is used, and is an error on a device without such products ([Device.BF16]).
//
// On cpu the values are then kept in halves: the rounded weight as products read it, 2 bytes, beside it what rounding took, 2 bytes unless that is
// zero everywhere, and from the first gradient on 2 bytes of the rounded weight as gradients read it. There are no fp32 values in memory: linear
// products, heads, embeddings, AdamW, [Param.Values] and [Param.WriteAt] take such a parameter, other operations its [Scope.Values].
func (p *Param) UseBF16() error {
	if p.n.ND != 2 {
		return fmt.Errorf("kernels: %s in bf16: it is %s, want a matrix", p.Name, p.Tensor)
	}
	if p.dev.BF16() == "" {
		return fmt.Errorf("kernels: %s in bf16: device %s computes products in fp32 only; leave bf16 out there, or use cpu", p.Name, p.dev.name)
	}
	r := p.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packed != nil {
		return fmt.Errorf("kernels: %s in bf16: it has been used already", p.Name)
	}
	if r.halves == nil {
		if err := r.halve(); err != nil {
			return fmt.Errorf("kernels: %s in bf16: %w", p.Name, err)
		}
	}
	r.bf16 = true
	return nil
}

// IsBF16 reports whether [Param.UseBF16] was called.
func (p *Param) IsBF16() bool { return p.root().bf16 }

// Grad is the accumulated gradient, zero at first. It lives as long as the parameter.
func (p *Param) Grad() (*Tensor, error) {
	if !p.grads {
		return nil, fmt.Errorf("kernels: gradient of %s: the parameter is frozen", p.Name)
	}
	if err := p.root().trains(); err != nil {
		return nil, fmt.Errorf("kernels: gradient of %s: %w", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grad == nil {
		g, err := p.dev.NewBuffer(F32, p.Shape()...)
		if err != nil {
			return nil, fmt.Errorf("kernels: gradient of %s: %w", p.Name, err)
		}
		p.grad = g
	}
	return p.grad, nil
}

// Grads are the accumulators of all uses of the weight, its own first.
func (p *Param) Grads() ([]*Tensor, error) {
	uses := append([]*Param{p.root()}, p.root().ties...)
	grads := make([]*Tensor, len(uses))
	for i, u := range uses {
		g, err := u.Grad()
		if err != nil {
			return nil, err
		}
		grads[i] = g
	}
	return grads, nil
}

// ZeroGrad sets the gradients of all uses to zero.
func (p *Param) ZeroGrad() error {
	for _, u := range append([]*Param{p.root()}, p.root().ties...) {
		u.mu.Lock()
		g := u.grad
		u.mu.Unlock()
		if g == nil {
			continue
		}
		if err := p.dev.be.Zero(g.n); err != nil {
			return fmt.Errorf("kernels: zero gradient of %s: %w", u.Name, err)
		}
	}
	return nil
}

// Values returns a copy of the values.
func (p *Param) Values() ([]float32, error) {
	v := make([]float32, p.Len())
	err := p.dev.Do(context.Background(), func(s *Scope) error { return s.Read(p.Tensor, v) })
	return v, err
}

// Write replaces the values.
func (p *Param) Write(values []float32) error {
	if len(values) != p.Len() {
		return fmt.Errorf("kernels: parameter %s: %d values for shape %v", p.Name, len(values), p.Shape())
	}
	return p.WriteAt(values, 0)
}

// WriteAt replaces the values from row-major index at on, as when a parameter is read from a file piece by piece.
func (p *Param) WriteAt(values []float32, at int) error {
	if at < 0 || at > p.Len() || len(values) > p.Len()-at {
		return fmt.Errorf("kernels: parameter %s: %d values at %d of shape %v", p.Name, len(values), at, p.Shape())
	}
	if p.mem.freed {
		return fmt.Errorf("kernels: parameter %s: written after Free", p.Name)
	}
	r := p.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	if len(values) == 0 {
		return nil
	}
	r.written = true
	var err error
	if r.halves != nil {
		err = r.writeHalves(values, at)
	} else {
		err = p.dev.be.Write(r.elements(at, len(values)), ptr(values), int64(4*len(values)))
	}
	if err != nil {
		return fmt.Errorf("kernels: parameter %s: %w", p.Name, err)
	}
	return nil
}

// elements are n of the fp32 values, from index at on.
func (p *Param) elements(at, n int) native.Tensor {
	return native.Tensor{P: unsafe.Add(p.n.P, 4*at), N: [4]int64{int64(n), 1, 1, 1}, ND: 1, DType: p.n.DType}
}

func ptr(values []float32) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(values)) }

// Changed tells that the values were changed in place (by an optimiser), so that a packed copy is made anew.
func (p *Param) Changed() {
	r := p.root()
	r.mu.Lock()
	r.version++
	r.mu.Unlock()
}

// Free frees the values, the gradients and the packed copy.
func (p *Param) Free() error {
	if p.base != nil {
		return fmt.Errorf("kernels: free: parameter %s is a use of %s; free that", p.Name, p.base.Name)
	}
	err := p.Tensor.Free()
	if err != nil {
		return err
	}
	for _, u := range append([]*Param{p}, p.ties...) {
		if u.grad != nil {
			err = u.grad.Free()
		}
	}
	if p.packed != nil {
		err = p.packed.Free()
	}
	if p.halves != nil {
		err = p.halves.free()
	}
	return err
}

// pack returns the weight packed for matrix products, making it when the values have changed. A packed copy is shared by
// all scopes, so the values may not change while any of them runs.
func (p *Param) pack() (*Tensor, error) {
	r := p.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packed != nil && r.at == r.version {
		return r.packed, nil
	}
	if r.packed == nil {
		dtype, as := r.n.DType, U8
		if r.bf16 {
			dtype, as = native.BF16, BF16
		}
		bytes, err := r.dev.be.PackBytes(r.n.N[0], r.n.N[1], dtype)
		if err == nil && bytes == 0 { // products read the weight as it is
			err = native.ErrAbsent
		}
		if err != nil {
			return nil, err
		}
		if r.packed, err = r.dev.newTensor(as, []int{int(bytes) / as.Size()}); err != nil {
			return nil, err
		}
		r.packed.mem.owned = true
	}
	if err := r.dev.be.Pack(r.packed.n, r.n); err != nil {
		return nil, err
	}
	r.at = r.version
	return r.packed, nil
}
