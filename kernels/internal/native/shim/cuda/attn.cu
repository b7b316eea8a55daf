/* attn.cu: causal attention over packed sequences and over pages, forward and back, without atomics.
 *
 * Keys are taken in chunks of 256 at absolute positions, a thread a key; each chunk is closed from scratch (max, sum over 16 lanes,
 * weighted values in ascending order) and the chunks are merged in ascending order. So a row's result depends on its own sequence and
 * position alone, and prefill, decode and training give the same bits. */
#include "gpu.h"
#include "args.h"

#define CHUNK 256  /* keys, and threads of a block */
#define QUERIES 4  /* that a block takes at a time */
#define WIDTH 512  /* largest head size */

/* Where the key of a position lies: rows of packed sequences (the parent's first), or pages. */
struct keys {
	int first, parent_first, parent_len, slots;
	const int *pages; /* or none */
};
DEVICE int key_row(const keys &s, int pos)
{
	if (s.pages)
		return s.pages[pos / s.slots] * s.slots + pos % s.slots;
	return pos < s.parent_len ? s.parent_first + pos : s.first + pos - s.parent_len;
}
DEVICE keys keys_of(const attn_args &a, int seq)
{
	const int *s = a.segs + 3 * seq;
	keys k = {s[0], 0, 0, 1, nullptr};
	if (s[2] >= 0)
		k.parent_first = a.segs[3 * s[2]], k.parent_len = a.segs[3 * s[2] + 1];
	return k;
}
/* the sequence of a row */
DEVICE int seq_of(const attn_args &a, int row)
{
	int lo = 0;
	for (int n = a.n; n > 1;) {
		int half = n / 2;
		lo += a.segs[3 * (lo + half)] <= row ? half : 0;
		n -= half;
	}
	return lo;
}
DEVICE int first_seen(const attn_args &a, int pos) { return a.window > 0 && pos >= a.window ? pos - a.window + 1 : 0; }

/* What the threads of a block share. x, y: rows of queries and of what comes back for them, 0 past the head size. */
struct block {
	float tile[CHUNK][17], x[QUERIES][WIDTH], p[QUERIES][CHUNK];
	float m[QUERIES], l[QUERIES], old[QUERIES], add[QUERIES];
	int row[CHUNK];                           /* of each thread's key, -1: none is read */
	int at[QUERIES], head[QUERIES], pos[QUERIES], from[QUERIES]; /* of each query; at -1: none */
};

/* z[r] = x[r] dot the thread's key, as 16 lanes have it; values [rows,G,d] */
DEVICE void dots(const attn_args &a, block &b, const float (*x)[WIDTH], const float *values, int g, float *z)
{
	float acc[QUERIES][16];
	for (int r = 0; r < QUERIES; r++)
		for (int l = 0; l < 16; l++)
			acc[r][l] = 0;
	for (int i = 0; i < a.d; i += 16) {
		barrier();
		for (int j = vec(); j < CHUNK; j += CHUNK / 16)
			b.tile[j][lane()] = b.row[j] >= 0 && i + lane() < a.d ? values[((i64)b.row[j] * a.g + g) * a.d + i + lane()] : 0.0f;
		barrier();
#pragma unroll
		for (int l = 0; l < 16; l++) {
			float k = b.tile[threadIdx.x][l];
#pragma unroll
			for (int r = 0; r < QUERIES; r++)
				acc[r][l] = fmaf(x[r][i + l], k, acc[r][l]);
		}
	}
	for (int r = 0; r < QUERIES; r++)
		z[r] = tree_sum(acc[r]);
}

/* softcap and scale: cap tanh(s scale / cap), or s scale */
DEVICE float shaped(const attn_args &a, float s) { return a.softcap > 0 ? a.softcap * ftanh(s * a.scale / a.softcap) : s * a.scale; }

/* QUERIES queries from number u on of those of rows row0 .. row0 + rows - 1 and the heads of group g: which they are */
DEVICE void take(const attn_args &a, block &b, const keys &k, int g, int row0, int rows, int u)
{
	barrier();
	int r = (int)threadIdx.x, per = a.h / a.g;
	if (r < QUERIES) {
		int row = row0 + (u + r) / per;
		b.at[r] = u + r < rows * per ? row : -1;
		b.head[r] = g * per + (u + r) % per;
		b.pos[r] = b.at[r] < 0 ? -1 : k.pages ? a.rows[2 * row + 1] : row - k.first + k.parent_len;
		b.from[r] = b.at[r] < 0 ? 0 : first_seen(a, b.pos[r]);
	}
	barrier();
}
/* the queries' rows of values [T,H,d] */
DEVICE void fetch(const attn_args &a, const block &b, float (*x)[WIDTH], const float *values)
{
	int width = (a.d + 15) / 16 * 16;
	for (int e = (int)threadIdx.x; e < QUERIES * width; e += CHUNK) {
		int r = e / width, i = e % width;
		x[r][i] = b.at[r] >= 0 && i < a.d ? values[((i64)b.at[r] * a.h + b.head[r]) * a.d + i] : 0.0f;
	}
}
/* the positions that the queries at hand see between them */
DEVICE void span(const block &b, int &from, int &to)
{
	from = 0x7fffffff, to = -1;
	for (int r = 0; r < QUERIES; r++)
		if (b.at[r] >= 0)
			from = least(from, b.from[r]), to = most(to, b.pos[r]);
}
DEVICE bool sees(const block &b, int r, int key) { return b.at[r] >= 0 && b.from[r] <= key && key <= b.pos[r]; }
/* a query has begun with the chunk at c0, and has keys in it */
DEVICE bool inside(const block &b, int r, int c0) { return b.at[r] >= 0 && b.from[r] / CHUNK * CHUNK <= c0 && c0 <= b.pos[r]; }

