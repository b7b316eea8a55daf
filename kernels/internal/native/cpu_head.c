/* cpu_head.c: the fused head, whose logits exist for a block of rows at a time, and the optimiser. */
#include "ctx.h"
#include "ops.h"

/* ---- the fused head ---- */

#define HEAD_SCRATCH (INT64_C(1) << 20) /* floats of logits at a time; only speed depends on it */

/* Calls body(r0, n) for blocks of rows whose logits z [n,V] have just been computed. */
typedef struct { r1_ctx *c; r1_tensor x, w, packed; int64_t v, d, block; float *z; int64_t got; } head_blocks;

static char *head_open(head_blocks *b, r1_ctx *c, const char *op, r1_tensor x, r1_tensor w, r1_tensor packed)
{
	TRY(check(op, "x", x, R1_F32));
	TRY(check_packed(c, op, packed, w));
	CHECK(cols(x) == w.n[1], "%s: x has %lld columns, w %lld", op, (long long)cols(x), (long long)w.n[1]);
	*b = (head_blocks){.c = c, .x = x, .w = w, .packed = packed, .v = w.n[0], .d = w.n[1]};
	b->block = HEAD_SCRATCH / b->v;
	if (b->block < 16)
		b->block = 16;
	if (b->block > rows(x))
		b->block = rows(x);
	b->z = scratch_get(c, 4 * b->block * b->v, &b->got);
	CHECK(b->z, "%s: out of memory: %lld bytes of scratch", op, (long long)(4 * b->block * b->v));
	return NULL;
}
static char *head_logits(head_blocks *b, int64_t r0, int64_t n)
{
	return run_gemm(b->c, (gemm_args){.m = n, .n = b->v, .k = b->d, .a = (const float *)b->x.p + r0 * b->d, .a_m = b->d, .a_k = 1, .b = b->w.p, .b_k = 1, .b_n = b->d,
	                                  .bp = b->packed.p, .c = b->z, .ldc = b->v});
}
static char *head_close(head_blocks *b, char *m)
{
	scratch_put(b->c, b->z, b->got);
	return m;
}
char *cpu_head(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap)
{
	head_blocks b;
	char *m = NULL;
	int64_t t = rows(x);
	F32N(logp, t); F32N(ent, t); F32N(lse, t); I32N(target, t);
	if (temp.p)
		F32N(temp, t);
	TRY(head_open(&b, c, "head", x, w, packed));
	m = check_index("head", target.p, t, b.v);
	for (int64_t r = 0; r < t && !m; r += b.block) {
		int64_t n = t - r < b.block ? t - r : b.block;
		m = head_logits(&b, r, n);
		head_args a = {.v = b.v, .ldz = b.v, .z = b.z, .softcap = softcap, .temp = AT(temp, r), .target = (const int32_t *)target.p + r, .logp = AT(logp, r), .ent = AT(ent, r), .lse = AT(lse, r)};
		if (!m)
			pool_run(c->threads, n, 1 + 4096 / b.v, c->k->head_stats, &a);
	}
	return head_close(&b, m);
}

char *cpu_head_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target,
                           r1_tensor temp, float softcap)
{
	head_blocks b;
	char *m = NULL;
	int64_t t = rows(x);
	F32N(dx, count(x)); F32N(dlogp, t); F32N(ent, t); F32N(lse, t); I32N(target, t);
	if (dw.p)
		F32N(dw, count(w));
	if (dent.p)
		F32N(dent, t);
	if (temp.p)
		F32N(temp, t);
	TRY(head_open(&b, c, "head_grad", x, w, packed));
	const float *back = packed_back(c, packed, b.v, b.d);
	m = check_index("head_grad", target.p, t, b.v);
	for (int64_t r = 0; r < t && !m; r += b.block) {
		int64_t n = t - r < b.block ? t - r : b.block;
		m = head_logits(&b, r, n);
		head_args a = {.v = b.v, .ldz = b.v, .z = b.z, .softcap = softcap, .temp = AT(temp, r), .target = (const int32_t *)target.p + r, .dlogp = AT(dlogp, r), .dent = AT(dent, r),
		               .ent_in = AT(ent, r), .lse_in = AT(lse, r)};
		if (!m)
			pool_run(c->threads, n, 1 + 4096 / b.v, c->k->head_dlogits, &a);
		if (!m)
			m = run_gemm(c, (gemm_args){.m = n, .n = b.d, .k = b.v, .a = b.z, .a_m = b.v, .a_k = 1, .b = w.p, .b_k = b.d, .b_n = 1, .bp = back, .c = AT(dx, r * b.d), .ldc = b.d});
		if (!m && dw.p)
			m = run_gemm(c, (gemm_args){.m = b.v, .n = b.d, .k = n, .a = b.z, .a_m = 1, .a_k = b.v, .b = AT(x, r * b.d), .b_k = b.d, .b_n = 1, .c = dw.p, .ldc = b.d, .acc = 1});
	}
	return head_close(&b, m);
}

char *cpu_head_sample(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap)
{
	head_blocks b;
	char *m = NULL;
	int64_t t = rows(x);
	F32N(logp, t); F32N(ent, t); I32N(token, t); I32N(counter, 4 * t); I32N(key, 2);
	if (temp.p) {
		F32N(temp, t);
		for (int64_t i = 0; i < t; i++)
			CHECK(((const float *)temp.p)[i] >= 0, "head_sample: temperature %g", (double)((const float *)temp.p)[i]);
	}
	TRY(head_open(&b, c, "head_sample", x, w, packed));
	for (int64_t r = 0; r < t && !m; r += b.block) {
		int64_t n = t - r < b.block ? t - r : b.block;
		m = head_logits(&b, r, n);
		head_args a = {.v = b.v, .ldz = b.v, .z = b.z, .softcap = softcap, .temp = AT(temp, r), .token = (int32_t *)token.p + r, .logp = AT(logp, r), .ent = AT(ent, r),
		               .counter = (const uint32_t *)counter.p + 4 * r, .key = key.p};
		if (!m)
			pool_run(c->threads, n, 1 + 4096 / b.v, c->k->head_draw, &a);
	}
	return head_close(&b, m);
}

/* ---- optimiser ---- */

char *cpu_sq_norm(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	int64_t got, blocks = (count(x) + NORM_BLOCK - 1) / NORM_BLOCK;
	F32(x);
	TRY(check_count("sq_norm", "y", y, R1_F64, 1));
	double *partial = scratch_get(c, 8 * blocks, &got), sum = 0;
	CHECK(partial, "sq_norm: out of memory");
	optim_args a = {.n = count(x), .g = x.p, .partial = partial};
	pool_run(c->threads, blocks, 4, c->k->sq_norm, &a);
	for (int64_t i = 0; i < blocks; i++)
		sum += partial[i];
	*(double *)y.p += sum;
	scratch_put(c, partial, got);
	return NULL;
}
char *cpu_adamw(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	F32(w); F32N(m, count(w)); F32N(v, count(w)); F32N(g, count(w));
	TRY(check_count("adamw", "hyper", hyper, R1_F64, 4));
	const double *h = hyper.p;
	optim_args a = {.w = w.p, .m = m.p, .v = v.p, .g = g.p, .keep = (float)(1 - h[0] * (double)decay), .step = (float)(h[0] / h[2]), .rbc2 = (float)(1 / sqrt(h[3])),
	                .gscale = (float)h[1], .beta1 = beta1, .beta2 = beta2, .eps = eps};
	pool_run(c->threads, count(w), FLAT_GRAIN, c->k->adamw, &a);
	return NULL;
}
