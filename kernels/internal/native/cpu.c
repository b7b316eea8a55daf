/* cpu.c: the cpu backend's table: checks every argument, cuts the work into ranges, runs them on the pool. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <unistd.h>
#endif

#include "cpu.h"

#define SCRATCH_SLOTS 16

struct r1_ctx {
	const cpu_kernels *k;
	int threads, isa;
	pthread_mutex_t lock; /* scratch */
	struct { void *p; int64_t bytes; } scratch[SCRATCH_SLOTS];
};

/* ---- messages and checks ---- */

static char *fail(const char *format, ...)
{
	va_list ap;
	char *m = malloc(320);
	if (!m)
		abort();
	va_start(ap, format);
	vsnprintf(m, 320, format, ap);
	va_end(ap);
	return m;
}

#define CHECK(cond, ...) do { if (!(cond)) return fail(__VA_ARGS__); } while (0)
#define TRY(call) do { char *m_ = (call); if (m_) return m_; } while (0)

static int64_t elem_bytes(int32_t dtype)
{
	static const int8_t size[] = {4, 2, 2, 8, 4, 8, 1};
	return dtype >= 0 && dtype <= R1_U8 ? size[dtype] : 0;
}
static int64_t count(r1_tensor t)
{
	int64_t n = 1;
	for (int i = 0; i < t.nd; i++)
		n *= t.n[i];
	return n;
}
static int64_t cols(r1_tensor t) { return t.nd ? t.n[t.nd - 1] : 1; }
static int64_t rows(r1_tensor t)
{
	int64_t n = 1;
	for (int i = 0; i + 1 < t.nd; i++)
		n *= t.n[i];
	return n;
}

static char *check(const char *op, const char *name, r1_tensor t, int32_t dtype)
{
	CHECK(t.p, "%s: %s is absent", op, name);
	CHECK(t.nd >= 0 && t.nd <= 4, "%s: %s has %d dimensions", op, name, t.nd);
	for (int i = 0; i < t.nd; i++)
		CHECK(t.n[i] >= 0 && t.n[i] < (INT64_C(1) << 40), "%s: %s has extent %lld", op, name, (long long)t.n[i]);
	CHECK(t.dtype == dtype, "%s: %s has dtype %d, want %d", op, name, t.dtype, dtype);
	return NULL;
}
static char *check_count(const char *op, const char *name, r1_tensor t, int32_t dtype, int64_t n)
{
	TRY(check(op, name, t, dtype));
	CHECK(count(t) == n, "%s: %s has %lld elements, want %lld", op, name, (long long)count(t), (long long)n);
	return NULL;
}
#define F32(t) TRY(check(__func__ + 4, #t, t, R1_F32))
#define F32N(t, n) TRY(check_count(__func__ + 4, #t, t, R1_F32, n))
#define I32N(t, n) TRY(check_count(__func__ + 4, #t, t, R1_I32, n))

static char *check_index(const char *op, const int32_t *idx, int64_t n, int64_t bound)
{
	for (int64_t i = 0; i < n; i++)
		CHECK(idx[i] >= 0 && idx[i] < bound, "%s: index %d at %lld is outside 0..%lld", op, idx[i], (long long)i, (long long)bound - 1);
	return NULL;
}
static char *check_segs(const char *op, r1_tensor segs, int64_t total)
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

/* ---- scratch memory, reused from call to call ---- */

static void *aligned(int64_t bytes)
{
	void *p = NULL;
	bytes = bytes > 0 ? bytes : 1;
#if defined(_WIN32)
	p = _aligned_malloc((size_t)bytes, 64);
#else
	if (posix_memalign(&p, 64, (size_t)bytes))
		p = NULL;
#endif
	return p;
}
static void aligned_free(void *p)
{
#if defined(_WIN32)
	_aligned_free(p);
#else
	free(p);
#endif
}

static void *scratch_get(r1_ctx *c, int64_t bytes, int64_t *got)
{
	int best = -1;
	void *p = NULL;
	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < SCRATCH_SLOTS; i++)
		if (c->scratch[i].p && c->scratch[i].bytes >= bytes && (best < 0 || c->scratch[i].bytes < c->scratch[best].bytes))
			best = i;
	if (best >= 0) {
		p = c->scratch[best].p, *got = c->scratch[best].bytes;
		c->scratch[best].p = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (!p) {
		*got = bytes;
		p = aligned(bytes);
	}
	return p;
}
static void scratch_put(r1_ctx *c, void *p, int64_t bytes)
{
	int slot = 0;
	if (!p)
		return;
	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < SCRATCH_SLOTS; i++) { /* an empty slot, else the smallest */
		if (!c->scratch[i].p) {
			slot = i;
			break;
		}
		if (c->scratch[i].bytes < c->scratch[slot].bytes)
			slot = i;
	}
	void *old = c->scratch[slot].p;
	if (old && c->scratch[slot].bytes > bytes)
		old = p;
	else
		c->scratch[slot].p = p, c->scratch[slot].bytes = bytes;
	pthread_mutex_unlock(&c->lock);
	aligned_free(old);
}
#define OOM(bytes) fail("%s: out of memory: %lld bytes of scratch", __func__ + 4, (long long)(bytes))

/* ---- life ---- */

static void cpu_err_free(char *m) { free(m); }

