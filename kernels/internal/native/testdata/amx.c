/* amx.c: the kernel of k_amx.h over tiles in plain C, against class tile of k_gemm16.h, bit for bit; and what cpu_tiles_agree says of such tiles, and of tiles with mistakes.
 * An operation that the instruction would refuse, for tiles whose shapes do not fit, ends the program. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cpu.h"
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

enum { RIGHT, SWAPPED, GRADUAL, EARLY, ONE_CHAIN, NO_START, MISTAKES } how;

static struct { uint8_t palette; uint16_t bytes[8]; uint8_t rows[8]; char v[8][16][64]; } tiles;

static void want(int ok, const char *what)
{
	if (!ok) {
		printf("amx: %s\n", what);
		exit(1);
	}
}
static void tile_config_(const void *t)
{
	memset(&tiles, 0, sizeof tiles);
	tiles.palette = *(const uint8_t *)t;
	want(tiles.palette == 1, "the palette is not 1");
	memcpy(tiles.bytes, (const char *)t + 16, 16);
	memcpy(tiles.rows, (const char *)t + 48, 8);
	for (int i = 0; i < 8; i++)
		want(tiles.bytes[i] > 0 && tiles.bytes[i] <= 64 && tiles.bytes[i] % 4 == 0 && tiles.rows[i] > 0 && tiles.rows[i] <= 16, "a tile's shape");
	for (int i = 1; i < 64; i++)
		want((i >= 16 && i < 32) || (i >= 48 && i < 56) || !((const char *)t)[i], "a reserved byte is not 0");
}
static void tile_move(int i, char *p, int64_t bytes, int load)
{
	want(tiles.palette == 1, "there are no tiles");
	for (int r = 0; r < tiles.rows[i]; r++)
		memcpy(load ? tiles.v[i][r] : p + r * bytes, load ? p + r * bytes : tiles.v[i][r], tiles.bytes[i]);
}

static float less(double exact) /* rounded to 24 bits; 0 where that is subnormal */
{
	double seen = how == EARLY ? exact : (double)(float)(exact * 0x1p100) * 0x1p-100;
	return how != GRADUAL && fabs(seen) < 0x1p-126 ? copysignf(0, (float)exact) : (float)exact;
}
static float from16(uint32_t v)
{
	float f;
	v <<= 16;
	memcpy(&f, &v, 4);
	return how != GRADUAL && fabsf(f) < 0x1p-126f ? copysignf(0, f) : f;
}
static float fma_(float a, float b, float c)
{
	double p = (double)a * b, q = c, s = p + q; /* p is exact */
	if (isfinite(s)) { /* s to odd, so that the next rounding is of the exact sum */
		double z = s - p, e = (p - (s - z)) + (q - z);
		uint64_t u;
		memcpy(&u, &s, 8);
		if (e != 0 && u % 2 == 0)
			u += (e > 0) == (s > 0) ? 1 : -1;
		memcpy(&s, &u, 8);
	}
	return less(s);
}
static void tile_dp(int c, int a, int b)
{
	want(tiles.palette == 1 && tiles.bytes[a] / 4 == tiles.rows[b] && tiles.rows[c] == tiles.rows[a] && tiles.bytes[c] == tiles.bytes[b] && a != b && a != c && b != c, "shapes do not fit");
	for (int m = 0; m < tiles.rows[c]; m++)
		for (int n = 0; n < tiles.bytes[c] / 4; n++) {
			float two[2] = {0, 0}, sum;
			for (int k = 0; k < tiles.rows[b]; k++)
				for (int h = 0; h < 2; h++) {
					uint16_t x[2], y[2];
					memcpy(x, tiles.v[a][m] + 4 * k, 4), memcpy(y, tiles.v[b][k] + 4 * n, 4);
					float *t = two + (how == ONE_CHAIN ? 0 : how == SWAPPED ? !h : h);
					*t = fma_(from16(x[h]), from16(y[h]), *t);
				}
			memcpy(&sum, tiles.v[c][m] + 4 * n, 4);
			if (how != GRADUAL && fabsf(sum) < 0x1p-126f)
				sum = copysignf(0, sum);
			if (how == NO_START)
				sum = less((double)less((double)sum + two[0]) + two[1]);
			else
				sum = less((double)sum + less((double)two[0] + two[1]));
			memcpy(tiles.v[c][m] + 4 * n, &sum, 4);
		}
}
#define TILE_CONFIG(t) tile_config_(t)
#define TILE_ZERO(i) memset(tiles.v[i], 0, sizeof tiles.v[i])
#define TILE_LOAD(i, p, bytes) tile_move(i, (char *)(uintptr_t)(p), bytes, 1)
#define TILE_STORE(i, p, bytes) tile_move(i, (char *)(p), bytes, 0)
#define TILE_DP(c, a, b) tile_dp(c, a, b)
#define TILE_RELEASE() memset(&tiles, 0, sizeof tiles)
#include "k_amx.h"

