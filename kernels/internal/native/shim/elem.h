/* elem.h: element-wise operations, reductions, rows and columns by number. */
#ifndef R1_ELEM_H
#define R1_ELEM_H

#include "shim.h"

namespace shim {

/* ---- element-wise ---- */

inline Tensor unary_of(int32_t op, const Tensor &x)
{
	switch (op) {
	case R1_NEG: return at::neg(x);
	case R1_EXP: return at::exp(x);
	case R1_LOG: return at::log(x);
	case R1_SQUARE: return at::mul(x, x);
	case R1_SQRT: return at::sqrt(x);
	case R1_RSQRT: return at::rsqrt(x);
	case R1_RECIPROCAL: return at::reciprocal(x);
	case R1_ABS: return at::abs(x);
	case R1_TANH: return at::tanh(x);
	case R1_SIGMOID: return at::sigmoid(x);
	case R1_SILU: return at::silu(x);
	case R1_GELU: return at::gelu(x, "tanh");
	case R1_RELU: return at::relu(x);
	case R1_LOG_SIGMOID: return at::log_sigmoid(x);
	}
	refuse("no function %d", op);
}

/* dy f'(x), with y = f(x) */
inline Tensor unary_grad_of(int32_t op, const Tensor &dy, const Tensor &x, const Tensor &y)
{
	switch (op) {
	case R1_NEG: return at::neg(dy);
	case R1_EXP: return dy * y;
	case R1_LOG: return dy / x;
	case R1_SQUARE: return dy * (x + x);
	case R1_SQRT: return dy * (at::reciprocal(y) * 0.5);
	case R1_RSQRT: return dy * (y * y * y * -0.5);
	case R1_RECIPROCAL: return dy * at::neg(y * y);
	case R1_ABS: return dy * at::sign(x);
	case R1_TANH: return at::tanh_backward(dy, y);
	case R1_SIGMOID: return at::sigmoid_backward(dy, y);
	case R1_SILU: return at::silu_backward(dy, x);
	case R1_GELU: return at::gelu_backward(dy, x, "tanh");
	case R1_RELU: return at::threshold_backward(dy, x, 0);
	case R1_LOG_SIGMOID: return dy * at::sigmoid(at::neg(x));
	}
	refuse("no function %d", op);
}

inline Tensor binary_of(int32_t op, const Tensor &a, const Tensor &b)
{
	switch (op) {
	case R1_ADD: return a + b;
	case R1_SUB: return a - b;
	case R1_MUL: return a * b;
	case R1_DIV: return a / b;
	case R1_MAX: return at::maximum(a, b);
	case R1_MIN: return at::minimum(a, b);
	case R1_LESS: return at::lt(a, b);
	case R1_GREATER: return at::gt(a, b);
	case R1_EQUAL: return at::eq(a, b);
	}
	refuse("no operator %d", op);
}

/* Values that bf16 has, as f32: to nearest, halves to even, as activations are rounded; or halves away from 0, as weights are. */
inline Tensor even16(const Tensor &x) { return x.to(at::kBFloat16).to(at::kFloat); }
inline Tensor away16(const Tensor &x)
{
	Tensor high = at::bitwise_and(at::add(x.view(at::kInt), 0x8000), static_cast<int32_t>(0xffff0000)).view(at::kFloat);
	return at::where(at::isnan(x), even16(x), high);
}
inline char *round16(r1_ctx *c, r1_tensor y, r1_tensor x, int32_t how)
{
	return entry("round16", c, [&](const views &v) {
		WANT(how == R1_NEAREST_EVEN || how == R1_HALF_AWAY, "how is %d", how);
		Tensor in = v.flat("x", x);
		v.f32("y", y, in.numel()).copy_(how == R1_HALF_AWAY ? away16(in) : even16(in));
	});
}

inline char *unary(r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x)
{
	return entry("unary", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		v.f32("y", y, in.numel()).copy_(unary_of(op, in));
	});
}
inline char *unary_grad(r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y)
{
	return entry("unary_grad", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		int64_t n = in.numel();
		v.f32("dx", dx, n).copy_(unary_grad_of(op, v.f32("dy", dy, n), in, v.f32("y", y, n)));
	});
}
inline char *binary(r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b)
{
	return entry("binary", c, [&](const views &v) {
		Tensor left = v.matrix("a", a), right;
		int64_t r = left.size(0), w = left.size(1);
		switch (how) {
		case R1_SAME: right = v.f32("b", b, r * w).view({r, w}); break;
		case R1_SCALAR: right = v.f32("b", b, 1); break;
		case R1_ROW: right = v.f32("b", b, w); break;
		case R1_COL: right = v.f32("b", b, r).view({r, 1}); break;
		default: refuse("no broadcast %d", how);
		}
		v.f32("y", y, r * w).view({r, w}).copy_(binary_of(op, left, right));
	});
}
inline char *affine(r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift)
{
	return entry("affine", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		v.f32("y", y, in.numel()).copy_(in).mul_(scale).add_(shift);
	});
}
inline char *fma(r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z)
{
	return entry("fma", c, [&](const views &v) {
		Tensor in = v.flat("a", a);
		int64_t n = in.numel();
		v.f32("y", y, n).copy_(at::addcmul(v.f32("z", z, n), in, v.f32("b", b, n)));
	});
}
inline char *clamp(r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi)
{
	return entry("clamp", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		v.f32("y", y, in.numel()).copy_(at::clamp(in, lo, hi));
	});
}
inline char *select(r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b)
{
	return entry("select", c, [&](const views &v) {
		Tensor test = v.flat("cond", cond);
		int64_t n = test.numel();
		v.f32("y", y, n).copy_(at::where(at::ne(test, 0), v.f32("a", a, n), v.f32("b", b, n)));
	});
}

