/* cpu_matrix.c: matrix products and the transformer's own operations: arguments checked, work cut into ranges. */
#include "ctx.h"
#include "ops.h"

/* ---- matrix products ---- */

/* A packed weight: panels over n for linear (k-major), then panels over k for linear_dx. In bf16 they are apart, the parts hi and back of a split one. */
int64_t words(const r1_ctx *c, int64_t k)
{
	return c->bf16 == R1_BF16_TILE ? (k + 2 * BLOCK16 - 1) / (2 * BLOCK16) * BLOCK16 : (k + 1) / 2;
}
static int64_t panel_floats(const cpu_kernels *k, int64_t wide, int64_t deep) { return (wide + k->nr - 1) / k->nr * k->nr * deep; }

char *cpu_pack_bytes(r1_ctx *c, int64_t n, int64_t k, int32_t dtype, int64_t *out)
{
	CHECK(dtype == R1_F32, "pack_bytes: dtype %d is not offered: weights in bf16 are split here", dtype);
	CHECK(n > 0 && k > 0 && n < (INT64_C(1) << 31) && k < (INT64_C(1) << 31), "pack_bytes: [%lld,%lld]", (long long)n, (long long)k);
	*out = 4 * (panel_floats(c->k, n, k) + panel_floats(c->k, k, n));
	return NULL;
}
char *cpu_split_bytes(r1_ctx *c, int64_t n, int64_t k, int32_t part, int64_t *out)
{
	CHECK(part == R1_SPLIT_HI || part == R1_SPLIT_LO || part == R1_SPLIT_BACK, "split_bytes: part %d", part);
	CHECK(n > 0 && k > 0 && n < (INT64_C(1) << 31) && k < (INT64_C(1) << 31), "split_bytes: [%lld,%lld]", (long long)n, (long long)k);
	*out = part == R1_SPLIT_LO ? 2 * n * k : 4 * (part == R1_SPLIT_HI ? panel_floats(c->k, n, words(c, k)) : panel_floats(c->k, k, words(c, n)));
	return NULL;
}
/* a.x [rows, cols] in panels of width columns, neighbouring rows in one word */
static void pairs(r1_ctx *c, pairs16_args a) { pool_run(c->threads, (a.kp + 15) / 16, row_grain(32 * a.cols), c->k->pairs16, &a); }
char *cpu_pack(r1_ctx *c, r1_tensor packed, r1_tensor w)
{
	F32(w);
	CHECK(w.nd == 2, "pack: w is not [N,K]");
	TRY(check_packed(c, "pack", packed, w));
	int64_t n = w.n[0], k = w.n[1];
	pack_args forward = {.n = n, .k = k, .ld_n = k, .ld_k = 1, .w = w.p, .out = packed.p};
	pool_run(c->threads, (n + c->k->nr - 1) / c->k->nr, row_grain(c->k->nr * k), c->k->pack, &forward);
	pack_args back = {.n = k, .k = n, .ld_n = 1, .ld_k = k, .w = w.p, .out = (float *)packed.p + panel_floats(c->k, n, k)};
	pool_run(c->threads, (k + c->k->nr - 1) / c->k->nr, row_grain(c->k->nr * n), c->k->pack, &back);
	return NULL;
}

/* How m rows and panels of n columns, k deep, are cut into tasks: runs of panels by as many rows as stay in the second-level cache. Where every thread
 * has rows enough, they have equally many blocks of rows, so that a thread's share is about the rows that are its share in the operations around. Runs are
 * short, so that threads end together, and longer for few rows, whose weights come from memory. */
typedef struct { int64_t mc, nc, down; int threads; } cut;
static cut cut_gemm(const r1_ctx *c, int64_t m, int64_t n, int64_t k)
{
	const int64_t mr = c->k->mr, panels = (n + c->k->nr - 1) / c->k->nr, tiles = (m + mr - 1) / mr;
	const int threads = 2 * m * n * k < 200000 ? 1 : c->threads; /* too little to share */
	const int64_t want = threads == 1 ? 1 : m <= mr ? 4 * threads : 64 * threads;
	int64_t down = (tiles + 15) / 16;
	if (m >= 64 * threads)
		down = (down + threads - 1) / threads * threads;
	cut t = {.mc = (tiles + down - 1) / down * mr, .threads = threads};
	t.down = (m + t.mc - 1) / t.mc;
	int64_t across = want / t.down;
	across = across < 1 ? 1 : across > panels ? panels : across;
	t.nc = (panels + across - 1) / across;
	return t;
}

