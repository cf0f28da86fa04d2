/* Integer dot products as wide as the instruction set allows, and the floats that go with them: lanes are weight rows.

   lf_iv holds LF_IW int32, lf_if as many floats. lf_step takes one vector of weights (LF_IW rows x LF_STEP values of k, as a
   panel holds them) and LF_STEP activations of one column; with LF_UNSIGNED the weights are stored + 128. */
#ifndef LF_INT8_H
#define LF_INT8_H
#include "simd.h"

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define LF_IW 16
#define LF_STEP 4
#define LF_UNSIGNED 1
typedef __m512i lf_iv;
typedef __m512 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm512_setzero_si512(); }
LF_INLINE lf_iv lf_i_set(int32_t x) { return _mm512_set1_epi32(x); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm512_loadu_si512(p); }
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return _mm512_add_epi32(a, b); }
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(four));
}
LF_INLINE lf_if lf_if_set(float x) { return _mm512_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm512_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm512_storeu_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm512_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX512BW__)
#define LF_IW 16
#define LF_STEP 2
#define LF_UNSIGNED 0
typedef __m512i lf_iv;
typedef __m512 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm512_setzero_si512(); }
LF_INLINE lf_iv lf_i_set(int32_t x) { return _mm512_set1_epi32(x); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm512_loadu_si512(p); }
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return _mm512_add_epi32(a, b); }
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int32_t two;
    memcpy(&two, x, 4);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(w, _mm512_set1_epi32(two)));
}
LF_INLINE lf_if lf_if_set(float x) { return _mm512_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm512_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm512_storeu_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm512_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__)
#define LF_IW 8
typedef __m256i lf_iv;
typedef __m256 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm256_setzero_si256(); }
LF_INLINE lf_iv lf_i_set(int32_t x) { return _mm256_set1_epi32(x); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return _mm256_add_epi32(a, b); }
#ifdef __AVXVNNI__
#define LF_STEP 4
#define LF_UNSIGNED 1
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return _mm256_dpbusd_avx_epi32(acc, w, _mm256_set1_epi32(four));
}
#else
#define LF_STEP 2
#define LF_UNSIGNED 0
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int32_t two;
    memcpy(&two, x, 4);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(w, _mm256_set1_epi32(two)));
}
#endif
LF_INLINE lf_if lf_if_set(float x) { return _mm256_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm256_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm256_storeu_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm256_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm256_fmadd_ps(a, b, c); }
#elif defined(__SSE2__)
#define LF_IW 4
#define LF_STEP 2
#define LF_UNSIGNED 0
typedef __m128i lf_iv;
typedef __m128 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm_setzero_si128(); }
LF_INLINE lf_iv lf_i_set(int32_t x) { return _mm_set1_epi32(x); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return _mm_add_epi32(a, b); }
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int32_t two;
    memcpy(&two, x, 4);
    return _mm_add_epi32(acc, _mm_madd_epi16(w, _mm_set1_epi32(two)));
}
LF_INLINE lf_if lf_if_set(float x) { return _mm_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm_storeu_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
#else
#define LF_IW 4
#define LF_STEP 2
#define LF_UNSIGNED 0
typedef int32_t lf_iv __attribute__((vector_size(16)));
typedef float lf_if __attribute__((vector_size(16)));
LF_INLINE lf_iv lf_i_set(int32_t x) { return (lf_iv){x, x, x, x}; }
LF_INLINE lf_iv lf_i_zero(void) { return lf_i_set(0); }
LF_INLINE lf_iv lf_i_load(const void *p) {
    lf_iv v;
    memcpy(&v, p, sizeof v);
    return v;
}
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return a + b; }
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int16_t two[2], ws[8];
    memcpy(two, x, 4);
    memcpy(ws, &w, 16);
    for (int i = 0; i < 4; i++) acc[i] += ws[2 * i] * two[0] + ws[2 * i + 1] * two[1];
    return acc;
}
LF_INLINE lf_if lf_if_set(float x) { return (lf_if){x, x, x, x}; }
LF_INLINE lf_if lf_if_load(const float *p) {
    lf_if v;
    memcpy(&v, p, sizeof v);
    return v;
}
LF_INLINE void lf_if_put(float *p, lf_if v) { memcpy(p, &v, sizeof v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return __builtin_convertvector(v, lf_if); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return a * b + c; }
#endif

/* Several weight rows against one activation row, both int8 and contiguous in k: lanes are rows, LF_DW of them. */
#if defined(__AVX2__)
#define LF_DW 8
typedef __m256i lf_dv;
typedef __m256 lf_df;
LF_INLINE lf_df lf_df_set(float x) { return _mm256_set1_ps(x); }
LF_INLINE lf_df lf_df_load(const float *p) { return _mm256_loadu_ps(p); }
LF_INLINE void lf_df_put(float *p, lf_df v) { _mm256_storeu_ps(p, v); }
LF_INLINE lf_df lf_df_of(lf_dv v) { return _mm256_cvtepi32_ps(v); }
LF_INLINE lf_df lf_df_fma(lf_df a, lf_df b, lf_df c) { return _mm256_fmadd_ps(a, b, c); }
LF_INLINE lf_dv lf_d_add(lf_dv a, lf_dv b) { return _mm256_add_epi32(a, b); }

/* 32 products as 8 sums: lanes 0 to 3 of the first 16 values, lanes 4 to 7 of the other 16. */
LF_INLINE __m256i lf_dot32(const int8_t *w, __m256i x) {
    __m256i v = _mm256_loadu_si256((const __m256i *)w);
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80)), x);
#elif defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80)), x);
#else
    __m256i low = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(v)),
                                    _mm256_cvtepi8_epi16(_mm256_castsi256_si128(x)));
    __m256i high = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(v, 1)),
                                     _mm256_cvtepi8_epi16(_mm256_extracti128_si256(x, 1)));
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
#endif
}

