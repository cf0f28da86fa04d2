/* The steps that push down what was said already: repeat, presence and frequency penalties, and DRY. */
#include "chain.h"
#include <float.h>
#include <math.h>

int lf_penalties_on(const lf_sampler_params *p) {
    return p->repeat_last_n && (p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0);
}

int lf_dry_on(const lf_sampler_params *p) { return p->dry_penalty_last_n && p->dry_multiplier > 0; }

/* The token said i tokens before the newest. */
static int32_t lf_recent(const lf_sampler *s, int32_t i) {
    int32_t at = s->head - 1 - i;
    return s->past[at < 0 ? at + s->room : at];
}

static int32_t lf_window(const lf_sampler *s, int32_t last_n) {
    return last_n < 0 || last_n > s->used ? s->used : last_n;
}

static void lf_mark(lf_sampler *s, int32_t id, int32_t value) {
    if (!s->mark[id]) s->touched[s->n_touched++] = id;
    s->mark[id] = value;
}

typedef double lf_rule(const lf_sampler_params *p, double value, int32_t mark);

/* Edit every marked candidate by a rule, which can push it down but not out, and clear the marks. */
static void lf_apply(lf_sampler *s, lf_rule *rule) {
    lf_candidates *c = &s->c;
    if (c->count < 0 && s->n_touched) lf_own(c);
    int n = c->count < 0 ? s->n_touched : c->count;
    for (int i = 0; i < n; i++) {
        int32_t id = c->count < 0 ? s->touched[i] : lf_key_id(c->keys[i]);
        float before = c->count < 0 ? c->own[id] : lf_key_value(c->keys[i]);
        if (!s->mark[id] || !(before >= -FLT_MAX)) continue;
        double after = rule(&s->p, before, s->mark[id]);
        float value = after > FLT_MAX ? FLT_MAX : after > -FLT_MAX ? (float)after : -FLT_MAX;
        if (c->count < 0) lf_set(c, id, value);
        else c->keys[i] = lf_key_of(value, id);
    }
    if (c->count < 0) lf_retop(c);
    else lf_resort(c);
    while (s->n_touched) s->mark[s->touched[--s->n_touched]] = 0;
}

static double lf_penalty(const lf_sampler_params *p, double value, int32_t count) {
    value = value > 0 ? value / p->repeat_penalty : value * p->repeat_penalty;
    return value - count * p->frequency_penalty - p->presence_penalty;
}

void lf_step_penalties(lf_sampler *s) {
    if (!lf_penalties_on(&s->p)) return;
    int32_t n = lf_window(s, s->p.repeat_last_n);
    for (int32_t i = 0; i < n; i++) {
        int32_t id = lf_recent(s, i);
        lf_mark(s, id, s->mark[id] + 1);
    }
    lf_apply(s, lf_penalty);
}

/* Whether the sequence at p.breakers[at] stands in the past with its first id i tokens back. */
static int lf_breaks(const lf_sampler *s, int32_t at, int32_t i) {
    const int32_t *ids = s->p.breakers + at + 1;
    int32_t length = ids[-1];
    if (length - 1 > i) return 0;
    for (int32_t k = 0; k < length; k++)
        if (lf_recent(s, i - k) != ids[k]) return 0;
    return 1;
}

/* How many tokens were said since the last breaker, at most n. */
static int32_t lf_unbroken(const lf_sampler *s, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        int32_t low = 0, high = s->n_breakers, longest = 0, id = lf_recent(s, i);
        while (low < high) { /* the first breaker whose first id is not below this one */
            int32_t middle = (low + high) / 2;
            if (s->p.breakers[s->breaker_at[middle] + 1] < id) low = middle + 1;
            else high = middle;
        }
        for (; low < s->n_breakers && s->p.breakers[s->breaker_at[low] + 1] == id; low++) {
            int32_t at = s->breaker_at[low];
            if (s->p.breakers[at] > longest && lf_breaks(s, at, i)) longest = s->p.breakers[at];
        }
        if (longest) return i + 1 - longest;
    }
    return n;
}

/* For each place, how many tokens going back from it equal those going back from the newest (the Z algorithm). */
static void lf_match(lf_sampler *s, int32_t n) {
    int32_t *z = s->matches, left = 0, right = 0;
    for (int32_t i = 1; i < n; i++) {
        int32_t k = 0;
        if (i < right) k = z[i - left] < right - i ? z[i - left] : right - i;
        while (i + k < n && lf_recent(s, k) == lf_recent(s, i + k)) k++;
        z[i] = k;
        if (i + k > right) {
            left = i;
            right = i + k;
        }
    }
}

static double lf_dry(const lf_sampler_params *p, double value, int32_t mark) {
    return value - p->dry_multiplier * pow(p->dry_base, (double)mark - 1 - p->dry_allowed_length);
}

/* Push down each token that would prolong a repetition, exponentially in its length ("Don't Repeat Yourself"). */
void lf_step_dry(lf_sampler *s) {
    if (!lf_dry_on(&s->p)) return;
    int32_t n = lf_window(s, s->p.dry_penalty_last_n), limit = lf_unbroken(s, n);
    if (limit < s->p.dry_allowed_length) return;
    lf_match(s, n);
    for (int32_t i = 1; i < n; i++) {
        int32_t length = s->matches[i] < limit ? s->matches[i] : limit, id = lf_recent(s, i - 1);
        if (length >= s->p.dry_allowed_length && s->mark[id] <= length) lf_mark(s, id, length + 1);
    }
    lf_apply(s, lf_dry);
}
