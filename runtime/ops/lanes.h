/* Bringing bytes of LF_IW weight rows side by side in registers: what the fast loaders beside the formats are made of. */
#ifndef LF_LANES_H
#define LF_LANES_H
#include "int8.h"
/* What is asked for meanwhile: memory from `at` on; from `edge` on what lies `jump` bytes further, where this thread goes on. */
typedef struct {
    const char *at, *edge;
    int64_t jump;
} lf_asked;

#if LF_STEP == 4

typedef uint16_t lf_loose16 __attribute__((aligned(1), may_alias));
typedef uint32_t lf_loose32 __attribute__((aligned(1), may_alias));

#define LF_BATCH 8 /* groups whose scales are collected before they are converted: the stores must have left by then */
#define LF_STRIP 8 /* blocks of a strip: of any even size they fill whole sixteens */
#define LF_STRIP_DWORDS (LF_STRIP * 34 / 4)

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

/* The bytes 2 and 3 of each dword of `low`, then 0 and 1 of `high`. */
LF_INLINE lf_iv lf_i_funnel(lf_iv low, lf_iv high) {
#if LF_IW == 16
    return _mm512_rol_epi32(_mm512_mask_mov_epi16(high, 0xaaaaaaaa, low), 16);
#else
    __m256i turn = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                                    2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    return _mm256_shuffle_epi8(_mm256_blend_epi16(high, low, 0xaa), turn);
#endif
}

/* Where a loader takes its blocks from: LF_IW plain rows, or as many lanes of a panel that is laid out (quants/laid_out.py).
   All but the pointers are constants when the loader is compiled. */
typedef struct {
    const char *at;     /* the block of the first row; laid out: its first dword */
    const char *odd;    /* laid out: the bytes that fill no dword, of the block's first row */
    int64_t stride;     /* plain: from row to row */
    int laid, size, odds, lead; /* bytes of a block; how many fill no dword, and how many of these stand in front */
    int natural;                /* small signed values are given as q + offset, as no panel will be read by others */
    lf_asked ask;
    /* Plain blocks, or the beginning of one, that have been read in sixteens, or 0: the dwords of every row. How many bytes these
       are of a row, and where among them the block at hand begins: constants, as the dwords are registers. */
    const lf_iv *strip;
    int reach, begins;
} lf_source;

/* Read what the block at byte `begins` of a strip has beyond the sixteens that those before it have. */
LF_INLINE void lf_read_strip(const lf_source *s, int begins, lf_iv dwords[]) {
#pragma GCC unroll 4
    for (int i = (begins + 15) / 16 * 16; i < begins + s->size; i += 16) lf_sixteen(s->at + i, s->stride, dwords + i / 4);
}

/* Read what a block of values has in front of these. */
LF_INLINE void lf_read_head(const lf_source *s, lf_iv dwords[4]) { lf_sixteen(s->at, s->stride, dwords); }

/* A source as it is at a block of what has been read. */
LF_INLINE lf_source lf_in_strip(lf_source s, const lf_iv *dwords, int reach, int begins) {
    s.strip = dwords, s.reach = reach, s.begins = begins;
    return s;
}

/* Four bytes of every row's block from `byte` on, which is even. */
LF_INLINE lf_iv lf_strip_four(const lf_source *s, int byte) {
    const lf_iv *at = s->strip + (s->begins + byte) / 4;
    return (s->begins + byte) % 4 ? lf_i_funnel(at[0], at[1]) : at[0];
}

/* Go on by n blocks. */
LF_INLINE void lf_advance(lf_source *s, int64_t n) {
    s->at += n * (s->laid ? (s->size - s->odds) * LF_PANEL_ROWS : s->size);
    s->odd += n * s->odds * LF_PANEL_ROWS;
}

/* Ask for n bytes of memory ahead. Of plain rows, the panels to come lie in one stretch, but are read sixteen at once, in an order
   that no processor foresees. The requests stand between the loads: a burst of them would hold the loads up. */
LF_INLINE void lf_ask(lf_source *s, int n) {
    for (int i = 0; i < n; i += 64) __builtin_prefetch(s->ask.at + i, 0, LF_ASK_INTO);
    s->ask.at += n;
    if (s->laid && s->ask.at >= s->ask.edge) s->ask.at += s->ask.jump, s->ask.edge = s->ask.at + (1 << 30);
}

/* Byte `byte` of each row's block and the three after it; it is the first of a dword. */
LF_INLINE lf_iv lf_laid(const lf_source *s, int byte) { return lf_i_load(s->at + (byte - s->lead) * LF_PANEL_ROWS); }

