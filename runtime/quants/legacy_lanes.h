/* Fast loaders of the blocks of 32 with one scale. */
#if LF_STEP == 4

/* The walk over blocks in batches that all these formats share; `load` turns block p into the eight vectors w. Four bytes of
   each row from `at` on (0: none) are collected for it with the scales. */
#define LF_FILL_LEGACY(name, size, biased, at, load)                                                              \
    LF_FILL(name) {                                                                                           \
        _Alignas(64) uint16_t d[LF_BATCH][LF_IW];                                                             \
        _Alignas(64) uint32_t dm[LF_BATCH][LF_IW], bits[LF_BATCH][LF_IW];                                     \
        for (int64_t b = 0; b < blocks; b += LF_BATCH) {                                                      \
            int64_t n = blocks - b < LF_BATCH ? blocks - b : LF_BATCH;                                        \
            if (n == LF_BATCH) n = LF_BATCH; /* a constant: the loops below come out unrolled */              \
            if (biased)                                                                                       \
                lf_collect32(rows, stride, n, size, dm);                                                      \
            else                                                                                              \
                lf_collect16(rows, stride, n, size, d);                                                       \
            if (at) lf_collect32(rows + at, stride, n, size, bits);                                           \
            for (int64_t i = 0; i < n; i++, rows += size, values += 8 * LF_VECTOR) {                          \
                lf_iv w[8];                                                                                   \
                ask = lf_ask(ask, size * LF_IW);                                                              \
                load(rows, stride, bits[i], w);                                                               \
                for (int j = 0; j < 8; j++) lf_i_put(values + j * LF_VECTOR, w[j]);                           \
            }                                                                                                 \
            for (int64_t i = 0; i < n; i++, scale += LF_IW, bias += LF_IW) {                                  \
                lf_if_put(scale, biased ? lf_halves_of(lf_i_load(dm[i]), 0) : lf_halves(d[i]));               \
                if (biased) lf_if_put(bias, lf_halves_of(lf_i_load(dm[i]), 16));                              \
            }                                                                                                 \
        }                                                                                                     \
    }

/* Sixteen bytes whose low nibbles are the first half of a block, their high nibbles the second. */
LF_INLINE void lf_nibbles(const char *p, int64_t stride, lf_iv w[8]) {
    lf_iv v[4];
    lf_sixteen(p, stride, v);
    for (int j = 0; j < 4; j++) w[j] = lf_low(v[j]), w[j + 4] = lf_high(v[j]);
}

LF_INLINE void lf_load_q4_0(const char *p, int64_t stride, LF_UNUSED const uint32_t *bits, lf_iv w[8]) {
    lf_nibbles(p + 2, stride, w);
    for (int j = 0; j < 8; j++) w[j] = lf_stored(w[j], 8);
}

LF_INLINE void lf_load_q4_1(const char *p, int64_t stride, LF_UNUSED const uint32_t *bits, lf_iv w[8]) {
    lf_nibbles(p + 4, stride, w);
}

LF_INLINE void lf_fives(const char *p, int64_t stride, const uint32_t *bits, lf_iv w[8]) {
    lf_nibbles(p, stride, w);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) w[j] = lf_fifth_bit(w[j], lf_i_load(bits), j);
}

LF_INLINE void lf_load_q5_0(const char *p, int64_t stride, const uint32_t *bits, lf_iv w[8]) {
    lf_fives(p + 6, stride, bits, w);
    for (int j = 0; j < 8; j++) w[j] = lf_stored(w[j], 16);
}

LF_INLINE void lf_load_q5_1(const char *p, int64_t stride, const uint32_t *bits, lf_iv w[8]) {
    lf_fives(p + 8, stride, bits, w);
}

LF_INLINE void lf_load_q8_0(const char *p, int64_t stride, LF_UNUSED const uint32_t *bits, lf_iv w[8]) {
    lf_sixteen(p + 2, stride, w);
    lf_sixteen(p + 18, stride, w + 4);
    for (int j = 0; j < 8; j++) w[j] = lf_stored_wide(w[j]);
}

LF_FILL_LEGACY(q4_0, 18, 0, 0, lf_load_q4_0)
LF_FILL_LEGACY(q4_1, 20, 1, 0, lf_load_q4_1)
LF_FILL_LEGACY(q5_0, 22, 0, 2, lf_load_q5_0)
LF_FILL_LEGACY(q5_1, 24, 1, 4, lf_load_q5_1)
LF_FILL_LEGACY(q8_0, 34, 0, 0, lf_load_q8_0)

#define LF_LANES_LEGACY                                                                                       \
    [LF_Q4_0] = {lf_fill_q4_0, 8}, [LF_Q4_1] = {lf_fill_q4_1, 0}, [LF_Q5_0] = {lf_fill_q5_0, 16},             \
    [LF_Q5_1] = {lf_fill_q5_1, 0}, [LF_Q8_0] = {lf_fill_q8_0, 128},
#endif
