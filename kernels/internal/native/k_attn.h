/* k_attn.h: causal attention. A query's keys are taken in chunks of 256 at absolute positions, each chunk closed from
 * scratch (max, sum over 16 lanes, weighted values in ascending order) and the chunks merged in order. So a row's result
 * depends on its own sequence and position alone, and cached decode, chunked prefill and packed training give the same
 * bits. Which queries go through a chunk together is a matter of speed: those of a block of rows that have its keys in
 * common, all heads of a key head, whatever their sequences. */

#include "k_attn_tile.h"

/* One row: where the keys of its sequence lie, in rows of packed sequences (the parent's first) or in pages; its position;
 * its first key. */
typedef struct {
	int64_t first, parent_first, parent_len; /* packed */
	const int32_t *pages;                    /* paged, or NULL */
	int64_t pos, from;
} attn_row;

static inline attn_row attn_at(const attn_args *a, int64_t t)
{
	attn_row r = {0};
	if (a->table) {
		r.pages = a->table + a->rows[2 * t] * a->table_cols;
		r.pos = a->rows[2 * t + 1];
	} else {
		const int32_t *s = a->segs + 3 * (int64_t)a->rows_seq[t];
		r.first = s[0];
		if (s[2] >= 0)
			r.parent_first = a->segs[3 * s[2]], r.parent_len = a->segs[3 * s[2] + 1];
		r.pos = t - r.first + r.parent_len;
	}
	r.from = a->window > 0 && r.pos >= a->window ? r.pos - a->window + 1 : 0;
	return r;
}

static inline int64_t attn_key(const attn_args *a, const attn_row *r, int64_t pos)
{
	if (r->pages)
		return (int64_t)r->pages[pos / a->slots] * a->slots + pos % a->slots;
	return pos < r->parent_len ? r->parent_first + pos : r->first + pos - r->parent_len;
}

/* whether two rows have all keys of the chunk at c0 in common, as far as either sees them */
static inline int attn_same(const attn_args *a, const attn_row *x, const attn_row *y, int64_t c0)
{
	int64_t end = (x->pos > y->pos ? x->pos : y->pos) + 1;
	if (end > c0 + ATTN_CHUNK)
		end = c0 + ATTN_CHUNK;
	if (x->pages) {
		int64_t page = c0 / a->slots;
		return x->pages == y->pages || !memcmp(x->pages + page, y->pages + page, (size_t)((end - 1) / a->slots - page + 1) * sizeof *x->pages);
	}
	return x->first == y->first || (x->parent_first == y->parent_first && end <= x->parent_len && end <= y->parent_len);
}

/* Queries that go through one chunk together. Keys count from the chunk's first. */
typedef struct {
	const attn_args *a;
	float *s, *ds, *turned, *part, *padded; /* of the worker's scratch */
	int64_t dp;                             /* d rounded up to 16 */
	attn_row row;                           /* whose keys they are */
	int n;
	int64_t q[ATTN_Q];              /* where a query lies, in floats from a->q */
	int32_t lo[ATTN_Q], hi[ATTN_Q]; /* the keys it sees */
	int32_t from, to;               /* what any of them sees, from rounded down to 16 */
	int64_t key[ATTN_CHUNK];        /* where a key lies, in floats from a->k */
} attn_work;

static inline void attn_begin(attn_work *w, const attn_args *a, int worker)
{
	w->a = a;
	w->dp = (a->d + 15) / 16 * 16;
	w->s = a->scratch + worker * a->scratch_worker;
	w->ds = w->s + ATTN_Q * ATTN_CHUNK;
	w->turned = w->ds + ATTN_Q * ATTN_CHUNK;
	w->part = w->turned + 16 * w->dp;
	w->padded = w->part + ATTN_Q * w->dp;
}

/* Takes queries of key head g from number i on, row by row and its heads in order, that see the chunk at c0 and have its
 * keys in common. Rows t0..t1. Returns the number of the first that was left. */
static int64_t attn_take(attn_work *w, int64_t i, int64_t t0, int64_t t1, int64_t g, int64_t c0)
{
	const attn_args *a = w->a;
	int64_t per = a->h / a->g;
	w->n = 0, w->from = ATTN_CHUNK, w->to = 0;
	for (; i < (t1 - t0) * per && w->n < ATTN_Q; i++) {
		int64_t t = t0 + i / per;
		attn_row r = attn_at(a, t);
		if (r.pos < c0 || r.from >= c0 + ATTN_CHUNK)
			continue;
		if (!w->n)
			w->row = r;
		else if (!attn_same(a, &w->row, &r, c0))
			break;
		int n = w->n++;
		w->q[n] = (t * a->h + g * per + i % per) * a->d;
		w->lo[n] = r.from > c0 ? (int32_t)(r.from - c0) : 0;
		w->hi[n] = r.pos + 1 - c0 < ATTN_CHUNK ? (int32_t)(r.pos + 1 - c0) : ATTN_CHUNK;
		if (w->lo[n] < w->from)
			w->from = w->lo[n] / 16 * 16;
		if (w->hi[n] > w->to)
			w->to = w->hi[n], w->row.pos = r.pos;
	}
	for (int32_t j = w->from; j < w->to; j++)
		w->key[j] = (attn_key(a, &w->row, c0 + j) * a->g + g) * a->d;
	return i;
}

