/* matrix.h: matrix products, RMSNorm, rotary positions, gated units, the optimiser. Only weights in bf16 are packed: their rounded values. */
#ifndef R1_MATRIX_H
#define R1_MATRIX_H

#include "elem.h"

namespace shim {

/* What a product in bf16 takes: rounded, and in fp32 on the CPU, whose libtorch has no such product with sums in fp32. */
inline Tensor rounded(const Tensor &x) { return x.is_cpu() ? even16(x) : x.to(at::kBFloat16); }
/* acc += a b, of fp32 or both rounded */
inline void add_product(Tensor acc, const Tensor &a, const Tensor &b)
{
	if (a.scalar_type() == at::kBFloat16)
		acc.add_(at::mm(a, b, at::kFloat));
	else
		acc.addmm_(a, b);
}

/* A weight [N,K] of products, and whether they are in bf16: then it is rounded, and so must be what it meets. */
struct factor {
	Tensor w;
	bool bf16;

	Tensor meets(const Tensor &x) const { return bf16 ? rounded(x) : x; }
};
inline factor weight(const views &v, const r1_tensor &w, const r1_tensor &packed)
{
	Tensor own = v.shaped("w", w, 2);
	if (!packed.p)
		return {own, false};
	return {v.flat("packed", packed, own.numel(), R1_BF16).view_as(own).to(own.is_cpu() ? at::kFloat : at::kBFloat16), true};
}

/* 0 bytes: a weight in f32 serves as it is */
inline char *pack_bytes(r1_ctx *c, int64_t n, int64_t k, int32_t dtype, int64_t *out)
{
	return entry("pack_bytes", c, [&](const views &) {
		WANT(out, "the result is absent");
		WANT(dtype == R1_F32 || dtype == R1_BF16, "dtype %d is not offered", dtype);
		WANT(n > 0 && k > 0 && n < (INT64_C(1) << 31) && k < (INT64_C(1) << 31), "[%lld,%lld]", static_cast<long long>(n), static_cast<long long>(k));
		*out = dtype == R1_BF16 ? 2 * n * k : 0;
	});
}
inline char *pack(r1_ctx *c, r1_tensor packed, r1_tensor w)
{
	return entry("pack", c, [&](const views &v) {
		Tensor in = v.shaped("w", w, 2);
		v.flat("packed", packed, in.numel(), R1_BF16).copy_(away16(in.view({-1})));
	});
}

inline char *linear(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor bias)
{
	return entry("linear", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		factor f = weight(v, w, packed);
		const Tensor &wt = f.w;
		int64_t m = in.size(0), n = wt.size(0);
		WANT(in.size(1) == wt.size(1), "x has %lld columns, w %lld", static_cast<long long>(in.size(1)), static_cast<long long>(wt.size(1)));
		Tensor out = v.f32("y", y, m * n).view({m, n});
		product(out, f.meets(in), wt.t());
		if (bias.p)
			out.add_(v.f32("bias", bias, n));
	});
}
inline char *linear_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed)
{
	return entry("linear_dx", c, [&](const views &v) {
		Tensor grad = v.matrix("dy", dy);
		factor f = weight(v, w, packed);
		const Tensor &wt = f.w;
		int64_t m = grad.size(0), k = wt.size(1);
		WANT(grad.size(1) == wt.size(0), "dy has %lld columns, w %lld rows", static_cast<long long>(grad.size(1)), static_cast<long long>(wt.size(0)));
		Tensor out = v.f32("dx", dx, m * k).view({m, k});
		product(out, f.meets(grad), wt);
	});
}

/* The gradient of a weight [N,K], from dy [T,N] and x [T,K]. */
struct gradient {
	Tensor acc, dy, x;
};
inline gradient gradient_of(const views &v, const r1_tensor &dw, const r1_tensor &dy, const r1_tensor &x)
{
	gradient g = {v.shaped("dw", dw, 2), v.matrix("dy", dy), v.matrix("x", x)};
	WANT(g.dy.size(1) == g.acc.size(0) && g.x.size(1) == g.acc.size(1) && g.dy.size(0) == g.x.size(0), "dw [%lld,%lld] does not fit dy [%lld,%lld] and x [%lld,%lld]",
	     static_cast<long long>(g.acc.size(0)), static_cast<long long>(g.acc.size(1)), static_cast<long long>(g.dy.size(0)), static_cast<long long>(g.dy.size(1)),
	     static_cast<long long>(g.x.size(0)), static_cast<long long>(g.x.size(1)));
	return g;
}
inline char *linear_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor)
{
	return entry("linear_dw", c, [&](const views &v) {
		gradient g = gradient_of(v, dw, dy, x);
		g.acc.addmm_(g.dy.t(), g.x);
	});
}
inline char *linear_dw16_segs(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs)
{
	return entry("linear_dw16", c, [&](const views &v) {
		gradient g = gradient_of(v, dw, dy, x);
		if (segs.p)
			read_segs(v, segs, g.x.size(0));
		add_product(g.acc, rounded(g.dy).t(), rounded(g.x));
	});
}

/* ---- RMSNorm (arXiv 1910.07467) ---- */