static char *cpu_ctx_new(const r1_options *o, r1_ctx **out)
{
	const cpu_kernels *k = NULL;
	int isa = o->isa;
#if defined(__x86_64__)
	__builtin_cpu_init();
	int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
	if (isa == R1_ISA_AUTO)
		isa = avx512 ? R1_ISA_AVX512 : avx2 ? R1_ISA_AVX2 : R1_ISA_PORTABLE;
	if (isa == R1_ISA_AVX512 && avx512)
		k = &r1_kernels_avx512;
	if (isa == R1_ISA_AVX2 && avx2)
		k = &r1_kernels_avx2;
#elif defined(__aarch64__)
	if (isa == R1_ISA_AUTO)
		isa = R1_ISA_NEON;
	if (isa == R1_ISA_NEON)
		k = &r1_kernels_neon;
#else
	if (isa == R1_ISA_AUTO)
		isa = R1_ISA_PORTABLE;
#endif
	if (isa == R1_ISA_PORTABLE)
		k = &r1_kernels_portable;
	CHECK(k, "this machine does not have instruction set %s; leave it empty to take the best one", isa == R1_ISA_AVX2 ? "avx2" : isa == R1_ISA_AVX512 ? "avx512" : isa == R1_ISA_NEON ? "neon" : "(unknown)");
	CHECK(o->threads >= 0 && o->threads <= POOL_MAX, "%d threads: want 1 to %d, or 0 for one a core", o->threads, POOL_MAX);
	r1_ctx *c = calloc(1, sizeof *c);
	CHECK(c, "out of memory");
	c->k = k, c->isa = isa;
	c->threads = o->threads ? o->threads : pool_cores();
	pthread_mutex_init(&c->lock, NULL);
	pool_acquire(c->threads);
	*out = c;
	return NULL;
}

