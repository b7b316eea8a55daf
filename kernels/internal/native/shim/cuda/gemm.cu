/* gemm.cu: matrix products in fp32. Each output is one chain of fma in ascending k, whatever the tile. */
#include "gpu.h"
#include "args.h"

#define TILE 64
#define DEPTH 16

/* a block makes 64 x 64 of c, a thread 4 x 4 of them, 16 apart */
KERNEL(r1_gemm, gemm_args)
{
	SHARED float as[DEPTH][TILE + 1];
	SHARED float bs[DEPTH][TILE + 1];
	i64 row0 = (i64)blockIdx.y * TILE, col0 = (i64)blockIdx.x * TILE;
	int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
	float s[4][4];
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++) {
			i64 r = row0 + ty + 16 * i, c = col0 + tx + 16 * j;
			s[i][j] = a.add && r < a.m && c < a.n ? a.c[r * a.n + c] : 0.0f;
		}
	for (i64 k0 = 0; k0 < a.k; k0 += DEPTH) {
		int depth = (int)least<i64>(DEPTH, a.k - k0);
		barrier();
		for (int e = (int)threadIdx.x; e < TILE * DEPTH; e += 256) { /* neighbours in memory by neighbouring threads */
			int k = a.a_k == 1 ? e % DEPTH : e / TILE, i = a.a_k == 1 ? e / DEPTH : e % TILE;
			as[k][i] = k < depth && row0 + i < a.m ? a.a[(row0 + i) * a.a_m + (k0 + k) * a.a_k] : 0.0f;
			k = a.b_k == 1 ? e % DEPTH : e / TILE, i = a.b_k == 1 ? e / DEPTH : e % TILE;
			bs[k][i] = k < depth && col0 + i < a.n ? a.b[(k0 + k) * a.b_k + (col0 + i) * a.b_n] : 0.0f;
		}
		barrier();
#pragma unroll
		for (int k = 0; k < DEPTH; k++)
			if (k < depth)
				for (int i = 0; i < 4; i++)
					for (int j = 0; j < 4; j++)
						s[i][j] = fmaf(as[k][ty + 16 * i], bs[k][tx + 16 * j], s[i][j]);
	}
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++) {
			i64 r = row0 + ty + 16 * i, c = col0 + tx + 16 * j;
			if (r < a.m && c < a.n)
				a.c[r * a.n + c] = a.bias ? s[i][j] + a.bias[c] : s[i][j];
		}
}
