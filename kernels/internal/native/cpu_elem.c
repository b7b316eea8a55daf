/* cpu_elem.c: element-wise operations, reductions, rows and columns by number: arguments checked, work cut into ranges. */
#include "ctx.h"
#include "ops.h"

/* ---- element-wise ---- */

char *cpu_unary(r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x)
{
	CHECK(op >= R1_NEG && op <= R1_LOG_SIGMOID, "unary: no function %d", op);
	F32(x); F32N(y, count(x));
	elem_args a = {.op = op, .y = y.p, .a = x.p};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->unary, &a);
	return NULL;
}
char *cpu_unary_grad(r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y)
{
	CHECK(op >= R1_NEG && op <= R1_LOG_SIGMOID, "unary_grad: no function %d", op);
	F32(x); F32N(dx, count(x)); F32N(dy, count(x)); F32N(y, count(x));
	elem_args a = {.op = op, .y = dx.p, .a = dy.p, .b = x.p, .z = y.p};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->unary_grad, &a);
	return NULL;
}
char *cpu_binary(r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b)
{
	CHECK(op >= R1_ADD && op <= R1_EQUAL, "binary: no operator %d", op);
	CHECK(how >= R1_SAME && how <= R1_COL, "binary: no broadcast %d", how);
	F32(a); F32N(y, count(a));
	F32N(b, how == R1_SAME ? count(a) : how == R1_SCALAR ? 1 : how == R1_ROW ? cols(a) : rows(a));
	elem_args e = {.op = op, .how = how, .rows = rows(a), .cols = cols(a), .y = y.p, .a = a.p, .b = b.p};
	if (how == R1_SAME || how == R1_SCALAR)
		pool_run(c->threads, count(a), FLAT_GRAIN, c->k->binary, &e);
	else if (cols(a) > 0)
		pool_run(c->threads, rows(a), 1 + FLAT_GRAIN / cols(a), c->k->binary, &e);
	return NULL;
}
char *cpu_affine(r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift)
{
	F32(x); F32N(y, count(x));
	elem_args a = {.y = y.p, .a = x.p, .s0 = scale, .s1 = shift};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->affine, &a);
	return NULL;
}
char *cpu_fma(r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z)
{
	F32(a); F32N(b, count(a)); F32N(z, count(a)); F32N(y, count(a));
	elem_args e = {.y = y.p, .a = a.p, .b = b.p, .z = z.p};
	pool_run(c->threads, count(a), FLAT_GRAIN, c->k->fma, &e);
	return NULL;
}
char *cpu_clamp(r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi)
{
	F32(x); F32N(y, count(x));
	elem_args a = {.y = y.p, .a = x.p, .s0 = lo, .s1 = hi};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->clamp, &a);
	return NULL;
}
char *cpu_select(r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b)
{
	F32(cond); F32N(a, count(cond)); F32N(b, count(cond)); F32N(y, count(cond));
	elem_args e = {.y = y.p, .a = cond.p, .b = a.p, .z = b.p};
	pool_run(c->threads, count(cond), FLAT_GRAIN, c->k->select, &e);
	return NULL;
}

typedef struct { r1_tensor y, x; } cast_args;
static float bf16_get(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}
static uint16_t bf16_put(float f) /* nearest even; NaN stays NaN */
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	if (f != f)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
static double cast_get(r1_tensor t, int64_t i)
{
	switch (t.dtype) {
	case R1_F32: return ((const float *)t.p)[i];
	case R1_BF16: return bf16_get(((const uint16_t *)t.p)[i]);
	case R1_F64: return ((const double *)t.p)[i];
	case R1_I32: return ((const int32_t *)t.p)[i];
	case R1_I64: return (double)((const int64_t *)t.p)[i];
	default: return ((const uint8_t *)t.p)[i];
	}
}
static void cast_range(const void *args, int64_t lo, int64_t hi, int worker)
{
	const cast_args *a = args;
	(void)worker;
	for (int64_t i = lo; i < hi; i++) {
		double x = cast_get(a->x, i);
		switch (a->y.dtype) {
		case R1_F32: ((float *)a->y.p)[i] = (float)x; break;
		case R1_BF16: ((uint16_t *)a->y.p)[i] = bf16_put((float)x); break;
		case R1_F64: ((double *)a->y.p)[i] = x; break;
		case R1_I32: ((int32_t *)a->y.p)[i] = x != x ? 0 : x < -2147483648.0 ? INT32_MIN : x > 2147483647.0 ? INT32_MAX : (int32_t)x; break;
		case R1_I64: ((int64_t *)a->y.p)[i] = x != x ? 0 : x < -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x; break;
		default: ((uint8_t *)a->y.p)[i] = x > 0 ? x > 255 ? 255 : (uint8_t)x : 0;
		}
	}
}
char *cpu_cast(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	CHECK(x.p && y.p && count(x) == count(y), "cast: sizes differ");
	CHECK(elem_bytes(x.dtype) && elem_bytes(y.dtype) && x.dtype != R1_F16 && y.dtype != R1_F16, "cast: from dtype %d to %d is not offered", x.dtype, y.dtype);
	cast_args a = {y, x};
	pool_run(c->threads, count(x), FLAT_GRAIN, cast_range, &a);
	return NULL;
}

/* ---- reductions ---- */


