/* The steps that reshape the distribution, and the draw: temperature, dynamic temperature, mirostat. */
#include "chain.h"
#include <math.h>

/* With a range, the temperature lies within it by the entropy's share of the highest one, raised to the exponent. */
static double lf_dynamic(const lf_sampler *s) {
    const lf_sampler_params *p = &s->p;
    double low = p->temperature - p->dynatemp_range, high = p->temperature + p->dynatemp_range;
    int number = lf_number(&s->c);
    if (number < 2) return 1;
    double total = lf_total(&s->c), entropy = log(total) - lf_moment(&s->c) / total;
    double share = entropy / log(number);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    low = low > 0 ? low : 0;
    return low + (high - low) * pow(share, p->dynatemp_exponent);
}

void lf_step_temperature(lf_sampler *s) {
    double t = s->p.dynatemp_range > 0 ? lf_dynamic(s) : s->p.temperature;
    if (t <= LF_COLD) lf_best(&s->c, 1);
    else if (t != 1) lf_divide(&s->c, (float)t);
}

lf_key lf_draw(lf_sampler *s) {
    lf_candidates *c = &s->c;
    /* A lone candidate costs mirostat no draw, the other chains one: so the seeds of llama.cpp give the same text. */
    int lone = s->p.mirostat && c->count == 1;
    double total = lf_total(c), target = lone ? 0 : lf_twister_double(&s->draw) * total, sum = 0;
    s->drawn_total = total;
    s->drawn_top = lf_top(c);
    s->drawn = c->count < 0 ? 2 : 1;
    if (c->count < 0) {
        lf_prefix(c, target);
        return c->keys[c->count - 1];
    }
    const double *w = lf_weights(c, s->drawn_top);
    int i = 0;
    while (i < c->count - 1 && (sum += w[i]) < target) i++;
    return c->keys[i];
}

/* How many candidates keep the surprise near mu, if the best 100 follow Zipf's law (Basu et al. 2021). */
static int lf_zipf_k(lf_sampler *s) {
    lf_candidates *c = &s->c;
    double products = 0, squares = 0;
    int dense = c->count < 0, number = c->count;
    if (dense) lf_best(c, c->n < 100 ? c->n : 100);
    for (int i = 0; i < 99 && i + 1 < c->count; i++) {
        double t = log((i + 2.0) / (i + 1.0));
        products += t * ((double)lf_key_value(c->keys[i]) - lf_key_value(c->keys[i + 1]));
        squares += t * t;
    }
    c->count = dense ? -1 : number;
    if (squares == 0) return 1;
    double exponent = products / squares, over = exponent - 1;
    double scale = fabs(over) < 1e-9 ? 1 / log(c->n) : over / (1 - pow(c->n, -over));
    double k = pow(scale * exp2(s->mu), 1 / exponent);
    return k >= c->n ? c->n : k > 1 ? (int)k : 1;
}

void lf_step_mirostat(lf_sampler *s) {
    lf_candidates *c = &s->c;
    if (s->p.mirostat == 1) lf_best(c, lf_zipf_k(s));
    else lf_keep_above(c, lf_top(c) + log(lf_total(c)) - s->mu * log(2), 1);
}
