/* The pool of threads: what the executor asks of it. */
#ifndef LF_THREADS_H
#define LF_THREADS_H
#include "call.h"
#include "core.h"

typedef void lf_job(void *argument, int thread);

/* Run job(argument, thread) on every thread of the pool, the caller as thread 0; returns when all are done. */
void lf_pool_run(lf_pool *pool, lf_job *job, void *argument);
int lf_pool_threads(const lf_pool *pool);
/* How many of them the next job uses. */
int lf_pool_active(const lf_pool *pool);
/* How many of these take work from the same share as a thread. */
int lf_pool_sharing(const lf_pool *pool, int thread);
/* Which of n units of work a thread takes first, more or less. */
int64_t lf_pool_first(const lf_pool *pool, int thread, int64_t n);
#endif
