/* Four floats at a time, for any compiler with vector extensions; what those lack is spelt out for SSE2. */
#ifndef LF_FOUR_H
#define LF_FOUR_H
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef float lf_f4 __attribute__((vector_size(16)));
typedef int32_t lf_i4 __attribute__((vector_size(16)));
typedef uint32_t lf_u4 __attribute__((vector_size(16)));
typedef double lf_d4 __attribute__((vector_size(32)));

static inline lf_f4 lf_four(float v) { return (lf_f4){v, v, v, v}; }

static inline lf_f4 lf_read4(const float *p) {
    lf_f4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The higher of each pair; a NaN in `x` loses. */
static inline lf_f4 lf_max4(lf_f4 m, lf_f4 x) {
#ifdef __SSE2__
    return (lf_f4)_mm_max_ps((__m128)x, (__m128)m);
#else
    lf_i4 higher = x > m;
    return (lf_f4)(((lf_i4)x & higher) | ((lf_i4)m & ~higher));
#endif
}

static inline int lf_any4(lf_i4 truth) {
#ifdef __SSE2__
    return _mm_movemask_ps((__m128)truth);
#else
    return truth[0] | truth[1] | truth[2] | truth[3];
#endif
}

/* e^x for x in [-24, 0], within 2e-6: 2^n by the exponent, 2^f by a polynomial, f in [-1/2, 1/2]. Exact at 0. */
static inline lf_f4 lf_exp4(lf_f4 x) {
    const lf_f4 round = lf_four(0x1.8p23f);
    lf_f4 y = x * lf_four(0x1.715476p0f), t = y + round, f = y - (t - round);
    lf_f4 p = f * lf_four(0x1.5bba14p-10f) + lf_four(0x1.3cea88p-7f);
    p = p * f + lf_four(0x1.c6b752p-5f);
    p = p * f + lf_four(0x1.ebf9bcp-3f);
    p = p * f + lf_four(0x1.62e42ap-1f);
    p = p * f + lf_four(1.0f);
    return (lf_f4)((lf_u4)p + ((lf_u4)t << 23)); /* the shift leaves of the bits of t only those of n */
}
#endif
