/* k_attn_tile.h: the two products of attention on tiles of registers, so that a key once loaded serves many queries. Each
 * output is the chain that one query alone would run: a score is 16 lanes of fma down the head and the tree of v_sum, a
 * mixed value one fma for each key (or query) in ascending order. */

#if SIMD == 3
#define ATTN_MR 6  /* rows of a mix */
#define ATTN_NB 4  /* and vectors of each; of one row always 4 */
#define ATTN_QT 4  /* queries of a tile of scores */
#define ATTN_FT 4  /* and of one over keys as they lie */
#define ATTN_FEW 4 /* queries up to which keys are not turned */
#else
#define ATTN_MR 2
#define ATTN_NB 2
#define ATTN_QT 2
#define ATTN_FT 1
#define ATTN_FEW 7 /* turning is slow here */
#endif

/* 16 numbers or the first m from element i on, of floats or (half) of bf16 */
INLINE vf v_at(const int half, const void *p, int64_t i, int m)
{
	uint16_t t[16] = {0};
	if (!half)
		return v_get((const float *)p + i, m);
	if (m == 16)
		return v_load16((const uint16_t *)p + i);
	memcpy(t, (const uint16_t *)p + i, (size_t)m * sizeof *t);
	return v_load16(t);
}

/* ---- scores ---- */

/* elements i .. i + m of 16 rows x + at[j], n of them there */
INLINE void attn_turn16(int64_t i, int m, int n, const float *x, const int64_t *at, float *out)
{
	vf r[16];
#pragma GCC unroll 16
	for (int j = 0; j < 16; j++)
		r[j] = j < n ? v_get(x + at[j] + i, m) : v_set1(0.0f);
	v_turn(out, r);
}

/* out[16*i + j] = element i of row j, i < dp (d rounded up to 16): rows x + at[j], 0 beyond d and beyond n rows */
static void attn_turn(int64_t d, int n, const float *x, const int64_t *at, float *out)
{
	EACH16(0, d, i, m, attn_turn16(i, m, n, x, at, out + 16 * i);)
}

/* lane l of the scores of 16 keys with nq queries, met by lane l+8 */
INLINE void attn_lane(const int half, const int nq, int64_t dp, const float *const *x, const void *turned, int l, vf *out)
{
	vf lo[ATTN_QT], hi[ATTN_QT];
#pragma GCC unroll 4
	for (int q = 0; q < nq; q++)
		lo[q] = hi[q] = v_set1(0.0f);
	for (int64_t i = l; i < dp; i += 16) {
		vf k0 = v_at(half, turned, 16 * i, 16), k1 = v_at(half, turned, 16 * i + 128, 16);
#pragma GCC unroll 4
		for (int q = 0; q < nq; q++) {
			lo[q] = v_fma(v_set1(x[q][i]), k0, lo[q]);
			hi[q] = v_fma(v_set1(x[q][i + 8]), k1, hi[q]);
		}
	}
#pragma GCC unroll 4
	for (int q = 0; q < nq; q++)
		out[q] = v_add(lo[q], hi[q]);
}

/* the tree from there: l meets l+4, then l+2, then l+1 */
INLINE void attn_pair(const int half, const int nq, int64_t dp, const float *const *x, const void *turned, int l, vf *out)
{
	vf b[ATTN_QT];
	attn_lane(half, nq, dp, x, turned, l, out);
	attn_lane(half, nq, dp, x, turned, l + 4, b);
#pragma GCC unroll 4
	for (int q = 0; q < nq; q++)
		out[q] = v_add(out[q], b[q]);
}
INLINE void attn_half(const int half, const int nq, int64_t dp, const float *const *x, const void *turned, int l, vf *out)
{
	vf b[ATTN_QT];
	attn_pair(half, nq, dp, x, turned, l, out);
	attn_pair(half, nq, dp, x, turned, l + 2, b);
#pragma GCC unroll 4
	for (int q = 0; q < nq; q++)
		out[q] = v_add(out[q], b[q]);
}
INLINE void attn_dots(const int half, const int nq, int64_t dp, const float *const *x, const void *turned, float *s)
{
	vf a[ATTN_QT], b[ATTN_QT];
	attn_half(half, nq, dp, x, turned, 0, a);
	attn_half(half, nq, dp, x, turned, 1, b);
#pragma GCC unroll 4
	for (int q = 0; q < nq; q++)
		v_store(s + q * ATTN_CHUNK, v_add(a[q], b[q]));
}
#define DOTS(nq) \
	static void attn_dots##nq(DOTS_ARGS) { attn_dots(0, nq, dp, x, turned, s); } \
	static void attn_dots16_##nq(DOTS_ARGS) { attn_dots(1, nq, dp, x, turned, s); }
