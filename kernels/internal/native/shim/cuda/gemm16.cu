/* gemm16.cu: matrix products in bf16 with fp32 sums, by tensor cores. Each output is one chain of mma16 over blocks of 16 in ascending k, the
 * last one filled up with zeros, whatever the tile and however many rows there are: so a row does not depend on those beside it. In the gradient
 * of a weight k are tokens, and each sequence fills up its last block: so it does not matter which sequences go together. */
#include "gpu.h"
#include "args.h"

/* A tile of ROWS rows, DEEP of k at a time, on its way to shared memory. T: float, which is rounded to bf16 there, or bf16. RUNS: neighbours in k
 * are neighbours in memory; else those of neighbouring rows are. Neighbouring threads take neighbours in memory. */
template <class T, int ROWS, int DEEP, int THREADS, bool RUNS> struct piece {
	static const int pairs = DEEP / 2, pitch = pairs + 4; /* words of two neighbours in k; the 32 lanes of a fragment are in 32 banks */
	static const int own = ROWS * pairs / THREADS;          /* words of a thread */
	struct alignas(2 * sizeof(T)) both {
		T v[2];
	};
	both next[own];
	const T *from; /* the first word's */
	i64 ld;
	int row, pair, rows; /* the first word's, and how many rows there are */
	bool aligned;

	DEVICE_MEMBER piece(const T *x, i64 ld, i64 first, i64 m) : ld(ld), rows((int)least<i64>(m - first, ROWS))
	{
		row = (int)threadIdx.x % (RUNS ? THREADS : ROWS) / (RUNS ? pairs : 1), pair = RUNS ? (int)threadIdx.x % pairs : (int)threadIdx.x / ROWS;
		from = RUNS ? x + (first + row) * ld + 2 * pair : x + 2 * pair * ld + first + row;
		aligned = RUNS && ld % 2 == 0 && (u64)x % (2 * sizeof(T)) == 0;
	}
	DEVICE_MEMBER int row_of(int e) const { return RUNS ? row + e * (THREADS / pairs) : row; }
	DEVICE_MEMBER int pair_of(int e) const { return RUNS ? pair : pair + e * (THREADS / ROWS); }
	/* of the depths from k on; 0 past the end of rows and of k, n further */
	DEVICE_MEMBER void fetch(i64 k, int n)
	{
#pragma unroll
		for (int e = 0; e < own; e++) {
			const T *x = from + (RUNS ? k + (i64)e * (THREADS / pairs) * ld : (k + 2 * e * (THREADS / ROWS)) * ld);
			bool there = row_of(e) < rows;
			int at = 2 * pair_of(e);
			if (aligned && there && at + 1 < n) {
				next[e] = *(const both *)(const void *)x;
				continue;
			}
			next[e].v[0] = there && at < n ? x[0] : T(0);
			next[e].v[1] = there && at + 1 < n ? x[RUNS ? 1 : ld] : T(0);
		}
	}
	DEVICE_MEMBER void keep(u32 (&tile)[ROWS][pitch]) const
	{
#pragma unroll
		for (int e = 0; e < own; e++)
			tile[row_of(e)][pair_of(e)] = word(next[e].v[0], next[e].v[1]);
	}
	DEVICE_MEMBER static u32 word(float low, float high) { return pair16(low, high); }
	DEVICE_MEMBER static u32 word(unsigned short low, unsigned short high) { return low | (u32)high << 16; }
};

/* What of k is taken together: n from first on, at most DEEP of one sequence, or of all where there are none. */
template <int DEEP> struct walk {
	const int *segs; /* [count,3], or none */
	int count, seq = 0, n;
	i64 first, end;

	DEVICE_MEMBER walk(const int *segs, int count, i64 k) : segs(segs), count(segs ? count : 1), first(0), end(segs ? segs[1] : k) { n = (int)least<i64>(end, DEEP); }
	DEVICE_MEMBER bool more() const { return n > 0; }
	DEVICE_MEMBER void next()
	{
		first += n;
		if (first == end && ++seq < count) /* sequences lie end to end, none is empty */
			end += segs[3 * seq + 1];
		n = (int)least<i64>(end - first, DEEP);
	}
};

enum { FORWARD, BACK, WEIGHT };
template <int KIND> struct factor_b {
	using type = unsigned short;
};
template <> struct factor_b<WEIGHT> {
	using type = float;
};
DEVICE const unsigned short *factor_of(const gemm16_args &a, unsigned short) { return a.b; }
DEVICE const float *factor_of(const gemm16_args &a, float) { return a.x; }

