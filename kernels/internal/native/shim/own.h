/* own.h: the entries that have a kernel of their own. Arguments are checked as the compositions of ATen check them, which stay in use where
 * a context has no kernels. */
#include "driver.h"
#include "elem.h"
#include "matrix.h"
#include "attn.h"
#include "head.h"

namespace shim::own {

constexpr int threads = 256;

template <class T> T *at_or_null(const r1_tensor &t, int64_t i = 0) { return t.p ? static_cast<T *>(t.p) + i : nullptr; }
inline float *floats(const Tensor &t) { return t.defined() ? t.data_ptr<float>() : nullptr; }
inline int32_t *ints(const Tensor &t) { return t.data_ptr<int32_t>(); }

template <kernel_id k> void launch(const views &v, grid g, int block, const typename argument_of<k>::of &a) { v.ctx->gpu->launch<k>(v.ctx->device, g, block, a); }

/* of a kernel whose threads walk over n elements */
inline grid flat(int64_t n) { return {std::min<int64_t>((n + threads - 1) / threads, 1 << 16)}; }
/* of a kernel that has a thread for each of n columns */
inline grid columns(int64_t n) { return {(n + threads - 1) / threads}; }
/* threads of a block that takes a row of n: 16 for each 1,024 elements */
inline int row_threads(int64_t n) { return static_cast<int>(std::clamp<int64_t>((n + 2047) / 2048 * 32, 32, threads)); }

/* ---- element-wise ---- */

template <kernel_id k> void elementwise(const views &v, elem_args a) { launch<k>(v, flat(a.n), threads, a); }

inline char *unary(r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x)
{
	return entry("unary", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		WANT(op >= R1_NEG && op <= R1_LOG_SIGMOID, "no function %d", op);
		elementwise<r1_unary>(v, {.y = floats(v.f32("y", y, in.numel())), .a = floats(in), .n = in.numel(), .op = op});
	});
}
inline char *unary_grad(r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y)
{
	return entry("unary_grad", c, [&](const views &v) {
		int64_t n = v.flat("x", x).numel();
		WANT(op >= R1_NEG && op <= R1_LOG_SIGMOID, "no function %d", op);
		elementwise<r1_unary_grad>(v, {.y = floats(v.f32("dx", dx, n)), .a = floats(v.f32("dy", dy, n)), .b = floats(v.f32("x", x, n)), .z = floats(v.f32("y", y, n)), .n = n, .op = op});
	});
}
inline char *binary(r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b)
{
	return entry("binary", c, [&](const views &v) {
		Tensor in = v.matrix("a", a);
		int64_t r = in.size(0), w = in.size(1), n = how == R1_SAME ? r * w : how == R1_SCALAR ? 1 : how == R1_ROW ? w : r;
		WANT(how >= R1_SAME && how <= R1_COL, "no broadcast %d", how);
		WANT(op >= R1_ADD && op <= R1_EQUAL, "no operator %d", op);
		elementwise<r1_binary>(v, {.y = floats(v.f32("y", y, r * w)), .a = floats(in), .b = floats(v.f32("b", b, n)), .n = r * w, .cols = w, .op = op, .how = how});
	});
}
inline char *affine(r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift)
{
	return entry("affine", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		elementwise<r1_affine>(v, {.y = floats(v.f32("y", y, in.numel())), .a = floats(in), .n = in.numel(), .s0 = scale, .s1 = shift});
	});
}
inline char *fma(r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z)
{
	return entry("fma", c, [&](const views &v) {
		int64_t n = v.flat("a", a).numel();
		elementwise<r1_fma>(v, {.y = floats(v.f32("y", y, n)), .a = floats(v.f32("a", a, n)), .b = floats(v.f32("b", b, n)), .z = floats(v.f32("z", z, n)), .n = n});
	});
}
inline char *clamp(r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi)
{
	return entry("clamp", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		elementwise<r1_clamp>(v, {.y = floats(v.f32("y", y, in.numel())), .a = floats(in), .n = in.numel(), .s0 = lo, .s1 = hi});
	});
}
inline char *select(r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b)
{
	return entry("select", c, [&](const views &v) {
		int64_t n = v.flat("cond", cond).numel();
		elementwise<r1_select>(v, {.y = floats(v.f32("y", y, n)), .a = floats(v.f32("cond", cond, n)), .b = floats(v.f32("a", a, n)), .z = floats(v.f32("b", b, n)), .n = n});
	});
}
inline char *glu(r1_ctx *c, int32_t gate, r1_tensor y, r1_tensor g, r1_tensor up)
{
	return entry("glu", c, [&](const views &v) {
		int64_t n = v.flat("gate", g).numel();
		gate_function(gate);
		elementwise<r1_glu>(v, {.y = floats(v.f32("y", y, n)), .a = floats(v.f32("gate", g, n)), .b = floats(v.f32("up", up, n)), .n = n, .op = gate});
	});
}
inline char *glu_grad(r1_ctx *c, int32_t gate, r1_tensor dgate, r1_tensor dup, r1_tensor dy, r1_tensor g, r1_tensor up)
{
	return entry("glu_grad", c, [&](const views &v) {
		int64_t n = v.flat("gate", g).numel();
		gate_function(gate);
		elementwise<r1_glu_grad>(v, {.y = floats(v.f32("dgate", dgate, n)), .y2 = floats(v.f32("dup", dup, n)), .a = floats(v.f32("gate", g, n)), .b = floats(v.f32("up", up, n)),
		                             .z = floats(v.f32("dy", dy, n)), .n = n, .op = gate});
	});
}

