/* Floats into the formats that a cache may have and back, 32 values at a time. */
#ifndef LF_ENCODE_H
#define LF_ENCODE_H
#include "slices.h"

/* The block formats of caches: weights have more, which attention need not know. */
#define LF_CACHE_QUANTS(X) X(q8_0, Q8_0) X(q4_0, Q4_0) X(q4_1, Q4_1) X(q5_0, Q5_0) X(q5_1, Q5_1) X(iq4_nl, IQ4_NL)

/* Whether a cache on the card may have this format. */
static inline bool lf_encodes(int dtype) {
    switch (dtype) {
#define X(name, NAME) case LF_##NAME:
        LF_CACHE_QUANTS(X)
#undef X
    case LF_F32: case LF_F16: case LF_BF16: return true;
    }
    return false;
}

/* Values 32 * s and on of a head in a block format. */
LF_DEV void lf_cell_quants(int dtype, const void *head, int s, float y[32]) {
    switch (dtype) {
#define X(name, NAME) case LF_##NAME: lf_floats((const lf_##name *)head + s, 0, y); return;
        LF_CACHE_QUANTS(X)
#undef X
    }
}
/* The same in any format of caches; where floats stand alone a head may end early. */
LF_DEV void lf_cell_floats(int dtype, const void *head, int s, int count, float y[32]) {
    switch (dtype) {
    case LF_F32: case LF_F16: case LF_BF16: lf_lone_floats(dtype, head, s, count, y); return;
    }
    lf_cell_quants(dtype, head, s, y);
}

/* Round x / step to an integer from low to high. */
LF_DEV int lf_level(float x, float turn, int low, int high) {
    int level = (int)rintf(x * turn);
    return level < low ? low : level > high ? high : level;
}

/* The step that loses least of these candidates, for levels low .. high that may be shifted by a minimum: few are tried,
   for a cell is written once and this is on the way to the next token. */
LF_DEV float lf_best_step(const float *x, float start, float shift, int low, int high) {
    float best = start, least = INFINITY;
    for (int t = -4; t <= 4; t++) {
        float step = lf_half(lf_to_half(start * (1.0f + 0.025f * (float)t))), turn = step != 0.0f ? 1.0f / step : 0.0f, lost = 0.0f;
        for (int i = 0; i < 32; i++) {
            float e = x[i] - shift - step * (float)lf_level(x[i] - shift, turn, low, high);
            lost = fmaf(e, e, lost);
        }
        if (lost < least) least = lost, best = step;
    }
    return best;
}

/* The value of the largest magnitude, with its sign. */
LF_DEV float lf_largest(const float *x) {
    float most = 0.0f;
    for (int i = 0; i < 32; i++) most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
    return most;
}

/* Write 32 values in four or five bits: `fifth` takes the upper bits where there are five. */
LF_DEV void lf_pack_levels(const float *x, float shift, float step, int low, int bits, uint8_t *qs, uint8_t *fifth) {
    float turn = step != 0.0f ? 1.0f / step : 0.0f;
    int high = low + (1 << bits) - 1;
    uint32_t upper = 0;
    for (int i = 0; i < 16; i++) {
        int a = lf_level(x[i] - shift, turn, low, high) - low, b = lf_level(x[i + 16] - shift, turn, low, high) - low;
        qs[i] = (uint8_t)((a & 15) | (b & 15) << 4);
        upper |= (uint32_t)(a >> 4) << i | (uint32_t)(b >> 4) << (i + 16);
    }
    for (int i = 0; bits == 5 && i < 4; i++) fifth[i] = (uint8_t)(upper >> 8 * i);
}