#define DOTS_ARGS int64_t dp, const float *const *x, const void *turned, float *s
typedef void dots_fn(DOTS_ARGS);
DOTS(1) DOTS(2)
#if ATTN_QT == 4
DOTS(3) DOTS(4)
static dots_fn *const dots[2][ATTN_QT] = {{attn_dots1, attn_dots2, attn_dots3, attn_dots4}, {attn_dots16_1, attn_dots16_2, attn_dots16_3, attn_dots16_4}};
#else
static dots_fn *const dots[2][ATTN_QT] = {{attn_dots1, attn_dots2}, {attn_dots16_1, attn_dots16_2}};
#endif

/* The same scores without turning the keys, which pays where few queries share them: s[q][j] of keys from..to, from a
 * multiple of 4 and the rest of the last 4 undefined. */
INLINE void attn_few(const int nq, int64_t d, const float *const *x, const float *y, const int64_t *at, int32_t from, int32_t to, float *s)
{
	for (int32_t j = from; j < to; j += 4) {
		const float *k[4];
		vf acc[ATTN_FT][4];
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			k[i] = y + at[j + i < to ? j + i : to - 1];
#pragma GCC unroll 4
			for (int q = 0; q < nq; q++)
				acc[q][i] = v_set1(0.0f);
		}
		for (int64_t c = 0; c < d; c += 16) {
			int m = d - c < 16 ? (int)(d - c) : 16;
			vf kv[4];
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				kv[i] = v_get(k[i] + c, m);
#pragma GCC unroll 4
			for (int q = 0; q < nq; q++) {
				vf xv = v_get(x[q] + c, m);
#pragma GCC unroll 4
				for (int i = 0; i < 4; i++)
					acc[q][i] = v_fma(xv, kv[i], acc[q][i]);
			}
		}
#pragma GCC unroll 4
		for (int q = 0; q < nq; q++)
			v_sum4(s + q * ATTN_CHUNK + j, acc[q][0], acc[q][1], acc[q][2], acc[q][3]);
	}
}
#define FEW(nq) static void attn_few##nq(FEW_ARGS) { attn_few(nq, d, x, y, at, from, to, s); }
#define FEW_ARGS int64_t d, const float *const *x, const float *y, const int64_t *at, int32_t from, int32_t to, float *s
typedef void few_fn(FEW_ARGS);
FEW(1)
#if ATTN_FT == 4
FEW(2) FEW(3) FEW(4)
static few_fn *const few[ATTN_FT] = {attn_few1, attn_few2, attn_few3, attn_few4};
#else
static few_fn *const few[ATTN_FT] = {attn_few1};
#endif

/* ---- mixes ---- */

/* out_i += sum over j = 0..n ascending of p[i*p_row + j*p_step] x_j: nr rows of nb vectors, the last one of m lanes */
INLINE void attn_fma(const int half, const int nr, const int nb, const int m, int64_t n, const float *p, int64_t p_row, int64_t p_step, const void *x, const int64_t *x_at, float *out,
                     const int64_t *out_at)
{
	vf s[ATTN_MR][4];
#pragma GCC unroll 6
	for (int i = 0; i < nr; i++)
#pragma GCC unroll 4
		for (int b = 0; b < nb; b++)
			s[i][b] = v_get(out + out_at[i] + 16 * b, b + 1 < nb ? 16 : m);
	for (int64_t j = 0; j < n; j++, p += p_step) {
		vf xv[4];
#pragma GCC unroll 4
		for (int b = 0; b < nb; b++)
			xv[b] = v_at(half, x, x_at[j] + 16 * b, b + 1 < nb ? 16 : m);
#pragma GCC unroll 6
		for (int i = 0; i < nr; i++) {
			vf pv = v_set1(p[i * p_row]);
#pragma GCC unroll 4
			for (int b = 0; b < nb; b++)
				s[i][b] = v_fma(pv, xv[b], s[i][b]);
		}
	}
#pragma GCC unroll 6
	for (int i = 0; i < nr; i++)
#pragma GCC unroll 4
		for (int b = 0; b < nb; b++)
			v_put(out + out_at[i] + 16 * b, s[i][b], b + 1 < nb ? 16 : m);
}

