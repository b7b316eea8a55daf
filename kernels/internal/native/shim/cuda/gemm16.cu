/* gemm16.cu: matrix products in bf16 with fp32 sums, by tensor cores. Each output is one chain of mma16 over blocks of 16 in ascending k, the
 * last one filled up with zeros, whatever the tile and however many rows there are: so a row does not depend on those beside it. */
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
	i64 ld, end;
	int row, pair, rows; /* the first word's, and how many rows there are */
	bool aligned;

	DEVICE_MEMBER piece(const T *x, i64 ld, i64 first, i64 m, i64 k) : ld(ld), end(k), rows((int)least<i64>(m - first, ROWS))
	{
		row = (int)threadIdx.x % (RUNS ? THREADS : ROWS) / (RUNS ? pairs : 1), pair = RUNS ? (int)threadIdx.x % pairs : (int)threadIdx.x / ROWS;
		from = RUNS ? x + (first + row) * ld + 2 * pair : x + 2 * pair * ld + first + row;
		aligned = RUNS && ld % 2 == 0 && (u64)x % (2 * sizeof(T)) == 0;
	}
	DEVICE_MEMBER int row_of(int e) const { return RUNS ? row + e * (THREADS / pairs) : row; }
	DEVICE_MEMBER int pair_of(int e) const { return RUNS ? pair : pair + e * (THREADS / ROWS); }
	/* of the depths from k on; 0 past the end of rows and of k */
	DEVICE_MEMBER void fetch(i64 k)
	{
#pragma unroll
		for (int e = 0; e < own; e++) {
			const T *x = from + (RUNS ? k + (i64)e * (THREADS / pairs) * ld : (k + 2 * e * (THREADS / ROWS)) * ld);
			bool there = row_of(e) < rows;
			i64 at = k + 2 * pair_of(e);
			if (aligned && there && at + 1 < end) {
				next[e] = *(const both *)(const void *)x;
				continue;
			}
			next[e].v[0] = there && at < end ? x[0] : T(0);
			next[e].v[1] = there && at + 1 < end ? x[RUNS ? 1 : ld] : T(0);
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

/* A block makes ROWS x COLS of c by DOWN x ACROSS warps. While it multiplies one piece of k it fetches the next. */
template <int ROWS, int COLS, int DOWN, int ACROSS, int DEEP, bool BACK> DEVICE void product16(const gemm16_args &a)
{
	const int threads = 32 * DOWN * ACROSS, down = ROWS / DOWN / 16, across = COLS / ACROSS / 8, pitch = DEEP / 2 + 4;
	SHARED u32 as[2][ROWS][pitch];
	SHARED u32 bs[2][COLS][pitch];
	float s[down][across][4] = {};
	i64 row0 = (i64)blockIdx.y * ROWS, col0 = (i64)blockIdx.x * COLS;
	int warp = (int)threadIdx.x / 32, g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4, top = warp / ACROSS * 16 * down, left = warp % ACROSS * 8 * across;
	piece<float, ROWS, DEEP, threads, true> x(a.a, a.k, row0, a.m, a.k);
	piece<unsigned short, COLS, DEEP, threads, !BACK> w(a.b, BACK ? a.n : a.k, col0, a.n, a.k);
	x.fetch(0), w.fetch(0);
	int at = 0;
	for (i64 k0 = 0; k0 < a.k; k0 += DEEP, at ^= 1) {
		x.keep(as[at]), w.keep(bs[at]); /* who still multiplies reads the other half */
		barrier();
		if (k0 + DEEP < a.k)
			x.fetch(k0 + DEEP), w.fetch(k0 + DEEP);
#pragma unroll
		for (int p = 0; p < DEEP / 2; p += 8) {
			if (k0 + 2 * p >= a.k)
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

/* c = a bT, b [n,k]; for few rows small blocks, so that there are many */
KERNEL(r1_gemm16_few, gemm16_args) { product16<16, 32, 1, 4, 64, false>(a); }
KERNEL(r1_gemm16_some, gemm16_args) { product16<64, 64, 2, 2, 32, false>(a); }
KERNEL(r1_gemm16_many, gemm16_args) { product16<128, 128, 2, 4, 32, false>(a); }
/* c = a b, b [k,n] */
KERNEL(r1_gemm16_back_few, gemm16_args) { product16<16, 32, 1, 4, 64, true>(a); }
KERNEL(r1_gemm16_back_some, gemm16_args) { product16<64, 64, 2, 2, 32, true>(a); }
KERNEL(r1_gemm16_back_many, gemm16_args) { product16<128, 128, 2, 4, 32, true>(a); }

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
