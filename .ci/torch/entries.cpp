/* entries.cpp: calls every entry of the libtorch backend's table with arguments that are absent, broken or random, with a device that does
 * not work, and while libtorch's memory runs out inside. Built with address and undefined-behaviour sanitizers. An entry must answer with a
 * message or succeed: never crash, never let an exception out. An entry of the table that is not called here is a failure. */
#include "torch.cpp"

#include <dlfcn.h>

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cassert>
#include <cstddef>
#include <random>
#include <string>

namespace {

using shim::no_memory;

std::mt19937 dice(1);
std::vector<std::vector<char>> blocks; /* of exactly the bytes of each tensor of a call */
int calls = 0, messages = 0, entries = 0, starved = 0;
int64_t common[4]; /* the shape of most tensors of a call, so that some calls succeed */

/* libtorch's memory, which fails after so many allocations; -1: it does not */
struct scarce_memory : c10::Allocator {
	c10::Allocator *real = c10::GetCPUAllocator();
	std::atomic<int> left{-1};

	c10::DataPtr allocate(size_t n) override
	{
		if (left == 0) {
			starved++;
			throw std::bad_alloc();
		}
		if (left > 0)
			left--;
		return real->allocate(n);
	}
	c10::DeleterFnPtr raw_deleter() const override { return real->raw_deleter(); }
	void copy_data(void *to, const void *from, size_t n) const override { real->copy_data(to, from, n); }
};
scarce_memory memory;

enum kind { absent, dims, negative, type, huge, empty, random_shape, kinds };

r1_tensor tensor(kind k)
{
	static const int64_t size[] = {4, 2, 2, 8, 4, 8, 1};
	r1_tensor t = {nullptr, {2, 3, 1, 1}, 2, R1_F32};
	if (k == absent)
		return r1_tensor{};
	if (k == random_shape) {
		bool odd = dice() % 6 == 0;
		t.nd = odd ? static_cast<int32_t>(dice() % 5) : static_cast<int32_t>(common[3]);
		for (int i = 0; i < 4; i++)
			t.n[i] = odd ? 1 + static_cast<int64_t>(dice() % 3) : common[i % 3];
		t.dtype = dice() % 4 ? R1_F32 : dice() % 2 ? R1_I32 : static_cast<int32_t>(dice() % 7);
	}
	if (k == empty)
		t.n[0] = 0;
	int64_t n = 1;
	for (int i = 0; i < t.nd; i++)
		n *= t.n[i];
	blocks.emplace_back(static_cast<size_t>(n * size[t.dtype]) + (n == 0));
	t.p = blocks.back().data();
	if (t.dtype == R1_I32)
		for (int64_t i = 0; i < n; i++)
			static_cast<int32_t *>(t.p)[i] = static_cast<int32_t>(dice() % 4) - 1;
	if (k == dims)
		t.nd = dice() % 2 ? 9 : -1;
	if (k == negative)
		t.n[1] = -5;
	if (k == type)
		t.dtype = 77;
	if (k == huge)
		t.n[0] = t.n[1] = INT64_C(1) << 39;
	return t;
}

template <class T> T argument(kind k)
{
	if constexpr (std::is_same_v<T, r1_tensor>)
		return tensor(k == random_shape && dice() % 8 == 0 ? absent : k);
	else if constexpr (std::is_floating_point_v<T>)
		return static_cast<T>(k == random_shape ? static_cast<int>(dice() % 3) : 0);
	else if constexpr (std::is_integral_v<T>)
		return static_cast<T>(k == random_shape ? static_cast<int>(dice() % 5) - 1 : 0);
	else
		return nullptr;
}

bool said(char *m)
{
	calls++;
	if (!m)
		return false;
	messages++;
	assert(strlen(m) < 640 && !strchr(m, '\n'));
	shim::err_free(m);
	return true;
}

/* f with good and bad contexts and every kind of argument */
template <class... A> void probe(const char *name, char *(*f)(r1_ctx *, A...), r1_ctx *good, r1_ctx *bad)
{
	if (!said(f(nullptr, argument<A>(random_shape)...)) || !said(f(bad, argument<A>(random_shape)...))) {
		fprintf(stderr, "%s: no message for a context that is absent or does not work\n", name);
		abort();
	}
	for (int k = absent; k < random_shape; k++) {
		bool told = said(f(good, argument<A>(static_cast<kind>(k))...));
		bool needs = (std::is_same_v<A, r1_tensor> || ... || false) && k != empty;
		if (needs && !told) {
			fprintf(stderr, "%s: no message for arguments of kind %d\n", name, k);
			abort();
		}
		blocks.clear();
	}
	entries++;
	for (int i = 0; i < 600; i++) {
		for (int64_t &n : common)
			n = 1 + static_cast<int64_t>(dice() % 3);
		memory.left = i < 400 ? -1 : i % 8;
		int before = starved;
		bool told = said(f(good, argument<A>(random_shape)...));
		memory.left = -1;
		if (starved > before && !told) {
			fprintf(stderr, "%s: no message though there was no memory\n", name);
			abort();
		}
		blocks.clear();
	}
}

/* All members of the table after its name are entries: those that there are. */
int there(const r1_api *api)
{
	int n = 0;
	for (size_t at = offsetof(r1_api, err_free); at < sizeof *api; at += sizeof(void *)) {
		void *p;
		memcpy(&p, reinterpret_cast<const char *>(api) + at, sizeof p);
		n += p != nullptr;
	}
	return n;
}

void throws(r1_ctx *c)
{
	auto text = [](char *m) {
		assert(m);
		std::string s = m;
		shim::err_free(m);
		return s;
	};
	assert(text(shim::entry("op", c, [](const shim::views &) { throw 7; })) == "op: an exception of unknown type");
	assert(text(shim::entry("op", c, [](const shim::views &) { throw std::bad_alloc(); })) == "op: std::bad_alloc");
	assert(text(shim::entry("op", c, [](const shim::views &) { TORCH_CHECK(false, "first line\nsecond line"); })) == "op: first line");
	assert(text(shim::entry("op", c, [](const shim::views &) { at::mm(at::ones({2, 3}), at::ones({2, 3})); })).find("shapes cannot be multiplied") != std::string::npos);
	assert(!c10::InferenceMode::is_enabled()); /* no mode outlives a call */
}

/* Indices are checked by what the host wrote, with no look at the device, until something else writes them. */
void written(const r1_api *api, r1_ctx *c)
{
	float x[2] = {1, 2}, y[2] = {};
	int32_t on_device[2] = {}, bad[2] = {0, 7}, good[2] = {1, 0};
	r1_tensor xs = {x, {2, 1}, 2, R1_F32}, ys = {y, {2, 1}, 2, R1_F32}, idx = {on_device, {2}, 1, R1_I32}, from = {good, {2}, 1, R1_I32};
	assert(!said(api->write(c, idx, bad, sizeof bad)) && said(api->gather(c, ys, xs, idx)));
	memcpy(on_device, good, sizeof good); /* unknown to the host */
	assert(said(api->gather(c, ys, xs, idx)) == (c->gpu != nullptr));
	assert(!said(api->copy(c, idx, from)) && !said(api->gather(c, ys, xs, idx)) && y[0] == 2 && y[1] == 1);
	r1_tensor second = {on_device + 1, {1}, 1, R1_I32};
	assert(!said(api->write(c, idx, good, sizeof good)) && !said(api->write(c, second, bad + 1, 4)) && said(api->gather(c, ys, xs, idx))); /* a part of it is written */
	assert(!said(api->zero(c, second)) && !said(api->gather(c, ys, xs, idx)) && y[1] == 1);
}

} // namespace

