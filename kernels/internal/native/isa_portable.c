#include <math.h>
#include <stdint.h>
#include <string.h>
#include "cpu.h"
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#define SIMD 1
#define KERNELS r1_kernels_portable
#define KERNELS_NAME "portable"
#include "kernels.h"