/* Products of the same rows by several weights. Items are tasks: those of all products over the first block of rows, then over the next. */
typedef struct { range_fn *fn; int n; int64_t across, each[R1_LINEARS]; const void *g[R1_LINEARS]; } products_args;
static void products(const void *args, int64_t lo, int64_t hi, int worker)
{
	const products_args *a = args;
	for (int64_t i = lo; i < hi; i++) {
		int64_t t = i % a->across;
		int p = 0;
		while (t >= a->each[p])
			t -= a->each[p++];
		t += i / a->across * a->each[p];
		a->fn(a->g[p], t, t + 1, worker);
	}
}
/* Adds the product g, n columns wide; returns how many tasks it has across. */
static int64_t add_product(const r1_ctx *c, products_args *a, const void *g, int64_t n, int64_t nc)
{
	int64_t across = ((n + c->k->nr - 1) / c->k->nr + nc - 1) / nc;
	a->g[a->n] = g, a->each[a->n++] = across;
	a->across += across;
	return across;
}

/* n products in fp32, of the same a, m and k */
static char *run_gemm(r1_ctx *c, int n, gemm_args *g)
{
	int64_t got = 0, wide = 0, packed = 1;
	float *scratch = NULL;
	products_args p = {.fn = c->k->gemm};
	for (int i = 0; i < n; i++)
		wide += g[i].n, packed &= g[i].bp != NULL;
	if (g->m == 0 || wide == 0)
		return NULL;
	if (!packed) {
		scratch = scratch_get(c, c->k->gemm_scratch * 4 * c->threads, &got);
		CHECK(scratch, "gemm: out of memory: %lld bytes of scratch", (long long)got);
	}
	cut t = cut_gemm(c, g->m, wide, g->k);
	for (int i = 0; i < n; i++) {
		g[i].mc = t.mc, g[i].nc = t.nc, g[i].scratch = g[i].bp ? NULL : scratch;
		g[i].tasks_n = add_product(c, &p, &g[i], g[i].n, t.nc);
	}
	pool_run(t.threads, t.down * p.across, 1, products, &p);
	scratch_put(c, scratch, got);
	return NULL;
}
/* n products in bf16, of the same a, m and kp */
static void run_words(r1_ctx *c, int n, gemm16_args *g)
{
	int64_t wide = 0;
	products_args p = {.fn = c->gemm16};
	for (int i = 0; i < n; i++)
		wide += g[i].n;
	if (g->m == 0 || wide == 0)
		return;
	cut t = cut_gemm(c, g->m, wide, 2 * g->kp);
	for (int i = 0; i < n; i++) {
		g[i].mc = t.mc, g[i].nc = t.nc;
		g[i].tasks_n = add_product(c, &p, &g[i], g[i].n, t.nc);
	}
	pool_run(t.threads, t.down * p.across, 1, products, &p);
}
/* the same of x [m,k], which is rounded */
static char *run_gemm16(r1_ctx *c, int n, gemm16_args *g, int64_t k, const float *x)
{
	int64_t got = 0, m = g->m, kp = words(c, k);
	uint32_t *a = scratch_get(c, 4 * m * kp, &got);
	CHECK(a, "gemm: out of memory: %lld bytes of scratch", (long long)(4 * m * kp));
	round16_args r = {.k = k, .kp = kp, .x = x, .words = a};
	pool_run(c->threads, m, row_grain(k), c->k->words16, &r);
	for (int i = 0; i < n; i++)
		g[i].kp = kp, g[i].a = a;
	run_words(c, n, g);
	scratch_put(c, a, got);
	return NULL;
}

