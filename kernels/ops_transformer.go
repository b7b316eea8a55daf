package kernels

import "github.com/gor1/gor1/kernels/internal/native"

// RMSNorm is x / sqrt(mean(x^2) + eps) * w along the last dimension (arXiv 1910.07467): x [.., D], w [D].
func (s *Scope) RMSNorm(x, w *Tensor, eps float32) *Tensor { return s.rmsNorm("RMSNorm", x, w, eps, 0) }

// RMSNormOffset is [Scope.RMSNorm] with 1 + w in place of w, as Gemma stores its norms.
func (s *Scope) RMSNormOffset(x, w *Tensor, eps float32) *Tensor {
	return s.rmsNorm("RMSNormOffset", x, w, eps, 1)
}

// rmsNorm multiplies by offset + leaf, whose gradient is the leaf's: it goes straight into the leaf's accumulator, one chain.
func (s *Scope) rmsNorm(name string, x, leaf *Tensor, eps, offset float32) *Tensor {
	if !s.want(name, x, leaf) {
		return s.dead()
	}
	if x.n.ND == 0 || leaf.n.ND != 1 || leaf.Dim(0) != x.cols() {
		return s.fail(name, "x %s, w %s: want [..,D], [D]", x, leaf)
	}
	w := leaf
	if offset != 0 {
		w = s.NoGrad().Affine(leaf, 1, offset)
	}
	y, rstd := s.like(name, x), s.make(name, F32, x.rows())
	if y.dead || rstd.dead || !s.did(name, s.st.be.RMSNorm(y.n, rstd.n, x.n, w.n, eps), x, w) {
		return s.dead()
	}
	if s.recording(x, leaf) {
		s.record(name, func(g *Scope) {
			be := g.st.be
			if x.grads {
				dx := g.like(name, x)
				if !dx.dead && g.did(name, be.RMSNormDX(dx.n, y.grad.n, x.n, w.n, rstd.n), x) {
					g.addGrad(x, dx)
				}
			}
			g.into(leaf, func(acc *Tensor) { g.did(name, be.RMSNormDW(acc.n, y.grad.n, x.n, rstd.n), x) })
		}, y)
	}
	return y
}

// Rope turns each head's two halves by its position's angles, as Llama does (arXiv 2104.09864): x [T, H, d], pos i32 [T],
// table [positions, d] with d/2 cosines and then d/2 sines.
func (s *Scope) Rope(x, pos, table *Tensor) *Tensor { return s.rope("Rope", 0, x, pos, table) }

// RopePairs is [Scope.Rope] with neighbours (2i, 2i+1) turned in place of halves (i, i + d/2), as DeepSeek-V3 stores them.
func (s *Scope) RopePairs(x, pos, table *Tensor) *Tensor {
	return s.rope("RopePairs", native.RopePairs, x, pos, table)
}

func (s *Scope) rope(name string, how int32, x, pos, table *Tensor) *Tensor {
	if !s.want(name, x, table) || !s.ready(name, pos) {
		return s.dead()
	}
	if pos == nil || pos.DType() != I32 || x.n.ND != 3 || table.n.ND != 2 || table.Dim(1) != x.Dim(2) || pos.Len() != x.Dim(0) {
		return s.fail(name, "x %s, pos %s, table %s: want [T,H,d], i32 [T], [positions,d]", x, pos, table)
	}
	y := s.like(name, x)
	if y.dead || !s.did(name, s.st.be.Rope(y.n, x.n, pos.n, table.n, how), x, pos, table) {
		return s.dead()
	}
	if s.recording(x) {
		s.record(name, func(g *Scope) {
			dx := g.like(name, x)
			if !dx.dead && g.did(name, g.st.be.Rope(dx.n, y.grad.n, pos.n, table.n, how|native.RopeBack), x) {
				g.addGrad(x, dx)
			}
		}, y)
	}
	return y
}

// SwiGLU is silu(gate) up (arXiv 2002.05202).
func (s *Scope) SwiGLU(gate, up *Tensor) *Tensor { return s.glu("SwiGLU", 0, gate, up) }

// GeGLU is gelu(gate) up, with the tanh form.
func (s *Scope) GeGLU(gate, up *Tensor) *Tensor { return s.glu("GeGLU", 1, gate, up) }

func (s *Scope) glu(name string, act int32, gate, up *Tensor) *Tensor {
	if !s.want(name, gate, up) {
		return s.dead()
	}
	if !sameShape(gate, up) {
		return s.fail(name, "gate %s, up %s", gate, up)
	}
	y := s.like(name, gate)
	if y.dead || !s.did(name, s.st.be.GLU(act, y.n, gate.n, up.n), gate, up) {
		return s.dead()
	}
	if s.recording(gate, up) {
		s.record(name, func(g *Scope) {
			dgate, dup := g.like(name, gate), g.like(name, up)
			if !dgate.dead && !dup.dead && g.did(name, g.st.be.GLUGrad(act, dgate.n, dup.n, y.grad.n, gate.n, up.n), gate) {
				g.addGrad(gate, dgate)
				g.addGrad(up, dup)
			}
		}, y)
	}
	return y
}

// AttnOptions are attention's constants.
type AttnOptions struct {
	Scale   float32 // of the scores, usually 1/sqrt(d)
	Window  int     // a row sees this many positions back, itself included; 0: all
	SoftCap float32 // scores become cap tanh(score/cap); 0: no cap
}

