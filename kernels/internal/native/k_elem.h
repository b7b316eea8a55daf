/* k_elem.h: element-wise kernels, reductions, rows by number. */

/* for each 16 of elements lo..hi: body sees i, m (how many are left, at most 16) */
#define EACH16(lo, hi, i, m, ...) \
	for (int64_t i = (lo); i < (hi); i += 16) { \
		int m = (hi) - i < 16 ? (int)((hi) - i) : 16; \
		__VA_ARGS__ \
	}
static inline vf v_get(const float *p, int m) { return m == 16 ? v_load(p) : v_loadn(p, m); }
static inline void v_put(float *p, vf x, int m)
{
	if (m == 16)
		v_store(p, x);
	else
		v_storen(p, x, m);
}

/* tanh form of GELU: x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3); its slope */
static inline vf v_gelu_u(vf x)
{
	vf c = v_set1(0x1.988454p-1f);
	return v_mul(v_mul(c, x), v_fma(v_mul(x, x), v_set1(0.044715f), v_set1(1.0f)));
}
static inline vf v_gelu(vf x)
{
	vf h = v_mul(x, v_set1(0.5f));
	return v_fma(h, v_tanh(v_gelu_u(x)), h);
}
static inline vf v_gelu_slope(vf x)
{
	vf one = v_set1(1.0f), half = v_set1(0.5f), t = v_tanh(v_gelu_u(x));
	vf du = v_mul(v_set1(0x1.988454p-1f), v_fma(v_mul(x, x), v_set1(3 * 0.044715f), one));
	vf sech2 = v_sub(one, v_mul(t, t));
	return v_mul(half, v_add(v_add(one, t), v_mul(v_mul(x, sech2), du)));
}
static inline vf v_silu(vf x) { return v_mul(x, v_sigmoid(x)); }
static inline vf v_silu_slope(vf x)
{
	vf one = v_set1(1.0f), s = v_sigmoid(x);
	return v_mul(s, v_fma(x, v_sub(one, s), one));
}
/* log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)) */
static inline vf v_log_sigmoid(vf x)
{
	return v_sub(v_min(x, v_set1(0.0f)), v_log(v_add(v_set1(1.0f), v_exp(v_neg(v_abs(x))))));
}

static void k_unary(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	float *y = e->y;
	(void)worker;
#define UNARY(code, expr) case code: EACH16(lo, hi, i, m, { vf x = v_get(e->a + i, m); v_put(y + i, (expr), m); }) break;
	switch (e->op) {
		UNARY(R1_NEG, v_neg(x))
		UNARY(R1_EXP, v_exp(x))
		UNARY(R1_LOG, v_log(x))
		UNARY(R1_SQUARE, v_mul(x, x))
		UNARY(R1_SQRT, v_sqrt(x))
		UNARY(R1_RSQRT, v_div(v_set1(1.0f), v_sqrt(x)))
		UNARY(R1_RECIPROCAL, v_div(v_set1(1.0f), x))
		UNARY(R1_ABS, v_abs(x))
		UNARY(R1_TANH, v_tanh(x))
		UNARY(R1_SIGMOID, v_sigmoid(x))
		UNARY(R1_SILU, v_silu(x))
		UNARY(R1_GELU, v_gelu(x))
		UNARY(R1_RELU, v_max(x, v_set1(0.0f)))
		UNARY(R1_LOG_SIGMOID, v_log_sigmoid(x))
	}
#undef UNARY
}

