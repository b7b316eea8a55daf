/* head.h: the fused head. Logits exist for a block of rows at a time. */
#include "matrix.h"

namespace shim {

constexpr int64_t head_scratch = INT64_C(1) << 20; /* logits at a time; only memory and speed depend on it */
constexpr float head_floor = -1e30f;               /* of log-probs: 0 times it is 0 */

/* One output head: hidden rows x [T,D] and weight w [V,D]; of a weight in bf16 both are rounded. */
struct head_model {
	Tensor x, w;
	double softcap;
	bool bf16;

	Tensor logits(int64_t r, int64_t n) const
	{
		Tensor z = at::empty({n, w.size(0)}, x.options().dtype(at::kFloat));
		product(z, x.narrow(0, r, n), w.t());
		return z;
	}
};

inline head_model model_of(const views &v, const char *name, const r1_tensor &x, const r1_tensor &w, const r1_tensor &packed, float softcap)
{
	factor f = weight(v, w, packed);
	head_model m = {f.meets(v.matrix(name, x)), f.w, softcap, f.bf16};
	WANT(m.x.size(1) == m.w.size(1), "%s has %lld columns, w %lld", name, static_cast<long long>(m.x.size(1)), static_cast<long long>(m.w.size(1)));
	WANT(m.w.size(0) > 0, "no words");
	return m;
}

/* Rows of a call. keep bool [n,V] of a block: empty where all words are kept. */
struct head_input {
	head_model m, other; /* other.x is undefined where there is none */
	Tensor target, temp; /* [T], [T,1] */
	std::vector<int64_t> keep_at, keep;
	double beta;

	int64_t t() const { return m.x.size(0); }
	int64_t v() const { return m.w.size(0); }