// Attention is causal softmax attention inside each packed sequence: q [T, H, d], k and v [T, G, d] with H a multiple of G
// (query head h reads key head h G / H), the result [T, H, d]. segs must not change while the scope lives.
func (s *Scope) Attention(q, k, v *Tensor, segs Segs, o AttnOptions) *Tensor {
	if !s.want("Attention", q, k, v) {
		return s.dead()
	}
	if q.n.ND != 3 || k.n.ND != 3 || !sameShape(k, v) || k.Dim(0) != q.Dim(0) || k.Dim(2) != q.Dim(2) || k.Dim(1) == 0 || q.Dim(1)%k.Dim(1) != 0 {
		return s.fail("Attention", "q %s, k %s, v %s: want [T,H,d], [T,G,d], [T,G,d]", q, k, v)
	}
	seg := s.fromSegs("Attention", segs, q.Dim(0))
	y, lse := s.like("Attention", q), s.make("Attention", F32, q.Dim(0), q.Dim(1))
	if seg.dead || y.dead || lse.dead || !s.did("Attention", s.st.be.Attn(y.n, lse.n, q.n, k.n, v.n, seg.n, o.Scale, int64(o.Window), o.SoftCap), q, k, v) {
		return s.dead()
	}
	if s.recording(q, k, v) {
		s.record("Attention", func(g *Scope) {
			dq, dk, dv := g.like("Attention", q), g.like("Attention", k), g.like("Attention", v)
			if !dq.dead && !dk.dead && !dv.dead && g.did("Attention", g.st.be.AttnGrad(dq.n, dk.n, dv.n, y.grad.n, q.n, k.n, v.n, y.n, lse.n, seg.n,
				o.Scale, int64(o.Window), o.SoftCap), q, k, v) {
				g.addGrad(q, dq)
				g.addGrad(k, dk)
				g.addGrad(v, dv)
			}
		}, y)
	}
	return y
}

// wantPages accepts pages of f32, or of bf16 where the device takes them.
func (s *Scope) wantPages(op string, kpages, vpages *Tensor) bool {
	dtype := F32
	if kpages != nil && kpages.DType() == BF16 && s.st.dev.PagesBF16() {
		dtype = BF16
	}
	for i, t := range []*Tensor{kpages, vpages} {
		if t == nil && s.st.root.err == nil {
			s.fail(op, "argument %d is nil", i+1)
			return false
		}
	}
	return s.ready(op, kpages, vpages) && s.typed(op, dtype, kpages, vpages)
}

// KVWrite stores keys and values k, v [T, G, d] in the pages [P, S, G, d] of a cache; slots i32 [T] is page*S + place.
// What lies where inside a page is the device's own affair; cpu wants S to be a multiple of 16. Pages are f32, or
// where [Device.PagesBF16] says so bf16, which round what is written as [Scope.RoundBF16] does. No gradient.
func (s *Scope) KVWrite(kpages, vpages, k, v, slots *Tensor) {
	if !s.wantPages("KVWrite", kpages, vpages) || !s.want("KVWrite", k, v) || !s.ready("KVWrite", slots) {
		return
	}
	if slots == nil || slots.DType() != I32 || k.n.ND != 3 || kpages.n.ND != 4 || !sameShape(k, v) || !sameShape(kpages, vpages) || slots.Len() != k.Dim(0) {
		s.fail("KVWrite", "pages %s and %s, k %s, v %s, slots %s: want [P,S,G,d] twice, [T,G,d] twice, i32 [T]", kpages, vpages, k, v, slots)
		return
	}
	s.did("KVWrite", s.st.be.KVWrite(kpages.n, vpages.n, k.n, v.n, slots.n), kpages, k, slots)
}

// PagedAttention is [Scope.Attention] over a cache, for any number of new rows a sequence: row t of q [T, H, d] is position
// rows[t][1] of the sequence whose pages table row rows[t][0] lists. rows is i32 [T, 2], table i32 [N, pages]. The keys
// and values of the rows themselves must have been written. Equal bits to Attention's. No gradient.
func (s *Scope) PagedAttention(q, kpages, vpages, table, rows *Tensor, o AttnOptions) *Tensor {
	if !s.want("PagedAttention", q) || !s.wantPages("PagedAttention", kpages, vpages) || !s.ready("PagedAttention", table, rows) {
		return s.dead()
	}
	if table == nil || rows == nil || table.DType() != I32 || rows.DType() != I32 || q.n.ND != 3 || kpages.n.ND != 4 || !sameShape(kpages, vpages) ||
		table.n.ND != 2 || rows.Len() != 2*q.Dim(0) {
		return s.fail("PagedAttention", "q %s, pages %s and %s, table %s, rows %s: want [T,H,d], [P,S,G,d] twice, i32 [N,pages], i32 [T,2]", q, kpages, vpages, table, rows)
	}
	y := s.like("PagedAttention", q)
	if y.dead || !s.did("PagedAttention", s.st.be.AttnPaged(y.n, q.n, kpages.n, vpages.n, table.n, rows.n, o.Scale, int64(o.Window), o.SoftCap), q, kpages, table, rows) {
		return s.dead()
	}
	return y
}