char *run_linear(r1_ctx *c, int64_t m, int64_t n, int64_t k, const float *x, r1_tensor w, r1_tensor packed, float *y, const float *bias)
{
	if (is_bf16(packed))
		return run_gemm16(c, 1, &(gemm16_args){.m = m, .n = n, .b = packed.p, .c = y, .ldc = n, .bias = bias}, k, x);
	return run_gemm(c, 1, &(gemm_args){.m = m, .n = n, .k = k, .a = x, .a_m = k, .a_k = 1, .b = w.p, .b_k = 1, .b_n = k, .bp = packed.p, .c = y, .ldc = n, .bias = bias});
}
char *run_linear_dx(r1_ctx *c, int64_t m, int64_t n, int64_t k, const float *dy, r1_tensor w, r1_tensor packed, float *dx)
{
	if (is_bf16(packed)) {
		CHECK(w.p, "linear_dx: the split weight is without the part for it");
		return run_gemm16(c, 1, &(gemm16_args){.m = m, .n = k, .b = w.p, .c = dx, .ldc = k}, n, dy);
	}
	const float *back = packed.p ? (const float *)packed.p + panel_floats(c->k, n, k) : NULL;
	return run_gemm(c, 1, &(gemm_args){.m = m, .n = k, .k = n, .a = dy, .a_m = n, .a_k = 1, .b = w.p, .b_k = k, .b_n = 1, .bp = back, .c = dx, .ldc = k});
}
/* Where the blocks of class tile begin, each sequence's first row among them, and t at the end. Other classes have none: their chains go on from row to row. */
char *take_blocks(r1_ctx *c, const char *op, int64_t t, r1_tensor segs, row_blocks *b)
{
	const int32_t whole[3] = {0, (int32_t)t, -1}, *s = segs.p ? segs.p : whole;
	const int64_t nseqs = segs.p ? segs.n[0] : t > 0;
	if (segs.p)
		TRY(check_segs(op, segs, t));
	*b = (row_blocks){0};
	if (c->bf16 != R1_BF16_TILE)
		return NULL;
	CHECK(t < INT32_MAX, "%s: %lld rows", op, (long long)t);
	for (int64_t i = 0; i < nseqs; i++)
		b->n += (s[3 * i + 1] + 2 * BLOCK16 - 1) / (2 * BLOCK16);
	b->starts = scratch_get(c, 4 * (b->n + 1), &b->got);
	CHECK(b->starts, "%s: out of memory: %lld bytes of scratch", op, (long long)(4 * (b->n + 1)));
	b->n = 0;
	for (int64_t i = 0; i < nseqs; i++)
		for (int32_t r = 0; r < s[3 * i + 1]; r += 2 * BLOCK16)
			b->starts[b->n++] = s[3 * i] + r;
	b->starts[b->n] = (int32_t)t;
	return NULL;
}

static char *linear_dw16_tile(r1_ctx *c, int64_t t, int64_t n, int64_t k, const float *dy, const float *x, float *dw, row_blocks at)
{
	const int64_t nr = c->k->nr, kp = BLOCK16 * at.n, a_words = (n * kp + 15) / 16 * 16, b_words = (k + nr - 1) / nr * nr * kp;
	int64_t got = 0;
	uint32_t *a = scratch_get(c, 4 * (a_words + b_words), &got), *b = a + a_words;
	CHECK(a, "linear_dw16: out of memory: %lld bytes of scratch", (long long)(4 * (a_words + b_words)));
	pairs(c, (pairs16_args){.rows = t, .cols = n, .width = 1, .kp = kp, .x = dy, .starts = at.starts, .out = a});
	pairs(c, (pairs16_args){.rows = t, .cols = k, .width = nr, .kp = kp, .x = x, .starts = at.starts, .out = b});
	gemm16_args g = {.m = n, .n = k, .kp = kp, .a = a, .b = b, .c = dw, .ldc = k, .acc = 1};
	run_words(c, 1, &g);
	scratch_put(c, a, got);
	return NULL;
}

/* dw += dyT x in bf16. In class dot each instruction takes two rows, the earlier first, so that a chain is the same wherever it is cut; past an odd last one are -0 and 0,
 * whose product leaves any sum as it is. In class tile rows go in the blocks at, which begin anew with each sequence: a chain is the same wherever it is cut between two. */
char *run_linear_dw16(r1_ctx *c, int64_t t, int64_t n, int64_t k, const float *dy, const float *x, float *dw, row_blocks at)
{
	const int64_t mr = c->k->mr, nr = c->k->nr, kp = words(c, t);
	const int dot = c->bf16 == R1_BF16_DOT;
	int64_t got = 0, a_floats = dot ? ((n + mr - 1) / mr * mr * kp + 15) / 16 * 16 : t * n, b_floats = dot ? (k + nr - 1) / nr * nr * kp : t * k;
	if (t == 0)
		return NULL;
	if (c->bf16 == R1_BF16_TILE)
		return linear_dw16_tile(c, t, n, k, dy, x, dw, at);
	float *a = scratch_get(c, 4 * (a_floats + b_floats), &got), *b = a + a_floats;
	CHECK(a, "linear_dw16: out of memory: %lld bytes of scratch", (long long)(4 * (a_floats + b_floats)));
	if (dot) {
		pairs(c, (pairs16_args){.rows = t, .cols = n, .width = mr, .kp = kp, .zero = -0.0f, .x = dy, .out = (uint32_t *)(void *)a});
		pairs(c, (pairs16_args){.rows = t, .cols = k, .width = nr, .kp = kp, .x = x, .out = (uint32_t *)(void *)b});
		gemm16_args g = {.m = n, .n = k, .kp = kp, .a = (uint32_t *)(void *)a, .b = (uint32_t *)(void *)b, .c = dw, .ldc = k, .panels = 1, .acc = 1};
		run_words(c, 1, &g);
		scratch_put(c, a, got);
		return NULL;
	}
	round16_args ra = {.x = dy, .y = a}, rb = {.x = x, .y = b};
	pool_run(c->threads, t * n, FLAT_GRAIN, c->k->round16, &ra);
	pool_run(c->threads, t * k, FLAT_GRAIN, c->k->round16, &rb);
	char *m = run_linear_dw(c, t, n, k, a, b, dw);
	scratch_put(c, a, got);
	return m;
}
char *run_linear_dw(r1_ctx *c, int64_t t, int64_t n, int64_t k, const float *dy, const float *x, float *dw)
{
	return run_gemm(c, 1, &(gemm_args){.m = n, .n = k, .k = t, .a = dy, .a_m = 1, .a_k = n, .b = x, .b_k = k, .b_n = 1, .c = dw, .ldc = k, .acc = 1});
}

