/* What a kernel sees: views of its operands, its thread's number and scratch, and the pool's barrier. */
#ifndef LF_CALL_H
#define LF_CALL_H
#include <stdint.h>
#include <string.h>
#include "formats.h"
#include "program.h"

/* cdef-begin */
/* A tensor during one call: sizes and strides (in elements) innermost first. */
typedef struct {
    void *data;
    int32_t ne[4];
    int64_t stride[4];
    int32_t dtype;
} lf_view;
/* cdef-end */

struct lf_pool;

/* Memory from `at` to `end`. */
typedef struct {
    const char *at, *end;
} lf_ahead;

typedef struct {
    const lf_view *views;
    struct lf_pool *pool;
    int thread, threads;
    char *scratch;         /* this thread's own, scratch_size bytes, 64-byte aligned */
    int64_t scratch_size;
    char *shared;          /* one for all threads, for results that a later part of the same op combines */
    int64_t shared_size;
    int place;             /* among the ops that run without a barrier between them: below LF_TOGETHER */
    int sharing;           /* threads that take units from the same share as this one: all of them on one memory node */
    int op;                /* which of the program's it is */
    lf_ahead next;         /* what this thread reads soon: asked for while it waits for others */
} lf_call;

/* cdef-begin */
/* An op's n equal units of work, and how far this thread has come with them: begin with {n}. */
typedef struct {
    int64_t n;
    int32_t begun, looked; /* how often it asked while its own share had some; how many shares were found empty */
} lf_units;
/* cdef-end */

typedef void lf_entry(const lf_call *call, const int32_t *args);

/* The kernels of one instruction set. */
typedef struct {
    const char *name;
    lf_entry *const *entries;
} lf_kernels;

/* Attention shares a row's splits between threads when there are at most this many rows in a call. */
#define LF_SPLIT_ROWS 16

/* Scratch that two gated products need for each value of k (ops/seams.c). */
#define LF_GATED_BYTES 160

/* What an op's record must look like; letters unify over its operands. */
#define LF_ANY (-1)
#define LF_MAX_OPERANDS 12
typedef struct {
    int16_t dtype;
    uint8_t optional, rank, free;
    int16_t letters[4]; /* innermost first; above 0 a letter, below 0 an attribute, 1000 + n the number n */
    int16_t below;      /* the letter that an input's values lie below, or 0 */
} lf_operand_spec;
typedef struct {
    const char *name;
    int8_t n_out, n_in, n_attr, writes;
    lf_operand_spec operands[LF_MAX_OPERANDS];
} lf_spec;

static inline const lf_view *lf_view_of(const lf_call *call, int32_t i) { return i < 0 ? 0 : &call->views[i]; }
static inline int32_t lf_int_of(int32_t bits) { return bits; }
static inline float lf_float_of(int32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Wait until every thread of the pool is here; then lf_take counts from 0 again, for every place (threads.c). */
void lf_barrier(const lf_call *call);
/* The next unit of work, handed out in order to whichever thread asks (threads.c). */
int64_t lf_take(const lf_call *call);
/* The next of some units, or their number when none is left: first from the share of this thread's memory node, which has the
   same units in every call, then from the others' (threads.c). */
int64_t lf_take_unit(const lf_call *call, lf_units *units);

/* Bytes of n elements of a dtype that begin on a block's boundary (executor.c). */
int64_t lf_bytes(int dtype, int64_t n);
#endif
