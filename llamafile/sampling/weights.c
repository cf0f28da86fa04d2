/* Sums over the candidates in one pass: weights, entropy's moment, deviation; and the division by a temperature. */
#include "candidates.h"
#include "four.h"
#include <float.h>
#include <math.h>

#define LF_REACH (-24.0f) /* e^-24 is below half of 2^-33: no weight */

/* Differences from the top, NaN and -inf as far down as a weight is 0. */
static inline lf_f4 lf_below4(lf_f4 x, lf_f4 top) { return lf_max4(lf_four(LF_REACH), x - top); }

static inline void lf_weigh4(lf_d4 *w, lf_f4 below) {
    const double grid = 0x1.8p19; /* 1.5 * 2^(52 - 33): what is added to it is rounded to 2^-33 */
    *w = __builtin_convertvector(lf_exp4(below), lf_d4);
    *w = (*w + grid) - grid;
}

double lf_weight(float value, float top) {
    lf_d4 w;
    lf_weigh4(&w, lf_below4(lf_four(value), lf_four(top)));
    return w[0];
}

/* Four values from place i on, whichever form they have; -inf past the end. */
static inline lf_f4 lf_value4(const lf_candidates *c, int i) {
    int n = c->count < 0 ? c->n : c->count;
    if (c->count < 0 && i + 4 <= n) return lf_read4(c->x + i);
    lf_f4 v = lf_four(-INFINITY);
    for (int k = 0; k < 4 && i + k < n; k++) v[k] = c->count < 0 ? c->x[i + k] : lf_key_value(c->keys[i + k]);
    return v;
}

static int lf_places(const lf_candidates *c) { return c->count < 0 ? c->n : c->count; }

int lf_number(const lf_candidates *c) {
    lf_i4 number = {0};
    if (c->count >= 0) return c->count;
    for (int i = 0; i < c->n; i += 4) number -= lf_value4(c, i) >= lf_four(-FLT_MAX); /* true is -1 */
    return number[0] + number[1] + number[2] + number[3];
}

double lf_total(const lf_candidates *c) {
    lf_f4 top = lf_four(lf_top(c));
    lf_d4 sum = {0}, w;
    for (int i = 0, n = lf_places(c); i < n; i += 4) {
        if (c->count < 0 && c->peaks[i / LF_BLOCK] - c->top < LF_REACH) {
            i += LF_BLOCK - 4;
            continue;
        }
        lf_weigh4(&w, lf_below4(lf_value4(c, i), top));
        sum += w;
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double lf_moment(const lf_candidates *c) {
    lf_f4 top = lf_four(lf_top(c));
    lf_d4 sum = {0}, w;
    for (int i = 0, n = lf_places(c); i < n; i += 4) {
        lf_f4 below = lf_below4(lf_value4(c, i), top);
        lf_weigh4(&w, below);
        sum += w * __builtin_convertvector(below, lf_d4);
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double lf_deviation(const lf_candidates *c) {
    /* Measured from the top: little cancellation, and a shift of all values changes nothing. */
    lf_f4 top = lf_four(lf_top(c));
    lf_d4 sum = {0}, squares = {0};
    for (int i = 0, n = lf_places(c); i < n; i += 4) {
        lf_f4 x = lf_value4(c, i);
        lf_i4 there = x >= lf_four(-FLT_MAX);
        lf_d4 below = __builtin_convertvector((lf_f4)((lf_i4)x & there), lf_d4) -
                      __builtin_convertvector((lf_f4)((lf_i4)top & there), lf_d4);
        sum += below;
        squares += below * below;
    }
    double n = lf_number(c), mean = (sum[0] + sum[1] + sum[2] + sum[3]) / n;
    double variance = (squares[0] + squares[1] + squares[2] + squares[3]) / n - mean * mean;
    return variance > 0 ? sqrt(variance) : 0;
}

const double *lf_weights(lf_candidates *c, float top) {
    double *out = (double *)c->spare;
    lf_d4 w;
    for (int i = 0; i < c->count; i += 4) {
        lf_weigh4(&w, lf_below4(lf_value4(c, i), lf_four(top)));
        if (i + 4 <= c->count) memcpy(out + i, &w, sizeof w);
        else for (int k = 0; i + k < c->count; k++) out[i + k] = w[k];
    }
    return out;
}

static inline lf_f4 lf_divide4(lf_f4 x, float t) {
    lf_i4 there = x >= lf_four(-FLT_MAX);
    lf_f4 q = lf_max4(lf_four(-FLT_MAX), x / t);
    q = -lf_max4(lf_four(-FLT_MAX), -q);
    return (lf_f4)(((lf_i4)q & there) | ((lf_i4)lf_four(-INFINITY) & ~there));
}

static void lf_divide_all(float *x, int n, float t) {
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        lf_f4 q = lf_divide4(lf_read4(x + i), t);
        memcpy(x + i, &q, sizeof q);
    }
    for (; i < n; i++) x[i] = lf_divide4(lf_four(x[i]), t)[0];
}

void lf_divide(lf_candidates *c, float t) {
    if (c->count >= 0) {
        for (int i = 0; i < c->count; i++)
            c->keys[i] = lf_key_of(lf_divide4(lf_four(lf_key_value(c->keys[i])), t)[0], lf_key_id(c->keys[i]));
        lf_resort(c); /* values that were apart may have become equal */
        return;
    }
    lf_own(c);
    lf_divide_all(c->own, c->n, t);
    lf_divide_all(c->peaks, c->blocks, t); /* division keeps the order, so the maxima stay the maxima */
    lf_retop(c);
}