	template <class F> void each_block(F body, int64_t scratch = head_scratch) const
	{
		int64_t block = std::max<int64_t>(16, scratch / v());
		for (int64_t r = 0; r < t(); r += block)
			body(r, std::min(block, t() - r));
	}
	Tensor kept(const views &s, int64_t r, int64_t n) const
	{
		if (keep_at.empty())
			return {};
		std::vector<int64_t> at;
		for (int64_t i = 0; i < n; i++)
			for (int64_t j = keep_at[static_cast<size_t>(r + i)]; j < keep_at[static_cast<size_t>(r + i + 1)]; j++)
				at.push_back(i * v() + keep[static_cast<size_t>(j)]);
		return at::zeros({n * v()}, at::TensorOptions().dtype(at::kBool).device(s.ctx->device)).index_fill_(0, s.upload(at), true).view({n, v()});
	}
};

/* z = softcap(z) / temperature; -infinity for words that are not kept */
inline Tensor shape_logits(Tensor z, double softcap, const Tensor &temp, const Tensor &kept)
{
	if (softcap > 0)
		z = at::tanh(z / softcap).mul_(softcap);
	z = at::div(z, temp);
	return kept.defined() ? z.masked_fill_(at::logical_not(kept), -infinity) : z;
}

inline Tensor entropy(const Tensor &lp) { return at::neg(at::sum(at::exp(lp).mul_(at::clamp_min(lp, head_floor)), 1)); }

/* KL(p || q) (beta 1), KL(q || p) (beta 0), or between them beta KL(q || m) + (1 - beta) KL(p || m), m = beta q + (1 - beta) p, in
 * double; tilt: KL(p || what p is compared with), and log_m: the log of that */
struct divergence {
	Tensor kl, tilt, log_m;
};
inline Tensor kl_of(const Tensor &a, const Tensor &b) { return at::sum(at::exp(a) * (a - b), 1).clamp_min_(0); }
inline divergence diverge(const Tensor &lp, const Tensor &lq, double beta)
{
	if (beta == 1) {
		Tensor kl = kl_of(lp, lq);
		return {kl, kl, lq};
	}
	if (beta == 0)
		return {kl_of(lq, lp), at::zeros({lp.size(0)}, lp.options()), lq};
	Tensor lm = at::log(at::exp(lq) * beta + at::exp(lp) * (1 - beta)).clamp_min_(head_floor), tilt = kl_of(lp, lm);
	return {kl_of(lq, lm) * beta + tilt * (1 - beta), tilt, lm};
}
inline Tensor log_probs(const Tensor &shaped) { return at::log_softmax(shaped.to(at::kDouble), 1).clamp_min_(head_floor); }

/* checks target, temperature, the other model and the words kept */
inline head_input input_of(const views &v, const r1_tensor &x, const r1_tensor &w, const r1_tensor &packed, const r1_tensor &target, const r1_tensor &temp, float softcap, const r1_tensor &y,
                           const r1_tensor &u, const r1_tensor &upacked, float ycap, float beta, const r1_tensor &keep_at, const r1_tensor &keep)
{
	head_input in = {model_of(v, "x", x, w, packed, softcap), {}, {}, {}, {}, {}, beta};
	int64_t t = in.t(), words = in.v();
	if (y.p) {
		WANT(beta >= 0 && beta <= 1, "beta %g", static_cast<double>(beta));
		in.other = model_of(v, "y", y, u, upacked, ycap);
		WANT(in.other.x.size(0) == t && in.other.w.size(0) == words, "the other head has %lld rows and %lld words, want %lld and %lld", static_cast<long long>(in.other.x.size(0)),
		     static_cast<long long>(in.other.w.size(0)), static_cast<long long>(t), static_cast<long long>(words));
	}
	in.target = v.index("target", target, t, words);
	in.temp = v.column("temp", temp, t);
	if (!keep_at.p)
		return in;
	host_ints start = v.host("keep_at", keep_at, t + 1), ids = v.host("keep", keep), goal = v.host("target", target);
	WANT(start[0] == 0 && start[t] == ids.keep.numel(), "keep_at runs from %d to %d, want 0 to %lld", start[0], start[t], static_cast<long long>(ids.keep.numel()));
	for (int64_t r = 0; r < t; r++)
		WANT(start[r] < start[r + 1] && start[r + 1] <= start[t], "row %lld keeps words %d to %d of the list", static_cast<long long>(r), start[r], start[r + 1]);
	for (int64_t r = 0; r < t; r++) {
		bool found = false;
		for (int64_t i = start[r], last = -1; i < start[r + 1]; last = ids[i++]) {
			WANT(ids[i] > last && ids[i] < words, "row %lld: kept word %d after %lld, want them to ascend in 0..%lld", static_cast<long long>(r), ids[i], static_cast<long long>(last),
			     static_cast<long long>(words) - 1);
			found |= ids[i] == goal[r];
		}
		WANT(found, "row %lld: the target %d is not among the words it keeps", static_cast<long long>(r), goal[r]);
	}
	in.keep_at.assign(start.p, start.p + t + 1);
	in.keep.assign(ids.p, ids.p + ids.keep.numel());
	return in;
}

inline char *head_ext(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor kl, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp,
                      float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep)
{
	return entry("head", c, [&](const views &v) {
		head_input in = input_of(v, x, w, packed, target, temp, softcap, y, u, upacked, ycap, beta, keep_at, keep);
		Tensor lp_out = v.f32("logp", logp, in.t()), ent_out = v.f32("ent", ent, in.t()), lse_out = v.f32("lse", lse, in.t()), kl_out, aux_out;
		if (y.p)
			kl_out = v.f32("kl", kl, in.t()), aux_out = v.f32("aux", aux, 2 * in.t()).view({in.t(), 2});
		in.each_block([&](int64_t r, int64_t n) {
			Tensor kept = in.kept(v, r, n), t = in.temp.narrow(0, r, n), z = shape_logits(in.m.logits(r, n), in.m.softcap, t, kept), lp = at::log_softmax(z, 1);
			lp_out.narrow(0, r, n).copy_(at::gather(lp, 1, in.target.narrow(0, r, n).view({n, 1})).view({n}));
			ent_out.narrow(0, r, n).copy_(entropy(lp));
			lse_out.narrow(0, r, n).copy_(at::logsumexp(z, 1));
			if (!y.p)
				return;
			Tensor o = shape_logits(in.other.logits(r, n), in.other.softcap, t, kept);
			divergence d = diverge(log_probs(z), log_probs(o), in.beta);
			kl_out.narrow(0, r, n).copy_(d.kl);
			aux_out.narrow(0, r, n).copy_(at::stack({at::logsumexp(o, 1), d.tilt.to(at::kFloat)}, 1));
		});
	});
}
inline char *head(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap)
{
	r1_tensor none = {};
	return head_ext(c, logp, ent, lse, none, none, x, w, packed, target, temp, softcap, none, none, none, 0, 0, none, none);
}

/* the gradient of sum(dlogp logp + dent ent + dkl kl) in the raw logits: with p = softmax, dlogp (1[target] - p) - dent p (log p + H)
 * + dkl (1 - beta or 1) p (log p - log m - tilt), or for beta 0 dkl (p - q), through temperature and softcap */
inline char *head_ext_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w,
                           r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep)
{
	return entry("head_grad", c, [&](const views &v) {
		r1_tensor none = {};
		if (dkl.p)
			v.flat("y", y);
		head_input in = input_of(v, x, w, packed, target, temp, softcap, dkl.p ? y : none, u, upacked, ycap, beta, keep_at, keep);
		int64_t t = in.t();
		Tensor dx_out = v.f32("dx", dx, in.m.x.numel()).view_as(in.m.x), dl = v.f32("dlogp", dlogp, t).view({t, 1}), h = v.f32("ent", ent, t).view({t, 1}), norm = v.f32("lse", lse, t).view({t, 1});
		Tensor dw_out, de, dk;
		if (dw.p)
			dw_out = v.f32("dw", dw, in.m.w.numel()).view_as(in.m.w);
		if (dent.p)
			de = v.f32("dent", dent, t).view({t, 1});
		if (dkl.p) {
			v.f32("aux", aux, 2 * t);
			dk = v.f32("dkl", dkl, t).view({t, 1});
		}
		in.each_block([&](int64_t r, int64_t n) {
			Tensor kept = in.kept(v, r, n), tr = in.temp.narrow(0, r, n), raw = in.m.logits(r, n), z = shape_logits(raw, in.m.softcap, tr, kept), dlr = dl.narrow(0, r, n);
			Tensor lp = at::sub(z, norm.narrow(0, r, n)), p = at::exp(lp), d = at::neg(at::mul(p, dlr));
			d.scatter_add_(1, in.target.narrow(0, r, n).view({n, 1}), dlr);
			if (dent.p)
				d.sub_(at::mul(p, at::clamp_min(lp, head_floor).add_(h.narrow(0, r, n))).mul_(de.narrow(0, r, n)));
			if (dkl.p) {
				Tensor a = log_probs(z), q = log_probs(shape_logits(in.other.logits(r, n), in.other.softcap, tr, kept));
				divergence k = diverge(a, q, in.beta);
				Tensor pull = in.beta == 0 ? at::exp(a) - at::exp(q) : at::exp(a) * (a - k.log_m - k.tilt.view({n, 1})) * (in.beta == 1 ? 1 : 1 - in.beta);
				d.add_(at::mul(pull, dk.narrow(0, r, n)).to(at::kFloat));
			}
			if (in.m.softcap > 0)
				d.mul_(at::rsub(at::square(at::tanh(raw / in.m.softcap)), 1));
			d.div_(tr);
			if (in.m.bf16)
				d = rounded(d);
			product(dx_out.narrow(0, r, n), d, in.m.w);
			if (dw.p)
				add_product(dw_out, d.t(), in.m.x.narrow(0, r, n));
		});
	});
}
inline char *head_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target,
                       r1_tensor temp, float softcap)
{
	r1_tensor none = {};
	return head_ext_grad(c, dx, dw, dlogp, dent, none, ent, lse, none, x, w, packed, target, temp, softcap, none, none, none, 0, 0, none, none);
}

