/* Integer dot products as wide as the instruction set allows, and the floats that go with them: lanes are weight rows.

   lf_iv holds LF_IW int32, lf_if as many floats. Weights lie in panels: for each LF_STEP values of k, those of LF_IW rows side
   by side in one vector. Activations lie in blocks of 32 (lf_a8_block), a row's blocks one after the other. lf_step adds the
   products of one vector of weights with LF_STEP activations of one column.

   How weights are stored, so that every sum is exact:
   - LF_STEP 4 with a dot instruction (VNNI): unsigned bytes. Formats with a bias keep their natural values; others are stored
     plus 128, and the dot begins with -128 times the activations' sum;
   - LF_STEP 4 without: small values (below 64) unsigned, those of signed formats plus an offset, multiplied by maddubs and summed
     in 16 bits as long as that cannot overflow; larger ones plus 128 in halves, a vector of low nibbles and one of high ones;
   - LF_STEP 2: 16 bits, signed, as they are. */
#ifndef LF_INT8_H
#define LF_INT8_H
#include "simd.h"
#include "a8.h"

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define LF_IW 16
#define LF_STEP 4
#define LF_VNNI 1
#define LF_COLUMNS 6
#elif defined(__AVX512BW__)
#define LF_IW 16
#define LF_STEP 4
#define LF_VNNI 0
#define LF_COLUMNS 4
#elif defined(__AVXVNNI__)
#define LF_IW 8
#define LF_STEP 4
#define LF_VNNI 1
#define LF_COLUMNS 3
#elif defined(__AVX2__)
#define LF_IW 8
#define LF_STEP 4
#define LF_VNNI 0
#define LF_COLUMNS 2
#else
#define LF_IW 4
#define LF_STEP 2
#define LF_VNNI 0
#define LF_COLUMNS 2
#endif
/* LF_COLUMNS: columns that fit the registers beside LF_PANELS vectors of weights. */
#define LF_PANELS 2

/* How large stored values are: below 64, any byte, below 16. Without a dot instruction as many products stay in 16 bits. */
enum { LF_SMALL, LF_ANY_BYTE, LF_NIBBLE };
#define LF_HALVES (LF_STEP == 4 && !LF_VNNI) /* whether any bytes lie in halves */
/* Vectors of a panel for LF_STEP values of k. */
LF_INLINE int lf_vectors(int values) { return 1 + (LF_HALVES && values == LF_ANY_BYTE); }

#if LF_HALVES
/* How many pairs of products of small values stay in 16 bits: of groups of 16 two of 63 * 127 * 2, of groups of 32 four of
   31 * 127 * 2. */
LF_INLINE int lf_in_16_bits(int group) { return group == 16 ? 2 : 4; }
#endif

/* A block of 32 activations; sums are of q, so that no product needs to take them again. */
typedef struct {
#if LF_STEP == 4
    int8_t q[32];
#else
    int16_t q[32];
#endif
    float scale;                  /* the largest magnitude / 127 */
    float sum32, sum16[2];        /* scale * the sum of q, and of each half: they multiply the bias of a weight's group */
    int32_t total32, total16[2];  /* -128 * the same sums: where the dot of a group begins if its weights are stored + 128 */
#if LF_STEP == 4
    int32_t unused;
#endif
} lf_a8_block;
_Static_assert(sizeof(lf_a8_block) <= LF_A8_BLOCK_BYTES, "a8.h plans with this");

/* Blocks from a row of k activations to the next. Where a block is a cache line their number is odd: rows of 2048 values would lie
   4096 bytes apart, and the twelve that a tile loads at once would share one set of the first cache. */
LF_INLINE int64_t lf_a8_step(int64_t k) { return LF_STEP == 4 ? lf_a8_blocks(k) | 1 : lf_a8_blocks(k); }
#if LF_STEP == 4
_Static_assert(sizeof(lf_a8_block) == 64 && 2 * LF_A8_BLOCK_BYTES > 128, "even two blocks leave room for a third");
#endif

/* Row i of activations of k values. */
LF_INLINE lf_a8_block *lf_a8_row(void *data, int64_t k, int64_t i) {
    return (lf_a8_block *)data + i * lf_a8_step(k);
}

