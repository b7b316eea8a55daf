/* isa_amx.c: products in bf16 by TDPBF16PS, the tile instruction (AMX). It has not run on a machine that has it: what is known of it is what testdata/amx.c shows with the
 * operations in plain C, and what cpu_tiles_agree asks of the machine before it is used. */
#include "cpu.h"
#if defined(R1_AMX)
#include <immintrin.h>
#include <string.h>
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw,amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw,amx-tile,amx-bf16")
#endif

/* what was stored before is in memory, where gcc's intrinsics do not say that they read it */
#define TILE_SEES(p) __asm__ volatile("" : : "r"(p) : "memory")
#define TILE_CONFIG(t) do { TILE_SEES(t); _tile_loadconfig(t); } while (0)
#define TILE_ZERO(i) _tile_zero(i)
#define TILE_LOAD(i, p, bytes) do { TILE_SEES(p); _tile_loadd(i, p, bytes); } while (0)
#define TILE_STORE(i, p, bytes) do { _tile_stored(i, p, bytes); TILE_SEES(p); } while (0)
#define TILE_DP(c, a, b) _tile_dpbf16ps(c, a, b)
#define TILE_RELEASE() _tile_release()
#include "k_amx.h"

range_fn *const r1_gemm16_amx = gemm16_amx;

/* rounds of the busiest loop of the instruction, R1_PEAK_TILE_FLOPS each */
static void peak16(const void *args, int64_t lo, int64_t hi, int worker)
{
	(void)args, (void)worker;
	amx_shape(AMX_ROWS, AMX_ROWS); /* zero: all tiles are, once they are shaped */
	for (int64_t r = lo; r < hi; r++)
		for (int k = 0; k < 1000; k++) {
			TILE_DP(0, 4, 6);
			TILE_DP(1, 4, 7);
			TILE_DP(2, 5, 6);
			TILE_DP(3, 5, 7);
		}
	TILE_RELEASE();
}
range_fn *const r1_peak16_amx = peak16;
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
typedef int isa_amx_not_empty;
