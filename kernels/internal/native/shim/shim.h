/* shim.h: what the files of the libtorch backend share: the context, how an entry is called, checks of arguments, views.
 * The backend is plain composition of ATen operations, written once for the CPU and CUDA. It uses no autograd and no autocast; what a
 * call sets for its thread ends with the call. */
#ifndef R1_SHIM_H
#define R1_SHIM_H

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>
#include <torch/headeronly/version.h>

#pragma GCC visibility push(default)
extern "C" {
#include "r1.h"
}
#pragma GCC visibility pop

namespace shim {
struct gpu;
}

namespace shim {

/* What the host has written of whole numbers, so that operations on a GPU check indices, segments and page tables without waiting for it. Whoever else
 * writes such numbers forgets them here; then they are read back. */
class written_ints {
public:
	void keep(const void *at, const void *values, int64_t n)
	{
		std::lock_guard<std::mutex> lock(one);
		drop(at, 4 * n);
		if (known.size() >= 4096)
			known.clear(); /* of memory that is long used otherwise, most of them */
		const int32_t *v = static_cast<const int32_t *>(values);
		known.emplace(static_cast<const char *>(at), std::vector<int32_t>(v, v + n));
	}
	void forget(const void *at, int64_t bytes)
	{
		std::lock_guard<std::mutex> lock(one);
		drop(at, bytes);
	}
	bool copy_to(int32_t *values, const void *at, int64_t n)
	{
		std::lock_guard<std::mutex> lock(one);
		auto found = known.find(static_cast<const char *>(at));
		if (found == known.end() || static_cast<int64_t>(found->second.size()) < n)
			return false;
		std::copy_n(found->second.begin(), n, values);
		return true;
	}

private:
	void drop(const void *at, int64_t bytes)
	{
		const char *from = static_cast<const char *>(at);
		auto next = known.lower_bound(from);
		if (next != known.begin() && std::prev(next)->first + 4 * std::prev(next)->second.size() > from)
			next = std::prev(next);
		while (next != known.end() && next->first < from + bytes)
			next = known.erase(next);
	}
	std::mutex one;
	std::map<const char *, std::vector<int32_t>> known; /* by where they lie; none overlap */
};

} // namespace shim

struct r1_ctx {
	at::Device device;
	int threads;
	shim::gpu *gpu = nullptr; /* kernels in place of compositions, or none */
	bool exact = false;
	int32_t bf16 = 0;         /* class of products in it, or 0: none */
	shim::written_ints ints{}; /* used where there are kernels */
};

namespace shim {

using at::Tensor;

constexpr float infinity = std::numeric_limits<float>::infinity();

/* ---- messages ---- */

/* An argument that is refused. */
struct refused : std::runtime_error {
	using std::runtime_error::runtime_error;
};

[[noreturn]] __attribute__((format(printf, 1, 2))) inline void refuse(const char *format, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	throw refused(text);
}

#define WANT(cond, ...) do { if (!(cond)) refuse(__VA_ARGS__); } while (0)

inline char no_memory[] = "out of memory, even for a message"; /* never freed */

/* "op: what", the first line of it: libtorch's messages may go on for kilobytes. */
inline char *message(const char *op, const char *what) noexcept
{
	char *m = static_cast<char *>(malloc(640));
	if (!m)
		return no_memory;
	snprintf(m, 640, "%s: %.*s", op, static_cast<int>(strcspn(what, "\n")), what);
	return m;
}

/* ---- arguments ---- */

inline int64_t count(const r1_tensor &t)
{
	int64_t n = 1;
	for (int i = 0; i < t.nd; i++)
		n *= t.n[i];
	return n;
}
inline int64_t cols(const r1_tensor &t) { return t.nd > 0 ? t.n[t.nd - 1] : 1; }

inline int64_t rows(const r1_tensor &t)
{
	int64_t n = 1;
	for (int i = 0; i + 1 < t.nd; i++)
		n *= t.n[i];
	return n;
}

inline at::ScalarType scalar_type(const char *name, int32_t dtype)
{
	static const at::ScalarType types[] = {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble, at::kInt, at::kLong, at::kByte};
	WANT(dtype >= R1_F32 && dtype <= R1_U8, "%s has dtype %d", name, dtype);
	return types[dtype];
}

/* that t is there, and its extents are such that their product does not overflow */
inline void check(const char *name, const r1_tensor &t)
{
	WANT(t.p, "%s is absent", name);
	WANT(t.nd >= 0 && t.nd <= 4, "%s has %d dimensions", name, t.nd);
	int64_t n = 1;
	for (int i = 0; i < t.nd; i++) {
		WANT(t.n[i] >= 0 && t.n[i] < (INT64_C(1) << 40), "%s has extent %lld", name, static_cast<long long>(t.n[i]));
		WANT(!__builtin_mul_overflow(n, t.n[i], &n) && n < (INT64_C(1) << 56), "%s has too many elements", name);
	}
	scalar_type(name, t.dtype);
}

/* int32 values where the host can read them */
struct host_ints {
	Tensor keep;
	const int32_t *p;
	int32_t operator[](int64_t i) const { return p[i]; }
};

/* Arguments as tensors of libtorch that share their memory. */
class views {
public:
	explicit views(r1_ctx *c) : ctx(c) {}

