/* k_gemm16.h: matrix products in bf16 with fp32 sums. Two neighbours in k are one word, the even one in its high half, the odd one 0 at
 * an odd end; b is in panels of GEMM_NR words for each pair. An output is one chain in ascending k: acc = fma(a, b, acc), and in class
 * dot what VDPBF16PS does with the high and then the low halves, which is the same with subnormal numbers as 0, its own results among
 * them. So these two differ where numbers are that small and nowhere else.
 * In class tile k goes in blocks of 32, the last filled up with 0, and a block is what TDPBF16PS does with it: the even ones are a chain of fma
 * from 0, the odd ones another, acc = acc + (even + odd), every step as in class dot. That is the text of Intel's manual ("FP32 FMA with DAZ=FTZ=1,
 * RNE rounding", MXCSR neither read nor written), and Bochs computes the same. The manual leaves open whether a result is subnormal before or after
 * it is rounded to 24 bits: after, as everywhere on x86 (VDPBF16PS on AMD's Zen 5 does so). What it says of NaN is which of two is taken over; a NaN is
 * a NaN here. The sum of even and odd is the same either way round, so it does not matter to the tile instruction which half of a word is which.
 * Every instruction set has all three classes. */

#if defined(DOT16)
static inline vf v_pair(vf acc, vf a, vf b) { return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b)); }
#endif

/* subnormal numbers as 0, of their sign */
static inline vf v_flush(vf x)
{
	vf zero = v_mul(x, v_set1(0.0f)); /* not taken where it is NaN */
	return v_gt(v_set1(0x1p-126f), v_abs(x), zero, x);
}

/* a b + c of numbers of which none is subnormal, 0 of its sign where it would be. Whether it would is seen 2^24 times as large, where nothing is: just below the least
 * normal number fma rounds up to that, by its fewer bits there, what stays below it in 24 bits. */
static inline vf v_fma_flush(vf a, vf b, vf c)
{
	vf up = v_set1(0x1p24f), r = v_fma(a, b, c), zero = v_mul(r, v_set1(0.0f));
	return v_gt(v_set1(0x1p-102f), v_abs(v_fma(v_mul(a, up), b, v_mul(c, up))), zero, r);
}

enum { CLASS_FMA, CLASS_DOT, CLASS_DOT_HERE /* by the instruction */ };

INLINE vf v_madd16(const int class, vf acc, float a, vf b)
{
	if (class == CLASS_FMA)
		return v_fma(v_set1(a), b, acc);
	return v_fma_flush(v_flush(v_set1(a)), v_flush(b), v_flush(acc));
}

static inline float f_word(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

/* mr rows of a, one panel of b, kp words of k: a(i,k) = a[i*a_m + k*a_k]. stream: b comes from memory, not from a cache. */
INLINE void gemm16_tile(const int class, const int mr, const int stream, int64_t kp, const uint32_t *a, int64_t a_m, int64_t a_k, const uint32_t *b, float *c, int64_t ldc, int cols,
                        int acc, const float *bias)
{
	vf s[GEMM_MR][GEMM_NV];
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < GEMM_NV; j++) {
			int m = cols - 16 * j < 16 ? cols - 16 * j : 16;
			s[i][j] = !acc || m <= 0 ? v_set1(0.0f) : m == 16 ? v_load(c + i * ldc + 16 * j) : v_loadn(c + i * ldc + 16 * j, m);
		}
	for (int64_t k = 0; k < kp; k++, a += a_k, b += GEMM_NR) {
		vf bv[GEMM_NV];
#pragma GCC unroll 4
		for (int j = 0; j < GEMM_NV; j++) {
			bv[j] = v_load((const float *)(const void *)(b + 16 * j));
			if (stream)
				__builtin_prefetch(b + 16 * j + GEMM_AHEAD);
		}
#pragma GCC unroll 16
		for (int i = 0; i < mr; i++) {
			uint32_t w = a[i * a_m];
#pragma GCC unroll 4
			for (int j = 0; j < GEMM_NV; j++) {
#if defined(DOT16)
				s[i][j] = v_pair(s[i][j], v_set1(f_word(w)), bv[j]);
				(void)class;
#else
				s[i][j] = v_madd16(class, s[i][j], f_word(w & 0xffff0000u), v_high(bv[j]));
				s[i][j] = v_madd16(class, s[i][j], f_word(w << 16), v_low(bv[j]));
#endif
			}
		}
	}
#pragma GCC unroll 16
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
		for (int j = 0; j < GEMM_NV; j++) {
			int m = cols - 16 * j < 16 ? cols - 16 * j : 16;
			if (m <= 0)
				continue;
			if (bias)
				s[i][j] = v_add(s[i][j], m == 16 ? v_load(bias + 16 * j) : v_loadn(bias + 16 * j, m));
			if (m == 16)
				v_store(c + i * ldc + 16 * j, s[i][j]);
			else
				v_storen(c + i * ldc + 16 * j, s[i][j], m);
		}
}