/* ---- rows ---- */

inline char *row_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("row_sum", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		launch<r1_row_sum>(v, {in.size(0)}, row_threads(in.size(1)), {.y = floats(v.f32("y", y, in.size(0))), .x = floats(in), .cols = in.size(1)});
	});
}
inline char *row_max(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("row_max", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		WANT(in.size(1) > 0, "rows are empty");
		launch<r1_row_max>(v, {in.size(0)}, row_threads(in.size(1)), {.y = floats(v.f32("y", y, in.size(0))), .x = floats(in), .cols = in.size(1)});
	});
}
inline char *col_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("col_sum", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		launch<r1_col_sum>(v, columns(in.size(1)), threads, {.y = floats(v.f32("y", y, in.size(1))), .x = floats(in), .rows = in.size(0), .cols = in.size(1)});
	});
}
inline char *seg_sum(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	return entry("seg_sum", c, [&](const views &v) {
		Tensor in = v.flat("x", x);
		int64_t n = static_cast<int64_t>(read_segs(v, segs, in.numel()).size());
		launch<r1_seg_sum>(v, {n}, row_threads(in.numel()), {.y = floats(v.f32("y", y, n)), .x = floats(in), .idx = at_or_null<int32_t>(segs)});
	});
}
inline char *seg_scan(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs, int32_t reverse)
{
	return entry("seg_scan", c, [&](const views &v) {
		Tensor in = v.flat("x", x), out = v.f32("y", y, in.numel());
		WANT(y.p != x.p, "y may not be x");
		int64_t n = static_cast<int64_t>(read_segs(v, segs, in.numel()).size());
		launch<r1_seg_scan>(v, columns(n), threads, {.y = floats(out), .x = floats(in), .idx = at_or_null<int32_t>(segs), .rows = n, .reverse = reverse});
	});
}
inline char *scatter_add(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	return entry("scatter_add", c, [&](const views &v) {
		Tensor out = v.flat("y", y);
		WANT(y.nd >= 1 && y.n[0] > 0, "y has no rows");
		int64_t width = out.numel() / y.n[0], t = v.indexes("idx", idx, -1, y.n[0]);
		launch<r1_scatter_add>(v, columns(width), threads, {.y = floats(out), .x = floats(v.f32("x", x, t * width)), .idx = at_or_null<int32_t>(idx), .rows = t, .cols = width});
	});
}

/* ---- RMSNorm, rotary positions ---- */

