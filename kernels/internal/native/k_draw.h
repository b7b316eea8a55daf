/* k_draw.h: one word drawn from a row of logits, whole or truncated, as a function of a counter. */

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
 * front of z. e is scratch. cut: k (0: all), p (0 or 1: all), min-p (0: all). mass: the probability of what is kept. */
static int64_t head_truncate(float *z, float *e, int64_t v, const float *cut, uint32_t *kept, float *mass)
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
	double all = 0, left = 0;
	for (int64_t i = 0; i < v; i++) {
		uint32_t k = head_rank(z[i]);
		all += (double)e[i];
		if (k < c.rank || (k == c.rank && c.ties-- <= 0) || e[i] < cut[2])
			continue;
		kept[i / 32] |= 1u << (i % 32);
		z[n++] = z[i];
		left += (double)e[i];
	}
	*mass = (float)(left / all);
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
			v = head_truncate(z, a->o + r * a->ldz, v, a->cut + 3 * r, kept, a->mass + r);
		else if (a->kept) {
			memset(a->kept + r * words, 0xff, (size_t)words * sizeof *a->kept);
			a->mass[r] = 1;
		}
		head_sums s = head_row(z, v);
		int64_t id = temp > 0 ? head_inverse_cdf(z, v, s, uniform(a->key, a->counter + 4 * r)) : head_argmax(z, v);
		a->token[r] = (int32_t)(kept ? head_word(kept, id) : id);
		a->logp[r] = head_logp(s, z[id]);
		a->ent[r] = head_entropy(s);
	}
}