/* w f32 [N,K] and its packed copy or none, or w a split weight and packed its part hi */
char *check_packed(r1_ctx *c, const char *op, r1_tensor packed, r1_tensor w)
{
	int64_t bytes = 0;
	CHECK(w.nd == 2 && (w.dtype == R1_BF16 || (w.p && w.dtype == R1_F32)), "%s: w is not f32 [N,K], nor split", op);
	if (w.dtype == R1_BF16) {
		TRY(cpu_split_bytes(c, w.n[0], w.n[1], R1_SPLIT_HI, &bytes));
		return check_count(op, "hi", packed, R1_BF16, bytes / 2);
	}
	if (!packed.p)
		return NULL;
	TRY(cpu_pack_bytes(c, w.n[0], w.n[1], R1_F32, &bytes));
	return check_count(op, "packed", packed, R1_U8, bytes);
}

char *cpu_round16(r1_ctx *c, r1_tensor y, r1_tensor x, int32_t how)
{
	F32(x); F32N(y, count(x));
	CHECK(how == R1_NEAREST_EVEN || how == R1_HALF_AWAY, "round16: how is %d", (int)how);
	round16_args a = {.weight = how == R1_HALF_AWAY, .x = x.p, .y = y.p};
	pool_run(c->threads, count(x), FLAT_GRAIN, c->k->round16, &a);
	return NULL;
}

char *cpu_linear(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor bias)
{
	F32(x);
	TRY(check_packed(c, "linear", packed, w));
	int64_t n = w.n[0], k = w.n[1], m = rows(x);
	CHECK(cols(x) == k, "linear: x has %lld columns, w %lld", (long long)cols(x), (long long)k);
	F32N(y, m * n);
	if (bias.p)
		F32N(bias, n);
	return run_linear(c, m, n, k, x.p, w, packed, y.p, bias.p);
}
char *cpu_linears(r1_ctx *c, int32_t n, const r1_tensor *y, r1_tensor x, const r1_tensor *w, const r1_tensor *packed, const r1_tensor *bias)
{
	gemm_args g[R1_LINEARS];
	gemm16_args h[R1_LINEARS];
	int n32 = 0, n16 = 0;
	F32(x);
	CHECK(n > 0 && n <= R1_LINEARS && y && w && packed && bias, "linears: %d weights, want 1 to %d", (int)n, R1_LINEARS);
	const int64_t m = rows(x), k = cols(x);
	for (int32_t i = 0; i < n; i++) {
		TRY(check_packed(c, "linears", packed[i], w[i]));
		const int64_t wide = w[i].n[0];
		CHECK(w[i].n[1] == k, "linears: x has %lld columns, w %lld", (long long)k, (long long)w[i].n[1]);
		TRY(check_count("linears", "y", y[i], R1_F32, m * wide));
		if (bias[i].p)
			TRY(check_count("linears", "bias", bias[i], R1_F32, wide));
		if (is_bf16(packed[i]))
			h[n16++] = (gemm16_args){.m = m, .n = wide, .b = packed[i].p, .c = y[i].p, .ldc = wide, .bias = bias[i].p};
		else
			g[n32++] = (gemm_args){.m = m, .n = wide, .k = k, .a = x.p, .a_m = k, .a_k = 1, .b = w[i].p, .b_k = 1, .b_n = k, .bp = packed[i].p, .c = y[i].p, .ldc = wide, .bias = bias[i].p};
	}
	if (n32)
		TRY(run_gemm(c, n32, g));
	return n16 ? run_gemm16(c, n16, h, k, x.p) : NULL;
}
char *cpu_linear_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed)
{
	F32(dy);
	TRY(check_packed(c, "linear_dx", packed, w));
	int64_t n = w.n[0], k = w.n[1], m = rows(dy);
	CHECK(cols(dy) == n, "linear_dx: dy has %lld columns, w %lld rows", (long long)cols(dy), (long long)n);
	F32N(dx, m * k);
	return run_linear_dx(c, m, n, k, dy.p, w, packed, dx.p);
}
static char *check_dw(const char *op, r1_tensor dw, r1_tensor dy, r1_tensor x)
{
	F32(dw); F32(dy); F32(x);
	CHECK(dw.nd == 2 && cols(dy) == dw.n[0] && cols(x) == dw.n[1] && rows(dy) == rows(x), "%s: dw [%lld,%lld] does not fit dy [%lld,%lld] and x [%lld,%lld]", op,
	      (long long)dw.n[0], (long long)dw.n[1], (long long)rows(dy), (long long)cols(dy), (long long)rows(x), (long long)cols(x));
	return NULL;
}
char *cpu_linear_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs)
{
	(void)segs; /* chains need no block boundaries */
	TRY(check_dw("linear_dw", dw, dy, x));
	return run_linear_dw(c, rows(x), dw.n[0], dw.n[1], dy.p, x.p, dw.p);
}
char *cpu_linear_dw16_segs(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs)
{
	row_blocks at;
	TRY(check_dw("linear_dw16", dw, dy, x));
	TRY(take_blocks(c, "linear_dw16", rows(x), segs, &at));
	char *m = run_linear_dw16(c, rows(x), dw.n[0], dw.n[1], dy.p, x.p, dw.p, at);
	scratch_put(c, at.starts, at.got);
	return m;
}
char *cpu_linear_dw16(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x) { return cpu_linear_dw16_segs(c, dw, dy, x, (r1_tensor){0}); }

