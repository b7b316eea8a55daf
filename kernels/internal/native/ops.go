//go:build cgo

package native

// #include "call.h"
import "C"

import "unsafe"

// One method for each operation of r1.h, which says what each does. Destinations come first; a zero Tensor is an
// absent one. An entry that the backend does not have returns [ErrAbsent].

func (be *Backend) Copy(dst, src Tensor) error {
	return be.enter().leave(C.call_copy(be.api, be.ctx, dst.c(), src.c()))
}

func (be *Backend) Zero(dst Tensor) error {
	return be.enter().leave(C.call_zero(be.api, be.ctx, dst.c()))
}

func (be *Backend) Sync() error {
	return be.enter().leave(C.call_sync(be.api, be.ctx))
}

func (be *Backend) Cast(y, x Tensor) error {
	return be.enter().leave(C.call_cast(be.api, be.ctx, y.c(), x.c()))
}

func (be *Backend) Unary(op int32, y, x Tensor) error {
	return be.enter().leave(C.call_unary(be.api, be.ctx, C.int32_t(op), y.c(), x.c()))
}

func (be *Backend) UnaryGrad(op int32, dx, dy, x, y Tensor) error {
	return be.enter().leave(C.call_unary_grad(be.api, be.ctx, C.int32_t(op), dx.c(), dy.c(), x.c(), y.c()))
}

func (be *Backend) Binary(op, how int32, y, a, b Tensor) error {
	return be.enter().leave(C.call_binary(be.api, be.ctx, C.int32_t(op), C.int32_t(how), y.c(), a.c(), b.c()))
}

func (be *Backend) Affine(y, x Tensor, scale, shift float32) error {
	return be.enter().leave(C.call_affine(be.api, be.ctx, y.c(), x.c(), C.float(scale), C.float(shift)))
}

func (be *Backend) FMA(y, a, b, z Tensor) error {
	return be.enter().leave(C.call_fma(be.api, be.ctx, y.c(), a.c(), b.c(), z.c()))
}

func (be *Backend) Clamp(y, x Tensor, lo, hi float32) error {
	return be.enter().leave(C.call_clamp(be.api, be.ctx, y.c(), x.c(), C.float(lo), C.float(hi)))
}

func (be *Backend) Select(y, cond, a, b Tensor) error {
	return be.enter().leave(C.call_select(be.api, be.ctx, y.c(), cond.c(), a.c(), b.c()))
}

func (be *Backend) RowSum(y, x Tensor) error {
	return be.enter().leave(C.call_row_sum(be.api, be.ctx, y.c(), x.c()))
}

func (be *Backend) RowMax(y, x Tensor) error {
	return be.enter().leave(C.call_row_max(be.api, be.ctx, y.c(), x.c()))
}

func (be *Backend) ColSum(y, x Tensor) error {
	return be.enter().leave(C.call_col_sum(be.api, be.ctx, y.c(), x.c()))
}

func (be *Backend) SegSum(y, x, segs Tensor) error {
	return be.enter().leave(C.call_seg_sum(be.api, be.ctx, y.c(), x.c(), segs.c()))
}

func (be *Backend) SegSpread(y, x, segs Tensor) error {
	return be.enter().leave(C.call_seg_spread(be.api, be.ctx, y.c(), x.c(), segs.c()))
}

func (be *Backend) SegScan(y, x, segs Tensor, reverse int32) error {
	return be.enter().leave(C.call_seg_scan(be.api, be.ctx, y.c(), x.c(), segs.c(), C.int32_t(reverse)))
}

func (be *Backend) Gather(y, x, idx Tensor) error {
	return be.enter().leave(C.call_gather(be.api, be.ctx, y.c(), x.c(), idx.c()))
}

func (be *Backend) ScatterAdd(y, x, idx Tensor) error {
	return be.enter().leave(C.call_scatter_add(be.api, be.ctx, y.c(), x.c(), idx.c()))
}

func (be *Backend) Pick(y, x, idx Tensor) error {
	return be.enter().leave(C.call_pick(be.api, be.ctx, y.c(), x.c(), idx.c()))
}

