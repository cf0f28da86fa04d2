/* A sampler's insides and the steps of its chain; each step leaves at least one candidate. */
#ifndef LF_CHAIN_H
#define LF_CHAIN_H
#include "candidates.h"
#include "sampler.h"
#include "twister.h"

#define LF_STEPS "edskypmxt"
#define LF_MAX_STEPS 32
#define LF_COLD 1e-6 /* temperatures up to this leave one candidate; beyond it, no logit overflows when divided */

struct lf_sampler {
    lf_sampler_params p; /* its pointers lead into `memory` */
    void *memory;
    lf_candidates c;
    lf_twister draw, chance; /* the token's choice; whether xtc acts */
    double mu;               /* mirostat's running bound on surprise, in bits */
    int drawn;               /* 1: the last sample's distribution still stands; 2: and was never a list */
    float drawn_top;
    double drawn_total;
    int32_t *past; /* a ring of the last `room` tokens; the newest lies before `head` */
    int32_t room, head, used;
    int32_t *mark;    /* i32[n_vocab], all 0 between steps: a number for each token seen */
    int32_t *touched; /* which of them are not 0 */
    int32_t n_touched;
    int32_t *matches; /* i32[room]: DRY's match lengths */
    int32_t *breaker_at, n_breakers; /* places in p.breakers, by first id */
};

void lf_step_penalties(lf_sampler *s);
void lf_step_dry(lf_sampler *s);
void lf_step_top_n_sigma(lf_sampler *s);
void lf_step_top_k(lf_sampler *s);
void lf_step_typical(lf_sampler *s);
void lf_step_top_p(lf_sampler *s);
void lf_step_min_p(lf_sampler *s);
void lf_step_xtc(lf_sampler *s);
void lf_step_temperature(lf_sampler *s);
void lf_step_mirostat(lf_sampler *s);

/* Whether a step would change anything, by its parameters alone. */
int lf_penalties_on(const lf_sampler_params *p);
int lf_dry_on(const lf_sampler_params *p);
int lf_typical_on(const lf_sampler_params *p);
int lf_xtc_on(const lf_sampler_params *p);
/* Draw one candidate: the first whose running weight, best first, reaches draw * total. */
lf_key lf_draw(lf_sampler *s);
#endif