/* s[i][j] = x_i . y_j for the queries and keys at hand */
static void attn_scores(attn_work *w, const float *x, const float *y, float *s)
{
	const float *xq[ATTN_Q];
	int64_t d = w->a->d;
	for (int i = 0; i < w->n; i++)
		xq[i] = x + w->q[i];
	if (w->n <= ATTN_QT) {
		few[w->n - 1](d, xq, y, w->key, w->from, w->to, s);
		return;
	}
	for (int i = 0; d != w->dp && i < w->n; i++) {
		float *to = w->padded + i * w->dp;
		memset(to + d, 0, (size_t)(w->dp - d) * sizeof *to);
		xq[i] = memcpy(to, xq[i], (size_t)d * sizeof *to);
	}
	for (int32_t j = w->from; j < w->to; j += 16) {
		attn_turn(d, w->to - j < 16 ? w->to - j : 16, y, w->key + j, w->turned);
		for (int i = 0; i < w->n; i += ATTN_QT) {
			int n = w->n - i < ATTN_QT ? w->n - i : ATTN_QT, sees = 0;
			for (int q = i; q < i + n; q++)
				sees |= w->hi[q] > j && w->lo[q] < j + 16;
			if (sees)
				dots[n - 1](w->dp, xq + i, w->turned, s + i * ATTN_CHUNK + j);
		}
	}
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

/* scores of keys lo..hi into weights in place; their max and the sum of their exponentials */
static void attn_weigh(const attn_args *a, float *s, int lo, int hi, float *max, float *total)
{
	int n = (hi + 15) / 16 * 16;
	attn_scale(a, s, n);
	for (int j = 0; j < lo; j++)
		s[j] = -INFINITY;
	for (int j = hi; j < n; j++)
		s[j] = -INFINITY;
	vf mv = v_load(s);
	for (int i = 16; i < n; i += 16)
		mv = v_max(mv, v_load(s + i));
	float m = v_hmax(mv);
	vf sum = v_set1(0.0f), mcv = v_set1(m);
	for (int i = 0; i < n; i += 16) {
		vf e = v_exp(v_sub(v_load(s + i), mcv));
		v_store(s + i, e);
		sum = v_add(sum, e);
	}
	*max = m, *total = v_sum(sum);
}

/* adds a closed chunk to a query's result so far; state is its max and denominator */
static void attn_merge(const attn_args *a, float *state, float *o, const float *part, float max, float total, int first, int last)
{
	if (first) {
		memcpy(o, part, (size_t)a->d * sizeof *o);
		state[0] = max, state[1] = total;
	} else {
		float top = max > state[0] ? max : state[0], old = f_exp(state[0] - top), add = f_exp(max - top);
		vf ov = v_set1(old), av = v_set1(add);
		EACH16(0, a->d, i, m, v_put(o + i, v_fma(v_get(part + i, m), av, v_mul(v_get(o + i, m), ov)), m);)
		state[1] = fmaf(total, add, state[1] * old);
		state[0] = top;
	}
	if (last) {
		vf lv = v_set1(state[1]);
		EACH16(0, a->d, i, m, v_put(o + i, v_div(v_get(o + i, m), lv), m);)
	}
}

/* closes the chunk at c0 for the queries at hand and merges it into their results */
static void attn_close(attn_work *w, int64_t c0)
{
	const attn_args *a = w->a;
	float max[ATTN_Q], total[ATTN_Q];
	int64_t at[ATTN_Q];
	attn_scores(w, a->q, a->k, w->s);
	for (int i = 0; i < w->n; i++) {
		attn_weigh(a, w->s + i * ATTN_CHUNK, w->lo[i], w->hi[i], max + i, total + i);
		at[i] = i * w->dp;
	}
	memset(w->part, 0, (size_t)(w->n * w->dp) * sizeof *w->part);
	attn_mix(a->d, w->n, w->lo, w->hi, w->s, ATTN_CHUNK, 1, a->v, w->key, w->part, at);
	for (int i = 0; i < w->n; i++) {
		int64_t t = w->q[i] / a->d / a->h;
		attn_row r = attn_at(a, t);
		float *state = a->state + 2 * (w->q[i] / a->d);
		attn_merge(a, state, a->o + w->q[i], w->part + at[i], max[i], total[i], r.from >= c0, r.pos < c0 + ATTN_CHUNK);
		if (a->lse && r.pos < c0 + ATTN_CHUNK)
			a->lse[w->q[i] / a->d] = state[0] + f_log(state[1]);
	}
}

/* items are (block of rows, key head) */
static void k_attn(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	attn_work w;
	attn_begin(&w, a, worker);
	for (int64_t item = lo; item < hi; item++) {
		int64_t g = item % a->g, t0 = a->blocks[item / a->g], t1 = a->blocks[item / a->g + 1], from = INT64_MAX, pos = 0;
		for (int64_t t = t0; t < t1; t++) {
			attn_row r = attn_at(a, t);
			from = r.from < from ? r.from : from;
			pos = r.pos > pos ? r.pos : pos;
		}
		for (int64_t c0 = from / ATTN_CHUNK * ATTN_CHUNK; c0 <= pos; c0 += ATTN_CHUNK)
			for (int64_t i = 0; i < (t1 - t0) * (a->h / a->g);) {
				i = attn_take(&w, i, t0, t1, g, c0);
				if (w.n)
					attn_close(&w, c0);
			}
	}
}

/* p = exp(z - lse), ds = p (dp - delta) scale: one query's keys, from z and dp = do.v in place */
static inline void attn_slope(const attn_args *a, float *s, float *ds, int n, float log_sum, float dot)
{
	vf delta = v_set1(dot), lse = v_set1(log_sum), scale = v_set1(a->scale);
	attn_scale(a, s, n);
	for (int i = 0; i < n; i += 16) {
		vf zv = v_load(s + i), pv = v_exp(v_sub(zv, lse)), d = v_mul(v_mul(pv, v_sub(v_load(ds + i), delta)), scale);
		if (a->softcap > 0) {
			vf c = v_div(zv, v_set1(a->softcap));
			d = v_mul(d, v_sub(v_set1(1.0f), v_mul(c, c)));
		}
		v_store(s + i, pv);
		v_store(ds + i, d);
	}
}

/* One chunk of the queries at hand, flash-attention's backward (arXiv 2205.14135, algorithm 4): dq += ds k, dk += ds q,
 * dv += p do. The queries are in order, so those that see a key follow one another. */
static void attn_grad_chunk(attn_work *w)
{
	const attn_args *a = w->a;
	int32_t first[ATTN_CHUNK], end[ATTN_CHUNK];
	attn_scores(w, a->q, a->k, w->s);
	attn_scores(w, a->dout, a->v, w->ds);
	for (int i = 0; i < w->n; i++) {
		const float *dout = a->dout + w->q[i];
		attn_slope(a, w->s + i * ATTN_CHUNK, w->ds + i * ATTN_CHUNK, (w->hi[i] + 15) / 16 * 16, a->lse_in[w->q[i] / a->d], row_dot(dout, a->oin + w->q[i], a->d));
	}
	attn_mix(a->d, w->n, w->lo, w->hi, w->ds, ATTN_CHUNK, 1, a->k, w->key, a->dq, w->q);
	int lo = 0, hi = 0;
	for (int32_t j = w->from; j < w->to; j++) {
		while (lo < w->n && w->hi[lo] <= j)
			lo++;
		while (hi < w->n && w->lo[hi] <= j)
			hi++;
		first[j] = lo, end[j] = hi;
	}
	int32_t j = w->from;
	attn_mix(a->d, w->to - j, first + j, end + j, w->ds + j, 1, ATTN_CHUNK, a->q, w->q, a->dk, w->key + j);
	attn_mix(a->d, w->to - j, first + j, end + j, w->s + j, 1, ATTN_CHUNK, a->dout, w->q, a->dv, w->key + j);
}

/* the gradients of one sequence's queries, in order, heads in order */
static void attn_grad_seq(attn_work *w, int64_t first, int64_t n, int64_t g)
{
	const attn_args *a = w->a;
	int64_t per = a->h / a->g, step = ATTN_Q / per > 0 ? ATTN_Q / per : 1;
	for (int64_t t = first; t < first + n; t++) {
		memset(a->dk + (t * a->g + g) * a->d, 0, (size_t)a->d * sizeof(float));
		memset(a->dv + (t * a->g + g) * a->d, 0, (size_t)a->d * sizeof(float));
		memset(a->dq + (t * a->h + g * per) * a->d, 0, (size_t)(per * a->d) * sizeof(float));
	}
	for (int64_t t = first; t < first + n; t += step) {
		int64_t end = t + step < first + n ? t + step : first + n, pos = attn_at(a, end - 1).pos;
		for (int64_t c0 = attn_at(a, t).from / ATTN_CHUNK * ATTN_CHUNK; c0 <= pos; c0 += ATTN_CHUNK)
			for (int64_t i = 0; i < (end - t) * per;) {
				i = attn_take(w, i, t, end, g, c0);
				if (w->n)
					attn_grad_chunk(w);
			}
	}
}

/* items are (family, key head): a sequence without a parent and all its children, whose gradients meet in the shared rows */
static void k_attn_grad(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	attn_work w;
	attn_begin(&w, a, worker);
	for (int64_t item = lo; item < hi; item++) {
		int64_t root = item / a->g, g = item % a->g;
		if (a->segs[3 * root + 2] >= 0)
			continue; /* its root does it */
		for (int64_t s = root; s < (a->shared ? a->nseqs : root + 1); s++)
			if (s == root || a->segs[3 * s + 2] == root)
				attn_grad_seq(&w, a->segs[3 * s], a->segs[3 * s + 1], g);
	}
}
