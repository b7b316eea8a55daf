/* gpu.h: all that the kernel text may use of a GPU, and the arithmetic that it shares. Compiled by NVRTC or nvcc it is CUDA; with
 * R1_EMULATE it is C++, and emulate.h has the host's twin of each intrinsic.
 *
 * Threads are taken 16 at a time: half a warp is one vector of the cpu backend (simd.h), lane by lane, and so sums have its order and
 * its bits. Every operation is one IEEE operation in fp32: compile with --fmad=false and without fast-math. The one exception is mma16, whose
 * order inside is the GPU's own. */
#ifndef R1_GPU_H
#define R1_GPU_H

typedef long long i64;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef R1_EMULATE
#include "emulate.h"
#else
#define KERNEL(name, type) extern "C" __global__ void __launch_bounds__(256) name(const type a)
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define SHARED __shared__
#ifndef INFINITY /* NVRTC has no math.h */
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif
DEVICE void barrier() { __syncthreads(); }
/* the value of the lane whose number differs by the bits of m; all 16 lanes call it */
DEVICE float lane_xor(float x, int m) { return __shfl_xor_sync(0xffffu << (threadIdx.x & 16), x, m, 16); }
DEVICE void count_one(u32 *p) { atomicAdd(p, 1u); } /* whole numbers: their order does not matter */
DEVICE void count_mass(u64 *p, u64 n) { atomicAdd(p, n); }
DEVICE u32 float_bits(float x) { return __float_as_uint(x); }
DEVICE float bits_float(u32 u) { return __uint_as_float(u); }
DEVICE int nearest(float x) { return __float2int_rn(x); }
DEVICE int bits_set(u32 u) { return __popc(u); }
/* two numbers in bf16, to nearest even: the first in the low half */
DEVICE u32 pair16(float low, float high)
{
	u32 u;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
	return u;
}
/* d [16,8] += a [16,16] b [16,8] of a warp, a and b in bf16. Lane l holds, with g = l / 4 and t = l % 4, of a the words (row g + 8 (i % 2),
 * columns 2t + 8 (i / 2) and the next) for i of 4, of b the words (rows 2t + 8i and the next, column g) for i of 2, of d the numbers
 * (row g + 8 (i / 2), column 2t + i % 2) for i of 4: PTX ISA, "Matrix Fragments for mma.m16n8k16". */
DEVICE void mma16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

DEVICE int lane() { return (int)(threadIdx.x & 15); }
DEVICE int vec() { return (int)(threadIdx.x / 16); }
DEVICE int vecs() { return (int)(blockDim.x / 16); }

template <class T> DEVICE T least(T a, T b) { return a < b ? a : b; }
template <class T> DEVICE T most(T a, T b) { return a > b ? a : b; }

/* ---- 16 lanes ---- */

/* The tree of every sum over 16 lanes: lane i meets i+8, then i+4, i+2, i+1. All lanes get it. */
DEVICE float lane_sum(float x)
{
	for (int m = 8; m; m /= 2)
		x = x + lane_xor(x, m);
	return x;
}
DEVICE float lane_max(float x)
{
	for (int m = 8; m; m /= 2)
		x = most(lane_xor(x, m), x);
	return x;
}
/* the same tree inside one thread that holds all 16 lanes */
DEVICE float tree_sum(float *x)
{
#pragma unroll
	for (int w = 8; w; w /= 2)
#pragma unroll
		for (int i = 0; i < 8; i++)
			if (i < w)
				x[i] = x[i] + x[i + w];
	return x[0];
}

/* ---- a row ---- */

#define ROW_CHUNK 1024

/* The sum along a row of n in the cpu's order: 16 lanes over 1,024 elements at a time, each 1,024 closed by the tree, the sums added in
 * order. term(i, sum) adds element i. All threads of the block call it and get it. */
