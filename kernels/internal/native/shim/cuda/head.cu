/* head.cu: what follows the last matrix product: log-prob, entropy and divergence of rows of logits, and their gradient. A block a row. */
#include "args.h"
#include "logits.h"

/* Row r's words, or all. */
struct words {
	const int *ids; /* or none */
	i64 n, target;
};
DEVICE words words_of(const head_args &a, i64 r)
{
	if (!a.keep_at)
		return {nullptr, a.v, a.target[r]};
	const int *ids = a.keep + a.keep_at[r];
	i64 n = a.keep_at[r + 1] - a.keep_at[r], lo = 0;
	for (i64 left = n; left > 1;) {
		i64 half = left / 2;
		lo += ids[lo + half] <= a.target[r] ? half : 0;
		left -= half;
	}
	return {ids, n, lo};
}

/* the logits of the kept words to the front: ids ascend, so nothing is overwritten that is still to be read */
DEVICE void narrow(float *z, const words &k)
{
	for (i64 from = 0; k.ids && from < k.n; from += blockDim.x) {
		i64 i = from + threadIdx.x;
		float x = i < k.n ? z[k.ids[i]] : 0.0f;
		barrier();
		if (i < k.n)
			z[i] = x;
		barrier();
	}
}
/* the way back, last words first; the other words are 0 */
DEVICE void widen(float *z, i64 v, const words &k)
{
	if (!k.ids)
		return;
	for (i64 from = (k.n - 1) / blockDim.x * blockDim.x; from >= 0; from -= blockDim.x) {
		i64 i = from + threadIdx.x;
		barrier();
		float x = i < k.n ? z[i] : 0.0f;
		barrier();
		if (i < k.n) {
			z[k.ids[i]] = x;
			for (i64 j = k.ids[i] + 1, end = i + 1 < k.n ? k.ids[i + 1] : v; j < end; j++)
				z[j] = 0;
		}
	}
	barrier();
	for (i64 j = threadIdx.x; j < k.ids[0]; j += blockDim.x)
		z[j] = 0;
}
DEVICE void shape(float *z, i64 n, float softcap, float temp)
{
	for (i64 i = threadIdx.x; i < n; i += blockDim.x)
		z[i] = head_shape(z[i], softcap, temp);
}

/* ---- a second distribution q beside p ---- */

/* p (a + m/p - 1), a = log(p/m): a term of KL(p || m) plus m - p; near a = 0 its series */
DEVICE float kl_term(float p, float a, float m)
{
	float s = fmaf(a, -1.0f / 5040, 1.0f / 720);
	s = fmaf(a, s, -1.0f / 120);
	s = fmaf(a, s, 1.0f / 24);
	s = fmaf(a, s, -1.0f / 6);
	s = fmaf(a, s, 0.5f);
	return 0.25f > bits_float(float_bits(a) & 0x7fffffffu) ? ((a * a) * s) * p : fmaf(p, a, m - p);
}
/* log of m = beta q + (1 - beta) p, and m */
DEVICE float mixture(float p, float q, float beta, float *m)
{
	*m = fmaf(beta, q, (1 - beta) * p);
	return most(flog(*m), HEAD_FLOOR);
}

/* kl: KL(p || q) (beta 1), KL(q || p) (beta 0) or between them the generalised Jensen-Shannon divergence; tilt: KL(p || what p is compared
 * with). part: what the block shares. */
