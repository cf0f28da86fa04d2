/* A pool of threads with a barrier: spins for some tens of microseconds, then sleeps.

   Threads are in groups: those of a memory node, or so many of them as may write to one cache line without waiting long for each other. Who
   arrives at a barrier counts in its group, and each group's last one in the pool; work is taken from the group's own share
   first. Up to LF_MANY threads on one node are one group, which has all the work. */
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

/* Work that was handed out, by a call's place. There are two banks, used from barrier to barrier in turns: each group sets its
   own idle one to 0, whose lines are near, and not whoever comes last to a barrier all of them. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    struct {
        _Alignas(64) _Atomic int64_t count;
    } taken[2][LF_TOGETHER];
    _Alignas(64) int threads, before; /* of those in use: its own, and those of the groups before it */
} lf_group;

/* A thread's group, and how many of the group's threads have a lower number. */
typedef struct {
    int group, rank;
} lf_seat;

struct lf_pool {
    /* Each of these words is written by one side and read by the others: keep them on lines of their own. */
    _Alignas(64) atomic_uint generation; /* counts jobs, and says how many threads take part: LF_ACTIVE */
    _Alignas(64) atomic_uint phase;      /* counts barriers */
    _Alignas(64) atomic_int arrived;     /* groups, all of whose threads are there */
    _Alignas(64) atomic_int asleep; /* how many wait in the system: nobody is woken where it is 0 */
    _Alignas(64) lf_job *job;
    void *argument;
    int threads, started, active, spins;
    int n_groups, groups_active;
    lf_group *groups;
    lf_seat *seats;
    atomic_int stopping;
    pthread_t *handles;
    void *first_cpus; /* those of thread 0, the caller, for lf_pool_settle */
    lf_taking *log;
    int64_t log_size;
    _Alignas(64) _Atomic int64_t logged;
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

/* Wait until the word is no longer `value`; meanwhile ask for what the caller reads next. */
static void lf_wait(lf_pool *pool, atomic_uint *word, unsigned value, lf_ahead next) {
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value) return;
        if (next.at < next.end)
            __builtin_prefetch(next.at, 0, 2), next.at += 64;
        else
            lf_pause();
    }
    atomic_fetch_add(&pool->asleep, 1);
    while (atomic_load(word) == value) lf_sleep_while(word, value);
    atomic_fetch_sub(&pool->asleep, 1);
}

/* Hand a bank's work out from the beginning again. */
static void lf_reset_taken(lf_group *group, unsigned bank) {
    for (int i = 0; i < LF_TOGETHER; i++)
        if (atomic_load_explicit(&group->taken[bank][i].count, memory_order_relaxed))
            atomic_store_explicit(&group->taken[bank][i].count, 0, memory_order_relaxed);
}

static void lf_arrive(lf_pool *pool, int thread, lf_ahead next) {
    unsigned phase = atomic_load_explicit(&pool->phase, memory_order_relaxed);
    lf_group *group = &pool->groups[pool->seats[thread].group];
    /* Read before arriving: afterwards the caller may set them for the next job. */
    int others = group->threads - 1, groups = pool->groups_active;
    if (atomic_fetch_add_explicit(&group->arrived, 1, memory_order_acq_rel) == others) {
        atomic_store_explicit(&group->arrived, 0, memory_order_relaxed);
        lf_reset_taken(group, ~phase & 1); /* the bank of the phase to come; nobody has used it since the last barrier */
        if (groups == 1 || atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) == groups - 1) {
            atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
            atomic_store(&pool->phase, phase + 1);
            lf_wake(pool, &pool->phase);
            return;
        }
    }
    lf_wait(pool, &pool->phase, phase, next);
}

static unsigned lf_bank(lf_pool *pool) { return atomic_load_explicit(&pool->phase, memory_order_relaxed) & 1; }

void lf_barrier(const lf_call *call) {
    if (call->threads > 1)
        lf_arrive(call->pool, call->thread, call->next);
    else
        lf_reset_taken(&call->pool->groups[0], lf_bank(call->pool));
}

static int64_t lf_count(lf_pool *pool, int group, int place) {
    return atomic_fetch_add_explicit(&pool->groups[group].taken[lf_bank(pool)][place].count, 1, memory_order_relaxed);
}