	Tensor of(const r1_tensor &t, at::IntArrayRef sizes) const
	{
		return at::from_blob(t.p, sizes, at::TensorOptions().dtype(scalar_type("a tensor", t.dtype)).device(ctx->device));
	}
	Tensor flat(const char *name, const r1_tensor &t, int32_t dtype = R1_F32) const
	{
		check(name, t);
		WANT(t.dtype == dtype, "%s has dtype %d, want %d", name, t.dtype, dtype);
		return of(t, {count(t)});
	}
	Tensor flat(const char *name, const r1_tensor &t, int64_t n, int32_t dtype) const
	{
		Tensor v = flat(name, t, dtype);
		WANT(v.numel() == n, "%s has %lld elements, want %lld", name, static_cast<long long>(v.numel()), static_cast<long long>(n));
		return v;
	}
	Tensor f32(const char *name, const r1_tensor &t, int64_t n) const { return flat(name, t, n, R1_F32); }

	/* [rows, columns] */
	Tensor matrix(const char *name, const r1_tensor &t) const { return flat(name, t).view({rows(t), cols(t)}); }

	/* in its own shape, which has nd dimensions */
	Tensor shaped(const char *name, const r1_tensor &t, int nd) const
	{
		Tensor v = flat(name, t);
		WANT(t.nd == nd, "%s has %d dimensions, want %d", name, t.nd, nd);
		return v.view(at::IntArrayRef(t.n, static_cast<size_t>(nd)));
	}
	/* a column of one value for each of n rows, or one of 1s where t is absent */
	Tensor column(const char *name, const r1_tensor &t, int64_t n) const
	{
		return t.p ? f32(name, t, n).view({n, 1}) : at::ones({n, 1}, at::TensorOptions().device(ctx->device));
	}

	host_ints host(const char *name, const r1_tensor &t, int64_t n = -1) const
	{
		Tensor v = n < 0 ? flat(name, t, R1_I32) : flat(name, t, n, R1_I32);
		if (ctx->gpu) {
			Tensor kept = at::empty({v.numel()}, at::kInt);
			if (ctx->ints.copy_to(kept.data_ptr<int32_t>(), t.p, v.numel()))
				return {kept, kept.const_data_ptr<int32_t>()};
		}
		v = v.to(at::kCPU);
		return {v, v.const_data_ptr<int32_t>()};
	}
	/* how many indexes there are, all in 0..bound */
	int64_t indexes(const char *name, const r1_tensor &t, int64_t n, int64_t bound) const
	{
		host_ints h = host(name, t, n);
		for (int64_t i = 0; i < h.keep.numel(); i++)
			WANT(h[i] >= 0 && h[i] < bound, "index %d at %lld is outside 0..%lld", h[i], static_cast<long long>(i), static_cast<long long>(bound) - 1);
		return h.keep.numel();
	}
	/* the same, as a libtorch index */
	Tensor index(const char *name, const r1_tensor &t, int64_t n, int64_t bound) const
	{
		indexes(name, t, n, bound);
		return flat(name, t, R1_I32).to(at::kLong);
	}
	/* host values on the device */
	Tensor upload(const std::vector<int64_t> &values) const
	{
		return at::from_blob(const_cast<int64_t *>(values.data()), {static_cast<int64_t>(values.size())}, at::kLong).to(ctx->device, at::kLong, false, true);
	}