/* ---- the transformer's own ---- */

char *cpu_rmsnorm(r1_ctx *c, r1_tensor y, r1_tensor rstd, r1_tensor x, r1_tensor w, float eps)
{
	F32(x); F32N(y, count(x)); F32N(rstd, rows(x)); F32N(w, cols(x));
	norm_args a = {.rows = rows(x), .cols = cols(x), .y = y.p, .rstd = rstd.p, .x = x.p, .w = w.p, .eps = eps};
	pool_run(c->threads, a.rows, row_grain(a.cols), c->k->rmsnorm, &a);
	return NULL;
}
char *cpu_rmsnorm_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor w, r1_tensor rstd)
{
	F32(x); F32N(dx, count(x)); F32N(dy, count(x)); F32N(rstd, rows(x)); F32N(w, cols(x));
	norm_args a = {.rows = rows(x), .cols = cols(x), .y = dx.p, .x = x.p, .w = w.p, .dy = dy.p, .rstd_in = rstd.p};
	pool_run(c->threads, a.rows, row_grain(a.cols), c->k->rmsnorm_dx, &a);
	return NULL;
}
char *cpu_rmsnorm_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor rstd)
{
	F32(x); F32N(dw, cols(x)); F32N(dy, count(x)); F32N(rstd, rows(x));
	norm_args a = {.rows = rows(x), .cols = cols(x), .dw = dw.p, .x = x.p, .dy = dy.p, .rstd_in = rstd.p};
	pool_run(c->threads, (a.cols + 15) / 16, row_grain(16 * a.rows), c->k->rmsnorm_dw, &a);
	return NULL;
}
char *cpu_rope(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor pos, r1_tensor table, int32_t how)
{
	F32(x); F32N(y, count(x)); F32(table);
	CHECK(x.nd == 3 && table.nd == 2 && table.n[1] == x.n[2] && x.n[2] % 2 == 0, "rope: x is not [T,H,d] or table not [positions,d] with d even");
	I32N(pos, x.n[0]);
	CHECK((how & ~(R1_ROPE_BACK | R1_ROPE_PAIRS)) == 0, "rope: how is %d", (int)how);
	TRY(check_index("rope", pos.p, x.n[0], table.n[0]));
	rope_args a = {.heads = x.n[1], .d = x.n[2], .positions = table.n[0], .y = y.p, .x = x.p, .table = table.p, .pos = pos.p,
	               .sign = how & R1_ROPE_BACK ? -1.0f : 1.0f, .pairs = how & R1_ROPE_PAIRS};
	pool_run(c->threads, x.n[0], row_grain(x.n[1] * x.n[2]), c->k->rope, &a);
	return NULL;
}
char *cpu_glu(r1_ctx *c, int32_t act, r1_tensor y, r1_tensor gate, r1_tensor up)
{
	CHECK(act == R1_GATE_SILU || act == R1_GATE_GELU, "glu: no gate %d", act);
	F32(gate); F32N(up, count(gate)); F32N(y, count(gate));
	elem_args a = {.op = act, .y = y.p, .a = gate.p, .b = up.p};
	pool_run(c->threads, count(gate), FLAT_GRAIN / 2, c->k->glu, &a);
	return NULL;
}
char *cpu_glu_grad(r1_ctx *c, int32_t act, r1_tensor dgate, r1_tensor dup, r1_tensor dy, r1_tensor gate, r1_tensor up)
{
	CHECK(act == R1_GATE_SILU || act == R1_GATE_GELU, "glu_grad: no gate %d", act);
	F32(gate); F32N(up, count(gate)); F32N(dy, count(gate)); F32N(dgate, count(gate)); F32N(dup, count(gate));
	glu_grad_args a = {.e = {.op = act, .y = dgate.p, .a = gate.p, .b = up.p}, .dup = dup.p, .dy = dy.p};
	pool_run(c->threads, count(gate), FLAT_GRAIN / 2, c->k->glu_grad, &a);
	return NULL;
}

