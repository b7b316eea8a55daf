/* pool.c: one pool of threads for the process, however many contexts there are. The caller works too; helpers join a job
 * while it is open and sleep when there has been nothing to do for a while. Each worker begins with its own share of the ranges,
 * in every job the same part, so that what it wrote in one is in its core's cache in the next; then it takes from the others' ends. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <windows.h>
#else
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu.h"

/* pool.door: job number << 32 | closed << 31 | helpers that may join << 8 | times that one joined */
#define CLOSED ((uint64_t)1 << 31)
#define LIMIT(door) ((int)((door) >> 8 & 0xff))
#define JOINED(door) ((int)((door) & 0xff))
#define SPINS 4000       /* rounds of relax() before a helper sleeps: some tens of microseconds */

/* Ranges of one worker that nobody has taken: first << 32 | end, on a cache line of its own. Its worker takes the first, others the last. */
typedef struct { _Alignas(64) atomic_ullong ranges; } share;

static struct {
	pthread_mutex_t life;  /* refs, helpers */
	int refs, helpers;
	pthread_t thread[POOL_MAX];

	pthread_mutex_t caller; /* held by the one caller whose job runs */
	pthread_mutex_t sleep;
	pthread_cond_t wake;
	atomic_int sleepers, stop;
	atomic_uint jobs; /* counts jobs, so that sleepers and spinners see a new one */

	/* the job; written while the door is closed, read by those who joined */
	range_fn *fn;
	const void *args;
	int64_t n, grain;
	int workers; /* that have a share, whether they come or not */
	share share[POOL_MAX];
	_Alignas(64) atomic_ullong door;
	atomic_int left;
} pool = {
	.life = PTHREAD_MUTEX_INITIALIZER, .caller = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER, .door = CLOSED,
};

