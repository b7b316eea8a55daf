/* k_split.h: weights kept in halves. The high one, (bits + 0x8000) >> 16, is the weight in bf16 and lies in the panels that products read: a
 * word has columns 2w and 2w + 1 of a row, the even one in its high half, and the words of GEMM_NR rows lie side by side. The low one is the
 * rest, row by row: bits = (high << 16) + low. Of a NaN, whose quiet bit is set, it is simply the low half. */

enum { SPLIT_COLS = 128 }; /* columns of a block of work, whole panels of back */

INLINE float join16(uint32_t high, uint32_t low)
{
	return f_word((high & 0x7fffffff) > 0x7f800000 ? high | low : high + low - (low & 0x8000) * 2);
}

/* n numbers of a row from its words, which are so far apart, and their low halves, or none */
INLINE void halves_row(float *y, const uint32_t *hi, const int apart, const uint16_t *lo, int64_t n, const int rest)
{
	for (int64_t i = 0; i < n / 2; i++) {
		uint32_t w = hi[i * apart];
		y[2 * i] = join16(w & 0xffff0000u, rest ? lo[2 * i] : 0);
		y[2 * i + 1] = join16(w << 16, rest ? lo[2 * i + 1] : 0);
	}
	if (n % 2)
		y[n - 1] = join16(hi[n / 2 * apart] & 0xffff0000u, rest ? lo[n - 1] : 0);
}
INLINE void split_row(float *y, const uint32_t *hi, const int apart, const uint16_t *lo, int64_t n)
{
	if (lo)
		halves_row(y, hi, apart, lo, n, 1);
	else
		halves_row(y, hi, apart, lo, n, 0);
}
INLINE void split_put(uint32_t *hi, const int apart, uint16_t *lo, const float *x, int64_t n)
{
	for (int64_t i = 0; i < n / 2; i++)
		hi[i * apart] = word16(x[2 * i], x[2 * i + 1], 1);
	if (n % 2)
		hi[n / 2 * apart] = word16(x[n - 1], 0.0f, 1);
	if (lo)
		for (int64_t i = 0; i < n; i++)
			lo[i] = (uint16_t)f_raw(x[i]);
}

/* where the halves of row j lie from column c on, an even one */
static inline uint32_t *split_hi(const split_args *a, int64_t j, int64_t c) { return a->hi + (j / GEMM_NR * a->kp + c / 2) * GEMM_NR + j % GEMM_NR; }
static inline uint16_t *split_lo(const split_args *a, int64_t j, int64_t c) { return a->lo ? a->lo + j * a->k + c : NULL; }

/* items are panels, counted from that of element at: elements at .. at + count, from x or into it */
INLINE void split_range(const split_args *a, int64_t lo, int64_t hi, const int write)
{
	const int64_t panel = a->at / a->k / GEMM_NR, end = a->at + a->count;
	float row[SPLIT_COLS];
	for (int64_t j0 = (panel + lo) * GEMM_NR; j0 < (panel + hi) * GEMM_NR; j0 += GEMM_NR)
		for (int64_t c0 = 0; c0 < a->k; c0 += SPLIT_COLS)
			for (int64_t j = j0; j < j0 + GEMM_NR && j < a->n; j++) {
				int64_t c1 = c0 + SPLIT_COLS < a->k ? c0 + SPLIT_COLS : a->k, from = a->at - j * a->k, to = end - j * a->k;
				from = from > c0 ? from : c0, to = to < c1 ? to : c1;
				if (from >= to)
					continue;
				float *x = a->x + (j * a->k + from - a->at);
				int whole = from == c0 && (to == c1 || !write);
				if (!whole)
					split_row(row, split_hi(a, j, c0), GEMM_NR, split_lo(a, j, c0), c1 - c0);
				if (!write && whole)
					split_row(x, split_hi(a, j, c0), GEMM_NR, split_lo(a, j, c0), to - from);
				else if (!write)
					memcpy(x, row + (from - c0), (size_t)(to - from) * 4);
				else if (whole)
					split_put(split_hi(a, j, c0), GEMM_NR, split_lo(a, j, c0), x, to - from);
				else {
					memcpy(row + (from - c0), x, (size_t)(to - from) * 4);
					split_put(split_hi(a, j, c0), GEMM_NR, split_lo(a, j, c0), row, c1 - c0);
				}
			}
}
static void k_split_write(const void *args, int64_t lo, int64_t hi, int worker)
{
	(void)worker;
	split_range(args, lo, hi, 1);
}
static void k_split_read(const void *args, int64_t lo, int64_t hi, int worker)
{
	(void)worker;
	split_range(args, lo, hi, 0);
}

