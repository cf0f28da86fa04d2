/* The machine's own limits: reading memory, and multiply-adds on registers that no kernel can exceed. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { LF_INT8, LF_BF16, LF_F32, LF_MAX_THREADS = 256, LF_BATCH = 4096 };

typedef struct {
    pthread_barrier_t *start;
    const char *from;
    int64_t bytes;
    int which;
    double seconds, begun, ended, steps;
    uint64_t seen; /* what was read: kept, so that reading cannot be left out */
} lf_task;

static double lf_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Run `work` on n threads that begin together; returns the seconds from the first beginning to the last end, or -1. */
static double lf_together(void *(*work)(void *), lf_task *tasks, int n) {
    pthread_t threads[LF_MAX_THREADS];
    pthread_barrier_t start;
    if (n < 1 || n > LF_MAX_THREADS || pthread_barrier_init(&start, 0, (unsigned)n)) return -1;
    for (int i = 0; i < n; i++) tasks[i].start = &start;
    for (int i = 1; i < n; i++)
        if (pthread_create(&threads[i], 0, work, &tasks[i])) return -1; /* those begun wait for ever: the bench ends here */
    work(&tasks[0]);
    double begun = tasks[0].begun, ended = tasks[0].ended;
    for (int i = 1; i < n; i++) {
        pthread_join(threads[i], 0);
        if (tasks[i].begun < begun) begun = tasks[i].begun;
        if (tasks[i].ended > ended) ended = tasks[i].ended;
    }
    pthread_barrier_destroy(&start);
    return ended - begun;
}

typedef uint64_t lf_vector __attribute__((vector_size(64), aligned(8), may_alias));

static void *lf_read_part(void *argument) {
    lf_task *task = argument;
    lf_vector a = {0}, b = {0}, c = {0}, d = {0};
    pthread_barrier_wait(task->start);
    task->begun = lf_now();
    for (int64_t i = 0; i + 256 <= task->bytes; i += 256) {
        const lf_vector *p = (const lf_vector *)(task->from + i);
        a ^= p[0], b ^= p[1], c ^= p[2], d ^= p[3];
    }
    a ^= b ^ c ^ d;
    for (int i = 0; i < 8; i++) task->seen ^= a[i];
    task->ended = lf_now();
    return 0;
}

double lf_read(const void *from, int64_t bytes, int threads);
double lf_peak(int which, int threads, double seconds);
int lf_has(int which);

/* Seconds that n threads take to read so many bytes once, each its own part; -1 where they cannot be had. */
double lf_read(const void *from, int64_t bytes, int threads) {
    static volatile uint64_t kept;
    lf_task tasks[LF_MAX_THREADS];
    if (threads < 1 || threads > LF_MAX_THREADS) return -1;
    memset(tasks, 0, sizeof tasks);
    int64_t part = bytes / threads / 4096 * 4096;
    for (int i = 0; i < threads; i++) {
        tasks[i].from = (const char *)from + part * i;
        tasks[i].bytes = i == threads - 1 ? bytes - part * i : part;
    }
    double seconds = lf_together(lf_read_part, tasks, threads);
    for (int i = 0; i < threads; i++) kept ^= tasks[i].seen;
    return seconds;
}

/* Twelve sums hide the latency of two units; the empty asm makes the compiler believe that each value is needed. */
#define LF_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define LF_LOOP(type, zero, step)               \
    type s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11; \
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = zero; \
    for (int n = 0; n < LF_BATCH; n++) {        \
        LF_TWELVE(step)                         \
    }

#if defined(__AVX512F__)
#define LF_KEEP(i) __asm__ volatile("" : "+v"(s##i));
#else
#define LF_KEEP(i) __asm__ volatile("" : "+x"(s##i));
#endif

#if defined(__AVX512VNNI__)
static void lf_int8(void) {
    __m512i a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x02010201);
#define LF_STEP(i) s##i = _mm512_dpbusd_epi32(s##i, a, b); LF_KEEP(i)
    LF_LOOP(__m512i, _mm512_setzero_si512(), LF_STEP);
#undef LF_STEP
}
#define LF_INT8_OPS (12.0 * 64 * 2)
#elif defined(__AVXVNNI__)
static void lf_int8(void) {
    __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x02010201);
