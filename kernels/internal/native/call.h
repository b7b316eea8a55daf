/* call.h: one inline trampoline for each entry of the table, because Go cannot call a C function pointer. */
#ifndef R1_CALL_H
#define R1_CALL_H

#include "r1.h"

/* What a trampoline returns where the backend has no such entry; never freed. */
#define R1_ABSENT ((char *)-1)

#define HAS(api, f) (offsetof(r1_api, f) + sizeof((api)->f) <= (api)->size && (api)->f)
#define CALL(f, params, args) \
	static inline char *call_##f params { return HAS(api, f) ? api->f args : R1_ABSENT; }

static inline int r1_is_absent(const char *m) { return m == R1_ABSENT; }
static inline void call_err_free(const r1_api *api, char *m) { api->err_free(m); }

CALL(ctx_new, (const r1_api *api, const r1_options *opt, r1_ctx **out), (opt, out))
CALL(ctx_free, (const r1_api *api, r1_ctx *c), (c))
CALL(info, (const r1_api *api, r1_ctx *c, r1_info *out), (c, out))
CALL(measure, (const r1_api *api, r1_ctx *c, int32_t what, double seconds, double *out), (c, what, seconds, out))
CALL(kv_read, (const r1_api *api, r1_ctx *c, int64_t *out), (c, out))
CALL(alloc, (const r1_api *api, r1_ctx *c, int64_t bytes, void **out), (c, bytes, out))
CALL(release, (const r1_api *api, r1_ctx *c, void *p), (c, p))
CALL(write, (const r1_api *api, r1_ctx *c, r1_tensor dst, const void *src, int64_t bytes), (c, dst, src, bytes))
CALL(read, (const r1_api *api, r1_ctx *c, void *dst, r1_tensor src, int64_t bytes), (c, dst, src, bytes))
CALL(graph_begin, (const r1_api *api, r1_ctx *c), (c))
CALL(graph_end, (const r1_api *api, r1_ctx *c, r1_graph **out), (c, out))
CALL(graph_launch, (const r1_api *api, r1_ctx *c, r1_graph *g), (c, g))
CALL(graph_free, (const r1_api *api, r1_ctx *c, r1_graph *g), (c, g))
CALL(pack_bytes, (const r1_api *api, r1_ctx *c, int64_t n, int64_t k, int32_t dtype, int64_t *out), (c, n, k, dtype, out))
CALL(copy, (const r1_api *api, r1_ctx *c, r1_tensor dst, r1_tensor src), (c, dst, src))
CALL(zero, (const r1_api *api, r1_ctx *c, r1_tensor dst), (c, dst))
CALL(sync, (const r1_api *api, r1_ctx *c), (c))
CALL(cast, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x), (c, y, x))
CALL(unary, (const r1_api *api, r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x), (c, op, y, x))
CALL(unary_grad, (const r1_api *api, r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y), (c, op, dx, dy, x, y))
CALL(binary, (const r1_api *api, r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b), (c, op, how, y, a, b))
CALL(affine, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift), (c, y, x, scale, shift))
CALL(fma, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z), (c, y, a, b, z))
CALL(clamp, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi), (c, y, x, lo, hi))
CALL(select, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b), (c, y, cond, a, b))
CALL(row_sum, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x), (c, y, x))
CALL(row_max, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x), (c, y, x))
CALL(col_sum, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x), (c, y, x))
CALL(seg_sum, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs), (c, y, x, segs))
CALL(seg_spread, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs), (c, y, x, segs))
CALL(seg_scan, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs, int32_t reverse), (c, y, x, segs, reverse))
CALL(gather, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx), (c, y, x, idx))
CALL(scatter_add, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx), (c, y, x, idx))
CALL(pick, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx), (c, y, x, idx))
CALL(pick_grad, (const r1_api *api, r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor idx), (c, dx, dy, idx))
CALL(copy_cols, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, int64_t ycol, int64_t xcol, int64_t n), (c, y, x, ycol, xcol, n))
CALL(pack, (const r1_api *api, r1_ctx *c, r1_tensor packed, r1_tensor w), (c, packed, w))
CALL(linear, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor bias), (c, y, x, w, packed, bias))
CALL(linear_dx, (const r1_api *api, r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed), (c, dx, dy, w, packed))
CALL(linear_dw, (const r1_api *api, r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs), (c, dw, dy, x, segs))
CALL(grouped_linear, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor offsets), (c, y, x, w, packed, offsets))
CALL(grouped_linear_dx, (const r1_api *api, r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed, r1_tensor offsets), (c, dx, dy, w, packed, offsets))
CALL(grouped_linear_dw, (const r1_api *api, r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor offsets), (c, dw, dy, x, offsets))
CALL(rmsnorm, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor rstd, r1_tensor x, r1_tensor w, float eps), (c, y, rstd, x, w, eps))
CALL(rmsnorm_dx, (const r1_api *api, r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor w, r1_tensor rstd), (c, dx, dy, x, w, rstd))
CALL(rmsnorm_dw, (const r1_api *api, r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor rstd), (c, dw, dy, x, rstd))
CALL(rope, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor pos, r1_tensor table, int32_t how), (c, y, x, pos, table, how))
CALL(glu, (const r1_api *api, r1_ctx *c, int32_t act, r1_tensor y, r1_tensor gate, r1_tensor up), (c, act, y, gate, up))
CALL(glu_grad, (const r1_api *api, r1_ctx *c, int32_t act, r1_tensor dgate, r1_tensor dup, r1_tensor dy, r1_tensor gate, r1_tensor up), (c, act, dgate, dup, dy, gate, up))
CALL(attn, (const r1_api *api, r1_ctx *c, r1_tensor o, r1_tensor lse, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor segs, float scale, int64_t window, float softcap), (c, o, lse, q, k, v, segs, scale, window, softcap))
CALL(attn_grad, (const r1_api *api, r1_ctx *c, r1_tensor dq, r1_tensor dk, r1_tensor dv, r1_tensor dout, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor o, r1_tensor lse, r1_tensor segs, float scale, int64_t window, float softcap), (c, dq, dk, dv, dout, q, k, v, o, lse, segs, scale, window, softcap))
CALL(kv_write, (const r1_api *api, r1_ctx *c, r1_tensor kpages, r1_tensor vpages, r1_tensor k, r1_tensor v, r1_tensor slot), (c, kpages, vpages, k, v, slot))
CALL(attn_paged, (const r1_api *api, r1_ctx *c, r1_tensor o, r1_tensor q, r1_tensor kpages, r1_tensor vpages, r1_tensor table, r1_tensor rows, float scale, int64_t window, float softcap), (c, o, q, kpages, vpages, table, rows, scale, window, softcap))
CALL(head, (const r1_api *api, r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap), (c, logp, ent, lse, x, w, packed, target, temp, softcap))
CALL(head_grad, (const r1_api *api, r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap), (c, dx, dw, dlogp, dent, ent, lse, x, w, packed, target, temp, softcap))
CALL(head_ext, (const r1_api *api, r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor kl, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep), (c, logp, ent, lse, kl, aux, x, w, packed, target, temp, softcap, y, u, upacked, ycap, beta, keep_at, keep))
CALL(head_ext_grad, (const r1_api *api, r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep), (c, dx, dw, dlogp, dent, dkl, ent, lse, aux, x, w, packed, target, temp, softcap, y, u, upacked, ycap, beta, keep_at, keep))
CALL(head_sample, (const r1_api *api, r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap), (c, token, logp, ent, x, w, packed, temp, counter, key, softcap))
CALL(head_sample_keep, (const r1_api *api, r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor kept, r1_tensor mass, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor cut, r1_tensor counter, r1_tensor key, float softcap), (c, token, logp, ent, kept, mass, x, w, packed, temp, cut, counter, key, softcap))
CALL(sq_norm, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x), (c, y, x))
CALL(adamw, (const r1_api *api, r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay), (c, w, m, v, g, hyper, beta1, beta2, eps, decay))
CALL(all_reduce, (const r1_api *api, r1_ctx *c, r1_tensor x), (c, x))
CALL(broadcast, (const r1_api *api, r1_ctx *c, r1_tensor x, int32_t root), (c, x, root))
CALL(linear_dw16, (const r1_api *api, r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x), (c, dw, dy, x))
CALL(round16, (const r1_api *api, r1_ctx *c, r1_tensor y, r1_tensor x, int32_t how), (c, y, x, how))

#endif