inline char *rmsnorm(r1_ctx *c, r1_tensor y, r1_tensor rstd, r1_tensor x, r1_tensor w, float eps)
{
	return entry("rmsnorm", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		int64_t r = in.size(0), n = in.size(1);
		launch<r1_rmsnorm>(v, {r}, row_threads(n), {.y = floats(v.f32("y", y, r * n)), .rstd = floats(v.f32("rstd", rstd, r)), .x = floats(in), .w = floats(v.f32("w", w, n)), .cols = n, .eps = eps});
	});
}
inline char *rmsnorm_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor w, r1_tensor rstd)
{
	return entry("rmsnorm_dx", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		int64_t r = in.size(0), n = in.size(1);
		launch<r1_rmsnorm_dx>(v, {r}, row_threads(n), {.y = floats(v.f32("dx", dx, r * n)), .x = floats(in), .w = floats(v.f32("w", w, n)), .dy = floats(v.f32("dy", dy, r * n)),
		                                               .rstd_in = floats(v.f32("rstd", rstd, r)), .cols = n});
	});
}
inline char *rmsnorm_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor rstd)
{
	return entry("rmsnorm_dw", c, [&](const views &v) {
		Tensor in = v.matrix("x", x);
		int64_t r = in.size(0), n = in.size(1);
		launch<r1_rmsnorm_dw>(v, columns(n), threads, {.y = floats(v.f32("dw", dw, n)), .x = floats(in), .dy = floats(v.f32("dy", dy, r * n)), .rstd_in = floats(v.f32("rstd", rstd, r)),
		                                               .rows = r, .cols = n});
	});
}
inline char *rope(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor pos, r1_tensor table, int32_t how)
{
	return entry("rope", c, [&](const views &v) {
		Tensor in = v.shaped("x", x, 3), angles = v.shaped("table", table, 2);
		int64_t t = in.size(0), d = in.size(2);
		WANT(d % 2 == 0 && angles.size(1) == d, "head size %lld, table of %lld", static_cast<long long>(d), static_cast<long long>(angles.size(1)));
		WANT((how & ~(R1_ROPE_BACK | R1_ROPE_PAIRS)) == 0, "how is %d", how);
		v.indexes("pos", pos, t, angles.size(0));
		launch<r1_rope>(v, flat(in.numel() / 2), threads, {.y = floats(v.f32("y", y, in.numel())), .x = floats(in), .table = floats(angles), .pos = at_or_null<int32_t>(pos), .t = t,
		                                                   .heads = in.size(1), .d = d, .sign = how & R1_ROPE_BACK ? -1.0f : 1.0f, .pairs = how & R1_ROPE_PAIRS});
	});
}

/* ---- matrix products ---- */

/* A weight [N,K] of products: as it lies, or where half is there in bf16. */
struct weights {
	const float *w;
	const uint16_t *half;
};
inline weights weights_of(const views &v, const Tensor &w, const r1_tensor &packed)
{
	if (!packed.p || packed.dtype != R1_BF16)
		return {floats(w), nullptr};
	return {floats(w), static_cast<const uint16_t *>(v.flat("packed", packed, w.numel(), R1_BF16).data_ptr())};
}

/* The tile decides about speed and no bit. */
template <kernel_id few, kernel_id some, kernel_id many> void multiply16(const views &v, const gemm16_args &a)
{
	WANT(a.m <= int64_t{65535} * 64, "%lld rows: at most 4194240", static_cast<long long>(a.m));
	if (a.m <= 16)
		launch<few>(v, {(a.n + 31) / 32, (a.m + 15) / 16}, 128, a);
	else if (a.m < 128 || a.n < 128)
		launch<some>(v, {(a.n + 63) / 64, (a.m + 63) / 64}, 128, a);
	else
		launch<many>(v, {(a.n + 127) / 128, (a.m + 127) / 128}, 256, a);
}
/* y = x, n numbers rounded to bf16 */
inline void round_even(const views &v, float *y, const float *x, int64_t n) { launch<r1_round16>(v, flat(n), threads, {.y = y, .packed = nullptr, .x = x, .n = n, .away = 0}); }

