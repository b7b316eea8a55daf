/* simd.h: one vector of 16 floats, vf, on four instruction sets. The kernels are written once over vf and compiled once
 * an instruction set, so they give the same bits on each: every function here is exact (one IEEE operation a lane) or has
 * one order of operations. The includer defines SIMD as one of R1_ISA_* and has set the compiler's target. */

#include <math.h>
#include <string.h>

#if SIMD == 3 /* R1_ISA_AVX512 */

typedef __m512 vf;
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf v_loadn(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
static inline void v_storen(float *p, vf a, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a); }
static inline vf v_set1(float x) { return _mm512_set1_ps(x); }
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
/* a > b ? x : y */
static inline vf v_gt(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x); }
static inline vf v_eq(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), y, x); }
static inline vf v_neg(vf a) { return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0x80000000))); }
static inline vf v_abs(vf a) { return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff))); }
/* 2^n for whole n in [-126, 127] */
static inline vf v_pow2(vf n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23)); }
/* of a positive normal number: its exponent as a float, its mantissa in [1, 2) */
static inline vf v_exponent(vf a) { return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(_mm512_castps_si512(a), 23), _mm512_set1_epi32(127))); }
static inline vf v_mantissa(vf a)
{
	__m512i m = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffff));
	return _mm512_castsi512_ps(_mm512_or_si512(m, _mm512_set1_epi32(0x3f800000)));
}
/* two bf16 numbers in each lane's bits, as floats */
static inline vf v_high(vf a) { return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0xffff0000))); }
static inline vf v_low(vf a) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 16)); }
/* 16 numbers in bf16, as floats */
static inline vf v_load16(const uint16_t *p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16)); }
static inline __m256 v_half_sum(vf a) { return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }

#elif SIMD == 2 /* R1_ISA_AVX2 */

typedef struct { __m256 a, b; } vf;
#define VF2(f, x, y) ((vf){f((x).a, (y).a), f((x).b, (y).b)})
static inline vf v_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void v_store(float *p, vf x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
static inline vf v_loadn(const float *p, int n)
{
	float t[16] = {0};
	memcpy(t, p, (size_t)n * sizeof *p);
	return v_load(t);
}
static inline void v_storen(float *p, vf x, int n)
{
	float t[16];
	v_store(t, x);
	memcpy(p, t, (size_t)n * sizeof *p);
}
static inline vf v_set1(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline vf v_add(vf x, vf y) { return VF2(_mm256_add_ps, x, y); }
static inline vf v_sub(vf x, vf y) { return VF2(_mm256_sub_ps, x, y); }
static inline vf v_mul(vf x, vf y) { return VF2(_mm256_mul_ps, x, y); }
static inline vf v_div(vf x, vf y) { return VF2(_mm256_div_ps, x, y); }
static inline vf v_fma(vf x, vf y, vf z) { return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
static inline vf v_sqrt(vf x) { return (vf){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
static inline vf v_gt(vf a, vf b, vf x, vf y)
{
	return (vf){_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(a.a, b.a, _CMP_GT_OQ)), _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(a.b, b.b, _CMP_GT_OQ))};
}
static inline vf v_eq(vf a, vf b, vf x, vf y)
{
	return (vf){_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(a.a, b.a, _CMP_EQ_OQ)), _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(a.b, b.b, _CMP_EQ_OQ))};
}
static inline vf v_neg(vf x)
{
	vf s = v_set1(-0.0f);
	return VF2(_mm256_xor_ps, x, s);
}
static inline vf v_abs(vf x)
{
	vf s = v_set1(-0.0f);
	return VF2(_mm256_andnot_ps, s, x);
}
static inline __m256 v_pow2_(__m256 n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)); }
static inline vf v_pow2(vf n) { return (vf){v_pow2_(n.a), v_pow2_(n.b)}; }
static inline __m256 v_exponent_(__m256 a) { return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(a), 23), _mm256_set1_epi32(127))); }
static inline vf v_exponent(vf x) { return (vf){v_exponent_(x.a), v_exponent_(x.b)}; }
static inline __m256 v_mantissa_(__m256 a)
{
	__m256i m = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffff));
	return _mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3f800000)));
}
static inline vf v_mantissa(vf x) { return (vf){v_mantissa_(x.a), v_mantissa_(x.b)}; }
static inline __m256 v_high_(__m256 a) { return _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32((int)0xffff0000))); }
static inline vf v_high(vf x) { return (vf){v_high_(x.a), v_high_(x.b)}; }
static inline __m256 v_low_(__m256 a) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 16)); }
static inline vf v_low(vf x) { return (vf){v_low_(x.a), v_low_(x.b)}; }
static inline __m256 v_load16_(const uint16_t *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16)); }
static inline vf v_load16(const uint16_t *p) { return (vf){v_load16_(p), v_load16_(p + 8)}; }
static inline __m256 v_half_sum(vf x) { return _mm256_add_ps(x.a, x.b); }

