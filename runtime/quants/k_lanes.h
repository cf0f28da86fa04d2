/* Fast loaders of the blocks of 256 with small integer scales. */
#if LF_STEP == 4

/* A half of every row. */
LF_INLINE lf_if lf_super(const char *p, int64_t stride) {
    uint16_t h[1][LF_IW];
    lf_collect16(p, stride, 1, 0, h);
    return lf_halves(h[0]);
}

LF_INLINE lf_if lf_negative(lf_if v) { return lf_if_set(0.0f) - v; }

/* The scales and minima of Q4_K and Q5_K; their first 16 bytes are d, dmin and the twelve packed bytes. */
LF_INLINE void lf_k_lanes(const char *p, int64_t stride, float *scale, float *bias) {
    lf_iv v[4];
    lf_sixteen(p, stride, v);
    lf_if d = lf_halves_of(v[0], 0), dmin = lf_halves_of(v[0], 16);
    lf_iv six = lf_i_set(63), four = lf_i_set(15), top = lf_i_set(48);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        lf_iv s = lf_byte(v[1], g), m = lf_byte(v[2], g), rest = lf_byte(v[3], g);
        lf_iv s4 = lf_i_or(lf_i_and(rest, four), lf_i_and(lf_i_right(s, 2), top));
        lf_iv m4 = lf_i_or(lf_i_right(rest, 4), lf_i_and(lf_i_right(m, 2), top));
        lf_if_put(scale + g * LF_IW, d * lf_if_of(lf_i_and(s, six)));
        lf_if_put(scale + (g + 4) * LF_IW, d * lf_if_of(s4));
        lf_if_put(bias + g * LF_IW, lf_negative(dmin * lf_if_of(lf_i_and(m, six))));
        lf_if_put(bias + (g + 4) * LF_IW, lf_negative(dmin * lf_if_of(m4)));
    }
}

LF_FILL(q4_k) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_q4_k), scale += 8 * LF_IW, bias += 8 * LF_IW) {
        lf_k_lanes(rows, stride, scale, bias);
        for (int part = 0; part < 8; part++) { /* 16 bytes: half a group of low nibbles, half of the next one's high */
            lf_iv v[4];
            ask = lf_ask(ask, sizeof(lf_q4_k) * LF_IW / 8);
            lf_sixteen(rows + 16 + 16 * part, stride, v);
            char *to = values + (part / 2 * 16 + part % 2 * 4) * LF_VECTOR;
            for (int j = 0; j < 4; j++) {
                lf_i_put(to + j * LF_VECTOR, lf_low(v[j]));
                lf_i_put(to + (j + 8) * LF_VECTOR, lf_high(v[j]));
            }
        }
        values += 64 * LF_VECTOR;
    }
}

LF_FILL(q5_k) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_q5_k), scale += 8 * LF_IW, bias += 8 * LF_IW) {
        lf_k_lanes(rows, stride, scale, bias);
        lf_iv high[8], sixteen = lf_i_bytes(16);
        lf_sixteen(rows + 16, stride, high);
        lf_sixteen(rows + 32, stride, high + 4);
#pragma GCC unroll 8
        for (int part = 0; part < 8; part++) {
            lf_iv v[4];
            ask = lf_ask(ask, sizeof(lf_q5_k) * LF_IW / 8);
            lf_sixteen(rows + 48 + 16 * part, stride, v);
            char *to = values + (part / 2 * 16 + part % 2 * 4) * LF_VECTOR;
            int bit = part / 2 * 2;
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                lf_iv h = high[part % 2 * 4 + j], first = bit < 4 ? lf_i_left(h, 4 - bit) : lf_i_right(h, bit - 4);
                lf_iv second = bit < 3 ? lf_i_left(h, 3 - bit) : lf_i_right(h, bit - 3);
                lf_i_put(to + j * LF_VECTOR, lf_i_or(lf_low(v[j]), lf_i_and(first, sixteen)));
                lf_i_put(to + (j + 8) * LF_VECTOR, lf_i_or(lf_high(v[j]), lf_i_and(second, sixteen)));
            }
        }
        values += 64 * LF_VECTOR;
    }
}

