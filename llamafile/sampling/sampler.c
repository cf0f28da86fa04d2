/* A sampler's life: made, cloned and reset; its chain run over a row of logits; log-probabilities before and after. */
#include "chain.h"
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* One allocation holds everything: first counted with no base, then handed out in the same order. */
typedef struct {
    char *base;
    size_t used;
} lf_shelf;

static void *lf_take(lf_shelf *shelf, size_t count, size_t size) {
    size_t at = (shelf->used + 63) & ~(size_t)63;
    shelf->used = at + count * size;
    return shelf->base ? shelf->base + at : NULL;
}

static void lf_lay_out(lf_sampler *s, lf_shelf *shelf) {
    const lf_sampler_params *p = &s->p;
    lf_candidates *c = &s->c;
    size_t n = (size_t)p->n_vocab, room = (size_t)s->room;
    s->past = lf_take(shelf, room, sizeof *s->past);
    s->matches = lf_take(shelf, room, sizeof *s->matches);
    s->mark = lf_take(shelf, room ? n : 0, sizeof *s->mark);
    s->touched = lf_take(shelf, room < n ? room : n, sizeof *s->touched);
    s->breaker_at = lf_take(shelf, (size_t)p->n_breaker_words, sizeof *s->breaker_at);
    c->peaks = lf_take(shelf, (size_t)c->blocks, sizeof *c->peaks);
    c->heap = lf_take(shelf, (size_t)c->blocks, sizeof *c->heap);
    c->own = lf_take(shelf, n, sizeof *c->own);
    c->keys = lf_take(shelf, n + 1, sizeof *c->keys);
    c->spare = lf_take(shelf, n + 1, sizeof *c->spare);
}

static const void *lf_keep(lf_shelf *shelf, const void *from, int32_t count, size_t size) {
    void *to = lf_take(shelf, (size_t)count, size);
    if (to && count) memcpy(to, from, (size_t)count * size);
    return to ? to : from;
}

static void lf_keep_params(lf_sampler *s, lf_shelf *shelf) {
    lf_sampler_params *p = &s->p;
    p->steps = lf_keep(shelf, p->steps, p->n_steps, sizeof *p->steps);
    p->bias_ids = lf_keep(shelf, p->bias_ids, p->n_biases, sizeof *p->bias_ids);
    p->biases = lf_keep(shelf, p->biases, p->n_biases, sizeof *p->biases);
    p->breakers = lf_keep(shelf, p->breakers, p->n_breaker_words, sizeof *p->breakers);
}

static const char *lf_check_breakers(const lf_sampler_params *p) {
    int32_t before = INT32_MIN;
    for (int32_t at = 0, length; at < p->n_breaker_words; at += length + 1) {
        length = p->breakers[at];
        if (length < 1 || length >= p->n_breaker_words - at) return "a sequence breaker is empty or runs over the end";
        if (p->breakers[at + 1] < before) return "the sequence breakers are not by ascending first token";
        before = p->breakers[at + 1];
    }
    return NULL;
}

static const char *lf_check(const lf_sampler_params *p) {
    if (p->n_vocab < 1 || p->n_vocab > LF_MAX_VOCAB) return "the vocabulary must have 1 to 1048576 tokens";
    if (p->n_context < 1) return "the context must have at least one cell";
    if (p->n_steps < 0 || p->n_steps > LF_MAX_STEPS) return "the chain has too many steps";
    for (int i = 0; i < p->n_steps; i++)
        if (!p->steps[i] || !strchr(LF_STEPS, p->steps[i])) return "the chain has a step of no known letter";
    if (p->n_biases < 0 || p->n_biases > p->n_vocab) return "there are more biases than tokens";
    for (int i = 0; i < p->n_biases; i++) {
        if (p->bias_ids[i] < 0 || p->bias_ids[i] >= p->n_vocab) return "a bias is for a token beyond the vocabulary";
        if (i && p->bias_ids[i] <= p->bias_ids[i - 1]) return "the biases are not by ascending token";
    }
    if (!(p->temperature <= 1e30 && p->dynatemp_range <= 1e30)) return "the temperature is not a number below 1e30";
    if (!(p->repeat_penalty > 0 && p->dry_base >= 1)) return "a repeat penalty must be above 0, a DRY base at least 1";
    return p->n_breaker_words < 0 ? "the sequence breakers have no length" : lf_check_breakers(p);
}