#elif SIMD == 4 /* R1_ISA_NEON */

typedef struct { float32x4_t q[4]; } vf;
#define VF_EACH(i) for (int i = 0; i < 4; i++)
static inline vf v_load(const float *p)
{
	vf r;
	VF_EACH(i) r.q[i] = vld1q_f32(p + 4 * i);
	return r;
}
static inline void v_store(float *p, vf x) { VF_EACH(i) vst1q_f32(p + 4 * i, x.q[i]); }
static inline vf v_loadn(const float *p, int n)
{
	float t[16] = {0};
	memcpy(t, p, (size_t)n * sizeof *p);
	return v_load(t);
}
static inline void v_storen(float *p, vf x, int n)
{
	float t[16];
	v_store(t, x);
	memcpy(p, t, (size_t)n * sizeof *p);
}
static inline vf v_set1(float x)
{
	vf r;
	VF_EACH(i) r.q[i] = vdupq_n_f32(x);
	return r;
}
#define VF_OP2(name, f) static inline vf name(vf x, vf y) { VF_EACH(i) x.q[i] = f(x.q[i], y.q[i]); return x; }
VF_OP2(v_add, vaddq_f32)
VF_OP2(v_sub, vsubq_f32)
VF_OP2(v_mul, vmulq_f32)
VF_OP2(v_div, vdivq_f32)
static inline vf v_fma(vf x, vf y, vf z)
{
	VF_EACH(i) z.q[i] = vfmaq_f32(z.q[i], x.q[i], y.q[i]);
	return z;
}
static inline vf v_sqrt(vf x)
{
	VF_EACH(i) x.q[i] = vsqrtq_f32(x.q[i]);
	return x;
}
static inline vf v_gt(vf a, vf b, vf x, vf y)
{
	VF_EACH(i) y.q[i] = vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), x.q[i], y.q[i]);
	return y;
}
static inline vf v_eq(vf a, vf b, vf x, vf y)
{
	VF_EACH(i) y.q[i] = vbslq_f32(vceqq_f32(a.q[i], b.q[i]), x.q[i], y.q[i]);
	return y;
}
static inline vf v_neg(vf x)
{
	VF_EACH(i) x.q[i] = vnegq_f32(x.q[i]);
	return x;
}
static inline vf v_abs(vf x)
{
	VF_EACH(i) x.q[i] = vabsq_f32(x.q[i]);
	return x;
}
static inline vf v_pow2(vf n)
{
	VF_EACH(i) n.q[i] = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.q[i]), vdupq_n_s32(127)), 23));
	return n;
}
static inline vf v_exponent(vf a)
{
	VF_EACH(i) a.q[i] = vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(a.q[i]), 23)), vdupq_n_s32(127)));
	return a;
}
static inline vf v_mantissa(vf a)
{
	VF_EACH(i) a.q[i] = vreinterpretq_f32_u32(vorrq_u32(vandq_u32(vreinterpretq_u32_f32(a.q[i]), vdupq_n_u32(0x7fffff)), vdupq_n_u32(0x3f800000)));
	return a;
}
static inline vf v_high(vf a)
{
	VF_EACH(i) a.q[i] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.q[i]), vdupq_n_u32(0xffff0000)));
	return a;
}
static inline vf v_low(vf a)
{
	VF_EACH(i) a.q[i] = vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a.q[i]), 16));
	return a;
}
static inline vf v_load16(const uint16_t *p)
{
	vf r;
	VF_EACH(i) r.q[i] = vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(p + 4 * i)), 16));
	return r;
}

