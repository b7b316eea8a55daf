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

/* whether two rows are of one sequence */
static inline int attn_same(const attn_row *x, const attn_row *y) { return x->pages == y->pages && x->first == y->first; }

/* how many keys from c0 on, as far as y sees and the chunk goes, two rows over pages have in common: a multiple of 16, or all */
static int32_t attn_common(const attn_args *a, const attn_row *x, const attn_row *y, int64_t c0)
{
	int64_t end = y->pos + 1 < c0 + ATTN_CHUNK ? y->pos + 1 : c0 + ATTN_CHUNK, pos = c0;
	if (attn_same(x, y))
		return ATTN_CHUNK;
	if (!x->pages)
		return 0;
	while (pos < end && pos <= x->pos && x->pages[pos / a->slots] == y->pages[pos / a->slots])
		pos = (pos / a->slots + 1) * a->slots;
	return pos >= c0 + ATTN_CHUNK ? ATTN_CHUNK : (int32_t)((pos - c0) / 16 * 16);
}

/* Queries that go through one chunk together. Keys count from the chunk's first. */
typedef struct {
	const attn_args *a;
	float *s, *ds, *turned, *part, *padded; /* of the worker's scratch */
	int64_t dp;                             /* d rounded up to 16 */
	attn_row row;                           /* of the first */
	int64_t g;
	int heads; /* key heads from g on, whose queries follow one another: more than one where all are of one row */
	int n;
	int32_t common;                 /* the first keys, of so many, are the same for all; the others are a sequence's own */
	int64_t q[ATTN_Q];              /* where a query lies, in floats from a->q */
	int32_t lo[ATTN_Q], hi[ATTN_Q]; /* the keys it sees */
	int32_t from, to;               /* what any of them sees, from rounded down to 16 */
	int64_t key[ATTN_CHUNK];        /* where a key lies, in numbers from the keys; over pages, where its value does from the values */
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

/* whether a row has more keys in common with the row after it, t, than so many */
static inline int attn_prefers(const attn_args *a, int64_t t, const attn_row *r, int32_t common, int64_t c0)
{
	attn_row next = attn_at(a, t);
	return next.pos >= c0 && !attn_same(r, &next) && attn_common(a, r, &next, c0) > common;
}

/* Takes queries of the work's key heads from number i on, row by row and its heads in order, that see the chunk at c0 and have its
 * first keys in common: the second sequence says how many, and others join that have as many. Rows t0..t1. Returns the number
 * of the first that was left. */
static int64_t attn_take(attn_work *w, int64_t i, int64_t t0, int64_t t1, int64_t c0)
{
	const attn_args *a = w->a;
	int64_t per = a->h / a->g * w->heads;
	w->n = 0, w->from = ATTN_CHUNK, w->to = 0, w->common = ATTN_CHUNK;
	for (; i < (t1 - t0) * per && w->n < ATTN_Q; i++) {
		int64_t t = t0 + i / per;
		attn_row r = attn_at(a, t);
		if (r.pos < c0 || r.from >= c0 + ATTN_CHUNK)
			continue;
		int32_t lo = r.from > c0 ? (int32_t)(r.from - c0) : 0, hi = r.pos + 1 - c0 < ATTN_CHUNK ? (int32_t)(r.pos + 1 - c0) : ATTN_CHUNK;
		if (w->n) {
			int32_t common = attn_common(a, &w->row, &r, c0);
			if (common == 0 || (w->common < ATTN_CHUNK && common < w->common) || (common < hi && t + 1 < t1 && attn_prefers(a, t + 1, &r, common, c0)))
				break;
			w->common = common < w->common ? common : w->common;
		} else {
			w->row = r;
		}
		int n = w->n++;
		w->q[n] = (t * a->h + a->h / a->g * w->g + i % per) * a->d;
		w->lo[n] = lo, w->hi[n] = hi;
		w->from = lo / 16 * 16 < w->from ? lo / 16 * 16 : w->from;
		w->to = hi > w->to ? hi : w->to;
		if (r.pos > w->row.pos && attn_same(&r, &w->row))
			w->row.pos = r.pos;
	}
	return i;
}

/* keys and values as they lie, in fp32 or bf16, and the bytes of a number */
static inline const void *attn_keys(const attn_args *a) { return a->k16 ? (const void *)a->k16 : a->k; }
static inline const void *attn_values(const attn_args *a) { return a->v16 ? (const void *)a->v16 : a->v; }
static inline int64_t attn_size(const attn_args *a) { return a->k16 ? 2 : 4; }

/* Asks for 16 keys or values, from j on, of the key head h after w->g: pages lie anywhere, so nobody guesses where the next one is. Inlined, since a
 * compiler takes a call of it for one without effect. */
INLINE void attn_ahead(const attn_work *w, const void *from, int32_t j, int h)
{
	int64_t size = attn_size(w->a), n = 16 * w->a->d * size;
	const char *at = (const char *)from + w->key[j] * size + h * n;
	for (int64_t i = 0; i < n; i += 64)
		__builtin_prefetch(at + i, 0, 2);
}

/* 16 keys from j on as attn_turn leaves them, which in pages they are already */
static const void *attn_sixteen(attn_work *w, int32_t j, int32_t to, const void *y, int h)
{
	const attn_args *a = w->a;
	int64_t size = attn_size(a), n = 16 * a->d * size;
	if (!a->table) {
		attn_turn(a->d, to - j < 16 ? to - j : 16, y, w->key + j, w->turned);
		return w->turned;
	}
	const char *at = (const char *)y + w->key[j] * size + h * n;
	if (a->d == w->dp)
		return at;
	memset((char *)w->turned + n, 0, (size_t)(16 * w->dp * size - n));
	return memcpy(w->turned, at, (size_t)n);
}

/* s[i][j] = x_i . y_j for queries i0..i1 of key head w->g + h and 16 keys from j on */
static void attn_score(attn_work *w, int i0, int i1, int32_t j, int32_t to, const float *const *x, const void *y, int h, float *s)
{
	const void *keys = attn_sixteen(w, j, to, y, h);
	if (w->a->table && j + 16 < to)
		attn_ahead(w, y, j + 16, h);
	else if (w->heads > 1)
		attn_ahead(w, attn_values(w->a), w->from, h);
	for (int i = i0; i < i1; i += ATTN_QT) {
		int n = i1 - i < ATTN_QT ? i1 - i : ATTN_QT, sees = 0;
		for (int q = i; q < i + n; q++)
			sees |= w->hi[q] > j && w->lo[q] < j + 16;
		if (sees)
			dots[w->a->k16 != NULL][n - 1](w->dp, x + i, keys, s + i * ATTN_CHUNK + j);
	}
}

/* s[i][j] = x_i . y_j for queries i0..i1 and keys from..to, which lie where w->key says; from is a multiple of 16 */
static void attn_scores(attn_work *w, int i0, int i1, int32_t from, int32_t to, const float *x, const void *y, float *s)
{
	const float *xq[ATTN_Q];
	int64_t d = w->a->d;
	for (int i = i0; i < i1; i++)
		xq[i] = x + w->q[i];
	if (i1 - i0 <= ATTN_FEW && !w->a->table) {
		for (int i = i0; i < i1; i += ATTN_FT)
			few[(i1 - i < ATTN_FT ? i1 - i : ATTN_FT) - 1](d, xq + i, y, w->key, from, to, s + i * ATTN_CHUNK);
		return;
	}
	for (int i = i0; d != w->dp && i < i1; i++) {
		float *pad = w->padded + i * w->dp;
		memset(pad + d, 0, (size_t)(w->dp - d) * sizeof *pad);
		xq[i] = memcpy(pad, xq[i], (size_t)d * sizeof *pad);
	}
	for (int32_t j = from; j < to; j += 16)
		for (int h = 0, each = (i1 - i0) / w->heads; h < w->heads; h++)
			attn_score(w, i0 + h * each, i0 + (h + 1) * each, j, to, xq, y, h, s);
}
/* Says where keys from..to of a row's sequence lie: 16 by 16 in pages, or the parent's and then its own. */
static void attn_find(attn_work *w, const attn_row *r, int64_t c0, int32_t from, int32_t to)
{
	const attn_args *a = w->a;
	for (int32_t j = from; r->pages && j < to; j += 16) {
		int64_t pos = c0 + j, at = attn_slot(r->pages[pos / a->slots] * a->slots + pos % a->slots, w->g, a->g, a->d);
		for (int i = 0; i < 16; i++)
			w->key[j + i] = at + i * a->d;
	}
	for (int32_t j = from; !r->pages && j < to;) {
		int64_t pos = c0 + j, at = r->first + pos - r->parent_len, end = to;
		if (pos < r->parent_len) {
			at = r->parent_first + pos;
			end = r->parent_len - c0;
		}
		for (at = (at * a->g + w->g) * a->d; j < end && j < to; j++, at += a->g * a->d)
			w->key[j] = at;
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

/* adds the closed chunk at c0 to what a row's head has so far; state is its max and denominator */
static void attn_merge(const attn_args *a, int64_t head, int64_t c0, const float *part, float max, float total)
{
	attn_row r = attn_at(a, head / a->h);
	float *state = a->state + 2 * head, *o = a->o + head * a->d;
	if (r.from >= c0) {
		memcpy(o, part, (size_t)a->d * sizeof *o);
		state[0] = max, state[1] = total;
	} else {
		float top = max > state[0] ? max : state[0], old = f_exp(state[0] - top), add = f_exp(max - top);
		vf ov = v_set1(old), av = v_set1(add);
		EACH16(0, a->d, i, m, v_put(o + i, v_fma(v_get(part + i, m), av, v_mul(v_get(o + i, m), ov)), m);)
		state[1] = fmaf(total, add, state[1] * old);
		state[0] = top;
	}
	if (r.pos < c0 + ATTN_CHUNK) {
		vf lv = v_set1(state[1]);
		EACH16(0, a->d, i, m, v_put(o + i, v_div(v_get(o + i, m), lv), m);)
		if (a->lse)
			a->lse[head] = state[0] + f_log(state[1]);
	}
}

/* Adds to one row's heads the values of keys from..to that its weights give, 16 by 16 so that each page is read from end to end. */
static void attn_mix_row(attn_work *w, int32_t from, int32_t to, const int64_t *at)
{
	const attn_args *a = w->a;
	int each = w->n / w->heads, half = a->v16 != NULL;
	int64_t size = attn_size(a);
	for (int32_t lo = from, hi; lo < to; lo = hi) {
		hi = lo / 16 * 16 + 16 < to ? lo / 16 * 16 + 16 : to;
		for (int h = 0; h < w->heads; h++) {
			const char *values = (const char *)attn_values(a) + h * 16 * a->d * size;
			if (hi < to)
				attn_ahead(w, attn_values(a), hi, h);
			for (int i = h * each; i < (h + 1) * each; i += ATTN_MR) {
				int n = (h + 1) * each - i < ATTN_MR ? (h + 1) * each - i : ATTN_MR;
				attn_mix_tile(half, a->d, n, hi - lo, w->s + i * ATTN_CHUNK + lo, ATTN_CHUNK, 1, values, w->key + lo, w->part, at + i);
			}
		}
	}
}

/* Queries i0..i1 over keys they have in common: their scores, or (mix) the sum of values that their weights give. */
static void attn_pass(attn_work *w, int i0, int i1, const attn_row *r, int64_t c0, int32_t from, int32_t to, int mix)
{
	const attn_args *a = w->a;
	int32_t lo[ATTN_Q], hi[ATTN_Q];
	int64_t at[ATTN_Q];
	if (from >= to)
		return;
	attn_find(w, r, c0, from, to);
	if (!mix) {
		attn_scores(w, i0, i1, from, to, a->q, attn_keys(a), w->s);
		return;
	}
	for (int i = i0; i < i1; i++) {
		lo[i] = w->lo[i] > from ? w->lo[i] : from;
		hi[i] = w->hi[i] < to ? w->hi[i] : to;
		at[i] = i * w->dp;
	}
	if (w->heads > 1)
		attn_mix_row(w, lo[0], hi[0], at);
	else
		attn_mix(a->v16 != NULL, a->d, i1 - i0, lo + i0, hi + i0, w->s + i0 * ATTN_CHUNK, ATTN_CHUNK, 1, attn_values(a), w->key, w->part, at + i0);
}

/* The keys in common, then each sequence's own. Returns how many of the latter there are. */
static int64_t attn_passes(attn_work *w, int64_t c0, int mix)
{
	const attn_args *a = w->a;
	int64_t own = 0;
	attn_pass(w, 0, w->n, &w->row, c0, w->from, w->to < w->common ? w->to : w->common, mix);
	for (int i = 0, n; w->common < w->to && i < w->n; i = n) {
		attn_row r = attn_at(a, w->q[i] / a->d / a->h);
		int32_t from = w->lo[i], to = w->hi[i];
		for (n = i + 1; n < w->n; n++) {
			attn_row next = attn_at(a, w->q[n] / a->d / a->h);
			if (!attn_same(&r, &next))
				break;
			from = w->lo[n] < from ? w->lo[n] : from;
			to = w->hi[n] > to ? w->hi[n] : to;
		}
		from = from < w->common ? w->common : from / 16 * 16;
		attn_pass(w, i, n, &r, c0, from, to, mix);
		own += from < to ? to - from : 0;
	}
	return own;
}

/* Closes the chunk at c0 for the queries at hand and merges it into their results. Returns how many keys are not common. */
static int64_t attn_close(attn_work *w, int64_t c0)
{
	const attn_args *a = w->a;
	float max[ATTN_Q], total[ATTN_Q];
	attn_passes(w, c0, 0);
	for (int i = 0; i < w->n; i++)
		attn_weigh(a, w->s + i * ATTN_CHUNK, w->lo[i], w->hi[i], max + i, total + i);
	memset(w->part, 0, (size_t)(w->n * w->dp) * sizeof *w->part);
	int64_t own = attn_passes(w, c0, 1);
	for (int i = 0; i < w->n; i++) {
		int64_t head = w->q[i] / a->d; /* of all rows */
		if (a->parts) {
			float *to = a->parts + (head * a->chunks + c0 / ATTN_CHUNK) * (a->d + 2);
			to[0] = max[i], to[1] = total[i];
			memcpy(to + 2, w->part + i * w->dp, (size_t)a->d * sizeof *to);
		} else {
			attn_merge(a, head, c0, w->part + i * w->dp, max[i], total[i]);
		}
	}
	return own;
}

/* one chunk of a block's rows; returns the bytes of keys and values read */
static int64_t attn_block(attn_work *w, int64_t t0, int64_t t1, int64_t c0)
{
	const attn_args *a = w->a;
	int64_t keys = 0, seen = 0; /* seen: the last run's keys in common; more queries with the same find them in the cache */
	attn_row last = {0};
	for (int64_t i = 0; i < (t1 - t0) * (a->h / a->g) * w->heads;) {
		i = attn_take(w, i, t0, t1, c0);
		if (!w->n)
			continue;
		int64_t common = (w->to < w->common ? w->to : w->common) - w->from;
		if (seen && attn_common(a, &last, &w->row, c0) >= common)
			keys += common > seen ? common - seen : 0;
		else
			keys += common, seen = 0;
		seen = common > seen ? common : seen;
		last = w->row;
		keys += attn_close(w, c0);
	}
	return keys * w->heads * 2 * a->d * attn_size(a);
}

/* how many key heads from item's on a worker takes together, of as many as it has to do: a single row's over pages, whose keys lie side by side */
static int attn_together(const attn_args *a, int64_t rows, int64_t item, int64_t left)
{
	int64_t per = a->h / a->g, n = a->g - item % a->g;
	if (rows > 1 || !a->table || per > ATTN_Q)
		return 1;
	n = n < ATTN_Q / per ? n : ATTN_Q / per;
	return (int)(n < left ? n : left);
}

/* items are (block of rows, its chunk where a->parts is, key head) */
static void k_attn(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	attn_work w;
	int64_t read = 0;
	attn_begin(&w, a, worker);
	for (int64_t item = lo; item < hi; item += w.heads) {
		int64_t n = item / a->g, block = a->parts ? n / a->chunks : n, t0 = a->blocks[block], t1 = a->blocks[block + 1], from = INT64_MAX, pos = 0;
		w.g = item % a->g, w.heads = attn_together(a, t1 - t0, item, hi - item);
		for (int64_t t = t0; t < t1; t++) {
			attn_row r = attn_at(a, t);
			from = r.from < from ? r.from : from;
			pos = r.pos > pos ? r.pos : pos;
		}
		int64_t c0 = from / ATTN_CHUNK * ATTN_CHUNK, end = pos + 1;
		if (a->parts) {
			c0 = n % a->chunks * ATTN_CHUNK;
			end = end < c0 + 1 ? end : c0 + 1;
		}
		for (; c0 < end; c0 += ATTN_CHUNK)
			read += attn_block(&w, t0, t1, c0);
	}
	if (a->read)
		__atomic_fetch_add(a->read, read, __ATOMIC_RELAXED);
}

/* items are rows: merges chunks that were closed one by one */
static void k_attn_merge(const void *args, int64_t lo, int64_t hi, int worker)
{
	const attn_args *a = args;
	(void)worker;
	for (int64_t head = lo * a->h; head < hi * a->h; head++) {
		attn_row r = attn_at(a, head / a->h);
		for (int64_t c = r.from / ATTN_CHUNK; c <= r.pos / ATTN_CHUNK; c++) {
			const float *part = a->parts + (head * a->chunks + c) * (a->d + 2);
			attn_merge(a, head, c * ATTN_CHUNK, part + 2, part[0], part[1]);
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
static void attn_grad_chunk(attn_work *w, int64_t c0)
{
	const attn_args *a = w->a;
	int32_t first[ATTN_CHUNK], end[ATTN_CHUNK];
	attn_find(w, &w->row, c0, w->from, w->to);
	attn_scores(w, 0, w->n, w->from, w->to, a->q, a->k, w->s);
	attn_scores(w, 0, w->n, w->from, w->to, a->dout, a->v, w->ds);
	for (int i = 0; i < w->n; i++) {
		const float *dout = a->dout + w->q[i];
		attn_slope(a, w->s + i * ATTN_CHUNK, w->ds + i * ATTN_CHUNK, (w->hi[i] + 15) / 16 * 16, a->lse_in[w->q[i] / a->d], row_dot(dout, a->oin + w->q[i], a->d));
	}
	attn_mix(0, a->d, w->n, w->lo, w->hi, w->ds, ATTN_CHUNK, 1, a->k, w->key, a->dq, w->q);
	int lo = 0, hi = 0;
	for (int32_t j = w->from; j < w->to; j++) {
		while (lo < w->n && w->hi[lo] <= j)
			lo++;
		while (hi < w->n && w->lo[hi] <= j)
			hi++;
		first[j] = lo, end[j] = hi;
	}
	int32_t j = w->from;
	attn_mix(0, a->d, w->to - j, first + j, end + j, w->ds + j, 1, ATTN_CHUNK, a->q, w->q, a->dk, w->key + j);
	attn_mix(0, a->d, w->to - j, first + j, end + j, w->s + j, 1, ATTN_CHUNK, a->dout, w->q, a->dv, w->key + j);
}

/* the gradients of one sequence's queries, in order, heads in order */
static void attn_grad_seq(attn_work *w, int64_t first, int64_t n)
{
	const attn_args *a = w->a;
	int64_t g = w->g, per = a->h / a->g, step = ATTN_Q / per > 0 ? ATTN_Q / per : 1;
	for (int64_t t = first; t < first + n; t++) {
		memset(a->dk + (t * a->g + g) * a->d, 0, (size_t)a->d * sizeof(float));
		memset(a->dv + (t * a->g + g) * a->d, 0, (size_t)a->d * sizeof(float));
		memset(a->dq + (t * a->h + g * per) * a->d, 0, (size_t)(per * a->d) * sizeof(float));
	}
	for (int64_t t = first; t < first + n; t += step) {
		int64_t end = t + step < first + n ? t + step : first + n, pos = attn_at(a, end - 1).pos;
		for (int64_t c0 = attn_at(a, t).from / ATTN_CHUNK * ATTN_CHUNK; c0 <= pos; c0 += ATTN_CHUNK)
			for (int64_t i = 0; i < (end - t) * per;) {
				i = attn_take(w, i, t, end, c0);
				if (w->n)
					attn_grad_chunk(w, c0);
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
		int64_t root = item / a->g;
		w.g = item % a->g, w.heads = 1;
		if (a->segs[3 * root + 2] >= 0)
			continue; /* its root does it */
		for (int64_t s = root; s < (a->shared ? a->nseqs : root + 1); s++)
			if (s == root || a->segs[3 * s + 2] == root)
				attn_grad_seq(&w, a->segs[3 * s], a->segs[3 * s + 1]);
	}
}
