/* k_gemm.h: matrix products. Each output is one chain of fma in ascending k, whatever the tile: a chain that is cut at the
 * edge of a block of k goes on from c, which loses nothing in fp32. b is read in panels of GEMM_NR columns, k-major. */

#include "gemm_shape.h"

/* mr rows of a, one panel of b, kc steps of k. a(i,k) = a[i*a_m + k*a_k]. stream: b comes from memory, not from a cache. */
INLINE void gemm_tile(const int mr, const int stream, int64_t kc, const float *a, int64_t a_m, int64_t a_k, const float *b, float *c, int64_t ldc, int cols, int acc,
                      const float *bias)
{
	vf s[GEMM_MR][GEMM_NV];
	const int full = cols == GEMM_NR;
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < GEMM_NV; j++) {
			s[i][j] = v_set1(0.0f);
			if (acc && full)
				s[i][j] = v_load(c + i * ldc + 16 * j);
			else if (acc && cols > 16 * j)
				s[i][j] = v_loadn(c + i * ldc + 16 * j, cols - 16 * j < 16 ? cols - 16 * j : 16);
		}
	for (int64_t k = 0; k < kc; k++) {
		vf bv[GEMM_NV];
#pragma GCC unroll 4
		for (int j = 0; j < GEMM_NV; j++) {
			bv[j] = v_load(b + 16 * j);
			if (stream)
				__builtin_prefetch(b + 16 * j + GEMM_AHEAD);
		}
#pragma GCC unroll 16
		for (int i = 0; i < mr; i++) {
			vf av = v_set1(a[i * a_m]);
#pragma GCC unroll 4
			for (int j = 0; j < GEMM_NV; j++)
				s[i][j] = v_fma(av, bv[j], s[i][j]);
		}
		a += a_k;
		b += GEMM_NR;
	}
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < GEMM_NV; j++) {
			int m = cols - 16 * j < 16 ? cols - 16 * j : 16;
			if (full) {
				if (bias)
					s[i][j] = v_add(s[i][j], v_load(bias + 16 * j));
				v_store(c + i * ldc + 16 * j, s[i][j]);
			} else if (m > 0) {
				if (bias)
					s[i][j] = v_add(s[i][j], v_loadn(bias + 16 * j, m));
				v_storen(c + i * ldc + 16 * j, s[i][j], m);
			}
		}
}

/* one function for each number of rows: a k-major, a row-major, a row-major that streams b */
#define TILE_ARGS int64_t kc, const float *a, int64_t lda, const float *b, float *c, int64_t ldc, int cols, int acc, const float *bias
#define TILE(mr) \
	static void gemm_tile_k##mr(TILE_ARGS) { gemm_tile(mr, 0, kc, a, 1, lda, b, c, ldc, cols, acc, bias); } \
	static void gemm_tile_r##mr(TILE_ARGS) { gemm_tile(mr, 0, kc, a, lda, 1, b, c, ldc, cols, acc, bias); } \
	static void gemm_tile_s##mr(TILE_ARGS) { gemm_tile(mr, 1, kc, a, lda, 1, b, c, ldc, cols, acc, bias); }
TILE(1) TILE(2) TILE(3) TILE(4)
#if GEMM_MR > 4
TILE(5) TILE(6)
#endif
#if GEMM_MR > 6
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
typedef void tile_fn(TILE_ARGS);
enum { A_KMAJOR, A_ROWS, A_ROWS_STREAM };
static tile_fn *const tiles[3][GEMM_MR] = {TILES(gemm_tile_k), TILES(gemm_tile_r), TILES(gemm_tile_s)};

/* kc rows of k of the panel that starts at column j0, of which cols exist; the rest is 0 */
static void pack_panel(float *out, const float *b, int64_t b_k, int64_t b_n, int64_t kc, int cols)
{
	if (b_n == 1) {
		for (int64_t k = 0; k < kc; k++, out += GEMM_NR)
			for (int j = 0; j < GEMM_NV; j++) {
				int m = cols - 16 * j < 16 ? cols - 16 * j : 16;
				v_store(out + 16 * j, m == 16 ? v_load(b + k * b_k + 16 * j) : m > 0 ? v_loadn(b + k * b_k + 16 * j, m) : v_set1(0.0f));
			}
		return;
	}
	for (int j = 0; j < GEMM_NR; j++)
		if (j < cols)
			for (int64_t k = 0; k < kc; k++)
				out[k * GEMM_NR + j] = b[k * b_k + j * b_n];
		else
			for (int64_t k = 0; k < kc; k++)
				out[k * GEMM_NR + j] = 0;
}