inline void multiply(const views &v, const gemm_args &a)
{
	WANT(a.m <= int64_t{65535} * 64, "%lld rows: at most 4194240", static_cast<long long>(a.m));
	launch<r1_gemm>(v, {(a.n + 63) / 64, (a.m + 63) / 64}, threads, a);
}
/* y [m,n] = x [m,k] wT, w [n,k] */
inline void multiply_by(const views &v, float *y, const float *x, weights w, const float *bias, int64_t m, int64_t n, int64_t k)
{
	if (w.half)
		return multiply16<r1_gemm16_few, r1_gemm16_some, r1_gemm16_many>(v, {.c = y, .a = x, .x = nullptr, .bias = bias, .b = w.half, .m = m, .n = n, .k = k});
	multiply(v, {.c = y, .a = x, .b = w.w, .bias = bias, .m = m, .n = n, .k = k, .a_m = k, .a_k = 1, .b_k = 1, .b_n = k, .add = 0});
}
/* dx [m,k] = dy [m,n] w */
inline void multiply_back(const views &v, float *dx, const float *dy, weights w, int64_t m, int64_t n, int64_t k)
{
	if (w.half)
		return multiply16<r1_gemm16_back_few, r1_gemm16_back_some, r1_gemm16_back_many>(v, {.c = dx, .a = dy, .x = nullptr, .bias = nullptr, .b = w.half, .m = m, .n = k, .k = n});
	multiply(v, {.c = dx, .a = dy, .b = w.w, .bias = nullptr, .m = m, .n = k, .k = n, .a_m = n, .a_k = 1, .b_k = k, .b_n = 1, .add = 0});
}
/* dw [n,k] += dyT [m,n] x [m,k] */
inline void multiply_into(const views &v, float *dw, const float *dy, const float *x, int64_t m, int64_t n, int64_t k)
{
	multiply(v, {.c = dw, .a = dy, .b = x, .bias = nullptr, .m = n, .n = k, .k = m, .a_m = 1, .a_k = n, .b_k = k, .b_n = 1, .add = 1});
}

inline char *linear(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor bias)
{
	return entry("linear", c, [&](const views &v) {
		Tensor in = v.matrix("x", x), wt = v.shaped("w", w, 2);
		int64_t m = in.size(0), n = wt.size(0), k = wt.size(1);
		WANT(in.size(1) == k, "x has %lld columns, w %lld", static_cast<long long>(in.size(1)), static_cast<long long>(k));
		multiply_by(v, floats(v.f32("y", y, m * n)), floats(in), weights_of(v, wt, packed), bias.p ? floats(v.f32("bias", bias, n)) : nullptr, m, n, k);
	});
}
inline char *linear_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed)
{
	return entry("linear_dx", c, [&](const views &v) {
		Tensor grad = v.matrix("dy", dy), wt = v.shaped("w", w, 2);
		int64_t m = grad.size(0), n = wt.size(0), k = wt.size(1);
		WANT(grad.size(1) == n, "dy has %lld columns, w %lld rows", static_cast<long long>(grad.size(1)), static_cast<long long>(n));
		multiply_back(v, floats(v.f32("dx", dx, m * k)), floats(grad), weights_of(v, wt, packed), m, n, k);
	});
}
inline char *linear_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor)
{
	return entry("linear_dw", c, [&](const views &v) {
		gradient g = gradient_of(v, dw, dy, x);
		multiply_into(v, floats(g.acc), floats(g.dy), floats(g.x), g.x.size(0), g.acc.size(0), g.acc.size(1));
	});
}
inline char *linear_dw16_segs(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs)
{
	return entry("linear_dw16", c, [&](const views &v) {
		gradient g = gradient_of(v, dw, dy, x);
		int64_t n = g.acc.size(0), k = g.acc.size(1), t = g.x.size(0), sequences = segs.p ? static_cast<int64_t>(read_segs(v, segs, t).size()) : 0;
		launch<r1_gemm16_weight>(v, {(k + 127) / 128, (n + 127) / 128}, 256, {.c = floats(g.acc), .a = floats(g.dy), .x = floats(g.x), .bias = nullptr, .b = nullptr, .m = n, .n = k, .k = t,
		                                                                      .segs = sequences ? at_or_null<int32_t>(segs) : nullptr, .nsegs = static_cast<int>(sequences)});
	});
}