/* ---- sampling ---- */

/* Philox-4x32-10 (Salmon et al., SC 2011): 53 bits of its first two words, in [0, 1) */
inline double uniform(const int32_t *key, const int32_t *counter)
{
	uint32_t k0 = static_cast<uint32_t>(key[0]), k1 = static_cast<uint32_t>(key[1]), c[4];
	memcpy(c, counter, sizeof c);
	for (int r = 0; r < 10; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
		uint64_t a = uint64_t{0xD2511F53u} * c[0], b = uint64_t{0xCD9E8D57u} * c[2];
		uint32_t n0 = static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, n2 = static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1;
		c[1] = static_cast<uint32_t>(b), c[3] = static_cast<uint32_t>(a), c[0] = n0, c[2] = n2;
	}
	return (static_cast<double>(c[0] >> 5) * 67108864.0 + static_cast<double>(c[1] >> 6)) / 9007199254740992.0;
}

/* What top-k, then top-p of the mass left, then min-p of the likeliest leave of shaped logits: bool [n,V]. Words go in the order of
 * larger logit, then lower id; what is kept is a beginning of that order, never nothing. cut [n,3]. */
inline Tensor truncate(const Tensor &z, const Tensor &cut)
{
	auto [sorted, order] = at::sort(z, /*stable=*/true, 1, /*descending=*/true);
	Tensor place = at::arange(z.size(1), order.options()), k = cut.narrow(1, 0, 1), p = cut.narrow(1, 1, 1), least = cut.narrow(1, 2, 1);
	Tensor e = at::exp(at::sub(sorted, sorted.narrow(1, 0, 1)));
	Tensor stay = at::logical_or(at::lt(k, 1), at::lt(place, k));
	Tensor mass = at::where(stay, e, 0).to(at::kDouble), sums = at::cumsum(mass, 1);
	Tensor enough = at::mul(sums.narrow(1, -1, 1), p), whole = at::logical_or(at::le(p, 0), at::ge(p, 1));
	stay.logical_and_(at::logical_or(whole, at::lt(sums - mass, enough))).logical_and_(at::logical_not(at::lt(e, least)));
	stay.select(1, 0).fill_(true);
	return at::empty_like(stay).scatter_(1, order, stay);
}