#define TILE16_ARGS int64_t kp, const uint32_t *a, int64_t lda, const uint32_t *b, float *c, int64_t ldc, int cols, int acc, const float *bias
/* one function for each number of rows: a in panels of GEMM_MR rows, in rows, in rows and b streamed */
#define TILE16(class, name, mr) \
	static void name##_k##mr(TILE16_ARGS) { (void)lda; gemm16_tile(class, mr, 0, kp, a, 1, GEMM_MR, b, c, ldc, cols, acc, bias); } \
	static void name##_r##mr(TILE16_ARGS) { gemm16_tile(class, mr, 0, kp, a, lda, 1, b, c, ldc, cols, acc, bias); } \
	static void name##_s##mr(TILE16_ARGS) { gemm16_tile(class, mr, 1, kp, a, lda, 1, b, c, ldc, cols, acc, bias); }
#if GEMM_MR == 12
#define TILES16(class, name) TILE16(class, name, 1) TILE16(class, name, 2) TILE16(class, name, 3) TILE16(class, name, 4) TILE16(class, name, 5) TILE16(class, name, 6) \
	TILE16(class, name, 7) TILE16(class, name, 8) TILE16(class, name, 9) TILE16(class, name, 10) TILE16(class, name, 11) TILE16(class, name, 12)
#elif GEMM_MR == 6
#define TILES16(class, name) TILE16(class, name, 1) TILE16(class, name, 2) TILE16(class, name, 3) TILE16(class, name, 4) TILE16(class, name, 5) TILE16(class, name, 6)
#else
#define TILES16(class, name) TILE16(class, name, 1) TILE16(class, name, 2) TILE16(class, name, 3) TILE16(class, name, 4)
#endif
typedef void rows16_fn(TILE16_ARGS);
typedef void tile16_fn(int mr, int how, TILE16_ARGS);
enum { A16_PANELS, A16_ROWS, A16_ROWS_STREAM };

/* items are tasks, as in k_gemm; k counts words */
static inline void gemm16(tile16_fn *tile, const gemm16_args *g, int64_t lo, int64_t hi)
{
	const int64_t panels = (g->n + GEMM_NR - 1) / GEMM_NR, kc_max = g->m <= GEMM_MR ? g->kp : GEMM_KC;
	for (int64_t task = lo; task < hi; task++) {
		int64_t i0 = task / g->tasks_n * g->mc, i1 = g->m - i0 < g->mc ? g->m : i0 + g->mc;
		int64_t p0 = task % g->tasks_n * g->nc, p1 = panels - p0 < g->nc ? panels : p0 + g->nc;
		for (int64_t k0 = 0; k0 == 0 || k0 < g->kp; k0 += kc_max) {
			int64_t kc = g->kp - k0 < kc_max ? g->kp - k0 : kc_max;
			for (int64_t p = p0; p < p1; p++) {
				int64_t j0 = p * GEMM_NR;
				int cols = g->n - j0 < GEMM_NR ? (int)(g->n - j0) : GEMM_NR;
				for (int64_t i = i0; i < i1; i += GEMM_MR) {
					int mr = i1 - i < GEMM_MR ? (int)(i1 - i) : GEMM_MR;
					const uint32_t *a = g->a + i * g->kp + (g->panels ? k0 * GEMM_MR : k0), *b = g->b + (p * g->kp + k0) * GEMM_NR;
					const float *bias = k0 + kc == g->kp && g->bias ? g->bias + j0 : NULL;
					int how = g->panels ? A16_PANELS : i == i0 ? A16_ROWS_STREAM : A16_ROWS;
					tile(mr, how, kc, a, g->kp, b, g->c + i * g->ldc + j0, g->ldc, cols, g->acc || k0 > 0, bias);
				}
			}
		}
	}
}

