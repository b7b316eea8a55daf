/* torch.cpp: the libtorch backend's life: contexts, memory, and its table. Compiled once for each libtorch by r1 setup torch. */
#include "own.h"

#include <chrono>
#include <memory>

#include <unistd.h>

#include <c10/core/Allocator.h>

/* of the libtorch that is loaded, which need not be the one whose headers were compiled against */
extern "C" uint64_t aoti_torch_abi_version();

namespace shim {

inline void err_free(char *m)
{
	if (m != no_memory)
		free(m);
}

/* device -1: the CPU */
inline char *ctx_new(const r1_options *o, r1_ctx **out)
{
	static const int own = at::get_num_threads(); /* before any context sets another number */
	try {
		WANT(o && out, "options or result are absent");
		WANT(o->threads >= 0 && o->threads <= 1024, "%d threads: want 1 to 1024, or 0 for libtorch's own number", o->threads);
		WANT(o->isa == R1_ISA_AUTO, "libtorch chooses its own instructions: leave ISA empty");
		WANT(o->device >= -1 && o->device < 128, "device %d", o->device);
		at::Device device = o->device < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(o->device));
		c10::InferenceMode inference;
		at::empty({1}, at::TensorOptions().device(device)); /* says it where the device does not work */
		std::unique_ptr<gpu> kernels(open_gpu(*o));
		int32_t bf16 = kernels ? R1_BF16_MMA : device.is_cpu() ? R1_BF16_FMA : R1_BF16_AUTO;
		WANT(o->bf16 == R1_BF16_AUTO || o->bf16 == bf16, "this device multiplies bf16 in class %s: leave BF16 empty", kernels ? "mma" : "fma");
		*out = new r1_ctx{device, o->threads ? o->threads : own, kernels.get(), !o->fast, bf16};
		kernels.release();
		return nullptr;
	} catch (const c10::Error &e) {
		return message("open", e.what_without_backtrace());
	} catch (const std::exception &e) {
		return message("open", e.what());
	} catch (...) {
		return message("open", "an exception of unknown type");
	}
}
inline char *ctx_free(r1_ctx *c)
{
	if (c)
		delete c->gpu;
	delete c;
	return nullptr;
}

/* for the work given to the device so far */
inline void wait(const views &v)
{
	if (v.ctx->device.is_cpu())
		return;
	c10::impl::VirtualGuardImpl impl(v.ctx->device.type());
	impl.synchronizeStream(impl.getStream(v.ctx->device));
}

inline char *info(r1_ctx *c, r1_info *out)
{
	return entry("info", c, [&](const views &) {
		WANT(out, "the result is absent");
		memset(out, 0, sizeof *out);
		out->threads = c->threads;
		out->exact = c->gpu && c->exact;
		out->bf16 = c->bf16;
		if (c->device.is_cpu())
			out->memory = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
		snprintf(out->name, sizeof out->name, "%s", c->device.is_cpu() ? "torch" : c->device.str().c_str());
		snprintf(out->description, sizeof out->description, "libtorch " TORCH_VERSION " on %s, %d threads%s", c->device.str().c_str(), c->threads, c->gpu ? gpu::what : "");
	});
}

inline char *measure(r1_ctx *c, int32_t what, double seconds, double *out)
{
	return entry("measure", c, [&](const views &v) {
		WANT(out, "the result is absent");
		WANT(what == R1_PEAK_F32 || what == R1_PEAK_BF16 || what == R1_PEAK_COPY, "this backend cannot measure limit %d", what);
		WANT(seconds > 0 && seconds <= 60, "%g seconds: want more than 0, at most 60", seconds);
		using clock = std::chrono::steady_clock;
		bool copies = what == R1_PEAK_COPY;
		int64_t n = copies || !c->device.is_cpu() ? 8192 : 1024;
		Tensor a = at::ones({n, n}, at::TensorOptions().device(c->device).dtype(what == R1_PEAK_BF16 ? at::kBFloat16 : at::kFloat)), b = at::empty_like(a);
		double work = copies ? 8.0 * static_cast<double>(n * n) : 2.0 * static_cast<double>(n * n * n), best = 0;
		for (clock::time_point start = clock::now(), from = start; std::chrono::duration<double>(from - start).count() < seconds;) {
			if (copies)
				b.copy_(a);
			else
				at::mm_out(b, a, a);
			wait(v);
			clock::time_point now = clock::now();
			best = std::max(best, work / std::chrono::duration<double>(now - from).count());
			from = now;
		}
		*out = best;
	});
}

/* ---- memory ---- */

inline char *alloc(r1_ctx *c, int64_t bytes, void **out)
{
	return entry("alloc", c, [&](const views &) {
		WANT(out, "the result is absent");
		WANT(bytes >= 0, "%lld bytes", static_cast<long long>(bytes));
		*out = c10::GetAllocator(c->device.type())->raw_allocate(static_cast<size_t>(std::max<int64_t>(bytes, 1)));
		WANT(*out, "out of memory: %lld bytes", static_cast<long long>(bytes));
	});
}
inline char *release(r1_ctx *c, void *p)
{
	return entry("release", c, [&](const views &) {
		if (p)
			c10::GetAllocator(c->device.type())->raw_deallocate(p);
	});
}