char *cpu_row_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	F32(x); F32N(y, rows(x));
	reduce_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .x = x.p};
	pool_run(c->threads, rows(x), row_grain(cols(x)), c->k->row_sum, &a);
	return NULL;
}
char *cpu_row_max(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	F32(x); F32N(y, rows(x));
	CHECK(cols(x) > 0, "row_max: rows are empty");
	reduce_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .x = x.p};
	pool_run(c->threads, rows(x), row_grain(cols(x)), c->k->row_max, &a);
	return NULL;
}
char *cpu_col_sum(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	F32(x); F32N(y, cols(x));
	reduce_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .x = x.p};
	pool_run(c->threads, (cols(x) + 15) / 16, row_grain(16 * rows(x)), c->k->col_sum, &a);
	return NULL;
}
char *cpu_seg_sum(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	F32(x);
	TRY(check_segs("seg_sum", segs, count(x)));
	F32N(y, segs.n[0]);
	reduce_args a = {.y = y.p, .x = x.p, .idx = segs.p};
	pool_run(c->threads, segs.n[0], 64, c->k->seg_sum, &a);
	return NULL;
}
char *cpu_seg_spread(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs)
{
	(void)c;
	F32(y);
	TRY(check_segs("seg_spread", segs, count(y)));
	F32N(x, segs.n[0]);
	const int32_t *s = segs.p;
	for (int64_t i = 0; i < segs.n[0]; i++, s += 3)
		for (int64_t t = s[0]; t < s[0] + s[1]; t++)
			((float *)y.p)[t] = ((const float *)x.p)[i];
	return NULL;
}
char *cpu_seg_scan(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs, int32_t reverse)
{
	F32(x); F32N(y, count(x));
	CHECK(y.p != x.p, "seg_scan: y may not be x");
	TRY(check_segs("seg_scan", segs, count(x)));
	reduce_args a = {.y = y.p, .x = x.p, .idx = segs.p, .reverse = reverse};
	pool_run(c->threads, segs.n[0], 64, c->k->seg_scan, &a);
	return NULL;
}

/* ---- rows and columns by number ---- */

typedef struct { char *y; const char *x; const int32_t *idx; int64_t bytes; } gather_args;
static void gather_range(const void *args, int64_t lo, int64_t hi, int worker)
{
	const gather_args *a = args;
	(void)worker;
	for (int64_t t = lo; t < hi; t++)
		memcpy(a->y + t * a->bytes, a->x + a->idx[t] * a->bytes, (size_t)a->bytes);
}
char *cpu_gather(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	CHECK(x.p && elem_bytes(x.dtype), "gather: x is absent or of an unknown dtype");
	CHECK(x.nd >= 1 && x.n[0] >= 0, "gather: x has no rows");
	TRY(check("gather", "idx", idx, R1_I32));
	int64_t width = x.n[0] ? count(x) / x.n[0] : 0;
	TRY(check_count("gather", "y", y, x.dtype, count(idx) * width));
	TRY(check_index("gather", idx.p, count(idx), x.n[0]));
	gather_args a = {y.p, x.p, idx.p, width * elem_bytes(x.dtype)};
	pool_run(c->threads, count(idx), row_grain(width), gather_range, &a);
	return NULL;
}
char *cpu_scatter_add(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	F32(y); F32(x);
	TRY(check("scatter_add", "idx", idx, R1_I32));
	CHECK(y.nd >= 1 && y.n[0] > 0, "scatter_add: y has no rows");
	int64_t width = count(y) / y.n[0];
	F32N(x, count(idx) * width);
	TRY(check_index("scatter_add", idx.p, count(idx), y.n[0]));
	reduce_args a = {.cols = width, .y = y.p, .x = x.p, .idx = idx.p, .nidx = count(idx)};
	pool_run(c->threads, (width + 63) / 64, 1, c->k->scatter_add, &a);
	return NULL;
}
char *cpu_pick(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx)
{
	(void)c;
	F32(x); F32N(y, rows(x)); I32N(idx, rows(x));
	TRY(check_index("pick", idx.p, rows(x), cols(x)));
	for (int64_t t = 0; t < rows(x); t++)
		((float *)y.p)[t] = ((const float *)x.p)[t * cols(x) + ((const int32_t *)idx.p)[t]];
	return NULL;
}
char *cpu_pick_grad(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor idx)
{
	(void)c;
	F32(dx); F32N(dy, rows(dx)); I32N(idx, rows(dx));
	TRY(check_index("pick_grad", idx.p, rows(dx), cols(dx)));
	memset(dx.p, 0, (size_t)count(dx) * sizeof(float));
	for (int64_t t = 0; t < rows(dx); t++)
		((float *)dx.p)[t * cols(dx) + ((const int32_t *)idx.p)[t]] = ((const float *)dy.p)[t];
	return NULL;
}
char *cpu_copy_cols(r1_ctx *c, r1_tensor y, r1_tensor x, int64_t ycol, int64_t xcol, int64_t n)
{
	(void)c;
	CHECK(x.p && y.p && x.dtype == y.dtype && rows(x) == rows(y), "copy_cols: rows or dtypes differ");
	CHECK(n >= 0 && ycol >= 0 && xcol >= 0 && ycol <= cols(y) - n && xcol <= cols(x) - n, "copy_cols: %lld columns from %lld to %lld do not fit", (long long)n, (long long)xcol, (long long)ycol);
	int64_t b = elem_bytes(x.dtype);
	for (int64_t t = 0; t < rows(x); t++)
		memcpy((char *)y.p + (t * cols(y) + ycol) * b, (const char *)x.p + (t * cols(x) + xcol) * b, (size_t)(n * b));
	return NULL;
}