/* sum over the query's keys in the chunk at c0, ascending, of p times element i of their values, onto sum */
DEVICE float mix(const attn_args &a, const block &b, int r, const float *values, int g, int c0, int i, float sum)
{
	int from = most(0, b.from[r] - c0), to = least(CHUNK - 1, b.pos[r] - c0);
	for (int j = from; j <= to; j++)
		sum = fmaf(b.p[r][j], values[((i64)b.row[j] * a.g + g) * a.d + i], sum);
	return sum;
}

/* each query's scores p of a chunk become exp(score - max); how the chunk is merged with those before, unless it is taken alone */
DEVICE void close(block &b, int c0, bool alone)
{
	int r = vec();
	if (r < QUERIES && inside(b, r, c0)) {
		float m = -INFINITY, sum = 0;
		for (int i = lane(); i < CHUNK; i += 16)
			m = most(b.p[r][i], m);
		m = lane_max(m);
		for (int i = lane(); i < CHUNK; i += 16) {
			float e = fexp(b.p[r][i] - m);
			b.p[r][i] = e;
			sum = sum + e;
		}
		sum = lane_sum(sum);
		if (lane() == 0) {
			bool first = alone || b.from[r] / CHUNK * CHUNK == c0;
			float top = first || m > b.m[r] ? m : b.m[r];
			b.old[r] = first ? 0.0f : fexp(b.m[r] - top), b.add[r] = first ? 1.0f : fexp(m - top);
			b.l[r] = first ? sum : fmaf(sum, b.add[r], b.l[r] * b.old[r]);
			b.m[r] = top;
		}
	}
}

/* what a query has of one chunk, taken alone: d weighted values, their max and sum */
DEVICE float *part_of(const attn_args &a, i64 query, int chunk) { return a.part + (query * a.chunks + chunk) * (a.d + 2); }

/* Rows row0 .. row0 + rows - 1, which read the same keys, and the heads of group g: all chunks, merged, or one chunk alone into part. */
DEVICE void attend(const attn_args &a, block &b, float (*out)[WIDTH], const keys &k, int g, int row0, int rows, int alone)
{
	for (int u = 0; u < rows * (a.h / a.g); u += QUERIES) {
		int from, to;
		take(a, b, k, g, row0, rows, u);
		span(b, from, to);
		if (alone >= 0)
			from = most(from, alone * CHUNK), to = least(to, alone * CHUNK + CHUNK - 1);
		if (from > to)
			continue;
		fetch(a, b, b.x, a.q);
		for (int c0 = from / CHUNK * CHUNK; c0 <= to; c0 += CHUNK) {
			int key = c0 + (int)threadIdx.x;
			float z[QUERIES];
			barrier();
			b.row[threadIdx.x] = from <= key && key <= to ? key_row(k, key) : -1;
			dots(a, b, b.x, a.k, g, z);
			for (int r = 0; r < QUERIES; r++)
				b.p[r][threadIdx.x] = sees(b, r, key) ? shaped(a, z[r]) : -INFINITY;
			barrier();
			close(b, c0, alone >= 0);
			barrier();
			for (int e = (int)threadIdx.x; e < QUERIES * a.d; e += CHUNK) {
				int r = e / a.d, i = e % a.d;
				if (inside(b, r, c0)) {
					float part = mix(a, b, r, a.v, g, c0, i, 0.0f);
					out[r][i] = alone >= 0 || b.from[r] / CHUNK * CHUNK == c0 ? part : fmaf(part, b.add[r], out[r][i] * b.old[r]);
				}
			}
		}
		for (int e = (int)threadIdx.x; e < QUERIES * a.d; e += CHUNK) {
			int r = e / a.d, i = e % a.d;
			i64 query = (i64)b.at[r] * a.h + b.head[r];
			if (alone >= 0 && inside(b, r, alone * CHUNK))
				part_of(a, query, alone)[i] = out[r][i];
			else if (alone < 0 && b.at[r] >= 0)
				a.o[query * a.d + i] = out[r][i] / b.l[r];
		}
		int r = (int)threadIdx.x;
		if (r < QUERIES && alone >= 0 && inside(b, r, alone * CHUNK)) {
			float *part = part_of(a, (i64)b.at[r] * a.h + b.head[r], alone) + a.d;
			part[0] = b.m[r], part[1] = b.l[r];
		} else if (r < QUERIES && alone < 0 && a.lse && b.at[r] >= 0) {
			a.lse[(i64)b.at[r] * a.h + b.head[r]] = b.m[r] + flog(b.l[r]);
		}
	}
}

