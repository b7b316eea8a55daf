/* cpu_head.c: the fused head, whose logits exist for a block of rows at a time, and the optimiser. */
#include "ctx.h"
#include "ops.h"

/* ---- the fused head ---- */

/* Floats of logits at a time; only speed and memory depend on it. Each block of rows reads the weight once more, and its gradient adds to all of dw, so few rows at
 * a time are slow where the weight is wide; more rows than a cache has room for are slow where it is not. */
#define HEAD_CACHED (INT64_C(4) << 20)
#define HEAD_SCRATCH (INT64_C(16) << 20)

/* Calls body(r0, n) for blocks of rows whose logits z [n,V] have just been computed, and o of another head beside them. */
typedef struct { r1_tensor x, w, packed; } head_model;
typedef struct { r1_ctx *c; head_model m, other; int64_t v, d, block; float *z, *o; int64_t got, got_o; } head_blocks;

static char *head_check(r1_ctx *c, const char *op, head_model m)
{
	TRY(check(op, "x", m.x, R1_F32));
	TRY(check_packed(c, op, m.packed, m.w));
	CHECK(cols(m.x) == m.w.n[1], "%s: x has %lld columns, w %lld", op, (long long)cols(m.x), (long long)m.w.n[1]);
	return NULL;
}

/* two: a second block beside the first, for the other head or as scratch */
static char *head_open(head_blocks *b, r1_ctx *c, const char *op, head_model m, head_model other, int two)
{
	TRY(head_check(c, op, m));
	*b = (head_blocks){.c = c, .m = m, .other = other, .v = m.w.n[0], .d = m.w.n[1]};
	if (other.x.p) {
		TRY(head_check(c, op, other));
		CHECK(rows(other.x) == rows(m.x) && other.w.n[0] == b->v, "%s: the other head has %lld rows and %lld words, want %lld and %lld", op, (long long)rows(other.x),
		      (long long)other.w.n[0], (long long)rows(m.x), (long long)b->v);
	}
	b->block = HEAD_CACHED / b->v;
	if (b->block < b->d / 4)
		b->block = HEAD_SCRATCH / (two ? 2 : 1) / b->v;
	if (b->block < 2 * BLOCK16)
		b->block = 2 * BLOCK16;
	if (b->block > rows(m.x))
		b->block = rows(m.x);
	b->z = scratch_get(c, 4 * b->block * b->v, &b->got);
	CHECK(b->z, "%s: out of memory: %lld bytes of scratch", op, (long long)(4 * b->block * b->v));
	if (two) {
		b->o = scratch_get(c, 4 * b->block * b->v, &b->got_o);
		if (!b->o) {
			scratch_put(c, b->z, b->got);
			return cpu_fail("%s: out of memory: %lld bytes of scratch", op, (long long)(4 * b->block * b->v));
		}
	}
	return NULL;
}
static char *head_logits_of(head_blocks *b, head_model m, float *z, int64_t r0, int64_t n)
{
	int64_t d = m.w.n[1];
	return run_linear(b->c, n, b->v, d, (const float *)m.x.p + r0 * d, m.w, m.packed, z, NULL);
}
static char *head_logits(head_blocks *b, int64_t r0, int64_t n)
{
	TRY(head_logits_of(b, b->m, b->z, r0, n));
	return b->other.x.p ? head_logits_of(b, b->other, b->o, r0, n) : NULL;
}
static char *head_close(head_blocks *b, char *m)
{
	scratch_put(b->c, b->z, b->got);
	if (b->o)
		scratch_put(b->c, b->o, b->got_o);
	return m;
}

/* keep_at [T+1] starts at 0 and ascends to the length of keep; row r's words ascend, target[r] among them */
static char *check_keep(const char *op, r1_tensor at, r1_tensor keep, const int32_t *target, int64_t t, int64_t v)
{
	TRY(check_count(op, "keep_at", at, R1_I32, t + 1));
	TRY(check(op, "keep", keep, R1_I32));
	const int32_t *start = at.p, *ids = keep.p;
	CHECK(start[0] == 0 && start[t] == count(keep), "%s: keep_at runs from %d to %d, want 0 to %lld", op, start[0], start[t], (long long)count(keep));
	for (int64_t r = 0; r < t; r++)
		CHECK(start[r] < start[r + 1] && start[r + 1] <= start[t], "%s: row %lld keeps words %d to %d of the list", op, (long long)r, start[r], start[r + 1]);
	for (int64_t r = 0; r < t; r++) {
		int found = 0;
		for (int64_t i = start[r], last = -1; i < start[r + 1]; last = ids[i++]) {
			CHECK(ids[i] > last && ids[i] < v, "%s: row %lld: kept word %d after %lld, want them to ascend in 0..%lld", op, (long long)r, ids[i], (long long)last, (long long)v - 1);
			found |= ids[i] == target[r];
		}
		CHECK(found, "%s: row %lld: the target %d is not among the words it keeps", op, (long long)r, target[r]);
	}
	return NULL;
}

