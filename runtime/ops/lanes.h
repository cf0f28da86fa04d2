/* Bringing bytes of LF_IW weight rows side by side in registers: what the fast loaders beside the formats are made of. */
#ifndef LF_LANES_H
#define LF_LANES_H
#include "int8.h"
#if LF_STEP == 4

typedef uint16_t lf_loose16 __attribute__((aligned(1), may_alias));
typedef uint32_t lf_loose32 __attribute__((aligned(1), may_alias));

#define LF_BATCH 8 /* groups whose scales are collected before they are converted: the stores must have left by then */

/* 16 bytes each of rows 0, 4, 8, 12 (or 0, 4). */
LF_INLINE lf_iv lf_quad(const char *p, int64_t four) {
    __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
                                          _mm_loadu_si128((const __m128i *)(p + four)), 1);
#if LF_IW == 16
    __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + 2 * four))),
                                           _mm_loadu_si128((const __m128i *)(p + 3 * four)), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#else
    return low;
#endif
}

#if LF_IW == 16
#define LF_LANE_OP(name) _mm512_##name
#else
#define LF_LANE_OP(name) _mm256_##name
#endif

/* 16 bytes of every row: v[j] holds bytes 4j .. 4j + 3 of all rows, row after row. */
LF_INLINE void lf_sixteen(const char *p, int64_t stride, lf_iv v[4]) {
    lf_iv a = lf_quad(p, 4 * stride), b = lf_quad(p + stride, 4 * stride);
    lf_iv c = lf_quad(p + 2 * stride, 4 * stride), d = lf_quad(p + 3 * stride, 4 * stride);
    lf_iv ab = LF_LANE_OP(unpacklo_epi32)(a, b), cd = LF_LANE_OP(unpacklo_epi32)(c, d);
    v[0] = LF_LANE_OP(unpacklo_epi64)(ab, cd), v[1] = LF_LANE_OP(unpackhi_epi64)(ab, cd);
    ab = LF_LANE_OP(unpackhi_epi32)(a, b), cd = LF_LANE_OP(unpackhi_epi32)(c, d);
    v[2] = LF_LANE_OP(unpacklo_epi64)(ab, cd), v[3] = LF_LANE_OP(unpackhi_epi64)(ab, cd);
}

/* Scales lie too far apart for vector loads, so they are collected one by one, [block][row], and converted later, all of a
   batch at once, when the stores have left. Volatile: compilers would build vectors from them, at three times the cost. */
LF_INLINE void lf_collect16(const char *p, int64_t stride, int64_t n, int64_t size, uint16_t out[][LF_IW]) {
    for (int r = 0; r < LF_IW; r++, p += stride)
        for (int64_t i = 0; i < n; i++) *(volatile uint16_t *)&out[i][r] = *(const lf_loose16 *)(p + i * size);
}

LF_INLINE void lf_collect32(const char *p, int64_t stride, int64_t n, int64_t size, uint32_t out[][LF_IW]) {
    for (int r = 0; r < LF_IW; r++, p += stride)
        for (int64_t i = 0; i < n; i++) *(volatile uint32_t *)&out[i][r] = *(const lf_loose32 *)(p + i * size);
}

LF_INLINE lf_if lf_halves(const uint16_t *p) { return lf_load_f16(p); }

/* The halves in the low (high: shift 16) parts of each row's dword. */
LF_INLINE lf_if lf_halves_of(lf_iv v, int shift) {
#if LF_IW == 16
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, (unsigned)shift)));
#else
    __m256i low = _mm256_and_si256(_mm256_srli_epi32(v, shift), _mm256_set1_epi32(0xffff));
    return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
#endif
}

/* The value of a small signed format as a panel stores it: LF_STORED(o) is added to its natural unsigned value q + o. */
#define LF_STORED(offset) (LF_VNNI ? 128 - (offset) : 0)
LF_INLINE lf_iv lf_stored(lf_iv v, int offset) { return LF_VNNI ? lf_i_add8(v, lf_i_bytes(LF_STORED(offset))) : v; }
/* The value of a wide signed format. */
LF_INLINE lf_iv lf_stored_wide(lf_iv v) { return LF_VNNI ? lf_i_add8(v, lf_i_bytes(128)) : v; }

LF_INLINE lf_iv lf_lookup(const int8_t table[16], lf_iv index) {
    __m128i t = _mm_loadu_si128((const __m128i *)table);
#if LF_IW == 16
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), index);
#else
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), index);
#endif
}

/* v with 16 added to the bytes whose bit is set: byte j of the i-th vector has bit 4i + j of its row's 32 bits. */
LF_INLINE lf_iv lf_fifth_bit(lf_iv v, lf_iv bits, int i) {
    lf_iv pick = lf_i_set(0x01010101 * (i / 2));
    const int at[4] = {0, 0x04040404, 0x08080808, 0x0c0c0c0c};
    lf_iv test = lf_i_set(i % 2 ? (int)0x80402010 : 0x08040201);
#if LF_IW == 16
    lf_iv each = _mm512_broadcast_i32x4(_mm_setr_epi32(at[0], at[1], at[2], at[3]));
    lf_iv spread = _mm512_shuffle_epi8(bits, _mm512_add_epi8(each, pick));
    return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(spread, test), v, lf_i_bytes(16));
#else
    lf_iv each = _mm256_broadcastsi128_si256(_mm_setr_epi32(at[0], at[1], at[2], at[3]));
    lf_iv spread = _mm256_and_si256(_mm256_shuffle_epi8(bits, _mm256_add_epi8(each, pick)), test);
    return _mm256_or_si256(v, _mm256_and_si256(_mm256_cmpeq_epi8(spread, test), lf_i_bytes(16)));
#endif
}

LF_INLINE lf_iv lf_low(lf_iv v) { return lf_i_and(v, lf_i_bytes(15)); }
LF_INLINE lf_iv lf_high(lf_iv v) { return lf_i_and(lf_i_right(v, 4), lf_i_bytes(15)); }

/* The j-th byte of each row's dword, unsigned and signed. */
LF_INLINE lf_iv lf_byte(lf_iv v, int j) { return lf_i_and(lf_i_right(v, 8 * j), lf_i_set(255)); }
LF_INLINE lf_iv lf_signed_byte(lf_iv v, int j) { return lf_i_signed_right(lf_i_left(v, 24 - 8 * j), 24); }

/* Ask for n bytes of memory ahead: the rows of panels to come lie in one stretch, but are read sixteen at once, in an order
   that no processor foresees. The requests stand between the loads: a burst of them would hold the loads up. */
LF_INLINE const char *lf_ask(const char *p, int n) {
    for (int i = 0; i < n; i += 64) __builtin_prefetch(p + i, 0, 3);
    return p + n;
}

/* A fast loader: `blocks` blocks of LF_IW rows (`stride` apart) into a panel, scales and biases as [group][row]; meanwhile as
   many bytes are asked for at `ask`. */
#define LF_FILL(name)                                                                                          \
    static void lf_fill_##name(const char *rows, int64_t stride, int64_t blocks, char *values, float *scale,   \
                               LF_UNUSED float *bias, const char *ask)
#endif
#endif
