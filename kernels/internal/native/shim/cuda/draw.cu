/* draw.cu: one word drawn from each row of logits, whole or truncated, as a function of a counter. A block a row. */
#include "args.h"
#include "logits.h"

#define THREADS 256

/* Philox-4x32-10 (Salmon et al., SC 2011): 53 bits of its first two words, in [0, 1) */
DEVICE double uniform(const int *key, const int *counter)
{
	u32 k0 = (u32)key[0], k1 = (u32)key[1], c[4] = {(u32)counter[0], (u32)counter[1], (u32)counter[2], (u32)counter[3]};
	for (int r = 0; r < 10; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
		u64 x = (u64)0xD2511F53u * c[0], y = (u64)0xCD9E8D57u * c[2];
		u32 n0 = (u32)(y >> 32) ^ c[1] ^ k0, n2 = (u32)(x >> 32) ^ c[3] ^ k1;
		c[1] = (u32)y, c[3] = (u32)x, c[0] = n0, c[2] = n2;
	}
	return ((double)(c[0] >> 5) * 67108864.0 + (double)(c[1] >> 6)) / 9007199254740992.0;
}

/* the likeliest word, of equals the first */
DEVICE i64 likeliest(const float *z, i64 v)
{
	SHARED float value[THREADS];
	SHARED i64 word[THREADS];
	float best = -INFINITY;
	i64 at = v;
	for (i64 i = threadIdx.x; i < v; i += THREADS)
		if (z[i] > best)
			best = z[i], at = i;
	value[threadIdx.x] = best, word[threadIdx.x] = at;
	barrier();
	for (int t = 0; t < THREADS; t++)
		if (value[t] > best || (value[t] == best && word[t] < at))
			best = value[t], at = word[t];
	return at < v ? at : 0;
}

/* The first word whose cumulative mass exceeds u times the total: chunk masses in float64, then words inside one chunk. part: of each chunk,
 * as sums_of left it. */
DEVICE i64 inverse_cdf(const float *z, i64 v, sums all, const sums *part, double u)
{
	SHARED float e[HEAD_CHUNK];
	SHARED double below, factor, target;
	SHARED i64 from, drawn;
	int chunks = (int)((v + HEAD_CHUNK - 1) / HEAD_CHUNK);
	if (threadIdx.x == 0) {
		double total = 0, sum = 0;
		for (int c = 0; c < chunks; c++)
			total += (double)part[c].l * (double)fexp(part[c].m - all.m);
		target = u * total;
		int c = 0;
		for (;; c++) {
			double f = (double)fexp(part[c].m - all.m), mass = (double)part[c].l * f;
			factor = f;
			if (sum + mass > target || c + 1 == chunks)
				break;
			sum += mass;
		}
		below = sum, from = (i64)c * HEAD_CHUNK;
	}
	barrier();
	int n = (int)least<i64>(HEAD_CHUNK, v - from);
	for (int i = (int)threadIdx.x; i < n; i += THREADS)
		e[i] = fexp(z[from + i] - part[from / HEAD_CHUNK].m);
	barrier();
	if (threadIdx.x == 0) {
		double sum = below;
		int last = -1, found = -1;
		for (int i = 0; i < n && found < 0; i++) {
			if (e[i] > 0)
				last = i;
			double step = (double)e[i] * factor;
			sum += step;
			if (sum > target)
				found = i;
		}
		drawn = from + (found >= 0 ? found : last < 0 ? 0 : last); /* rounding left a sliver: the chunk's last possible word */
	}
	barrier();
	return drawn;
}

/* ---- truncation: words in order of larger logit, then lower id; what is kept is a beginning of that order ---- */