#else /* portable: the twin that says what the others mean */

typedef struct { float f[16]; } vf;
#define VF_EACH(i) for (int i = 0; i < 16; i++)
static inline vf v_load(const float *p)
{
	vf r;
	memcpy(r.f, p, sizeof r.f);
	return r;
}
static inline void v_store(float *p, vf x) { memcpy(p, x.f, sizeof x.f); }
static inline vf v_loadn(const float *p, int n)
{
	vf r = {{0}};
	memcpy(r.f, p, (size_t)n * sizeof *p);
	return r;
}
static inline void v_storen(float *p, vf x, int n) { memcpy(p, x.f, (size_t)n * sizeof *p); }
static inline vf v_set1(float x)
{
	vf r;
	VF_EACH(i) r.f[i] = x;
	return r;
}
#define VF_OP2(name, op) static inline vf name(vf x, vf y) { VF_EACH(i) x.f[i] = x.f[i] op y.f[i]; return x; }
VF_OP2(v_add, +)
VF_OP2(v_sub, -)
VF_OP2(v_mul, *)
VF_OP2(v_div, /)
static inline vf v_fma(vf x, vf y, vf z)
{
	VF_EACH(i) z.f[i] = fmaf(x.f[i], y.f[i], z.f[i]);
	return z;
}
static inline vf v_sqrt(vf x)
{
	VF_EACH(i) x.f[i] = sqrtf(x.f[i]);
	return x;
}
static inline vf v_gt(vf a, vf b, vf x, vf y)
{
	VF_EACH(i) y.f[i] = a.f[i] > b.f[i] ? x.f[i] : y.f[i];
	return y;
}
static inline vf v_eq(vf a, vf b, vf x, vf y)
{
	VF_EACH(i) y.f[i] = a.f[i] == b.f[i] ? x.f[i] : y.f[i];
	return y;
}
static inline vf v_neg(vf x)
{
	VF_EACH(i) x.f[i] = -x.f[i];
	return x;
}
static inline vf v_abs(vf x)
{
	VF_EACH(i) x.f[i] = fabsf(x.f[i]);
	return x;
}
static inline uint32_t f_bits(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return u;
}
static inline float f_from(uint32_t u)
{
	float x;
	memcpy(&x, &u, sizeof x);
	return x;
}
static inline vf v_pow2(vf n)
{
	VF_EACH(i) n.f[i] = f_from((uint32_t)((int32_t)n.f[i] + 127) << 23);
	return n;
}
static inline vf v_exponent(vf a)
{
	VF_EACH(i) a.f[i] = (float)((int32_t)(f_bits(a.f[i]) >> 23) - 127);
	return a;
}
static inline vf v_mantissa(vf a)
{
	VF_EACH(i) a.f[i] = f_from((f_bits(a.f[i]) & 0x7fffff) | 0x3f800000);
	return a;
}
static inline vf v_high(vf a)
{
	VF_EACH(i) a.f[i] = f_from(f_bits(a.f[i]) & 0xffff0000);
	return a;
}
static inline vf v_low(vf a)
{
	VF_EACH(i) a.f[i] = f_from(f_bits(a.f[i]) << 16);
	return a;
}
static inline vf v_load16(const uint16_t *p)
{
	vf r;
	VF_EACH(i) r.f[i] = f_from((uint32_t)p[i] << 16);
	return r;
}

#endif

/* The tree of every sum over 16 lanes: lane i meets i+8, then i+4, i+2, i+1. */
static inline float v_sum(vf x)
{
#if SIMD == 3 || SIMD == 2
	__m256 h = v_half_sum(x);
	__m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	q = _mm_add_ss(q, _mm_movehdup_ps(q));
	return _mm_cvtss_f32(q);
#elif SIMD == 4
	float32x4_t q = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
	float32x2_t d = vadd_f32(vget_low_f32(q), vget_high_f32(q));
	return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
#else
	for (int w = 8; w; w /= 2)
		for (int i = 0; i < w; i++)
			x.f[i] = x.f[i] + x.f[i + w];
	return x.f[0];
#endif
}