/* a = dy, b = x, z = y */
static void k_unary_grad(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	vf one = v_set1(1.0f), zero = v_set1(0.0f);
	(void)worker;
#define GRAD(code, slope) case code: EACH16(lo, hi, i, m, { \
		vf g = v_get(e->a + i, m), x = v_get(e->b + i, m), y = v_get(e->z + i, m); \
		(void)x; (void)y; \
		v_put(e->y + i, v_mul(g, (slope)), m); }) break;
	switch (e->op) {
		GRAD(R1_NEG, v_set1(-1.0f))
		GRAD(R1_EXP, y)
		GRAD(R1_LOG, v_div(one, x))
		GRAD(R1_SQUARE, v_add(x, x))
		GRAD(R1_SQRT, v_div(v_set1(0.5f), y))
		GRAD(R1_RSQRT, v_mul(v_set1(-0.5f), v_mul(y, v_mul(y, y))))
		GRAD(R1_RECIPROCAL, v_neg(v_mul(y, y)))
		GRAD(R1_ABS, v_gt(x, zero, one, v_gt(zero, x, v_set1(-1.0f), zero)))
		GRAD(R1_TANH, v_sub(one, v_mul(y, y)))
		GRAD(R1_SIGMOID, v_mul(y, v_sub(one, y)))
		GRAD(R1_SILU, v_silu_slope(x))
		GRAD(R1_GELU, v_gelu_slope(x))
		GRAD(R1_RELU, v_gt(x, zero, one, zero))
		GRAD(R1_LOG_SIGMOID, v_sigmoid(v_neg(x)))
	}
#undef GRAD
}

static inline vf v_binary(int op, vf a, vf b)
{
	vf one = v_set1(1.0f), zero = v_set1(0.0f);
	switch (op) {
	case R1_ADD: return v_add(a, b);
	case R1_SUB: return v_sub(a, b);
	case R1_MUL: return v_mul(a, b);
	case R1_DIV: return v_div(a, b);
	case R1_MAX: return v_max(a, b);
	case R1_MIN: return v_min(a, b);
	case R1_LESS: return v_gt(b, a, one, zero);
	case R1_GREATER: return v_gt(a, b, one, zero);
	default: return v_eq(a, b, one, zero);
	}
}

/* items are elements for SAME and SCALAR, rows for ROW and COL */
static void k_binary(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	int flat = e->how == R1_SAME || e->how == R1_SCALAR, each = e->how == R1_SAME || e->how == R1_ROW;
	(void)worker;
	for (int64_t r = flat ? 0 : lo; r < (flat ? 1 : hi); r++) {
		const float *a = e->a + r * e->cols, *b = e->b + (e->how == R1_COL ? r : 0);
		float *y = e->y + r * e->cols;
		int64_t from = flat ? lo : 0, end = flat ? hi : e->cols;
		vf b1 = v_set1(b[0]);
#define BINARY(code) case code: EACH16(from, end, i, m, v_put(y + i, v_binary(code, v_get(a + i, m), each ? v_get(b + i, m) : b1), m);) break;
		switch (e->op) {
			BINARY(R1_ADD) BINARY(R1_SUB) BINARY(R1_MUL) BINARY(R1_DIV) BINARY(R1_MAX) BINARY(R1_MIN) BINARY(R1_LESS) BINARY(R1_GREATER) BINARY(R1_EQUAL)
		}
#undef BINARY
	}
}

static void k_affine(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	vf s = v_set1(e->s0), t = v_set1(e->s1);
	(void)worker;
	EACH16(lo, hi, i, m, { v_put(e->y + i, v_fma(v_get(e->a + i, m), s, t), m); })
}

static void k_fma(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	(void)worker;
	EACH16(lo, hi, i, m, { v_put(e->y + i, v_fma(v_get(e->a + i, m), v_get(e->b + i, m), v_get(e->z + i, m)), m); })
}

static void k_clamp(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	vf l = v_set1(e->s0), h = v_set1(e->s1);
	(void)worker;
	/* NaN stays NaN: comparisons with it choose x */
	EACH16(lo, hi, i, m, { vf x = v_get(e->a + i, m); x = v_gt(l, x, l, x); v_put(e->y + i, v_gt(x, h, h, x), m); })
}

/* a = cond, b, z */
static void k_select(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	vf zero = v_set1(0.0f);
	(void)worker;
	EACH16(lo, hi, i, m, { v_put(e->y + i, v_eq(v_get(e->a + i, m), zero, v_get(e->z + i, m), v_get(e->b + i, m)), m); })
}