/* a block a tile of rows and a key head */
KERNEL(r1_attn, attn_args)
{
	SHARED block b;
	SHARED float out[QUERIES][WIDTH];
	int end = least(a.t, (int)(blockIdx.x + 1) * a.tile);
	for (int row = (int)blockIdx.x * a.tile; row < end;) {
		int seq = seq_of(a, row), to = least(end, a.segs[3 * seq] + a.segs[3 * seq + 1]);
		attend(a, b, out, keys_of(a, seq), (int)blockIdx.y, row, to - row, -1);
		row = to;
	}
}
/* over pages; with part a block takes one chunk of 256 keys alone, so that a long context has many blocks */
KERNEL(r1_attn_paged, attn_args)
{
	SHARED block b;
	SHARED float out[QUERIES][WIDTH];
	int end = least(a.t, (int)(blockIdx.x + 1) * a.tile);
	for (int row = (int)blockIdx.x * a.tile; row < end;) {
		int to = row + 1, of = a.rows[2 * row];
		while (to < end && a.rows[2 * to] == of)
			to++;
		keys k = {0, 0, 0, a.slots, a.table + (i64)of * a.pages};
		attend(a, b, out, k, (int)blockIdx.y, row, to - row, a.part ? (int)blockIdx.z : -1);
		row = to;
	}
}

/* a block a query: its chunks merged as attend merges them */
KERNEL(r1_attn_merge, attn_args)
{
	i64 query = (i64)blockIdx.x * a.h + blockIdx.y;
	int pos = a.rows[2 * blockIdx.x + 1], first = first_seen(a, pos) / CHUNK;
	for (int i = (int)threadIdx.x; i < a.d; i += (int)blockDim.x) {
		const float *part = part_of(a, query, first);
		float o = part[i], m = part[a.d], l = part[a.d + 1];
		for (int chunk = first + 1; chunk <= pos / CHUNK; chunk++) {
			part = part_of(a, query, chunk);
			float top = part[a.d] > m ? part[a.d] : m, old = fexp(m - top), add = fexp(part[a.d] - top);
			o = fmaf(part[i], add, o * old);
			l = fmaf(part[a.d + 1], add, l * old);
			m = top;
		}
		a.o[query * a.d + i] = o / l;
	}
}

/* ---- back: p = exp(s - lse), ds = p (do.v - do.o), dq = ds k, dk = ds q, dv = p do (arXiv 2205.14135, algorithm 4) ---- */

/* ds of a score z and dov = do.v */
DEVICE float score_grad(const attn_args &a, float z, float p, float dov, float delta)
{
	float d = (p * (dov - delta)) * a.scale;
	if (a.softcap > 0) {
		float c = z / a.softcap;
		d = d * (1.0f - c * c);
	}
	return d;
}
/* for each query: m is the log of its denominator, l is do.o */
DEVICE void denominators(const attn_args &a, block &b, const float (*dout)[WIDTH])
{
	int r = vec();
	if (r < QUERIES && b.at[r] >= 0) {
		i64 q = (i64)b.at[r] * a.h + b.head[r];
		float sum = 0;
		for (int i = lane(); i < a.d; i += 16)
			sum = fmaf(dout[r][i], a.oin[q * a.d + i], sum);
		sum = lane_sum(sum);
		if (lane() == 0)
			b.l[r] = sum, b.m[r] = a.lse_in[q];
	}
	barrier();
}

