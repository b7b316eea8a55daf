/* isa_dot.c: products in bf16 by VDPBF16PS, which not every AVX-512 machine has. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "cpu.h"
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw,avx512bf16")
#endif
#define SIMD 3
#define DOT16
#include "simd.h"
#include "gemm_shape.h"
#include "k_gemm16.h"

range_fn *const r1_gemm16_avx512_bf16 = gemm16_dot;

/* rounds of the busiest loop of VDPBF16PS, R1_PEAK16_FLOPS each */
static void peak16(const void *args, int64_t lo, int64_t hi, int worker)
{
	vf s[12], x = v_set1(f_word(0x3f803f80)), y = v_set1(0.0f);
	float sink = 0;
	(void)worker;
#pragma GCC unroll 12
	for (int i = 0; i < 12; i++)
		s[i] = v_set1((float)(i + 1));
	for (int64_t r = lo; r < hi; r++)
		for (int k = 0; k < 1000; k++)
#pragma GCC unroll 12
			for (int i = 0; i < 12; i++)
				s[i] = v_pair(s[i], x, y);
	for (int i = 0; i < 12; i++)
		sink += v_sum(s[i]);
	if (sink == 12345.0f)
		*(volatile double *)(uintptr_t)args = 0; /* keeps the loop */
}
range_fn *const r1_peak16_avx512_bf16 = peak16;
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
typedef int isa_dot_not_empty;