/* class tile in plain C, for panels as wide as the kernel's */
#define SIMD 1
#include "simd.h"
#undef SIMD
#define SIMD 3
#include "gemm_shape.h"
#include "k_gemm16.h"

static float *noise(int64_t n, unsigned seed) /* floats whose halves are ordinary numbers, with subnormal ones and products that are */
{
	uint32_t *v = calloc((size_t)n, 4);
	srand(seed);
	for (int64_t i = 0; i < n; i++)
		for (int h = 0; h < 2; h++)
			v[i] = v[i] << 16 | (uint32_t)(rand() & 0x807f) | (uint32_t)(rand() % 9 ? 120 + rand() % 12 : 30 * (rand() % 3)) << 7;
	return (float *)v;
}

static void shape(int64_t m, int64_t n, int64_t kp, int acc, int bias, int64_t mc, int64_t nc)
{
	const int64_t panels = (n + GEMM_NR - 1) / GEMM_NR, ldc = n + 3;
	float *a = noise(m * kp, 1), *b = noise(panels * kp * GEMM_NR, 2), *c = noise(m * ldc, 3), *d = noise(m * ldc, 3), *e = noise(n, 4);
	gemm16_args g = {.m = m, .n = n, .kp = kp, .a = (uint32_t *)a, .b = (uint32_t *)b, .c = c, .ldc = ldc, .acc = acc, .bias = bias ? e : NULL, .mc = m, .nc = panels, .tasks_n = 1};
	k_gemm16_tile(&g, 0, 1, 0);
	g.c = d, g.mc = mc, g.nc = nc, g.tasks_n = (panels + nc - 1) / nc;
	int64_t tasks = (m + mc - 1) / mc * g.tasks_n;
	gemm16_amx(&g, tasks / 2, tasks, 1);
	gemm16_amx(&g, 0, tasks / 2, 0);
	want(!tiles.palette, "tiles are left in use");
	if (memcmp(c, d, (size_t)(m * ldc) * 4)) {
		printf("amx: %lld x %lld x %lld words, acc %d, bias %d, tasks of %lld rows and %lld panels: bits differ\n", (long long)m, (long long)n, (long long)kp, acc, bias, (long long)mc, (long long)nc);
		exit(1);
	}
	free(a), free(b), free(c), free(d), free(e);
}

int main(void)
{
	int shapes = 0;
	for (how = RIGHT; how < MISTAKES; how++)
		if (cpu_tiles_agree(gemm16_amx, k_gemm16_tile) != (how <= SWAPPED)) {
			printf("amx: tiles of kind %d are %s\n", how, how <= SWAPPED ? "refused" : "accepted");
			return 1;
		}
	how = RIGHT;
	static const int64_t ms[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 65, 100}, ns[] = {1, 15, 16, 17, 31, 32, 33, 64, 70};
	for (unsigned i = 0; i < sizeof ms / sizeof *ms; i++)
		for (unsigned j = 0; j < sizeof ns / sizeof *ns; j++, shapes++)
			shape(ms[i], ns[j], BLOCK16 * (1 + shapes % 3), shapes % 2, shapes / 2 % 2, 12 * (1 + shapes % 4), 1 + shapes % 2);
	shape(33, 40, GEMM_KC + 2 * BLOCK16, 1, 1, 48, 1); /* more than the plain kernel takes at once */
	printf("amx: %d shapes have the bits of class tile; tiles with mistakes are refused\n", shapes + 1);
	return 0;
}
