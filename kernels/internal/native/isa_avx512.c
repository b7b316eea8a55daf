#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "cpu.h"
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512vl,avx512bw")
#endif
#define SIMD 3
#define KERNELS r1_kernels_avx512
#define KERNELS_NAME "avx512"
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
typedef int isa_avx512_not_empty;