/* The four formats of one step, and a minimum where `with_minimum`; returns the minimum. */
LF_DEV float lf_fit_levels(const float *x, int bits, bool with_minimum, float *step) {
    if (!with_minimum) {
        *step = lf_best_step(x, lf_largest(x) / -(float)(1 << (bits - 1)), 0.0f, -(1 << (bits - 1)), (1 << (bits - 1)) - 1);
        return 0.0f;
    }
    float low = x[0], high = x[0];
    for (int i = 1; i < 32; i++) low = fminf(low, x[i]), high = fmaxf(high, x[i]);
    low = lf_half(lf_to_half(low));
    *step = lf_best_step(x, (high - low) / (float)((1 << bits) - 1), low, 0, (1 << bits) - 1);
    return low;
}

LF_DEV void lf_encode_q8_0(const float *x, lf_q8_0 *b) {
    b->d = lf_to_half(fabsf(lf_largest(x)) / 127.0f);
    float d = lf_half(b->d), turn = d > 0.0f ? 1.0f / d : 0.0f;
    for (int i = 0; i < 32; i++) b->qs[i] = (int8_t)lf_level(x[i], turn, -127, 127);
}

LF_DEV void lf_encode_iq4_nl(const float *x, lf_iq4_nl *b) {
    float step = lf_half(lf_to_half(lf_largest(x) / -127.0f)), turn = step != 0.0f ? 1.0f / step : 0.0f;
    b->d = lf_to_half(step);
    for (int i = 0; i < 32; i++) {
        int best = 0;
        for (int c = 1; c < 16; c++)
            if (fabsf(x[i] * turn - (float)lf_codebook_iq4_nl[c]) < fabsf(x[i] * turn - (float)lf_codebook_iq4_nl[best])) best = c;
        if (i < 16) b->qs[i] = (uint8_t)best;
        else b->qs[i - 16] = (uint8_t)(b->qs[i - 16] | best << 4);
    }
}

/* Write values 32 * s and on, `count` of them, of a row that begins on a block's boundary. */
LF_DEV void lf_write_floats(int dtype, void *row, int s, int count, const float *x) {
    float step;
    switch (dtype) {
    case LF_F32:
        for (int i = 0; i < count; i++) ((float *)row)[32 * s + i] = x[i];
        return;
    case LF_F16:
        for (int i = 0; i < count; i++) ((uint16_t *)row)[32 * s + i] = lf_to_half(x[i]);
        return;
    case LF_BF16:
        for (int i = 0; i < count; i++) ((uint16_t *)row)[32 * s + i] = (uint16_t)lf_to_bf16(x[i]);
        return;
    case LF_Q8_0: lf_encode_q8_0(x, (lf_q8_0 *)row + s); return;
    case LF_IQ4_NL: lf_encode_iq4_nl(x, (lf_iq4_nl *)row + s); return;
    case LF_Q4_0: {
        lf_q4_0 *b = (lf_q4_0 *)row + s;
        lf_fit_levels(x, 4, false, &step);
        b->d = lf_to_half(step);
        lf_pack_levels(x, 0.0f, step, -8, 4, b->qs, (uint8_t *)0);
        return;
    }
    case LF_Q4_1: {
        lf_q4_1 *b = (lf_q4_1 *)row + s;
        float low = lf_fit_levels(x, 4, true, &step);
        b->d = lf_to_half(step), b->m = lf_to_half(low);
        lf_pack_levels(x, low, step, 0, 4, b->qs, (uint8_t *)0);
        return;
    }
    case LF_Q5_0: {
        lf_q5_0 *b = (lf_q5_0 *)row + s;
        lf_fit_levels(x, 5, false, &step);
        b->d = lf_to_half(step);
        lf_pack_levels(x, 0.0f, step, -16, 5, b->qs, b->qh);
        return;
    }
    case LF_Q5_1: {
        lf_q5_1 *b = (lf_q5_1 *)row + s;
        float low = lf_fit_levels(x, 5, true, &step);
        b->d = lf_to_half(step), b->m = lf_to_half(low);
        lf_pack_levels(x, low, step, 0, 5, b->qs, b->qh);
        return;
    }
    }
}
#endif
