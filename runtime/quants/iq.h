/* Decode blocks whose four bits pick from a codebook. */
LF_UNPACK(iq4_nl) {
    *scale = lf_half(b->d);
    for (int i = 0; i < 16; i++) {
        q[i] = lf_codebook_iq4_nl[b->qs[i] & 15];
        q[i + 16] = lf_codebook_iq4_nl[b->qs[i] >> 4];
    }
}

LF_UNPACK(iq4_xs) {
    float d = lf_half(b->d);
    for (int g = 0; g < 8; g++) {
        int low = b->scales_l[g / 2] >> g % 2 * 4 & 15, high = b->scales_h[g / 4] >> g % 4 * 2 & 3;
        scale[g] = d * (float)((low | high << 4) - 32);
        for (int i = 0; i < 16; i++) {
            q[32 * g + i] = lf_codebook_iq4_nl[b->qs[16 * g + i] & 15];
            q[32 * g + i + 16] = lf_codebook_iq4_nl[b->qs[16 * g + i] >> 4];
        }
    }
}