/* items are tasks: a block of rows by a run of panels */
static void k_gemm(const void *args, int64_t lo, int64_t hi, int worker)
{
	const gemm_args *g = args;
	const int row_major = g->a_k == 1;
	const int64_t lda = row_major ? g->a_m : g->a_k, panels = (g->n + GEMM_NR - 1) / GEMM_NR;
	const int64_t kc_max = g->bp && g->m <= GEMM_MR ? g->k : GEMM_KC; /* few rows read each panel once, from end to end */
	float *scratch = g->scratch ? g->scratch + worker * (int64_t)GEMM_NR * GEMM_KC : NULL;
	for (int64_t task = lo; task < hi; task++) {
		int64_t i0 = task / g->tasks_n * g->mc, i1 = g->m - i0 < g->mc ? g->m : i0 + g->mc;
		int64_t p0 = task % g->tasks_n * g->nc, p1 = panels - p0 < g->nc ? panels : p0 + g->nc;
		for (int64_t k0 = 0; k0 == 0 || k0 < g->k; k0 += kc_max) {
			int64_t kc = g->k - k0 < kc_max ? g->k - k0 : kc_max;
			int last = k0 + kc == g->k, acc = g->acc || k0 > 0;
			for (int64_t p = p0; p < p1; p++) {
				int64_t j0 = p * GEMM_NR;
				int cols = g->n - j0 < GEMM_NR ? (int)(g->n - j0) : GEMM_NR;
				const float *b = g->bp + p * g->k * GEMM_NR + k0 * GEMM_NR;
				if (!g->bp) {
					pack_panel(scratch, g->b + k0 * g->b_k + j0 * g->b_n, g->b_k, g->b_n, kc, cols);
					b = scratch;
				}
				for (int64_t i = i0; i < i1; i += GEMM_MR) {
					int mr = i1 - i < GEMM_MR ? (int)(i1 - i) : GEMM_MR;
					const float *a = g->a + i * g->a_m + k0 * g->a_k;
					int how = !row_major ? A_KMAJOR : g->bp && i == i0 ? A_ROWS_STREAM : A_ROWS;
					tiles[how][mr - 1](kc, a, lda, b, g->c + i * g->ldc + j0, g->ldc, cols, acc, last && g->bias ? g->bias + j0 : NULL);
				}
			}
		}
	}
}

/* items are panels */
static void k_pack(const void *args, int64_t lo, int64_t hi, int worker)
{
	const pack_args *a = args;
	(void)worker;
	for (int64_t p = lo; p < hi; p++) {
		int64_t j0 = p * GEMM_NR;
		pack_panel(a->out + p * a->k * GEMM_NR, a->w + j0 * a->ld_n, a->ld_k, a->ld_n, a->k, a->n - j0 < GEMM_NR ? (int)(a->n - j0) : GEMM_NR);
	}
}

/* the busiest loop of fma on registers, for the measured peak */
static void k_peak(const void *args, int64_t lo, int64_t hi, int worker)
{
	vf s[12], x = v_set1(1.0f - 0x1p-20f), y = v_set1(0x1p-30f);
	float sink = 0;
	(void)worker;
#pragma GCC unroll 12
	for (int i = 0; i < 12; i++)
		s[i] = v_set1((float)(i + 1));
	for (int64_t r = lo; r < hi; r++)
		for (int k = 0; k < 1000; k++)
#pragma GCC unroll 12
			for (int i = 0; i < 12; i++)
				s[i] = v_fma(s[i], x, y);
	for (int i = 0; i < 12; i++)
		sink += v_sum(s[i]);
	if (sink == 12345.0f)
		*(volatile double *)(uintptr_t)args = 0; /* keeps the loop */
}
#define PEAK_FLOPS (1000.0 * 12 * 16 * 2)
