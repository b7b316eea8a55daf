/* A test of the thread pool for the thread sanitizer: several callers share one pool, contexts come and go, and every
 * item of every job is done exactly once.
 *   gcc -std=c11 -O1 -g -fsanitize=thread -I.. pool_tsan.c ../pool.c -lpthread && ./a.out */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

enum { CALLERS = 4, ROUNDS = 20000, ITEMS = 1000, THREADS = 3 };

typedef struct { int done[ITEMS]; int worker_max; int workers[POOL_MAX]; } job;

static void count(const void *args, int64_t lo, int64_t hi, int worker)
{
	job *j = (job *)args;
	j->workers[worker]++; /* a worker number belongs to one thread: a shared one would be a race here */
	for (int64_t i = lo; i < hi; i++)
		j->done[i]++;
}

static void *caller(void *bad)
{
	job *j = malloc(sizeof *j);
	for (int round = 0; round < ROUNDS; round++) {
		int threads = 2 + round % (THREADS - 1);
		int64_t n = 1 + (round * 37) % ITEMS;
		if (round % 50 == 0)
			pool_acquire(threads);
		memset(j, 0, sizeof *j);
		pool_run(threads, n, 1 + round % 7, count, j);
		for (int64_t i = 0; i < ITEMS; i++)
			if (j->done[i] != (i < n))
				*(int *)bad = 1;
		for (int w = threads; w < POOL_MAX; w++)
			if (j->workers[w])
				*(int *)bad = 2; /* scratch is cut for the threads asked for */
		if (round % 50 == 49)
			pool_release();
	}
	free(j);
	return NULL;
}

int main(void)
{
	pthread_t t[CALLERS];
	int bad[CALLERS] = {0}, any = 0;
	for (int i = 0; i < CALLERS; i++)
		pthread_create(&t[i], NULL, caller, &bad[i]);
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(t[i], NULL);
		any |= bad[i];
	}
	printf("%s\n", any ? "FAIL: an item was not done exactly once" : "ok");
	return any;
}
