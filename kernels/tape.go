package kernels

import (
	"fmt"
	"runtime"
	"slices"
)

// tape remembers the operations of a scope, in order. Each knows how to carry the gradient of its results to its inputs,
// by further operations of the table.
type tape struct{ nodes []node }

type node struct {
	op   string
	out  []*Tensor
	back func(g *Scope) // reads out[i].grad, adds to the inputs' gradients; g does not record
	pcs  [8]uintptr
}

func (t *tape) len() int {
	if t == nil {
		return 0
	}
	return len(t.nodes)
}

// recording reports whether an operation on these inputs goes on the tape.
func (s *Scope) recording(in ...*Tensor) bool {
	if s.noGrad || s.st.root.err != nil {
		return false
	}
	for _, t := range in {
		if t != nil && t.grads && (t.param != nil || t.tape == s.st.tape) {
			return true
		}
	}
	return false
}

// record puts an operation on the tape. back runs in the scope that calls Backward, which may not be s.
func (s *Scope) record(op string, back func(g *Scope), out ...*Tensor) {
	n := node{op: op, out: out, back: back}
	runtime.Callers(2, n.pcs[:])
	for _, t := range out {
		t.grads, t.tape = true, s.st.tape
	}
	s.st.tape.nodes = append(s.st.tape.nodes, n)
}

// Leaf returns a view of t that gradients flow to and stop at; after Backward, [Scope.GradOf] has its gradient.
func (s *Scope) Leaf(t *Tensor) *Tensor {
	if !s.want("Leaf", t) {
		return s.dead()
	}
	l := s.view(t)
	l.grads, l.tape = true, s.st.tape
	return l
}

// Detach returns a view of t that gradients do not pass.
func (s *Scope) Detach(t *Tensor) *Tensor {
	if !s.want("Detach", t) {
		return s.dead()
	}
	return s.view(t)
}

// view is t's memory under a new name, unknown to the tape.
func (s *Scope) view(t *Tensor) *Tensor { return &Tensor{dev: t.dev, n: t.n, mem: t.mem} }

// GradOf returns the gradient that the last Backward brought to a Leaf; zeros where none came.
func (s *Scope) GradOf(leaf *Tensor) *Tensor {
	if !s.want("GradOf", leaf) {
		return s.dead()
	}
	if leaf.grad == nil {
		return s.Zeros(leaf.Shape()...)
	}
	return leaf.grad
}

// Backward carries the gradients of the outputs back through the tape and adds them to the parameters' accumulators.
// seeds[i] is the gradient of outputs[i], of its shape; nil seeds, or a nil element, is 1 for a one-element output. The
// tape is used up: values made before it cannot be differentiated again. A gradient's memory is free again as soon as it has been
// carried on, so what Backward needs beside the values is about one operation's.
func (s *Scope) Backward(outputs, seeds []*Tensor) {
	if !s.want("Backward", outputs...) || !s.ready("Backward", seeds...) {
		return
	}
	if seeds != nil && len(seeds) != len(outputs) {
		s.fail("Backward", "%d outputs with %d seeds", len(outputs), len(seeds))
		return
	}
	ng, before := s.NoGrad(), len(s.st.mems)
	for i, out := range outputs {
		var seed *Tensor
		if seeds != nil {
			seed = seeds[i]
		}
		switch {
		case !out.grads || out.tape != s.st.tape || (out.param == nil && s.st.tape.len() == 0):
			s.fail("Backward", "output %d, %s, does not depend on a parameter or leaf of this scope's tape", i+1, out)
			return
		case seed == nil && out.Len() != 1:
			s.fail("Backward", "output %d, %s, has more than one element and no seed", i+1, out)
			return
		case seed == nil:
			seed = ng.Full(1, out.Shape()...)
		case seed.DType() != F32 || !sameShape(seed, out):
			s.fail("Backward", "seed %d is %s, its output %s", i+1, seed, out)
			return
		}
		ng.addGrad(out, seed)
	}
	nodes := s.st.tape.nodes
	s.st.tape.nodes = nil
	for i := len(nodes) - 1; i >= 0; i-- {
		n := &nodes[i]
		if !slices.ContainsFunc(n.out, func(t *Tensor) bool { return t.grad != nil }) {
			continue
		}
		n.back(ng)
		if err := s.Err(); err != nil {
			s.st.root.err = fmt.Errorf("%w; in the gradient of %s made at %s", err, n.op, caller(n.pcs[:]))
			return
		}
		for _, t := range n.out {
			t.setGrad(nil)
		}
		s.st.sweep(before)
	}
}