/* 16 bytes of every row's block from `byte` on, as lf_sixteen gives them. */
LF_INLINE void lf_sixteen_of(const lf_source *s, int byte, lf_iv v[4]) {
    if (!s->laid && (!s->strip || byte + 16 > s->reach - s->begins)) {
        lf_sixteen(s->at + byte, s->stride, v);
        return;
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) v[j] = s->laid ? lf_laid(s, byte + 4 * j) : lf_strip_four(s, byte + 4 * j);
}

/* Scales of plain rows lie too far apart for vector loads, so they are collected one by one, [block][row], and converted later,
   all of a batch at once, when the stores have left. Volatile: compilers would build vectors from them, at three times the cost. */
LF_INLINE void lf_collect16(const lf_source *s, int byte, int64_t n, uint16_t out[][LF_IW]) {
    const char *p = s->at + byte;
    for (int r = 0; r < LF_IW; r++, p += s->stride)
        for (int64_t i = 0; i < n; i++) *(volatile uint16_t *)&out[i][r] = *(const lf_loose16 *)(p + i * s->size);
}

LF_INLINE void lf_collect32(const lf_source *s, int byte, int64_t n, uint32_t out[][LF_IW]) {
    const char *p = s->at + byte;
    for (int r = 0; r < LF_IW; r++, p += s->stride)
        for (int64_t i = 0; i < n; i++) *(volatile uint32_t *)&out[i][r] = *(const lf_loose32 *)(p + i * s->size);
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
LF_INLINE lf_iv lf_stored(const lf_source *s, lf_iv v, int offset) {
    return LF_VNNI && !s->natural ? lf_i_add8(v, lf_i_bytes(LF_STORED(offset))) : v;
}
/* The value of a wide signed format. */
LF_INLINE lf_iv lf_stored_wide(lf_iv v) { return LF_VNNI ? lf_i_add8(v, lf_i_bytes(128)) : v; }

/* What a codebook has, as a wide signed format's value. */
LF_INLINE lf_iv lf_lookup(const int8_t table[16], lf_iv index) {
    __m128i t = _mm_add_epi8(_mm_loadu_si128((const __m128i *)table), _mm_set1_epi8(LF_VNNI ? -128 : 0));
#if LF_IW == 16
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), index);
#else
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), index);
#endif
}

/* v with 16 added to the bytes whose bit is set: byte j of the i-th vector has bit 4i + j of its row's 32 bits. */
LF_INLINE lf_iv lf_fifth_bit(lf_iv v, lf_iv bits, int i) {
    lf_iv pick = lf_i_set(0x01010101 * (i / 2));
    const int at[4] = {0, 0x04040404, 0x08080808, 0x0c0c0c0c}, upper = (int)0x80402010;
#if LF_IW == 16
    lf_iv each = _mm512_broadcast_i32x4(_mm_setr_epi32(at[0], at[1], at[2], at[3]));
    lf_iv spread = _mm512_shuffle_epi8(bits, _mm512_add_epi8(each, pick));
    return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(spread, lf_i_set(i % 2 ? upper : 0x08040201)), v, lf_i_bytes(16));
#else
    lf_iv each = _mm256_broadcastsi128_si256(_mm_setr_epi32(at[0], at[1], at[2], at[3]));
    lf_iv spread = _mm256_shuffle_epi8(bits, _mm256_add_epi8(each, pick));
    if (i % 2 == 0) spread = lf_i_left(spread, 4); /* to where those of odd vectors stand */
    return _mm256_or_si256(v, _mm256_min_epu8(lf_i_and(spread, lf_i_set(upper)), lf_i_bytes(16)));
#endif
}

LF_INLINE lf_iv lf_low(lf_iv v) { return lf_i_and(v, lf_i_bytes(15)); }
LF_INLINE lf_iv lf_high(lf_iv v) { return lf_i_and(lf_i_right(v, 4), lf_i_bytes(15)); }

/* The j-th byte of each row's dword, unsigned and signed. */
LF_INLINE lf_iv lf_byte(lf_iv v, int j) { return lf_i_and(lf_i_right(v, 8 * j), lf_i_set(255)); }
LF_INLINE lf_iv lf_signed_byte(lf_iv v, int j) { return lf_i_signed_right(lf_i_left(v, 24 - 8 * j), 24); }

/* Where a loader's values go: into a panel, or, never stored, into the sums of one column. All but pointers and sums are constants
   when the loader is compiled. */
