/* Fast loaders of the blocks whose four bits pick from a codebook. */
#if LF_STEP == 4

LF_INLINE void lf_codes(const lf_source *from, int byte, const int8_t table[16], lf_iv w[8]) {
    lf_nibbles(from, byte, w);
    for (int j = 0; j < 8; j++) w[j] = lf_lookup(table, w[j]);
}

LF_INLINE void lf_load_iq4_nl(const lf_source *from, LF_UNUSED lf_iv bits, lf_iv w[8]) {
    lf_codes(from, 2, lf_codebook_iq4_nl, w);
}

LF_FILL_LEGACY(iq4_nl, IQ4_NL, 128, LF_ANY_BYTE, 0, 0, lf_load_iq4_nl)

LF_INLINE void lf_iq4_xs_group(lf_source *from, lf_sink *to, int g) {
    lf_iv w[8];
    lf_ask(from, sizeof(lf_iq4_xs) * LF_IW / 8);
    lf_codes(from, 8 + 16 * g, lf_codebook_iq4_nl, w);
    for (int j = 0; j < 8; j++) lf_give(to, 8 * g + j, w[j]);
}

LF_FILL(iq4_xs, IQ4_XS, 128, LF_ANY_BYTE) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        lf_iv head[4];
        lf_if d = lf_super(&from, 0);
        lf_begin(to, 256);
        LF_EACH(to, g, 8, lf_iq4_xs_group(&from, to, g))
        lf_sixteen_of(&from, 0, head); /* d and the two bits of each scale, then the four bits of each */
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            lf_iv low = lf_i_and(lf_i_right(head[1], 4 * g), lf_i_set(15));
            lf_iv high = lf_i_and(lf_i_right(head[0], 16 + 2 * g), lf_i_set(3));
            lf_give_scale(to, g, d * lf_if_of(lf_i_add(lf_i_or(low, lf_i_left(high, 4)), lf_i_set(-32))));
        }
        lf_end(to, 256);
    }
}

#define LF_LANES_IQ [LF_IQ4_NL] = LF_FILLS(iq4_nl), [LF_IQ4_XS] = LF_FILLS(iq4_xs),
#endif