#if LF_IW == 16
typedef __m512i lf_iv;
typedef __m512 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm512_setzero_si512(); }
LF_INLINE lf_iv lf_i_set(int32_t x) { return _mm512_set1_epi32(x); }
LF_INLINE lf_iv lf_i_bytes(int x) { return _mm512_set1_epi8((char)x); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm512_loadu_si512(p); }
LF_INLINE void lf_i_put(void *p, lf_iv v) { _mm512_storeu_si512(p, v); }
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return _mm512_add_epi32(a, b); }
LF_INLINE lf_iv lf_i_add8(lf_iv a, lf_iv b) { return _mm512_add_epi8(a, b); }
LF_INLINE lf_iv lf_i_and(lf_iv a, lf_iv b) { return _mm512_and_si512(a, b); }
LF_INLINE lf_iv lf_i_or(lf_iv a, lf_iv b) { return _mm512_or_si512(a, b); }
LF_INLINE lf_iv lf_i_right(lf_iv a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
LF_INLINE lf_iv lf_i_left(lf_iv a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
LF_INLINE lf_iv lf_i_signed_right(lf_iv a, int n) { return _mm512_srai_epi32(a, (unsigned)n); }
LF_INLINE lf_if lf_if_set(float x) { return _mm512_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm512_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm512_storeu_ps(p, v); }
LF_INLINE void lf_if_stream(float *p, lf_if v) { _mm512_stream_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm512_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm512_fmadd_ps(a, b, c); }
#elif LF_IW == 8
typedef __m256i lf_iv;
typedef __m256 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm256_setzero_si256(); }
LF_INLINE lf_iv lf_i_set(int32_t x) { return _mm256_set1_epi32(x); }
LF_INLINE lf_iv lf_i_bytes(int x) { return _mm256_set1_epi8((char)x); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
LF_INLINE void lf_i_put(void *p, lf_iv v) { _mm256_storeu_si256((__m256i *)p, v); }
LF_INLINE lf_iv lf_i_add(lf_iv a, lf_iv b) { return _mm256_add_epi32(a, b); }
LF_INLINE lf_iv lf_i_add8(lf_iv a, lf_iv b) { return _mm256_add_epi8(a, b); }
LF_INLINE lf_iv lf_i_and(lf_iv a, lf_iv b) { return _mm256_and_si256(a, b); }
LF_INLINE lf_iv lf_i_or(lf_iv a, lf_iv b) { return _mm256_or_si256(a, b); }
LF_INLINE lf_iv lf_i_right(lf_iv a, int n) { return _mm256_srli_epi32(a, n); }
LF_INLINE lf_iv lf_i_left(lf_iv a, int n) { return _mm256_slli_epi32(a, n); }
LF_INLINE lf_iv lf_i_signed_right(lf_iv a, int n) { return _mm256_srai_epi32(a, n); }
LF_INLINE lf_if lf_if_set(float x) { return _mm256_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm256_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm256_storeu_ps(p, v); }
LF_INLINE void lf_if_stream(float *p, lf_if v) { _mm256_stream_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm256_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm256_fmadd_ps(a, b, c); }
#elif defined(__SSE2__)
typedef __m128i lf_iv;
typedef __m128 lf_if;
LF_INLINE lf_iv lf_i_zero(void) { return _mm_setzero_si128(); }
LF_INLINE lf_iv lf_i_load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, const void *x) {
    int32_t two;
    memcpy(&two, x, 4);
    return _mm_add_epi32(acc, _mm_madd_epi16(w, _mm_set1_epi32(two)));
}
LF_INLINE lf_if lf_if_set(float x) { return _mm_set1_ps(x); }
LF_INLINE lf_if lf_if_load(const float *p) { return _mm_loadu_ps(p); }
LF_INLINE void lf_if_put(float *p, lf_if v) { _mm_storeu_ps(p, v); }
LF_INLINE void lf_if_stream(float *p, lf_if v) { _mm_stream_ps(p, v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return _mm_cvtepi32_ps(v); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
#else
typedef int32_t lf_iv __attribute__((vector_size(16)));
typedef float lf_if __attribute__((vector_size(16)));
LF_INLINE lf_iv lf_i_zero(void) { return (lf_iv){0, 0, 0, 0}; }
LF_INLINE lf_iv lf_i_load(const void *p) {
    lf_iv v;
    memcpy(&v, p, sizeof v);
    return v;
}
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
LF_INLINE void lf_if_stream(float *p, lf_if v) { memcpy(p, &v, sizeof v); }
LF_INLINE lf_if lf_if_of(lf_iv v) { return __builtin_convertvector(v, lf_if); }
LF_INLINE lf_if lf_if_fma(lf_if a, lf_if b, lf_if c) { return a * b + c; }
#endif

#define LF_VECTOR ((int)sizeof(lf_iv))

/* 32 integers of -127 .. 127 as a block holds them; sums receives the sum of each half. */
#if LF_STEP == 4
LF_INLINE int32_t lf_i_sum(__m256i v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}
LF_INLINE void lf_pack_block(const lf_vi v[32 / LF_W], int8_t *q, int32_t sums[2]) {
#if LF_W == 16
    for (int i = 0; i < 2; i++) {
        _mm_storeu_si128((__m128i *)q + i, _mm512_cvtsepi32_epi8(v[i]));
        sums[i] = lf_i_sum(_mm256_add_epi32(_mm512_castsi512_si256(v[i]), _mm512_extracti64x4_epi64(v[i], 1)));
    }
#else
    for (int i = 0; i < 2; i++) {
        __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v[2 * i], v[2 * i + 1]), 0xd8);
        _mm_storeu_si128((__m128i *)q + i, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
        sums[i] = lf_i_sum(_mm256_add_epi32(v[2 * i], v[2 * i + 1]));
    }
#endif
}
#else
LF_INLINE void lf_pack_block(const lf_vi v[32 / LF_W], int16_t *q, int32_t sums[2]) {
    int32_t all[32];
    memcpy(all, v, sizeof all);
    sums[0] = sums[1] = 0;
    for (int i = 0; i < 32; i++) q[i] = (int16_t)all[i], sums[i / 16] += all[i];
}
#endif

#if LF_STEP == 4
LF_INLINE lf_iv lf_i_four(const void *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return lf_i_set(four);
}
#if LF_VNNI && LF_IW == 16
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, lf_iv x) { return _mm512_dpbusd_epi32(acc, w, x); }
#elif LF_VNNI
LF_INLINE lf_iv lf_step(lf_iv acc, lf_iv w, lf_iv x) { return _mm256_dpbusd_avx_epi32(acc, w, x); }
#elif LF_IW == 16
LF_INLINE lf_iv lf_pairs(lf_iv w, lf_iv x) { return _mm512_maddubs_epi16(w, x); }
LF_INLINE lf_iv lf_widen_times(lf_iv v, int16_t n) { return _mm512_madd_epi16(v, _mm512_set1_epi16(n)); }
LF_INLINE lf_iv lf_signed_pairs(lf_iv w, lf_iv x) {
    return _mm512_maddubs_epi16(_mm512_abs_epi8(w), _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), lf_i_zero(), x));
}
#else
LF_INLINE lf_iv lf_pairs(lf_iv w, lf_iv x) { return _mm256_maddubs_epi16(w, x); }
LF_INLINE lf_iv lf_widen_times(lf_iv v, int16_t n) { return _mm256_madd_epi16(v, _mm256_set1_epi16(n)); }
LF_INLINE lf_iv lf_signed_pairs(lf_iv w, lf_iv x) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
#endif
#if LF_HALVES
LF_INLINE lf_iv lf_widen(lf_iv v) { return lf_widen_times(v, 1); }
/* Compilers would make trees of these sums, for which there are too few registers. */
LF_INLINE lf_iv lf_add16(lf_iv a, lf_iv b) {
#if LF_IW == 16
    lf_iv sum = _mm512_add_epi16(a, b);
#else
    lf_iv sum = _mm256_add_epi16(a, b);
#endif
    __asm__("" : "+v"(sum));
    return sum;
}
#endif
#endif
#endif