/* The order of every sum along a row: 16 lanes (k mod 16) over 1,024 elements at a time, each 1,024 closed by the tree of
 * v_sum, the sums added in order. */
#define ROW_CHUNK 1024
static inline float row_sum1(const float *x, int64_t n)
{
	float total = 0;
	for (int64_t c = 0; c < n; c += ROW_CHUNK) {
		int64_t end = n - c < ROW_CHUNK ? n : c + ROW_CHUNK;
		vf acc = v_set1(0.0f);
		EACH16(c, end, i, m, { acc = v_add(acc, v_get(x + i, m)); })
		total = c ? total + v_sum(acc) : v_sum(acc);
	}
	return total;
}

static inline float row_dot(const float *x, const float *y, int64_t n)
{
	float total = 0;
	for (int64_t c = 0; c < n; c += ROW_CHUNK) {
		int64_t end = n - c < ROW_CHUNK ? n : c + ROW_CHUNK;
		vf acc = v_set1(0.0f);
		EACH16(c, end, i, m, { acc = v_fma(v_get(x + i, m), v_get(y + i, m), acc); })
		total = c ? total + v_sum(acc) : v_sum(acc);
	}
	return total;
}

static void k_row_sum(const void *args, int64_t lo, int64_t hi, int worker)
{
	const reduce_args *e = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++)
		e->y[r] = row_sum1(e->x + r * e->cols, e->cols);
}

static void k_row_max(const void *args, int64_t lo, int64_t hi, int worker)
{
	const reduce_args *e = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		const float *x = e->x + r * e->cols;
		float best = x[0];
		for (int64_t i = 1; i < e->cols; i++)
			best = x[i] > best ? x[i] : best;
		e->y[r] = best;
	}
}

/* items are blocks of 16 columns: y[d] += x[0,d] + x[1,d] + .., one chain down the rows */
static void k_col_sum(const void *args, int64_t lo, int64_t hi, int worker)
{
	const reduce_args *e = args;
	(void)worker;
	for (int64_t b = lo; b < hi; b++) {
		int m = e->cols - 16 * b < 16 ? (int)(e->cols - 16 * b) : 16;
		vf acc = v_get(e->y + 16 * b, m);
		for (int64_t r = 0; r < e->rows; r++)
			acc = v_add(acc, v_get(e->x + r * e->cols + 16 * b, m));
		v_put(e->y + 16 * b, acc, m);
	}
}

/* items are sequences */
static void k_seg_sum(const void *args, int64_t lo, int64_t hi, int worker)
{
	const reduce_args *e = args;
	(void)worker;
	for (int64_t s = lo; s < hi; s++)
		e->y[s] = row_sum1(e->x + e->idx[3 * s], e->idx[3 * s + 1]);
}

static void k_seg_scan(const void *args, int64_t lo, int64_t hi, int worker)
{
	const reduce_args *e = args;
	(void)worker;
	for (int64_t s = lo; s < hi; s++) {
		int64_t from = e->idx[3 * s], n = e->idx[3 * s + 1];
		float acc = 0;
		for (int64_t i = 0; i < n; i++) {
			int64_t t = e->reverse ? from + n - 1 - i : from + i;
			acc = acc + e->x[t];
			e->y[t] = acc;
		}
	}
}

/* items are blocks of 64 columns: y[idx[t], :] += x[t, :] for ascending t */
static void k_scatter_add(const void *args, int64_t lo, int64_t hi, int worker)
{
	const reduce_args *e = args;
	(void)worker;
	for (int64_t b = lo; b < hi; b++) {
		int64_t from = 64 * b, end = e->cols - from < 64 ? e->cols : from + 64;
		for (int64_t t = 0; t < e->nidx; t++) {
			float *y = e->y + e->idx[t] * e->cols;
			const float *x = e->x + t * e->cols;
			EACH16(from, end, i, m, { v_put(y + i, v_add(v_get(y + i, m), v_get(x + i, m)), m); })
		}
	}
}
