/* Encode blocks of 256 with small integer scales. */
#include "fit.h"
#include "formats.h"

static const lf_shape Q2_K = {16, 16, {0, 3, 0, 0}, 0, 15, 0, 15}, Q3_K = {16, 16, {-4, 3, 0, 0}, -32, 31, 0, 0},
                      Q4_K = {8, 32, {0, 15, 0, 0}, 0, 63, 0, 63}, Q5_K = {8, 32, {0, 31, 0, 0}, 0, 63, 0, 63},
                      Q6_K = {16, 16, {-32, 31, 0, 0}, -128, 127, 0, 0};

void lf_encode_q2_k(const float *x, void *out, int64_t n) {
    lf_q2_k *b = out;
    for (lf_fitted f; n > 0; n -= 256, x += 256, b++) {
        lf_fit(x, &Q2_K, &f);
        memset(b, 0, sizeof *b);
        b->d = lf_to_half(f.d);
        b->dmin = lf_to_half(f.dmin);
        for (int g = 0; g < 16; g++) b->scales[g] = (uint8_t)(f.step[g] | f.minimum[g] << 4);
        for (int i = 0; i < 256; i++) b->qs[i / 128 * 32 + i % 32] |= (uint8_t)(f.level[i] << i / 32 % 4 * 2);
    }
}

void lf_encode_q3_k(const float *x, void *out, int64_t n) {
    lf_q3_k *b = out;
    for (lf_fitted f; n > 0; n -= 256, x += 256, b++) {
        lf_fit(x, &Q3_K, &f);
        memset(b, 0, sizeof *b);
        b->d = lf_to_half(f.d);
        for (int g = 0; g < 16; g++) {
            int step = f.step[g] + 32;
            b->scales[g % 8] |= (uint8_t)((step & 15) << g / 8 * 4);
            b->scales[8 + g % 4] |= (uint8_t)((step >> 4) << g / 4 * 2);
        }
        for (int i = 0; i < 256; i++) {
            int q = f.level[i] + 4;
            b->qs[i / 128 * 32 + i % 32] |= (uint8_t)((q & 3) << i / 32 % 4 * 2);
            b->hmask[i % 32] |= (uint8_t)((q >> 2) << i / 32);
        }
    }
}

/* The reverse of lf_k_scales. */
static void pack_scales(const lf_fitted *f, uint8_t *packed) {
    for (int g = 0; g < 4; g++) {
        packed[g] = (uint8_t)(f->step[g] | f->step[g + 4] >> 4 << 6);
        packed[g + 4] = (uint8_t)(f->minimum[g] | f->minimum[g + 4] >> 4 << 6);
        packed[g + 8] = (uint8_t)((f->step[g + 4] & 15) | (f->minimum[g + 4] & 15) << 4);
    }
}

/* The low nibbles of 64 levels: the first 32 below, the others above. */
static void pack_nibbles(const int8_t *level, uint8_t *qs) {
    for (int i = 0; i < 128; i++) {
        const int8_t *pair = level + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((pair[0] & 15) | (pair[32] & 15) << 4);
    }
}

void lf_encode_q4_k(const float *x, void *out, int64_t n) {
    lf_q4_k *b = out;
    for (lf_fitted f; n > 0; n -= 256, x += 256, b++) {
        lf_fit(x, &Q4_K, &f);
        b->d = lf_to_half(f.d);
        b->dmin = lf_to_half(f.dmin);
        pack_scales(&f, b->scales);
        pack_nibbles(f.level, b->qs);
    }
}

void lf_encode_q5_k(const float *x, void *out, int64_t n) {
    lf_q5_k *b = out;
    for (lf_fitted f; n > 0; n -= 256, x += 256, b++) {
        lf_fit(x, &Q5_K, &f);
        b->d = lf_to_half(f.d);
        b->dmin = lf_to_half(f.dmin);
        pack_scales(&f, b->scales);
        pack_nibbles(f.level, b->qs);
        memset(b->qh, 0, sizeof b->qh);
        for (int i = 0; i < 256; i++) b->qh[i % 32] |= (uint8_t)((f.level[i] >> 4) << i / 32);
    }
}

void lf_encode_q6_k(const float *x, void *out, int64_t n) {
    lf_q6_k *b = out;
    for (lf_fitted f; n > 0; n -= 256, x += 256, b++) {
        lf_fit(x, &Q6_K, &f);
        memset(b, 0, sizeof *b);
        b->d = lf_to_half(f.d);
        memcpy(b->scales, f.step, 16);
        for (int i = 0; i < 256; i++) {
            int q = f.level[i] + 32;
            b->ql[i / 128 * 64 + i % 64] |= (uint8_t)((q & 15) << i / 64 % 2 * 4);
            b->qh[i / 128 * 32 + i % 32] |= (uint8_t)((q >> 4) << i / 32 % 4 * 2);
        }
    }
}
