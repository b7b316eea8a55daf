/* emulate.h: the host's twin of a GPU: kernel text compiled as C++, a fibre for each thread of a block, blocks one after another. Built into
 * the backend only for tests (R1_EMULATE).
 *
 * A fibre runs until it waits for the others, at a barrier or an exchange among 16 lanes. Every second block runs its threads from the last
 * to the first, so that a barrier that is missing changes results; shared memory begins as NaN; threads that wait for what never comes are
 * an error and no hang. */
#ifndef R1_EMULATE_H
#define R1_EMULATE_H

#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <ucontext.h>

#define KERNEL(name, type) [[maybe_unused]] static void name(const type a)
#define DEVICE static inline
#define DEVICE_MEMBER
#define SHARED static __attribute__((section("r1_shared")))

namespace emulated {

extern "C" char __start_r1_shared[], __stop_r1_shared[];

struct index3 {
	unsigned x, y, z;
};
static index3 threadIdx, blockIdx, blockDim, gridDim;

enum fibre_state { READY, AT_BARRIER, AT_LANES, AT_WARP, ENDED };
struct fibre {
	ucontext_t start;
	jmp_buf at;
	std::vector<char> stack;
	fibre_state state;
	int turn; /* which of two exchanges is at hand */
	float slot[2];
	uint32_t a[2][4], b[2][2]; /* of matrices in bf16 */
};
static std::vector<fibre> fibres(256);
static jmp_buf scheduler;
static int running;
static unsigned at_barrier, at_lanes[16], at_warp[8];
static void (*running_kernel)(const void *args);
static const void *running_args;

static void fibre_wait(fibre_state state)
{
	fibre &f = fibres[static_cast<size_t>(running)];
	f.state = state;
	if (!_setjmp(f.at))
		_longjmp(scheduler, 1);
}
static void fibre_main()
{
	for (;;) {
		running_kernel(running_args);
		fibre_wait(ENDED);
	}
}
static void fibre_run(int i)
{
	fibre &f = fibres[static_cast<size_t>(i)];
	running = i;
	threadIdx = {static_cast<unsigned>(i), 0, 0};
	if (_setjmp(scheduler))
		return;
	if (!f.stack.empty())
		_longjmp(f.at, 1);
	f.stack.resize(1 << 17);
	getcontext(&f.start);
	f.start.uc_stack.ss_sp = f.stack.data();
	f.start.uc_stack.ss_size = f.stack.size();
	f.start.uc_link = nullptr;
	makecontext(&f.start, fibre_main, 0);
	setcontext(&f.start);
}

static const char *const stuck_at[] = {"", "some threads of a block are at a barrier, others not", "some of 16 lanes are at an exchange, others not",
                                       "some of a warp's lanes are at a product, others not"};

/* the state of one block's threads at the end, or what they wait for in vain */
static const char *block_run(int threads, bool backwards)
{
	memset(__start_r1_shared, 0xff, static_cast<size_t>(__stop_r1_shared - __start_r1_shared));
	at_barrier = 0;
	memset(at_lanes, 0, sizeof at_lanes);
	memset(at_warp, 0, sizeof at_warp);
	for (int i = 0; i < threads; i++)
		fibres[static_cast<size_t>(i)].state = READY, fibres[static_cast<size_t>(i)].turn = 0;
	for (bool ran = true; ran;) {
		ran = false;
		for (int i = 0; i < threads; i++) {
			int which = backwards ? threads - 1 - i : i;
			if (fibres[static_cast<size_t>(which)].state == READY)
				fibre_run(which), ran = true;
		}
	}
	for (int i = 0; i < threads; i++)
		if (fibres[static_cast<size_t>(i)].state != ENDED)
			return stuck_at[fibres[static_cast<size_t>(i)].state];
	return nullptr;
}

/* Runs kernel(args) for every thread of every block. */
static void emulate(const char *name, void (*kernel)(const void *), const void *args, index3 grid, int threads)
{
	static std::mutex one;
	std::lock_guard<std::mutex> lock(one);
	running_kernel = kernel, running_args = args, gridDim = grid, blockDim = {static_cast<unsigned>(threads), 1, 1};
	int64_t number = 0;
	for (unsigned z = 0; z < grid.z; z++)
		for (unsigned y = 0; y < grid.y; y++)
			for (unsigned x = 0; x < grid.x; x++) {
				blockIdx = {x, y, z};
				const char *stuck = block_run(threads, number++ % 2);
				if (!stuck)
					continue;
				fibres = std::vector<fibre>(fibres.size()); /* those that wait are given up */
				throw std::logic_error(std::string(name) + ": " + stuck);
			}
}

/* ---- what gpu.h has of a GPU ---- */

static void barrier()
{
	if (++at_barrier < blockDim.x)
		return fibre_wait(AT_BARRIER);
	at_barrier = 0;
	for (unsigned i = 0; i < blockDim.x; i++)
		if (fibres[i].state == AT_BARRIER)
			fibres[i].state = READY;
}
/* n neighbouring threads wait for each other */
static void meet(unsigned n, unsigned *arrived, fibre_state state)
{
	unsigned v = threadIdx.x / n;
	if (++arrived[v] < n)
		return fibre_wait(state);
	arrived[v] = 0;
	for (unsigned i = n * v; i < n * v + n; i++)
		if (fibres[i].state == state)
			fibres[i].state = READY;
}
static float lane_xor(float x, int m)
{
	unsigned i = threadIdx.x;
	int turn = fibres[i].turn ^= 1; /* a lane is never two exchanges ahead */
	fibres[i].slot[turn] = x;
	meet(16, at_lanes, AT_LANES);
	return fibres[i ^ static_cast<unsigned>(m)].slot[turn];
}
static inline void count_one(uint32_t *p) { ++*p; }
static inline void count_mass(unsigned long long *p, unsigned long long n) { *p += n; }
static inline uint32_t float_bits(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return u;
}
static inline float bits_float(uint32_t u)
{
	float x;
	memcpy(&x, &u, sizeof x);
	return x;
}
static inline int nearest(float x) { return static_cast<int>(std::nearbyintf(x)); }
static inline int bits_set(uint32_t u) { return __builtin_popcount(u); }
static inline uint32_t pair16(float low, float high)
{
	auto half = [](float x) {
		uint32_t u = float_bits(x);
		return x != x ? 0x7fffu : (u + 0x7fff + (u >> 16 & 1)) >> 16;
	};
	return half(low) | half(high) << 16;
}
/* The matrices are put together from what the lanes hold, as PTX documents it; sums are in double, and rounded once. */
static void mma16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
	unsigned lane = threadIdx.x % 32;
	fibre *warp = &fibres[threadIdx.x - lane], &f = warp[lane];
	int turn = f.turn ^= 1;
	memcpy(f.a[turn], a, sizeof a);
	memcpy(f.b[turn], b, sizeof b);
	meet(32, at_warp, AT_WARP);
	for (unsigned i = 0; i < 4; i++) {
		unsigned row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
		double sum = 0;
		for (unsigned k = 0; k < 16; k++) {
			uint32_t x = warp[4 * (row % 8) + k % 8 / 2].a[turn][row / 8 + 2 * (k / 8)], y = warp[4 * col + k % 8 / 2].b[turn][k / 8];
			sum += static_cast<double>(bits_float(k % 2 ? x & 0xffff0000u : x << 16)) * static_cast<double>(bits_float(k % 2 ? y & 0xffff0000u : y << 16));
		}
		d[i] = static_cast<float>(static_cast<double>(d[i]) + sum);
	}
}

} // namespace emulated

#endif
