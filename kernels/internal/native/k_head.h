/* k_head.h: what follows the last matrix product: softmax statistics of a row of logits, the divergence from another row, their
 * gradient. A row is taken in chunks of 1,024 words, each closed from scratch, merged in order. */

#define HEAD_CHUNK 1024

/* Max m, sum l of exp(z - m) and sum s of exp(z - m) (z - m). */
typedef struct { float m, l, s; } head_sums;

static inline head_sums head_chunk(const float *z, int64_t n)
{
	vf mv = v_set1(-INFINITY), lv = v_set1(0.0f), sv = v_set1(0.0f), low = v_set1(-INFINITY);
	int64_t whole = n / 16 * 16;
	for (int64_t i = 0; i < whole; i += 16)
		mv = v_max(v_load(z + i), mv);
	float m = v_hmax(mv);
	for (int64_t i = whole; i < n; i++)
		m = z[i] > m ? z[i] : m;
	vf m1 = v_set1(m);
	EACH16(0, n, i, w, {
		vf d = v_sub(v_get(z + i, w), m1), e;
		if (w < 16) { /* lanes past the end: -infinity, so e = 0 */
			float t[16];
			v_store(t, low);
			v_storen(t, d, w);
			d = v_load(t);
		}
		e = v_exp(d);
		lv = v_add(lv, e);
		sv = v_fma(e, v_max(d, v_set1(-1e30f)), sv);
	})
	return (head_sums){m, v_sum(lv), v_sum(sv)};
}

static inline head_sums head_merge(head_sums a, head_sums b)
{
	float m = b.m > a.m ? b.m : a.m, ea = f_exp(a.m - m), eb = f_exp(b.m - m);
	float sa = ea * fmaf(a.l, a.m - m, a.s), sb = eb * fmaf(b.l, b.m - m, b.s);
	return (head_sums){m, fmaf(b.l, eb, a.l * ea), sa + sb};
}

static inline head_sums head_row(const float *z, int64_t v)
{
	head_sums sums = head_chunk(z, v < HEAD_CHUNK ? v : HEAD_CHUNK);
	for (int64_t c = HEAD_CHUNK; c < v; c += HEAD_CHUNK)
		sums = head_merge(sums, head_chunk(z + c, v - c < HEAD_CHUNK ? v - c : HEAD_CHUNK));
	return sums;
}

/* z = softcap(z) / temperature, in place */
static inline void head_shape(float *z, int64_t v, float softcap, float temp)
{
	if (softcap > 0) {
		vf cap = v_set1(softcap);
		EACH16(0, v, i, m, v_put(z + i, v_mul(cap, v_tanh(v_div(v_get(z + i, m), cap))), m);)
	}
	if (temp != 1.0f) {
		vf t = v_set1(temp);
		EACH16(0, v, i, m, v_put(z + i, v_div(v_get(z + i, m), t), m);)
	}
}

static inline float head_logp(head_sums s, float z) { return (z - s.m) - f_log(s.l); }
static inline float head_entropy(head_sums s) { return f_log(s.l) - s.s / s.l; }

/* ---- words kept: a row may be restricted to some of its words, ids ascending; its logits are then moved to its front ---- */

static inline int64_t head_narrow(float *z, const int32_t *ids, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		z[i] = z[ids[i]];
	return n;
}

/* the way back: what lies at the front goes to its word, the other words are 0 */
static inline void head_widen(float *z, int64_t v, const int32_t *ids, int64_t n)
{
	for (int64_t i = n - 1, end = v; i >= 0; end = ids[i--]) {
		z[ids[i]] = z[i];
		memset(z + ids[i] + 1, 0, (size_t)(end - ids[i] - 1) * sizeof *z);
	}
	memset(z, 0, (size_t)ids[0] * sizeof *z);
}

/* where a word lies among the kept */
static inline int64_t head_find(const int32_t *ids, int64_t n, int32_t word)
{
	int64_t lo = 0;
	while (n > 1) {
		int64_t half = n / 2;
		lo += ids[lo + half] <= word ? half : 0;
		n -= half;
	}
	return lo;
}