/* How much of the past the steps look at. */
static int32_t lf_room(const lf_sampler_params *p) {
    int32_t repeat = lf_penalties_on(p) ? p->repeat_last_n : 0, dry = lf_dry_on(p) ? p->dry_penalty_last_n : 0;
    int32_t room = repeat < 0 || dry < 0 ? p->n_context : repeat > dry ? repeat : dry;
    return room < p->n_context ? room : p->n_context;
}

static void lf_index_breakers(lf_sampler *s) {
    const int32_t *words = s->p.breakers;
    for (int32_t at = 0; at < s->p.n_breaker_words; at += words[at] + 1) s->breaker_at[s->n_breakers++] = at;
}

static lf_sampler *lf_build(const lf_sampler_params *p) {
    lf_sampler *s = calloc(1, sizeof *s);
    lf_shelf shelf = {NULL, 0};
    if (!s) return NULL;
    s->p = *p;
    s->room = lf_room(p);
    s->c.n = p->n_vocab;
    s->c.blocks = (p->n_vocab + LF_BLOCK - 1) / LF_BLOCK;
    lf_lay_out(s, &shelf);
    lf_keep_params(s, &shelf);
    shelf.base = s->memory = calloc(1, shelf.used);
    if (!s->memory) {
        free(s);
        return NULL;
    }
    shelf.used = 0;
    lf_lay_out(s, &shelf);
    lf_keep_params(s, &shelf);
    lf_index_breakers(s);
    return s;
}

lf_sampler *lf_sampler_new(const lf_sampler_params *params, const char **problem) {
    *problem = lf_check(params);
    if (*problem) return NULL;
    lf_sampler *s = lf_build(params);
    if (s) lf_sampler_reset(s);
    else *problem = "there is not enough memory";
    return s;
}

lf_sampler *lf_sampler_clone(const lf_sampler *s) {
    lf_sampler *t = lf_build(&s->p);
    if (!t) return NULL;
    t->draw = s->draw;
    t->chance = s->chance;
    t->mu = s->mu;
    t->head = s->head;
    t->used = s->used;
    memcpy(t->past, s->past, sizeof *s->past * (size_t)s->room);
    return t;
}

void lf_sampler_free(lf_sampler *s) {
    if (!s) return;
    free(s->memory);
    free(s);
}

void lf_sampler_reset(lf_sampler *s) {
    lf_twister_seed(&s->draw, s->p.seed);
    lf_twister_seed(&s->chance, s->p.seed);
    s->mu = 2 * s->p.mirostat_tau;
    s->head = s->used = s->drawn = 0;
}

int lf_sampler_accept(lf_sampler *s, const int32_t *ids, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->p.n_vocab) return -1;
    for (int32_t i = n > s->room ? n - s->room : 0; i < n; i++) {
        s->past[s->head] = ids[i];
        s->head = s->head + 1 < s->room ? s->head + 1 : 0;
        s->used += s->used < s->room;
    }
    return 0;
}

static void lf_bias(lf_sampler *s) {
    lf_candidates *c = &s->c;
    if (!s->p.n_biases) return;
    lf_own(c);
    for (int32_t i = 0; i < s->p.n_biases; i++) {
        int32_t id = s->p.bias_ids[i];
        lf_set(c, id, c->own[id] + s->p.biases[i]);
    }
    lf_retop(c);
}

static void lf_step(lf_sampler *s, char letter) {
    switch (letter) {
    case 'e': lf_step_penalties(s); break;
    case 'd': lf_step_dry(s); break;
    case 's': lf_step_top_n_sigma(s); break;
    case 'k': lf_step_top_k(s); break;
    case 'y': lf_step_typical(s); break;
    case 'p': lf_step_top_p(s); break;
    case 'm': lf_step_min_p(s); break;
    case 'x': lf_step_xtc(s); break;
    case 't': lf_step_temperature(s); break;
    }
}