KERNEL(r1_attn_dq, attn_args)
{
	SHARED block b;
	SHARED float dout[QUERIES][WIDTH];
	int g = (int)blockIdx.y, end = least(a.t, (int)(blockIdx.x + 1) * a.tile);
	for (int row = (int)blockIdx.x * a.tile; row < end;) {
		int seq = seq_of(a, row), stop = least(end, a.segs[3 * seq] + a.segs[3 * seq + 1]);
		keys k = keys_of(a, seq);
		for (int u = 0; u < (stop - row) * (a.h / a.g); u += QUERIES) {
			int from, to;
			take(a, b, k, g, row, stop - row, u);
			fetch(a, b, b.x, a.q);
			fetch(a, b, dout, a.dout);
			barrier();
			denominators(a, b, dout);
			span(b, from, to);
			for (int c0 = from / CHUNK * CHUNK; c0 <= to; c0 += CHUNK) {
				int key = c0 + (int)threadIdx.x;
				float z[QUERIES], dov[QUERIES];
				barrier();
				b.row[threadIdx.x] = from <= key && key <= to ? key_row(k, key) : -1;
				dots(a, b, b.x, a.k, g, z);
				dots(a, b, dout, a.v, g, dov);
				for (int r = 0; r < QUERIES; r++) {
					float s = shaped(a, z[r]);
					b.p[r][threadIdx.x] = sees(b, r, key) ? score_grad(a, s, fexp(s - b.m[r]), dov[r], b.l[r]) : 0.0f;
				}
				barrier();
				for (int e = (int)threadIdx.x; e < QUERIES * a.d; e += CHUNK) {
					int r = e / a.d, i = e % a.d;
					if (inside(b, r, c0)) {
						float *dq = a.dq + ((i64)b.at[r] * a.h + b.head[r]) * a.d + i;
						*dq = mix(a, b, r, a.k, g, c0, i, b.from[r] / CHUNK * CHUNK == c0 ? 0.0f : *dq);
					}
				}
			}
		}
		row = stop;
	}
}

/* Adds to the gradients of n keys from row key0 on, at positions pos0 .., what the queries of sequence seq give, rows in order and heads
 * in order. */
DEVICE void gather(const attn_args &a, block &b, float (*dout)[WIDTH], float (*ds)[CHUNK], int seq, int g, int key0, int pos0, int n)
{
	const int *s = a.segs + 3 * seq;
	keys k = keys_of(a, seq);
	int per = a.h / a.g, row0 = most(s[0], s[0] + pos0 - k.parent_len); /* the first that sees a key */
	for (int u = 0; u < (s[0] + s[1] - row0) * per; u += QUERIES) {
		int from, to;
		take(a, b, k, g, row0, s[0] + s[1] - row0, u);
		span(b, from, to);
		if (from > pos0 + n - 1)
			break; /* the window has left these keys behind */
		fetch(a, b, b.x, a.q);
		fetch(a, b, dout, a.dout);
		barrier();
		denominators(a, b, dout);
		float z[QUERIES], dov[QUERIES];
		dots(a, b, b.x, a.k, g, z);
		dots(a, b, dout, a.v, g, dov);
		for (int r = 0; r < QUERIES; r++) {
			float x = shaped(a, z[r]), p = fexp(x - b.m[r]);
			b.p[r][threadIdx.x] = p;
			ds[r][threadIdx.x] = score_grad(a, x, p, dov[r], b.l[r]);
		}
		barrier();
		for (int e = (int)threadIdx.x; e < n * a.d; e += CHUNK) {
			int j = e / a.d, i = e % a.d;
			i64 place = ((i64)(key0 + j) * a.g + g) * a.d + i;
			float dk = a.dk[place], dv = a.dv[place];
			for (int r = 0; r < QUERIES; r++)
				if (sees(b, r, pos0 + j)) {
					dk = fmaf(ds[r][j], b.x[r][i], dk);
					dv = fmaf(b.p[r][j], dout[r][i], dv);
				}
			a.dk[place] = dk;
			a.dv[place] = dv;
		}
	}
}

/* a block a tile of keys and a key head: a key's gradient adds up over the queries of its own sequence, then of the sequence's children */
KERNEL(r1_attn_dkv, attn_args)
{
	SHARED block b;
	SHARED float dout[QUERIES][WIDTH];
	SHARED float ds[QUERIES][CHUNK];
	int g = (int)blockIdx.y, end = least(a.t, (int)(blockIdx.x + 1) * CHUNK);
	for (int row = (int)blockIdx.x * CHUNK; row < end;) {
		int seq = seq_of(a, row), n = least(end, a.segs[3 * seq] + a.segs[3 * seq + 1]) - row, at = row - a.segs[3 * seq];
		barrier();
		b.row[threadIdx.x] = (int)threadIdx.x < n ? row + (int)threadIdx.x : -1;
		for (int e = (int)threadIdx.x; e < n * a.d; e += CHUNK) {
			i64 place = ((i64)(row + e / a.d) * a.g + g) * a.d + e % a.d;
			a.dk[place] = 0;
			a.dv[place] = 0;
		}
		gather(a, b, dout, ds, seq, g, row, keys_of(a, seq).parent_len + at, n);
		if (a.segs[3 * seq + 2] < 0)
			for (int child = seq + 1; child < a.n; child++)
				if (a.segs[3 * child + 2] == seq)
					gather(a, b, dout, ds, child, g, row, at, n);
		row += n;
	}
}
