/* Fast loaders of the blocks whose four bits pick from a codebook. */
#if LF_STEP == 4

LF_INLINE void lf_codes(const char *p, int64_t stride, const int8_t table[16], lf_iv w[8]) {
    lf_nibbles(p, stride, w);
    for (int j = 0; j < 8; j++) w[j] = lf_stored_wide(lf_lookup(table, w[j]));
}

LF_INLINE void lf_load_iq4_nl(const char *p, int64_t stride, LF_UNUSED const uint32_t *bits, lf_iv w[8]) {
    lf_codes(p + 2, stride, lf_codebook_iq4_nl, w);
}

LF_FILL_LEGACY(iq4_nl, 18, 0, 0, lf_load_iq4_nl)

LF_FILL(iq4_xs) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_iq4_xs), scale += 8 * LF_IW) {
        lf_iv head[4];
        lf_if d = lf_super(rows, stride);
        for (int g = 0; g < 8; g++, values += 8 * LF_VECTOR) {
            lf_iv w[8];
            ask = lf_ask(ask, sizeof(lf_iq4_xs) * LF_IW / 8);
            lf_codes(rows + 8 + 16 * g, stride, lf_codebook_iq4_nl, w);
            for (int j = 0; j < 8; j++) lf_i_put(values + j * LF_VECTOR, w[j]);
        }
        lf_sixteen(rows, stride, head); /* d and the two bits of each scale, then the four bits of each */
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            lf_iv low = lf_i_and(lf_i_right(head[1], 4 * g), lf_i_set(15));
            lf_iv high = lf_i_and(lf_i_right(head[0], 16 + 2 * g), lf_i_set(3));
            lf_if_put(scale + g * LF_IW, d * lf_if_of(lf_i_add(lf_i_or(low, lf_i_left(high, 4)), lf_i_set(-32))));
        }
    }
}

#define LF_LANES_IQ [LF_IQ4_NL] = {lf_fill_iq4_nl, 128}, [LF_IQ4_XS] = {lf_fill_iq4_xs, 128},
#endif
