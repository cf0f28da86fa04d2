/* A step's rows after the forward pass: tokens are chosen and embeddings added up without entering Python for each. */
#include "choose.h"

static void lf_choose_one(void *choices, int i) {
    lf_choice *c = (lf_choice *)choices + i;
    c->token = lf_sampler_sample(c->sampler, c->logits, c->mask);
    if (c->token >= 0) lf_sampler_accept(c->sampler, &c->token, 1);
}

void lf_choose(lf_choice *choices, int32_t n, lf_run_tasks *run, void *pool) { run(pool, n, lf_choose_one, choices); }

void lf_add_rows(double *sum, const float *rows, int32_t n, int32_t width) {
    for (int32_t r = 0; r < n; r++)
        for (int32_t i = 0; i < width; i++) sum[i] += (double)rows[(int64_t)r * width + i];
}
