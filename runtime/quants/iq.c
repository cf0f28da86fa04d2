/* Encode blocks whose four bits pick from a codebook. */
#include "fit.h"
#include "formats.h"

static const lf_shape IQ4_NL = {1, 32, {-127, 113, lf_codebook_iq4_nl, 16}, 1, 1, 0, 0},
                      IQ4_XS = {8, 32, {-127, 113, lf_codebook_iq4_nl, 16}, -32, 31, 0, 0};

/* The place of a code in the codebook. */
static int place(int8_t code) {
    int index = 0;
    for (int k = 1; k < 16; k++) index += code >= lf_codebook_iq4_nl[k];
    return index;
}

static void pack(const int8_t *code, uint8_t *qs) {
    for (int i = 0; i < 16; i++) qs[i] = (uint8_t)(place(code[i]) | place(code[i + 16]) << 4);
}

void lf_encode_iq4_nl(const float *x, void *out, int64_t n) {
    lf_iq4_nl *b = out;
    for (lf_fitted f; n > 0; n -= 32, x += 32, b++) {
        lf_fit(x, &IQ4_NL, &f);
        b->d = lf_to_half(f.d);
        pack(f.level, b->qs);
    }
}

void lf_encode_iq4_xs(const float *x, void *out, int64_t n) {
    lf_iq4_xs *b = out;
    for (lf_fitted f; n > 0; n -= 256, x += 256, b++) {
        lf_fit(x, &IQ4_XS, &f);
        memset(b, 0, sizeof *b);
        b->d = lf_to_half(f.d);
        for (int g = 0; g < 8; g++) {
            int step = f.step[g] + 32;
            b->scales_l[g / 2] |= (uint8_t)((step & 15) << g % 2 * 4);
            b->scales_h[g / 4] |= (uint8_t)((step >> 4) << g % 4 * 2);
            pack(f.level + 32 * g, b->qs + 16 * g);
        }
    }
}