/* as large as the logit is; -0 is 0 */
DEVICE u32 rank_of(float z)
{
	u32 u = float_bits(z + 0.0f);
	return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* The words of a rank above rank, and the first ties of that rank. */
struct cut {
	u32 rank;
	i64 ties;
	double mass;
};

/* Masses are whole numbers of 2^-43, so that threads may add them in any order. */
DEVICE u64 whole(float e) { return e > 0 ? (u64)((double)e * 8796093022208.0) : 0; }

/* The shortest beginning with most words or a mass of at least enough; e: exp(z - max). The rank is found 11, 11 and 10 bits at a time. */
DEVICE cut begin(const float *z, const float *e, i64 v, i64 at_most, double enough)
{
	SHARED u32 words[2048];
	SHARED u64 mass[2048];
	SHARED cut found;
	SHARED u32 prefix;
	i64 n = 0;
	double below = 0;
	for (int shift = 21, known = 32; known; known = shift, shift = shift > 11 ? shift - 11 : 0) {
		barrier();
		for (int j = (int)threadIdx.x; j < 2048; j += THREADS)
			words[j] = 0, mass[j] = 0;
		barrier();
		for (i64 i = threadIdx.x; i < v; i += THREADS) {
			u32 k = rank_of(z[i]);
			if (known == 32 || k >> known == prefix) {
				k = k >> shift & ((1u << (known - shift)) - 1);
				count_one(words + k);
				count_mass(mass + k, whole(e[i]));
			}
		}
		barrier();
		if (threadIdx.x == 0) {
			i64 next_n = n;
			double next = below;
			u32 b = 0;
			for (int j = 2047; j >= 0; j--) {
				if (!words[j])
					continue;
				b = (u32)j, n = next_n, below = next;
				next_n += words[j], next += (double)mass[j];
				if (next_n >= at_most || next >= enough)
					break;
			}
			prefix = known == 32 ? b : prefix << (known - shift) | b;
			double one = (double)mass[b] / words[b];
			i64 ties = 1;
			while (ties < words[b] && n + ties < at_most && below + (double)ties * one < enough)
				ties++;
			found = {prefix, ties, below + (double)ties * one}; /* the last round's stays */
		}
		barrier();
	}
	return found;
}

/* adds up one number a thread, in order: of those before, and of all */
DEVICE i64 before(i64 n, i64 *all)
{
	SHARED i64 counts[THREADS];
	barrier();
	counts[threadIdx.x] = n;
	barrier();
	i64 sum = 0, mine = 0;
	for (u32 t = 0; t < THREADS; t++) {
		if (t == threadIdx.x)
			mine = sum;
		sum += counts[t];
	}
	*all = sum;
	return mine;
}

/* Keeps what top-k, then top-p of the mass left, then min-p of the likeliest leave: marks it in the bits of kept and puts the logits, in
 * order, into e, which is scratch. rule: k (0: all), p (0 or 1: all), min-p (0: all). mass: the probability of what is kept. */
DEVICE i64 truncate(const float *z, float *e, i64 v, const float *rule, int *kept, float *mass)
{
	SHARED double left[THREADS], all[THREADS];
	i64 at_most = rule[0] >= 1 && rule[0] < (float)v ? (i64)rule[0] : v, groups = (v + 31) / 32, per = (groups + THREADS - 1) / THREADS;
	float top = z[likeliest(z, v)];
	for (i64 i = threadIdx.x; i < v; i += THREADS)
		e[i] = fexp(z[i] - top);
	cut c = {0, v, 0};
	bool p = rule[1] > 0 && rule[1] < 1;
	barrier();
	if (p || at_most < v)
		c = begin(z, e, v, at_most, INFINITY);
	if (p)
		c = begin(z, e, v, at_most, (double)rule[1] * c.mass);
	i64 lo = least(v, 32 * per * threadIdx.x), hi = least(v, lo + 32 * per), ties = 0, total, n = 0;
	for (i64 i = lo; i < hi; i++)
		ties += rank_of(z[i]) == c.rank;
	ties = c.ties - before(ties, &total);
	double whole_mass = 0, left_mass = 0;
	for (i64 i = lo; i < hi; i++) {
		u32 k = rank_of(z[i]);
		whole_mass += (double)e[i];
		bool stays = !(k < c.rank || (k == c.rank && ties-- <= 0) || e[i] < rule[2]);
		if (i % 32 == 0)
			kept[i / 32] = 0;
		if (stays) {
			kept[i / 32] = (int)((u32)kept[i / 32] | 1u << (i % 32));
			left_mass += (double)e[i];
			n++;
		}
	}
	left[threadIdx.x] = left_mass, all[threadIdx.x] = whole_mass;
	i64 at = before(n, &total); /* and all have read e */
	for (i64 i = lo; i < hi; i++)
		if ((u32)kept[i / 32] >> (i % 32) & 1)
			e[at++] = z[i];
	if (threadIdx.x == 0) {
		double x = 0, y = 0;
		for (int t = 0; t < THREADS; t++)
			x += left[t], y += all[t];
		*mass = (float)(x / y);
	}
	barrier();
	return total;
}

/* the word of the bit that has i set ones before it */
DEVICE i64 word_of(const int *kept, i64 i)
{
	i64 j = 0;
	for (; i >= bits_set((u32)kept[j]); j++)
		i -= bits_set((u32)kept[j]);
	u32 bits = (u32)kept[j];
	for (; i > 0; i--)
		bits &= bits - 1;
	return 32 * j + bits_set((bits & (0u - bits)) - 1);
}

KERNEL(r1_head_draw, draw_args)
{
	SHARED sums part[HEAD_CHUNKS];
	i64 r = blockIdx.x, v = a.v, words = (v + 31) / 32;
	float *z = a.z + r * a.v, temp = a.temp ? a.temp[r] : 1.0f;
	bool truncates = a.cut && temp > 0;
	for (i64 i = threadIdx.x; i < v; i += THREADS)
		z[i] = head_shape(z[i], a.softcap, temp > 0 ? temp : 1.0f);
	barrier();
	if (truncates) {
		v = truncate(z, a.o + r * a.v, v, a.cut + 3 * r, a.kept + r * words, a.mass + r);
		z = a.o + r * a.v;
	} else if (a.cut) {
		for (i64 i = threadIdx.x; i < words; i += THREADS)
			a.kept[r * words + i] = -1;
		if (threadIdx.x == 0)
			a.mass[r] = 1;
	}
	sums s = sums_of(z, v, part);
	i64 id = temp > 0 ? inverse_cdf(z, v, s, part, uniform(a.key, a.counter + 4 * r)) : likeliest(z, v);
	if (threadIdx.x == 0) {
		a.token[r] = (int)(truncates ? word_of(a.kept + r * words, id) : id);
		a.logp[r] = log_prob(s, z[id]);
		a.ent[r] = entropy(s);
	}
}
