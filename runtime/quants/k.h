/* Decode blocks of 256 with small integer scales. */
LF_UNPACK(q2_k) {
    float d = lf_half(b->d), dmin = lf_half(b->dmin);
    for (int g = 0; g < 16; g++) {
        scale[g] = d * (float)(b->scales[g] & 15);
        bias[g] = -(dmin * (float)(b->scales[g] >> 4));
    }
    for (int n = 0; n < 2; n++)
        for (int part = 0; part < 4; part++)
            for (int i = 0; i < 32; i++)
                q[128 * n + 32 * part + i] = (int8_t)(b->qs[32 * n + i] >> 2 * part & 3);
}

LF_UNPACK(q3_k) {
    float d = lf_half(b->d);
    for (int g = 0; g < 16; g++) {
        int low = b->scales[g % 8] >> g / 8 * 4 & 15, high = b->scales[8 + g % 4] >> g / 4 * 2 & 3;
        scale[g] = d * (float)((low | high << 4) - 32);
    }
    for (int n = 0; n < 2; n++)
        for (int part = 0; part < 4; part++)
            for (int i = 0; i < 32; i++) {
                int top = b->hmask[i] >> (4 * n + part) & 1;
                q[128 * n + 32 * part + i] = (int8_t)((b->qs[32 * n + i] >> 2 * part & 3) - 4 + 4 * top);
            }
}

/* Eight scales and minima of six bits: the first four of each lie in a byte's low bits; the others' low halves share
   the last four bytes, their high halves the free bits of the first eight. */
LF_FN void lf_k_scales(LF_SRC uint8_t *packed, float d, float dmin, LF_DST float *scale, LF_DST float *bias) {
    for (int g = 0; g < 4; g++) {
        scale[g] = d * (float)(packed[g] & 63);
        bias[g] = -(dmin * (float)(packed[g + 4] & 63));
        scale[g + 4] = d * (float)((packed[g + 8] & 15) | packed[g] >> 6 << 4);
        bias[g + 4] = -(dmin * (float)(packed[g + 8] >> 4 | packed[g + 4] >> 6 << 4));
    }
}

LF_UNPACK(q4_k) {
    lf_k_scales(b->scales, lf_half(b->d), lf_half(b->dmin), scale, bias);
    for (int pair = 0; pair < 4; pair++)
        for (int i = 0; i < 32; i++) {
            q[64 * pair + i] = (int8_t)(b->qs[32 * pair + i] & 15);
            q[64 * pair + 32 + i] = (int8_t)(b->qs[32 * pair + i] >> 4);
        }
}

LF_UNPACK(q5_k) {
    lf_k_scales(b->scales, lf_half(b->d), lf_half(b->dmin), scale, bias);
    for (int pair = 0; pair < 4; pair++)
        for (int i = 0; i < 32; i++) {
            int low = b->qh[i] >> 2 * pair & 1, high = b->qh[i] >> (2 * pair + 1) & 1;
            q[64 * pair + i] = (int8_t)((b->qs[32 * pair + i] & 15) | low << 4);
            q[64 * pair + 32 + i] = (int8_t)(b->qs[32 * pair + i] >> 4 | high << 4);
        }
}

LF_UNPACK(q6_k) {
    float d = lf_half(b->d);
    for (int g = 0; g < 16; g++) scale[g] = d * (float)b->scales[g];
    for (int n = 0; n < 2; n++)
        for (int part = 0; part < 2; part++)
            for (int i = 0; i < 32; i++) {
                int low = b->ql[64 * n + 32 * part + i], high = b->qh[32 * n + i] >> 2 * part;
                q[128 * n + 32 * part + i] = (int8_t)(((low & 15) | (high & 3) << 4) - 32);
                q[128 * n + 64 + 32 * part + i] = (int8_t)((low >> 4 | (high >> 4 & 3) << 4) - 32);
            }
}
