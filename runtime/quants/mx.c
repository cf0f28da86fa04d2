/* Encode small floats under a power of two. */
#include "formats.h"

#include <math.h>

/* The code whose value comes nearest to x, a number in units of the scale. */
static int nearest(float x) {
    static const float middle[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10}; /* between the magnitudes of the codebook */
    float magnitude = fabsf(x);
    int code = 0;
    for (int k = 0; k < 7; k++) code += magnitude > middle[k];
    return code | (x < 0 && code ? 8 : 0);
}

/* Round a block under one exponent; return the squared error. */
static float round_under(const float *x, int e, lf_mxfp4 *b) {
    lf_mxfp4 empty = {.e = (uint8_t)e};
    int8_t q[32];
    float scale, bias, y[32], error = 0;
    lf_unpack_mxfp4(&empty, q, &scale, &bias);
    *b = empty;
    for (int i = 0; i < 32; i++) b->qs[i % 16] |= (uint8_t)(nearest(x[i] / scale) << i / 16 * 4);
    lf_decode_mxfp4(b, y);
    for (int i = 0; i < 32; i++) error += (x[i] - y[i]) * (x[i] - y[i]);
    return error;
}

/* The exponent that lays the largest number on 4 to 7, of codes up to 6, or one of its neighbours: what loses least. */
void lf_encode_mxfp4(const float *x, void *out, int64_t n) {
    lf_mxfp4 *b = out;
    for (; n > 0; n -= 32, x += 32, b++) {
        float most = 0, best = INFINITY;
        for (int i = 0; i < 32; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        int middle = (int)(lf_bits(most) >> 23) - 2;
        for (int e = middle - 1; e <= middle + 1; e++) {
            lf_mxfp4 trial;
            float error = round_under(x, e < 0 ? 0 : e, &trial);
            if (error < best) best = error, *b = trial;
        }
    }
}
