/* Vectors of floats as wide as the instruction set allows: lf_vf holds LF_W of them; the same text for every set. */
#ifndef LF_SIMD_H
#define LF_SIMD_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "formats.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LF_INLINE static inline __attribute__((always_inline, unused))

/* Into which cache weights are asked for, a __builtin_prefetch locality: a Xeon is a tenth to a quarter faster with the second one,
   into which more requests are under way at a time; Zen 5 is 5 to 10 % slower. (The set with bf16 but no tiles is a Zen's.) */
#if defined(__AVX512VNNI__) && !defined(__AMX_INT8__)
#define LF_ASK_INTO 3
#else
#define LF_ASK_INTO 2
#endif

#if defined(__AVX512F__)
#define LF_W 16
typedef __m512 lf_vf;
typedef __m512i lf_vi;
LF_INLINE lf_vf lf_set(float x) { return _mm512_set1_ps(x); }
LF_INLINE lf_vf lf_load(const float *p) { return _mm512_loadu_ps(p); }
LF_INLINE void lf_put(float *p, lf_vf v) { _mm512_storeu_ps(p, v); }
LF_INLINE lf_vf lf_max(lf_vf a, lf_vf b) { return _mm512_max_ps(a, b); }
LF_INLINE lf_vf lf_min(lf_vf a, lf_vf b) { return _mm512_min_ps(a, b); }
LF_INLINE lf_vf lf_fma(lf_vf a, lf_vf b, lf_vf c) { return _mm512_fmadd_ps(a, b, c); }
LF_INLINE lf_vi lf_round(lf_vf v) { return _mm512_cvtps_epi32(v); }
LF_INLINE lf_vf lf_from_int(lf_vi v) { return _mm512_cvtepi32_ps(v); }
LF_INLINE lf_vf lf_power(lf_vi n) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)); }
LF_INLINE lf_vf lf_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
LF_INLINE void lf_put_f16(uint16_t *p, lf_vf v) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, 0)); }
LF_INLINE lf_vf lf_load_bf16(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
#elif defined(__AVX__)
#define LF_W 8
typedef __m256 lf_vf;
typedef __m256i lf_vi;
LF_INLINE lf_vf lf_set(float x) { return _mm256_set1_ps(x); }
LF_INLINE lf_vf lf_load(const float *p) { return _mm256_loadu_ps(p); }
LF_INLINE void lf_put(float *p, lf_vf v) { _mm256_storeu_ps(p, v); }
LF_INLINE lf_vf lf_max(lf_vf a, lf_vf b) { return _mm256_max_ps(a, b); }
LF_INLINE lf_vf lf_min(lf_vf a, lf_vf b) { return _mm256_min_ps(a, b); }
#ifdef __FMA__
LF_INLINE lf_vf lf_fma(lf_vf a, lf_vf b, lf_vf c) { return _mm256_fmadd_ps(a, b, c); }
#else
LF_INLINE lf_vf lf_fma(lf_vf a, lf_vf b, lf_vf c) { return _mm256_add_ps(_mm256_mul_ps(a, b), c); }
#endif
LF_INLINE lf_vi lf_round(lf_vf v) { return _mm256_cvtps_epi32(v); }
LF_INLINE lf_vf lf_from_int(lf_vi v) { return _mm256_cvtepi32_ps(v); }
#ifdef __AVX2__
LF_INLINE lf_vf lf_power(lf_vi n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
LF_INLINE lf_vf lf_load_bf16(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
#else
LF_INLINE lf_vf lf_power(lf_vi n) {
    __m128i one = _mm_set1_epi32(127);
    __m128i low = _mm_slli_epi32(_mm_add_epi32(_mm256_castsi256_si128(n), one), 23);
    __m128i high = _mm_slli_epi32(_mm_add_epi32(_mm256_extractf128_si256(n, 1), one), 23);
    return _mm256_castsi256_ps(_mm256_insertf128_si256(_mm256_castsi128_si256(low), high, 1));
}
#define LF_SCALAR_BF16
#endif
#ifdef __F16C__
LF_INLINE lf_vf lf_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
LF_INLINE void lf_put_f16(uint16_t *p, lf_vf v) { _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, 0)); }
#else
#define LF_SCALAR_F16
#endif
#elif defined(__SSE2__)
#define LF_W 4
typedef __m128 lf_vf;
typedef __m128i lf_vi;
LF_INLINE lf_vf lf_set(float x) { return _mm_set1_ps(x); }
LF_INLINE lf_vf lf_load(const float *p) { return _mm_loadu_ps(p); }
LF_INLINE void lf_put(float *p, lf_vf v) { _mm_storeu_ps(p, v); }
LF_INLINE lf_vf lf_max(lf_vf a, lf_vf b) { return _mm_max_ps(a, b); }
LF_INLINE lf_vf lf_min(lf_vf a, lf_vf b) { return _mm_min_ps(a, b); }
LF_INLINE lf_vf lf_fma(lf_vf a, lf_vf b, lf_vf c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
LF_INLINE lf_vi lf_round(lf_vf v) { return _mm_cvtps_epi32(v); }
LF_INLINE lf_vf lf_from_int(lf_vi v) { return _mm_cvtepi32_ps(v); }
LF_INLINE lf_vf lf_power(lf_vi n) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(n, _mm_set1_epi32(127)), 23)); }
#define LF_SCALAR_F16
#define LF_SCALAR_BF16
#else
#define LF_W 4
typedef float lf_vf __attribute__((vector_size(16)));
typedef int32_t lf_vi __attribute__((vector_size(16)));
LF_INLINE lf_vf lf_set(float x) { return (lf_vf){x, x, x, x}; }
LF_INLINE lf_vf lf_load(const float *p) {
    lf_vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
LF_INLINE void lf_put(float *p, lf_vf v) { memcpy(p, &v, sizeof v); }
LF_INLINE lf_vf lf_max(lf_vf a, lf_vf b) {
    for (int i = 0; i < LF_W; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
LF_INLINE lf_vf lf_min(lf_vf a, lf_vf b) {
    for (int i = 0; i < LF_W; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}
LF_INLINE lf_vf lf_fma(lf_vf a, lf_vf b, lf_vf c) { return a * b + c; }
LF_INLINE lf_vi lf_round(lf_vf v) {
    lf_vi n;
    for (int i = 0; i < 4; i++) n[i] = (int32_t)rintf(v[i]);
    return n;
}
LF_INLINE lf_vf lf_from_int(lf_vi v) { return __builtin_convertvector(v, lf_vf); }
LF_INLINE lf_vf lf_power(lf_vi n) { return (lf_vf)((n + 127) << 23); }
#define LF_SCALAR_F16
#define LF_SCALAR_BF16
#endif

#ifdef LF_SCALAR_F16
LF_INLINE lf_vf lf_load_f16(const uint16_t *p) {
    float f[LF_W];
    for (int i = 0; i < LF_W; i++) f[i] = lf_half(p[i]);
    return lf_load(f);
}
LF_INLINE void lf_put_f16(uint16_t *p, lf_vf v) {
    float f[LF_W];
    lf_put(f, v);
    for (int i = 0; i < LF_W; i++) p[i] = lf_to_half(f[i]);
}
#endif
#ifdef LF_SCALAR_BF16
LF_INLINE lf_vf lf_load_bf16(const uint16_t *p) {
    uint32_t u[LF_W];
    float f[LF_W];
    for (int i = 0; i < LF_W; i++) u[i] = (uint32_t)p[i] << 16;
    memcpy(f, u, sizeof f);
    return lf_load(f);
}
#endif

/* The sum of the lanes, halves added to halves: the same order for every caller. The largest lane. */
#if defined(__AVX__)
#if defined(__AVX512F__)
LF_INLINE __m256 lf_upper(__m512 v) { return _mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(v), 1)); }
LF_INLINE __m256 lf_half_sum(lf_vf v) { return _mm256_add_ps(_mm512_castps512_ps256(v), lf_upper(v)); }
LF_INLINE __m256 lf_half_largest(lf_vf v) { return _mm256_max_ps(_mm512_castps512_ps256(v), lf_upper(v)); }
#else
LF_INLINE __m256 lf_half_sum(lf_vf v) { return v; }
LF_INLINE __m256 lf_half_largest(lf_vf v) { return v; }
#endif
LF_INLINE float lf_sum(lf_vf v) {
    __m256 half = lf_half_sum(v);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
/* lf_sum of each of four vectors, side by side. */
LF_INLINE void lf_put_sums(float *out, const lf_vf v[4]) {
    __m128 four[4], two[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256 half = lf_half_sum(v[i]);
        four[i] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        two[i] = _mm_add_ps(_mm_movelh_ps(four[2 * i], four[2 * i + 1]), _mm_movehl_ps(four[2 * i + 1], four[2 * i]));
    _mm_storeu_ps(out, _mm_add_ps(_mm_shuffle_ps(two[0], two[1], 0x88), _mm_shuffle_ps(two[0], two[1], 0xdd)));
}
LF_INLINE float lf_largest(lf_vf v) {
    __m256 half = lf_half_largest(v);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
#else
LF_INLINE float lf_sum(lf_vf v) {
    float f[LF_W];
    lf_put(f, v);
    for (int n = LF_W / 2; n; n /= 2)
        for (int i = 0; i < n; i++) f[i] += f[i + n];
    return f[0];
}
LF_INLINE void lf_put_sums(float *out, const lf_vf v[4]) {
    for (int i = 0; i < 4; i++) out[i] = lf_sum(v[i]);
}
LF_INLINE float lf_largest(lf_vf v) {
    float f[LF_W];
    lf_put(f, v);
    for (int n = LF_W / 2; n; n /= 2)
        for (int i = 0; i < n; i++) f[i] = f[i] > f[i + n] ? f[i] : f[i + n];
    return f[0];
}
#endif

/* a * b + c on one number, rounded as lf_fma rounds. */
LF_INLINE float lf_fma1(float a, float b, float c) {
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* The first n lanes from memory, zero in the others; n below LF_W. */
LF_INLINE lf_vf lf_load_some(const float *p, int n) {
    float f[LF_W] = {0};
    memcpy(f, p, sizeof(float) * (size_t)n);
    return lf_load(f);
}

LF_INLINE void lf_put_some(float *p, lf_vf v, int n) {
    float f[LF_W];
    lf_put(f, v);
    memcpy(p, f, sizeof(float) * (size_t)n);
}

/* e to the x, within 2 ulp; 0 below -87.3. Reduction by ln 2 in two parts, then a polynomial of degree 6. */
LF_INLINE lf_vf lf_exp(lf_vf x) {
    lf_vf low = lf_set(-87.33654f);
    lf_vf y = lf_min(lf_max(x, low), lf_set(88.0f));
    lf_vi n = lf_round(y * lf_set(1.44269504f));
    lf_vf k = lf_from_int(n);
    lf_vf r = lf_fma(k, lf_set(-0.693359375f), y);
    r = lf_fma(k, lf_set(2.12194440e-4f), r);
    lf_vf p = lf_set(1.3888889e-3f);
    p = lf_fma(p, r, lf_set(8.3333333e-3f));
    p = lf_fma(p, r, lf_set(4.1666667e-2f));
    p = lf_fma(p, r, lf_set(1.6666667e-1f));
    p = lf_fma(p, r, lf_set(0.5f));
    p = lf_fma(p, r, lf_set(1.0f));
    p = lf_fma(p, r, lf_set(1.0f));
    lf_vf e = p * lf_power(n);
#if defined(__AVX512F__)
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, low, _CMP_GE_OQ), e);
#elif defined(__AVX__)
    return _mm256_and_ps(_mm256_cmp_ps(x, low, _CMP_GE_OQ), e);
#elif defined(__SSE2__)
    return _mm_and_ps(_mm_cmpge_ps(x, low), e);
#else
    return (lf_vf)((lf_vi)e & (x >= low));
#endif
}

/* tanh through exp: 1 - 2 / (e^2x + 1). */
LF_INLINE lf_vf lf_tanh(lf_vf x) {
    return lf_set(1.0f) - lf_set(2.0f) / (lf_exp(x + x) + lf_set(1.0f));
}
#endif
