/* k_attn.h: causal attention. A query's scores are dots of 16 lanes; its keys are taken in chunks of 256 at absolute
 * positions, each chunk closed from scratch (max, sum over 16 lanes, weighted values in ascending order) and the chunks
 * merged in order. So a row's result depends on its own sequence and position alone, and cached decode, chunked prefill
 * and packed training give the same bits. */

#define ATTN_CHUNK 256

/* Where the key of a position lies: rows of packed sequences (the parent's first), or pages. run: how many further
 * positions follow it in memory. */
typedef struct {
	const attn_args *a;
	int64_t first, parent_first, parent_len; /* packed */
	const int32_t *pages;                    /* paged, or NULL */
} attn_keys;

static inline int64_t attn_row(const attn_keys *s, int64_t pos, int64_t *run)
{
	if (s->pages) {
		*run = s->a->slots - pos % s->a->slots;
		return (int64_t)s->pages[pos / s->a->slots] * s->a->slots + pos % s->a->slots;
	}
	if (pos < s->parent_len) {
		*run = s->parent_len - pos;
		return s->parent_first + pos;
	}
	*run = INT64_MAX;
	return s->first + pos - s->parent_len;
}

static inline attn_keys attn_keys_of(const attn_args *a, int64_t seq)
{
	const int32_t *s = a->segs + 3 * seq;
	attn_keys k = {a, s[0], 0, 0, NULL};
	if (s[2] >= 0)
		k.parent_first = a->segs[3 * s[2]], k.parent_len = a->segs[3 * s[2] + 1];
	return k;
}

static inline int64_t attn_from(const attn_args *a, int64_t pos) { return a->window > 0 && pos >= a->window ? pos - a->window + 1 : 0; }

/* scores of positions from..to (inside one chunk that starts at c0) into s, index 0 = c0; the rest of the chunk up to a
 * multiple of 16 is -infinity. Returns how many floats of s count, a multiple of 16. */
static inline int attn_scores(const attn_args *a, const attn_keys *keys, const float *x, const float *base, int64_t g, int64_t c0, int64_t from, int64_t to, float fill, float *s)
{
	int n = (int)((to - c0 + 15) / 16 * 16);
	for (int i = 0; i < n; i++)
		s[i] = fill;
	for (int64_t j = from; j < to;) {
		int64_t run, row = attn_row(keys, j, &run), end = to - j < run ? to : j + run;
		int64_t step = a->g * a->d;
		const float *k = base + (row * a->g + g) * a->d;
		for (; j + 4 <= end; j += 4, k += 4 * step) {
			vf z = v_set1(0.0f), s0 = z, s1 = z, s2 = z, s3 = z;
			EACH16(0, a->d, i, m, {
				vf xv = v_get(x + i, m);
				s0 = v_fma(xv, v_get(k + i, m), s0);
				s1 = v_fma(xv, v_get(k + step + i, m), s1);
				s2 = v_fma(xv, v_get(k + 2 * step + i, m), s2);
				s3 = v_fma(xv, v_get(k + 3 * step + i, m), s3);
			})
			v_sum4(s + (j - c0), s0, s1, s2, s3);
		}
		for (; j < end; j++, k += step)
			s[j - c0] = row_dot(x, k, a->d);
	}
	return n;
}

/* softcap and scale in place: z = cap tanh(s scale / cap), or s scale */
static inline void attn_scale(const attn_args *a, float *s, int n)
{
	vf scale = v_set1(a->scale);
	if (a->softcap > 0) {
		vf cap = v_set1(a->softcap);
		EACH16(0, n, i, m, (void)m; v_store(s + i, v_mul(cap, v_tanh(v_div(v_mul(v_load(s + i), scale), cap))));)
	} else {
		EACH16(0, n, i, m, (void)m; v_store(s + i, v_mul(v_load(s + i), scale));)
	}
}