int64_t lf_take(const lf_call *call) { return lf_count(call->pool, 0, call->place); }

/* Where a group's share of n units begins; that of the next one begins where it ends. */
static int64_t lf_share_at(const lf_pool *pool, int group, int64_t n) {
    return group < pool->n_groups ? n * pool->groups[group].before / pool->active : n;
}

static void lf_log(lf_pool *pool, const lf_call *call, int64_t unit, int64_t n) {
    int64_t at = atomic_fetch_add_explicit(&pool->logged, 1, memory_order_relaxed);
    if (at < pool->log_size) pool->log[at] = (lf_taking){call->op, call->thread, unit, n};
}

/* The next unit of a pool with several groups. Each thread's first one is its own without asking: all would ask at once. */
static int64_t lf_take_shared(const lf_call *call, lf_units *units) {
    lf_pool *pool = call->pool;
    lf_seat seat = pool->seats[call->thread];
    for (; units->looked < 2 * pool->n_groups; units->looked++) {
        int group = seat.group ^ units->looked; /* its neighbours come first: those of its node are numbered side by side */
        if (group >= pool->n_groups) continue;
        int64_t first = lf_share_at(pool, group, units->n), own = pool->groups[group].threads;
        int64_t left = lf_share_at(pool, group + 1, units->n) - first;
        if (!units->begun++ && seat.rank < left) return first + seat.rank;
        /* Looked at before it is counted: where nothing is left, nobody writes. */
        if (atomic_load_explicit(&pool->groups[group].taken[lf_bank(pool)][call->place].count, memory_order_relaxed) >= left - own)
            continue;
        int64_t more = own + lf_count(pool, group, call->place);
        if (more < left) return first + more;
    }
    return units->n;
}

int64_t lf_take_unit(const lf_call *call, lf_units *units) {
    lf_pool *pool = call->pool;
    int64_t unit = pool->n_groups == 1 ? lf_take(call) : lf_take_shared(call, units);
    if (pool->log && unit < units->n) lf_log(pool, call, unit, units->n);
    return unit;
}

int64_t lf_pool_first(const lf_pool *pool, int thread, int64_t n) {
    lf_seat seat = pool->seats[thread];
    return lf_share_at(pool, seat.group, n) + seat.rank;
}

int lf_pool_threads(const lf_pool *pool) { return pool->threads; }
int lf_pool_active(const lf_pool *pool) { return pool->active; }
int lf_pool_sharing(const lf_pool *pool, int thread) { return pool->groups[pool->seats[thread].group].threads; }

void lf_pool_use(lf_pool *pool, int n) {
    n = n < 1 ? 1 : n > pool->threads ? pool->threads : n;
    if (n == pool->active) return;
    pool->active = n, pool->groups_active = 0;
    for (int g = 0; g < pool->n_groups; g++) { /* one that was left out for a while has not kept up with the banks */
        lf_reset_taken(&pool->groups[g], 0), lf_reset_taken(&pool->groups[g], 1);
        pool->groups[g].threads = 0;
    }
    for (int i = 0; i < n; i++) pool->groups[pool->seats[i].group].threads++;
    for (int g = 0, before = 0; g < pool->n_groups; before += pool->groups[g++].threads) {
        pool->groups[g].before = before;
        pool->groups_active += pool->groups[g].threads > 0;
    }
}

void lf_pool_spin(lf_pool *pool, int percent) { pool->spins = LF_SPINS / 50 * percent; }
unsigned lf_pool_barriers(const lf_pool *pool) { return atomic_load((atomic_uint *)&pool->phase); }

int64_t lf_pool_deal(lf_pool *pool, int thread, int place, lf_units *units) {
    lf_call call = {.pool = pool, .thread = thread, .threads = pool->active, .place = place};
    return lf_take_unit(&call, units);
}

int64_t lf_pool_watch(lf_pool *pool, lf_taking *log, int64_t size) {
    pool->log = log, pool->log_size = size;
    return atomic_exchange(&pool->logged, 0);
}