inline char *pack(r1_ctx *c, r1_tensor packed, r1_tensor w)
{
	return entry("pack", c, [&](const views &v) {
		Tensor in = v.shaped("w", w, 2);
		int64_t n = in.numel();
		launch<r1_pack16>(v, flat(n), threads, {.y = nullptr, .packed = static_cast<uint16_t *>(v.flat("packed", packed, n, R1_BF16).data_ptr()), .x = floats(in), .n = n, .away = 1});
	});
}
inline char *round16(r1_ctx *c, r1_tensor y, r1_tensor x, int32_t how)
{
	return entry("round16", c, [&](const views &v) {
		WANT(how == R1_NEAREST_EVEN || how == R1_HALF_AWAY, "how is %d", how);
		Tensor in = v.flat("x", x);
		int64_t n = in.numel();
		launch<r1_round16>(v, flat(n), threads, {.y = floats(v.f32("y", y, n)), .packed = nullptr, .x = floats(in), .n = n, .away = how == R1_HALF_AWAY});
	});
}

/* ---- attention ---- */

constexpr int64_t attn_chunk = 256, attn_together = 4; /* keys, and queries, of a block of threads */
constexpr int64_t attn_parts = INT64_C(1) << 24;       /* floats of chunks that are taken alone; only memory and speed depend on it */

inline attn_args attention(const Tensor &q, const r1_tensor &k, float scale, int64_t window, float softcap)
{
	attn_shape s = shape_of(q, k, scale, window, softcap);
	WANT(q.size(0) < INT32_MAX && window < INT32_MAX && rows(k) / s.g < INT32_MAX && s.g < 65536, "more rows or heads than fit");
	return {.q = floats(q), .t = static_cast<int>(q.size(0)), .h = static_cast<int>(s.h), .g = static_cast<int>(s.g), .d = static_cast<int>(s.d),
	        .tile = static_cast<int>((attn_together + s.r - 1) / s.r), .window = static_cast<int>(std::max<int64_t>(window, 0)), .scale = scale, .softcap = softcap};
}
inline grid attn_grid(const attn_args &a, int64_t tile) { return {(a.t + tile - 1) / tile, a.t ? a.g : 0}; }

inline char *attn(r1_ctx *c, r1_tensor o, r1_tensor lse, r1_tensor q, r1_tensor k, r1_tensor val, r1_tensor segs, float scale, int64_t window, float softcap)
{
	return entry("attn", c, [&](const views &v) {
		Tensor qt = v.shaped("q", q, 3), kt = v.shaped("k", k, 3);
		attn_args a = attention(qt, k, scale, window, softcap);
		WANT(kt.size(0) == a.t, "k has %lld rows, q %d", static_cast<long long>(kt.size(0)), a.t);
		a.k = floats(kt), a.v = floats(v.f32("v", val, kt.numel())), a.o = floats(v.f32("o", o, qt.numel())), a.lse = floats(v.f32("lse", lse, int64_t{a.t} * a.h));
		a.n = static_cast<int>(read_segs(v, segs, a.t).size()), a.segs = at_or_null<int32_t>(segs);
		launch<r1_attn>(v, attn_grid(a, a.tile), threads, a);
	});
}
inline char *attn_grad(r1_ctx *c, r1_tensor dq, r1_tensor dk, r1_tensor dv, r1_tensor dout, r1_tensor q, r1_tensor k, r1_tensor val, r1_tensor o, r1_tensor lse, r1_tensor segs,
                       float scale, int64_t window, float softcap)
{
	return entry("attn_grad", c, [&](const views &v) {
		Tensor qt = v.shaped("q", q, 3), kt = v.shaped("k", k, 3);
		attn_args a = attention(qt, k, scale, window, softcap);
		WANT(kt.size(0) == a.t, "k has %lld rows, q %d", static_cast<long long>(kt.size(0)), a.t);
		a.k = floats(kt), a.v = floats(v.f32("v", val, kt.numel())), a.dout = floats(v.f32("do", dout, qt.numel())), a.oin = floats(v.f32("o", o, qt.numel()));
		a.lse_in = floats(v.f32("lse", lse, int64_t{a.t} * a.h)), a.dq = floats(v.f32("dq", dq, qt.numel()));
		a.dk = floats(v.f32("dk", dk, kt.numel())), a.dv = floats(v.f32("dv", dv, kt.numel()));
		a.n = static_cast<int>(read_segs(v, segs, a.t).size()), a.segs = at_or_null<int32_t>(segs);
		launch<r1_attn_dq>(v, attn_grid(a, a.tile), threads, a);
		launch<r1_attn_dkv>(v, attn_grid(a, attn_chunk), threads, a);
	});
}
inline char *attn_paged(r1_ctx *c, r1_tensor o, r1_tensor q, r1_tensor kpages, r1_tensor vpages, r1_tensor table, r1_tensor at, float scale, int64_t window, float softcap)
{
	return entry("attn_paged", c, [&](const views &v) {
		Tensor qt = v.shaped("q", q, 3), kp = v.shaped("kpages", kpages, 4);
		attn_args a = attention(qt, kpages, scale, window, softcap);
		a.k = floats(kp), a.v = floats(v.f32("vpages", vpages, kp.numel())), a.o = floats(v.f32("o", o, qt.numel()));
		pages_of(v, kp, table, at, a.t);
		a.table = at_or_null<int32_t>(table), a.rows = at_or_null<int32_t>(at), a.pages = static_cast<int>(table.n[1]), a.slots = static_cast<int>(kp.size(1));
		int64_t chunks = (table.n[1] * kp.size(1) + attn_chunk - 1) / attn_chunk, floats_of_parts = qt.size(0) * a.h * chunks * (a.d + 2);
		grid g = attn_grid(a, a.tile);
		Tensor parts;
		if (chunks > 1 && chunks < 65536 && floats_of_parts <= attn_parts) {
			parts = at::empty({floats_of_parts}, qt.options());
			a.part = floats(parts), a.chunks = static_cast<int>(chunks), g.z = chunks;
		}
		launch<r1_attn_paged>(v, g, threads, a);
		if (a.part)
			launch<r1_attn_merge>(v, {a.t, a.t ? a.h : 0}, 128, a);
	});
}