/* out[d] = sum over positions from..to ascending of p[j - c0] row_j[d] (+ out where add) */
static inline void attn_mix(const attn_args *a, const attn_keys *keys, const float *base, int64_t g, int64_t c0, int64_t from, int64_t to, const float *p, float *out, int add)
{
	for (int64_t d0 = 0; d0 < a->d; d0 += 64) {
		int w = a->d - d0 < 64 ? (int)(a->d - d0) : 64;
		vf s[4];
		for (int b = 0; b < 4; b++)
			s[b] = add && w > 16 * b ? v_get(out + d0 + 16 * b, w - 16 * b < 16 ? w - 16 * b : 16) : v_set1(0.0f);
		for (int64_t j = from; j < to;) {
			int64_t run, row = attn_row(keys, j, &run), end = to - j < run ? to : j + run;
			const float *v = base + (row * a->g + g) * a->d + d0;
			if (w == 64)
				for (; j < end; j++, v += a->g * a->d) {
					vf pj = v_set1(p[j - c0]);
#pragma GCC unroll 4
					for (int b = 0; b < 4; b++)
						s[b] = v_fma(pj, v_load(v + 16 * b), s[b]);
				}
			else if (w == 32)
				for (; j < end; j++, v += a->g * a->d) {
					vf pj = v_set1(p[j - c0]);
#pragma GCC unroll 2
					for (int b = 0; b < 2; b++)
						s[b] = v_fma(pj, v_load(v + 16 * b), s[b]);
				}
			else
				for (; j < end; j++, v += a->g * a->d)
					for (int b = 0; 16 * b < w; b++)
						s[b] = v_fma(v_set1(p[j - c0]), v_get(v + 16 * b, w - 16 * b < 16 ? w - 16 * b : 16), s[b]);
		}
		for (int b = 0; 16 * b < w; b++)
			v_put(out + d0 + 16 * b, s[b], w - 16 * b < 16 ? w - 16 * b : 16);
	}
}

/* one query row of one head: o, and the log of the denominator */
static float attn_one(const attn_args *a, const attn_keys *keys, const float *q, int64_t g, int64_t pos, float *o)
{
	float s[ATTN_CHUNK], part[512], m = 0, l = 0;
	int64_t from = attn_from(a, pos), first = from / ATTN_CHUNK * ATTN_CHUNK;
	for (int64_t c0 = first; c0 <= pos; c0 += ATTN_CHUNK) {
		int64_t j0 = c0 > from ? c0 : from, j1 = pos + 1 - c0 < ATTN_CHUNK ? pos + 1 : c0 + ATTN_CHUNK;
		int n = attn_scores(a, keys, q, a->k, g, c0, j0, j1, 0.0f, s);
		attn_scale(a, s, n);
		for (int64_t j = 0; j < n; j++)
			if (c0 + j < j0 || c0 + j >= j1)
				s[j] = -INFINITY;
		vf mv = v_load(s);
		for (int i = 16; i < n; i += 16)
			mv = v_max(mv, v_load(s + i));
		float mc = v_hmax(mv);
		vf sum = v_set1(0.0f), mcv = v_set1(mc);
		for (int i = 0; i < n; i += 16) {
			vf e = v_exp(v_sub(v_load(s + i), mcv));
			v_store(s + i, e);
			sum = v_add(sum, e);
		}
		float lc = v_sum(sum);
		if (c0 == first) {
			attn_mix(a, keys, a->v, g, c0, j0, j1, s, o, 0);
			m = mc, l = lc;
			continue;
		}
		attn_mix(a, keys, a->v, g, c0, j0, j1, s, part, 0);
		float top = mc > m ? mc : m, old = f_exp(m - top), add = f_exp(mc - top);
		vf ov = v_set1(old), av = v_set1(add);
		EACH16(0, a->d, i, w, v_put(o + i, v_fma(v_get(part + i, w), av, v_mul(v_get(o + i, w), ov)), w);)
		l = fmaf(lc, add, l * old);
		m = top;
	}
	vf lv = v_set1(l);
	EACH16(0, a->d, i, w, v_put(o + i, v_div(v_get(o + i, w), lv), w);)
	return m + f_log(l);
}

/* items are rows */
static void k_attn(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	(void)worker;
	for (int64_t t = lo; t < hi; t++) {
		attn_keys keys = attn_keys_of(a, a->rows_seq[t]);
		int64_t pos = t - keys.first + keys.parent_len;
		for (int64_t h = 0; h < a->h; h++)
			a->lse[t * a->h + h] = attn_one(a, &keys, a->q + (t * a->h + h) * a->d, h * a->g / a->h, pos, a->o + (t * a->h + h) * a->d);
	}
}

static void k_attn_paged(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	(void)worker;
	for (int64_t t = lo; t < hi; t++) {
		attn_keys keys = {a, 0, 0, 0, a->table + a->rows[2 * t] * a->table_cols};
		for (int64_t h = 0; h < a->h; h++)
			attn_one(a, &keys, a->q + (t * a->h + h) * a->d, h * a->g / a->h, a->rows[2 * t + 1], a->o + (t * a->h + h) * a->d);
	}
}

