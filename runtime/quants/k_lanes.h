/* Fast loaders of the blocks of 256 with small integer scales. */
#if LF_STEP == 4

/* The half at `byte` of every row, which stands at a block's beginning or end, or in a dword of its own or of two halves. */
LF_INLINE lf_if lf_super(const lf_source *from, int byte) {
    if (from->laid && byte < from->size - from->odds)
        return lf_halves_of(lf_laid(from, byte / 4 * 4), byte % 4 * 8);
    if (from->laid) return lf_halves((const uint16_t *)from->odd);
    uint16_t h[1][LF_IW];
    lf_collect16(from, byte, 1, h);
    return lf_halves(h[0]);
}

LF_INLINE lf_if lf_negative(lf_if v) { return lf_if_set(0.0f) - v; }

/* The scales and minima of Q4_K and Q5_K; their first 16 bytes are d, dmin and the twelve packed bytes. */
LF_INLINE void lf_k_lanes(const lf_source *from, lf_sink *to) {
    lf_iv v[4];
    lf_sixteen_of(from, 0, v);
    lf_if d = lf_halves_of(v[0], 0), dmin = lf_halves_of(v[0], 16);
    lf_iv six = lf_i_set(63), four = lf_i_set(15), top = lf_i_set(48);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        lf_iv s = lf_byte(v[1], g), m = lf_byte(v[2], g), rest = lf_byte(v[3], g);
        lf_iv s4 = lf_i_or(lf_i_and(rest, four), lf_i_and(lf_i_right(s, 2), top));
        lf_iv m4 = lf_i_or(lf_i_right(rest, 4), lf_i_and(lf_i_right(m, 2), top));
        lf_give_scale(to, g, d * lf_if_of(lf_i_and(s, six)));
        lf_give_scale(to, g + 4, d * lf_if_of(s4));
        lf_give_bias(to, g, lf_negative(dmin * lf_if_of(lf_i_and(m, six))));
        lf_give_bias(to, g + 4, lf_negative(dmin * lf_if_of(m4)));
    }
}

/* 16 bytes: half a group of low nibbles, half of the next one's high. */
LF_INLINE void lf_q4_k_part(lf_source *from, lf_sink *to, int part) {
    lf_iv v[4];
    lf_ask(from, sizeof(lf_q4_k) * LF_IW / 8);
    lf_sixteen_of(from, 16 + 16 * part, v);
    int at = part / 2 * 16 + part % 2 * 4;
    for (int j = 0; j < 4; j++) {
        lf_give(to, at + j, lf_low(v[j]));
        lf_give(to, at + j + 8, lf_high(v[j]));
    }
}

LF_FILL(q4_k, Q4_K, 0, LF_NIBBLE) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        lf_begin(to, 256);
        lf_k_lanes(&from, to);
        LF_EACH(to, part, 8, lf_q4_k_part(&from, to, part))
        lf_end(to, 256);
    }
}

LF_FILL(q5_k, Q5_K, 0, LF_SMALL) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        lf_begin(to, 256);
        lf_k_lanes(&from, to);
        lf_iv high[8], sixteen = lf_i_bytes(16);
        lf_sixteen_of(&from, 16, high);
        lf_sixteen_of(&from, 32, high + 4);
#pragma GCC unroll 8
        for (int part = 0; part < 8; part++) {
            lf_iv v[4];
            lf_ask(&from, sizeof(lf_q5_k) * LF_IW / 8);
            lf_sixteen_of(&from, 48 + 16 * part, v);
            int at = part / 2 * 16 + part % 2 * 4;
            int bit = part / 2 * 2;
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                lf_iv h = high[part % 2 * 4 + j], first = bit < 4 ? lf_i_left(h, 4 - bit) : lf_i_right(h, bit - 4);
                lf_iv second = bit < 3 ? lf_i_left(h, 3 - bit) : lf_i_right(h, bit - 3);
                lf_give(to, at + j, lf_i_or(lf_low(v[j]), lf_i_and(first, sixteen)));
                lf_give(to, at + j + 8, lf_i_or(lf_high(v[j]), lf_i_and(second, sixteen)));
            }
        }
        lf_end(to, 256);
    }
}

/* Values i and i + 32 share two bits each of one byte of qh. */
LF_INLINE void lf_q6_k_part(lf_source *from, lf_sink *to, int half, int part) {
    lf_iv high[4], top = lf_i_bytes(48);
    lf_sixteen_of(from, 128 + 32 * half + 16 * part, high);
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; pair++) {
        lf_iv v[4];
        lf_ask(from, sizeof(lf_q6_k) * LF_IW / 8);
        lf_sixteen_of(from, 64 * half + 32 * pair + 16 * part, v);
        int at = 32 * half + 8 * pair + 4 * part;
        for (int j = 0; j < 4; j++) {
            lf_iv low = lf_i_and(pair ? lf_i_left(high[j], 2) : lf_i_left(high[j], 4), top);
            lf_iv up = lf_i_and(pair ? lf_i_right(high[j], 2) : high[j], top);
            lf_give(to, at + j, lf_stored(from, lf_i_or(lf_low(v[j]), low), 32));
            lf_give(to, at + j + 16, lf_stored(from, lf_i_or(lf_high(v[j]), up), 32));
        }
    }
}