template <class F> DEVICE float row_total(i64 n, F term)
{
	SHARED float part[256];
	float total = 0;
	for (i64 from = 0; from < n; from += 256 * ROW_CHUNK) {
		int chunks = (int)least<i64>(256, (n - from + ROW_CHUNK - 1) / ROW_CHUNK);
		barrier();
		for (int c = vec(); c < chunks; c += vecs()) {
			i64 first = from + (i64)c * ROW_CHUNK, end = least<i64>(n, first + ROW_CHUNK);
			float acc = 0;
			for (i64 i = first + lane(); i < end; i += 16)
				acc = term(i, acc);
			acc = lane_sum(acc);
			if (lane() == 0)
				part[c] = acc;
		}
		barrier();
		for (int c = 0; c < chunks; c++)
			total = from || c ? total + part[c] : part[c];
	}
	return total;
}

/* ---- functions, as in simd.h ---- */

/* 2^n for whole n in [-126, 127] */
DEVICE float pow2(float n) { return bits_float((u32)(nearest(n) + 127) << 23); }

/* 2^n (1 + r + r^2 q(r)), r = x - n ln 2. Below -87.33 it is 0, above 88.72 infinity, NaN stays NaN. */
DEVICE float fexp(float x)
{
	float t = least(most(x, -88.0f), 89.0f) * 0x1.715476p0f, n = (t + 0x1.8p23f) - 0x1.8p23f;
	float r = fmaf(n, -0x1.62e400p-1f, x);
	r = fmaf(n, -0x1.7f7d1cp-20f, r);
	float q = 0x1.6a1a6ep-10f;
	q = fmaf(q, r, 0x1.123fc6p-7f);
	q = fmaf(q, r, 0x1.555916p-5f);
	q = fmaf(q, r, 0x1.55548ap-3f);
	q = fmaf(q, r, 0x1.fffffcp-2f);
	q = fmaf(r * r, q, r);
	float h = least(n, 127.0f), y = fmaf(q, pow2(h), pow2(h)) * pow2(n - h);
	y = -0x1.5d589ep6f > x ? 0.0f : y;
	y = x > 0x1.62e42ep6f ? INFINITY : y;
	return x == x ? y : x;
}

/* e ln 2 + log(1 + f). 0 gives -infinity, less NaN; subnormals count as 0. */
DEVICE float flog(float x)
{
	float e = (float)((int)(float_bits(x) >> 23) - 127), m = bits_float((float_bits(x) & 0x7fffffu) | 0x3f800000u);
	bool big = m > 0x1.6a09e6p0f;
	e = big ? e + 1.0f : e;
	m = big ? m * 0.5f : m;
	float f = m - 1.0f, f2 = f * f;
	float p = -0x1.392e84p-4f;
	p = fmaf(p, f, 0x1.05b73ap-3f);
	p = fmaf(p, f, -0x1.0d9a50p-3f);
	p = fmaf(p, f, 0x1.22cf52p-3f);
	p = fmaf(p, f, -0x1.546f28p-3f);
	p = fmaf(p, f, 0x1.99a060p-3f);
	p = fmaf(p, f, -0x1.000232p-2f);
	p = fmaf(p, f, 0x1.555554p-2f);
	p = (p * f) * f2;
	p = fmaf(e, 0x1.7f7d1cp-20f, p);
	p = fmaf(-0.5f, f2, p);
	float y = fmaf(e, 0x1.62e400p-1f, f + p);
	y = 0x1p-126f > x ? -INFINITY : y;
	y = 0.0f > x ? NAN : y;
	y = x == INFINITY ? x : y;
	return x == x ? y : x;
}

/* x + x^3 p(x^2) near 0, else 1 - 2 / (exp(2|x|) + 1) with x's sign */
DEVICE float ftanh(float x)
{
	float a = bits_float(float_bits(x) & 0x7fffffffu), x2 = x * x;
	float p = -0x1.6f41eep-8f;
	p = fmaf(p, x2, 0x1.50b820p-6f);
	p = fmaf(p, x2, -0x1.b806a4p-5f);
	p = fmaf(p, x2, 0x1.1105a2p-3f);
	p = fmaf(p, x2, -0x1.55552cp-2f);
	float near = fmaf(x2 * x, p, x), far = 1.0f - 2.0f / (fexp(a + a) + 1.0f);
	far = 0.0f > x ? -far : far;
	return 0.625f > a ? near : x == x ? far : x;
}

DEVICE float fsigmoid(float x) { return 1.0f / (1.0f + fexp(-x)); }

#endif
