/* The steps that drop candidates: top-n-sigma, top-k, typical, top-p, min-p, xtc. */
#include "chain.h"
#include <float.h>
#include <math.h>
#include <string.h>

static int lf_least(const lf_sampler *s) { return s->p.min_keep > 1 ? s->p.min_keep : 1; }

/* Keep what lies within n standard deviations of the highest logit (Tang et al. 2024). */
void lf_step_top_n_sigma(lf_sampler *s) {
    if (s->p.top_n_sigma > 0) lf_keep_above(&s->c, lf_top(&s->c) - s->p.top_n_sigma * lf_deviation(&s->c), 1);
}

void lf_step_top_k(lf_sampler *s) {
    if (s->p.top_k > 0 && s->p.top_k < s->c.n) lf_best(&s->c, s->p.top_k);
}

int lf_typical_on(const lf_sampler_params *p) { return p->typical_p < 1; }

/* Keep the candidates whose surprise is nearest the entropy (Meister et al. 2022), until their mass exceeds typical_p.
   Surprise rises along the sorted list, so the nearest are a run that grows to both sides from where it crosses. */
void lf_step_typical(lf_sampler *s) {
    lf_candidates *c = &s->c;
    if (!lf_typical_on(&s->p)) return;
    lf_list_all(c);
    double total = lf_total(c), entropy = -lf_moment(c) / total, mass = 0; /* entropy and surprise less ln total */
    float top = lf_top(c);
    const double *w = lf_weights(c, top);
    int end = 0, least = lf_least(s);
    while (end < c->count && (double)top - lf_key_value(c->keys[end]) < entropy) end++;
    int begin = end;
    while (begin > 0 || end < c->count) {
        double above = begin > 0 ? entropy - ((double)top - lf_key_value(c->keys[begin - 1])) : INFINITY;
        double below = end < c->count ? (double)top - lf_key_value(c->keys[end]) - entropy : INFINITY;
        mass += above <= below ? w[--begin] : w[end++];
        if (mass > s->p.typical_p * total && end - begin >= least) break;
    }
    /* Among equals above, the lower ids stay: the run's first group is taken from that group's own beginning. */
    int first = begin, last = begin;
    float value = lf_key_value(c->keys[begin]);
    while (first > 0 && lf_key_value(c->keys[first - 1]) == value) first--;
    while (last < end && lf_key_value(c->keys[last]) == value) last++;
    memmove(c->keys + begin, c->keys + first, sizeof *c->keys * (size_t)(last - begin));
    memmove(c->keys, c->keys + begin, sizeof *c->keys * (size_t)(end - begin));
    c->count = end - begin;
}

/* Keep the shortest prefix whose mass reaches top_p (Holtzman et al. 2019). */
void lf_step_top_p(lf_sampler *s) {
    lf_candidates *c = &s->c;
    if (s->p.top_p >= 1) return;
    double target = s->p.top_p * lf_total(c), sum = 0;
    if (c->count < 0) {
        lf_prefix(c, target);
        if (c->count >= lf_least(s)) return;
        c->count = -1;
        lf_best(c, lf_least(s));
        return;
    }
    const double *w = lf_weights(c, lf_top(c));
    for (int i = 0; i < c->count; i++) {
        sum += w[i];
        if (sum >= target && i + 1 >= lf_least(s)) c->count = i + 1;
    }
}

/* Keep what is at least min_p times as likely as the best. */
void lf_step_min_p(lf_sampler *s) {
    if (s->p.min_p > 0) lf_keep_above(&s->c, lf_top(&s->c) + log(s->p.min_p), lf_least(s));
}

int lf_xtc_on(const lf_sampler_params *p) { return p->xtc_probability > 0 && p->xtc_threshold <= 0.5; }

/* With xtc_probability, drop all candidates of at least xtc_threshold but the least likely of them. */
void lf_step_xtc(lf_sampler *s) {
    lf_candidates *c = &s->c;
    if (!lf_xtc_on(&s->p)) return;
    int number = lf_number(c);
    if (number < 2 || lf_twister_float(&s->chance) > s->p.xtc_probability) return;
    double total = lf_total(c), threshold = s->p.xtc_threshold * total;
    int dense = c->count < 0, above = 0;
    /* The list's weights are those of its own best, which the dense form shares: one test for both. */
    if (dense) lf_keep_above(c, lf_top(c) + (threshold > 0 ? log(threshold) - 1e-3 : -FLT_MAX), 1);
    const double *w = lf_weights(c, lf_top(c));
    while (above < c->count && w[above] >= threshold) above++;
    int drop = above > 1 && number - (above - 1) >= s->p.min_keep ? above - 1 : 0;
    if (!dense) {
        c->count -= drop;
        memmove(c->keys, c->keys + drop, sizeof *c->keys * (size_t)c->count);
        return;
    }
    c->count = -1;
    if (!drop) return;
    lf_own(c);
    for (int i = 0; i < drop; i++) lf_set(c, lf_key_id(c->keys[i]), -INFINITY);
    lf_retop(c);
}