char *cpu_head_ext(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor kl, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap,
                   r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep)
{
	head_blocks b;
	int64_t t = rows(x);
	F32N(logp, t); F32N(ent, t); F32N(lse, t); I32N(target, t);
	if (temp.p)
		F32N(temp, t);
	if (y.p) {
		F32N(kl, t); F32N(aux, 2 * t);
		CHECK(beta >= 0 && beta <= 1, "head_ext: beta %g", (double)beta);
	}
	TRY(head_open(&b, c, "head_ext", (head_model){x, w, packed}, (head_model){y, u, upacked}, y.p != NULL));
	char *m = check_index("head_ext", target.p, t, b.v);
	if (!m && keep_at.p)
		m = check_keep("head_ext", keep_at, keep, target.p, t, b.v);
	for (int64_t r = 0; r < t && !m; r += b.block) {
		int64_t n = t - r < b.block ? t - r : b.block;
		m = head_logits(&b, r, n);
		head_args a = {.v = b.v, .ldz = b.v, .z = b.z, .softcap = softcap, .temp = AT(temp, r), .target = (const int32_t *)target.p + r, .logp = AT(logp, r), .ent = AT(ent, r), .lse = AT(lse, r),
		               .o = b.o, .ocap = ycap, .beta = beta, .kl = AT(kl, r), .aux = AT(aux, 2 * r), .keep_at = keep_at.p ? (const int32_t *)keep_at.p + r : NULL, .keep = keep.p};
		if (!m)
			pool_run(c->threads, n, 1 + 4096 / b.v, c->k->head_stats, &a);
	}
	return head_close(&b, m);
}
char *cpu_head(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap)
{
	r1_tensor none = {0};
	return cpu_head_ext(c, logp, ent, lse, none, none, x, w, packed, target, temp, softcap, none, none, none, 0, 0, none, none);
}

/* Takes from the blocks of class tile, which begin at row r, those that end within *most rows, and makes *most their rows. Other classes have no blocks. */
static row_blocks head_part(row_blocks *left, int64_t r, int64_t *most)
{
	row_blocks part = *left;
	if (!left->starts)
		return part;
	for (part.n = 1; part.n < left->n && left->starts[part.n + 1] - r <= *most;)
		part.n++;
	*most = part.starts[part.n] - r;
	left->starts += part.n, left->n -= part.n;
	return part;
}

char *cpu_head_grad_segs(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed,
                         r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep, r1_tensor segs)
{
	head_blocks b;
	row_blocks at = {0};
	int64_t t = rows(x), n;
	F32N(dx, count(x)); F32N(dlogp, t); F32N(ent, t); F32N(lse, t); I32N(target, t);
	if (dw.p)
		F32N(dw, count(w));
	if (dent.p)
		F32N(dent, t);
	if (temp.p)
		F32N(temp, t);
	if (dkl.p) {
		F32N(dkl, t); F32N(aux, 2 * t);
		TRY(check("head_ext_grad", "y", y, R1_F32));
	} else {
		y.p = NULL;
	}
	TRY(head_open(&b, c, "head_ext_grad", (head_model){x, w, packed}, (head_model){y, u, upacked}, y.p != NULL));
	char *m = check_index("head_ext_grad", target.p, t, b.v);
	if (!m && keep_at.p)
		m = check_keep("head_ext_grad", keep_at, keep, target.p, t, b.v);
	if (!m)
		m = take_blocks(c, "head_ext_grad", t, segs, &at);
	row_blocks left = at;
	for (int64_t r = 0; r < t && !m; r += n) {
		n = t - r < b.block ? t - r : b.block;
		row_blocks part = head_part(&left, r, &n);
		m = head_logits(&b, r, n);
		head_args a = {.v = b.v, .ldz = b.v, .z = b.z, .softcap = softcap, .temp = AT(temp, r), .target = (const int32_t *)target.p + r, .dlogp = AT(dlogp, r), .dent = AT(dent, r),
		               .ent_in = AT(ent, r), .lse_in = AT(lse, r), .o = b.o, .ocap = ycap, .beta = beta, .dkl = AT(dkl, r), .aux_in = AT(aux, 2 * r),
		               .keep_at = keep_at.p ? (const int32_t *)keep_at.p + r : NULL, .keep = keep.p};
		if (!m)
			pool_run(c->threads, n, 1 + 4096 / b.v, c->k->head_dlogits, &a);
		if (!m)
			m = run_linear_dx(c, n, b.v, b.d, b.z, w, packed, AT(dx, r * b.d));
		if (!m && dw.p && is_bf16(packed))
			m = run_linear_dw16(c, n, b.v, b.d, b.z, AT(x, r * b.d), dw.p, part);
		else if (!m && dw.p)
			m = run_linear_dw(c, n, b.v, b.d, b.z, AT(x, r * b.d), dw.p);
	}
	scratch_put(c, at.starts, at.got);
	return head_close(&b, m);
}
char *cpu_head_ext_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed,
                        r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep)
{
	r1_tensor none = {0};
	return cpu_head_grad_segs(c, dx, dw, dlogp, dent, dkl, ent, lse, aux, x, w, packed, target, temp, softcap, y, u, upacked, ycap, beta, keep_at, keep, none);
}
char *cpu_head_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target,
                           r1_tensor temp, float softcap)
{
	r1_tensor none = {0};
	return cpu_head_ext_grad(c, dx, dw, dlogp, dent, none, ent, lse, none, x, w, packed, target, temp, softcap, none, none, none, 0, 0, none, none);
}

