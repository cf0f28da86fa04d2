/* Fast loaders of the blocks of 32 with one scale. */
#if LF_STEP == 4

/* The scale, and the bias, of the block at `from`, which is laid out or in a strip. */
LF_INLINE void lf_give_scales(const lf_source *from, lf_sink *to, int biased) {
    if (from->laid && !biased) {
        lf_give_scale(to, 0, lf_halves((const uint16_t *)from->odd));
        return;
    }
    int at = from->strip ? from->begins : 0;
    lf_iv v = from->strip ? from->strip[at / 4] : lf_laid(from, 0);
    lf_give_scale(to, 0, lf_halves_of(v, at % 4 * 8));
    if (biased) lf_give_bias(to, 0, lf_halves_of(v, 16));
}

#define LF_STRIP_BLOCK(name, i)                                                                               \
    lf_ask(&from, sizeof(lf_##name) * LF_IW);                                                                 \
    lf_read_strip(&from, i * sizeof(lf_##name), dwords);                                                      \
    lf_strip_##name(lf_in_strip(from, dwords, LF_STRIP * sizeof(lf_##name), i * sizeof(lf_##name)), to);

/* The walk over blocks in batches that all these formats share; `load` turns the block at `from` into the eight vectors w. Four
   bytes of each row from `at` on (0: none) are brought for it with the scales. */
#define LF_FILL_LEGACY(name, NAME, offset, kind, biased, at, load)                                            \
    LF_INLINE void lf_strip_##name(lf_source from, lf_sink *to) {                                             \
        lf_iv w[8];                                                                                           \
        lf_begin(to, 32);                                                                                     \
        load(&from, at ? lf_strip_four(&from, at) : lf_i_zero(), w);                                          \
        _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) lf_give(to, j, w[j]);                             \
        lf_give_scales(&from, to, biased);                                                                    \
        lf_end(to, 32);                                                                                       \
    }                                                                                                         \
    LF_INLINE void lf_strips_##name(lf_source from, lf_sink *to, int64_t blocks) {                            \
        int64_t b = 0;                                                                                        \
        for (; b + LF_STRIP <= blocks; b += LF_STRIP) {                                                       \
            lf_iv dwords[LF_STRIP_DWORDS];                                                                    \
            LF_STRIP_BLOCK(name, 0) LF_STRIP_BLOCK(name, 1) LF_STRIP_BLOCK(name, 2) LF_STRIP_BLOCK(name, 3)   \
            LF_STRIP_BLOCK(name, 4) LF_STRIP_BLOCK(name, 5) LF_STRIP_BLOCK(name, 6) LF_STRIP_BLOCK(name, 7)   \
            lf_advance(&from, LF_STRIP);                                                                      \
        }                                                                                                     \
        for (; b < blocks; b++, lf_advance(&from, 1)) {                                                       \
            lf_iv head[4];                                                                                    \
            lf_ask(&from, sizeof(lf_##name) * LF_IW);                                                         \
            lf_read_head(&from, head);                                                                        \
            lf_strip_##name(lf_in_strip(from, head, 16, 0), to);                                              \
        }                                                                                                     \
    }                                                                                                         \
    LF_FILL(name, NAME, offset, kind) {                                                                       \
        if (to->summed && !from.laid) {                                                                       \
            lf_strips_##name(from, to, blocks);                                                               \
            return;                                                                                           \
        }                                                                                                     \
        _Alignas(64) uint16_t d[LF_BATCH][LF_IW];                                                             \
        _Alignas(64) uint32_t dm[LF_BATCH][LF_IW], bits[LF_BATCH][LF_IW];                                     \
        for (int64_t b = 0; b < blocks; b += LF_BATCH) {                                                      \
            int64_t n = blocks - b < LF_BATCH ? blocks - b : LF_BATCH;                                        \
            if (n == LF_BATCH) n = LF_BATCH; /* a constant: the loops below come out unrolled */              \
            if (!from.laid && biased) lf_collect32(&from, 0, n, dm);                                          \
            if (!from.laid && !biased) lf_collect16(&from, 0, n, d);                                          \
            if (!from.laid && at) lf_collect32(&from, at, n, bits);                                           \
            for (int64_t i = 0; i < n; i++, lf_advance(&from, 1)) {                                           \
                lf_iv w[8];                                                                                   \
                lf_ask(&from, sizeof(lf_##name) * LF_IW);                                                 \
                lf_begin(to, 32);                                                                             \
                load(&from, !at ? lf_i_zero() : from.laid ? lf_laid(&from, at) : lf_i_load(bits[i]), w);      \
                for (int j = 0; j < 8; j++) lf_give(to, j, w[j]);                                             \
                if (from.laid) lf_give_scales(&from, to, biased);                                             \
                lf_end(to, 32);                                                                               \
            }                                                                                                 \
            for (int64_t i = 0; !from.laid && i < n; i++) { /* of the blocks that have been given */          \
                lf_if_put(to->scale + (i - n) * LF_IW, biased ? lf_halves_of(lf_i_load(dm[i]), 0) : lf_halves(d[i])); \
                if (biased) lf_if_put(to->bias + (i - n) * LF_IW, lf_halves_of(lf_i_load(dm[i]), 16));        \
            }                                                                                                 \
        }                                                                                                     \
    }

/* Sixteen bytes whose low nibbles are the first half of a block, their high nibbles the second. */
LF_INLINE void lf_nibbles(const lf_source *from, int byte, lf_iv w[8]) {
    lf_iv v[4];
    lf_sixteen_of(from, byte, v);
    for (int j = 0; j < 4; j++) w[j] = lf_low(v[j]), w[j + 4] = lf_high(v[j]);
}

LF_INLINE void lf_load_q4_0(const lf_source *from, LF_UNUSED lf_iv bits, lf_iv w[8]) {
    lf_nibbles(from, 2, w);
    for (int j = 0; j < 8; j++) w[j] = lf_stored(from, w[j], 8);
}

LF_INLINE void lf_load_q4_1(const lf_source *from, LF_UNUSED lf_iv bits, lf_iv w[8]) { lf_nibbles(from, 4, w); }

LF_INLINE void lf_fives(const lf_source *from, int byte, lf_iv bits, lf_iv w[8]) {
    lf_nibbles(from, byte, w);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) w[j] = lf_fifth_bit(w[j], bits, j);
}

LF_INLINE void lf_load_q5_0(const lf_source *from, lf_iv bits, lf_iv w[8]) {
    lf_fives(from, 6, bits, w);
    for (int j = 0; j < 8; j++) w[j] = lf_stored(from, w[j], 16);
}

LF_INLINE void lf_load_q5_1(const lf_source *from, lf_iv bits, lf_iv w[8]) { lf_fives(from, 8, bits, w); }

LF_INLINE void lf_load_q8_0(const lf_source *from, LF_UNUSED lf_iv bits, lf_iv w[8]) {
    lf_sixteen_of(from, 2, w);
    lf_sixteen_of(from, 18, w + 4);
    for (int j = 0; j < 8; j++) w[j] = lf_stored_wide(w[j]);
}

LF_FILL_LEGACY(q4_0, Q4_0, 8, LF_NIBBLE, 0, 0, lf_load_q4_0)
LF_FILL_LEGACY(q4_1, Q4_1, 0, LF_NIBBLE, 1, 0, lf_load_q4_1)
LF_FILL_LEGACY(q5_0, Q5_0, 16, LF_SMALL, 0, 2, lf_load_q5_0)
LF_FILL_LEGACY(q5_1, Q5_1, 0, LF_SMALL, 1, 4, lf_load_q5_1)
LF_FILL_LEGACY(q8_0, Q8_0, 128, LF_ANY_BYTE, 0, 0, lf_load_q8_0)

#define LF_LANES_LEGACY                                                                                       \
    [LF_Q4_0] = LF_FILLS(q4_0), [LF_Q4_1] = LF_FILLS(q4_1), [LF_Q5_0] = LF_FILLS(q5_0),                       \
    [LF_Q5_1] = LF_FILLS(q5_1), [LF_Q8_0] = LF_FILLS(q8_0),
#endif
