/* cpu_split.c: weights kept in halves, for products in bf16: arguments checked, work cut into ranges. */
#include "ctx.h"
#include "ops.h"

static char *split_of(r1_ctx *c, const char *op, r1_tensor w, r1_tensor hi, r1_tensor lo, split_args *a)
{
	CHECK(w.dtype == R1_BF16, "%s: w is not split", op);
	TRY(check_packed(c, op, hi, w));
	if (lo.p)
		TRY(check_count(op, "lo", lo, R1_U8, 2 * w.n[0] * w.n[1]));
	*a = (split_args){.n = w.n[0], .k = w.n[1], .kp = words(c, w.n[1]), .np = words(c, w.n[0]), .hi = hi.p, .back = w.p, .lo = lo.p};
	return NULL;
}
static void split_run(r1_ctx *c, int64_t panels, range_fn *fn, const split_args *a) { pool_run(c->threads, panels, row_grain(c->k->nr * a->k), fn, a); }

/* elements from number at on, as many as x has */
static char *split_range(r1_ctx *c, const char *op, range_fn *fn, r1_tensor w, r1_tensor hi, r1_tensor lo, r1_tensor x, int64_t at)
{
	split_args a;
	TRY(split_of(c, op, w, hi, lo, &a));
	TRY(check(op, "x", x, R1_F32));
	a.x = x.p, a.at = at, a.count = count(x);
	CHECK(at >= 0 && at <= a.n * a.k && a.count <= a.n * a.k - at, "%s: %lld elements from %lld on of [%lld,%lld]", op, (long long)a.count, (long long)at, (long long)a.n, (long long)a.k);
	if (a.count)
		split_run(c, (at + a.count - 1) / a.k / c->k->nr - at / a.k / c->k->nr + 1, fn, &a);
	return NULL;
}
char *cpu_split_write(r1_ctx *c, r1_tensor w, r1_tensor hi, r1_tensor lo, r1_tensor x, int64_t at) { return split_range(c, "split_write", c->k->split_write, w, hi, lo, x, at); }
char *cpu_split_read(r1_ctx *c, r1_tensor x, r1_tensor w, r1_tensor hi, r1_tensor lo, int64_t at) { return split_range(c, "split_read", c->k->split_read, w, hi, lo, x, at); }

char *cpu_split_back(r1_ctx *c, r1_tensor w, r1_tensor hi)
{
	split_args a;
	TRY(split_of(c, "split_back", w, hi, (r1_tensor){0}, &a));
	CHECK(a.back, "split_back: there is no memory for back");
	split_run(c, (a.n + c->k->nr - 1) / c->k->nr, c->k->split_panels, &a);
	return NULL;
}
char *cpu_split_gather(r1_ctx *c, r1_tensor y, r1_tensor w, r1_tensor hi, r1_tensor idx)
{
	split_args a;
	TRY(split_of(c, "split_gather", w, hi, (r1_tensor){0}, &a));
	TRY(check("split_gather", "idx", idx, R1_I32));
	F32N(y, count(idx) * a.k);
	TRY(check_index("split_gather", idx.p, count(idx), a.n));
	a.x = y.p, a.idx = idx.p;
	pool_run(c->threads, count(idx), row_grain(a.k), c->k->split_gather, &a);
	return NULL;
}
char *cpu_split_adamw(r1_ctx *c, r1_tensor w, r1_tensor hi, r1_tensor lo, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	split_args a;
	TRY(split_of(c, "split_adamw", w, hi, lo, &a));
	CHECK(lo.p, "split_adamw: lo is absent");
	F32N(m, a.n * a.k); F32N(v, a.n * a.k); F32N(g, a.n * a.k);
	TRY(check_count("split_adamw", "hyper", hyper, R1_F64, 4));
	a.o = (optim_args){.m = m.p, .v = v.p, .g = g.p};
	adamw_numbers(&a.o, hyper, beta1, beta2, eps, decay);
	split_run(c, (a.n + c->k->nr - 1) / c->k->nr, c->k->split_panels, &a);
	return NULL;
}
