/* cpu.h: inside of the cpu backend. cpu.c checks arguments and cuts work into ranges; a table of range functions, one for
 * each instruction set and all compiled from the same text, does the arithmetic; pool.c runs ranges on threads. No result
 * depends on how work is cut. */
#ifndef R1_CPU_H
#define R1_CPU_H

#include <string.h>

#include "r1.h"

/* ---- pool.c ---- */

#define POOL_MAX 64 /* threads of a process, the caller's included */

/* does items lo..hi on worker number worker (0: the caller) */
typedef void range_fn(const void *args, int64_t lo, int64_t hi, int worker);

void pool_acquire(int threads); /* at least that many threads until pool_release */
void pool_release(void);
int pool_cores(void);
/* Runs fn over 0..n in ranges of about grain, on at most threads threads, and returns when all is done. Worker w of t begins with the
 * w-th t-th of the items, so operations over the same rows should number them alike. A pool that is busy with another caller's work
 * leaves all of it to this caller. */
void pool_run(int threads, int64_t n, int64_t grain, range_fn *fn, const void *args);

/* ---- arguments of the range functions ---- */

typedef struct { int op, how; int64_t rows, cols; float *y; const float *a, *b, *z; float s0, s1; } elem_args;
typedef struct { elem_args e; float *dup; const float *dy; } glu_grad_args;
typedef struct { int64_t rows, cols; float *y; const float *x; const int32_t *idx; int64_t nidx; int reverse; } reduce_args;

/* c[i,j] (+)= sum over k ascending of a(i,k) b(k,j), one fma chain; a(i,k) = a[i*a_m + k*a_k], b(k,j) = b[k*b_k + j*b_n] */
typedef struct {
	int64_t m, n, k;
	const float *a;
	int64_t a_m, a_k;
	const float *b, *bp; /* bp: b in panels, or NULL */
	int64_t b_k, b_n;
	float *c;
	int64_t ldc;
	const float *bias;
	int acc;             /* the chains start from c */
	int64_t mc, nc;      /* rows and panels of a task */
	int64_t tasks_n;     /* tasks side by side */
	float *scratch;      /* gemm_scratch floats a worker */
} gemm_args;

typedef struct { int64_t n, k, ld_n, ld_k; const float *w; float *out; } pack_args;

/* c[i,j] = sum over k ascending of a(i,k) b(k,j) in bf16: rows of kp words, in class tile a multiple of BLOCK16, and panels of them */
#define BLOCK16 16
typedef struct {
	int64_t m, n, kp;
	const uint32_t *a, *b;
	float *c;
	int64_t ldc;
	const float *bias;
	int panels, acc;         /* a in panels of mr rows, not in class tile; the chains start from c */
	int64_t mc, nc, tasks_n; /* as in gemm_args */
} gemm16_args;

/* x [rows, cols] as panels of width columns, mr, nr or 1, kp words deep; zero stands for the row after an odd last one. starts: each run of BLOCK16 words
 * has the rows from one start to the next, at most two a word, and 0 after them, x beginning at the first start; NULL: rows follow one another. */
typedef struct { int64_t rows, cols, width, kp; float zero; const float *x; const int32_t *starts; uint32_t *out; } pairs16_args;

typedef struct { int64_t k, kp; int weight; const float *x; float *y; uint32_t *words; } round16_args;

typedef struct {
	int64_t rows, cols;
	float *y, *rstd, *dw;
	const float *x, *w, *dy;
	const float *rstd_in;
	float eps;
} norm_args;

typedef struct { int64_t heads, d, positions; float *y; const float *x, *table; const int32_t *pos; float sign; int pairs; } rope_args;

typedef struct {
	int64_t h, g, d; /* query heads, key heads, head size */
	float scale, softcap;
	int64_t window;
	float *o, *lse;
	const float *q, *k, *v;
	const int32_t *segs;
	int64_t nseqs;
	int shared; /* some sequence has a parent */
	const int32_t *rows_seq; /* sequence of each row */
	/* paged */
	const int32_t *table, *rows;
	int64_t slots, table_cols;
	const uint16_t *k16, *v16; /* pages of bf16, in place of k and v */
	/* gradient */
	float *dq, *dk, *dv;
	const float *dout, *oin, *lse_in;
	const int32_t *blocks;   /* block i is rows blocks[i] .. blocks[i+1] */
	float *state;            /* two floats a row and head */
	float *parts;            /* closed chunks of each row and head, d + 2 floats each, where chunks are items; or NULL */
	int64_t chunks;          /* of the longest row, where parts is */
	int64_t *read;           /* counts bytes of keys and values, or NULL */
	float *scratch;          /* scratch_worker floats a worker, ATTN_SCRATCH(d) or more */
	int64_t scratch_worker;
} attn_args;