/* t as its bytes */
inline Tensor bytes_of(const views &v, const char *name, const r1_tensor &t)
{
	check(name, t);
	int64_t n = count(t) * static_cast<int64_t>(at::elementSize(scalar_type(name, t.dtype)));
	return at::from_blob(t.p, {n}, at::TensorOptions().dtype(at::kByte).device(v.ctx->device));
}
inline char *write(r1_ctx *c, r1_tensor dst, const void *src, int64_t bytes)
{
	return entry("write", c, [&](const views &v) {
		Tensor to = bytes_of(v, "dst", dst);
		WANT(bytes == to.numel(), "%lld bytes into a tensor of %lld", static_cast<long long>(bytes), static_cast<long long>(to.numel()));
		WANT(src || !bytes, "src is absent");
		if (bytes)
			to.copy_(at::from_blob(const_cast<void *>(src), {bytes}, at::kByte));
		if (c->gpu && dst.dtype == R1_I32)
			c->ints.keep(dst.p, src, bytes / 4);
	});
}
inline char *read(r1_ctx *c, void *dst, r1_tensor src, int64_t bytes)
{
	return entry("read", c, [&](const views &v) {
		Tensor from = bytes_of(v, "src", src);
		WANT(bytes == from.numel(), "%lld bytes from a tensor of %lld", static_cast<long long>(bytes), static_cast<long long>(from.numel()));
		WANT(dst || !bytes, "dst is absent");
		if (bytes)
			at::from_blob(dst, {bytes}, at::kByte).copy_(from);
	});
}
inline char *copy(r1_ctx *c, r1_tensor dst, r1_tensor src)
{
	return entry("copy", c, [&](const views &v) {
		Tensor from = bytes_of(v, "src", src), to = bytes_of(v, "dst", dst);
		WANT(from.numel() == to.numel(), "sizes differ");
		v.forget(dst);
		to.copy_(from);
	});
}
inline char *zero(r1_ctx *c, r1_tensor dst)
{
	return entry("zero", c, [&](const views &v) {
		bytes_of(v, "dst", dst).zero_();
		v.forget(dst);
	});
}
inline char *sync(r1_ctx *c)
{
	return entry("sync", c, [&](const views &v) { wait(v); });
}

/* Graphs, experts and collectives are absent; fill puts kernels in the place of compositions. */
inline r1_api make_table()
{
	r1_api a = {};
	a.size = sizeof a;
	a.name = "torch";
	a.err_free = err_free, a.ctx_new = ctx_new, a.ctx_free = ctx_free, a.info = info, a.measure = measure;
	a.alloc = alloc, a.release = release, a.write = write, a.read = read, a.copy = copy, a.zero = zero, a.sync = sync;
	a.cast = cast, a.round16 = round16, a.unary = unary, a.unary_grad = unary_grad, a.binary = binary, a.affine = affine, a.fma = fma, a.clamp = clamp, a.select = select;
	a.row_sum = row_sum, a.row_max = row_max, a.col_sum = col_sum, a.seg_sum = seg_sum, a.seg_spread = seg_spread, a.seg_scan = seg_scan;
	a.gather = gather, a.scatter_add = scatter_add, a.pick = pick, a.pick_grad = pick_grad, a.copy_cols = copy_cols;
	a.pack_bytes = pack_bytes, a.pack = pack, a.linear = linear, a.linear_dx = linear_dx, a.linear_dw = linear_dw, a.linear_dw16_segs = linear_dw16_segs;
	a.rmsnorm = rmsnorm, a.rmsnorm_dx = rmsnorm_dx, a.rmsnorm_dw = rmsnorm_dw, a.rope = rope, a.glu = glu, a.glu_grad = glu_grad;
	a.attn = attn, a.attn_grad = attn_grad, a.kv_write = kv_write, a.attn_paged = attn_paged;
	a.head = head, a.head_grad = head_grad, a.head_ext = head_ext, a.head_ext_grad = head_ext_grad, a.head_sample = head_sample, a.head_sample_keep = head_sample_keep;
	a.sq_norm = sq_norm, a.adamw = adamw;
	own::fill(a);
	return a;
}

} // namespace shim

extern "C" char *r1_open(uint32_t abi, const r1_api **out)
{
	static const r1_api table = shim::make_table();
	char text[160];
	if (abi != R1_ABI) {
		snprintf(text, sizeof text, "the shim has ABI %u, the caller %u: run r1 setup torch", R1_ABI, abi);
		return shim::message("open", text);
	}
	uint64_t loaded = aoti_torch_abi_version();
	if (loaded != TORCH_ABI_VERSION) {
		snprintf(text, sizeof text, "the shim was built for libtorch " TORCH_VERSION ", this one is %d.%d.%d: run r1 setup torch", static_cast<int>(loaded >> 56), static_cast<int>(loaded >> 48 & 255),
		         static_cast<int>(loaded >> 40 & 255));
		return shim::message("open", text);
	}
	*out = &table;
	return nullptr;
}
