/* optim.cu: AdamW (arXiv 1711.05101) and square norms. */
#include "gpu.h"
#include "args.h"

#define NORM_BLOCK 4096 /* elements of one partial sum */

/* a block a partial sum */
KERNEL(r1_sq_norm, optim_args)
{
	const float *x = a.g + (i64)blockIdx.x * NORM_BLOCK;
	float sum = row_total(least<i64>(NORM_BLOCK, a.n - (i64)blockIdx.x * NORM_BLOCK), [&](i64 i, float s) { return fmaf(x[i], x[i], s); });
	if (threadIdx.x == 0)
		a.partial[blockIdx.x] = (double)sum;
}

/* one block: the n partial sums in order, and onto the sum so far */
KERNEL(r1_sq_norm_end, optim_args)
{
	SHARED double part[256];
	double sum = 0;
	for (i64 from = 0; from < a.n; from += 256) {
		barrier();
		if (from + threadIdx.x < a.n)
			part[threadIdx.x] = a.partial[from + threadIdx.x];
		barrier();
		if (threadIdx.x == 0)
			for (int i = 0; i < 256 && from + i < a.n; i++)
				sum += part[i];
	}
	if (threadIdx.x == 0)
		*a.sum += sum;
}

/* w = w keep - step m / (sqrt(v) rbc2 + eps); what changes from step to step is read from hyper: learning rate, gradient factor,
 * 1 - beta1^t, 1 - beta2^t */
KERNEL(r1_adamw, optim_args)
{
	const double *h = a.hyper;
	float keep = (float)(1 - h[0] * (double)a.decay), step = (float)(h[0] / h[2]), rbc2 = (float)(1 / sqrt(h[3])), factor = (float)h[1];
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		float g = a.g[i] * factor, m = fmaf(g - a.m[i], 1.0f - a.beta1, a.m[i]), v = fmaf(g * g, 1.0f - a.beta2, a.v[i] * a.beta2);
		a.m[i] = m;
		a.v[i] = v;
		a.w[i] = fmaf(-step, m / fmaf(sqrtf(v), rbc2, a.eps), a.w[i] * keep);
	}
}
