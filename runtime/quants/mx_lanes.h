/* Fast loader of the small floats under a power of two. */
#if LF_STEP == 4

/* 2^(e - 128) for each row's exponent e, which lie side by side; the two smallest are no normal numbers. */
LF_INLINE lf_if lf_powers(const char *e) {
#if LF_IW == 16
    __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)e));
    __m512i small = _mm512_sllv_epi32(lf_i_set(0x00200000), v), normal = _mm512_slli_epi32(lf_i_add(v, lf_i_set(-1)), 23);
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, _mm512_cmplt_epi32_mask(v, lf_i_set(2)), small));
#else
    __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)e));
    __m256i small = _mm256_sllv_epi32(lf_i_set(0x00200000), v), normal = _mm256_slli_epi32(lf_i_add(v, lf_i_set(-1)), 23);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(lf_i_set(2), v)));
#endif
}

LF_FILL(mxfp4, MXFP4, 128, LF_ANY_BYTE) {
    for (int64_t b = 0; b < blocks; b++, lf_advance(&from, 1)) {
        float scale[LF_IW];
        lf_iv w[8];
        lf_ask(&from, sizeof(lf_mxfp4) * LF_IW);
        lf_begin(to, 32);
        lf_codes(&from, 1, lf_codebook_mxfp4, w);
        for (int j = 0; j < 8; j++) lf_give(to, j, w[j]);
        for (int r = 0; !from.laid && r < LF_IW; r++) {
            uint32_t e = (uint8_t)from.at[r * from.stride];
            scale[r] = lf_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        }
        lf_give_scale(to, 0, from.laid ? lf_powers(from.odd) : lf_if_load(scale));
        lf_end(to, 32);
    }
}

#define LF_LANES_MX [LF_MXFP4] = LF_FILLS(mxfp4),
#endif