#define LF_STEP(i) s##i = _mm256_dpbusd_avx_epi32(s##i, a, b); LF_KEEP(i)
    LF_LOOP(__m256i, _mm256_setzero_si256(), LF_STEP);
#undef LF_STEP
}
#define LF_INT8_OPS (12.0 * 32 * 2)
#elif defined(__AVX2__)
/* maddubs and an addition in 16 bits: the least that a product of bytes takes here. */
static void lf_int8(void) {
    __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x02010201);
#define LF_STEP(i)                                                        \
    {                                                                     \
        __m256i both = a;                                                 \
        __asm__ volatile("" : "+x"(both));                                \
        s##i = _mm256_add_epi16(s##i, _mm256_maddubs_epi16(both, b));     \
        LF_KEEP(i)                                                        \
    }
    LF_LOOP(__m256i, _mm256_setzero_si256(), LF_STEP);
#undef LF_STEP
}
#define LF_INT8_OPS (12.0 * 32 * 2)
#endif

#if defined(__AVX512BF16__)
static void lf_bf16(void) {
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1), _mm512_set1_ps(1)), b = a;
#define LF_STEP(i) s##i = _mm512_dpbf16_ps(s##i, a, b); LF_KEEP(i)
    LF_LOOP(__m512, _mm512_setzero_ps(), LF_STEP);
#undef LF_STEP
}
#define LF_BF16_OPS (12.0 * 32 * 2)
#endif

#if defined(__AVX512F__)
static void lf_f32(void) {
    __m512 a = _mm512_set1_ps(1), b = a;
#define LF_STEP(i) s##i = _mm512_fmadd_ps(a, b, s##i); LF_KEEP(i)
    LF_LOOP(__m512, _mm512_setzero_ps(), LF_STEP);
#undef LF_STEP
}
#define LF_F32_OPS (12.0 * 16 * 2)
#elif defined(__FMA__)
static void lf_f32(void) {
    __m256 a = _mm256_set1_ps(1), b = a;
#define LF_STEP(i) s##i = _mm256_fmadd_ps(a, b, s##i); LF_KEEP(i)
    LF_LOOP(__m256, _mm256_setzero_ps(), LF_STEP);
#undef LF_STEP
}
#define LF_F32_OPS (12.0 * 8 * 2)
#endif

typedef struct {
    void (*batch)(void);
    double ops; /* multiplications and additions of one step */
} lf_unit;

static lf_unit lf_unit_of(int which) {
    lf_unit none = {0, 0};
#ifdef LF_INT8_OPS
    if (which == LF_INT8) return (lf_unit){lf_int8, LF_INT8_OPS};
#endif
#ifdef LF_BF16_OPS
    if (which == LF_BF16) return (lf_unit){lf_bf16, LF_BF16_OPS};
#endif
#ifdef LF_F32_OPS
    if (which == LF_F32) return (lf_unit){lf_f32, LF_F32_OPS};
#endif
    (void)which;
    return none;
}

static void *lf_compute(void *argument) {
    lf_task *task = argument;
    lf_unit unit = lf_unit_of(task->which);
    pthread_barrier_wait(task->start);
    task->begun = lf_now();
    do {
        unit.batch();
        task->steps += LF_BATCH;
        task->ended = lf_now();
    } while (task->ended - task->begun < task->seconds);
    return 0;
}

/* Whether this machine's compiler and processor have such a unit. */
int lf_has(int which) { return lf_unit_of(which).batch != 0; }

/* Multiplications and additions a second on n threads together, measured for so many seconds; -1 where there is no unit. */
double lf_peak(int which, int threads, double seconds) {
    lf_task tasks[LF_MAX_THREADS];
    lf_unit unit = lf_unit_of(which);
    if (!unit.batch || threads < 1 || threads > LF_MAX_THREADS) return -1;
    memset(tasks, 0, sizeof tasks);
    for (int i = 0; i < threads; i++) tasks[i].which = which, tasks[i].seconds = seconds;
    double took = lf_together(lf_compute, tasks, threads), steps = 0;
    for (int i = 0; i < threads; i++) steps += tasks[i].steps;
    return took > 0 ? steps * unit.ops / took : -1;
}
