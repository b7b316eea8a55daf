/* elem.cu: element-wise operations, and gated units (arXiv 2002.05202). The numbers of operations are r1.h's. */
#include "gpu.h"
#include "args.h"

#define EACH(i) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)

/* tanh form of GELU: x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3); its slope */
DEVICE float gelu_u(float x) { return (0x1.988454p-1f * x) * fmaf(x * x, 0.044715f, 1.0f); }
DEVICE float gelu(float x)
{
	float h = x * 0.5f;
	return fmaf(h, ftanh(gelu_u(x)), h);
}
DEVICE float gelu_slope(float x)
{
	float t = ftanh(gelu_u(x)), du = 0x1.988454p-1f * fmaf(x * x, 3 * 0.044715f, 1.0f), sech2 = 1.0f - t * t;
	return 0.5f * ((1.0f + t) + (x * sech2) * du);
}
DEVICE float silu(float x) { return x * fsigmoid(x); }
DEVICE float silu_slope(float x)
{
	float s = fsigmoid(x);
	return s * fmaf(x, 1.0f - s, 1.0f);
}
DEVICE float absolute(float x) { return bits_float(float_bits(x) & 0x7fffffffu); }

DEVICE float unary(int op, float x)
{
	switch (op) {
	case 0: return -x;
	case 1: return fexp(x);
	case 2: return flog(x);
	case 3: return x * x;
	case 4: return sqrtf(x);
	case 5: return 1.0f / sqrtf(x);
	case 6: return 1.0f / x;
	case 7: return absolute(x);
	case 8: return ftanh(x);
	case 9: return fsigmoid(x);
	case 10: return silu(x);
	case 11: return gelu(x);
	case 12: return most(x, 0.0f);
	default: return least(x, 0.0f) - flog(1.0f + fexp(-absolute(x)));
	}
}
DEVICE float slope(int op, float x, float y)
{
	switch (op) {
	case 0: return -1.0f;
	case 1: return y;
	case 2: return 1.0f / x;
	case 3: return x + x;
	case 4: return 0.5f / y;
	case 5: return -0.5f * (y * (y * y));
	case 6: return -(y * y);
	case 7: return x > 0.0f ? 1.0f : 0.0f > x ? -1.0f : 0.0f;
	case 8: return 1.0f - y * y;
	case 9: return y * (1.0f - y);
	case 10: return silu_slope(x);
	case 11: return gelu_slope(x);
	case 12: return x > 0.0f ? 1.0f : 0.0f;
	default: return fsigmoid(-x);
	}
}
DEVICE float binary(int op, float x, float y)
{
	switch (op) {
	case 0: return x + y;
	case 1: return x - y;
	case 2: return x * y;
	case 3: return x / y;
	case 4: return most(x, y);
	case 5: return least(x, y);
	case 6: return y > x ? 1.0f : 0.0f;
	case 7: return x > y ? 1.0f : 0.0f;
	default: return x == y ? 1.0f : 0.0f;
	}
}

KERNEL(r1_unary, elem_args) { EACH(i) a.y[i] = unary(a.op, a.a[i]); }

/* a = dy, b = x, z = y */
KERNEL(r1_unary_grad, elem_args) { EACH(i) a.y[i] = a.a[i] * slope(a.op, a.b[i], a.z[i]); }

KERNEL(r1_binary, elem_args)
{
	EACH(i)
	{
		i64 j = a.how == 0 ? i : a.how == 1 ? 0 : a.how == 2 ? i % a.cols : i / a.cols;
		a.y[i] = binary(a.op, a.a[i], a.b[j]);
	}
}
KERNEL(r1_affine, elem_args) { EACH(i) a.y[i] = fmaf(a.a[i], a.s0, a.s1); }
KERNEL(r1_fma, elem_args) { EACH(i) a.y[i] = fmaf(a.a[i], a.b[i], a.z[i]); }

/* what is no number stays so: comparisons with it choose x */
KERNEL(r1_clamp, elem_args)
{
	EACH(i)
	{
		float x = a.s0 > a.a[i] ? a.s0 : a.a[i];
		a.y[i] = x > a.s1 ? a.s1 : x;
	}
}
KERNEL(r1_select, elem_args) { EACH(i) a.y[i] = a.a[i] == 0.0f ? a.z[i] : a.b[i]; }

/* a = gate, b = up */
KERNEL(r1_glu, elem_args) { EACH(i) a.y[i] = (a.op == 0 ? silu(a.a[i]) : gelu(a.a[i])) * a.b[i]; }

/* y = dgate, y2 = dup, z = dy */
KERNEL(r1_glu_grad, elem_args)
{
	EACH(i)
	{
		float x = a.a[i], u = a.b[i], dy = a.z[i];
		a.y2[i] = dy * (a.op == 0 ? silu(x) : gelu(x));
		a.y[i] = (dy * u) * (a.op == 0 ? silu_slope(x) : gelu_slope(x));
	}
}
