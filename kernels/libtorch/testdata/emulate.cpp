/* The emulator's own tests, and kernels run by it against plain loops. Built without libtorch. Prints one line; aborts where a check fails. */
#undef NDEBUG
#include <cassert>
#include <cstdio>

#include "cuda/args.h"
#include "cuda/emulate.h"

namespace emulated {
#include "cuda/gpu.h"
#include "cuda/gemm.cu"
#include "cuda/gemm16.cu"
#include "cuda/attn.cu"

static std::vector<float> values(size_t n, unsigned seed)
{
	std::vector<float> v(n);
	for (float &x : v)
		x = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
	return v;
}

struct probe {
	float *out;
	const float *in = nullptr;
};

KERNEL(sums, probe)
{
	float s = lane_sum(a.in[threadIdx.x % 16]);
	a.out[blockIdx.x * blockDim.x + threadIdx.x] = s;
}
/* each thread reads what its neighbour writes, with and without a barrier between */
KERNEL(races, probe)
{
	SHARED float s[64];
	s[threadIdx.x] = (float)threadIdx.x;
	a.out[blockIdx.x * 64 + threadIdx.x] = s[(threadIdx.x + 1) % 64];
}
KERNEL(waits, probe)
{
	SHARED float s[64];
	s[threadIdx.x] = (float)threadIdx.x;
	barrier();
	a.out[blockIdx.x * 64 + threadIdx.x] = s[(threadIdx.x + 1) % 64];
}
KERNEL(hangs, probe)
{
	if (threadIdx.x < 32)
		barrier();
	(void)a;
}
KERNEL(hangs_in_lanes, probe)
{
	if (threadIdx.x < 8)
		a.out[0] = lane_sum(1.0f);
}

/* d = a b + d of one warp, elements where PTX ISA's "Matrix Fragments for mma.m16n8k16" says: row and column of a0..a7, b0..b3, c0..c3 */
struct matrices {
	const float *a, *b;
	float *d;
};
KERNEL(one_mma, matrices)
{
	u32 x[4], y[2];
	float d[4];
	int group = (int)threadIdx.x >> 2, in_group = (int)threadIdx.x % 4;
	auto of_a = [&](int i) { return a.a[(i < 2 || (4 <= i && i < 6) ? group : group + 8) * 16 + (i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8)]; };
	auto of_b = [&](int i) { return a.b[(i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8) * 8 + group]; };
	auto of_d = [&](int i) { return a.d + (i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1); };
	for (int i = 0; i < 4; i++)
		x[i] = pair16(of_a(2 * i), of_a(2 * i + 1)), d[i] = *of_d(i);
	for (int i = 0; i < 2; i++)
		y[i] = pair16(of_b(2 * i), of_b(2 * i + 1));
	mma16(d, x, y);
	for (int i = 0; i < 4; i++)
		*of_d(i) = d[i];
}
KERNEL(hangs_in_product, probe)
{
	float d[4] = {};
	if (threadIdx.x < 40)
		mma16(d, {0, 0, 0, 0}, {0, 0});
	(void)a;
}

template <class A> void run(void (*kernel)(A), const A &args, index3 grid, int threads)
{
	static void (*at_hand)(A);
	at_hand = kernel;
	emulate("probe", [](const void *a) { at_hand(*static_cast<const A *>(a)); }, &args, grid, threads);
}
template <class A> std::string fails(void (*kernel)(A), const A &args)
{
	try {
		run(kernel, args, {1, 1, 1}, 64);
	} catch (const std::logic_error &e) {
		return e.what();
	}
	return "nothing";
}

static void emulator()
{
	std::vector<float> out(128), x = values(16, 7);
	probe p = {out.data(), x.data()};
	run(sums, p, {2, 1, 1}, 64);
	for (int w = 8; w; w /= 2)
		for (int i = 0; i < w; i++)
			x[(size_t)i] += x[(size_t)(i + w)];
	for (int i = 0; i < 16; i++)
		assert(out[(size_t)i] == x[0] && out[64 + (size_t)i] == x[0]);
	run(waits, p, {2, 1, 1}, 64);
	for (int i = 0; i < 128; i++)
		assert(out[(size_t)i] == (float)((i + 1) % 64));
	run(races, p, {2, 1, 1}, 64);
	assert(std::isnan(out[0]) && out[64] == 1); /* forwards nothing was written yet, backwards it was */
	assert(fails(hangs, p) == "probe: some threads of a block are at a barrier, others not");
	assert(fails(hangs_in_lanes, p) == "probe: some of 16 lanes are at an exchange, others not");
	assert(fails(hangs_in_product, p) == "probe: some of a warp's lanes are at a product, others not");
	run(waits, p, {2, 1, 1}, 64); /* and goes on */
	assert(out[5] == 6);
}

/* each output is one chain of fma */
static void product(i64 m, i64 n, i64 k)
{
	std::vector<float> x = values((size_t)(m * k), 1), w = values((size_t)(n * k), 2), bias = values((size_t)n, 3), y((size_t)(m * n));
	gemm_args g;
	g.c = y.data(), g.a = x.data(), g.b = w.data(), g.bias = bias.data(), g.m = m, g.n = n, g.k = k, g.a_m = k, g.a_k = 1, g.b_k = 1, g.b_n = k;
	run(r1_gemm, g, {(unsigned)((n + 63) / 64), (unsigned)((m + 63) / 64), 1}, 256);
	for (i64 i = 0; i < m; i++)
		for (i64 j = 0; j < n; j++) {
			float s = 0;
			for (i64 l = 0; l < k; l++)
				s = fmaf(x[(size_t)(i * k + l)], w[(size_t)(j * k + l)], s);
			assert(y[(size_t)(i * n + j)] == s + bias[(size_t)j]);
		}
}

static float near16(float x) { return bits_float((float_bits(x) + 0x7fffu + (float_bits(x) >> 16 & 1)) & 0xffff0000u); }

static void instruction()
{
	std::vector<float> x = values(16 * 16, 1), y = values(16 * 8, 2), d = values(16 * 8, 3), want = d;
	for (size_t i = 0; i < 16; i++)
		for (size_t j = 0; j < 8; j++) {
			double s = 0;
			for (size_t k = 0; k < 16; k++)
				s += (double)near16(x[i * 16 + k]) * (double)near16(y[k * 8 + j]);
			want[i * 8 + j] = (float)((double)d[i * 8 + j] + s);
		}
	run(one_mma, {x.data(), y.data(), d.data()}, {1, 1, 1}, 32);
	assert(d == want);
}

/* each output is one chain of the instruction over blocks of 16, whatever the tile, and wherever k runs */
static void product16(i64 m, i64 n, i64 k, bool back)
{
	std::vector<float> x = values((size_t)(m * k), 1), w = values((size_t)(n * k), 2), bias = values((size_t)n, 3), y((size_t)(m * n)), want = y;
	std::vector<unsigned short> half(w.size());
	round16_args r;
	r.packed = half.data(), r.x = w.data(), r.n = (i64)w.size(), r.away = 1;
	run(r1_pack16, r, {2, 1, 1}, 64);
	for (size_t i = 0; i < w.size(); i++)
		assert(half[i] == (float_bits(w[i]) + 0x8000u) >> 16);
	gemm16_args g;
	g.c = y.data(), g.a = x.data(), g.b = half.data(), g.bias = bias.data(), g.m = m, g.n = n, g.k = k;
	auto rounded = [&](i64 l, i64 j) { return (double)bits_float((u32)half[(size_t)(back ? l * n + j : j * k + l)] << 16); };
	for (i64 i = 0; i < m; i++)
		for (i64 j = 0; j < n; j++) {
			float s = 0;
			for (i64 l = 0; l < k; l += 16) {
				double block = 0;
				for (i64 e = l; e < l + 16 && e < k; e++)
					block += (double)near16(x[(size_t)(i * k + e)]) * rounded(e, j);
				s = (float)((double)s + block);
			}
			want[(size_t)(i * n + j)] = s + bias[(size_t)j];
		}
	auto tiles = [](i64 n, unsigned of) { return ((unsigned)n + of - 1) / of; };
	std::fill(y.begin(), y.end(), NAN);
	run(back ? r1_gemm16_back_few : r1_gemm16_few, g, {tiles(n, 32), tiles(m, 16), 1}, 128);
	assert(y == want);
	std::fill(y.begin(), y.end(), NAN);
	run(back ? r1_gemm16_back_some : r1_gemm16_some, g, {tiles(n, 64), tiles(m, 64), 1}, 128);
	assert(y == want);
	std::fill(y.begin(), y.end(), NAN);
	run(back ? r1_gemm16_back_many : r1_gemm16_many, g, {tiles(n, 128), tiles(m, 128), 1}, 256);
	assert(y == want);
}

/* a weight's gradient goes on from what is there, sequence by sequence: the same bits in one pass and in two */
static void gradient16(i64 m, i64 n, std::vector<int> lengths, int cut)
{
	std::vector<int> segs;
	int rows = 0, before = 0;
	for (size_t i = 0; i < lengths.size(); i++) {
		segs.insert(segs.end(), {rows, lengths[i], -1});
		rows += lengths[i];
		before += (int)i < cut ? lengths[i] : 0;
	}
	std::vector<float> dy = values((size_t)(rows * m), 1), x = values((size_t)(rows * n), 2), dw = values((size_t)(m * n), 3), want = dw, parts = dw;
	for (i64 i = 0; i < m; i++)
		for (i64 j = 0; j < n; j++)
			for (size_t s = 0; s < lengths.size(); s++)
				for (int l = 0; l < lengths[s]; l += 16) {
					double block = 0;
					for (int e = segs[3 * s] + l; e < segs[3 * s] + lengths[s] && e < segs[3 * s] + l + 16; e++)
						block += (double)near16(dy[(size_t)(e * m + i)]) * (double)near16(x[(size_t)(e * n + j)]);
					want[(size_t)(i * n + j)] = (float)((double)want[(size_t)(i * n + j)] + block);
				}
	gemm16_args g;
	g.c = dw.data(), g.a = dy.data(), g.x = x.data(), g.m = m, g.n = n, g.k = rows, g.segs = segs.data(), g.nsegs = (int)lengths.size();
	index3 grid = {((unsigned)n + 127) / 128, ((unsigned)m + 127) / 128, 1};
	run(r1_gemm16_weight, g, grid, 256);
	assert(dw == want);
	if (lengths.size() == 1) { /* no sequences are one */
		dw = parts, g.segs = nullptr;
		run(r1_gemm16_weight, g, grid, 256);
		assert(dw == want);
		return;
	}
	g.c = parts.data(), g.k = before, g.segs = segs.data(), g.nsegs = cut;
	run(r1_gemm16_weight, g, grid, 256);
	for (size_t s = 0; s < lengths.size(); s++)
		segs[3 * s] -= before;
	g.a += before * m, g.x += before * n, g.k = rows - before, g.segs = &segs[3 * (size_t)cut], g.nsegs = (int)lengths.size() - cut;
	run(r1_gemm16_weight, g, grid, 256);
	assert(parts == want);
}

/* one sequence of t rows: packed, it is the definition, and over pages, a row at a time, it has the same bits */
static void attention(int t, int h, int g, int d, int window)
{
	std::vector<float> q = values((size_t)(t * h * d), 4), k = values((size_t)(t * g * d), 5), v = values((size_t)(t * g * d), 6), o(q.size()), lse((size_t)(t * h)), decoded(q.size());
	int segs[] = {0, t, -1}, slots = 16;
	attn_args a;
	a.o = o.data(), a.lse = lse.data(), a.q = q.data(), a.k = k.data(), a.v = v.data(), a.segs = segs, a.t = t, a.h = h, a.g = g, a.d = d, a.n = 1, a.tile = 3, a.window = window, a.scale = 0.5f;
	run(r1_attn, a, {(unsigned)((t + 2) / 3), (unsigned)g, 1}, 256);
	for (int row = 0; row < t; row += 37)
		for (int head = 0; head < h; head++) {
			int from = window && row >= window ? row - window + 1 : 0;
			double sum = 0, want = 0;
			for (int j = from; j <= row; j++) {
				double s = 0;
				for (int i = 0; i < d; i++)
					s += (double)q[(size_t)((row * h + head) * d + i)] * (double)k[(size_t)((j * g + head * g / h) * d + i)];
				sum += exp(0.5 * s), want += exp(0.5 * s) * (double)v[(size_t)((j * g + head * g / h) * d)];
			}
			assert(fabs(want / sum - (double)o[(size_t)((row * h + head) * d)]) < 1e-5 && fabs(log(sum) - (double)lse[(size_t)(row * h + head)]) < 1e-5);
		}
	int pages = (t + slots - 1) / slots; /* in reverse */
	std::vector<float> kp((size_t)(pages * slots * g * d)), vp(kp.size());
	std::vector<int> table((size_t)pages);
	for (int j = 0; j < t; j++) {
		table[(size_t)(j / slots)] = pages - 1 - j / slots;
		size_t to = (size_t)((table[(size_t)(j / slots)] * slots + j % slots) * g * d);
		memcpy(&kp[to], &k[(size_t)(j * g * d)], (size_t)(g * d) * sizeof(float));
		memcpy(&vp[to], &v[(size_t)(j * g * d)], (size_t)(g * d) * sizeof(float));
	}
	a.k = kp.data(), a.v = vp.data(), a.lse = nullptr, a.table = table.data(), a.pages = pages, a.slots = slots, a.t = 1, a.tile = 1;
	for (int row = 0; row < t; row += 29) {
		int at[] = {0, row};
		a.rows = at, a.q = &q[(size_t)(row * h * d)], a.o = &decoded[(size_t)(row * h * d)];
		run(r1_attn_paged, a, {1, (unsigned)g, 1}, 256);
		assert(!memcmp(&o[(size_t)(row * h * d)], a.o, (size_t)(h * d) * sizeof(float)));
		memset(a.o, 0, (size_t)(h * d) * sizeof(float));
		std::vector<float> parts((size_t)(3 * h * (d + 2)), NAN); /* the chunks alone, and merged */
		a.part = parts.data(), a.chunks = 3;
		run(r1_attn_paged, a, {1, (unsigned)g, 3}, 256);
		run(r1_attn_merge, a, {1, (unsigned)h, 1}, 32);
		assert(!memcmp(&o[(size_t)(row * h * d)], a.o, (size_t)(h * d) * sizeof(float)));
		a.part = nullptr;
	}
}

} // namespace emulated

int main()
{
	emulated::emulator();
	emulated::product(5, 71, 12), emulated::product(67, 3, 33), emulated::product(1, 1, 1);
	emulated::instruction();
	for (bool back : {false, true})
		emulated::product16(1, 1, 1, back), emulated::product16(5, 71, 17, back), emulated::product16(130, 33, 47, back), emulated::product16(17, 140, 100, back);
	emulated::gradient16(5, 7, {1, 17, 32, 33, 16, 40}, 3), emulated::gradient16(130, 140, {3, 50}, 1), emulated::gradient16(7, 3, {70}, 0);
	emulated::attention(300, 3, 1, 10, 0), emulated::attention(530, 2, 2, 16, 0), emulated::attention(530, 2, 1, 20, 270);
	puts("emulated");
}