/* The first word whose cumulative mass exceeds u times the total; where rounding leaves a sliver or masses are no numbers, some word
 * of kept (undefined: all). */
inline Tensor draw(const Tensor &lp, const Tensor &u, const Tensor &kept)
{
	Tensor mass = at::exp(lp.to(at::kDouble)), sums = at::cumsum(mass, 1), possible = at::gt(mass, 0);
	Tensor id = at::sum(at::le(sums, at::mul(u, sums.narrow(1, -1, 1))), 1);
	Tensor last = at::rsub(at::argmax(possible.flip(1).to(at::kInt), 1), lp.size(1) - 1);
	id = at::where(at::ge(id, lp.size(1)), last, id);
	if (!kept.defined())
		return id;
	Tensor fine = at::gather(kept, 1, id.view({-1, 1})).view({-1});
	return at::where(fine, id, at::argmax(kept.to(at::kInt), 1));
}

/* bit i of a row is word i */
inline Tensor bits_of(const Tensor &kept, int64_t words)
{
	Tensor padded = at::zeros({kept.size(0), 32 * words}, kept.options().dtype(at::kLong));
	padded.narrow(1, 0, kept.size(1)).copy_(kept);
	Tensor sum = at::sum(at::bitwise_left_shift(padded.view({kept.size(0), words, 32}), at::arange(32, padded.options())), 2);
	return at::where(at::ge(sum, INT64_C(1) << 31), sum - (INT64_C(1) << 32), sum).to(at::kInt);
}

inline void check_draw(const views &v, const Tensor &temp, const r1_tensor &cut)
{
	WANT(at::ge(temp, 0).all().item<bool>(), "a temperature is negative or no number");
	if (!cut.p)
		return;
	Tensor c = v.f32("cut", cut, 3 * temp.numel()).view({-1, 3});
	WANT(at::ge(c, 0).all().item<bool>() && at::le(c.select(1, 2), 1).all().item<bool>(), "a top-k, top-p or min-p is out of its range");
}

inline char *head_sample_keep(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor kept, r1_tensor mass, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor cut,
                              r1_tensor counter, r1_tensor key, float softcap)
{
	return entry("head_sample", c, [&](const views &v) {
		head_input in = {model_of(v, "x", x, w, packed, softcap), {}, {}, v.column("temp", temp, rows(x)), {}, {}, 0};
		int64_t t = in.t(), words = (in.v() + 31) / 32;
		Tensor id_out = v.flat("token", token, t, R1_I32), lp_out = v.f32("logp", logp, t), ent_out = v.f32("ent", ent, t), cuts, kept_out, mass_out;
		host_ints at = v.host("counter", counter, 4 * t), k = v.host("key", key, 2);
		check_draw(v, in.temp, cut);
		v.forget(token);
		if (cut.p) {
			cuts = v.f32("cut", cut, 3 * t).view({t, 3});
			mass_out = v.f32("mass", mass, t);
			kept_out = v.flat("kept", kept, t * words, R1_I32).view({t, words});
			v.forget(kept);
		}
		std::vector<double> numbers;
		for (int64_t i = 0; i < t; i++)
			numbers.push_back(uniform(k.p, at.p + 4 * i));
		Tensor u = at::from_blob(numbers.data(), {t, 1}, at::kDouble).to(v.ctx->device, at::kDouble, false, true);
		in.each_block([&](int64_t r, int64_t n) {
			Tensor temps = in.temp.narrow(0, r, n), greedy = at::eq(temps, 0), left;
			Tensor z = shape_logits(in.m.logits(r, n), softcap, at::where(greedy, 1, temps).to(at::kFloat), {});
			if (cut.p) {
				left = truncate(z, cuts.narrow(0, r, n)).logical_or_(greedy);
				mass_out.narrow(0, r, n).copy_(at::sum(at::mul(at::softmax(z.to(at::kDouble), 1), left), 1));
				z.masked_fill_(at::logical_not(left), -infinity);
				kept_out.narrow(0, r, n).copy_(bits_of(left, words).masked_fill_(greedy, -1));
			}
			Tensor lp = at::log_softmax(z, 1), id = at::where(greedy.view({n}), at::argmax(z, 1), draw(lp, u.narrow(0, r, n), left));
			id_out.narrow(0, r, n).copy_(id);
			lp_out.narrow(0, r, n).copy_(at::gather(lp, 1, id.view({n, 1})).view({n}));
			ent_out.narrow(0, r, n).copy_(entropy(lp));
		});
	});
}
inline char *head_sample(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap)
{
	r1_tensor none = {};
	return head_sample_keep(c, token, logp, ent, none, none, x, w, packed, temp, none, counter, key, softcap);
}

} // namespace shim