typedef struct {
    char *panel;
    float *scale, *bias;
    int summed, group, biased, values, shift;
    int begun; /* whether dots begin at a multiple of the activations' sum: asking for biased and values here went through memory */
    const lf_a8_block *x;
    lf_iv dot[16]; /* of each group of a block; of nibbles without a dot instruction in 16 bits, without the beginning */
    lf_iv some[16]; /* of small values without a dot instruction: products of a group that are still in 16 bits */
    lf_if s[16], m[16], acc;
} lf_sink;

/* Whether dots are made of 16-bit sums at their end, and what is added then if they begin at a multiple of the activations' sum. */
LF_INLINE int lf_later(const lf_sink *to) { return LF_HALVES && to->values == LF_NIBBLE; }
LF_INLINE int32_t lf_total(const lf_sink *to, int g) {
    const lf_a8_block *x = to->x + g * to->group / 32;
    return to->group == 32 ? x->total32 : x->total16[g % 2];
}

/* Before a block: where the dots begin. */
LF_INLINE void lf_begin(lf_sink *to, int block) {
    if (!to->summed) return;
#pragma GCC unroll 16
    for (int g = 0; g < block / to->group; g++) {
        to->dot[g] = to->begun && !lf_later(to) ? lf_i_set(lf_total(to, g) >> to->shift) : lf_i_zero();
    }
}

/* Values 4i to 4i + 3 of a block into the panel. */
LF_INLINE void lf_put_values(const lf_sink *to, int i, lf_iv v) {
    if (lf_vectors(to->values) == 2) {
        v = lf_i_add8(v, lf_i_bytes(128));
        lf_i_put(to->panel + 2 * i * LF_VECTOR, lf_low(v));
        lf_i_put(to->panel + (2 * i + 1) * LF_VECTOR, lf_high(v));
    } else {
        lf_i_put(to->panel + i * LF_VECTOR, v);
    }
}

/* Values 4i to 4i + 3 of a block. */
LF_INLINE void lf_give(lf_sink *to, int i, lf_iv v) {
    if (!to->summed) {
        lf_put_values(to, i, v);
        return;
    }
    lf_iv four = lf_i_four(to->x[i / 8].q + i % 8 * 4), *dot = &to->dot[4 * i / to->group];
#if LF_VNNI
    *dot = lf_step(*dot, v, four);
#else
    const int n = i % (to->group / 4) % lf_in_16_bits(to->group);
    lf_iv *some = &to->some[4 * i / to->group];
    if (lf_later(to)) {
        *dot = lf_add16(*dot, lf_pairs(v, four));
    } else if (to->values == LF_ANY_BYTE) {
        *dot = lf_i_add(*dot, lf_widen(lf_signed_pairs(v, four)));
    } else {
        *some = n ? lf_add16(*some, lf_pairs(v, four)) : lf_pairs(v, four);
        if (n == lf_in_16_bits(to->group) - 1) *dot = lf_i_add(*dot, lf_widen(*some));
    }
#endif
}

/* `call` for each i below n: unrolled where values go into sums, for these are registers; else a loop, which fills panels faster. */
#define LF_EACH(to, i, n, call)                                                                                \
    if ((to)->summed) {                                                                                        \
        _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++) call;                                           \
    } else {                                                                                                   \
        for (int i = 0; i < (n); i++) call;                                                                    \
    }

/* The scale of a block's group, and its bias. */
LF_INLINE void lf_give_scale(lf_sink *to, int g, lf_if v) {
    if (to->summed)
        to->s[g] = v;
    else
        lf_if_put(to->scale + g * LF_IW, v);
}
LF_INLINE void lf_give_bias(lf_sink *to, int g, lf_if v) {
    if (to->summed)
        to->m[g] = v;
    else
        lf_if_put(to->bias + g * LF_IW, v);
}

/* After a block: its groups are added in order, as lf_tile_body does it. */
LF_INLINE void lf_end(lf_sink *to, int block) {
    const int groups = block / to->group;
    if (!to->summed) {
        to->panel += block / 4 * lf_vectors(to->values) * LF_VECTOR, to->scale += groups * LF_IW;
        if (to->biased) to->bias += groups * LF_IW;
        return;
    }
#pragma GCC unroll 16
    for (int g = 0; g < groups; g++) {
        const lf_a8_block *x = to->x + g * to->group / 32;
        lf_iv dot = to->dot[g];
#if LF_HALVES
        if (lf_later(to)) dot = lf_i_add(lf_widen(dot), to->begun ? lf_i_set(lf_total(to, g) >> to->shift) : lf_i_zero());
#endif
        to->acc = lf_if_fma(lf_if_of(dot), to->s[g] * lf_if_set(x->scale), to->acc);
        if (to->biased) to->acc = lf_if_fma(to->m[g], lf_if_set(to->group == 32 ? x->sum32 : x->sum16[g % 2]), to->acc);
    }
    to->x += block / 32;
}