func (be *Backend) PickGrad(dx, dy, idx Tensor) error {
	return be.enter().leave(C.call_pick_grad(be.api, be.ctx, dx.c(), dy.c(), idx.c()))
}

func (be *Backend) CopyCols(y, x Tensor, ycol, xcol, n int64) error {
	return be.enter().leave(C.call_copy_cols(be.api, be.ctx, y.c(), x.c(), C.int64_t(ycol), C.int64_t(xcol), C.int64_t(n)))
}

func (be *Backend) Pack(packed, w Tensor) error {
	return be.enter().leave(C.call_pack(be.api, be.ctx, packed.c(), w.c()))
}

func (be *Backend) Linear(y, x, w, packed, bias Tensor) error {
	return be.enter().leave(C.call_linear(be.api, be.ctx, y.c(), x.c(), w.c(), packed.c(), bias.c()))
}

// Linears is Linear of x by each of w, at most 8.
func (be *Backend) Linears(y []Tensor, x Tensor, w, packed, bias []Tensor) error {
	return be.enter().leave(C.call_linears(be.api, be.ctx, C.int32_t(len(y)), (*C.r1_tensor)(unsafe.Pointer(&y[0])), x.c(),
		(*C.r1_tensor)(unsafe.Pointer(&w[0])), (*C.r1_tensor)(unsafe.Pointer(&packed[0])), (*C.r1_tensor)(unsafe.Pointer(&bias[0]))))
}

func (be *Backend) LinearDX(dx, dy, w, packed Tensor) error {
	return be.enter().leave(C.call_linear_dx(be.api, be.ctx, dx.c(), dy.c(), w.c(), packed.c()))
}

func (be *Backend) LinearDW(dw, dy, x, segs Tensor) error {
	return be.enter().leave(C.call_linear_dw(be.api, be.ctx, dw.c(), dy.c(), x.c(), segs.c()))
}

// LinearDW16 is LinearDW in bf16.
func (be *Backend) LinearDW16(dw, dy, x Tensor) error {
	return be.enter().leave(C.call_linear_dw16(be.api, be.ctx, dw.c(), dy.c(), x.c()))
}

func (be *Backend) LinearDW16Segs(dw, dy, x, segs Tensor) error {
	return be.enter().leave(C.call_linear_dw16_segs(be.api, be.ctx, dw.c(), dy.c(), x.c(), segs.c()))
}

func (be *Backend) GroupedLinear(y, x, w, packed, offsets Tensor) error {
	return be.enter().leave(C.call_grouped_linear(be.api, be.ctx, y.c(), x.c(), w.c(), packed.c(), offsets.c()))
}

func (be *Backend) GroupedLinearDX(dx, dy, w, packed, offsets Tensor) error {
	return be.enter().leave(C.call_grouped_linear_dx(be.api, be.ctx, dx.c(), dy.c(), w.c(), packed.c(), offsets.c()))
}

func (be *Backend) GroupedLinearDW(dw, dy, x, offsets Tensor) error {
	return be.enter().leave(C.call_grouped_linear_dw(be.api, be.ctx, dw.c(), dy.c(), x.c(), offsets.c()))
}

func (be *Backend) RMSNorm(y, rstd, x, w Tensor, eps float32) error {
	return be.enter().leave(C.call_rmsnorm(be.api, be.ctx, y.c(), rstd.c(), x.c(), w.c(), C.float(eps)))
}

func (be *Backend) RMSNormDX(dx, dy, x, w, rstd Tensor) error {
	return be.enter().leave(C.call_rmsnorm_dx(be.api, be.ctx, dx.c(), dy.c(), x.c(), w.c(), rstd.c()))
}

func (be *Backend) RMSNormDW(dw, dy, x, rstd Tensor) error {
	return be.enter().leave(C.call_rmsnorm_dw(be.api, be.ctx, dw.c(), dy.c(), x.c(), rstd.c()))
}