inline char *rmsnorm(r1_ctx *c, r1_tensor y, r1_tensor rstd, r1_tensor x, r1_tensor w, float eps)
{
	return entry("rmsnorm", c, [&](const views &v) {
		Tensor in = v.matrix("x", x), scale = v.f32("w", w, in.size(1)), s = v.f32("rstd", rstd, in.size(0)).view({in.size(0), 1});
		s.copy_(at::rsqrt(at::mean(at::mul(in, in), 1, true).add_(eps)));
		v.f32("y", y, in.numel()).view_as(in).copy_(at::mul(in, s).mul_(scale));
	});
}
/* dx = rstd (g - xhat mean(g xhat)), g = dy w, xhat = x rstd */
inline char *rmsnorm_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor w, r1_tensor rstd)
{
	return entry("rmsnorm_dx", c, [&](const views &v) {
		Tensor in = v.matrix("x", x), s = v.f32("rstd", rstd, in.size(0)).view({in.size(0), 1});
		Tensor g = at::mul(v.f32("dy", dy, in.numel()).view_as(in), v.f32("w", w, in.size(1))), xhat = at::mul(in, s);
		v.f32("dx", dx, in.numel()).view_as(in).copy_(at::mul(at::sub(g, at::mul(xhat, at::mean(at::mul(g, xhat), 1, true))), s));
	});
}
inline char *rmsnorm_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor rstd)
{
	return entry("rmsnorm_dw", c, [&](const views &v) {
		Tensor in = v.matrix("x", x), s = v.f32("rstd", rstd, in.size(0)).view({in.size(0), 1});
		v.f32("dw", dw, in.size(1)).add_(at::sum(at::mul(at::mul(in, s), v.f32("dy", dy, in.numel()).view_as(in)), 0));
	});
}

/* ---- rotary positions (arXiv 2104.09864) ---- */

/* y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin over the two halves of each head, or over its neighbours */
inline char *rope(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor pos, r1_tensor table, int32_t how)
{
	return entry("rope", c, [&](const views &v) {
		Tensor in = v.shaped("x", x, 3), angles = v.shaped("table", table, 2);
		int64_t t = in.size(0), h = in.size(1), d = in.size(2), half = d / 2;
		WANT(d % 2 == 0 && angles.size(1) == d, "head size %lld, table of %lld", static_cast<long long>(d), static_cast<long long>(angles.size(1)));
		WANT((how & ~(R1_ROPE_BACK | R1_ROPE_PAIRS)) == 0, "how is %d", how);
		Tensor rows = at::index_select(angles, 0, v.index("pos", pos, t, angles.size(0))).view({t, 1, 2, half});
		Tensor cos = rows.select(2, 0), sin = rows.select(2, 1);
		if (how & R1_ROPE_BACK)
			sin = at::neg(sin);
		int64_t two = how & R1_ROPE_PAIRS ? 3 : 2;
		Tensor parts = two == 3 ? in.view({t, h, half, 2}) : in.view({t, h, 2, half});
		Tensor x1 = parts.select(two, 0), x2 = parts.select(two, 1);
		Tensor turned = at::stack({x1 * cos - x2 * sin, x2 * cos + x1 * sin}, two);
		v.f32("y", y, in.numel()).copy_(turned.view({in.numel()}));
	});
}

/* ---- gated units (arXiv 2002.05202) ---- */

inline int32_t gate_function(int32_t gate)
{
	WANT(gate == R1_GATE_SILU || gate == R1_GATE_GELU, "no gate %d", gate);
	return gate == R1_GATE_SILU ? R1_SILU : R1_GELU;
}
inline char *glu(r1_ctx *c, int32_t gate, r1_tensor y, r1_tensor g, r1_tensor up)
{
	return entry("glu", c, [&](const views &v) {
		Tensor in = v.flat("gate", g);
		int32_t f = gate_function(gate);
		v.f32("y", y, in.numel()).copy_(unary_of(f, in).mul_(v.f32("up", up, in.numel())));
	});
}
inline char *glu_grad(r1_ctx *c, int32_t gate, r1_tensor dgate, r1_tensor dup, r1_tensor dy, r1_tensor g, r1_tensor up)
{
	return entry("glu_grad", c, [&](const views &v) {
		Tensor in = v.flat("gate", g);
		int64_t n = in.numel();
		int32_t f = gate_function(gate);
		Tensor grad = v.f32("dy", dy, n), u = v.f32("up", up, n), dg = v.f32("dgate", dgate, n), du = v.f32("dup", dup, n);
		Tensor a = unary_grad_of(f, at::mul(grad, u), in, in), b = at::mul(grad, unary_of(f, in));
		dg.copy_(a);
		du.copy_(b);
	});
}

/* ---- optimiser ---- */

inline char *sq_norm(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("sq_norm", c, [&](const views &v) {
		Tensor in = v.flat("x", x), acc = v.flat("y", y, 1, R1_F64);
		acc.add_(at::square(in.to(at::kDouble)).sum());
	});
}
/* AdamW (arXiv 1711.05101): w = w (1 - lr decay) - lr mhat / (sqrt(vhat) + eps) */
inline char *adamw(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v2, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	return entry("adamw", c, [&](const views &v) {
		Tensor weights = v.flat("w", w);
		int64_t n = weights.numel();
		Tensor mean = v.f32("m", m, n), square = v.f32("v", v2, n), h = v.flat("hyper", hyper, 4, R1_F64);
		Tensor grad = at::mul(v.f32("g", g, n), h[1]);
		mean.add_(at::sub(grad, mean), 1.0f - beta1);
		square.mul_(beta2).addcmul_(grad, grad, 1.0f - beta2);
		Tensor below = at::mul(at::sqrt(square), at::rsqrt(h[3])).add_(eps);
		weights.mul_(1 - h[0] * static_cast<double>(decay)).sub_(at::div(mean, below).mul_(h[0] / h[2]));
	});
}

} // namespace shim

#endif
