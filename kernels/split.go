package kernels

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gor1/gor1/kernels/internal/native"
)

// halves are a bf16 matrix that is kept without its fp32 values: r1.h has what the parts are. Where the low ones are zero, as of
// weights from bf16 files that nobody trains, there are none, and what linear_dx reads is made when the first gradient asks for it.
type halves struct {
	hi, lo, back *Tensor
	stale        bool // back is of earlier values
}

// KeepsHalves reports that the device keeps matrices in bf16 in halves ([Param.UseBF16]), not beside fp32 values.
func (d *Device) KeepsHalves() bool {
	_, err := d.be.SplitBytes(1, 1, native.SplitHi)
	return err == nil
}

// atOnce is how many numbers go into halves, or out of them to the host, at a time.
const atOnce = 1 << 20

// halved is the parameter whose values t stands for where they are kept in halves, else nil.
func (t *Tensor) halved() *Param {
	if t.param == nil || t.param.root().halves == nil {
		return nil
	}
	return t.param.root()
}

// part allocates a part of the halves, zeros.
func (p *Param) part(part int32) (*Tensor, error) {
	bytes, err := p.dev.be.SplitBytes(p.n.N[0], p.n.N[1], part)
	if err != nil {
		return nil, err
	}
	if part == native.SplitLo {
		return p.dev.NewBuffer(U8, int(bytes))
	}
	return p.dev.NewBuffer(BF16, int(bytes/2))
}

// halve moves the values into halves, where the device has such; p.mu is held.
func (p *Param) halve() error {
	hi, err := p.part(native.SplitHi)
	if errors.Is(err, native.ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	p.halves = &halves{hi: hi}
	if p.n.P == nil {
		p.mem.halved = true
		return nil
	}
	for at := 0; p.written && at < p.Len(); at += atOnce {
		values := make([]float32, min(atOnce, p.Len()-at))
		if err = p.dev.be.Read(ptr(values), p.elements(at, len(values)), int64(4*len(values))); err == nil {
			err = p.writeHalves(values, at)
		}
		if err != nil {
			err = errors.Join(err, p.halves.free())
			p.halves = nil
			return err
		}
	}
	p.dev.release(p.mem.block)
	p.mem.block, p.mem.halved, p.n.P = block{}, true, nil
	return nil
}

// asWeight is what stands for the matrix in operations without linear_dx: its shape, in bf16.
func (p *Param) asWeight() native.Tensor {
	w := p.n
	w.DType = native.BF16
	return w
}

// withBack is asWeight with what linear_dx reads, made where it is not there or of earlier values.
func (p *Param) withBack() (w native.Tensor, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.halves
	if h.back == nil {
		if h.back, err = p.part(native.SplitBack); err != nil {
			return w, err
		}
		h.stale = true
	}
	w = p.asWeight()
	w.P = h.back.n.P
	if h.stale {
		err = p.dev.be.SplitBack(w, h.hi.n)
		h.stale = err != nil
	}
	return w, err
}

// low are the low halves, absent where they are zero.
func (p *Param) low() native.Tensor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return absent(p.halves.lo)
}

// trains makes room for the low halves before the first step needs them: a run that has not the memory ends at its first gradient.
func (p *Param) trains() error {
	if p.halves == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.withLow()
}

// withLow makes room for the low halves; p.mu is held.
func (p *Param) withLow() (err error) {
	if p.halves.lo == nil {
		p.halves.lo, err = p.part(native.SplitLo)
	}
	return err
}

// writeHalves replaces the values from index at on; p.mu is held.
func (p *Param) writeHalves(values []float32, at int) error {
	if slices.ContainsFunc(values, func(v float32) bool { return math.Float32bits(v)&0xffff != 0 }) {
		if err := p.withLow(); err != nil {
			return err
		}
	}
	p.halves.stale = true
	for len(values) > 0 {
		n := min(atOnce, len(values))
		x, err := p.dev.newTensor(F32, []int{n})
		if err != nil {
			return err
		}
		err = p.dev.be.Write(x.n, ptr(values), int64(4*n))
		if err == nil {
			err = p.dev.be.SplitWrite(p.asWeight(), p.halves.hi.n, absent(p.halves.lo), x.n, int64(at))
		}
		p.dev.release(x.own.block)
		if err != nil {
			return err
		}
		values, at = values[n:], at+n
	}
	return nil
}

// readHalves fills dst with the values.
func (s *Scope) readHalves(p *Param, dst []float32) bool {
	s = s.NoGrad()
	for at := 0; at < len(dst); at += atOnce {
		to := dst[at:min(at+atOnce, len(dst))]
		x := s.make("Read", F32, len(to))
		if x.dead || !s.did("Read", s.st.be.SplitRead(x.n, p.asWeight(), p.halves.hi.n, p.low(), int64(at)), p.Tensor) || s.Read(x, to) != nil {
			return false
		}
		s.Release(x)
	}
	return true
}

// Values are the fp32 values of a parameter, to compute with: the parameter itself, or where the device keeps no such values, as of a matrix
// in bf16 ([Param.UseBF16]), a copy, which no gradient flows through.
func (s *Scope) Values(t *Tensor) *Tensor {
	if !s.wantWeight("Values", t, t) {
		return s.dead()
	}
	p := t.halved()
	if p == nil {
		return t
	}
	y := s.make("Values", F32, t.Shape()...)
	if y.dead || !s.did("Values", s.st.be.SplitRead(y.n, p.asWeight(), p.halves.hi.n, p.low(), 0), t) {
		return s.dead()
	}
	return y
}

// adamwHalves is AdamW of a parameter in halves.
func (s *Scope) adamwHalves(p *Param, m, v, grad, hyper *Tensor, o AdamWOptions) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.withLow(); err != nil {
		return err
	}
	h, w := p.halves, p.asWeight()
	if h.back != nil {
		w.P = h.back.n.P
	}
	err := s.st.be.SplitAdamW(w, h.hi.n, h.lo.n, m.n, v.n, grad.n, hyper.n, float32(o.Beta1), float32(o.Beta2), float32(o.Eps), float32(o.Decay))
	h.stale = err != nil
	return err
}

func (h *halves) free() error {
	var errs []error
	for _, t := range []*Tensor{h.hi, h.lo, h.back} {
		if t != nil {
			errs = append(errs, t.Free())
		}
	}
	return errors.Join(errs...)
}

// notWhole says of a halved argument what to do.
func notWhole(t *Tensor) error {
	return fmt.Errorf("%s is a parameter in bf16, of which the device keeps no fp32 values: give it Scope.Values of it", t)
}
