/* k_optim.h: AdamW (arXiv 1711.05101) and square norms. */

/* items are blocks of NORM_BLOCK elements, one partial sum each */
static void k_sq_norm(const void *args, int64_t lo, int64_t hi, int worker)
{
	const optim_args *a = args;
	(void)worker;
	for (int64_t b = lo; b < hi; b++) {
		int64_t from = b * NORM_BLOCK, n = a->n - from < NORM_BLOCK ? a->n - from : NORM_BLOCK;
		a->partial[b] = (double)row_dot(a->g + from, a->g + from, n);
	}
}

/* w = w keep - step m / (sqrt(v) rbc2 + eps), keep = 1 - lr decay, step = lr / (1 - beta1^t), rbc2 = 1 / sqrt(1 - beta2^t) */
static void k_adamw(const void *args, int64_t lo, int64_t hi, int worker)
{
	const optim_args *a = args;
	vf keep = v_set1(a->keep), step = v_set1(-a->step), rbc2 = v_set1(a->rbc2), gs = v_set1(a->gscale), eps = v_set1(a->eps);
	vf c1 = v_set1(1.0f - a->beta1), b2 = v_set1(a->beta2), c2 = v_set1(1.0f - a->beta2);
	(void)worker;
	EACH16(lo, hi, i, n, {
		vf g = v_mul(v_get(a->g + i, n), gs), m = v_get(a->m + i, n), v = v_get(a->v + i, n);
		m = v_fma(v_sub(g, m), c1, m);
		v = v_fma(v_mul(g, g), c2, v_mul(v, b2));
		v_put(a->m + i, m, n);
		v_put(a->v + i, v, n);
		vf d = v_fma(v_sqrt(v), rbc2, eps);
		v_put(a->w + i, v_fma(step, v_div(m, d), v_mul(v_get(a->w + i, n), keep)), n);
	})
}