/* items are rows of x: of the weight in bf16 those that idx names */
static void k_split_gather(const void *args, int64_t lo, int64_t hi, int worker)
{
	const split_args *a = args;
	(void)worker;
	for (int64_t t = lo; t < hi; t++)
		split_row(a->x + t * a->k, split_hi(a, a->idx[t], 0), GEMM_NR, NULL, a->k);
}

/* rows of a panel from j0 on, columns c0 .. c1 of them in v: into the panels over k that linear_dx reads, neighbouring rows in one word */
static inline void split_turn(const split_args *a, int64_t j0, int64_t rows, int64_t c0, int64_t c1, float (*v)[SPLIT_COLS])
{
	for (int64_t j = 0; j < rows; j += 2)
		for (int64_t c = c0; c < c1; c += GEMM_NR) {
			uint32_t *out = a->back + (c / GEMM_NR * a->np + (j0 + j) / 2) * GEMM_NR;
			pair16(out, v[j] + (c - c0), j + 1 < rows ? v[j + 1] + (c - c0) : NULL, 0.0f, c1 - c < GEMM_NR ? (int)(c1 - c) : GEMM_NR, 1);
		}
}

/* items are panels: back from hi, or a step of AdamW and then back, where it is there. The words of a block are turned into rows and back, so that
 * the arithmetic is on neighbours. */
static inline void split_panels(const split_args *a, int64_t lo, int64_t hi, int worker)
{
	float v[GEMM_NR][SPLIT_COLS];
	uint32_t words[GEMM_NR][SPLIT_COLS / 2];
	for (int64_t p = lo; p < hi; p++) {
		const int64_t j0 = p * GEMM_NR, rows = a->n - j0 < GEMM_NR ? a->n - j0 : GEMM_NR;
		for (int64_t c0 = 0; c0 < a->k; c0 += SPLIT_COLS) {
			const int64_t cols = a->k - c0 < SPLIT_COLS ? a->k - c0 : SPLIT_COLS, deep = (cols + 1) / 2;
			uint32_t *block = split_hi(a, j0, c0);
			for (int64_t w = 0; w < deep; w++)
				for (int j = 0; j < GEMM_NR; j++)
					words[j][w] = block[w * GEMM_NR + j];
			for (int64_t j = 0; j < rows; j++) {
				uint16_t *rest = split_lo(a, j0 + j, c0);
				split_row(v[j], words[j], 1, rest, cols);
				if (a->o.g) {
					optim_args o = a->o;
					const int64_t at = (j0 + j) * a->k + c0;
					o.w = v[j], o.m += at, o.v += at, o.g += at;
					k_adamw(&o, 0, cols, worker);
					split_put(words[j], 1, rest, v[j], cols);
				}
			}
			if (a->o.g)
				for (int64_t w = 0; w < deep; w++)
					for (int j = 0; j < rows; j++)
						block[w * GEMM_NR + j] = words[j][w];
			if (a->back)
				split_turn(a, j0, rows, c0, c0 + cols, v);
		}
	}
}
static void k_split_panels(const void *args, int64_t lo, int64_t hi, int worker) { split_panels(args, lo, hi, worker); }
