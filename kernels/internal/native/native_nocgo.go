//go:build !cgo

package native

import "unsafe"

// Backend is what an opened backend would be. Without cgo [Open] fails, so none of its methods can ever be called.
type Backend struct{}

// Open fails: this program was built without cgo.
func Open(string, Options) (*Backend, error) { return nil, ErrNoCgo }

func (*Backend) Close() error                                             { return ErrNoCgo }
func (*Backend) Info() (Info, error)                                      { return Info{}, ErrNoCgo }
func (*Backend) Measure(what int32, seconds float64) (float64, error)     { return 0, ErrNoCgo }
func (*Backend) KVRead() (int64, error)                                   { return 0, ErrNoCgo }
func (*Backend) KVBF16() (bool, error)                                    { return false, ErrNoCgo }
func (*Backend) Alloc(bytes int64) (unsafe.Pointer, error)                { return nil, ErrNoCgo }
func (*Backend) Release(p unsafe.Pointer) error                           { return ErrNoCgo }
func (*Backend) Write(dst Tensor, src unsafe.Pointer, bytes int64) error  { return ErrNoCgo }
func (*Backend) Read(dst unsafe.Pointer, src Tensor, bytes int64) error   { return ErrNoCgo }
func (*Backend) PackBytes(n, k int64, dtype int32) (int64, error)         { return 0, ErrNoCgo }
func (*Backend) Copy(dst, src Tensor) error                               { return ErrNoCgo }
func (*Backend) Zero(dst Tensor) error                                    { return ErrNoCgo }
func (*Backend) Sync() error                                              { return ErrNoCgo }
func (*Backend) Cast(y, x Tensor) error                                   { return ErrNoCgo }
func (*Backend) Unary(op int32, y, x Tensor) error                        { return ErrNoCgo }
func (*Backend) UnaryGrad(op int32, dx, dy, x, y Tensor) error            { return ErrNoCgo }
func (*Backend) Binary(op, how int32, y, a, b Tensor) error               { return ErrNoCgo }
func (*Backend) Affine(y, x Tensor, scale, shift float32) error           { return ErrNoCgo }
func (*Backend) FMA(y, a, b, z Tensor) error                              { return ErrNoCgo }
func (*Backend) Clamp(y, x Tensor, lo, hi float32) error                  { return ErrNoCgo }
func (*Backend) Select(y, cond, a, b Tensor) error                        { return ErrNoCgo }
func (*Backend) RowSum(y, x Tensor) error                                 { return ErrNoCgo }
func (*Backend) RowMax(y, x Tensor) error                                 { return ErrNoCgo }
func (*Backend) ColSum(y, x Tensor) error                                 { return ErrNoCgo }
func (*Backend) SegSum(y, x, segs Tensor) error                           { return ErrNoCgo }
func (*Backend) SegSpread(y, x, segs Tensor) error                        { return ErrNoCgo }
func (*Backend) SegScan(y, x, segs Tensor, reverse int32) error           { return ErrNoCgo }
func (*Backend) Gather(y, x, idx Tensor) error                            { return ErrNoCgo }
func (*Backend) ScatterAdd(y, x, idx Tensor) error                        { return ErrNoCgo }
func (*Backend) Pick(y, x, idx Tensor) error                              { return ErrNoCgo }
func (*Backend) PickGrad(dx, dy, idx Tensor) error                        { return ErrNoCgo }
func (*Backend) CopyCols(y, x Tensor, ycol, xcol, n int64) error          { return ErrNoCgo }
func (*Backend) Pack(packed, w Tensor) error                              { return ErrNoCgo }
func (*Backend) Linear(y, x, w, packed, bias Tensor) error                { return ErrNoCgo }
func (*Backend) LinearDX(dx, dy, w, packed Tensor) error                  { return ErrNoCgo }
func (*Backend) LinearDW(dw, dy, x, segs Tensor) error                    { return ErrNoCgo }
func (*Backend) GroupedLinear(y, x, w, packed, offsets Tensor) error      { return ErrNoCgo }
func (*Backend) GroupedLinearDX(dx, dy, w, packed, offsets Tensor) error  { return ErrNoCgo }
func (*Backend) LinearDW16(dw, dy, x Tensor) error                        { return ErrNoCgo }
func (*Backend) LinearDW16Segs(dw, dy, x, segs Tensor) error              { return ErrNoCgo }
func (*Backend) GroupedLinearDW(dw, dy, x, offsets Tensor) error          { return ErrNoCgo }
func (*Backend) RMSNorm(y, rstd, x, w Tensor, eps float32) error          { return ErrNoCgo }
func (*Backend) RMSNormDX(dx, dy, x, w, rstd Tensor) error                { return ErrNoCgo }
func (*Backend) RMSNormDW(dw, dy, x, rstd Tensor) error                   { return ErrNoCgo }
func (*Backend) Rope(y, x, pos, table Tensor, how int32) error            { return ErrNoCgo }
func (*Backend) GLU(act int32, y, gate, up Tensor) error                  { return ErrNoCgo }
func (*Backend) GLUGrad(act int32, dgate, dup, dy, gate, up Tensor) error { return ErrNoCgo }
func (*Backend) Attn(o, lse, q, k, v, segs Tensor, scale float32, window int64, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) AttnGrad(dq, dk, dv, dout, q, k, v, o, lse, segs Tensor, scale float32, window int64, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) KVWrite(kpages, vpages, k, v, slot Tensor) error { return ErrNoCgo }
func (*Backend) AttnPaged(o, q, kpages, vpages, table, rows Tensor, scale float32, window int64, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) Head(logp, ent, lse, x, w, packed, target, temp Tensor, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) HeadGrad(dx, dw, dlogp, dent, ent, lse, x, w, packed, target, temp Tensor, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) HeadExt(logp, ent, lse, kl, aux Tensor, m, other HeadModel, r HeadRows, beta float32) error {
	return ErrNoCgo
}
func (*Backend) HeadExtGrad(dx, dw, dlogp, dent, dkl, ent, lse, aux Tensor, m, other HeadModel, r HeadRows, beta float32) error {
	return ErrNoCgo
}
func (*Backend) HeadGradSegs(dx, dw, dlogp, dent, dkl, ent, lse, aux Tensor, m, other HeadModel, r HeadRows, beta float32, segs Tensor) error {
	return ErrNoCgo
}
func (*Backend) HeadSample(token, logp, ent, x, w, packed, temp, counter, key Tensor, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) HeadSampleKeep(token, logp, ent, kept, mass, x, w, packed, temp, cut, counter, key Tensor, softcap float32) error {
	return ErrNoCgo
}
func (*Backend) SqNorm(y, x Tensor) error { return ErrNoCgo }
func (*Backend) AdamW(w, m, v, g, hyper Tensor, beta1, beta2, eps, decay float32) error {
	return ErrNoCgo
}
func (*Backend) AllReduce(x Tensor) error                         { return ErrNoCgo }
func (*Backend) Broadcast(x Tensor, root int32) error             { return ErrNoCgo }
func (*Backend) Round16(y, x Tensor, how int32) error             { return ErrNoCgo }
func (*Backend) SplitBytes(n, k int64, part int32) (int64, error) { return 0, ErrNoCgo }
func (*Backend) SplitWrite(w, hi, lo, x Tensor, at int64) error   { return ErrNoCgo }
func (*Backend) SplitRead(x, w, hi, lo Tensor, at int64) error    { return ErrNoCgo }
func (*Backend) SplitBack(w, hi Tensor) error                     { return ErrNoCgo }
func (*Backend) SplitGather(y, w, hi, idx Tensor) error           { return ErrNoCgo }
func (*Backend) SplitAdamW(w, hi, lo, m, v, g, hyper Tensor, beta1, beta2, eps, decay float32) error {
	return ErrNoCgo
}

func (*Backend) Linears(y []Tensor, x Tensor, w, packed, bias []Tensor) error { return ErrNoCgo }
