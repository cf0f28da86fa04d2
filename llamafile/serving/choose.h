/* What the serving engine does with a step's rows in one call: choose their tokens, add up embeddings. */
#ifndef LF_CHOOSE_H
#define LF_CHOOSE_H
#include "sampler.h"

/* cdef-begin */
/* One row of logits, f32[the sampler's vocabulary], and who chooses; mask as in lf_sampler_sample. */
typedef struct {
    lf_sampler *sampler;
    const float *logits;
    const uint32_t *mask;
    int32_t token; /* the choice, or -1 where every token is ruled out */
} lf_choice;

/* Runs n tasks on the threads of a pool: the machine's lf_pool_each. */
typedef void lf_run_tasks(void *pool, int n, void (*task)(void *argument, int i), void *argument);

/* Choose a token for each row, on the pool's threads, and let its sampler remember it. */
void lf_choose(lf_choice *choices, int32_t n, lf_run_tasks *run, void *pool);
/* Add n rows of `width` floats to the sum, row after row. */
void lf_add_rows(double *sum, const float *rows, int32_t n, int32_t width);
/* cdef-end */
#endif