/* keys and values are f32, or where that is allowed bf16 */
static char *check_heads(const char *op, r1_tensor q, r1_tensor k, r1_tensor v, int bf16)
{
	int32_t dtype = bf16 && k.dtype == R1_BF16 ? R1_BF16 : R1_F32;
	TRY(check(op, "q", q, R1_F32)); TRY(check(op, "k", k, dtype)); TRY(check(op, "v", v, dtype));
	int last = k.nd - 1;
	CHECK(q.nd == 3 && k.nd == v.nd && k.nd >= 3, "%s: q, k, v are not [T,heads,d]", op);
	CHECK(q.n[2] == k.n[last] && k.n[last] == v.n[last] && k.n[last - 1] == v.n[last - 1], "%s: head sizes differ", op);
	CHECK(k.n[last - 1] > 0 && q.n[1] % k.n[last - 1] == 0, "%s: %lld query heads over %lld key heads", op, (long long)q.n[1], (long long)k.n[last - 1]);
	CHECK(q.n[2] > 0 && q.n[2] <= 512, "%s: head size %lld: want 1 to 512", op, (long long)q.n[2]);
	CHECK(count(k) == count(v), "%s: k and v differ in size", op);
	return NULL;
}
/* rows of one sequence in a block of attention: fewer where there would be too few blocks to share */
static int64_t attn_rows(const r1_ctx *c, int64_t rows, int64_t g)
{
	int64_t n = 64;
	while (n > 16 && c->threads > 1 && rows / n * g < 4 * c->threads)
		n /= 2;
	return n;
}

/* Scratch of an attention over t rows: the workers', what rows remember between chunks, and room for t + 1 block starts and
 * t numbers more. */
typedef struct { void *p; int64_t got; int32_t *blocks, *more; } attn_room;
static char *attn_take_room(r1_ctx *c, attn_args *a, int64_t t, attn_room *r)
{
	a->scratch_worker = ATTN_SCRATCH(a->d);
	int64_t floats = a->scratch_worker * c->threads, state = a->o ? 2 * t * a->h : 0, bytes = 4 * (floats + state + 2 * t + 1);
	CHECK(r->p = scratch_get(c, bytes, &r->got), "attn: out of memory: %lld bytes of scratch", (long long)bytes);
	a->scratch = r->p, a->state = a->scratch + floats;
	r->blocks = (int32_t *)(a->state + state), r->more = r->blocks + t + 1;
	a->blocks = r->blocks;
	return NULL;
}