static char *cpu_ctx_free(r1_ctx *c)
{
	pool_release();
	for (int i = 0; i < SCRATCH_SLOTS; i++)
		aligned_free(c->scratch[i].p);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

static char *cpu_info(r1_ctx *c, r1_info *out)
{
	memset(out, 0, sizeof *out);
	out->exact = 1;
	out->threads = c->threads;
	out->isa = c->isa;
	out->bf16 = R1_BF16_FMA;
#if !defined(_WIN32) && defined(_SC_PHYS_PAGES)
	out->memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
#endif
	snprintf(out->name, sizeof out->name, "cpu");
	snprintf(out->description, sizeof out->description, "cpu %s, %d threads", c->k->name, c->threads);
	return NULL;
}

static double seconds_now(void)
{
	struct timespec t;
	timespec_get(&t, TIME_UTC);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct { char *to; const char *from; } copy_args;
static void copy_range(const void *args, int64_t lo, int64_t hi, int worker)
{
	const copy_args *a = args;
	(void)worker;
	memcpy(a->to + lo, a->from + lo, (size_t)(hi - lo));
}

static char *cpu_measure(r1_ctx *c, int32_t what, double seconds, double *out)
{
	double work = 0, start = seconds_now(), now = start, best = 0;
	CHECK(what == R1_PEAK_F32 || what == R1_PEAK_COPY, "measure: this backend cannot measure limit %d", what);
	CHECK(seconds > 0 && seconds <= 60, "measure: %g seconds: want more than 0, at most 60", seconds);
	const int64_t bytes = 256 << 20;
	copy_args a = {NULL, NULL};
	if (what == R1_PEAK_COPY) {
		a.to = aligned(bytes), a.from = aligned(bytes);
		if (!a.to || !a.from) {
			aligned_free(a.to), aligned_free((void *)a.from);
			return OOM(2 * bytes);
		}
		memset((void *)a.from, 1, (size_t)bytes);
		memset(a.to, 1, (size_t)bytes);
	}
	for (start = now = seconds_now(); now - start < seconds;) {
		double t0 = now;
		if (what == R1_PEAK_F32) {
			pool_run(c->threads, 64 * c->threads, 16, c->k->peak, NULL);
			work = c->k->peak_flops * 64 * c->threads;
		} else {
			pool_run(c->threads, bytes, 1 << 20, copy_range, &a);
			work = 2.0 * (double)bytes;
		}
		now = seconds_now();
		if (work / (now - t0) > best)
			best = work / (now - t0);
	}
	aligned_free(a.to), aligned_free((void *)a.from);
	*out = best;
	return NULL;
}

/* ---- memory ---- */

static char *cpu_alloc(r1_ctx *c, int64_t bytes, void **out)
{
	(void)c;
	CHECK(bytes >= 0, "alloc: %lld bytes", (long long)bytes);
	*out = aligned(bytes);
	CHECK(*out, "alloc: out of memory: %lld bytes", (long long)bytes);
	return NULL;
}
static char *cpu_release(r1_ctx *c, void *p)
{
	(void)c;
	aligned_free(p);
	return NULL;
}
static char *cpu_write(r1_ctx *c, r1_tensor dst, const void *src, int64_t bytes)
{
	(void)c;
	CHECK(bytes == count(dst) * elem_bytes(dst.dtype), "write: %lld bytes into a tensor of %lld", (long long)bytes, (long long)(count(dst) * elem_bytes(dst.dtype)));
	if (bytes)
		memcpy(dst.p, src, (size_t)bytes);
	return NULL;
}
static char *cpu_read(r1_ctx *c, void *dst, r1_tensor src, int64_t bytes)
{
	(void)c;
	CHECK(bytes == count(src) * elem_bytes(src.dtype), "read: %lld bytes from a tensor of %lld", (long long)bytes, (long long)(count(src) * elem_bytes(src.dtype)));
	if (bytes)
		memcpy(dst, src.p, (size_t)bytes);
	return NULL;
}
static char *cpu_copy(r1_ctx *c, r1_tensor dst, r1_tensor src)
{
	int64_t bytes = count(src) * elem_bytes(src.dtype);
	CHECK(dst.p && src.p && bytes == count(dst) * elem_bytes(dst.dtype), "copy: sizes differ");
	copy_args a = {dst.p, src.p};
	pool_run(c->threads, bytes, 1 << 18, copy_range, &a);
	return NULL;
}
static char *cpu_zero(r1_ctx *c, r1_tensor dst)
{
	(void)c;
	CHECK(dst.p, "zero: dst is absent");
	memset(dst.p, 0, (size_t)(count(dst) * elem_bytes(dst.dtype)));
	return NULL;
}
static char *cpu_sync(r1_ctx *c)
{
	(void)c;
	return NULL;
}

/* ---- element-wise ---- */

#define FLAT_GRAIN 16384 /* elements of a range */

static char *cpu_unary(r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x)
{
	CHECK(op >= R1_NEG && op <= R1_LOG_SIGMOID, "unary: no function %d", op);
	F32(x); F32N(y, count(x));
	elem_args a = {.op = op, .y = y.p, .a = x.p};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->unary, &a);
	return NULL;
}
static char *cpu_unary_grad(r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y)
{
	CHECK(op >= R1_NEG && op <= R1_LOG_SIGMOID, "unary_grad: no function %d", op);
	F32(x); F32N(dx, count(x)); F32N(dy, count(x)); F32N(y, count(x));
	elem_args a = {.op = op, .y = dx.p, .a = dy.p, .b = x.p, .z = y.p};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->unary_grad, &a);
	return NULL;
}
static char *cpu_binary(r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b)
{
	CHECK(op >= R1_ADD && op <= R1_EQUAL, "binary: no operator %d", op);
	CHECK(how >= R1_SAME && how <= R1_COL, "binary: no broadcast %d", how);
	F32(a); F32N(y, count(a));
	F32N(b, how == R1_SAME ? count(a) : how == R1_SCALAR ? 1 : how == R1_ROW ? cols(a) : rows(a));
	elem_args e = {.op = op, .how = how, .rows = rows(a), .cols = cols(a), .y = y.p, .a = a.p, .b = b.p};
	if (how == R1_SAME || how == R1_SCALAR)
		pool_run(c->threads, count(a), FLAT_GRAIN, c->k->binary, &e);
	else if (cols(a) > 0)
		pool_run(c->threads, rows(a), 1 + FLAT_GRAIN / cols(a), c->k->binary, &e);
	return NULL;
}
static char *cpu_affine(r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift)
{
	F32(x); F32N(y, count(x));
	elem_args a = {.y = y.p, .a = x.p, .s0 = scale, .s1 = shift};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->affine, &a);
	return NULL;
}
static char *cpu_fma(r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z)
{
	F32(a); F32N(b, count(a)); F32N(z, count(a)); F32N(y, count(a));
	elem_args e = {.y = y.p, .a = a.p, .b = b.p, .z = z.p};
	pool_run(c->threads, count(a), FLAT_GRAIN, c->k->fma, &e);
	return NULL;
}
static char *cpu_clamp(r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi)
{
	F32(x); F32N(y, count(x));
	elem_args a = {.y = y.p, .a = x.p, .s0 = lo, .s1 = hi};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->clamp, &a);
	return NULL;
}
static char *cpu_select(r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b)
{
	F32(cond); F32N(a, count(cond)); F32N(b, count(cond)); F32N(y, count(cond));
	elem_args e = {.y = y.p, .a = cond.p, .b = a.p, .z = b.p};
	pool_run(c->threads, count(cond), FLAT_GRAIN, c->k->select, &e);
	return NULL;
}

typedef struct { r1_tensor y, x; } cast_args;
static float bf16_get(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}
static uint16_t bf16_put(float f) /* nearest even; NaN stays NaN */
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	if (f != f)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
static double cast_get(r1_tensor t, int64_t i)
{
	switch (t.dtype) {
	case R1_F32: return ((const float *)t.p)[i];
	case R1_BF16: return bf16_get(((const uint16_t *)t.p)[i]);
	case R1_F64: return ((const double *)t.p)[i];
	case R1_I32: return ((const int32_t *)t.p)[i];
	case R1_I64: return (double)((const int64_t *)t.p)[i];
	default: return ((const uint8_t *)t.p)[i];
	}
}
static void cast_range(const void *args, int64_t lo, int64_t hi, int worker)
{
	const cast_args *a = args;
	(void)worker;
	for (int64_t i = lo; i < hi; i++) {
		double x = cast_get(a->x, i);
		switch (a->y.dtype) {
		case R1_F32: ((float *)a->y.p)[i] = (float)x; break;
		case R1_BF16: ((uint16_t *)a->y.p)[i] = bf16_put((float)x); break;
		case R1_F64: ((double *)a->y.p)[i] = x; break;
		case R1_I32: ((int32_t *)a->y.p)[i] = x != x ? 0 : x < -2147483648.0 ? INT32_MIN : x > 2147483647.0 ? INT32_MAX : (int32_t)x; break;
		case R1_I64: ((int64_t *)a->y.p)[i] = x != x ? 0 : x < -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x; break;
		default: ((uint8_t *)a->y.p)[i] = x > 0 ? x > 255 ? 255 : (uint8_t)x : 0;
		}
	}
}
static char *cpu_cast(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	CHECK(x.p && y.p && count(x) == count(y), "cast: sizes differ");
	CHECK(elem_bytes(x.dtype) && elem_bytes(y.dtype) && x.dtype != R1_F16 && y.dtype != R1_F16, "cast: from dtype %d to %d is not offered", x.dtype, y.dtype);
	cast_args a = {y, x};
	pool_run(c->threads, count(x), FLAT_GRAIN, cast_range, &a);
	return NULL;
}