/* argument: libtorch_cuda.so, loaded at the end to ask a machine without a driver for a device */
int main(int argc, char **argv)
{
	const r1_api *api = nullptr;
	assert(said(r1_open(R1_ABI + 1, &api)) && !api);
	assert(!r1_open(R1_ABI, &api) && api && api->size == sizeof *api);
	r1_options o = {};
	o.device = -1, o.threads = 2;
	r1_ctx *good = nullptr, *none = nullptr;
	assert(!said(api->ctx_new(&o, &good)));
	assert(said(api->ctx_new(nullptr, &none)) && said(api->ctx_new(&o, nullptr)));
	o.device = 0;
	assert(said(api->ctx_new(&o, &none)) && !none); /* no CUDA here */
	o.device = -1;
	c10::SetCPUAllocator(&memory, 255);
	memory.left = 0;
	assert(said(api->ctx_new(&o, &none)) && !none);
	memory.left = -1;
	r1_ctx bad = {at::Device(at::kCUDA, 0), 2};
	throws(good);
	written(api, good);
#define PROBE(f) assert(api->f); probe(#f, api->f, good, &bad)
	PROBE(info); PROBE(measure); PROBE(alloc); PROBE(release); PROBE(write); PROBE(read); PROBE(copy); PROBE(zero); PROBE(sync);
	PROBE(cast); PROBE(round16); PROBE(unary); PROBE(unary_grad); PROBE(binary); PROBE(affine); PROBE(fma); PROBE(clamp); PROBE(select);
	PROBE(row_sum); PROBE(row_max); PROBE(col_sum); PROBE(seg_sum); PROBE(seg_spread); PROBE(seg_scan);
	PROBE(gather); PROBE(scatter_add); PROBE(pick); PROBE(pick_grad); PROBE(copy_cols);
	PROBE(pack_bytes); PROBE(pack); PROBE(linear); PROBE(linear_dx); PROBE(linear_dw); PROBE(linear_dw16_segs);
	PROBE(rmsnorm); PROBE(rmsnorm_dx); PROBE(rmsnorm_dw); PROBE(rope); PROBE(glu); PROBE(glu_grad);
	PROBE(attn); PROBE(attn_grad); PROBE(kv_write); PROBE(attn_paged);
	PROBE(head); PROBE(head_grad); PROBE(head_ext); PROBE(head_ext_grad); PROBE(head_sample); PROBE(head_sample_keep); PROBE(sq_norm); PROBE(adamw);
	if (there(api) != entries + 3) { /* err_free, ctx_new and ctx_free are called by name */
		fprintf(stderr, "the table has %d entries, %d were probed: add the others here\n", there(api), entries + 3);
		return 1;
	}
	api->err_free(nullptr);
	assert(!said(api->ctx_free(good)) && !said(api->ctx_free(nullptr)));
	if (argc > 1) {
		if (!dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL)) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		o.device = 0;
		char *m = api->ctx_new(&o, &none);
		assert(m && strstr(m, "NVIDIA driver"));
		printf("cuda:0: %s\n", m);
		shim::err_free(m);
	}
	printf("%d calls of %d entries, %d messages, %d times out of memory inside, no crash\n", calls, entries + 3, messages, starved);
}
