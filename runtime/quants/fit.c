/* The search that encoders share: how to round a block of numbers so that it loses least. */
#include "fit.h"
#include "portable.h"

#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Four lanes by hand: sums come out the same on every machine, and every compiler finds the instructions. */
typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));

static inline f4 load(const float *x) {
    f4 v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline f4 all(float x) { return (f4){x, x, x, x}; }
static inline float total(f4 v) { return v[0] + v[1] + (v[2] + v[3]); }
static inline float inverse(float x) { return x != 0 ? 1 / x : 0; }

static inline f4 clamp(f4 v, f4 low, f4 high) {
#ifdef __SSE2__
    return (f4)_mm_max_ps(_mm_min_ps((__m128)v, (__m128)high), (__m128)low);
#else
    i4 over = v > high, under = v < low;
    v = (f4)((over & (i4)high) | (~over & (i4)v));
    return (f4)((under & (i4)low) | (~under & (i4)v));
#endif
}

/* The half float next to x that is no infinity. */
static float held(float x) { return lf_half(lf_to_half(x > 65504 ? 65504 : x < -65504 ? -65504 : x)); }

/* The level next to v. Adding and taking away 1.5 * 2^23 rounds to an integer; a codebook is climbed by its steps. */
static inline f4 nearest(f4 v, lf_levels l) {
    if (!l.codes) return clamp(v, all(l.lo), all(l.hi)) + all(12582912.f) - all(12582912.f);
    f4 r = all(l.codes[0]);
    for (int k = 1; k < l.count; k++) {
        float low = l.codes[k - 1], high = l.codes[k];
        r += (f4)((v > all((low + high) / 2)) & (i4)all(high - low));
    }
    return r;
}

/* A group of numbers x[n], and what is known of them. */
typedef struct {
    const float *x;
    int n;
    float sum, low, high;
} group;

static group look_at(const float *x, int n) {
    group a = {x, n, 0, x[0], x[0]};
    for (int i = 0; i < n; i++) {
        a.sum += x[i];
        if (x[i] < a.low) a.low = x[i];
        if (x[i] > a.high) a.high = x[i];
    }
    return a;
}

/* A line scale * level + bias, and by how much it reduces the squared error against all zeros. */
typedef struct {
    float scale, bias, gain;
} line;

/* The best line for the levels that the numbers get by (x - bias) * turn, from the normal equations; a biased one has
   a bias of at most `most`, one without a bias goes through zero. */
static line refit(const group *a, lf_levels l, float turn, float bias, int biased, float most) {
    f4 r1 = all(0), r2 = all(0), r3 = all(0);
    for (int i = 0; i < a->n; i += 4) {
        f4 v = load(a->x + i), r = nearest((v - all(bias)) * all(turn), l);
        r1 += r;
        r2 += r * r;
        r3 += r * v;
    }
    float n = (float)a->n, sum_r = total(r1), sum_rr = total(r2), sum_xr = total(r3), det = n * sum_rr - sum_r * sum_r;
    line f = {inverse(sum_rr) * sum_xr, 0, 0};
    if (biased && det > 0) {
        f.scale = (n * sum_xr - sum_r * a->sum) / det;
        f.bias = (sum_rr * a->sum - sum_r * sum_xr) / det;
        if (f.bias > most) f.bias = most, f.scale = inverse(sum_rr) * (sum_xr - most * sum_r);
    }
    f.gain = f.scale * (2 * sum_xr - f.scale * sum_rr - 2 * f.bias * sum_r) + f.bias * (2 * a->sum - f.bias * n);
    return f;
}

enum { STARTS = 9, POLISH = 1 }; /* twice as many starts lower the error by another 0.1 % */

/* Starts lay the number that is furthest out on the last level and around it, up to the distance of the next. Without
   a bias either end may be meant; with one the smallest number lies on level 0 or half a level lower. The best start is
   polished: under a better line some numbers round elsewhere, which gives a better line. */
static line search(const group *a, const lf_shape *s) {
    const lf_levels l = s->levels;
    const int biased = s->minimum_high > 0;
    const float most = s->minimum_low == s->minimum_high ? INFINITY : 0;
    const float low = !biased ? 0 : a->low < most ? a->low : most;
    const float far = (biased || a->high > -a->low ? a->high : a->low) - low;
    const float reach = l.codes ? (float)(l.codes[1] - l.codes[0]) : 1;
    line best = {0, low, low * (2 * a->sum - low * (float)a->n)};
    if (fabsf(far) < 1e-30f) return best; /* no half float is as small, and quotients would overflow */
    for (int k = 0; k < 2 * STARTS; k++) {
        float end = (k < STARTS || biased ? l.hi : l.lo) + reach * ((float)(k % STARTS) / (STARTS / 2) - 1);
        float start = k < STARTS || !biased ? low : low + far / l.hi / 2;
        line f = refit(a, l, end / far, start, biased, most);
        if (f.gain > best.gain) best = f;
    }
    for (int k = 0; k < POLISH; k++) {
        line f = refit(a, l, inverse(best.scale), best.bias, biased, most);
        if (f.gain > best.gain) best = f;
    }
    return best;
}

/* Round a group to scale * level + bias, store the levels, return the squared error. */
static float settle(const group *a, lf_levels l, float scale, float bias, int8_t *level) {
    f4 turn = all(inverse(scale)), error = all(0);
    for (int i = 0; i < a->n; i += 4) {
        f4 v = load(a->x + i), r = nearest((v - all(bias)) * turn, l), off = v - (r * all(scale) + all(bias));
        error += off * off;
        for (int j = 0; j < 4; j++) level[i + j] = (int8_t)r[j];
    }
    return total(error);
}

static int whole(float x, int low, int high) {
    return x <= (float)low ? low : x >= (float)high ? high : (int)lrintf(x);
}

/* Give group g the best of the steps and minima next to those that its line asks for; return the squared error. */
static float choose(const group *a, const lf_shape *s, const line *f, int g, lf_fitted *b) {
    int step = whole(f->scale * inverse(b->d), s->step_low, s->step_high);
    int minimum = whole(-f->bias * inverse(b->dmin), s->minimum_low, s->minimum_high);
    float best = INFINITY;
    for (int i = step - 1; i <= step + 1; i++)
        for (int j = minimum - 1; j <= minimum + 1; j++) {
            int8_t level[32];
            if (i < s->step_low || i > s->step_high || j < s->minimum_low || j > s->minimum_high) continue;
            float error = settle(a, s->levels, b->d * (float)i, -(b->dmin * (float)j), level);
            if (error >= best) continue;
            best = error, b->step[g] = (int8_t)i, b->minimum[g] = (int8_t)j;
            memcpy(b->level + g * s->n, level, (size_t)s->n);
        }
    return best;
}

/* For the levels, steps and minima that a block has, find the best d and dmin. */
static void rescale(const group *a, const lf_shape *s, lf_fitted *b) {
    float uu = 0, uv = 0, vv = 0, ux = 0, vx = 0;
    for (int g = 0; g < s->groups; g++)
        for (int i = 0; i < s->n; i++) {
            float u = (float)(b->step[g] * b->level[g * s->n + i]), v = -(float)b->minimum[g];
            float x = a[g].x[i];
            uu += u * u, uv += u * v, vv += v * v, ux += u * x, vx += v * x;
        }
    float det = uu * vv - uv * uv;
    b->d = held(det > 0 ? (ux * vv - vx * uv) / det : inverse(uu) * ux);
    if (det > 0) b->dmin = held((vx * uu - ux * uv) / det);
}

enum { ROUNDS = 3 };

void lf_fit(const float *x, const lf_shape *s, lf_fitted *block) {
    group a[16];
    line f[16];
    float scale = 0, minimum = 0, best = INFINITY;
    for (int g = 0; g < s->groups; g++) {
        a[g] = look_at(x + g * s->n, s->n);
        f[g] = search(&a[g], s);
        if (fabsf(f[g].scale) > fabsf(scale)) scale = f[g].scale;
        if (fabsf(f[g].bias) > fabsf(minimum)) minimum = -f[g].bias;
    }
    lf_fitted b = {.d = held(scale / (float)(s->step_low < 0 ? s->step_low : s->step_high)),
                   .dmin = held(minimum * inverse((float)s->minimum_high))};
    for (int round = 0; round < ROUNDS; round++) {
        float error = 0;
        for (int g = 0; g < s->groups; g++) error += choose(&a[g], s, &f[g], g, &b);
        if (error >= best) return;
        best = error, *block = b;
        rescale(a, s, &b);
    }
}