/* to a float or an integer type; integers are cut towards 0, kept inside their range, and 0 where x is not a number */
inline char *cast(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("cast", c, [&](const views &v) {
		check("x", x);
		check("y", y);
		WANT(count(x) == count(y), "sizes differ");
		Tensor in = v.of(x, {count(x)}), out = v.of(y, {count(y)});
		v.forget(y);
		if (at::isFloatingType(out.scalar_type()) || in.scalar_type() == out.scalar_type()) {
			out.copy_(in);
			return;
		}
		Tensor d = at::nan_to_num(in.to(at::kDouble), 0, infinity, -infinity);
		if (out.scalar_type() == at::kInt)
			out.copy_(at::clamp(d, -0x1p31, 0x1p31 - 1));
		else if (out.scalar_type() == at::kByte)
			out.copy_(at::clamp(d, 0, 255));
		else
			out.copy_(at::where(at::ge(d, 0x1p63), at::full_like(d, INT64_MAX, at::kLong), at::clamp(d, -0x1p63, 0x1.fffffffffffffp62).to(at::kLong)));
	});
}

/* ---- reductions ---- */

inline char *row_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("row_sum", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		v.f32("y", y, in.size(0)).copy_(at::sum(in, 1));
	});
}
inline char *row_max(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("row_max", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		WANT(in.size(1) > 0, "rows are empty");
		v.f32("y", y, in.size(0)).copy_(at::amax(in, 1));
	});
}
inline char *col_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("col_sum", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		v.f32("y", y, in.size(1)).add_(at::sum(in, 0));
	});
}

/* the number of each row's sequence */
inline Tensor seg_numbers(const views &v, const std::vector<seg> &segs)
{
	std::vector<int64_t> of;
	for (size_t i = 0; i < segs.size(); i++)
		of.insert(of.end(), static_cast<size_t>(segs[i].len), static_cast<int64_t>(i));
	return v.upload(of);
}
inline char *seg_sum(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	return entry("seg_sum", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		std::vector<seg> s = read_segs(v, segs, in.numel());
		v.f32("y", y, static_cast<int64_t>(s.size())).zero_().index_add_(0, seg_numbers(v, s), in);
	});
}
inline char *seg_spread(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	return entry("seg_spread", c, [&](const views &v) {
		Tensor out = v.flat("y", y);
		std::vector<seg> s = read_segs(v, segs, out.numel());
		out.copy_(at::index_select(v.f32("x", x, static_cast<int64_t>(s.size())), 0, seg_numbers(v, s)));
	});
}
inline char *seg_scan(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs, int32_t reverse)
{
	return entry("seg_scan", c, [&](const views &v) {
		Tensor in = v.flat("x", x), out = v.f32("y", y, in.numel());
		WANT(y.p != x.p, "y may not be x");
		for (const seg &s : read_segs(v, segs, in.numel())) {
			Tensor part = in.narrow(0, s.start, s.len);
			out.narrow(0, s.start, s.len).copy_(reverse ? at::cumsum(part.flip(0), 0).flip(0) : at::cumsum(part, 0));
		}
	});
}

/* ---- rows and columns by number ---- */

inline char *gather(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	return entry("gather", c, [&](const views &v) {
		check("x", x);
		WANT(x.nd >= 1, "x has no rows");
		int64_t n = x.n[0], width = n ? count(x) / n : 0;
		Tensor at = v.index("idx", idx, -1, n);
		Tensor out = v.flat("y", y, at.numel() * width, x.dtype);
		v.forget(y);
		out.view({at.numel(), width}).copy_(at::index_select(v.of(x, {n, width}), 0, at));
	});
}
inline char *scatter_add(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	return entry("scatter_add", c, [&](const views &v) {
		Tensor out = v.flat("y", y);
		WANT(y.nd >= 1 && y.n[0] > 0, "y has no rows");
		int64_t n = y.n[0], width = out.numel() / n;
		Tensor at = v.index("idx", idx, -1, n);
		out.view({n, width}).index_add_(0, at, v.f32("x", x, at.numel() * width).view({at.numel(), width}));
	});
}
inline char *pick(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	return entry("pick", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		int64_t t = in.size(0);
		v.f32("y", y, t).copy_(at::gather(in, 1, v.index("idx", idx, t, in.size(1)).view({t, 1})).view({t}));
	});
}
inline char *pick_grad(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor idx)
{
	return entry("pick_grad", c, [&](const views &v) {
		Tensor out = v.matrix("dx", dx);
		int64_t t = out.size(0);
		out.zero_().scatter_(1, v.index("idx", idx, t, out.size(1)).view({t, 1}), v.f32("dy", dy, t).view({t, 1}));
	});
}
inline char *copy_cols(r1_ctx *c, r1_tensor y, r1_tensor x, int64_t ycol, int64_t xcol, int64_t n)
{
	return entry("copy_cols", c, [&](const views &v) {
		check("x", x);
		check("y", y);
		WANT(x.dtype == y.dtype && rows(x) == rows(y), "rows or dtypes differ");
		WANT(n >= 0 && ycol >= 0 && xcol >= 0 && ycol <= cols(y) - n && xcol <= cols(x) - n, "%lld columns from %lld to %lld do not fit", static_cast<long long>(n),
		     static_cast<long long>(xcol), static_cast<long long>(ycol));
		v.of(y, {rows(y), cols(y)}).narrow(1, ycol, n).copy_(v.of(x, {rows(x), cols(x)}).narrow(1, xcol, n));
	});
}

} // namespace shim

#endif