/* A block makes ROWS x COLS of c by DOWN x ACROSS warps. While it multiplies one piece of k it fetches the next. */
template <int ROWS, int COLS, int DOWN, int ACROSS, int DEEP, int KIND> DEVICE void product16(const gemm16_args &a)
{
	using T = typename factor_b<KIND>::type;
	const int threads = 32 * DOWN * ACROSS, down = ROWS / DOWN / 16, across = COLS / ACROSS / 8, pitch = DEEP / 2 + 4;
	SHARED u32 as[2][ROWS][pitch];
	SHARED u32 bs[2][COLS][pitch];
	i64 row0 = (i64)blockIdx.y * ROWS, col0 = (i64)blockIdx.x * COLS;
	int warp = (int)threadIdx.x / 32, g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4, top = warp / ACROSS * 16 * down, left = warp % ACROSS * 8 * across;
	float s[down][across][4] = {};
#pragma unroll
	for (int i = 0; i < down; i++)
#pragma unroll
		for (int j = 0; j < across; j++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				i64 r = row0 + top + 16 * i + g + 8 * (e / 2), c = col0 + left + 8 * j + 2 * t + e % 2;
				if (KIND == WEIGHT && r < a.m && c < a.n)
					s[i][j][e] = a.c[r * a.n + c];
			}
	piece<float, ROWS, DEEP, threads, KIND != WEIGHT> x(a.a, KIND == WEIGHT ? a.m : a.k, row0, a.m);
	piece<T, COLS, DEEP, threads, KIND == FORWARD> w(factor_of(a, T()), KIND == FORWARD ? a.k : a.n, col0, a.n);
	walk<DEEP> k(KIND == WEIGHT ? a.segs : nullptr, a.nsegs, a.k);
	x.fetch(k.first, k.n), w.fetch(k.first, k.n);
	for (int at = 0; k.more(); at ^= 1) {
		x.keep(as[at]), w.keep(bs[at]); /* who still multiplies reads the other half */
		barrier();
		int n = k.n;
		k.next();
		if (k.more())
			x.fetch(k.first, k.n), w.fetch(k.first, k.n);
#pragma unroll
		for (int p = 0; p < DEEP / 2; p += 8) {
			if (2 * p >= n)
				break;
			u32 xs[down][4], ws[across][2];
#pragma unroll
			for (int i = 0; i < down; i++)
#pragma unroll
				for (int e = 0; e < 4; e++)
					xs[i][e] = as[at][top + 16 * i + g + 8 * (e % 2)][p + t + 4 * (e / 2)];
#pragma unroll
			for (int j = 0; j < across; j++)
#pragma unroll
				for (int e = 0; e < 2; e++)
					ws[j][e] = bs[at][left + 8 * j + g][p + t + 4 * e];
#pragma unroll
			for (int i = 0; i < down; i++)
#pragma unroll
				for (int j = 0; j < across; j++)
					mma16(s[i][j], xs[i], ws[j]);
		}
	}
#pragma unroll
	for (int i = 0; i < down; i++)
#pragma unroll
		for (int j = 0; j < across; j++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				i64 r = row0 + top + 16 * i + g + 8 * (e / 2), c = col0 + left + 8 * j + 2 * t + e % 2;
				if (r < a.m && c < a.n)
					a.c[r * a.n + c] = a.bias ? s[i][j][e] + a.bias[c] : s[i][j][e];
			}
}

/* c = a bT + bias, b [n,k]; for few rows small blocks, so that there are many */
KERNEL(r1_gemm16_few, gemm16_args) { product16<16, 32, 1, 4, 64, FORWARD>(a); }
KERNEL(r1_gemm16_some, gemm16_args) { product16<64, 64, 2, 2, 32, FORWARD>(a); }
KERNEL(r1_gemm16_many, gemm16_args) { product16<128, 128, 2, 4, 32, FORWARD>(a); }
/* c = a b, b [k,n] */
KERNEL(r1_gemm16_back_few, gemm16_args) { product16<16, 32, 1, 4, 64, BACK>(a); }
KERNEL(r1_gemm16_back_some, gemm16_args) { product16<64, 64, 2, 2, 32, BACK>(a); }
KERNEL(r1_gemm16_back_many, gemm16_args) { product16<128, 128, 2, 4, 32, BACK>(a); }
/* c += aT x, a [k,m], x [k,n] */
KERNEL(r1_gemm16_weight, gemm16_args) { product16<128, 128, 2, 4, 32, WEIGHT>(a); }

/* the high half of x, rounded; what is no number stays that */
DEVICE u32 high16(float x, int away)
{
	u32 u = float_bits(x), r = u + (away ? 0x8000u : 0x7fffu + (u >> 16 & 1));
	return (x != x ? u | 0x400000u : r) >> 16;
}
KERNEL(r1_round16, round16_args)
{
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
		a.y[i] = bits_float(high16(a.x[i], a.away) << 16);
}
KERNEL(r1_pack16, round16_args)
{
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
		a.packed[i] = (unsigned short)high16(a.x[i], a.away);
}