func (be *Backend) Rope(y, x, pos, table Tensor, how int32) error {
	return be.enter().leave(C.call_rope(be.api, be.ctx, y.c(), x.c(), pos.c(), table.c(), C.int32_t(how)))
}

func (be *Backend) GLU(act int32, y, gate, up Tensor) error {
	return be.enter().leave(C.call_glu(be.api, be.ctx, C.int32_t(act), y.c(), gate.c(), up.c()))
}

func (be *Backend) GLUGrad(act int32, dgate, dup, dy, gate, up Tensor) error {
	return be.enter().leave(C.call_glu_grad(be.api, be.ctx, C.int32_t(act), dgate.c(), dup.c(), dy.c(), gate.c(), up.c()))
}

func (be *Backend) Attn(o, lse, q, k, v, segs Tensor, scale float32, window int64, softcap float32) error {
	return be.enter().leave(C.call_attn(be.api, be.ctx, o.c(), lse.c(), q.c(), k.c(), v.c(), segs.c(), C.float(scale), C.int64_t(window), C.float(softcap)))
}

func (be *Backend) AttnGrad(dq, dk, dv, dout, q, k, v, o, lse, segs Tensor, scale float32, window int64, softcap float32) error {
	return be.enter().leave(C.call_attn_grad(be.api, be.ctx, dq.c(), dk.c(), dv.c(), dout.c(), q.c(), k.c(), v.c(), o.c(), lse.c(), segs.c(), C.float(scale), C.int64_t(window), C.float(softcap)))
}

func (be *Backend) KVWrite(kpages, vpages, k, v, slot Tensor) error {
	return be.enter().leave(C.call_kv_write(be.api, be.ctx, kpages.c(), vpages.c(), k.c(), v.c(), slot.c()))
}

func (be *Backend) AttnPaged(o, q, kpages, vpages, table, rows Tensor, scale float32, window int64, softcap float32) error {
	return be.enter().leave(C.call_attn_paged(be.api, be.ctx, o.c(), q.c(), kpages.c(), vpages.c(), table.c(), rows.c(), C.float(scale), C.int64_t(window), C.float(softcap)))
}

func (be *Backend) Head(logp, ent, lse, x, w, packed, target, temp Tensor, softcap float32) error {
	return be.enter().leave(C.call_head(be.api, be.ctx, logp.c(), ent.c(), lse.c(), x.c(), w.c(), packed.c(), target.c(), temp.c(), C.float(softcap)))
}

func (be *Backend) HeadGrad(dx, dw, dlogp, dent, ent, lse, x, w, packed, target, temp Tensor, softcap float32) error {
	return be.enter().leave(C.call_head_grad(be.api, be.ctx, dx.c(), dw.c(), dlogp.c(), dent.c(), ent.c(), lse.c(), x.c(), w.c(), packed.c(), target.c(), temp.c(), C.float(softcap)))
}

func (be *Backend) HeadExt(logp, ent, lse, kl, aux Tensor, m, other HeadModel, r HeadRows, beta float32) error {
	return be.enter().leave(C.call_head_ext(be.api, be.ctx, logp.c(), ent.c(), lse.c(), kl.c(), aux.c(), m.X.c(), m.W.c(), m.Packed.c(), r.Target.c(), r.Temp.c(), C.float(m.SoftCap),
		other.X.c(), other.W.c(), other.Packed.c(), C.float(other.SoftCap), C.float(beta), r.KeepAt.c(), r.Keep.c()))
}

func (be *Backend) HeadExtGrad(dx, dw, dlogp, dent, dkl, ent, lse, aux Tensor, m, other HeadModel, r HeadRows, beta float32) error {
	return be.enter().leave(C.call_head_ext_grad(be.api, be.ctx, dx.c(), dw.c(), dlogp.c(), dent.c(), dkl.c(), ent.c(), lse.c(), aux.c(), m.X.c(), m.W.c(), m.Packed.c(), r.Target.c(), r.Temp.c(),
		C.float(m.SoftCap), other.X.c(), other.W.c(), other.Packed.c(), C.float(other.SoftCap), C.float(beta), r.KeepAt.c(), r.Keep.c()))
}