	/* t is written on the device: what the host knows of it is old */
	void forget(const r1_tensor &t) const
	{
		if (ctx->gpu)
			ctx->ints.forget(t.p, 8 * count(t)); /* of the largest type */
	}

	r1_ctx *ctx;
};

/* Every entry of the table runs through here: nothing that is thrown leaves it. */
template <class F> char *entry(const char *op, r1_ctx *c, F body) noexcept
{
	try {
		WANT(c, "the context is absent");
		c10::InferenceMode inference;
		c10::DeviceGuard device(c->device);
		if (at::get_num_threads() != c->threads) /* libtorch keeps the number for each thread that calls it */
			at::set_num_threads(c->threads);
		body(views(c));
		return nullptr;
	} catch (const c10::Error &e) {
		return message(op, e.what_without_backtrace());
	} catch (const std::exception &e) {
		return message(op, e.what());
	} catch (...) {
		return message(op, "an exception of unknown type");
	}
}

/* x wT into out [T,N], for w given as [K,N]; of bf16, on a GPU, with sums in fp32. On the CPU the product is always one of product_rows rows, the last one padded: MKL takes
 * another order of summation for another number of rows, and so a row's result does not depend on how many there are. */
constexpr int64_t product_rows = 64;
inline void product(Tensor out, const Tensor &x, const Tensor &w)
{
	if (x.scalar_type() == at::kBFloat16) {
		at::mm_out(out, x, w, at::kFloat);
		return;
	}
	int64_t t = x.size(0), whole = x.is_cpu() ? t / product_rows * product_rows : t;
	for (int64_t r = 0; r < whole; r += x.is_cpu() ? product_rows : t) {
		Tensor part = out.narrow(0, r, x.is_cpu() ? product_rows : t);
		at::mm_out(part, x.narrow(0, r, part.size(0)), w);
	}
	if (whole == t)
		return;
	Tensor last = at::zeros({product_rows, x.size(1)}, x.options());
	last.narrow(0, 0, t - whole).copy_(x.narrow(0, whole, t - whole));
	out.narrow(0, whole, t - whole).copy_(at::mm(last, w).narrow(0, 0, t - whole));
}

/* Segs, checked. */
struct seg {
	int64_t start, len, parent;
};
inline std::vector<seg> read_segs(const views &v, const r1_tensor &t, int64_t total)
{
	check("segs", t);
	WANT(t.nd == 2 && t.n[1] == 3, "segs is not [N,3]");
	host_ints h = v.host("segs", t);
	std::vector<seg> segs;
	int64_t next = 0;
	for (int64_t i = 0; i < t.n[0]; i++) {
		seg s = {h[3 * i], h[3 * i + 1], h[3 * i + 2]};
		WANT(s.start == next && s.len > 0, "sequence %lld has rows %lld..%lld, want them to start at %lld", static_cast<long long>(i), static_cast<long long>(s.start),
		     static_cast<long long>(s.start + s.len), static_cast<long long>(next));
		WANT(s.parent < i && (s.parent < 0 || segs[static_cast<size_t>(s.parent)].parent < 0), "sequence %lld has parent %lld", static_cast<long long>(i), static_cast<long long>(s.parent));
		next += s.len;
		segs.push_back(s);
	}
	WANT(next == total, "segs cover %lld rows of %lld", static_cast<long long>(next), static_cast<long long>(total));
	return segs;
}

} // namespace shim

#endif
