/* Encode blocks of 32 with one scale. */
#include "fit.h"
#include "formats.h"

#include <math.h>

/* The steps are all 1, so d is the scale; a minimum of 1 makes dmin the bias, its sign turned. */
static const lf_shape Q4_0 = {1, 32, {-8, 7, 0, 0}, 1, 1, 0, 0}, Q4_1 = {1, 32, {0, 15, 0, 0}, 1, 1, 1, 1},
                      Q5_0 = {1, 32, {-16, 15, 0, 0}, 1, 1, 0, 0}, Q5_1 = {1, 32, {0, 31, 0, 0}, 1, 1, 1, 1};

void lf_encode_q4_0(const float *x, void *out, int64_t n) {
    lf_q4_0 *b = out;
    for (lf_fitted f; n > 0; n -= 32, x += 32, b++) {
        lf_fit(x, &Q4_0, &f);
        b->d = lf_to_half(f.d);
        for (int i = 0; i < 16; i++) b->qs[i] = (uint8_t)((f.level[i] + 8) | (f.level[i + 16] + 8) << 4);
    }
}

void lf_encode_q4_1(const float *x, void *out, int64_t n) {
    lf_q4_1 *b = out;
    for (lf_fitted f; n > 0; n -= 32, x += 32, b++) {
        lf_fit(x, &Q4_1, &f);
        b->d = lf_to_half(f.d);
        b->m = lf_to_half(-f.dmin);
        for (int i = 0; i < 16; i++) b->qs[i] = (uint8_t)(f.level[i] | f.level[i + 16] << 4);
    }
}

/* Put the low four bits of levels 0 to 31 into nibbles and the fifth into bits. */
static void pack_five(const int8_t *level, int zero, uint8_t *qs, uint8_t *qh) {
    memset(qh, 0, 4);
    for (int i = 0; i < 32; i++) qh[i / 8] |= (uint8_t)(((level[i] + zero) >> 4) << i % 8);
    for (int i = 0; i < 16; i++) qs[i] = (uint8_t)(((level[i] + zero) & 15) | ((level[i + 16] + zero) & 15) << 4);
}

void lf_encode_q5_0(const float *x, void *out, int64_t n) {
    lf_q5_0 *b = out;
    for (lf_fitted f; n > 0; n -= 32, x += 32, b++) {
        lf_fit(x, &Q5_0, &f);
        b->d = lf_to_half(f.d);
        pack_five(f.level, 16, b->qs, b->qh);
    }
}

void lf_encode_q5_1(const float *x, void *out, int64_t n) {
    lf_q5_1 *b = out;
    for (lf_fitted f; n > 0; n -= 32, x += 32, b++) {
        lf_fit(x, &Q5_1, &f);
        b->d = lf_to_half(f.d);
        b->m = lf_to_half(-f.dmin);
        pack_five(f.level, 0, b->qs, b->qh);
    }
}

/* With 255 levels a search gains nothing; -128 stays free, for it has no opposite in eight bits. */
void lf_encode_q8_0(const float *x, void *out, int64_t n) {
    lf_q8_0 *b = out;
    for (; n > 0; n -= 32, x += 32, b++) {
        float most = 0;
        for (int i = 0; i < 32; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        b->d = lf_to_half(most / 127);
        float d = lf_half(b->d), turn = d > 0 ? 1 / d : 0;
        for (int i = 0; i < 32; i++) {
            float y = x[i] * turn;
            y = y > 127 ? 127 : y < -127 ? -127 : y;
            b->qs[i] = (int8_t)(int)(y + (y < 0 ? -0.5f : 0.5f));
        }
    }
}