static int lf_is_greedy(const lf_sampler_params *p) { return p->temperature <= LF_COLD && p->dynatemp_range <= 0; }

/* Whether a step can change which candidate is the best. */
static int lf_moves_best(const lf_sampler_params *p, char letter) {
    return (letter == 'e' && lf_penalties_on(p)) || (letter == 'd' && lf_dry_on(p)) ||
           (letter == 'y' && lf_typical_on(p)) || (letter == 'x' && lf_xtc_on(p));
}

static void lf_run_chain(lf_sampler *s) {
    const lf_sampler_params *p = &s->p;
    int32_t n = p->n_steps;
    if (lf_is_greedy(p))
        while (n && !lf_moves_best(p, p->steps[n - 1])) n--;
    for (int32_t i = 0; i < n; i++)
        if (!p->mirostat || strchr("ed", p->steps[i])) lf_step(s, p->steps[i]);
}

static int32_t lf_take_best(lf_sampler *s) {
    lf_best(&s->c, 1);
    s->drawn = 1;
    s->drawn_top = lf_top(&s->c);
    s->drawn_total = 1;
    return lf_key_id(s->c.keys[0]);
}

static int32_t lf_take_mirostat(lf_sampler *s) {
    lf_step_temperature(s);
    lf_step_mirostat(s);
    lf_key key = lf_draw(s);
    double surprise = log2(s->drawn_total / lf_weight(lf_key_value(key), s->drawn_top));
    s->mu -= s->p.mirostat_eta * (surprise - s->p.mirostat_tau);
    return lf_key_id(key);
}

int32_t lf_sampler_sample(lf_sampler *s, const float *logits, const uint32_t *mask) {
    const lf_sampler_params *p = &s->p;
    s->drawn = 0;
    lf_load(&s->c, logits);
    if (mask) lf_mask(&s->c, mask);
    lf_bias(s);
    if (s->c.top == -INFINITY) return -1;
    lf_run_chain(s);
    if (lf_is_greedy(p)) return lf_take_best(s);
    return p->mirostat ? lf_take_mirostat(s) : lf_key_id(lf_draw(s));
}

/* Fill in the best n of the candidates, given what their probabilities are relative to. */
static int32_t lf_report(lf_sampler *s, float top, double total, int32_t n, int32_t *ids, double *logprobs) {
    lf_candidates *c = &s->c;
    if (n < 1) return 0;
    lf_best(c, n < c->n ? n : c->n);
    int32_t number = n < c->count ? n : c->count;
    for (int32_t i = 0; i < number; i++) {
        ids[i] = lf_key_id(c->keys[i]);
        logprobs[i] = (double)lf_key_value(c->keys[i]) - top - log(total);
    }
    return number;
}

static double lf_logprob(const lf_candidates *c, int32_t token, float top, double total) {
    float value = -INFINITY;
    if (token < 0 || token >= c->n) return -INFINITY;
    if (c->count < 0) value = c->x[token];
    for (int i = 0; i < c->count; i++)
        if (lf_key_id(c->keys[i]) == token) value = lf_key_value(c->keys[i]);
    return value >= -FLT_MAX ? (double)value - top - log(total) : -INFINITY;
}

int32_t lf_sampler_logprobs(lf_sampler *s, const float *logits, int32_t token, double *logprob, int32_t n,
                            int32_t *ids, double *logprobs) {
    lf_candidates *c = &s->c;
    s->drawn = 0;
    lf_load(c, logits);
    if (c->top == -INFINITY) return -1;
    double total = lf_total(c);
    *logprob = lf_logprob(c, token, c->top, total);
    return lf_report(s, c->top, total, n, ids, logprobs);
}

int32_t lf_sampler_drawn_logprobs(lf_sampler *s, int32_t token, double *logprob, int32_t n, int32_t *ids,
                                  double *logprobs) {
    if (!s->drawn) return -1;
    if (s->drawn == 2) s->c.count = -1;
    *logprob = lf_logprob(&s->c, token, s->drawn_top, s->drawn_total);
    return lf_report(s, s->drawn_top, s->drawn_total, n, ids, logprobs);
}
