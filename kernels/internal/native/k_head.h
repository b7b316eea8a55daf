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

/* items are rows of the block at hand */
static void k_head_stats(const void *args, int64_t lo, int64_t hi, int worker)
{
	const head_args *a = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		float *z = a->z + r * a->ldz;
		head_shape(z, a->v, a->softcap, a->temp ? a->temp[r] : 1.0f);
		head_sums s = head_row(z, a->v);
		a->logp[r] = head_logp(s, z[a->target[r]]);
		a->ent[r] = head_entropy(s);
		a->lse[r] = s.m + f_log(s.l);
	}
}

/* z becomes the gradient of sum(dlogp logp + dent ent) in the raw logits: with p = softmax,
 * dlogp (1[target] - p) - dent p (log p + H), through temperature and softcap */
static void k_head_dlogits(const void *args, int64_t lo, int64_t hi, int worker)
{
	const head_args *a = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		float *z = a->z + r * a->ldz, temp = a->temp ? a->temp[r] : 1.0f, dl = a->dlogp[r];
		float raw = z[a->target[r]], de = a->dent ? a->dent[r] : 0;
		vf lse = v_set1(a->lse_in[r]), dlv = v_set1(-dl), dev = v_set1(-de), h = v_set1(a->ent_in[r]), t = v_set1(temp), cap = v_set1(a->softcap);
		EACH16(0, a->v, i, m, {
			vf x = v_get(z + i, m), c = x, slope = v_set1(1.0f);
			if (a->softcap > 0) {
				c = v_tanh(v_div(x, cap));
				slope = v_sub(slope, v_mul(c, c));
				c = v_mul(cap, c);
			}
			vf lp = v_sub(temp != 1.0f ? v_div(c, t) : c, lse), p = v_exp(lp);
			vf d = v_mul(p, de != 0 ? v_fma(dev, v_add(v_max(lp, v_set1(-1e30f)), h), dlv) : dlv);
			v_put(z + i, temp != 1.0f ? v_div(v_mul(d, slope), t) : v_mul(d, slope), m);
		})
		float slope = 1;
		if (a->softcap > 0) {
			float c = f_tanh(raw / a->softcap);
			slope = 1 - c * c;
		}
		z[a->target[r]] += temp != 1.0f ? dl * slope / temp : dl * slope;
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

static void k_head_draw(const void *args, int64_t lo, int64_t hi, int worker)
{
	const head_args *a = args;
	(void)worker;
	for (int64_t r = lo; r < hi; r++) {
		float *z = a->z + r * a->ldz, temp = a->temp ? a->temp[r] : 1.0f;
		head_shape(z, a->v, a->softcap, temp > 0 ? temp : 1.0f);
		head_sums s = head_row(z, a->v);
		int64_t id = temp > 0 ? head_inverse_cdf(z, a->v, s, uniform(a->key, a->counter + 4 * r)) : head_argmax(z, a->v);
		a->token[r] = (int32_t)id;
		a->logp[r] = head_logp(s, z[id]);
		a->ent[r] = head_entropy(s);
	}
}
