/* ctx.h: what the files of the cpu backend share: the context, checks of arguments, scratch memory. */
#ifndef R1_CTX_H
#define R1_CTX_H

#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc does not contract under -std=c11 */
#endif

#define SCRATCH_SLOTS 16
#define FLAT_GRAIN 16384 /* elements of a range */

struct r1_ctx {
	const cpu_kernels *k;
	int threads, isa, bf16;
	int tiles; /* class tile by the instruction */
	range_fn *gemm16, *peak16; /* of the class bf16 */
	double peak16_flops;
	int64_t kv_read;      /* bytes, atomic */
	pthread_mutex_t lock; /* scratch */
	struct { void *p; int64_t bytes; } scratch[SCRATCH_SLOTS];
};

/* ---- cpu.c ---- */

char *cpu_fail(const char *format, ...); /* a message for the caller, who frees it */
void *cpu_aligned(int64_t bytes);
void cpu_aligned_free(void *p);
void *scratch_get(r1_ctx *c, int64_t bytes, int64_t *got); /* NULL: out of memory */
void scratch_put(r1_ctx *c, void *p, int64_t bytes);

/* ---- cpu_matrix.c ---- */

/* y [m,n] = x wT + bias, dx [m,k] = dy w, dw [n,k] += dyT x; in bf16 where packed is,
 * and dw by run_linear_dw16 */
char *run_linear(r1_ctx *c, int64_t m, int64_t n, int64_t k, const float *x, r1_tensor w, r1_tensor packed, float *y, const float *bias);
char *run_linear_dx(r1_ctx *c, int64_t m, int64_t n, int64_t k, const float *dy, r1_tensor w, r1_tensor packed, float *dx);
typedef struct { int32_t *starts; int64_t n, got; } row_blocks; /* block i has rows starts[i] .. starts[i+1] */
char *take_blocks(r1_ctx *c, const char *op, int64_t t, r1_tensor segs, row_blocks *b); /* starts go back by scratch_put */
char *run_linear_dw16(r1_ctx *c, int64_t t, int64_t n, int64_t k, const float *dy, const float *x, float *dw, row_blocks at);
char *run_linear_dw(r1_ctx *c, int64_t t, int64_t n, int64_t k, const float *dy, const float *x, float *dw);
int64_t words(const r1_ctx *c, int64_t k); /* of k numbers in bf16 */
char *check_packed(r1_ctx *c, const char *op, r1_tensor packed, r1_tensor w);
void adamw_numbers(optim_args *a, r1_tensor hyper, float beta1, float beta2, float eps, float decay); /* cpu_head.c */
static inline int is_bf16(r1_tensor packed) { return packed.p && packed.dtype == R1_BF16; }

/* ---- checks ---- */

#define CHECK(cond, ...) do { if (!(cond)) return cpu_fail(__VA_ARGS__); } while (0)
#define TRY(call) do { char *m_ = (call); if (m_) return m_; } while (0)

static inline int64_t elem_bytes(int32_t dtype)
{
	static const int8_t size[] = {4, 2, 2, 8, 4, 8, 1};
	return dtype >= 0 && dtype <= R1_U8 ? size[dtype] : 0;
}
static inline int64_t count(r1_tensor t)
{
	int64_t n = 1;
	for (int i = 0; i < t.nd; i++)
		n *= t.n[i];
	return n;
}
static inline int64_t cols(r1_tensor t) { return t.nd ? t.n[t.nd - 1] : 1; }
static inline int64_t rows(r1_tensor t)
{
	int64_t n = 1;
	for (int i = 0; i + 1 < t.nd; i++)
		n *= t.n[i];
	return n;
}

static inline char *check(const char *op, const char *name, r1_tensor t, int32_t dtype)
{
	CHECK(t.p, "%s: %s is absent", op, name);
	CHECK(t.nd >= 0 && t.nd <= 4, "%s: %s has %d dimensions", op, name, t.nd);
	for (int i = 0; i < t.nd; i++)
		CHECK(t.n[i] >= 0 && t.n[i] < (INT64_C(1) << 40), "%s: %s has extent %lld", op, name, (long long)t.n[i]);
	CHECK(t.dtype == dtype, "%s: %s has dtype %d, want %d", op, name, t.dtype, dtype);
	return NULL;
}
static inline char *check_count(const char *op, const char *name, r1_tensor t, int32_t dtype, int64_t n)
{
	TRY(check(op, name, t, dtype));
	CHECK(count(t) == n, "%s: %s has %lld elements, want %lld", op, name, (long long)count(t), (long long)n);
	return NULL;
}
#define F32(t) TRY(check(__func__ + 4, #t, t, R1_F32))
#define F32N(t, n) TRY(check_count(__func__ + 4, #t, t, R1_F32, n))
#define I32N(t, n) TRY(check_count(__func__ + 4, #t, t, R1_I32, n))

static inline char *check_index(const char *op, const int32_t *idx, int64_t n, int64_t bound)
{
	for (int64_t i = 0; i < n; i++)
		CHECK(idx[i] >= 0 && idx[i] < bound, "%s: index %d at %lld is outside 0..%lld", op, idx[i], (long long)i, (long long)bound - 1);
	return NULL;
}
static inline char *check_segs(const char *op, r1_tensor segs, int64_t total)
{
	TRY(check(op, "segs", segs, R1_I32));
	CHECK(segs.nd == 2 && segs.n[1] == 3, "%s: segs is not [N,3]", op);
	const int32_t *s = segs.p;
	int64_t next = 0;
	for (int64_t i = 0; i < segs.n[0]; i++, s += 3) {
		CHECK(s[0] == next && s[1] > 0, "%s: sequence %lld has rows %d..%d, want them to start at %lld", op, (long long)i, s[0], s[0] + s[1], (long long)next);
		CHECK(s[2] < i && (s[2] < 0 || ((const int32_t *)segs.p)[3 * s[2] + 2] < 0), "%s: sequence %lld has parent %d", op, (long long)i, s[2]);
		next += s[1];
	}
	CHECK(next == total, "%s: segs cover %lld rows of %lld", op, (long long)next, (long long)total);
	return NULL;
}

static inline int64_t row_grain(int64_t width) { return 1 + FLAT_GRAIN / (width > 0 ? width : 1); }

#define AT(t, i) ((t).p ? (float *)(t).p + (i) : NULL) /* element i of an f32 tensor that may be absent */

#endif