#define MIX_ARGS int64_t n, const float *p, int64_t p_row, int64_t p_step, const void *x, const int64_t *x_at, float *out, const int64_t *out_at
#define MIX(nb, nr) \
	static void attn_fma_##nb##_##nr(MIX_ARGS) { attn_fma(0, nr, nb, 16, n, p, p_row, p_step, x, x_at, out, out_at); } \
	static void attn_fma16_##nb##_##nr(MIX_ARGS) { attn_fma(1, nr, nb, 16, n, p, p_row, p_step, x, x_at, out, out_at); }
typedef void mix_fn(MIX_ARGS);
MIX(1, 1) MIX(1, 2) MIX(2, 1) MIX(2, 2) MIX(4, 1)
#if ATTN_MR == 6
MIX(1, 3) MIX(1, 4) MIX(1, 5) MIX(1, 6) MIX(2, 3) MIX(2, 4) MIX(2, 5) MIX(2, 6) MIX(4, 2) MIX(4, 3) MIX(4, 4) MIX(4, 5) MIX(4, 6)
#define MIXES(name, nb) {name##nb##_1, name##nb##_2, name##nb##_3, name##nb##_4, name##nb##_5, name##nb##_6}
#define MIXES4(name) MIXES(name, 4)
#else
#define MIXES(name, nb) {name##nb##_1, name##nb##_2}
#define MIXES4(name) {name##4_1}
#endif
static mix_fn *const mixes[2][3][ATTN_MR] = {
	{MIXES(attn_fma_, 1), MIXES(attn_fma_, 2), MIXES4(attn_fma_)}, {MIXES(attn_fma16_, 1), MIXES(attn_fma16_, 2), MIXES4(attn_fma16_)},
};

/* nr <= ATTN_MR rows, d wide */
static void attn_mix_tile(int half, int64_t d, int nr, MIX_ARGS)
{
	int size = ATTN_NB == 4 || nr == 1 ? 2 : 1; /* log of the vectors at once */
	for (int64_t i = 0; i < d; ) {
		int64_t left = d - i;
		const void *xi = (const char *)x + i * (half ? 2 : 4);
		if (left < 16) {
			for (int r = 0; r < nr; r++)
				attn_fma(half, 1, 1, (int)left, n, p + r * p_row, p_row, p_step, xi, x_at, out + i, out_at + r);
			return;
		}
		while ((INT64_C(16) << size) > left)
			size--;
		mixes[half][size][nr - 1](n, p, p_row, p_step, xi, x_at, out + i, out_at);
		i += INT64_C(16) << size;
	}
}

/* out_i += sum over j = lo[i]..hi[i] ascending of p[i*p_row + j*p_step] x_j, for rows whose ranges may differ */
static void attn_mix(int half, int64_t d, int64_t rows, const int32_t *lo, const int32_t *hi, const float *p, int64_t p_row, int64_t p_step, const void *x, const int64_t *x_at, float *out,
                     const int64_t *out_at)
{
	for (int64_t i = 0; i < rows; i += ATTN_MR) {
		int nr = rows - i < ATTN_MR ? (int)(rows - i) : ATTN_MR;
		int32_t from = lo[i], to = hi[i];
		for (int r = 1; r < nr; r++)
			from = lo[i + r] > from ? lo[i + r] : from, to = hi[i + r] < to ? hi[i + r] : to;
		if (from >= to)
			from = to = INT32_MAX; /* nothing in common */
		for (int r = 0; r < nr; r++) {
			int32_t end = hi[i + r] < from ? hi[i + r] : from;
			if (lo[i + r] < end)
				attn_mix_tile(half, d, 1, end - lo[i + r], p + (i + r) * p_row + lo[i + r] * p_step, p_row, p_step, x, x_at + lo[i + r], out, out_at + i + r);
		}
		if (from == INT32_MAX)
			continue;
		attn_mix_tile(half, d, nr, to - from, p + i * p_row + from * p_step, p_row, p_step, x, x_at + from, out, out_at + i);
		for (int r = 0; r < nr; r++)
			if (hi[i + r] > to)
				attn_mix_tile(half, d, 1, hi[i + r] - to, p + (i + r) * p_row + to * p_step, p_row, p_step, x, x_at + to, out, out_at + i + r);
	}
}