/* row_j += c_j x over positions from..to: the gradients of keys and values */
static inline void attn_spread(const attn_args *a, const attn_keys *keys, float *base, int64_t g, int64_t c0, int64_t from, int64_t to, const float *c, const float *x)
{
	for (int64_t j = from; j < to;) {
		int64_t run, row = attn_row(keys, j, &run), end = to - j < run ? to : j + run;
		float *k = base + (row * a->g + g) * a->d;
		for (; j < end; j++, k += a->g * a->d) {
			vf cj = v_set1(c[j - c0]);
			EACH16(0, a->d, i, m, v_put(k + i, v_fma(cj, v_get(x + i, m), v_get(k + i, m)), m);)
		}
	}
}

/* One query row of one head, flash-attention's backward (arXiv 2205.14135, algorithm 4): p = exp(s - lse),
 * ds = p (do.v - do.o), dq += ds k, dk += ds q, dv += p do. */
static void attn_grad_one(const attn_args *a, const attn_keys *keys, int64_t t, int64_t h, int64_t g, int64_t pos)
{
	float p[ATTN_CHUNK], z[ATTN_CHUNK], ds[ATTN_CHUNK];
	const float *q = a->q + (t * a->h + h) * a->d, *dout = a->dout + (t * a->h + h) * a->d;
	float *dq = a->dq + (t * a->h + h) * a->d;
	vf delta = v_set1(row_dot(dout, a->oin + (t * a->h + h) * a->d, a->d)), lse = v_set1(a->lse_in[t * a->h + h]), scale = v_set1(a->scale);
	int64_t from = attn_from(a, pos), first = from / ATTN_CHUNK * ATTN_CHUNK;
	for (int64_t c0 = first; c0 <= pos; c0 += ATTN_CHUNK) {
		int64_t j0 = c0 > from ? c0 : from, j1 = pos + 1 - c0 < ATTN_CHUNK ? pos + 1 : c0 + ATTN_CHUNK;
		int n = attn_scores(a, keys, q, a->k, g, c0, j0, j1, 0.0f, z);
		attn_scale(a, z, n);
		attn_scores(a, keys, dout, a->v, g, c0, j0, j1, 0.0f, ds);
		for (int i = 0; i < n; i += 16) {
			vf zv = v_load(z + i), pv = v_exp(v_sub(zv, lse)), d = v_mul(v_mul(pv, v_sub(v_load(ds + i), delta)), scale);
			if (a->softcap > 0) {
				vf c = v_div(zv, v_set1(a->softcap));
				d = v_mul(d, v_sub(v_set1(1.0f), v_mul(c, c)));
			}
			v_store(p + i, pv);
			v_store(ds + i, d);
		}
		attn_mix(a, keys, a->k, g, c0, j0, j1, ds, dq, c0 != first);
		attn_spread(a, keys, a->dk, g, c0, j0, j1, ds, q);
		attn_spread(a, keys, a->dv, g, c0, j0, j1, p, dout);
	}
}

/* items are (family, key head): a sequence without a parent and all its children, whose gradients meet in the shared rows.
 * Queries in order, heads in order. */
static void k_attn_grad(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	(void)worker;
	for (int64_t item = lo; item < hi; item++) {
		int64_t root = item / a->g, g = item % a->g, per = a->h / a->g;
		if (a->segs[3 * root + 2] >= 0)
			continue; /* its root does it */
		for (int64_t s = root; s < (a->shared ? a->nseqs : root + 1); s++) {
			if (s != root && a->segs[3 * s + 2] != root)
				continue;
			int64_t first = a->segs[3 * s], n = a->segs[3 * s + 1];
			for (int64_t t = first; t < first + n; t++) {
				memset(a->dk + (t * a->g + g) * a->d, 0, (size_t)a->d * sizeof(float));
				memset(a->dv + (t * a->g + g) * a->d, 0, (size_t)a->d * sizeof(float));
			}
			attn_keys keys = attn_keys_of(a, s);
			for (int64_t t = first; t < first + n; t++)
				for (int64_t h = g * per; h < (g + 1) * per; h++)
					attn_grad_one(a, &keys, t, h, g, t - first + keys.parent_len);
		}
	}
}