/* ---- reductions ---- */

static int64_t row_grain(int64_t width) { return 1 + FLAT_GRAIN / (width > 0 ? width : 1); }

static char *cpu_row_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	F32(x); F32N(y, rows(x));
	reduce_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .x = x.p};
	pool_run(c->threads, rows(x), row_grain(cols(x)), c->k->row_sum, &a);
	return NULL;
}
static char *cpu_row_max(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	F32(x); F32N(y, rows(x));
	CHECK(cols(x) > 0, "row_max: rows are empty");
	reduce_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .x = x.p};
	pool_run(c->threads, rows(x), row_grain(cols(x)), c->k->row_max, &a);
	return NULL;
}
static char *cpu_col_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	F32(x); F32N(y, cols(x));
	reduce_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .x = x.p};
	pool_run(c->threads, (cols(x) + 15) / 16, row_grain(16 * rows(x)), c->k->col_sum, &a);
	return NULL;
}
static char *cpu_seg_sum(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	F32(x);
	TRY(check_segs("seg_sum", segs, count(x)));
	F32N(y, segs.n[0]);
	reduce_args a = {.y = y.p, .x = x.p, .idx = segs.p};
	pool_run(c->threads, segs.n[0], 64, c->k->seg_sum, &a);
	return NULL;
}
static char *cpu_seg_spread(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	(void)c;
	F32(y);
	TRY(check_segs("seg_spread", segs, count(y)));
	F32N(x, segs.n[0]);
	const int32_t *s = segs.p;
	for (int64_t i = 0; i < segs.n[0]; i++, s += 3)
		for (int64_t t = s[0]; t < s[0] + s[1]; t++)
			((float *)y.p)[t] = ((const float *)x.p)[i];
	return NULL;
}
static char *cpu_seg_scan(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs, int32_t reverse)
{
	F32(x); F32N(y, count(x));
	CHECK(y.p != x.p, "seg_scan: y may not be x");
	TRY(check_segs("seg_scan", segs, count(x)));
	reduce_args a = {.y = y.p, .x = x.p, .idx = segs.p, .reverse = reverse};
	pool_run(c->threads, segs.n[0], 64, c->k->seg_scan, &a);
	return NULL;
}

/* ---- rows and columns by number ---- */

typedef struct { char *y; const char *x; const int32_t *idx; int64_t bytes; } gather_args;
static void gather_range(const void *args, int64_t lo, int64_t hi, int worker)
{
	const gather_args *a = args;
	(void)worker;
	for (int64_t t = lo; t < hi; t++)
		memcpy(a->y + t * a->bytes, a->x + a->idx[t] * a->bytes, (size_t)a->bytes);
}
static char *cpu_gather(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	CHECK(x.p && elem_bytes(x.dtype), "gather: x is absent or of an unknown dtype");
	CHECK(x.nd >= 1 && x.n[0] >= 0, "gather: x has no rows");
	TRY(check("gather", "idx", idx, R1_I32));
	int64_t width = x.n[0] ? count(x) / x.n[0] : 0;
	TRY(check_count("gather", "y", y, x.dtype, count(idx) * width));
	TRY(check_index("gather", idx.p, count(idx), x.n[0]));
	gather_args a = {y.p, x.p, idx.p, width * elem_bytes(x.dtype)};
	pool_run(c->threads, count(idx), row_grain(width), gather_range, &a);
	return NULL;
}
static char *cpu_scatter_add(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	F32(y); F32(x);
	TRY(check("scatter_add", "idx", idx, R1_I32));
	CHECK(y.nd >= 1 && y.n[0] > 0, "scatter_add: y has no rows");
	int64_t width = count(y) / y.n[0];
	F32N(x, count(idx) * width);
	TRY(check_index("scatter_add", idx.p, count(idx), y.n[0]));
	reduce_args a = {.cols = width, .y = y.p, .x = x.p, .idx = idx.p, .nidx = count(idx)};
	pool_run(c->threads, (width + 63) / 64, 1, c->k->scatter_add, &a);
	return NULL;
}
static char *cpu_pick(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	(void)c;
	F32(x); F32N(y, rows(x)); I32N(idx, rows(x));
	TRY(check_index("pick", idx.p, rows(x), cols(x)));
	for (int64_t t = 0; t < rows(x); t++)
		((float *)y.p)[t] = ((const float *)x.p)[t * cols(x) + ((const int32_t *)idx.p)[t]];
	return NULL;
}
static char *cpu_pick_grad(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor idx)
{
	(void)c;
	F32(dx); F32N(dy, rows(dx)); I32N(idx, rows(dx));
	TRY(check_index("pick_grad", idx.p, rows(dx), cols(dx)));
	memset(dx.p, 0, (size_t)count(dx) * sizeof(float));
	for (int64_t t = 0; t < rows(dx); t++)
		((float *)dx.p)[t * cols(dx) + ((const int32_t *)idx.p)[t]] = ((const float *)dy.p)[t];
	return NULL;
}
static char *cpu_copy_cols(r1_ctx *c, r1_tensor y, r1_tensor x, int64_t ycol, int64_t xcol, int64_t n)
{
	(void)c;
	CHECK(x.p && y.p && x.dtype == y.dtype && rows(x) == rows(y), "copy_cols: rows or dtypes differ");
	CHECK(n >= 0 && ycol >= 0 && xcol >= 0 && ycol <= cols(y) - n && xcol <= cols(x) - n, "copy_cols: %lld columns from %lld to %lld do not fit", (long long)n, (long long)xcol, (long long)ycol);
	int64_t b = elem_bytes(x.dtype);
	for (int64_t t = 0; t < rows(x); t++)
		memcpy((char *)y.p + (t * cols(y) + ycol) * b, (const char *)x.p + (t * cols(x) + xcol) * b, (size_t)(n * b));
	return NULL;
}