func (be *Backend) HeadGradSegs(dx, dw, dlogp, dent, dkl, ent, lse, aux Tensor, m, other HeadModel, r HeadRows, beta float32, segs Tensor) error {
	return be.enter().leave(C.call_head_grad_segs(be.api, be.ctx, dx.c(), dw.c(), dlogp.c(), dent.c(), dkl.c(), ent.c(), lse.c(), aux.c(), m.X.c(), m.W.c(), m.Packed.c(), r.Target.c(), r.Temp.c(),
		C.float(m.SoftCap), other.X.c(), other.W.c(), other.Packed.c(), C.float(other.SoftCap), C.float(beta), r.KeepAt.c(), r.Keep.c(), segs.c()))
}

func (be *Backend) HeadSample(token, logp, ent, x, w, packed, temp, counter, key Tensor, softcap float32) error {
	return be.enter().leave(C.call_head_sample(be.api, be.ctx, token.c(), logp.c(), ent.c(), x.c(), w.c(), packed.c(), temp.c(), counter.c(), key.c(), C.float(softcap)))
}

func (be *Backend) HeadSampleKeep(token, logp, ent, kept, mass, x, w, packed, temp, cut, counter, key Tensor, softcap float32) error {
	return be.enter().leave(C.call_head_sample_keep(be.api, be.ctx, token.c(), logp.c(), ent.c(), kept.c(), mass.c(), x.c(), w.c(), packed.c(), temp.c(), cut.c(), counter.c(), key.c(), C.float(softcap)))
}

func (be *Backend) SqNorm(y, x Tensor) error {
	return be.enter().leave(C.call_sq_norm(be.api, be.ctx, y.c(), x.c()))
}

func (be *Backend) AdamW(w, m, v, g, hyper Tensor, beta1, beta2, eps, decay float32) error {
	return be.enter().leave(C.call_adamw(be.api, be.ctx, w.c(), m.c(), v.c(), g.c(), hyper.c(), C.float(beta1), C.float(beta2), C.float(eps), C.float(decay)))
}

func (be *Backend) AllReduce(x Tensor) error {
	return be.enter().leave(C.call_all_reduce(be.api, be.ctx, x.c()))
}

func (be *Backend) Broadcast(x Tensor, root int32) error {
	return be.enter().leave(C.call_broadcast(be.api, be.ctx, x.c(), C.int32_t(root)))
}

func (be *Backend) Round16(y, x Tensor, how int32) error {
	return be.done(C.call_round16(be.api, be.ctx, y.c(), x.c(), C.int32_t(how)))
}

// The parts of a split weight: lo may be absent. w is its shape in bf16 and the memory of back.

func (be *Backend) SplitWrite(w, hi, lo, x Tensor, at int64) error {
	return be.enter().leave(C.call_split_write(be.api, be.ctx, w.c(), hi.c(), lo.c(), x.c(), C.int64_t(at)))
}

func (be *Backend) SplitRead(x, w, hi, lo Tensor, at int64) error {
	return be.enter().leave(C.call_split_read(be.api, be.ctx, x.c(), w.c(), hi.c(), lo.c(), C.int64_t(at)))
}

func (be *Backend) SplitBack(w, hi Tensor) error {
	return be.enter().leave(C.call_split_back(be.api, be.ctx, w.c(), hi.c()))
}

func (be *Backend) SplitGather(y, w, hi, idx Tensor) error {
	return be.enter().leave(C.call_split_gather(be.api, be.ctx, y.c(), w.c(), hi.c(), idx.c()))
}

func (be *Backend) SplitAdamW(w, hi, lo, m, v, g, hyper Tensor, beta1, beta2, eps, decay float32) error {
	return be.enter().leave(C.call_split_adamw(be.api, be.ctx, w.c(), hi.c(), lo.c(), m.c(), v.c(), g.c(), hyper.c(), C.float(beta1), C.float(beta2), C.float(eps), C.float(decay)))
}