char *cpu_attn(r1_ctx *c, r1_tensor o, r1_tensor lse, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor segs, float scale, int64_t window, float softcap)
{
	TRY(check_heads("attn", q, k, v, 0));
	int64_t t = q.n[0], blocks = 0;
	CHECK(k.nd == 3 && k.n[0] == t, "attn: k has %lld rows, q %lld", (long long)k.n[0], (long long)t);
	F32N(o, count(q)); F32N(lse, t * q.n[1]);
	TRY(check_segs("attn", segs, t));
	attn_args a = {.h = q.n[1], .g = k.n[1], .d = q.n[2], .scale = scale, .softcap = softcap, .window = window, .o = o.p, .lse = lse.p,
	               .q = q.p, .k = k.p, .v = v.p, .segs = segs.p, .nseqs = segs.n[0]};
	attn_room room;
	TRY(attn_take_room(c, &a, t, &room));
	a.rows_seq = room.more;
	int64_t most = attn_rows(c, t, a.g);
	for (int64_t s = 0; s < a.nseqs; s++)
		for (int32_t i = 0; i < a.segs[3 * s + 1]; i++) {
			room.more[a.segs[3 * s] + i] = (int32_t)s;
			if (i % most == 0)
				room.blocks[blocks++] = a.segs[3 * s] + i;
		}
	room.blocks[blocks] = (int32_t)t;
	pool_run(c->threads, blocks * a.g, 1, c->k->attn, &a);
	scratch_put(c, room.p, room.got);
	return NULL;
}
char *cpu_attn_grad(r1_ctx *c, r1_tensor dq, r1_tensor dk, r1_tensor dv, r1_tensor dout, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor o, r1_tensor lse, r1_tensor segs,
                           float scale, int64_t window, float softcap)
{
	TRY(check_heads("attn_grad", q, k, v, 0));
	CHECK(k.nd == 3 && k.n[0] == q.n[0], "attn_grad: k has %lld rows, q %lld", (long long)k.n[0], (long long)q.n[0]);
	F32N(dq, count(q)); F32N(dk, count(k)); F32N(dv, count(k)); F32N(dout, count(q)); F32N(o, count(q)); F32N(lse, q.n[0] * q.n[1]);
	TRY(check_segs("attn_grad", segs, q.n[0]));
	attn_args a = {.h = q.n[1], .g = k.n[1], .d = q.n[2], .scale = scale, .softcap = softcap, .window = window, .q = q.p, .k = k.p, .v = v.p, .segs = segs.p, .nseqs = segs.n[0],
	               .dq = dq.p, .dk = dk.p, .dv = dv.p, .dout = dout.p, .oin = o.p, .lse_in = lse.p};
	attn_room room;
	TRY(attn_take_room(c, &a, q.n[0], &room));
	a.rows_seq = room.more;
	for (int64_t s = 0; s < a.nseqs; s++) {
		a.shared |= a.segs[3 * s + 2] >= 0;
		for (int32_t i = 0; i < a.segs[3 * s + 1]; i++)
			room.more[a.segs[3 * s] + i] = (int32_t)s;
	}
	pool_run(c->threads, segs.n[0] * a.g, 1, c->k->attn_grad, &a);
	scratch_put(c, room.p, room.got);
	return NULL;
}

/* one head's key and value into a page */
static void write32(float *key, float *value, const float *k, const float *v, int64_t d)
{
	for (int64_t i = 0; i < d; i++)
		key[16 * i] = k[i];
	memcpy(value, v, (size_t)d * sizeof *v);
}
static void write16(uint16_t *key, uint16_t *value, const float *k, const float *v, int64_t d)
{
	for (int64_t i = 0; i < d; i++)
		key[16 * i] = (uint16_t)(round16(f_raw(k[i]), 0) >> 16);
	for (int64_t i = 0; i < d; i++)
		value[i] = (uint16_t)(round16(f_raw(v[i]), 0) >> 16);
}
char *cpu_kv_write(r1_ctx *c, r1_tensor kpages, r1_tensor vpages, r1_tensor k, r1_tensor v, r1_tensor slot)
{
	(void)c;
	const int half = kpages.dtype == R1_BF16;
	F32(k); F32N(v, count(k));
	TRY(check("kv_write", "kpages", kpages, half ? R1_BF16 : R1_F32));
	TRY(check_count("kv_write", "vpages", vpages, kpages.dtype, count(kpages)));
	CHECK(kpages.nd == 4 && k.nd == 3 && kpages.n[2] == k.n[1] && kpages.n[3] == k.n[2], "kv_write: pages are not [P,S,heads,d] for these keys");
	CHECK(kpages.n[1] % 16 == 0, "kv_write: pages of %lld slots: want a multiple of 16", (long long)kpages.n[1]);
	I32N(slot, k.n[0]);
	TRY(check_index("kv_write", slot.p, k.n[0], kpages.n[0] * kpages.n[1]));
	int64_t heads = k.n[1], d = k.n[2];
	for (int64_t head = 0; head < k.n[0] * heads; head++) {
		int64_t s = ((const int32_t *)slot.p)[head / heads], at = attn_slot(s, head % heads, heads, d), place = s % 16;
		const float *from_k = (const float *)k.p + head * d, *from_v = (const float *)v.p + head * d;
		if (half)
			write16((uint16_t *)kpages.p + at + place, (uint16_t *)vpages.p + at + place * d, from_k, from_v, d);
		else
			write32((float *)kpages.p + at + place, (float *)vpages.p + at + place * d, from_k, from_v, d);
	}
	return NULL;
}
char *cpu_kv_bf16(r1_ctx *c, int32_t *out)
{
	(void)c;
	*out = 1;
	return NULL;
}
char *cpu_kv_read(r1_ctx *c, int64_t *out)
{
	*out = __atomic_load_n(&c->kv_read, __ATOMIC_RELAXED);
	return NULL;
}