/* ---- matrix products ---- */

/* A packed weight: panels over n for linear (k-major), then panels over k for linear_dx. */
static int64_t panel_floats(const cpu_kernels *k, int64_t wide, int64_t deep) { return (wide + k->nr - 1) / k->nr * k->nr * deep; }

static char *cpu_pack_bytes(r1_ctx *c, int64_t n, int64_t k, int32_t dtype, int64_t *out)
{
	CHECK(dtype == R1_F32, "pack_bytes: dtype %d is not offered", dtype);
	CHECK(n > 0 && k > 0 && n < (INT64_C(1) << 31) && k < (INT64_C(1) << 31), "pack_bytes: [%lld,%lld]", (long long)n, (long long)k);
	*out = 4 * (panel_floats(c->k, n, k) + panel_floats(c->k, k, n));
	return NULL;
}
static char *cpu_pack(r1_ctx *c, r1_tensor packed, r1_tensor w)
{
	int64_t bytes = 0, n, k;
	F32(w);
	CHECK(w.nd == 2, "pack: w is not [N,K]");
	n = w.n[0], k = w.n[1];
	TRY(cpu_pack_bytes(c, n, k, w.dtype, &bytes));
	TRY(check_count("pack", "packed", packed, R1_U8, bytes));
	pack_args forward = {.n = n, .k = k, .ld_n = k, .ld_k = 1, .w = w.p, .out = packed.p};
	pack_args back = {.n = k, .k = n, .ld_n = 1, .ld_k = k, .w = w.p, .out = (float *)packed.p + panel_floats(c->k, n, k)};
	pool_run(c->threads, (n + c->k->nr - 1) / c->k->nr, row_grain(c->k->nr * k), c->k->pack, &forward);
	pool_run(c->threads, (k + c->k->nr - 1) / c->k->nr, row_grain(c->k->nr * n), c->k->pack, &back);
	return NULL;
}

/* Cuts a product into tasks of about equal work, enough to keep the threads even, and runs it. */
static char *run_gemm(r1_ctx *c, gemm_args g)
{
	const cpu_kernels *k = c->k;
	int64_t panels = (g.n + k->nr - 1) / k->nr, got = 0;
	if (g.m == 0 || g.n == 0)
		return NULL;
	int64_t want = c->threads == 1 ? 1 : 4 * c->threads;
	g.mc = 16 * k->mr;
	while (g.mc > 4 * k->mr && (g.m + g.mc - 1) / g.mc < want)
		g.mc -= k->mr;
	int64_t down = (g.m + g.mc - 1) / g.mc, across = want / down;
	if (2 * g.m * g.n * g.k < 200000)
		across = 1; /* too little to share */
	if (across < 1)
		across = 1;
	if (across > panels)
		across = panels;
	g.nc = (panels + across - 1) / across;
	g.tasks_n = (panels + g.nc - 1) / g.nc;
	if (!g.bp) {
		g.scratch = scratch_get(c, c->k->gemm_scratch * 4 * c->threads, &got);
		CHECK(g.scratch, "gemm: out of memory: %lld bytes of scratch", (long long)got);
	}
	pool_run(2 * g.m * g.n * g.k < 200000 ? 1 : c->threads, down * g.tasks_n, 1, k->gemm, &g);
	scratch_put(c, g.scratch, got);
	return NULL;
}

static char *check_packed(r1_ctx *c, const char *op, r1_tensor packed, r1_tensor w)
{
	int64_t bytes = 0;
	CHECK(w.p && w.nd == 2 && w.dtype == R1_F32, "%s: w is not f32 [N,K]", op);
	if (!packed.p)
		return NULL;
	TRY(cpu_pack_bytes(c, w.n[0], w.n[1], w.dtype, &bytes));
	return check_count(op, "packed", packed, R1_U8, bytes);
}

