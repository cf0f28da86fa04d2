/* Decode blocks of 32 with one scale. */
LF_UNPACK(q4_0) {
    *scale = lf_half(b->d);
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)((b->qs[i] & 15) - 8);
        q[i + 16] = (int8_t)((b->qs[i] >> 4) - 8);
    }
}

LF_UNPACK(q4_1) {
    *scale = lf_half(b->d);
    *bias = lf_half(b->m);
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)(b->qs[i] & 15);
        q[i + 16] = (int8_t)(b->qs[i] >> 4);
    }
}

/* Four bytes as one number, the first lowest. */
LF_FN uint32_t lf_four(LF_SRC uint8_t *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

LF_UNPACK(q5_0) {
    uint32_t fifth = lf_four(b->qh);
    *scale = lf_half(b->d);
    for (int i = 0; i < 16; i++) {
        int low = (int)(fifth >> i & 1), high = (int)(fifth >> (i + 16) & 1);
        q[i] = (int8_t)(((b->qs[i] & 15) | low << 4) - 16);
        q[i + 16] = (int8_t)((b->qs[i] >> 4 | high << 4) - 16);
    }
}

LF_UNPACK(q5_1) {
    uint32_t fifth = lf_four(b->qh);
    *scale = lf_half(b->d);
    *bias = lf_half(b->m);
    for (int i = 0; i < 16; i++) {
        int low = (int)(fifth >> i & 1), high = (int)(fifth >> (i + 16) & 1);
        q[i] = (int8_t)((b->qs[i] & 15) | low << 4);
        q[i + 16] = (int8_t)(b->qs[i] >> 4 | high << 4);
    }
}

LF_UNPACK(q8_0) {
    *scale = lf_half(b->d);
    for (int i = 0; i < 32; i++) q[i] = b->qs[i];
}
