/* attn.h: causal attention over packed sequences and over pages, forward and back. Queries that read the same keys make an item;
 * items are padded to one size and taken a block at a time, so that scores never fill more than a fixed scratch. */
#include "shim.h"

namespace shim {

constexpr int64_t attn_scratch = INT64_C(1) << 22; /* scores at a time; only memory and speed depend on it */
constexpr int64_t attn_queries = 256;              /* of one item */

/* Query rows first .. first + pos.size(), at the positions pos, of a sequence whose key at position i is row key[i]. */
struct attn_item {
	int64_t first;
	std::vector<int64_t> pos, key;
};

/* What all calls share. H query heads, G key heads, R = H / G, d head size. The CPU works in double: MKL's order of summation depends on
 * the shape of the call, which prefill, decode and training have each their own, and in double that does not reach the rounded result. */
struct attn_shape {
	int64_t h, g, r, d;
	double scale, softcap;
	int64_t window;
	at::ScalarType work;
};

/* n items padded to l queries and k keys. rows [n l]: each query's row, 0 where it is padding; keys [n k]; at, to: places among n l
 * of the queries that are not padding, and their rows; seen bool [n,1,1,l,k]. */
struct attn_block {
	int64_t n, l, k;
	Tensor rows, keys, at, to, seen;
};

inline attn_block pad(const views &v, const attn_shape &s, const attn_item *items, int64_t n, int64_t l, int64_t k)
{
	std::vector<int64_t> rows(static_cast<size_t>(n * l)), keys, at, to, pos(static_cast<size_t>(n * l), -1);
	for (int64_t i = 0; i < n; i++) {
		const attn_item &it = items[i];
		for (size_t j = 0; j < it.pos.size(); j++) {
			size_t place = static_cast<size_t>(i * l) + j;
			rows[place] = it.first + static_cast<int64_t>(j);
			pos[place] = it.pos[j];
			at.push_back(static_cast<int64_t>(place));
			to.push_back(rows[place]);
		}
		keys.insert(keys.end(), it.key.begin(), it.key.end());
		keys.insert(keys.end(), static_cast<size_t>(k) - it.key.size(), it.key[0]);
	}
	Tensor p = v.upload(pos).view({n, 1, 1, l, 1}), place = at::arange(k, p.options());
	Tensor seen = at::le(place, p);
	if (s.window > 0)
		seen.logical_and_(at::gt(place, p - s.window));
	return {n, l, k, v.upload(rows), v.upload(keys), v.upload(at), v.upload(to), seen};
}

/* Calls body for blocks of items. */
template <class F> void each_block(const views &v, const attn_shape &s, const std::vector<attn_item> &items, F body)
{
	for (size_t from = 0; from < items.size();) {
		int64_t n = 0, l = 0, k = 0;
		for (; from + static_cast<size_t>(n) < items.size(); n++) {
			const attn_item &it = items[from + static_cast<size_t>(n)];
			int64_t l2 = std::max(l, static_cast<int64_t>(it.pos.size())), k2 = std::max(k, static_cast<int64_t>(it.key.size()));
			if (n > 0 && (n + 1) * k2 * std::max(s.h * l2, s.g * s.d) > attn_scratch)
				break;
			l = l2, k = k2;
		}
		body(pad(v, s, &items[from], n, l, k));
		from += static_cast<size_t>(n);
	}
}

/* [rows, H, d] to [n G, R l, d], and back to the rows that are not padding */
inline Tensor take_queries(const attn_shape &s, const attn_block &b, const Tensor &x)
{
	return at::index_select(x, 0, b.rows).to(s.work).view({b.n, b.l, s.g, s.r, -1}).permute({0, 2, 3, 1, 4}).reshape({b.n * s.g, s.r * b.l, -1});
}
inline void put_queries(const attn_shape &s, const attn_block &b, Tensor to, const Tensor &x)
{
	Tensor back = x.view({b.n, s.g, s.r, b.l, -1}).permute({0, 3, 1, 2, 4}).reshape({b.n * b.l, s.h, -1});
	to.index_copy_(0, b.to, at::index_select(back, 0, b.at).to(to.scalar_type()));
}
/* [rows, G, d] to [n G, k, d], and added back */
inline Tensor take_keys(const attn_shape &s, const attn_block &b, const Tensor &x)
{
	return at::index_select(x, 0, b.keys).to(s.work).view({b.n, b.k, s.g, s.d}).permute({0, 2, 1, 3}).reshape({b.n * s.g, b.k, s.d});
}
inline void add_keys(const attn_shape &s, const attn_block &b, Tensor to, const Tensor &x)
{
	to.index_add_(0, b.keys, x.view({b.n, s.g, b.k, s.d}).permute({0, 2, 1, 3}).reshape({b.n * b.k, s.g, s.d}).to(to.scalar_type()));
}

/* scores [n G, R l, k], soft-capped, -infinity where a key is not seen */
inline Tensor scores(const attn_shape &s, const attn_block &b, const Tensor &q, const Tensor &k)
{
	Tensor z = at::bmm(q, k.transpose(1, 2)).mul_(s.scale);
	if (s.softcap > 0)
		z.div_(s.softcap).tanh_().mul_(s.softcap);
	z.view({b.n, s.g, s.r, b.l, b.k}).masked_fill_(at::logical_not(b.seen), -infinity);
	return z;
}

/* lse may be absent */
inline void attend(const views &v, const attn_shape &s, const std::vector<attn_item> &items, const Tensor &q, const Tensor &k, const Tensor &val, Tensor o, Tensor lse)
{
	each_block(v, s, items, [&](const attn_block &b) {
		Tensor z = scores(s, b, take_queries(s, b, q), take_keys(s, b, k));
		put_queries(s, b, o, at::bmm(at::softmax(z, 2), take_keys(s, b, val)));
		if (lse.defined())
			put_queries(s, b, lse.unsqueeze(2), at::logsumexp(z, 2, true));
	});
}

inline attn_shape shape_of(const Tensor &q, const r1_tensor &k, float scale, int64_t window, float softcap)
{
	int64_t g = k.n[k.nd - 2], d = k.n[k.nd - 1];
	WANT(q.size(2) == d, "head sizes differ");
	WANT(g > 0 && q.size(1) % g == 0, "%lld query heads over %lld key heads", static_cast<long long>(q.size(1)), static_cast<long long>(g));
	WANT(d > 0 && d <= 512, "head size %lld: want 1 to 512", static_cast<long long>(d));
	return {q.size(1), g, q.size(1) / g, d, scale, softcap, window, q.is_cpu() ? at::kDouble : at::kFloat};
}

/* each sequence, attn_queries rows at a time; its parent's keys stand before its own */
inline std::vector<attn_item> packed_items(const std::vector<seg> &segs)
{
	std::vector<attn_item> items;
	for (const seg &s : segs) {
		std::vector<int64_t> key;
		if (s.parent >= 0)
			for (int64_t i = 0; i < segs[static_cast<size_t>(s.parent)].len; i++)
				key.push_back(segs[static_cast<size_t>(s.parent)].start + i);
		for (int64_t from = 0; from < s.len; from += attn_queries) {
			attn_item it = {s.start + from, {}, {}};
			for (int64_t i = from; i < std::min(s.len, from + attn_queries); i++) {
				it.pos.push_back(static_cast<int64_t>(key.size()));
				key.push_back(s.start + i);
			}
			it.key = key;
			items.push_back(it);
		}
	}
	return items;
}

inline char *attn(r1_ctx *c, r1_tensor o, r1_tensor lse, r1_tensor q, r1_tensor k, r1_tensor val, r1_tensor segs, float scale, int64_t window, float softcap)
{
	return entry("attn", c, [&](const views &v) {
		Tensor qt = v.shaped("q", q, 3), kt = v.shaped("k", k, 3), vt = v.f32("v", val, kt.numel()).view_as(kt);
		attn_shape s = shape_of(qt, k, scale, window, softcap);
		int64_t t = qt.size(0);
		WANT(kt.size(0) == t, "k has %lld rows, q %lld", static_cast<long long>(kt.size(0)), static_cast<long long>(t));
		attend(v, s, packed_items(read_segs(v, segs, t)), qt, kt, vt, v.f32("o", o, qt.numel()).view_as(qt), v.f32("lse", lse, t * s.h).view({t, s.h}));
	});
}

/* p = exp(s - lse), ds = p (do.v - do.o), dq = ds k, dk = ds q, dv = p do (arXiv 2205.14135, algorithm 4) */
inline char *attn_grad(r1_ctx *c, r1_tensor dq, r1_tensor dk, r1_tensor dv, r1_tensor dout, r1_tensor q, r1_tensor k, r1_tensor val, r1_tensor o, r1_tensor lse, r1_tensor segs,
                       float scale, int64_t window, float softcap)
{
	return entry("attn_grad", c, [&](const views &v) {
		Tensor qt = v.shaped("q", q, 3), kt = v.shaped("k", k, 3), vt = v.f32("v", val, kt.numel()).view_as(kt);
		attn_shape s = shape_of(qt, k, scale, window, softcap);
		int64_t t = qt.size(0);
		WANT(kt.size(0) == t, "k has %lld rows, q %lld", static_cast<long long>(kt.size(0)), static_cast<long long>(t));
		Tensor up = v.f32("do", dout, qt.numel()).view_as(qt), ot = v.f32("o", o, qt.numel()).view_as(qt), lt = v.f32("lse", lse, t * s.h).view({t, s.h, 1});
		Tensor dqt = v.f32("dq", dq, qt.numel()).view_as(qt), dkt = v.f32("dk", dk, kt.numel()).view_as(kt).zero_(), dvt = v.f32("dv", dv, kt.numel()).view_as(kt).zero_();
		Tensor delta = at::sum(at::mul(up, ot), 2, true);
		each_block(v, s, packed_items(read_segs(v, segs, t)), [&](const attn_block &b) {
			Tensor qb = take_queries(s, b, qt), kb = take_keys(s, b, kt), ub = take_queries(s, b, up);
			Tensor z = scores(s, b, qb, kb), p = at::exp(at::sub(z, take_queries(s, b, lt)));
			p.view({b.n, s.g, s.r, b.l, b.k}).masked_fill_(at::logical_not(b.seen), 0); /* padding sees nothing */
			Tensor ds = at::bmm(ub, take_keys(s, b, vt).transpose(1, 2)).sub_(take_queries(s, b, delta)).mul_(p).mul_(s.scale);
			if (s.softcap > 0)
				ds.mul_(at::rsub(at::square(at::clamp_min(z, -s.softcap) / s.softcap), 1));
			put_queries(s, b, dqt, at::bmm(ds, kb));
			add_keys(s, b, dkt, at::bmm(ds.transpose(1, 2), qb));
			add_keys(s, b, dvt, at::bmm(p.transpose(1, 2), ub));
		});
	});
}

/* ---- over pages ---- */

inline char *kv_write(r1_ctx *c, r1_tensor kpages, r1_tensor vpages, r1_tensor k, r1_tensor val, r1_tensor slot)
{
	return entry("kv_write", c, [&](const views &v) {
		Tensor kp = v.shaped("kpages", kpages, 4), kt = v.shaped("k", k, 3);
		Tensor vp = v.f32("vpages", vpages, kp.numel()), vt = v.f32("v", val, kt.numel());
		WANT(kp.size(2) == kt.size(1) && kp.size(3) == kt.size(2), "pages are not [P,S,heads,d] for these keys");
		int64_t slots = kp.size(0) * kp.size(1), t = kt.size(0), width = kt.size(1) * kt.size(2);
		Tensor at = v.index("slot", slot, t, slots);
		kp.view({slots, width}).index_copy_(0, at, kt.view({t, width}));
		vp.view({slots, width}).index_copy_(0, at, vt.view({t, width}));
	});
}

/* The page table and the rows of t queries, checked. */
struct page_table {
	host_ints pages, rows;
};
inline page_table pages_of(const views &v, const Tensor &kp, const r1_tensor &table, const r1_tensor &at, int64_t t)
{
	check("table", table);
	WANT(table.nd == 2, "table is not [N,pages]");
	page_table p = {v.host("table", table), v.host("rows", at, 2 * t)};
	int64_t page = kp.size(1), seen = -1, upto = -1; /* pages of the row of the table at hand that were looked at */
	for (int64_t i = 0; i < t; i++) {
		int64_t row = p.rows[2 * i], pos = p.rows[2 * i + 1];
		WANT(row >= 0 && row < table.n[0] && pos >= 0 && pos / page < table.n[1], "row %lld is (%lld, %lld), the table [%lld,%lld] of pages of %lld", static_cast<long long>(i),
		     static_cast<long long>(row), static_cast<long long>(pos), static_cast<long long>(table.n[0]), static_cast<long long>(table.n[1]), static_cast<long long>(page));
		if (row != seen)
			seen = row, upto = -1;
		while (upto < pos / page) {
			int64_t id = p.pages[row * table.n[1] + ++upto];
			WANT(id >= 0 && id < kp.size(0), "page %lld of table row %lld is outside 0..%lld", static_cast<long long>(id), static_cast<long long>(row), static_cast<long long>(kp.size(0)) - 1);
		}
	}
	return p;
}

/* rows of one row of the page table that follow one another make an item */
inline std::vector<attn_item> paged_items(const views &v, const Tensor &kp, const r1_tensor &table, const r1_tensor &at, int64_t t)
{
	page_table p = pages_of(v, kp, table, at, t);
	const host_ints &r = p.rows;
	int64_t page = kp.size(1);
	std::vector<attn_item> items;
	for (int64_t i = 0; i < t; i++) {
		int64_t row = r[2 * i], pos = r[2 * i + 1];
		if (i == 0 || row != r[2 * i - 2] || static_cast<int64_t>(items.back().pos.size()) == attn_queries)
			items.push_back({i, {}, {}});
		attn_item &it = items.back();
		it.pos.push_back(pos);
		for (int64_t j = static_cast<int64_t>(it.key.size()); j <= pos; j++)
			it.key.push_back(p.pages[row * table.n[1] + j / page] * page + j % page);
	}
	return items;
}

inline char *attn_paged(r1_ctx *c, r1_tensor o, r1_tensor q, r1_tensor kpages, r1_tensor vpages, r1_tensor table, r1_tensor at, float scale, int64_t window, float softcap)
{
	return entry("attn_paged", c, [&](const views &v) {
		Tensor qt = v.shaped("q", q, 3), kp = v.shaped("kpages", kpages, 4), vp = v.f32("vpages", vpages, kp.numel()).view_as(kp);
		attn_shape s = shape_of(qt, kpages, scale, window, softcap);
		Tensor out = v.f32("o", o, qt.numel()).view_as(qt);
		attend(v, s, paged_items(v, kp, table, at, qt.size(0)), qt, kp.view({-1, s.g, s.d}), vp.view({-1, s.g, s.d}), out, {});
	});
}

} // namespace shim