static inline void relax(void)
{
#if defined(__x86_64__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Arithmetic runs with default rounding and with subnormals, whatever the host program set. */
#if defined(__x86_64__)
static unsigned fp_enter(void)
{
	unsigned old = _mm_getcsr();
	_mm_setcsr(0x1f80);
	return old;
}
static void fp_leave(unsigned old) { _mm_setcsr(old); }
#elif defined(__aarch64__)
static unsigned fp_enter(void)
{
	uint64_t old, zero = 0;
	__asm__ volatile("mrs %0, fpcr" : "=r"(old));
	__asm__ volatile("msr fpcr, %0" : : "r"(zero));
	return (unsigned)old;
}
static void fp_leave(unsigned old)
{
	uint64_t v = old;
	__asm__ volatile("msr fpcr, %0" : : "r"(v));
}
#else
static unsigned fp_enter(void) { return 0; }
static void fp_leave(unsigned old) { (void)old; }
#endif

/* Takes a range of a share; returns its number, or -1 where there is none. */
static int64_t take(share *s, int own)
{
	unsigned long long had = atomic_load_explicit(&s->ranges, memory_order_relaxed);
	for (;;) {
		int64_t first = (int64_t)(had >> 32), end = (int64_t)(had & 0xffffffff);
		if (first == end)
			return -1;
		if (atomic_compare_exchange_weak_explicit(&s->ranges, &had, own ? had + ((uint64_t)1 << 32) : had - 1, memory_order_relaxed, memory_order_relaxed))
			return own ? first : end - 1;
	}
}

static void work(int worker)
{
	for (int i = 0; i < pool.workers; i++)
		for (int64_t range; (range = take(&pool.share[(worker + i) % pool.workers], i == 0)) >= 0;) {
			int64_t lo = range * pool.grain;
			pool.fn(pool.args, lo, pool.n - lo < pool.grain ? pool.n : lo + pool.grain, worker);
		}
}

/* Joins the open job as worker number if the job has so many; a helper is always the same worker. */
static bool join(int number)
{
	unsigned long long door = atomic_load_explicit(&pool.door, memory_order_acquire);
	while (!(door & CLOSED) && number <= LIMIT(door))
		if (atomic_compare_exchange_weak_explicit(&pool.door, &door, door + 1, memory_order_acq_rel, memory_order_acquire))
			return true;
	return false;
}

static void *helper(void *worker)
{
	const int number = (int)(intptr_t)worker;
	unsigned seen = 0;
	fp_enter();
	while (!atomic_load_explicit(&pool.stop, memory_order_acquire)) {
		unsigned now = atomic_load_explicit(&pool.jobs, memory_order_acquire);
		for (int i = 0; now == seen && i < SPINS && !atomic_load_explicit(&pool.stop, memory_order_relaxed); i++) {
			relax();
			now = atomic_load_explicit(&pool.jobs, memory_order_acquire);
		}
		if (now == seen) {
			pthread_mutex_lock(&pool.sleep);
			atomic_fetch_add(&pool.sleepers, 1);
			while ((now = atomic_load(&pool.jobs)) == seen && !atomic_load(&pool.stop))
				pthread_cond_wait(&pool.wake, &pool.sleep);
			atomic_fetch_sub(&pool.sleepers, 1);
			pthread_mutex_unlock(&pool.sleep);
		}
		seen = now;
		if (join(number)) {
			work(number);
			atomic_fetch_add_explicit(&pool.left, 1, memory_order_release);
		}
	}
	return NULL;
}

static void wake_all(void)
{
	if (atomic_load(&pool.sleepers)) {
		pthread_mutex_lock(&pool.sleep);
		pthread_cond_broadcast(&pool.wake);
		pthread_mutex_unlock(&pool.sleep);
	}
}

int pool_cores(void)
{
#if defined(_WIN32)
	SYSTEM_INFO s;
	GetSystemInfo(&s);
	long n = (long)s.dwNumberOfProcessors;
#elif defined(__linux__)
	cpu_set_t set;
	long n = sched_getaffinity(0, sizeof set, &set) ? sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
#else
	long n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
	return n < 1 ? 1 : n > POOL_MAX ? POOL_MAX : (int)n;
}

void pool_acquire(int threads)
{
	pthread_mutex_lock(&pool.life);
	pool.refs++;
	while (pool.helpers < threads - 1 && pool.helpers < POOL_MAX - 1) {
		if (pthread_create(&pool.thread[pool.helpers], NULL, helper, (void *)(intptr_t)(pool.helpers + 1)))
			break; /* fewer threads, the same bits */
		pool.helpers++;
	}
	pthread_mutex_unlock(&pool.life);
}

void pool_release(void)
{
	pthread_mutex_lock(&pool.life);
	if (--pool.refs == 0) {
		pthread_mutex_lock(&pool.sleep);
		atomic_store(&pool.stop, 1);
		pthread_cond_broadcast(&pool.wake);
		pthread_mutex_unlock(&pool.sleep);
		while (pool.helpers)
			pthread_join(pool.thread[--pool.helpers], NULL);
		atomic_store(&pool.stop, 0);
	}
	pthread_mutex_unlock(&pool.life);
}

void pool_run(int threads, int64_t n, int64_t grain, range_fn *fn, const void *args)
{
	if (n <= 0)
		return;
	unsigned fp = fp_enter();
	while (n / grain > INT32_MAX - 1)
		grain *= 2;
	int64_t ranges = (n + grain - 1) / grain;
	if (ranges == 1 || threads == 1 || pthread_mutex_trylock(&pool.caller)) {
		fn(args, 0, n, 0);
		fp_leave(fp);
		return;
	}
	pool.fn = fn, pool.args = args, pool.n = n, pool.grain = grain;
	pool.workers = (int)(ranges < threads ? ranges : threads);
	for (int w = 0; w < pool.workers; w++)
		atomic_store_explicit(&pool.share[w].ranges, (uint64_t)(ranges * w / pool.workers) << 32 | (uint64_t)(ranges * (w + 1) / pool.workers), memory_order_relaxed);
	atomic_store_explicit(&pool.left, 0, memory_order_relaxed);
	uint64_t limit = (uint64_t)pool.workers - 1;
	uint64_t number = atomic_load_explicit(&pool.jobs, memory_order_relaxed) + 1u;
	atomic_store(&pool.door, number << 32 | limit << 8); /* opens the job */
	atomic_fetch_add(&pool.jobs, 1);
	wake_all();
	work(0);
	int helpers = JOINED(atomic_fetch_or_explicit(&pool.door, CLOSED, memory_order_acq_rel));
	for (int i = 0; atomic_load_explicit(&pool.left, memory_order_acquire) != helpers; i++) {
		relax();
		if (i > SPINS) {
			sched_yield();
			i = 0;
		}
	}
	pthread_mutex_unlock(&pool.caller);
	fp_leave(fp);
}
