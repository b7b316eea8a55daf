/* gemm_shape.h: the tiles of matrix products on each instruction set. */
#if SIMD == 3
#define GEMM_MR 12
#define GEMM_NV 2
#elif SIMD == 2 || SIMD == 4
#define GEMM_MR 6
#define GEMM_NV 1
#else
#define GEMM_MR 4
#define GEMM_NV 1
#endif
#define GEMM_NR (16 * GEMM_NV)
#define GEMM_KC 512
#define GEMM_AHEAD 1024 /* floats from the k at hand to the one that is fetched: the hardware stops at the end of each page of 4 KiB */

#define INLINE static inline __attribute__((always_inline))

#if GEMM_MR == 12
#define TILES(t) {t##1, t##2, t##3, t##4, t##5, t##6, t##7, t##8, t##9, t##10, t##11, t##12}
#elif GEMM_MR == 6
#define TILES(t) {t##1, t##2, t##3, t##4, t##5, t##6}
#else
#define TILES(t) {t##1, t##2, t##3, t##4}
#endif