/* The source of plain rows, and that of a panel that is laid out. */
LF_INLINE lf_source lf_row_source(const char *at, int64_t stride, int size, lf_asked ask) {
    return (lf_source){.at = at, .odd = at, .stride = stride, .size = size, .ask = ask};
}
LF_INLINE lf_source lf_panel_source(const char *at, const char *odd, int size, int odds, int lead, lf_asked ask) {
    return (lf_source){.at = at, .odd = odd, .laid = 1, .size = size, .odds = odds, .lead = lead, .ask = ask};
}

/* A fast loader: `blocks` blocks of LF_IW rows into a panel, scales and biases as [group][row]; meanwhile as many bytes are
   asked for. `offset`: what the panel adds to q (lf_loader). One text makes four: of plain rows, of a panel that is
   laid out, and of both with one column. */
#define LF_FILL(name, NAME, offset, kind)                                                                      \
    enum { lf_offset_##name = offset, lf_kind_##name = kind,                                                   \
           lf_begun_##name = !LF_BIASED_##NAME && !(LF_HALVES && kind == LF_ANY_BYTE),                          \
           lf_shift_##name = offset ? 7 - __builtin_ctz(offset + !offset) : 0 };                               \
    LF_INLINE void lf_load_any_##name(lf_source from, lf_sink *to, int64_t blocks);                            \
    LF_INLINE void lf_fill_any_##name(lf_source from, int64_t blocks, char *panel, float *scale, float *bias) { \
        lf_sink to = {.panel = panel, .scale = scale, .bias = bias, .group = LF_GROUP_##NAME,                  \
                      .biased = LF_BIASED_##NAME, .values = kind};                                             \
        lf_load_any_##name(from, &to, blocks);                                                                 \
    }                                                                                                          \
    LF_INLINE void lf_sum_any_##name(lf_source from, int64_t blocks, const lf_a8_block *x, float *out) {       \
        lf_sink to = {.summed = 1, .group = LF_GROUP_##NAME, .biased = LF_BIASED_##NAME,                       \
                      .values = kind, .begun = lf_begun_##name, .shift = lf_shift_##name, .x = x,      \
                      .acc = lf_if_set(0)};                                                                    \
        from.natural = 1;                                                                                      \
        lf_load_any_##name(from, &to, blocks);                                                                 \
        lf_if_put(out, to.acc);                                                                                \
    }                                                                                                          \
    static void lf_fill_##name(const char *at, LF_UNUSED const char *odd, int64_t stride, int64_t blocks,      \
                               char *panel, float *scale, float *bias, lf_asked ask) {                         \
        lf_source from = lf_row_source(at, stride, sizeof(lf_##name), ask);                                    \
        lf_fill_any_##name(from, blocks, panel, scale, bias);                                                  \
    }                                                                                                          \
    static void lf_fill_laid_##name(const char *at, const char *odd, LF_UNUSED int64_t stride, int64_t blocks, \
                                    char *panel, float *scale, float *bias, lf_asked ask) {                    \
        lf_source from = lf_panel_source(at, odd, sizeof(lf_##name), LF_ODDS_##NAME, LF_LEAD_##NAME, ask);     \
        lf_fill_any_##name(from, blocks, panel, scale, bias);                                                  \
    }                                                                                                          \
    static void lf_sum_##name(const char *at, LF_UNUSED const char *odd, int64_t stride, int64_t blocks,       \
                              const lf_a8_block *x, float *out, lf_asked ask) {                                \
        lf_source from = lf_row_source(at, stride, sizeof(lf_##name), ask);                                    \
        lf_sum_any_##name(from, blocks, x, out);                                                               \
    }                                                                                                          \
    static void lf_sum_laid_##name(const char *at, const char *odd, LF_UNUSED int64_t stride, int64_t blocks,  \
                                   const lf_a8_block *x, float *out, lf_asked ask) {                           \
        lf_source from = lf_panel_source(at, odd, sizeof(lf_##name), LF_ODDS_##NAME, LF_LEAD_##NAME, ask);     \
        lf_sum_any_##name(from, blocks, x, out);                                                               \
    }                                                                                                          \
    LF_INLINE void lf_load_any_##name(lf_source from, lf_sink *to, int64_t blocks)
#define LF_FILLS(name) {{lf_fill_##name, lf_fill_laid_##name}, {lf_sum_##name, lf_sum_laid_##name}, lf_offset_##name, lf_kind_##name}
#endif
#endif