static char *cpu_linear(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor bias)
{
	F32(x);
	TRY(check_packed(c, "linear", packed, w));
	int64_t n = w.n[0], k = w.n[1], m = rows(x);
	CHECK(cols(x) == k, "linear: x has %lld columns, w %lld", (long long)cols(x), (long long)k);
	F32N(y, m * n);
	if (bias.p)
		F32N(bias, n);
	return run_gemm(c, (gemm_args){.m = m, .n = n, .k = k, .a = x.p, .a_m = k, .a_k = 1, .b = w.p, .b_k = 1, .b_n = k, .bp = packed.p, .c = y.p, .ldc = n, .bias = bias.p});
}
static char *cpu_linear_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed)
{
	F32(dy);
	TRY(check_packed(c, "linear_dx", packed, w));
	int64_t n = w.n[0], k = w.n[1], m = rows(dy);
	CHECK(cols(dy) == n, "linear_dx: dy has %lld columns, w %lld rows", (long long)cols(dy), (long long)n);
	F32N(dx, m * k);
	const float *bp = packed.p ? (const float *)packed.p + panel_floats(c->k, n, k) : NULL;
	return run_gemm(c, (gemm_args){.m = m, .n = k, .k = n, .a = dy.p, .a_m = n, .a_k = 1, .b = w.p, .b_k = k, .b_n = 1, .bp = bp, .c = dx.p, .ldc = k});
}
static char *cpu_linear_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs)
{
	(void)segs; /* fp32 chains need no block boundaries */
	F32(dw); F32(dy); F32(x);
	CHECK(dw.nd == 2 && cols(dy) == dw.n[0] && cols(x) == dw.n[1] && rows(dy) == rows(x), "linear_dw: dw [%lld,%lld] does not fit dy [%lld,%lld] and x [%lld,%lld]",
	      (long long)dw.n[0], (long long)dw.n[1], (long long)rows(dy), (long long)cols(dy), (long long)rows(x), (long long)cols(x));
	int64_t n = dw.n[0], k = dw.n[1], t = rows(x);
	return run_gemm(c, (gemm_args){.m = n, .n = k, .k = t, .a = dy.p, .a_m = 1, .a_k = n, .b = x.p, .b_k = k, .b_n = 1, .c = dw.p, .ldc = k, .acc = 1});
}

/* ---- the transformer's own ---- */

static char *cpu_rmsnorm(r1_ctx *c, r1_tensor y, r1_tensor rstd, r1_tensor x, r1_tensor w, float eps)
{
	F32(x); F32N(y, count(x)); F32N(rstd, rows(x)); F32N(w, cols(x));
	norm_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .rstd = rstd.p, .x = x.p, .w = w.p, .eps = eps};
	pool_run(c->threads, a.rows, row_grain(a.cols), c->k->rmsnorm, &a);
	return NULL;
}
static char *cpu_rmsnorm_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor w, r1_tensor rstd)
{
	F32(x); F32N(dx, count(x)); F32N(dy, count(x)); F32N(rstd, rows(x)); F32N(w, cols(x));
	norm_args a = {.rows = rows(x), .cols = cols(x), .y = dx.p, .x = x.p, .w = w.p, .dy = dy.p, .rstd_in = rstd.p};
	pool_run(c->threads, a.rows, row_grain(a.cols), c->k->rmsnorm_dx, &a);
	return NULL;
}
static char *cpu_rmsnorm_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor rstd)
{
	F32(x); F32N(dw, cols(x)); F32N(dy, count(x)); F32N(rstd, rows(x));
	norm_args a = {.rows = rows(x), .cols = cols(x), .dw = dw.p, .x = x.p, .dy = dy.p, .rstd_in = rstd.p};
	pool_run(c->threads, (a.cols + 15) / 16, row_grain(16 * a.rows), c->k->rmsnorm_dw, &a);
	return NULL;
}
static char *cpu_rope(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor pos, r1_tensor table, int32_t inverse)
{
	F32(x); F32N(y, count(x)); F32(table);
	CHECK(x.nd == 3 && table.nd == 2 && table.n[1] == x.n[2] && x.n[2] % 2 == 0, "rope: x is not [T,H,d] or table not [positions,d] with d even");
	I32N(pos, x.n[0]);
	TRY(check_index("rope", pos.p, x.n[0], table.n[0]));
	rope_args a = {.heads = x.n[1], .d = x.n[2], .positions = table.n[0], .y = y.p, .x = x.p, .table = table.p, .pos = pos.p, .sign = inverse ? -1.0f : 1.0f};
	pool_run(c->threads, x.n[0], row_grain(x.n[1] * x.n[2]), c->k->rope, &a);
	return NULL;
}
static char *cpu_glu(r1_ctx *c, int32_t act, r1_tensor y, r1_tensor gate, r1_tensor up)
{
	CHECK(act == R1_GATE_SILU || act == R1_GATE_GELU, "glu: no gate %d", act);
	F32(gate); F32N(up, count(gate)); F32N(y, count(gate));
	elem_args a = {.op = act, .y = y.p, .a = gate.p, .b = up.p};
	pool_run(c->threads, count(gate), FLAT_GRAIN / 2, c->k->glu, &a);
	return NULL;
}
static char *cpu_glu_grad(r1_ctx *c, int32_t act, r1_tensor dgate, r1_tensor dup, r1_tensor dy, r1_tensor gate, r1_tensor up)
{
	CHECK(act == R1_GATE_SILU || act == R1_GATE_GELU, "glu_grad: no gate %d", act);
	F32(gate); F32N(up, count(gate)); F32N(dy, count(gate)); F32N(dgate, count(gate)); F32N(dup, count(gate));
	glu_grad_args a = {.e = {.op = act, .y = dgate.p, .a = gate.p, .b = up.p}, .dup = dup.p, .dy = dy.p};
	pool_run(c->threads, count(gate), FLAT_GRAIN / 2, c->k->glu_grad, &a);
	return NULL;
}