/* ---- the head ---- */

constexpr int64_t head_words = 512 * 1024;        /* of the largest vocabulary */
constexpr int64_t own_scratch = INT64_C(1) << 24; /* logits at a time, 64 MiB: each block reads the whole weight; only memory and speed depend on it */

/* logits of n rows of m from row r on, into z, which grows where it is too small */
inline float *logits(const views &v, const head_model &m, weights w, Tensor &z, int64_t r, int64_t n)
{
	int64_t words = m.w.size(0), d = m.w.size(1);
	WANT(words <= head_words, "%lld words: at most %lld", static_cast<long long>(words), static_cast<long long>(head_words));
	if (!z.defined() || z.numel() < n * words)
		z = at::empty({n * words}, m.x.options());
	multiply_by(v, floats(z), floats(m.x) + r * d, w, nullptr, n, words, d);
	return floats(z);
}

inline char *head_ext(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor kl, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap,
                      r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep)
{
	return entry("head", c, [&](const views &v) {
		head_input in = input_of(v, x, w, {}, target, temp, softcap, y, u, {}, ycap, beta, keep_at, keep);
		weights here = weights_of(v, in.m.w, packed), there = y.p ? weights_of(v, in.other.w, upacked) : here;
		v.f32("logp", logp, in.t()), v.f32("ent", ent, in.t()), v.f32("lse", lse, in.t());
		if (y.p)
			v.f32("kl", kl, in.t()), v.f32("aux", aux, 2 * in.t());
		Tensor z, o;
		in.each_block([&](int64_t r, int64_t n) {
			launch<r1_head_stats>(v, {n}, threads, {.z = logits(v, in.m, here, z, r, n), .o = y.p ? logits(v, in.other, there, o, r, n) : nullptr, .logp = at_or_null<float>(logp, r), .ent = at_or_null<float>(ent, r),
			                                        .lse = at_or_null<float>(lse, r), .kl = at_or_null<float>(kl, r), .aux = at_or_null<float>(aux, 2 * r), .temp = at_or_null<float>(temp, r),
			                                        .target = at_or_null<int32_t>(target, r), .keep_at = at_or_null<int32_t>(keep_at, r), .keep = at_or_null<int32_t>(keep), .v = in.v(),
			                                        .softcap = softcap, .ocap = ycap, .beta = beta});
		}, y.p ? own_scratch / 2 : own_scratch);
	});
}
inline char *head(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap)
{
	r1_tensor none = {};
	return head_ext(c, logp, ent, lse, none, none, x, w, packed, target, temp, softcap, none, none, none, 0, 0, none, none);
}