char *cpu_head_sample_keep(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor kept, r1_tensor mass, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor cut, r1_tensor counter,
                           r1_tensor key, float softcap)
{
	head_blocks b;
	char *m = NULL;
	int64_t t = rows(x), words = (w.n[0] + 31) / 32;
	F32N(logp, t); F32N(ent, t); I32N(token, t); I32N(counter, 4 * t); I32N(key, 2);
	if (temp.p) {
		F32N(temp, t);
		for (int64_t i = 0; i < t; i++)
			CHECK(((const float *)temp.p)[i] >= 0, "head_sample: temperature %g", (double)((const float *)temp.p)[i]);
	}
	if (cut.p) {
		F32N(cut, 3 * t); F32N(mass, t);
		for (const float *q = cut.p; q < (const float *)cut.p + 3 * t; q += 3)
			CHECK(q[0] >= 0 && q[1] >= 0 && q[2] >= 0 && q[2] <= 1, "head_sample_keep: top-k %g, top-p %g, min-p %g", (double)q[0], (double)q[1], (double)q[2]);
	}
	TRY(head_open(&b, c, "head_sample", (head_model){x, w, packed}, (head_model){{0}, {0}, {0}}, cut.p != NULL));
	if (cut.p)
		m = check_count("head_sample_keep", "kept", kept, R1_I32, t * words);
	for (int64_t r = 0; r < t && !m; r += b.block) {
		int64_t n = t - r < b.block ? t - r : b.block;
		m = head_logits(&b, r, n);
		head_args a = {.v = b.v, .ldz = b.v, .z = b.z, .o = b.o, .softcap = softcap, .temp = AT(temp, r), .token = (int32_t *)token.p + r, .logp = AT(logp, r), .ent = AT(ent, r),
		               .counter = (const uint32_t *)counter.p + 4 * r, .key = key.p, .cut = AT(cut, 3 * r), .kept = cut.p ? (uint32_t *)kept.p + r * words : NULL, .mass = AT(mass, r)};
		if (!m)
			pool_run(c->threads, n, 1 + 4096 / b.v, c->k->head_draw, &a);
	}
	return head_close(&b, m);
}
char *cpu_head_sample(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap)
{
	r1_tensor none = {0};
	return cpu_head_sample_keep(c, token, logp, ent, none, none, x, w, packed, temp, none, counter, key, softcap);
}

/* ---- optimiser ---- */

char *cpu_sq_norm(r1_ctx *c, r1_tensor y, r1_tensor x)
{
	int64_t got, blocks = (count(x) + NORM_BLOCK - 1) / NORM_BLOCK;
	F32(x);
	TRY(check_count("sq_norm", "y", y, R1_F64, 1));
	double *partial = scratch_get(c, 8 * blocks, &got), sum = 0;
	CHECK(partial, "sq_norm: out of memory");
	optim_args a = {.n = count(x), .g = x.p, .partial = partial};
	pool_run(c->threads, blocks, 4, c->k->sq_norm, &a);
	for (int64_t i = 0; i < blocks; i++)
		sum += partial[i];
	*(double *)y.p += sum;
	scratch_put(c, partial, got);
	return NULL;
}
void adamw_numbers(optim_args *a, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	const double *h = hyper.p;
	a->keep = (float)(1 - h[0] * (double)decay), a->step = (float)(h[0] / h[2]), a->rbc2 = (float)(1 / sqrt(h[3])), a->gscale = (float)h[1];
	a->beta1 = beta1, a->beta2 = beta2, a->eps = eps;
}
char *cpu_adamw(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay)
{
	F32(w); F32N(m, count(w)); F32N(v, count(w)); F32N(g, count(w));
	TRY(check_count("adamw", "hyper", hyper, R1_F64, 4));
	optim_args a = {.w = w.p, .m = m.p, .v = v.p, .g = g.p};
	adamw_numbers(&a, hyper, beta1, beta2, eps, decay);
	pool_run(c->threads, count(w), FLAT_GRAIN, c->k->adamw, &a);
	return NULL;
}