static char *check_heads(const char *op, r1_tensor q, r1_tensor k, r1_tensor v)
{
	TRY(check(op, "q", q, R1_F32)); TRY(check(op, "k", k, R1_F32)); TRY(check(op, "v", v, R1_F32));
	int last = k.nd - 1;
	CHECK(q.nd == 3 && k.nd == v.nd && k.nd >= 3, "%s: q, k, v are not [T,heads,d]", op);
	CHECK(q.n[2] == k.n[last] && k.n[last] == v.n[last] && k.n[last - 1] == v.n[last - 1], "%s: head sizes differ", op);
	CHECK(k.n[last - 1] > 0 && q.n[1] % k.n[last - 1] == 0, "%s: %lld query heads over %lld key heads", op, (long long)q.n[1], (long long)k.n[last - 1]);
	CHECK(q.n[2] > 0 && q.n[2] <= 512, "%s: head size %lld: want 1 to 512", op, (long long)q.n[2]);
	CHECK(count(k) == count(v), "%s: k and v differ in size", op);
	return NULL;
}
static char *cpu_attn(r1_ctx *c, r1_tensor o, r1_tensor lse, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor segs, float scale, int64_t window, float softcap)
{
	TRY(check_heads("attn", q, k, v));
	int64_t t = q.n[0], got = 0;
	CHECK(k.nd == 3 && k.n[0] == t, "attn: k has %lld rows, q %lld", (long long)k.n[0], (long long)t);
	F32N(o, count(q)); F32N(lse, t * q.n[1]);
	TRY(check_segs("attn", segs, t));
	int32_t *seq = scratch_get(c, 4 * t, &got);
	CHECK(seq, "attn: out of memory: %lld bytes of scratch", (long long)(4 * t));
	for (int64_t s = 0; s < segs.n[0]; s++)
		for (int32_t i = 0; i < ((const int32_t *)segs.p)[3 * s + 1]; i++)
			seq[((const int32_t *)segs.p)[3 * s] + i] = (int32_t)s;
	attn_args a = {.h = q.n[1], .g = k.n[1], .d = q.n[2], .scale = scale, .softcap = softcap, .window = window, .o = o.p, .lse = lse.p,
	               .q = q.p, .k = k.p, .v = v.p, .segs = segs.p, .nseqs = segs.n[0], .rows_seq = seq};
	pool_run(c->threads, t, 16, c->k->attn, &a);
	scratch_put(c, seq, got);
	return NULL;
}
static char *cpu_attn_grad(r1_ctx *c, r1_tensor dq, r1_tensor dk, r1_tensor dv, r1_tensor dout, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor o, r1_tensor lse, r1_tensor segs,
                           float scale, int64_t window, float softcap)
{
	TRY(check_heads("attn_grad", q, k, v));
	CHECK(k.nd == 3 && k.n[0] == q.n[0], "attn_grad: k has %lld rows, q %lld", (long long)k.n[0], (long long)q.n[0]);
	F32N(dq, count(q)); F32N(dk, count(k)); F32N(dv, count(k)); F32N(dout, count(q)); F32N(o, count(q)); F32N(lse, q.n[0] * q.n[1]);
	TRY(check_segs("attn_grad", segs, q.n[0]));
	attn_args a = {.h = q.n[1], .g = k.n[1], .d = q.n[2], .scale = scale, .softcap = softcap, .window = window, .q = q.p, .k = k.p, .v = v.p, .segs = segs.p, .nseqs = segs.n[0],
	               .dq = dq.p, .dk = dk.p, .dv = dv.p, .dout = dout.p, .oin = o.p, .lse_in = lse.p};
	pool_run(c->threads, segs.n[0] * a.g, 1, c->k->attn_grad, &a);
	return NULL;
}

