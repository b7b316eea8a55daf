#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "cpu.h"
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#define SIMD 4
#define KERNELS r1_kernels_neon
#define KERNELS_NAME "neon"
#include "kernels.h"
#endif
typedef int isa_neon_not_empty;