LF_FILL(q6_k) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_q6_k), scale += 16 * LF_IW) {
        lf_iv s[4], top = lf_i_bytes(48);
        lf_if d = lf_super(rows + 208, stride);
        for (int half = 0; half < 2; half++)
            for (int part = 0; part < 2; part++) { /* values i and i + 32 share two bits each of one byte of qh */
                lf_iv high[4];
                lf_sixteen(rows + 128 + 32 * half + 16 * part, stride, high);
#pragma GCC unroll 2
                for (int pair = 0; pair < 2; pair++) {
                    lf_iv v[4];
                    ask = lf_ask(ask, sizeof(lf_q6_k) * LF_IW / 8);
                    lf_sixteen(rows + 64 * half + 32 * pair + 16 * part, stride, v);
                    char *to = values + (32 * half + 8 * pair + 4 * part) * LF_VECTOR;
                    for (int j = 0; j < 4; j++) {
                        lf_iv low = lf_i_and(pair ? lf_i_left(high[j], 2) : lf_i_left(high[j], 4), top);
                        lf_iv up = lf_i_and(pair ? lf_i_right(high[j], 2) : high[j], top);
                        lf_i_put(to + j * LF_VECTOR, lf_stored(lf_i_or(lf_low(v[j]), low), 32));
                        lf_i_put(to + (j + 16) * LF_VECTOR, lf_stored(lf_i_or(lf_high(v[j]), up), 32));
                    }
                }
            }
        lf_sixteen(rows + 192, stride, s);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) lf_if_put(scale + g * LF_IW, d * lf_if_of(lf_signed_byte(s[g / 4], g % 4)));
        values += 64 * LF_VECTOR;
    }
}

LF_FILL(q3_k) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_q3_k), scale += 16 * LF_IW) {
        lf_iv top[8], s[4], three = lf_i_bytes(3), four = lf_i_bytes(4);
        lf_if d = lf_super(rows + 108, stride);
        lf_sixteen(rows, stride, top);
        lf_sixteen(rows + 16, stride, top + 4);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
#pragma GCC unroll 2
            for (int part = 0; part < 2; part++) {
                lf_iv v[4];
                ask = lf_ask(ask, sizeof(lf_q3_k) * LF_IW / 4);
                lf_sixteen(rows + 32 + 32 * half + 16 * part, stride, v);
#pragma GCC unroll 4
                for (int two = 0; two < 4; two++)
                    for (int j = 0; j < 4; j++) {
                        int bit = 4 * half + two;
                        lf_iv t = top[part * 4 + j], high = bit < 2 ? lf_i_left(t, 2 - bit) : lf_i_right(t, bit - 2);
                        lf_iv q = lf_i_or(lf_i_and(lf_i_right(v[j], 2 * two), three), lf_i_and(high, four));
                        lf_i_put(values + (32 * half + 8 * two + 4 * part + j) * LF_VECTOR, lf_stored(q, 4));
                    }
            }
        lf_sixteen(rows + 94, stride, s); /* the twelve bytes lie at 96: bytes 2 to 13 of these */
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            int low = 2 + g % 8, high = 10 + g % 4;
            lf_iv l = lf_i_and(lf_i_right(s[low / 4], 8 * (low % 4) + g / 8 * 4), lf_i_set(15));
            lf_iv h = lf_i_and(lf_i_right(s[high / 4], 8 * (high % 4) + g / 4 * 2), lf_i_set(3));
            lf_iv step = lf_i_add(lf_i_or(l, lf_i_left(h, 4)), lf_i_set(-32));
            lf_if_put(scale + g * LF_IW, d * lf_if_of(step));
        }
        values += 64 * LF_VECTOR;
    }
}

LF_FILL(q2_k) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_q2_k), scale += 16 * LF_IW, bias += 16 * LF_IW) {
        lf_iv s[4], three = lf_i_bytes(3);
        lf_if d = lf_super(rows + 80, stride), dmin = lf_super(rows + 82, stride);
        for (int half = 0; half < 2; half++)
            for (int part = 0; part < 2; part++) {
                lf_iv v[4];
                ask = lf_ask(ask, sizeof(lf_q2_k) * LF_IW / 4);
                lf_sixteen(rows + 16 + 32 * half + 16 * part, stride, v);
#pragma GCC unroll 4
                for (int two = 0; two < 4; two++)
                    for (int j = 0; j < 4; j++)
                        lf_i_put(values + (32 * half + 8 * two + 4 * part + j) * LF_VECTOR,
                                 lf_i_and(lf_i_right(v[j], 2 * two), three));
            }
        lf_sixteen(rows, stride, s);
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            lf_iv both = lf_byte(s[g / 4], g % 4);
            lf_if_put(scale + g * LF_IW, d * lf_if_of(lf_i_and(both, lf_i_set(15))));
            lf_if_put(bias + g * LF_IW, lf_negative(dmin * lf_if_of(lf_i_right(both, 4))));
        }
        values += 64 * LF_VECTOR;
    }
}

#define LF_LANES_K                                                                                            \
    [LF_Q2_K] = {lf_fill_q2_k, 0}, [LF_Q3_K] = {lf_fill_q3_k, 4}, [LF_Q4_K] = {lf_fill_q4_k, 0},              \
    [LF_Q5_K] = {lf_fill_q5_k, 0}, [LF_Q6_K] = {lf_fill_q6_k, 32},
#endif