/* The dot products of 8 rows (`stride` apart) with x over 32 values: of the first 16, and of the other 16. */
LF_INLINE void lf_dot_rows(const int8_t *w, int64_t stride, const int8_t *x, lf_dv *first, lf_dv *second) {
    __m256i a = _mm256_loadu_si256((const __m256i *)x), p[4], q[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i even = lf_dot32(w + 2 * i * stride, a), odd = lf_dot32(w + (2 * i + 1) * stride, a);
        p[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        q[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(p[2 * i], p[2 * i + 1]), _mm256_unpackhi_epi64(p[2 * i], p[2 * i + 1]));
    *first = _mm256_permute2x128_si256(q[0], q[1], 0x20);
    *second = _mm256_permute2x128_si256(q[0], q[1], 0x31);
}
/* The correction for weights read as + 128. */
LF_INLINE lf_dv lf_d_correct(lf_dv v, int32_t total) {
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    return _mm256_sub_epi32(v, _mm256_set1_epi32(128 * total));
#else
    (void)total;
    return v;
#endif
}
#else
#define LF_DW 4
typedef lf_iv lf_dv;
typedef lf_if lf_df;
LF_INLINE lf_df lf_df_set(float x) { return lf_if_set(x); }
LF_INLINE lf_df lf_df_load(const float *p) { return lf_if_load(p); }
LF_INLINE void lf_df_put(float *p, lf_df v) { lf_if_put(p, v); }
LF_INLINE lf_df lf_df_of(lf_dv v) { return lf_if_of(v); }
LF_INLINE lf_df lf_df_fma(lf_df a, lf_df b, lf_df c) { return lf_if_fma(a, b, c); }
LF_INLINE lf_dv lf_d_add(lf_dv a, lf_dv b) { return lf_i_add(a, b); }
LF_INLINE void lf_dot_rows(const int8_t *w, int64_t stride, const int8_t *x, lf_dv *first, lf_dv *second) {
    int32_t sums[2][4];
    for (int r = 0; r < 4; r++)
        for (int half = 0; half < 2; half++) {
            int32_t sum = 0;
            for (int i = 0; i < 16; i++) sum += (int32_t)w[r * stride + half * 16 + i] * x[half * 16 + i];
            sums[half][r] = sum;
        }
    *first = lf_i_load(sums[0]);
    *second = lf_i_load(sums[1]);
}
LF_INLINE lf_dv lf_d_correct(lf_dv v, int32_t total) {
    (void)total;
    return v;
}
#endif
#endif
