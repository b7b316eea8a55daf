/* norm.cu: RMSNorm (arXiv 1910.07467) and rotary positions (2104.09864). */
#include "gpu.h"
#include "args.h"

/* a block a row */
KERNEL(r1_rmsnorm, norm_args)
{
	const float *x = a.x + (i64)blockIdx.x * a.cols;
	float *y = a.y + (i64)blockIdx.x * a.cols;
	float total = row_total(a.cols, [&](i64 i, float s) { return fmaf(x[i], x[i], s); });
	float rstd = 1.0f / sqrtf(total / (float)a.cols + a.eps);
	if (threadIdx.x == 0)
		a.rstd[blockIdx.x] = rstd;
	for (i64 i = threadIdx.x; i < a.cols; i += blockDim.x)
		y[i] = (x[i] * rstd) * a.w[i];
}

/* dx = rstd (g - xhat mean(g xhat)), g = dy w, xhat = x rstd */
KERNEL(r1_rmsnorm_dx, norm_args)
{
	const float *x = a.x + (i64)blockIdx.x * a.cols, *dy = a.dy + (i64)blockIdx.x * a.cols;
	float *dx = a.y + (i64)blockIdx.x * a.cols, rstd = a.rstd_in[blockIdx.x];
	float total = row_total(a.cols, [&](i64 i, float s) { return fmaf(dy[i] * a.w[i], x[i], s); });
	float mean = total * rstd * rstd / (float)a.cols;
	for (i64 i = threadIdx.x; i < a.cols; i += blockDim.x)
		dx[i] = rstd * fmaf(-x[i], mean, dy[i] * a.w[i]);
}

/* a thread a column: dw += dy x rstd, one chain down the rows */
KERNEL(r1_rmsnorm_dw, norm_args)
{
	i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x;
	if (c >= a.cols)
		return;
	float sum = a.y[c];
	for (i64 r = 0; r < a.rows; r++)
		sum = fmaf(a.dy[r * a.cols + c], a.x[r * a.cols + c] * a.rstd_in[r], sum);
	a.y[c] = sum;
}

/* y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin over the two halves of each head, or over its neighbours */
KERNEL(r1_rope, rope_args)
{
	i64 half = a.d / 2, n = a.t * a.heads * half;
	for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < n; e += (i64)gridDim.x * blockDim.x) {
		i64 i = e % half, head = e / half;
		const float *cs = a.table + (i64)a.pos[head / a.heads] * a.d, *x = a.x + head * a.d;
		float *y = a.y + head * a.d, c = cs[i], s = a.sign * cs[half + i];
		if (a.pairs) {
			float x1 = x[2 * i], x2 = x[2 * i + 1];
			y[2 * i] = x1 * c - x2 * s;
			y[2 * i + 1] = x2 * c + x1 * s;
		} else {
			float x1 = x[i], x2 = x[half + i];
			y[i] = fmaf(x1, c, -(x2 * s));
			y[half + i] = fmaf(x2, c, x1 * s);
		}
	}
}