/* v_sum of four vectors at once */
static inline void v_sum4(float *out, vf a, vf b, vf c, vf d)
{
#if SIMD == 3 || SIMD == 2
	__m256 ha = v_half_sum(a), hb = v_half_sum(b), hc = v_half_sum(c), hd = v_half_sum(d);
	__m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(ha, hb, 0x20), _mm256_permute2f128_ps(ha, hb, 0x31));
	__m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(hc, hd, 0x20), _mm256_permute2f128_ps(hc, hd, 0x31));
	__m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
	__m256 one = _mm256_add_ps(_mm256_shuffle_ps(two, two, 0x88), _mm256_shuffle_ps(two, two, 0xDD));
	_mm_storeu_ps(out, _mm_unpacklo_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1)));
#else
	out[0] = v_sum(a), out[1] = v_sum(b), out[2] = v_sum(c), out[3] = v_sum(d);
#endif
}

/* out[16*i + j] = element i of r[j] */
static inline void v_turn(float *out, const vf *r)
{
#if SIMD == 3
	__m512 a[16], b[16];
	for (int i = 0; i < 16; i += 2) {
		a[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
		a[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
	}
	for (int i = 0; i < 16; i += 4)
		for (int h = 0; h < 2; h++) { /* b[i + e]: of each 128 bits, element e of rows i..i+3 */
			b[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a[i + h]), _mm512_castps_pd(a[i + 2 + h])));
			b[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a[i + h]), _mm512_castps_pd(a[i + 2 + h])));
		}
	for (int e = 0; e < 4; e++) {
		__m512 even = _mm512_shuffle_f32x4(b[e], b[4 + e], 0x88), odd = _mm512_shuffle_f32x4(b[e], b[4 + e], 0xDD);
		__m512 even8 = _mm512_shuffle_f32x4(b[8 + e], b[12 + e], 0x88), odd8 = _mm512_shuffle_f32x4(b[8 + e], b[12 + e], 0xDD);
		v_store(out + 16 * e, _mm512_shuffle_f32x4(even, even8, 0x88));
		v_store(out + 16 * (4 + e), _mm512_shuffle_f32x4(odd, odd8, 0x88));
		v_store(out + 16 * (8 + e), _mm512_shuffle_f32x4(even, even8, 0xDD));
		v_store(out + 16 * (12 + e), _mm512_shuffle_f32x4(odd, odd8, 0xDD));
	}
#else
	for (int j = 0; j < 16; j++) {
		float t[16];
		v_store(t, r[j]);
		for (int i = 0; i < 16; i++)
			out[16 * i + j] = t[i];
	}
#endif
}

/* a > b ? a : b, and a < b ? a : b, which is what x86 gives for zeros and NaN too */
#if SIMD == 3
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
#else
static inline vf v_max(vf a, vf b) { return v_gt(a, b, a, b); }
static inline vf v_min(vf a, vf b) { return v_gt(b, a, a, b); }
#endif

static inline float v_hmax(vf x)
{
	float t[16], m;
	v_store(t, x);
	m = t[0];
	for (int i = 1; i < 16; i++)
		m = t[i] > m ? t[i] : m;
	return m;
}

/* round to the nearest whole number, |x| < 2^22 */
static inline vf v_round(vf x)
{
	vf magic = v_set1(0x1.8p23f);
	return v_sub(v_add(x, magic), magic);
}

/* (1 + q) 2^n for whole n in [-126, 128] */
static inline vf v_scale(vf q, vf n)
{
#if SIMD == 3 /* the sum rounds before it is scaled, not after: the same, for no result here is less than 2^-126 */
	return _mm512_scalef_ps(v_add(q, v_set1(1.0f)), n);
#else
	vf h = v_min(n, v_set1(127.0f));
	return v_mul(v_fma(q, v_pow2(h), v_pow2(h)), v_pow2(v_sub(n, h)));
#endif
}

/* exp: 2^n (1 + r + r^2 q(r)), r = x - n ln 2; within 1 ulp. Below -87.33 it is 0, above 88.72 infinity, NaN stays NaN.
 * The coefficients here and below are minimax fits of their own, in float. */
