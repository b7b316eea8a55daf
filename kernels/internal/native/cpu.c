/* cpu.c: the cpu backend's life: contexts, memory, measuring, and its table. */
#include "ctx.h"
#include "ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

char *cpu_fail(const char *format, ...)
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

/* ---- scratch memory, reused from call to call ---- */

/* Large blocks ask for pages of 2 MiB: what streams weights once a token then waits less for page tables. */
#define HUGE_PAGE ((int64_t)2 << 20)

void *cpu_aligned(int64_t bytes)
{
	void *p = NULL;
	bytes = bytes > 0 ? bytes : 1;
#if defined(_WIN32)
	p = _aligned_malloc((size_t)bytes, 64);
#else
	if (posix_memalign(&p, bytes < 2 * HUGE_PAGE ? 64 : (size_t)HUGE_PAGE, (size_t)bytes))
		p = NULL;
#if defined(MADV_HUGEPAGE)
	if (p && bytes >= 2 * HUGE_PAGE)
		madvise(p, (size_t)(bytes & -HUGE_PAGE), MADV_HUGEPAGE); /* a wish: where it is refused the pages are small */
#endif
#endif
	return p;
}
void cpu_aligned_free(void *p)
{
#if defined(_WIN32)
	_aligned_free(p);
#else
	free(p);
#endif
}

void *scratch_get(r1_ctx *c, int64_t bytes, int64_t *got)
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
		p = cpu_aligned(bytes);
	}
	return p;
}
void scratch_put(r1_ctx *c, void *p, int64_t bytes)
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
	cpu_aligned_free(old);
}

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
	int bf16 = o->bf16, dot = 0, tiles = 0;
#if defined(__x86_64__)
	dot = isa == R1_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#endif
	if (bf16 == R1_BF16_AUTO)
		bf16 = dot ? R1_BF16_DOT : R1_BF16_FMA; /* and not tile, which has not run on hardware */
	CHECK(bf16 >= R1_BF16_FMA && bf16 <= R1_BF16_TILE, "bf16 class %s is not offered; fma, dot and tile are", bf16 == R1_BF16_MMA ? "mma" : "(unknown)");
	CHECK(o->threads >= 0 && o->threads <= POOL_MAX, "%d threads: want 1 to %d, or 0 for one a core", o->threads, POOL_MAX);
#if defined(R1_AMX)
	tiles = bf16 == R1_BF16_TILE && isa == R1_ISA_AVX512 && cpu_has_tiles();
	CHECK(!tiles || cpu_tiles_agree(r1_gemm16_amx, k->gemm16_tile), "the tile instruction of this machine gives other bits than bf16 class tile is defined by; open with isa avx2, which computes the class without it, or take class dot or fma");
#endif
	r1_ctx *c = calloc(1, sizeof *c);
	CHECK(c, "out of memory");
	c->k = k, c->isa = isa, c->bf16 = bf16, c->tiles = tiles;
	c->gemm16 = bf16 == R1_BF16_TILE ? k->gemm16_tile : bf16 == R1_BF16_DOT ? k->gemm16_dot : k->gemm16_fma;
	c->peak16 = k->peak, c->peak16_flops = k->peak_flops;
#if defined(__x86_64__)
	if (bf16 == R1_BF16_DOT && dot)
		c->gemm16 = r1_gemm16_avx512_bf16, c->peak16 = r1_peak16_avx512_bf16, c->peak16_flops = R1_PEAK16_FLOPS;
#endif
#if defined(R1_AMX)
	if (tiles)
		c->gemm16 = r1_gemm16_amx, c->peak16 = r1_peak16_amx, c->peak16_flops = R1_PEAK_TILE_FLOPS;
#endif
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
		cpu_aligned_free(c->scratch[i].p);
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
	out->bf16 = c->bf16;
#if !defined(_WIN32) && defined(_SC_PHYS_PAGES)
	out->memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
#endif
	snprintf(out->name, sizeof out->name, "cpu");
	snprintf(out->description, sizeof out->description, "cpu %s%s, %d threads", c->k->name, c->tiles ? " with AMX" : "", c->threads);
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
	CHECK(what == R1_PEAK_F32 || what == R1_PEAK_BF16 || what == R1_PEAK_COPY, "measure: this backend cannot measure limit %d", what);
	CHECK(seconds > 0 && seconds <= 60, "measure: %g seconds: want more than 0, at most 60", seconds);
	const int64_t bytes = 256 << 20;
	copy_args a = {NULL, NULL};
	if (what == R1_PEAK_COPY) {
		a.to = cpu_aligned(bytes), a.from = cpu_aligned(bytes);
		if (!a.to || !a.from) {
			cpu_aligned_free(a.to), cpu_aligned_free((void *)a.from);
			return cpu_fail("measure: out of memory: %lld bytes of scratch", (long long)(2 * bytes));
		}
		memset((void *)a.from, 1, (size_t)bytes);
		memset(a.to, 1, (size_t)bytes);
	}
	for (start = now = seconds_now(); now - start < seconds;) {
		double t0 = now;
		if (what != R1_PEAK_COPY) {
			pool_run(c->threads, 64 * c->threads, 16, what == R1_PEAK_F32 ? c->k->peak : c->peak16, NULL);
			work = (what == R1_PEAK_F32 ? c->k->peak_flops : c->peak16_flops) * 64 * c->threads;
		} else {
			pool_run(c->threads, bytes, 1 << 20, copy_range, &a);
			work = 2.0 * (double)bytes;
		}
		now = seconds_now();
		if (work / (now - t0) > best)
			best = work / (now - t0);
	}
	cpu_aligned_free(a.to), cpu_aligned_free((void *)a.from);
	*out = best;
	return NULL;
}

/* ---- memory ---- */

static char *cpu_alloc(r1_ctx *c, int64_t bytes, void **out)
{
	(void)c;
	CHECK(bytes >= 0, "alloc: %lld bytes", (long long)bytes);
	*out = cpu_aligned(bytes);
	CHECK(*out, "alloc: out of memory: %lld bytes", (long long)bytes);
	return NULL;
}
static char *cpu_release(r1_ctx *c, void *p)
{
	(void)c;
	cpu_aligned_free(p);
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
	.head = cpu_head, .head_grad = cpu_head_grad, .head_ext = cpu_head_ext, .head_ext_grad = cpu_head_ext_grad,
	.head_sample = cpu_head_sample, .head_sample_keep = cpu_head_sample_keep,
	.sq_norm = cpu_sq_norm, .adamw = cpu_adamw, .round16 = cpu_round16, .linear_dw16 = cpu_linear_dw16, .kv_read = cpu_kv_read,
	.linear_dw16_segs = cpu_linear_dw16_segs, .head_grad_segs = cpu_head_grad_segs, .linears = cpu_linears, .kv_bf16 = cpu_kv_bf16,
	.split_bytes = cpu_split_bytes, .split_write = cpu_split_write, .split_read = cpu_split_read, .split_back = cpu_split_back, .split_gather = cpu_split_gather, .split_adamw = cpu_split_adamw,
};

char *r1_open(uint32_t abi, const r1_api **out)
{
	CHECK(abi == R1_ABI, "the cpu backend has ABI %u, the caller %u", R1_ABI, abi);
	*out = &api;
	return NULL;
}
