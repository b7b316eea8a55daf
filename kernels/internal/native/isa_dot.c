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
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
typedef int isa_dot_not_empty;