/* Row r's words, or all. */
typedef struct { const int32_t *ids; int64_t n, target; } head_words;

static inline head_words head_kept(const head_args *a, int64_t r)
{
	if (!a->keep_at)
		return (head_words){NULL, a->v, a->target[r]};
	const int32_t *ids = a->keep + a->keep_at[r];
	int64_t n = a->keep_at[r + 1] - a->keep_at[r];
	return (head_words){ids, n, head_find(ids, n, a->target[r])};
}

/* ---- a second distribution q beside p, of the same words: KL(p || q) (beta 1), KL(q || p) (beta 0) or, between, the
 * generalised Jensen-Shannon divergence beta KL(q || m) + (1 - beta) KL(p || m), m = beta q + (1 - beta) p ---- */

#define HEAD_FLOOR (-1e30f) /* of log-probs: 0 times it is 0 */

/* the logits at z less shift; floor in the lanes past w */
static inline vf head_logs(const float *z, int w, vf shift)
{
	float t[16];
	if (w == 16)
		return v_max(v_sub(v_load(z), shift), v_set1(HEAD_FLOOR));
	v_store(t, v_set1(HEAD_FLOOR));
	v_storen(t, v_max(v_sub(v_loadn(z, w), shift), v_set1(HEAD_FLOOR)), w);
	return v_load(t);
}

/* p (a + m/p - 1), a = log(p/m): a term of KL(p || m) plus m - p, which sum to 0 over the words. It is never negative, and where
 * p and m are close it is the small number p a^2 (1/2 - a/6 + ..) and no difference of large ones. */
static inline vf kl_term(vf p, vf a, vf m)
{
	vf s = v_fma(a, v_set1(-1.0f / 5040), v_set1(1.0f / 720));
	s = v_fma(a, s, v_set1(-1.0f / 120));
	s = v_fma(a, s, v_set1(1.0f / 24));
	s = v_fma(a, s, v_set1(-1.0f / 6));
	s = v_fma(a, s, v_set1(0.5f));
	return v_gt(v_set1(0.25f), v_abs(a), v_mul(v_mul(v_mul(a, a), s), p), v_fma(p, a, v_sub(m, p)));
}

/* log of m = beta q + (1 - beta) p, and m */
static inline vf head_mixture(vf p, vf q, float beta, vf *m)
{
	*m = v_fma(v_set1(beta), q, v_mul(v_set1(1 - beta), p));
	return v_max(v_log(*m), v_set1(HEAD_FLOOR));
}

/* kl: the divergence; tilt: KL(p || what p is compared with), which the gradient needs */
static inline void head_divergence(const float *z, float lse, const float *o, float olse, int64_t v, float beta, float *kl, float *tilt)
{
	float a = 0, b = 0;
	for (int64_t c = 0; c < v; c += HEAD_CHUNK) {
		vf av = v_set1(0.0f), bv = av, zl = v_set1(lse), ol = v_set1(olse);
		EACH16(c, v - c < HEAD_CHUNK ? v : c + HEAD_CHUNK, i, w, {
			vf lp = head_logs(z + i, w, zl), lq = head_logs(o + i, w, ol), p = v_exp(lp), q = v_exp(lq);
			if (beta == 1) {
				av = v_add(av, kl_term(p, v_sub(lp, lq), q));
			} else if (beta == 0) {
				bv = v_add(bv, kl_term(q, v_sub(lq, lp), p));
			} else {
				vf m, lm = head_mixture(p, q, beta, &m);
				av = v_add(av, kl_term(p, v_sub(lp, lm), m));
				bv = v_add(bv, kl_term(q, v_sub(lq, lm), m));
			}
		})
		a += v_sum(av);
		b += v_sum(bv);
	}
	*tilt = a;
	*kl = beta == 1 ? a : beta == 0 ? b : fmaf(beta, b, (1 - beta) * a);
}