static char *cpu_kv_write(r1_ctx *c, r1_tensor kpages, r1_tensor vpages, r1_tensor k, r1_tensor v, r1_tensor slot)
{
	(void)c;
	F32(kpages); F32(k); F32N(v, count(k)); F32N(vpages, count(kpages));
	CHECK(kpages.nd == 4 && k.nd == 3 && kpages.n[2] == k.n[1] && kpages.n[3] == k.n[2], "kv_write: pages are not [P,S,heads,d] for these keys");
	I32N(slot, k.n[0]);
	TRY(check_index("kv_write", slot.p, k.n[0], kpages.n[0] * kpages.n[1]));
	int64_t w = k.n[1] * k.n[2];
	for (int64_t t = 0; t < k.n[0]; t++) {
		int64_t at = ((const int32_t *)slot.p)[t] * w;
		memcpy((float *)kpages.p + at, (const float *)k.p + t * w, (size_t)w * 4);
		memcpy((float *)vpages.p + at, (const float *)v.p + t * w, (size_t)w * 4);
	}
	return NULL;
}
static char *cpu_attn_paged(r1_ctx *c, r1_tensor o, r1_tensor q, r1_tensor kpages, r1_tensor vpages, r1_tensor table, r1_tensor at, float scale, int64_t window, float softcap)
{
	TRY(check_heads("attn_paged", q, kpages, vpages));
	CHECK(kpages.nd == 4, "attn_paged: pages are not [P,S,heads,d]");
	F32N(o, count(q));
	TRY(check("attn_paged", "table", table, R1_I32));
	CHECK(table.nd == 2, "attn_paged: table is not [N,pages]");
	I32N(at, 2 * q.n[0]);
	const int32_t *r = at.p, *tab = table.p;
	for (int64_t t = 0; t < q.n[0]; t++) {
		CHECK(r[2 * t] >= 0 && r[2 * t] < table.n[0] && r[2 * t + 1] >= 0 && r[2 * t + 1] / kpages.n[1] < table.n[1], "attn_paged: row %lld is (%d, %d), the table [%lld,%lld] of pages of %lld",
		      (long long)t, r[2 * t], r[2 * t + 1], (long long)table.n[0], (long long)table.n[1], (long long)kpages.n[1]);
		for (int64_t p = 0; p <= r[2 * t + 1] / kpages.n[1]; p++) {
			int32_t page = tab[r[2 * t] * table.n[1] + p];
			CHECK(page >= 0 && page < kpages.n[0], "attn_paged: page %d of table row %d is outside 0..%lld", page, r[2 * t], (long long)kpages.n[0] - 1);
		}
	}
	attn_args a = {.h = q.n[1], .g = kpages.n[2], .d = q.n[2], .scale = scale, .softcap = softcap, .window = window, .o = o.p, .q = q.p, .k = kpages.p, .v = vpages.p,
	               .table = tab, .rows = r, .slots = kpages.n[1], .table_cols = table.n[1]};
	pool_run(c->threads, q.n[0], 4, c->k->attn_paged, &a);
	return NULL;
}

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
#define AT(t, i) ((t).p ? (float *)(t).p + (i) : NULL)

static char *cpu_head(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap)
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

static char *cpu_head_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target,
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
	const float *back = packed.p ? (const float *)packed.p + panel_floats(c->k, b.v, b.d) : NULL;
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

static char *cpu_head_sample(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap)
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

static char *cpu_sq_norm(r1_ctx *c, r1_tensor y, r1_tensor x)
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
static char *cpu_adamw(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	F32(w); F32N(m, count(w)); F32N(v, count(w)); F32N(g, count(w));
	TRY(check_count("adamw", "hyper", hyper, R1_F64, 4));
	const double *h = hyper.p;
	optim_args a = {.w = w.p, .m = m.p, .v = v.p, .g = g.p, .keep = (float)(1 - h[0] * (double)decay), .step = (float)(h[0] / h[2]), .rbc2 = (float)(1 / sqrt(h[3])),
	                .gscale = (float)h[1], .beta1 = beta1, .beta2 = beta2, .eps = eps};
	pool_run(c->threads, count(w), FLAT_GRAIN, c->k->adamw, &a);
	return NULL;
}

static const r1_api api = {
	.size = sizeof(r1_api), .name = "cpu",
	.err_free = cpu_err_free, .ctx_new = cpu_ctx_new, .ctx_free = cpu_ctx_free, .info = cpu_info, .measure = cpu_measure,
	.alloc = cpu_alloc, .release = cpu_release, .write = cpu_write, .read = cpu_read, .copy = cpu_copy, .zero = cpu_zero, .sync = cpu_sync,
	.cast = cpu_cast, .unary = cpu_unary, .unary_grad = cpu_unary_grad, .binary = cpu_binary, .affine = cpu_affine, .fma = cpu_fma, .clamp = cpu_clamp, .select = cpu_select,
	.row_sum = cpu_row_sum, .row_max = cpu_row_max, .col_sum = cpu_col_sum, .seg_sum = cpu_seg_sum, .seg_spread = cpu_seg_spread, .seg_scan = cpu_seg_scan,
	.gather = cpu_gather, .scatter_add = cpu_scatter_add, .pick = cpu_pick, .pick_grad = cpu_pick_grad, .copy_cols = cpu_copy_cols,
	.pack_bytes = cpu_pack_bytes, .pack = cpu_pack, .linear = cpu_linear, .linear_dx = cpu_linear_dx, .linear_dw = cpu_linear_dw,
	.rmsnorm = cpu_rmsnorm, .rmsnorm_dx = cpu_rmsnorm_dx, .rmsnorm_dw = cpu_rmsnorm_dw, .rope = cpu_rope, .glu = cpu_glu, .glu_grad = cpu_glu_grad,
	.attn = cpu_attn, .attn_grad = cpu_attn_grad, .kv_write = cpu_kv_write, .attn_paged = cpu_attn_paged,
	.head = cpu_head, .head_grad = cpu_head_grad, .head_sample = cpu_head_sample,
	.sq_norm = cpu_sq_norm, .adamw = cpu_adamw,
};

char *r1_open(uint32_t abi, const r1_api **out)
{
	CHECK(abi == R1_ABI, "the cpu backend has ABI %u, the caller %u", R1_ABI, abi);
	*out = &api;
	return NULL;
}