/* Few blocks of long rows (one prompt's samples, say) would leave threads idle: then every chunk is closed on its own, all
 * at once, and they are merged afterwards in the same order. */
static char *run_attn_paged(r1_ctx *c, attn_args a, int64_t t, int64_t blocks, int64_t longest)
{
	int64_t got = 0, chunks = (longest + ATTN_CHUNK - 1) / ATTN_CHUNK, bytes = 4 * t * a.h * chunks * (a.d + 2);
	if (c->threads > 1 && chunks > 1 && blocks * a.g < 4 * c->threads && bytes <= 32 << 20) {
		a.chunks = chunks, a.parts = scratch_get(c, bytes, &got);
		CHECK(a.parts, "attn_paged: out of memory: %lld bytes of scratch", (long long)bytes);
	}
	int64_t items = blocks * (a.parts ? chunks : 1);
	pool_run(c->threads, items * a.g, items >= 4 * c->threads ? a.g : 1, c->k->attn, &a);
	if (a.parts)
		pool_run(c->threads, t, 1, c->k->attn_merge, &a);
	scratch_put(c, a.parts, got);
	return NULL;
}
char *cpu_attn_paged(r1_ctx *c, r1_tensor o, r1_tensor q, r1_tensor kpages, r1_tensor vpages, r1_tensor table, r1_tensor at, float scale, int64_t window, float softcap)
{
	TRY(check_heads("attn_paged", q, kpages, vpages, 1));
	CHECK(kpages.nd == 4, "attn_paged: pages are not [P,S,heads,d]");
	CHECK(kpages.n[1] > 0 && kpages.n[1] % 16 == 0, "attn_paged: pages of %lld slots: want a multiple of 16", (long long)kpages.n[1]);
	F32N(o, count(q));
	TRY(check("attn_paged", "table", table, R1_I32));
	CHECK(table.nd == 2, "attn_paged: table is not [N,pages]");
	I32N(at, 2 * q.n[0]);
	const int32_t *r = at.p, *tab = table.p;
	int64_t longest = 0; /* keys of a row */
	for (int64_t t = 0; t < q.n[0]; t++) {
		CHECK(r[2 * t] >= 0 && r[2 * t] < table.n[0] && r[2 * t + 1] >= 0 && r[2 * t + 1] / kpages.n[1] < table.n[1], "attn_paged: row %lld is (%d, %d), the table [%lld,%lld] of pages of %lld",
		      (long long)t, r[2 * t], r[2 * t + 1], (long long)table.n[0], (long long)table.n[1], (long long)kpages.n[1]);
		longest = r[2 * t + 1] >= longest ? r[2 * t + 1] + 1 : longest;
		for (int64_t p = 0; p <= r[2 * t + 1] / kpages.n[1]; p++) {
			int32_t page = tab[r[2 * t] * table.n[1] + p];
			CHECK(page >= 0 && page < kpages.n[0], "attn_paged: page %d of table row %d is outside 0..%lld", page, r[2 * t], (long long)kpages.n[0] - 1);
		}
	}
	attn_args a = {.h = q.n[1], .g = kpages.n[2], .d = q.n[2], .scale = scale, .softcap = softcap, .window = window, .o = o.p, .q = q.p,
	               .table = tab, .rows = r, .slots = kpages.n[1], .table_cols = table.n[1]};
	if (kpages.dtype == R1_BF16)
		a.k16 = kpages.p, a.v16 = vpages.p;
	else
		a.k = kpages.p, a.v = vpages.p;
	attn_room room;
	TRY(attn_take_room(c, &a, q.n[0], &room));
	int64_t most = attn_rows(c, q.n[0], a.g), blocks = 0, run = 0; /* run: rows of the sequence at hand in its block */
	for (int64_t t = 0; t < q.n[0]; t++) {
		int fresh = t == 0 || tab[r[2 * t] * a.table_cols] != tab[r[2 * t - 2] * a.table_cols];
		run = t > 0 && r[2 * t] == r[2 * t - 2] ? run + 1 : 0;
		if (!fresh && run < most && t - room.blocks[blocks - 1] < ATTN_ROWS)
			continue; /* goes through common pages with the rows before it */
		room.blocks[blocks++] = (int32_t)t;
		run = 0;
	}
	room.blocks[blocks] = (int32_t)q.n[0];
	a.read = &c->kv_read;
	char *m = run_attn_paged(c, a, q.n[0], blocks, longest);
	scratch_put(c, room.p, room.got);
	return m;
}
