/* A pool of threads with a barrier: spins for some tens of microseconds, then sleeps. */
#define _GNU_SOURCE
#include "threads.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* About 40 microseconds of pauses: longer than any op of a small model takes to come round, short enough that a
   server's own thread gets the core when there is nothing to do. */
#define LF_SPINS 1000

struct lf_pool {
    /* Each of these words is written by one side and read by the others: keep them on lines of their own. */
    _Alignas(64) atomic_uint generation; /* counts jobs, and says how many threads take part: LF_ACTIVE */
    _Alignas(64) atomic_uint phase;      /* counts barriers */
    _Alignas(64) atomic_int arrived;
    struct {
        _Alignas(64) _Atomic int64_t count;
    } taken[LF_TOGETHER]; /* by a call's place */
    _Alignas(64) atomic_int asleep; /* how many wait in the system: nobody is woken where it is 0 */
    _Alignas(64) lf_job *job;
    void *argument;
    int threads, started, active;
    atomic_int stopping;
    pthread_t *handles;
};

/* The low bits of a generation: read in one go with the count, so that a late worker cannot mix up two jobs. */
#define LF_ACTIVE 4096u

typedef struct {
    lf_pool *pool;
    int thread;
} lf_worker;

static inline void lf_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void lf_sleep_while(atomic_uint *word, unsigned value) {
#ifdef __linux__
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
#else
    if (atomic_load_explicit(word, memory_order_acquire) == value) sched_yield();
#endif
}

/* The word was stored before: who has not seen it has not yet said that it sleeps, and will see it. */
static void lf_wake(lf_pool *pool, atomic_uint *word) {
    if (!atomic_load(&pool->asleep)) return;
#ifdef __linux__
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
#else
    (void)word;
#endif
}

/* Wait until the word is no longer `value`. */
static void lf_wait(lf_pool *pool, atomic_uint *word, unsigned value) {
    for (int i = 0; i < LF_SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value) return;
        lf_pause();
    }
    atomic_fetch_add(&pool->asleep, 1);
    while (atomic_load(word) == value) lf_sleep_while(word, value);
    atomic_fetch_sub(&pool->asleep, 1);
}

/* Hand work out from the beginning again. */
static void lf_reset_taken(lf_pool *pool) {
    for (int i = 0; i < LF_TOGETHER; i++) atomic_store_explicit(&pool->taken[i].count, 0, memory_order_relaxed);
}

static void lf_arrive(lf_pool *pool) {
    unsigned phase = atomic_load_explicit(&pool->phase, memory_order_relaxed);
    int others = pool->active - 1; /* read before arriving: afterwards the caller may set it for the next job */
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) == others) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        lf_reset_taken(pool);
        atomic_store(&pool->phase, phase + 1);
        lf_wake(pool, &pool->phase);
    } else {
        lf_wait(pool, &pool->phase, phase);
    }
}

void lf_barrier(const lf_call *call) {
    if (call->threads > 1)
        lf_arrive(call->pool);
    else
        lf_reset_taken(call->pool);
}

int64_t lf_take(const lf_call *call) {
    return atomic_fetch_add_explicit(&call->pool->taken[call->place].count, 1, memory_order_relaxed);
}

int lf_pool_threads(const lf_pool *pool) { return pool->threads; }
int lf_pool_active(const lf_pool *pool) { return pool->active; }
void lf_pool_use(lf_pool *pool, int n) { pool->active = n < 1 ? 1 : n > pool->threads ? pool->threads : n; }

/* Begin a job, or the end of all: every worker sees the word move. */
static void lf_announce(lf_pool *pool) {
    unsigned count = atomic_load_explicit(&pool->generation, memory_order_relaxed) / LF_ACTIVE + 1;
    atomic_store(&pool->generation, count * LF_ACTIVE + (unsigned)pool->active);
    lf_wake(pool, &pool->generation);
}

static void *lf_work(void *argument) {
    lf_worker worker = *(lf_worker *)argument;
    lf_pool *pool = worker.pool;
    free(argument);
    for (unsigned seen = 0;;) {
        lf_wait(pool, &pool->generation, seen);
        seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (atomic_load(&pool->stopping)) return 0;
        if (worker.thread >= (int)(seen % LF_ACTIVE)) continue; /* more threads than this job asked for */
        pool->job(pool->argument, worker.thread);
        lf_arrive(pool);
    }
}

void lf_pool_run(lf_pool *pool, lf_job *job, void *argument) {
    pool->job = job;
    pool->argument = argument;
    if (pool->active > 1) lf_announce(pool);
    job(argument, 0);
    if (pool->active > 1) lf_arrive(pool);
}

typedef struct {
    lf_pool *pool;
    void (*task)(void *, int);
    void *argument;
    int n;
} lf_tasks;

static void lf_take_tasks(void *argument, int thread) {
    const lf_tasks *tasks = argument;
    (void)thread;
    for (int64_t i; (i = atomic_fetch_add_explicit(&tasks->pool->taken[0].count, 1, memory_order_relaxed)) < tasks->n;)
        tasks->task(tasks->argument, (int)i);
}

void lf_pool_each(lf_pool *pool, int n, void (*task)(void *, int), void *argument) {
    lf_tasks tasks = {pool, task, argument, n};
    if (n > 1 && pool->active > 1) {
        lf_pool_run(pool, lf_take_tasks, &tasks); /* its last barrier sets `taken` to 0 for the next job */
        return;
    }
    for (int i = 0; i < n; i++) task(argument, i);
}

/* Start worker i with every signal blocked, as signals are the caller's; but a fault's belongs to the thread at fault. */
static int lf_start(lf_pool *pool, int i) {
    lf_worker *worker = malloc(sizeof *worker);
    if (!worker) return -1;
    *worker = (lf_worker){pool, i};
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int bad = pthread_create(&pool->handles[i - 1], 0, lf_work, worker);
    pthread_sigmask(SIG_SETMASK, &before, 0);
    if (bad) free(worker);
    return bad;
}

lf_pool *lf_pool_new(int n) {
    if (n < 1 || n >= (int)LF_ACTIVE) return 0;
    lf_pool *pool = aligned_alloc(64, sizeof *pool);
    if (!pool) return 0;
    memset(pool, 0, sizeof *pool);
    pool->threads = pool->active = n;
    pool->handles = calloc((size_t)n, sizeof *pool->handles);
    if (!pool->handles) return lf_pool_free(pool), (lf_pool *)0;
    for (int i = 1; i < n; i++, pool->started++)
        if (lf_start(pool, i)) return lf_pool_free(pool), (lf_pool *)0;
    return pool;
}

void lf_pool_free(lf_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stopping, 1);
    lf_announce(pool);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->handles[i], 0);
    free(pool->handles);
    free(pool);
}