/* The high half of the result is u's float in bf16. Activations: nearest even. Weights: halves away from 0, so that a master weight is
 * (high << 16) plus a signed 16-bit rest. NaN stays NaN. */
static inline uint32_t round16(uint32_t u, int weight)
{
	uint32_t r = u + (weight ? 0x8000u : 0x7fffu + (u >> 16 & 1));
	return (u & 0x7fffffff) > 0x7f800000 ? u | 0x400000 : r;
}
static inline uint32_t f_raw(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

/* Where a slot's 16 lie for head g of heads, in elements: keys as [d][16], so that sums down the head need no turning, values as [16][d].
 * A page's slots are a multiple of 16. */
static inline int64_t attn_slot(int64_t slot, int64_t g, int64_t heads, int64_t d) { return (slot / 16 * heads + g) * 16 * d; }

/* Attention takes keys in chunks of so many and at most so many queries at once. */
#define ATTN_CHUNK 256
#define ATTN_Q 48
#define ATTN_ROWS 256 /* rows of a block that have keys in common */
#define ATTN_SCRATCH(d) (2 * ATTN_Q * ATTN_CHUNK + (16 + 2 * ATTN_Q) * (((d) + 15) / 16 * 16))

typedef struct {
	int64_t rows, v, ldz;
	float *z; /* logits of the rows at hand */
	float softcap;
	const float *temp;
	const int32_t *target;
	float *logp, *ent, *lse;
	const float *dlogp, *dent, *ent_in, *lse_in;
	int32_t *token;
	const uint32_t *counter, *key;
	/* beside another model, over kept words */
	float *o; /* its logits, as z; k_head_draw: scratch */
	float ocap, beta, *kl, *aux; /* aux: its lse, tilt */
	const float *dkl, *aux_in;
	const int32_t *keep_at, *keep; /* row r's words are keep[keep_at[r]] .. */
	/* truncation */
	const float *cut;
	uint32_t *kept;
	float *mass;
} head_args;

typedef struct { int64_t n; float *w, *m, *v; const float *g; double *partial; float keep, step, rbc2, gscale, beta1, beta2, eps; } optim_args;

/* a weight [n, k] in halves: the high ones in panels over n, kp words deep, hi, and in panels over k, np words deep, back, or NULL; the low ones by rows,
 * lo, or NULL: zeros */
typedef struct {
	int64_t n, k, kp, np;
	uint32_t *hi, *back;
	uint16_t *lo;
	float *x;
	int64_t at, count;  /* elements at .. at + count go from x or into it */
	const int32_t *idx; /* rows that go into x */
	optim_args o;       /* a step, where g is not NULL */
} split_args;

#define NORM_BLOCK 4096 /* elements of one partial sum of sq_norm */

/* ---- the table of range functions ---- */

typedef struct {
	const char *name;
	int mr, nr;           /* rows and columns of a gemm tile; nr is the width of a panel */
	int64_t gemm_scratch; /* floats a worker */
	double peak_flops;
	range_fn *unary, *unary_grad, *binary, *affine, *fma, *clamp, *select;
	range_fn *row_sum, *row_max, *col_sum, *seg_sum, *seg_scan, *scatter_add;
	range_fn *gemm, *pack;
	range_fn *gemm16_fma, *gemm16_dot, *gemm16_tile, *words16, *pairs16, *round16;
	range_fn *rmsnorm, *rmsnorm_dx, *rmsnorm_dw, *rope, *glu, *glu_grad;
	range_fn *attn, *attn_merge, *attn_grad;
	range_fn *head_stats, *head_dlogits, *head_draw;
	range_fn *sq_norm, *adamw;
	range_fn *split_write, *split_read, *split_gather, *split_panels;
	range_fn *peak; /* rounds of the busiest fma loop, peak_flops each */
} cpu_kernels;

/* ---- cpu_tile.c ---- */

int cpu_has_tiles(void); /* the machine and the system let this process use tiles */
/* whether kernel gives the bits of class tile, as twin does; both take panels of 32 columns */
int cpu_tiles_agree(range_fn *kernel, range_fn *twin);

extern const cpu_kernels r1_kernels_portable;
#if defined(__x86_64__)
extern const cpu_kernels r1_kernels_avx2, r1_kernels_avx512;
extern range_fn *const r1_gemm16_avx512_bf16, *const r1_peak16_avx512_bf16;
#define R1_PEAK16_FLOPS (1000.0 * 12 * 32 * 2)
#if defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define R1_AMX 1 /* the compiler knows the tile instructions, and a process asks Linux for them */
extern range_fn *const r1_gemm16_amx, *const r1_peak16_amx;
#define R1_PEAK_TILE_FLOPS (1000.0 * 4 * 16 * 16 * 32 * 2)
#endif
#elif defined(__aarch64__)
extern const cpu_kernels r1_kernels_neon;
#endif

#endif