/* the divergence's derivative in a logit of p */
static inline vf head_pull(vf lp, vf p, vf lq, float beta, vf tilt)
{
	vf q = v_exp(lq), m;
	lp = v_max(lp, v_set1(HEAD_FLOOR));
	if (beta == 0)
		return v_sub(p, q);
	if (beta == 1)
		return v_mul(p, v_sub(v_sub(lp, lq), tilt));
	vf lm = head_mixture(p, q, beta, &m);
	return v_mul(v_set1(1 - beta), v_mul(p, v_sub(v_sub(lp, lm), tilt)));
}

/* items are rows of the block at hand */
static void k_head_stats(const void *args, int64_t lo, int64_t hi, int worker)
{
	const head_args *a = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		float *z = a->z + r * a->ldz, temp = a->temp ? a->temp[r] : 1.0f;
		head_words k = head_kept(a, r);
		if (k.ids)
			head_narrow(z, k.ids, k.n);
		head_shape(z, k.n, a->softcap, temp);
		head_sums s = head_row(z, k.n);
		a->logp[r] = head_logp(s, z[k.target]);
		a->ent[r] = head_entropy(s);
		a->lse[r] = s.m + f_log(s.l);
		if (!a->o)
			continue;
		float *o = a->o + r * a->ldz;
		if (k.ids)
			head_narrow(o, k.ids, k.n);
		head_shape(o, k.n, a->ocap, temp);
		head_sums q = head_row(o, k.n);
		a->aux[2 * r] = q.m + f_log(q.l);
		head_divergence(z, a->lse[r], o, a->aux[2 * r], k.n, a->beta, a->kl + r, a->aux + 2 * r + 1);
	}
}

/* z becomes the gradient of sum(dlogp logp + dent ent + dkl kl) in the raw logits: with p = softmax,
 * dlogp (1[target] - p) - dent p (log p + H) + dkl times head_pull, through temperature and softcap */
static void k_head_dlogits(const void *args, int64_t lo, int64_t hi, int worker)
{
	const head_args *a = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		float *z = a->z + r * a->ldz, temp = a->temp ? a->temp[r] : 1.0f, dl = a->dlogp[r];
		head_words k = head_kept(a, r);
		if (k.ids)
			head_narrow(z, k.ids, k.n);
		float raw = z[k.target], de = a->dent ? a->dent[r] : 0, dk = a->dkl ? a->dkl[r] : 0, *o = NULL;
		vf lse = v_set1(a->lse_in[r]), dlv = v_set1(-dl), dev = v_set1(-de), h = v_set1(a->ent_in[r]), t = v_set1(temp), cap = v_set1(a->softcap);
		vf dkv = v_set1(dk), olse = dkv, tilt = dkv;
		if (dk != 0) {
			o = a->o + r * a->ldz;
			if (k.ids)
				head_narrow(o, k.ids, k.n);
			head_shape(o, k.n, a->ocap, temp);
			olse = v_set1(a->aux_in[2 * r]), tilt = v_set1(a->aux_in[2 * r + 1]);
		}
		EACH16(0, k.n, i, m, {
			vf x = v_get(z + i, m), c = x, slope = v_set1(1.0f);
			if (a->softcap > 0) {
				c = v_tanh(v_div(x, cap));
				slope = v_sub(slope, v_mul(c, c));
				c = v_mul(cap, c);
			}
			vf lp = v_sub(temp != 1.0f ? v_div(c, t) : c, lse), p = v_exp(lp);
			vf d = v_mul(p, de != 0 ? v_fma(dev, v_add(v_max(lp, v_set1(HEAD_FLOOR)), h), dlv) : dlv);
			if (o)
				d = v_fma(dkv, head_pull(lp, p, head_logs(o + i, m, olse), a->beta, tilt), d);
			v_put(z + i, temp != 1.0f ? v_div(v_mul(d, slope), t) : v_mul(d, slope), m);
		})
		float slope = 1;
		if (a->softcap > 0) {
			float c = f_tanh(raw / a->softcap);
			slope = 1 - c * c;
		}
		z[k.target] += temp != 1.0f ? dl * slope / temp : dl * slope;
		if (k.ids)
			head_widen(z, a->v, k.ids, k.n);
	}
}