inline char *head_ext_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed,
                           r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep)
{
	return entry("head_grad", c, [&](const views &v) {
		r1_tensor none = {};
		if (dkl.p)
			v.flat("y", y);
		head_input in = input_of(v, x, w, {}, target, temp, softcap, dkl.p ? y : none, u, {}, ycap, beta, keep_at, keep);
		weights here = weights_of(v, in.m.w, packed), there = dkl.p ? weights_of(v, in.other.w, upacked) : here;
		int64_t t = in.t(), d = in.m.x.size(1);
		v.f32("dx", dx, in.m.x.numel()), v.f32("dlogp", dlogp, t), v.f32("ent", ent, t), v.f32("lse", lse, t);
		if (dw.p)
			v.f32("dw", dw, in.m.w.numel());
		if (dent.p)
			v.f32("dent", dent, t);
		if (dkl.p)
			v.f32("dkl", dkl, t), v.f32("aux", aux, 2 * t);
		Tensor z, o, x16;
		in.each_block([&](int64_t r, int64_t n) {
			float *rows = logits(v, in.m, here, z, r, n);
			launch<r1_head_dlogits>(v, {n}, threads, {.z = rows, .o = dkl.p ? logits(v, in.other, there, o, r, n) : nullptr, .temp = at_or_null<float>(temp, r), .dlogp = at_or_null<float>(dlogp, r),
			                                          .dent = at_or_null<float>(dent, r), .dkl = at_or_null<float>(dkl, r), .ent_in = at_or_null<float>(ent, r), .lse_in = at_or_null<float>(lse, r),
			                                          .aux_in = at_or_null<float>(aux, 2 * r), .target = at_or_null<int32_t>(target, r), .keep_at = at_or_null<int32_t>(keep_at, r),
			                                          .keep = at_or_null<int32_t>(keep), .v = in.v(), .softcap = softcap, .ocap = ycap, .beta = beta});
			multiply_back(v, at_or_null<float>(dx, r * d), rows, here, n, in.v(), d);
			if (!dw.p)
				return;
			const float *hidden = floats(in.m.x) + r * d;
			if (here.half) {
				if (!x16.defined())
					x16 = at::empty({n * d}, in.m.x.options());
				round_even(v, rows, rows, n * in.v());
				round_even(v, floats(x16), hidden, n * d);
				hidden = floats(x16);
			}
			multiply_into(v, at_or_null<float>(dw), rows, hidden, n, in.v(), d);
		}, dkl.p ? own_scratch / 2 : own_scratch);
	});
}
inline char *head_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target,
                       r1_tensor temp, float softcap)
{
	r1_tensor none = {};
	return head_ext_grad(c, dx, dw, dlogp, dent, none, ent, lse, none, x, w, packed, target, temp, softcap, none, none, none, 0, 0, none, none);
}

inline char *head_sample_keep(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor kept, r1_tensor mass, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor cut,
                              r1_tensor counter, r1_tensor key, float softcap)
{
	return entry("head_sample", c, [&](const views &v) {
		head_input in = {model_of(v, "x", x, w, {}, softcap), {}, {}, v.column("temp", temp, rows(x)), {}, {}, 0};
		weights here = weights_of(v, in.m.w, packed);
		int64_t t = in.t(), words = (in.v() + 31) / 32;
		v.flat("token", token, t, R1_I32), v.f32("logp", logp, t), v.f32("ent", ent, t), v.flat("counter", counter, 4 * t, R1_I32), v.flat("key", key, 2, R1_I32);
		v.forget(token);
		if (cut.p) {
			check_draw(v, in.temp, cut); /* waits for the device; without a truncation any temperature is harmless, and Go has looked at it */
			v.f32("mass", mass, t), v.flat("kept", kept, t * words, R1_I32);
			v.forget(kept);
		}
		Tensor z, o;
		in.each_block([&](int64_t r, int64_t n) {
			if (cut.p && !o.defined())
				o = at::empty({n * in.v()}, in.m.x.options());
			launch<r1_head_draw>(v, {n}, threads, {.z = logits(v, in.m, here, z, r, n), .o = floats(o), .logp = at_or_null<float>(logp, r), .ent = at_or_null<float>(ent, r), .mass = at_or_null<float>(mass, r),
			                                       .token = at_or_null<int32_t>(token, r), .kept = at_or_null<int32_t>(kept, r * words), .temp = at_or_null<float>(temp, r), .cut = at_or_null<float>(cut, 3 * r),
			                                       .counter = at_or_null<int32_t>(counter, 4 * r), .key = at_or_null<int32_t>(key), .v = in.v(), .softcap = softcap});
		}, cut.p ? own_scratch / 2 : own_scratch);
	});
}
inline char *head_sample(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap)
{
	r1_tensor none = {};
	return head_sample_keep(c, token, logp, ent, none, none, x, w, packed, temp, none, counter, key, softcap);
}