static inline vf v_exp(vf x)
{
	vf n = v_round(v_mul(v_min(v_max(x, v_set1(-88.0f)), v_set1(89.0f)), v_set1(0x1.715476p0f)));
	vf r = v_fma(n, v_set1(-0x1.62e400p-1f), x);
	r = v_fma(n, v_set1(-0x1.7f7d1cp-20f), r);
	vf q = v_set1(0x1.6a1a6ep-10f);
	q = v_fma(q, r, v_set1(0x1.123fc6p-7f));
	q = v_fma(q, r, v_set1(0x1.555916p-5f));
	q = v_fma(q, r, v_set1(0x1.55548ap-3f));
	q = v_fma(q, r, v_set1(0x1.fffffcp-2f));
	q = v_fma(v_mul(r, r), q, r);
	vf y = v_scale(q, n);
	y = v_gt(v_set1(-0x1.5d589ep6f), x, v_set1(0.0f), y);
	y = v_gt(x, v_set1(0x1.62e42ep6f), v_set1(INFINITY), y);
	return v_eq(x, x, y, x);
}

/* log of x: e ln 2 + log(1+f); within 1 ulp away from 1. 0 gives -infinity, less NaN; subnormals count as 0. */
static inline vf v_log(vf x)
{
	vf e = v_exponent(x), m = v_mantissa(x), one = v_set1(1.0f);
	vf big = v_set1(0x1.6a09e6p0f);
	e = v_gt(m, big, v_add(e, one), e);
	m = v_gt(m, big, v_mul(m, v_set1(0.5f)), m);
	vf f = v_sub(m, one), f2 = v_mul(f, f);
	vf p = v_set1(-0x1.392e84p-4f);
	p = v_fma(p, f, v_set1(0x1.05b73ap-3f));
	p = v_fma(p, f, v_set1(-0x1.0d9a50p-3f));
	p = v_fma(p, f, v_set1(0x1.22cf52p-3f));
	p = v_fma(p, f, v_set1(-0x1.546f28p-3f));
	p = v_fma(p, f, v_set1(0x1.99a060p-3f));
	p = v_fma(p, f, v_set1(-0x1.000232p-2f));
	p = v_fma(p, f, v_set1(0x1.555554p-2f));
	p = v_mul(v_mul(p, f), f2);
	p = v_fma(e, v_set1(0x1.7f7d1cp-20f), p);
	p = v_fma(v_set1(-0.5f), f2, p);
	vf y = v_fma(e, v_set1(0x1.62e400p-1f), v_add(f, p));
	y = v_gt(v_set1(0x1p-126f), x, v_set1(-INFINITY), y);
	y = v_gt(v_set1(0.0f), x, v_set1(NAN), y);
	y = v_eq(x, v_set1(INFINITY), x, y);
	return v_eq(x, x, y, x);
}

/* tanh: x + x^3 p(x^2) near 0, else 1 - 2 / (exp(2|x|) + 1) with x's sign */
static inline vf v_tanh(vf x)
{
	vf a = v_abs(x), x2 = v_mul(x, x), one = v_set1(1.0f);
	vf p = v_set1(-0x1.6f41eep-8f);
	p = v_fma(p, x2, v_set1(0x1.50b820p-6f));
	p = v_fma(p, x2, v_set1(-0x1.b806a4p-5f));
	p = v_fma(p, x2, v_set1(0x1.1105a2p-3f));
	p = v_fma(p, x2, v_set1(-0x1.55552cp-2f));
	vf near = v_fma(v_mul(x2, x), p, x);
	vf far = v_sub(one, v_div(v_set1(2.0f), v_add(v_exp(v_add(a, a)), one)));
	far = v_gt(v_set1(0.0f), x, v_neg(far), far);
	return v_gt(v_set1(0.625f), a, near, v_eq(x, x, far, x));
}

static inline vf v_sigmoid(vf x)
{
	vf one = v_set1(1.0f);
	return v_div(one, v_add(one, v_exp(v_neg(x))));
}

static inline float f_exp(float x)
{
	float t[16];
	v_store(t, v_exp(v_set1(x)));
	return t[0];
}

static inline float f_log(float x)
{
	float t[16];
	v_store(t, v_log(v_set1(x)));
	return t[0];
}

static inline float f_tanh(float x)
{
	float t[16];
	v_store(t, v_tanh(v_set1(x)));
	return t[0];
}