DEVICE void divergence(const float *z, float lse, const float *o, float olse, i64 n, float beta, sums *part, float *kl, float *tilt)
{
	int chunks = (int)((n + HEAD_CHUNK - 1) / HEAD_CHUNK);
	barrier();
	for (int c = vec(); c < chunks; c += vecs()) {
		i64 first = (i64)c * HEAD_CHUNK, end = least<i64>(n, first + HEAD_CHUNK);
		float x = 0, y = 0, m;
		for (i64 i = first + lane(); i < end; i += 16) {
			float lp = most(z[i] - lse, HEAD_FLOOR), lq = most(o[i] - olse, HEAD_FLOOR), p = fexp(lp), q = fexp(lq);
			if (beta == 1) {
				x = x + kl_term(p, lp - lq, q);
			} else if (beta == 0) {
				y = y + kl_term(q, lq - lp, p);
			} else {
				float lm = mixture(p, q, beta, &m);
				x = x + kl_term(p, lp - lm, m);
				y = y + kl_term(q, lq - lm, m);
			}
		}
		x = lane_sum(x);
		y = lane_sum(y);
		if (lane() == 0)
			part[c] = {x, y, 0};
	}
	barrier();
	if (threadIdx.x == 0) {
		float x = 0, y = 0;
		for (int c = 0; c < chunks; c++)
			x = x + part[c].m, y = y + part[c].l;
		*tilt = x;
		*kl = beta == 1 ? x : beta == 0 ? y : fmaf(beta, y, (1 - beta) * x);
	}
}
/* the divergence's derivative in a logit of p */
DEVICE float pull(float lp, float p, float lq, float beta, float tilt)
{
	float q = fexp(lq), m;
	lp = most(lp, HEAD_FLOOR);
	if (beta == 0)
		return p - q;
	if (beta == 1)
		return p * ((lp - lq) - tilt);
	float lm = mixture(p, q, beta, &m);
	return (1 - beta) * (p * ((lp - lm) - tilt));
}

KERNEL(r1_head_stats, head_args)
{
	SHARED sums part[HEAD_CHUNKS];
	i64 r = blockIdx.x;
	float *z = a.z + r * a.v, temp = a.temp ? a.temp[r] : 1.0f;
	words k = words_of(a, r);
	narrow(z, k);
	shape(z, k.n, a.softcap, temp);
	sums s = sums_of(z, k.n, part);
	float lse = s.m + flog(s.l);
	if (threadIdx.x == 0) {
		a.logp[r] = log_prob(s, z[k.target]);
		a.ent[r] = entropy(s);
		a.lse[r] = lse;
	}
	if (!a.o)
		return;
	float *o = a.o + r * a.v;
	narrow(o, k);
	shape(o, k.n, a.ocap, temp);
	sums q = sums_of(o, k.n, part);
	float olse = q.m + flog(q.l);
	if (threadIdx.x == 0)
		a.aux[2 * r] = olse;
	divergence(z, lse, o, olse, k.n, a.beta, part, a.kl + r, a.aux + 2 * r + 1);
}

/* z becomes the gradient of sum(dlogp logp + dent ent + dkl kl) in the raw logits: with p = softmax,
 * dlogp (1[target] - p) - dent p (log p + H) + dkl pull, through temperature and softcap */
KERNEL(r1_head_dlogits, head_args)
{
	i64 r = blockIdx.x;
	float *z = a.z + r * a.v, *o = nullptr, temp = a.temp ? a.temp[r] : 1.0f, dl = a.dlogp[r], de = a.dent ? a.dent[r] : 0.0f, dk = a.dkl ? a.dkl[r] : 0.0f, olse = 0, tilt = 0;
	words k = words_of(a, r);
	narrow(z, k);
	float raw = z[k.target], lse = a.lse_in[r], h = a.ent_in[r];
	if (dk != 0) {
		o = a.o + r * a.v;
		narrow(o, k);
		shape(o, k.n, a.ocap, temp);
		olse = a.aux_in[2 * r], tilt = a.aux_in[2 * r + 1];
	}
	barrier();
	for (i64 i = threadIdx.x; i < k.n; i += blockDim.x) {
		float c = z[i], slope = 1.0f;
		if (a.softcap > 0) {
			c = ftanh(c / a.softcap);
			slope = slope - c * c;
			c = a.softcap * c;
		}
		float lp = (temp != 1.0f ? c / temp : c) - lse, p = fexp(lp);
		float d = p * (de != 0 ? fmaf(-de, most(lp, HEAD_FLOOR) + h, -dl) : -dl);
		if (o)
			d = fmaf(dk, pull(lp, p, most(o[i] - olse, HEAD_FLOOR), a.beta, tilt), d);
		z[i] = temp != 1.0f ? d * slope / temp : d * slope;
	}
	barrier();
	if (threadIdx.x == 0) {
		float slope = 1;
		if (a.softcap > 0) {
			float c = ftanh(raw / a.softcap);
			slope = 1 - c * c;
		}
		z[k.target] += temp != 1.0f ? dl * slope / temp : dl * slope;
	}
	widen(z, a.v, k);
}