#ifdef __linux__
int lf_pool_bind(lf_pool *pool, int thread, const int32_t *cpus, int n) {
    cpu_set_t *set = calloc(1, sizeof *set);
    if (!set || thread < 0 || thread > pool->started) return free(set), -1;
    for (int i = 0; i < n; i++)
        if (cpus[i] >= 0 && cpus[i] < CPU_SETSIZE) CPU_SET((size_t)cpus[i], set);
    if (!thread) {
        free(pool->first_cpus);
        pool->first_cpus = set;
        return 0;
    }
    int bad = pthread_setaffinity_np(pool->handles[thread - 1], sizeof *set, set);
    return free(set), bad ? -1 : 0;
}

int lf_pool_settle(const lf_pool *pool) {
    return pool->first_cpus ? sched_setaffinity(0, sizeof(cpu_set_t), pool->first_cpus) : 0;
}
#else
int lf_pool_bind(lf_pool *pool, int thread, const int32_t *cpus, int n) {
    return (void)pool, (void)thread, (void)cpus, (void)n, -1;
}
int lf_pool_settle(const lf_pool *pool) { return (void)pool, 0; }
#endif

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
        lf_wait(pool, &pool->generation, seen, (lf_ahead){0, 0});
        seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (atomic_load(&pool->stopping)) return 0;
        if (worker.thread >= (int)(seen % LF_ACTIVE)) continue; /* more threads than this job asked for */
        pool->job(pool->argument, worker.thread);
        lf_arrive(pool, worker.thread, (lf_ahead){0, 0});
    }
}

void lf_pool_run(lf_pool *pool, lf_job *job, void *argument) {
    pool->job = job;
    pool->argument = argument;
    if (pool->active > 1) lf_announce(pool);
    job(argument, 0);
    if (pool->active > 1) lf_arrive(pool, 0, (lf_ahead){0, 0});
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
    for (int64_t i; (i = lf_count(tasks->pool, 0, 0)) < tasks->n;)
        tasks->task(tasks->argument, (int)i);
}

void lf_pool_each(lf_pool *pool, int n, void (*task)(void *, int), void *argument) {
    lf_tasks tasks = {pool, task, argument, n};
    if (n > 1 && pool->active > 1) {
        lf_pool_run(pool, lf_take_tasks, &tasks); /* behind its last barrier, counts are 0 for the next job */
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

/* Seat every thread and make the groups. */
static int lf_seat_all(lf_pool *pool, const int32_t *groups) {
    for (int i = 0; groups && i < pool->threads; i++) {
        if (groups[i] < 0 || groups[i] >= pool->threads) return -1;
        if (groups[i] >= pool->n_groups) pool->n_groups = groups[i] + 1;
    }
    pool->seats = calloc((size_t)pool->threads, sizeof *pool->seats);
    pool->groups = aligned_alloc(64, (size_t)pool->n_groups * sizeof *pool->groups);
    if (!pool->seats || !pool->groups) return -1;
    memset(pool->groups, 0, (size_t)pool->n_groups * sizeof *pool->groups);
    for (int i = 0; i < pool->threads; i++) {
        lf_group *group = &pool->groups[groups ? groups[i] : 0];
        pool->seats[i] = (lf_seat){(int)(group - pool->groups), group->threads++};
    }
    lf_pool_use(pool, pool->threads);
    return 0;
}

lf_pool *lf_pool_new(int n, const int32_t *groups) {
    if (n < 1 || n >= (int)LF_ACTIVE) return 0;
    lf_pool *pool = aligned_alloc(64, sizeof *pool);
    if (!pool) return 0;
    memset(pool, 0, sizeof *pool);
    pool->threads = n, pool->n_groups = 1, pool->spins = LF_SPINS;
    pool->handles = calloc((size_t)n, sizeof *pool->handles);
    if (!pool->handles || lf_seat_all(pool, groups)) return lf_pool_free(pool), (lf_pool *)0;
    for (int i = 1; i < n; i++, pool->started++)
        if (lf_start(pool, i)) return lf_pool_free(pool), (lf_pool *)0;
    return pool;
}

void lf_pool_free(lf_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stopping, 1);
    lf_announce(pool);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->handles[i], 0);
    free(pool->handles), free(pool->seats), free(pool->groups), free(pool->first_cpus);
    free(pool);
}
