/* logits.h: softmax statistics of a row of logits. A row is taken in chunks of 1,024 words, 16 lanes a chunk, each closed from scratch; the
 * chunks are merged in order. */
#ifndef R1_LOGITS_H
#define R1_LOGITS_H

#include "gpu.h"

#define HEAD_CHUNK 1024
#define HEAD_CHUNKS 512       /* of the largest vocabulary */
#define HEAD_FLOOR (-1e30f)   /* of log-probs: 0 times it is 0 */

/* Max m, sum l of exp(z - m) and sum s of exp(z - m) (z - m). */
struct sums {
	float m, l, s;
};

DEVICE sums sums_merge(sums a, sums b)
{
	float m = b.m > a.m ? b.m : a.m, ea = fexp(a.m - m), eb = fexp(b.m - m);
	float sa = ea * fmaf(a.l, a.m - m, a.s), sb = eb * fmaf(b.l, b.m - m, b.s);
	return {m, fmaf(b.l, eb, a.l * ea), sa + sb};
}

/* The sums of each chunk into part, which the block shares, and of the row. All threads call it and get it. */
DEVICE sums sums_of(const float *z, i64 n, sums *part)
{
	int chunks = (int)((n + HEAD_CHUNK - 1) / HEAD_CHUNK);
	barrier();
	for (int c = vec(); c < chunks; c += vecs()) {
		i64 first = (i64)c * HEAD_CHUNK, end = least<i64>(n, first + HEAD_CHUNK);
		float m = -INFINITY, l = 0, s = 0;
		for (i64 i = first + lane(); i < end; i += 16)
			m = most(z[i], m);
		m = lane_max(m);
		for (i64 i = first + lane(); i < end; i += 16) {
			float d = z[i] - m, e = fexp(d);
			l = l + e;
			s = fmaf(e, most(d, HEAD_FLOOR), s);
		}
		l = lane_sum(l);
		s = lane_sum(s);
		if (lane() == 0)
			part[c] = {m, l, s};
	}
	barrier();
	SHARED sums whole;
	if (threadIdx.x == 0) {
		sums t = part[0];
		for (int c = 1; c < chunks; c++)
			t = sums_merge(t, part[c]);
		whole = t;
	}
	barrier();
	return whole;
}

DEVICE float log_prob(sums s, float z) { return (z - s.m) - flog(s.l); }
DEVICE float entropy(sums s) { return flog(s.l) - s.s / s.l; }

/* softcap(z) / temperature */
DEVICE float head_shape(float z, float softcap, float temp)
{
	if (softcap > 0)
		z = softcap * ftanh(z / softcap);
	return temp != 1.0f ? z / temp : z;
}

#endif
