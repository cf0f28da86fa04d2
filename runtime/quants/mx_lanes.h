/* Fast loader of the small floats under a power of two. */
#if LF_STEP == 4

LF_FILL(mxfp4) {
    for (int64_t b = 0; b < blocks; b++, rows += sizeof(lf_mxfp4), values += 8 * LF_VECTOR, scale += LF_IW) {
        lf_iv w[8];
        ask = lf_ask(ask, sizeof(lf_mxfp4) * LF_IW);
        lf_codes(rows + 1, stride, lf_codebook_mxfp4, w);
        for (int j = 0; j < 8; j++) lf_i_put(values + j * LF_VECTOR, w[j]);
        for (int r = 0; r < LF_IW; r++) {
            uint32_t e = *(const uint8_t *)(rows + r * stride);
            scale[r] = lf_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        }
    }
}

#define LF_LANES_MX [LF_MXFP4] = {lf_fill_mxfp4, 128},
#endif