#define GEMM16(class, name) \
	TILES16(class, name) \
	static void name##_tile(int mr, int how, TILE16_ARGS) \
	{ \
		static rows16_fn *const f[3][GEMM_MR] = {TILES(name##_k), TILES(name##_r), TILES(name##_s)}; \
		f[how][mr - 1](kp, a, lda, b, c, ldc, cols, acc, bias); \
	} \
	static void name(const void *args, int64_t lo, int64_t hi, int worker) { (void)worker; gemm16(name##_tile, args, lo, hi); }

#if defined(DOT16)
GEMM16(CLASS_DOT_HERE, gemm16_dot)
#else
GEMM16(CLASS_FMA, k_gemm16_fma)

/* class dot where the instruction is missing: for comparison, so short rather than fast */
static void dot_tile(int mr, int how, TILE16_ARGS)
{
	const int panels = how == A16_PANELS;
	for (int i = 0; i < mr; i++)
		gemm16_tile(CLASS_DOT, 1, 0, kp, a + i * (panels ? 1 : lda), 0, panels ? GEMM_MR : 1, b, c + i * ldc, ldc, cols, acc, bias);
}
static void k_gemm16_dot(const void *args, int64_t lo, int64_t hi, int worker)
{
	(void)worker;
	gemm16(dot_tile, args, lo, hi);
}

/* class tile: for comparison likewise, and to compute what a machine with the instruction has computed */
static void block_tile(int mr, int how, TILE16_ARGS)
{
	(void)how; /* a is in rows */
	for (int i = 0; i < mr; i++)
		for (int j = 0; j < GEMM_NV && 16 * j < cols; j++) {
			const int m = cols - 16 * j < 16 ? cols - 16 * j : 16;
			float *at = c + i * ldc + 16 * j;
			vf s = acc ? v_flush(v_loadn(at, m)) : v_set1(0.0f);
			for (int64_t k0 = 0; k0 < kp; k0 += BLOCK16) {
				vf even = v_set1(0.0f), odd = even;
				for (int64_t k = k0; k < k0 + BLOCK16; k++) {
					vf bv = v_load((const float *)(const void *)(b + k * GEMM_NR + 16 * j));
					uint32_t w = a[i * lda + k];
					even = v_fma_flush(v_flush(v_set1(f_word(w & 0xffff0000u))), v_flush(v_high(bv)), even);
					odd = v_fma_flush(v_flush(v_set1(f_word(w << 16))), v_flush(v_low(bv)), odd);
				}
				s = v_flush(v_add(s, v_flush(v_add(even, odd))));
			}
			v_storen(at, bias ? v_add(s, v_loadn(bias + 16 * j, m)) : s, m);
		}
}
static void k_gemm16_tile(const void *args, int64_t lo, int64_t hi, int worker)
{
	(void)worker;
	gemm16(block_tile, args, lo, hi);
}

INLINE uint32_t word16(float even, float odd, const int weight) { return (round16(f_raw(even), weight) & 0xffff0000u) | round16(f_raw(odd), weight) >> 16; }

/* a row of k numbers as kp words, 0 past the numbers */
INLINE void row16(uint32_t *y, const float *x, int64_t k, int64_t kp)
{
	for (int64_t j = 0; j < k / 2; j++)
		y[j] = word16(x[2 * j], x[2 * j + 1], 0);
	if (k % 2)
		y[k / 2] = word16(x[k - 1], 0.0f, 0);
	for (int64_t j = (k + 1) / 2; j < kp; j++)
		y[j] = 0;
}

/* items are rows of x, k wide */
static void k_words16(const void *args, int64_t lo, int64_t hi, int worker)
{
	const round16_args *r = args;
	(void)worker;
	for (int64_t i = lo; i < hi; i++)
		row16(r->words + i * r->kp, r->x + i * r->k, r->k, r->kp);
}

/* w words of two rows, or of one and of zero, or 0 */
INLINE void pair16(uint32_t *out, const float *even, const float *odd, float zero, int w, const int weight)
{
	if (odd)
		for (int j = 0; j < w; j++)
			out[j] = word16(even[j], odd[j], weight);
	else if (even)
		for (int j = 0; j < w; j++)
			out[j] = word16(even[j], zero, weight);
	else
		memset(out, 0, (size_t)w * sizeof *out);
}

/* items are blocks of 16 words of depth of panels that width columns of x make; neighbours in depth are rows of x */
INLINE void pairs16(const pairs16_args *a, const int width, int64_t lo, int64_t hi)
{
	enum { RUN = 4 * GEMM_NR }; /* columns at a time, and with them whole vectors */
	const int64_t kp = a->kp, step = RUN / width * width;
	uint32_t words[RUN] = {0};
	for (int64_t block = lo; block < hi; block++) {
		const int64_t k0 = 16 * block, r0 = a->starts ? a->starts[block] - a->starts[0] : 2 * k0, r1 = a->starts ? a->starts[block + 1] - a->starts[0] : a->rows;
		for (int64_t j0 = 0; j0 < a->cols; j0 += step)
			for (int64_t k = k0; k < k0 + 16 && k < kp; k++) {
				const int64_t r = r0 + 2 * (k - k0);
				const float *even = r < r1 ? a->x + r * a->cols + j0 : NULL, *odd = r + 1 < r1 ? even + a->cols : NULL;
				int n = a->cols - j0 < step ? (int)(a->cols - j0) : (int)step;
				pair16(words, even, odd, a->zero, n, 0);
				for (int j = n; j % width; j++)
					words[j] = 0;
				for (int j = 0; j < n; j += width)
					memcpy(a->out + ((j0 + j) / width * kp + k) * width, words + j, (size_t)width * 4);
			}
	}
}
static void k_pairs16(const void *args, int64_t lo, int64_t hi, int worker)
{
	const pairs16_args *a = args;
	(void)worker;
	if (a->width == 1)
		pairs16(a, 1, lo, hi);
	else if (a->width == GEMM_MR)
		pairs16(a, GEMM_MR, lo, hi);
	else
		pairs16(a, GEMM_NR, lo, hi);
}

/* items are elements */
static void k_round16(const void *args, int64_t lo, int64_t hi, int worker)
{
	const round16_args *r = args;
	(void)worker;
	if (r->weight)
		for (int64_t i = lo; i < hi; i++)
			r->y[i] = f_word(round16(f_raw(r->x[i]), 1) & 0xffff0000u);
	else
		for (int64_t i = lo; i < hi; i++)
			r->y[i] = f_word(round16(f_raw(r->x[i]), 0) & 0xffff0000u);
}
#endif