/* ---- optimiser ---- */

inline char *sq_norm(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	return entry("sq_norm", c, [&](const views &v) {
		Tensor in = v.flat("x", x), sum = v.flat("y", y, 1, R1_F64);
		int64_t blocks = (in.numel() + 4095) / 4096;
		Tensor partial = at::empty({std::max<int64_t>(blocks, 1)}, sum.options());
		launch<r1_sq_norm>(v, {blocks}, 64, {.g = floats(in), .partial = partial.data_ptr<double>(), .n = in.numel()});
		launch<r1_sq_norm_end>(v, {1}, threads, {.partial = partial.data_ptr<double>(), .sum = sum.data_ptr<double>(), .n = blocks});
	});
}
inline char *adamw(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v2, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	return entry("adamw", c, [&](const views &v) {
		int64_t n = v.flat("w", w).numel();
		launch<r1_adamw>(v, flat(n), threads, {.w = floats(v.f32("w", w, n)), .m = floats(v.f32("m", m, n)), .v = floats(v.f32("v", v2, n)), .g = floats(v.f32("g", g, n)),
		                                       .hyper = v.flat("hyper", hyper, 4, R1_F64).data_ptr<double>(), .n = n, .beta1 = beta1, .beta2 = beta2, .eps = eps, .decay = decay});
	});
}

/* ---- the table ---- */

/* The kernel's entry in a context that has kernels, else the composition of ATen; only in exact mode where libtorch's own is the faster. */
template <bool only_exact, auto composed, auto kernel> struct either;
template <bool only_exact, class... A, char *(*composed)(r1_ctx *, A...), char *(*kernel)(r1_ctx *, A...)> struct either<only_exact, composed, kernel> {
	static char *call(r1_ctx *c, A... a) { return (c && c->gpu && (c->exact || !only_exact) ? kernel : composed)(c, a...); }
};

inline void fill(r1_api &a)
{
#define R1_OWN(name) a.name = either<false, shim::name, own::name>::call
#define R1_EXACT(name) a.name = either<true, shim::name, own::name>::call
	R1_OWN(unary), R1_OWN(unary_grad), R1_OWN(binary), R1_OWN(affine), R1_OWN(fma), R1_OWN(clamp), R1_OWN(select), R1_OWN(glu), R1_OWN(glu_grad);
	R1_OWN(row_sum), R1_OWN(row_max), R1_OWN(col_sum), R1_OWN(seg_sum), R1_OWN(seg_scan), R1_OWN(scatter_add);
	R1_OWN(rmsnorm), R1_OWN(rmsnorm_dx), R1_OWN(rmsnorm_dw), R1_OWN(rope), R1_OWN(attn), R1_OWN(attn_grad), R1_OWN(attn_paged), R1_OWN(sq_norm), R1_OWN(adamw);
	R1_OWN(pack), R1_OWN(round16);
	R1_EXACT(linear), R1_EXACT(linear_dx), R1_EXACT(linear_dw), R1_EXACT(linear_dw16_segs);
	R1_EXACT(head), R1_EXACT(head_grad), R1_EXACT(head_ext), R1_EXACT(head_ext_grad), R1_EXACT(head_sample), R1_EXACT(head_sample_keep);
#undef R1_OWN
#undef R1_EXACT
}

} // namespace shim::own