// setGrad makes g the gradient of x, and counts whose gradients lie in which memory.
func (x *Tensor) setGrad(g *Tensor) {
	if x.grad != nil {
		x.grad.mem.wanted--
	}
	if x.grad = g; g != nil {
		g.mem.wanted++
	}
}

// sweep frees the memory, of what was made since there were n, that nothing wants any more.
func (st *state) sweep(n int) {
	keep := st.mems[:n]
	for _, m := range st.mems[n:] {
		if m.wanted > 0 {
			keep = append(keep, m)
		} else {
			st.free(m)
		}
	}
	clear(st.mems[len(keep):])
	st.mems = keep
}

// addGrad adds g to the gradient of x: to its accumulator where x is a parameter, else to what has come so far.
func (s *Scope) addGrad(x, g *Tensor) {
	switch {
	case x == nil || !x.grads || g.dead:
	case x.param != nil:
		if acc := s.accumulator(x); acc != nil {
			s.did("Backward", s.st.be.Binary(opAdd, howSame, acc.n, acc.n, g.n), acc, g)
		}
	case x.grad == nil:
		x.setGrad(g)
	default:
		if sum := s.Add(x.grad, g); !sum.dead {
			x.setGrad(sum)
		}
	}
}

func (s *Scope) accumulator(x *Tensor) *Tensor {
	acc, err := x.param.Grad()
	if err != nil {
		s.fail("Backward", "%w", err)
		return nil
	}
	return acc
}

// into calls add with a tensor that a kernel may add x's gradient to: the parameter's accumulator, so that one chain runs
// through all micro-batches, or zeros that are then x's gradient. It does nothing where x wants none.
func (s *Scope) into(x *Tensor, add func(acc *Tensor)) {
	switch {
	case x == nil || !x.grads:
	case x.param != nil:
		if acc := s.accumulator(x); acc != nil {
			add(acc)
		}
	default:
		acc := s.Zeros(x.Shape()...)
		add(acc)
		s.addGrad(x, acc)
	}
}

// Checkpoint runs fn without keeping what it computes inside and runs it again when Backward needs it: the same values,
// bit for bit, for less memory. Gradients reach in and the parameters fn uses; fn must not use other recorded tensors.
func (s *Scope) Checkpoint(fn func(s *Scope, in ...*Tensor) []*Tensor, in ...*Tensor) []*Tensor {
	if s.noGrad {
		return s.Sub(func(s *Scope) []*Tensor { return fn(s, in...) })
	}
	if !s.want("Checkpoint", in...) {
		return nil
	}
	out := s.NoGrad().Sub(func(s *Scope) []*Tensor { return fn(s, in...) })
	if s.Err() != nil {
		return out
	}
	again := func(g *Scope) {
		g.Sub(func(inner *Scope) []*Tensor {
			inner.noGrad, inner.segs = false, s.segs
			inner.st.tape = &tape{}
			leaves := make([]*Tensor, len(in))
			for i, t := range in {
				leaves[i] = inner.Leaf(t)
			}
			redo := fn(inner, leaves...)
			var roots, seeds []*Tensor
			for i, t := range out {
				if t.grad != nil && i < len(redo) && redo[i].grads {
					roots, seeds = append(roots, redo[i]), append(seeds, t.grad)
				}
			}
			if len(roots) > 0 {
				inner.Backward(roots, seeds)
			}
			keep := make([]*Tensor, 0, len(in))
			for i, l := range leaves {
				if l.grad != nil {
					keep = append(keep, l.grad)
					g.addGrad(in[i], l.grad)
					l.setGrad(nil)
				}
			}
			return keep
		})
	}
	s.record("Checkpoint", again, out...)
	return out
}
