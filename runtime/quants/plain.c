/* Encode floats that stand by themselves: to the nearest, ties to even. */
#include "formats.h"

void lf_encode_f32(const float *x, void *out, int64_t n) { memcpy(out, x, (size_t)n * sizeof *x); }

void lf_encode_f16(const float *x, void *out, int64_t n) {
    lf_f16 *y = out;
    for (int64_t i = 0; i < n; i++) y[i].x = lf_to_half(x[i]);
}

void lf_encode_bf16(const float *x, void *out, int64_t n) {
    lf_bf16 *y = out;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = lf_bits(x[i]);
        y[i].x = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}
