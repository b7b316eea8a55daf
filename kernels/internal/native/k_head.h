/* k_head.h: what follows the last matrix product: softmax statistics of a row of logits, their gradient, one draw. A row is
 * taken in chunks of 1,024 words, each closed from scratch, merged in order. */

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

/* Philox-4x32-10 (Salmon et al., SC 2011) */
static inline void philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
	uint32_t k0 = key[0], k1 = key[1], c[4] = {counter[0], counter[1], counter[2], counter[3]};
	for (int r = 0; r < 10; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
		uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
		uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
		c[1] = (uint32_t)b, c[3] = (uint32_t)a, c[0] = n0, c[2] = n2;
	}
	memcpy(out, c, sizeof c);
}

/* 53 bits of the first two words, in [0, 1) */
static inline double uniform(const uint32_t key[2], const uint32_t counter[4])
{
	uint32_t o[4];
	philox(key, counter, o);
	return ((double)(o[0] >> 5) * 67108864.0 + (double)(o[1] >> 6)) / 9007199254740992.0;
}

static inline int64_t head_argmax(const float *z, int64_t v)
{
	int64_t best = 0;
	for (int64_t i = 1; i < v; i++)
		if (z[i] > z[best])
			best = i;
	return best;
}

/* The first word whose cumulative mass exceeds u times the total: chunk masses in float64, then words inside one chunk. */
static inline int64_t head_inverse_cdf(const float *z, int64_t v, head_sums all, double u)
{
	double total = 0, below = 0, target;
	for (int64_t c = 0; c < v; c += HEAD_CHUNK) {
		head_sums s = head_chunk(z + c, v - c < HEAD_CHUNK ? v - c : HEAD_CHUNK);
		total += (double)s.l * (double)f_exp(s.m - all.m);
	}
	target = u * total;
	for (int64_t c = 0; c < v; c += HEAD_CHUNK) {
		int64_t n = v - c < HEAD_CHUNK ? v - c : HEAD_CHUNK, last = -1;
		head_sums s = head_chunk(z + c, n);
		double factor = (double)f_exp(s.m - all.m), mass = (double)s.l * factor;
		if (below + mass > target || c + n == v) {
			vf m = v_set1(s.m);
			for (int64_t i = 0; i < n; i += 16) {
				float e[16];
				int w = n - i < 16 ? (int)(n - i) : 16;
				v_store(e, v_exp(v_sub(v_get(z + c + i, w), m)));
				for (int j = 0; j < w; j++) {
					if (e[j] > 0)
						last = c + i + j;
					double step = (double)e[j] * factor;
					below += step;
					if (below > target)
						return c + i + j;
				}
			}
			return last < 0 ? c : last; /* rounding left a sliver: the chunk's last possible word */
		}
		below += mass;
	}
	return v - 1;
}

/* ---- truncation: words in order of larger logit, then lower id; what is kept is a beginning of that order ---- */

/* as large as the logit is; -0 is 0 */
static inline uint32_t head_rank(float z)
{
	uint32_t u;
	z += 0.0f;
	memcpy(&u, &z, sizeof u);
	return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* The words of a rank above rank, and the first ties of that rank. */
typedef struct { uint32_t rank; int64_t ties; double mass; } head_cut;

/* The shortest beginning with most words or a mass of at least enough; e: exp(z - max). The rank is found 11, 11 and 10 bits at a
 * time, from sums over the words that share the bits before, so that nothing is sorted. */
static head_cut head_begin(const float *z, const float *e, int64_t v, int64_t most, double enough)
{
	double mass[2048], below = 0;
	int32_t words[2048];
	int64_t n = 0;
	uint32_t rank = 0, b = 0;
	for (int shift = 21, known = 32; known; known = shift, shift = shift > 11 ? shift - 11 : 0) {
		int64_t next_n = n;
		double next = below;
		memset(words, 0, sizeof words);
		memset(mass, 0, sizeof mass);
		for (int64_t i = 0; i < v; i++) {
			uint32_t k = head_rank(z[i]);
			if (known == 32 || k >> known == rank) {
				k = k >> shift & ((1u << (known - shift)) - 1);
				words[k]++;
				mass[k] += (double)e[i];
			}
		}
		for (int j = 2047; j >= 0; j--) {
			if (!words[j])
				continue;
			b = (uint32_t)j, n = next_n, below = next;
			next_n += words[j], next += mass[j];
			if (next_n >= most || next >= enough)
				break;
		}
		rank = known == 32 ? b : rank << (known - shift) | b;
	}
	double one = mass[b] / words[b];
	int64_t ties = 1;
	while (ties < words[b] && n + ties < most && below + (double)ties * one < enough)
		ties++;
	return (head_cut){rank, ties, below + (double)ties * one};
}

/* Keeps what top-k, then top-p of the mass left, then min-p of the likeliest leave: marks it in the bits of kept and moves it to the
 * front of z. e is scratch. cut: k (0: all), p (0 or 1: all), min-p (0: all). */
static int64_t head_truncate(float *z, float *e, int64_t v, const float *cut, uint32_t *kept)
{
	float top = z[0];
	int64_t n = 0, most = cut[0] >= 1 && cut[0] < (float)v ? (int64_t)cut[0] : v;
	for (int64_t i = 1; i < v; i++)
		top = z[i] > top ? z[i] : top;
	vf m = v_set1(top);
	EACH16(0, v, i, w, v_put(e + i, v_exp(v_sub(v_get(z + i, w), m)), w);)
	head_cut c = {0, v, 0};
	int p = cut[1] > 0 && cut[1] < 1;
	if (p || most < v)
		c = head_begin(z, e, v, most, INFINITY);
	if (p)
		c = head_begin(z, e, v, most, (double)cut[1] * c.mass);
	memset(kept, 0, (size_t)((v + 31) / 32) * sizeof *kept);
	for (int64_t i = 0; i < v; i++) {
		uint32_t k = head_rank(z[i]);
		if (k < c.rank || (k == c.rank && c.ties-- <= 0) || e[i] < cut[2])
			continue;
		kept[i / 32] |= 1u << (i % 32);
		z[n++] = z[i];
	}
	return n;
}

/* the word of the bit that has i set ones before it */
static inline int64_t head_word(const uint32_t *kept, int64_t i)
{
	for (int64_t j = 0;; j++)
		if (kept[j / 32] >> (j % 32) & 1 && i-- == 0)
			return j;
}

static void k_head_draw(const void *args, int64_t lo, int64_t hi, int worker)
{
	const head_args *a = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		float *z = a->z + r * a->ldz, temp = a->temp ? a->temp[r] : 1.0f;
		int64_t v = a->v, words = (v + 31) / 32;
		uint32_t *kept = a->kept && temp > 0 ? a->kept + r * words : NULL;
		head_shape(z, v, a->softcap, temp > 0 ? temp : 1.0f);
		if (kept)
			v = head_truncate(z, a->o + r * a->ldz, v, a->cut + 3 * r, kept);
		else if (a->kept)
			memset(a->kept + r * words, 0xff, (size_t)words * sizeof *a->kept);
		head_sums s = head_row(z, v);
		int64_t id = temp > 0 ? head_inverse_cdf(z, v, s, uniform(a->key, a->counter + 4 * r)) : head_argmax(z, v);
		a->token[r] = (int32_t)(kept ? head_word(kept, id) : id);
		a->logp[r] = head_logp(s, z[id]);
		a->ent[r] = head_entropy(s);
	}
}
