/* rows.cu: sums along rows, down columns and along sequences, each in the cpu's order. */
#include "gpu.h"
#include "args.h"

/* a block a row */
KERNEL(r1_row_sum, rows_args)
{
	const float *x = a.x + (i64)blockIdx.x * a.cols;
	float sum = row_total(a.cols, [&](i64 i, float s) { return s + x[i]; });
	if (threadIdx.x == 0)
		a.y[blockIdx.x] = sum;
}
KERNEL(r1_row_max, rows_args)
{
	SHARED float best[16];
	const float *x = a.x + (i64)blockIdx.x * a.cols;
	float m = x[0];
	for (i64 i = threadIdx.x; i < a.cols; i += blockDim.x)
		m = most(x[i], m);
	m = lane_max(m);
	if (lane() == 0)
		best[vec()] = m;
	barrier();
	for (int i = 0; i < vecs(); i++)
		m = most(best[i], m);
	if (threadIdx.x == 0)
		a.y[blockIdx.x] = m;
}

/* a thread a column: one chain down the rows */
KERNEL(r1_col_sum, rows_args)
{
	i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x;
	if (c >= a.cols)
		return;
	float sum = a.y[c];
	for (i64 r = 0; r < a.rows; r++)
		sum = sum + a.x[r * a.cols + c];
	a.y[c] = sum;
}

/* a block a sequence */
KERNEL(r1_seg_sum, rows_args)
{
	const float *x = a.x + a.idx[3 * blockIdx.x];
	float sum = row_total(a.idx[3 * blockIdx.x + 1], [&](i64 i, float s) { return s + x[i]; });
	if (threadIdx.x == 0)
		a.y[blockIdx.x] = sum;
}

/* a thread a sequence: a running sum is one chain */
KERNEL(r1_seg_scan, rows_args)
{
	i64 s = (i64)blockIdx.x * blockDim.x + threadIdx.x;
	if (s >= a.rows)
		return;
	i64 from = a.idx[3 * s], n = a.idx[3 * s + 1];
	float sum = 0;
	for (i64 i = 0; i < n; i++) {
		i64 t = a.reverse ? from + n - 1 - i : from + i;
		sum = sum + a.x[t];
		a.y[t] = sum;
	}
}

/* a thread a column: y[idx[t], :] += x[t, :] for ascending t */
KERNEL(r1_scatter_add, rows_args)
{
	i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x;
	if (c >= a.cols)
		return;
	for (i64 t = 0; t < a.rows; t++)
		a.y[a.idx[t] * a.cols + c] += a.x[t * a.cols + c];
}
