/* The Mersenne Twister MT19937: the generator whose draws make a seed repeatable from one machine to the next. */
#ifndef LF_TWISTER_H
#define LF_TWISTER_H
#include <stdint.h>

#define LF_TWISTER_WORDS 624

typedef struct {
    uint32_t word[LF_TWISTER_WORDS];
    int next;
} lf_twister;

void lf_twister_seed(lf_twister *t, uint32_t seed);
uint32_t lf_twister_draw(lf_twister *t);

/* One double in [0, 1) made of two draws, the low half first. */
double lf_twister_double(lf_twister *t);

/* One float in [0, 1) made of one draw. */
float lf_twister_float(lf_twister *t);
#endif
