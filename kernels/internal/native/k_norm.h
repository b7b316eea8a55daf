/* k_norm.h: RMSNorm (arXiv 1910.07467), rotary positions (2104.09864), gated units (2002.05202). */

static void k_rmsnorm(const void *args, int64_t lo, int64_t hi, int worker)
{
	const norm_args *a = args;
	int64_t c = a->cols;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		const float *x = a->x + r * c;
		float rstd = 1.0f / sqrtf(row_dot(x, x, c) / (float)c + a->eps);
		vf s = v_set1(rstd);
		a->rstd[r] = rstd;
		EACH16(0, c, i, m, { v_put(a->y + r * c + i, v_mul(v_mul(v_get(x + i, m), s), v_get(a->w + i, m)), m); })
	}
}

/* dx = rstd (g - xhat mean(g xhat)), g = dy w, xhat = x rstd */
static void k_rmsnorm_dx(const void *args, int64_t lo, int64_t hi, int worker)
{
	const norm_args *a = args;
	int64_t c = a->cols;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		const float *x = a->x + r * c, *dy = a->dy + r * c;
		float total = 0;
		for (int64_t k = 0; k < c; k += ROW_CHUNK) {
			int64_t end = c - k < ROW_CHUNK ? c : k + ROW_CHUNK;
			vf acc = v_set1(0.0f);
			EACH16(k, end, i, m, { acc = v_fma(v_mul(v_get(dy + i, m), v_get(a->w + i, m)), v_get(x + i, m), acc); })
			total = k ? total + v_sum(acc) : v_sum(acc);
		}
		float s = a->rstd_in[r];
		vf sv = v_set1(s), mean = v_set1(total * s * s / (float)c);
		EACH16(0, c, i, m, {
			vf g = v_mul(v_get(dy + i, m), v_get(a->w + i, m));
			v_put(a->y + r * c + i, v_mul(sv, v_fma(v_neg(v_get(x + i, m)), mean, g)), m);
		})
	}
}

/* items are blocks of 16 columns: dw[d] += dy x rstd, one chain down the rows */
static void k_rmsnorm_dw(const void *args, int64_t lo, int64_t hi, int worker)
{
	const norm_args *a = args;
	int64_t c = a->cols;
	(void)worker;
	for (int64_t b = lo; b < hi; b++) {
		int m = c - 16 * b < 16 ? (int)(c - 16 * b) : 16;
		vf acc = v_get(a->dw + 16 * b, m);
		for (int64_t r = 0; r < a->rows; r++)
			acc = v_fma(v_get(a->dy + r * c + 16 * b, m), v_mul(v_get(a->x + r * c + 16 * b, m), v_set1(a->rstd_in[r])), acc);
		v_put(a->dw + 16 * b, acc, m);
	}
}

/* one head whose neighbours turn; plain code, no fma: the same bits on every instruction set */
static void rope_pairs(float *y, const float *x, const float *cs, int64_t half, float sign)
{
	for (int64_t i = 0; i < half; i++) {
		float c = cs[i], s = sign * cs[half + i], x1 = x[2 * i], x2 = x[2 * i + 1];
		y[2 * i] = x1 * c - x2 * s;
		y[2 * i + 1] = x2 * c + x1 * s;
	}
}

/* items are rows: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin over the two halves of each head, or over its neighbours */
static void k_rope(const void *args, int64_t lo, int64_t hi, int worker)
{
	const rope_args *a = args;
	int64_t half = a->d / 2;
	vf sign = v_set1(a->sign);
	(void)worker;
	for (int64_t t = lo; t < hi; t++) {
		const float *cs = a->table + a->pos[t] * a->d;
		for (int64_t h = 0; h < a->heads; h++) {
			const float *x = a->x + (t * a->heads + h) * a->d;
			float *y = a->y + (t * a->heads + h) * a->d;
			if (a->pairs) {
				rope_pairs(y, x, cs, half, a->sign);
				continue;
			}
			EACH16(0, half, i, m, {
				vf c = v_get(cs + i, m), s = v_mul(sign, v_get(cs + half + i, m)), x1 = v_get(x + i, m), x2 = v_get(x + half + i, m);
				v_put(y + i, v_fma(x1, c, v_neg(v_mul(x2, s))), m);
				v_put(y + half + i, v_fma(x2, c, v_mul(x1, s)), m);
			})
		}
	}
}

/* a = gate, b = up */
static void k_glu(const void *args, int64_t lo, int64_t hi, int worker)
{
	const elem_args *e = args;
	(void)worker;
	if (e->op == R1_GATE_SILU)
		EACH16(lo, hi, i, m, { v_put(e->y + i, v_mul(v_silu(v_get(e->a + i, m)), v_get(e->b + i, m)), m); })
	else
		EACH16(lo, hi, i, m, { v_put(e->y + i, v_mul(v_gelu(v_get(e->a + i, m)), v_get(e->b + i, m)), m); })
}

static void k_glu_grad(const void *args, int64_t lo, int64_t hi, int worker)
{
	const glu_grad_args *g = args;
	const elem_args *e = &g->e;
	(void)worker;
	if (e->op == R1_GATE_SILU)
		EACH16(lo, hi, i, m, {
			vf one = v_set1(1.0f), x = v_get(e->a + i, m), u = v_get(e->b + i, m), dy = v_get(g->dy + i, m), s = v_sigmoid(x);
			v_put(g->dup + i, v_mul(dy, v_mul(x, s)), m);
			v_put(e->y + i, v_mul(v_mul(dy, u), v_mul(s, v_fma(x, v_sub(one, s), one))), m);
		})
	else
		EACH16(lo, hi, i, m, {
			vf x = v_get(e->a + i, m), u = v_get(e->b + i, m), dy = v_get(g->dy + i, m);
			v_put(g->dup + i, v_mul(dy, v_gelu(x)), m);
			v_put(e->y + i, v_mul(v_mul(dy, u), v_gelu_slope(x)), m);
		})
}
