/* cpu_tile.c: whether this process may use tiles, and whether they compute what class tile is. */
#include "ctx.h"

#if defined(R1_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 }; /* arch_prctl's ARCH_REQ_XCOMP_PERM, and the number of the state it asks for */

/* Linux lets a process have tiles that asks for them, all of its threads and once; it refuses where a thread's stack for signals is too small for 11 KiB of registers. */
int cpu_has_tiles(void)
{
	uint32_t a, b, c, d, low, high;
	if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c & 1u << 27)) /* XGETBV is there */
		return 0;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24)) /* bf16, tiles */
		return 0;
	if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d) || b >> 16 < 8 || (b & 0xffff) < 64 || (c & 0xffff) < 16) /* eight tiles of 16 rows of 64 bytes */
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low >> 17 & 3) == 3 && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}
#else
int cpu_has_tiles(void) { return 0; }
#endif

static uint32_t noise(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 32);
}

/* A number in bf16: ordinary; some that are subnormal; of which products are; large, so that sums overflow and meet; or also infinite and NaN. */
enum { ORDINARY, SUBNORMAL, SMALL, LARGE, STRANGE, LEAST, KINDS };
static uint32_t number16(int kind, uint64_t *state)
{
	const uint32_t r = noise(state), sign_and_mantissa = r & 0x807f, e = r >> 16;
	switch (kind) {
	case SUBNORMAL: return sign_and_mantissa | (e % 4 ? 120 + e % 16 : 0) << 7;
	case SMALL: return sign_and_mantissa | (40 + e % 30) << 7;
	case LARGE: return sign_and_mantissa | (185 + e % 10) << 7;
	case STRANGE: return e % 500 ? sign_and_mantissa | (120 + e % 16) << 7 : (sign_and_mantissa & (e % 1000 ? 0x8000 : 0xffff)) | 0x7f80;
	}
	return sign_and_mantissa | (120 + e % 16) << 7;
}

/* Products in LEAST are 2^-126, then a little that takes a sum below or not, then 0. */
static uint32_t least16(int a, int64_t k, uint64_t *state)
{
	const uint32_t r = noise(state);
	if (k % BLOCK16 > 1)
		return 0;
	return k % BLOCK16 == 0 ? (127 - 63) << 7 : a ? (r & 0x807f) | (127 - 76) << 7 : (127 - 75) << 7;
}

int cpu_tiles_agree(range_fn *kernel, range_fn *twin)
{
	enum { M = 32, N = 32, KP = 4 * BLOCK16 };
	uint32_t a[M * KP], b[N * KP], u, v;
	float c[M * N], d[M * N];
	uint64_t state = 1;
	for (int round = 0; round < 4 * KINDS; round++) {
		const int kind = round % KINDS;
		for (int i = 0; i < M * KP; i++)
			a[i] = kind == LEAST ? least16(1, i % KP, &state) * 0x10001u : number16(kind, &state) << 16 | number16(kind, &state);
		for (int i = 0; i < N * KP; i++)
			b[i] = kind == LEAST ? least16(0, i / N, &state) * 0x10001u : number16(kind, &state) << 16 | number16(kind, &state);
		for (int i = 0; i < M * N; i++) {
			u = number16(kind, &state) << 16 | (noise(&state) & 0xffff);
			memcpy(c + i, &u, 4);
			d[i] = c[i];
		}
		gemm16_args g = {.m = M, .n = N, .kp = KP, .a = a, .b = b, .c = c, .ldc = N, .acc = round / KINDS % 2, .mc = M, .nc = 1, .tasks_n = 1};
		kernel(&g, 0, 1, 0);
		g.c = d;
		twin(&g, 0, 1, 0);
		for (int i = 0; i < M * N; i++) {
			memcpy(&u, c + i, 4), memcpy(&v, d + i, 4);
			if (u != v && !(isnan(c[i]) && isnan(d[i])))
				return 0;
		}
	}
	return 1;
}
