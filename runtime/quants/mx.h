/* Decode small floats under a power of two. */
LF_UNPACK(mxfp4) {
    *scale = lf_float(b->e < 2 ? 0x00200000u << b->e : (uint32_t)(b->e - 1) << 23);
    for (int i = 0; i < 16; i++) {
        q[i] = lf_codebook_mxfp4[b->qs[i] & 15];
        q[i + 16] = lf_codebook_mxfp4[b->qs[i] >> 4];
    }
}