LF_FILL(q6_k, Q6_K, 32, LF_SMALL) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        lf_begin(to, 256);
        lf_iv s[4];
        lf_if d = lf_super(&from, 208);
        LF_EACH(to, i, 4, lf_q6_k_part(&from, to, i / 2, i % 2))
        lf_sixteen_of(&from, 192, s);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) lf_give_scale(to, g, d * lf_if_of(lf_signed_byte(s[g / 4], g % 4)));
        lf_end(to, 256);
    }
}

LF_FILL(q3_k, Q3_K, 4, LF_NIBBLE) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        lf_begin(to, 256);
        lf_iv top[8], s[4], three = lf_i_bytes(3), four = lf_i_bytes(4);
        lf_if d = lf_super(&from, 108);
        lf_sixteen_of(&from, 0, top);
        lf_sixteen_of(&from, 16, top + 4);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
#pragma GCC unroll 2
            for (int part = 0; part < 2; part++) {
                lf_iv v[4];
                lf_ask(&from, sizeof(lf_q3_k) * LF_IW / 4);
                lf_sixteen_of(&from, 32 + 32 * half + 16 * part, v);
#pragma GCC unroll 4
                for (int two = 0; two < 4; two++)
                    for (int j = 0; j < 4; j++) {
                        int bit = 4 * half + two;
                        lf_iv t = top[part * 4 + j], high = bit < 2 ? lf_i_left(t, 2 - bit) : lf_i_right(t, bit - 2);
                        lf_iv q = lf_i_or(lf_i_and(lf_i_right(v[j], 2 * two), three), lf_i_and(high, four));
                        lf_give(to, 32 * half + 8 * two + 4 * part + j, lf_stored(&from, q, 4));
                    }
            }
        int first = from.laid ? 0 : 2; /* the twelve bytes lie at 96; sixteen from there would be too many */
        for (int j = 0; from.laid && j < 3; j++) s[j] = lf_laid(&from, 96 + 4 * j);
        if (!from.laid) lf_sixteen_of(&from, 94, s);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            int low = first + g % 8, high = first + 8 + g % 4;
            lf_iv l = lf_i_and(lf_i_right(s[low / 4], 8 * (low % 4) + g / 8 * 4), lf_i_set(15));
            lf_iv h = lf_i_and(lf_i_right(s[high / 4], 8 * (high % 4) + g / 4 * 2), lf_i_set(3));
            lf_iv step = lf_i_add(lf_i_or(l, lf_i_left(h, 4)), lf_i_set(-32));
            lf_give_scale(to, g, d * lf_if_of(step));
        }
        lf_end(to, 256);
    }
}

LF_INLINE void lf_q2_k_part(lf_source *from, lf_sink *to, int half, int part) {
    lf_iv v[4], three = lf_i_bytes(3);
    lf_ask(from, sizeof(lf_q2_k) * LF_IW / 4);
    lf_sixteen_of(from, 16 + 32 * half + 16 * part, v);
#pragma GCC unroll 4
    for (int two = 0; two < 4; two++)
        for (int j = 0; j < 4; j++)
            lf_give(to, 32 * half + 8 * two + 4 * part + j, lf_i_and(lf_i_right(v[j], 2 * two), three));
}

LF_FILL(q2_k, Q2_K, 0, LF_NIBBLE) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        lf_begin(to, 256);
        lf_iv s[4];
        lf_if d = lf_super(&from, 80), dmin = lf_super(&from, 82);
        LF_EACH(to, i, 4, lf_q2_k_part(&from, to, i / 2, i % 2))
        lf_sixteen_of(&from, 0, s);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            lf_iv both = lf_byte(s[g / 4], g % 4);
            lf_give_scale(to, g, d * lf_if_of(lf_i_and(both, lf_i_set(15))));
            lf_give_bias(to, g, lf_negative(dmin * lf_if_of(lf_i_right(both, 4))));
        }
        lf_end(to, 256);
    }
}

#define LF_LANES_K                                                                                            \
    [LF_Q2_K] = LF_FILLS(q2_k), [LF_Q3_K] = LF_FILLS(q3_k), [LF_Q4_K] = LF_FILLS(q4_k),              \
    [LF_Q5_K] = LF_FILLS(q5_k), [LF_Q6_K] = LF_FILLS(q6_k),
#endif
