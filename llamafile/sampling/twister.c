/* MT19937 by Matsumoto and Nishimura (1998): seeding, the twist, tempering, and draws from [0, 1). */
#include "twister.h"

#define LF_TWISTER_SHIFT 397

void lf_twister_seed(lf_twister *t, uint32_t seed) {
    t->word[0] = seed;
    for (uint32_t i = 1; i < LF_TWISTER_WORDS; i++)
        t->word[i] = 1812433253u * (t->word[i - 1] ^ (t->word[i - 1] >> 30)) + i;
    t->next = LF_TWISTER_WORDS;
}

static void lf_twist(lf_twister *t) {
    uint32_t *w = t->word;
    for (int i = 0; i < LF_TWISTER_WORDS; i++) {
        uint32_t y = (w[i] & 0x80000000u) | (w[(i + 1) % LF_TWISTER_WORDS] & 0x7fffffffu);
        w[i] = w[(i + LF_TWISTER_SHIFT) % LF_TWISTER_WORDS] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->next = 0;
}

uint32_t lf_twister_draw(lf_twister *t) {
    if (t->next >= LF_TWISTER_WORDS) lf_twist(t);
    uint32_t y = t->word[t->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

double lf_twister_double(lf_twister *t) {
    double low = lf_twister_draw(t);
    double sum = low + (double)lf_twister_draw(t) * 0x1p32;
    /* The sum has 64 bits and a double 53: rounding can reach 1, which the half-open interval excludes. */
    return sum >= 0x1p64 ? 0x1.fffffffffffffp-1 : sum * 0x1p-64;
}

float lf_twister_float(lf_twister *t) {
    float draw = (float)lf_twister_draw(t);
    return draw >= 0x1p32f ? 0x1.fffffep-1f : draw * 0x1p-32f;
}
