/* A program that is open: what the executor and the part of it that drives other devices share. */
#ifndef LF_EXECUTOR_H
#define LF_EXECUTOR_H
#include "core.h"
#include "threads.h"

#define LF_MAX_SLOTS 32
#define LF_MAX_SIDES 16

/* A device beside the CPU in one program: its own views of the tensors, its arena, and the inputs as it sees them. */
typedef struct {
    lf_side given;
    lf_view *views;  /* data is 0 where nothing of this device looks */
    int32_t *used;   /* tensors that this device's ops name, a base before what looks into it */
    int32_t n_used;
    void *arena;
    char *inputs;    /* on the device: what is sent with each run, then the tables, which seldom change */
    int64_t tables_at;
    char *staged;    /* here: what is sent with a run, in one block */
    int32_t *tables; /* here: the tables as they were sent, each slot's at table_at (bytes; -1: it is no table) */
    int64_t table_at[LF_MAX_SLOTS], known[LF_MAX_SLOTS]; /* known: how many of a table's values were ever sent */
    int sent;        /* this run's inputs are there */
} lf_side_state;

struct lf_program {
    lf_tensor *tensors;
    lf_size *sizes;
    lf_op *ops;
    lf_segment *segments;
    int32_t *pool;
    int32_t n_tensors, n_sizes, n_ops, n_segments, n_pool;
    int32_t maximum[LF_LETTERS];
    lf_view *views;
    const lf_memory *mappings;
    lf_memory *kept_mappings;
    int32_t n_mappings;
    lf_memory arena, cache, state;
    lf_memory inputs[LF_MAX_SLOTS];
    int32_t slots[LF_MAX_SLOTS]; /* the tensor of each slot, or -1 */
    int32_t *moving;             /* tensors whose sizes depend on a letter */
    int32_t n_moving;
    lf_pool *threads;
    lf_memory scratch; /* for every thread, then the shared part */
    int64_t scratch_size, shared_size;
    const lf_kernels *kernels;
    lf_side_state *sides;
    int32_t n_sides;
    uint64_t serial; /* no two programs of a process have the same */
};

/* Where a fault is written: one line. */
typedef struct {
    char *text;
    int size;
} lf_fault;

int lf_fail(lf_fault f, const char *format, ...);
/* A size as in lf_tensor.ne with the letters at these values. */
int lf_evaluate(const lf_program *p, const int32_t *letters, int32_t ne);
/* Bytes that a tensor spans in its home with every letter at its maximum, or -1. */
int64_t lf_span(const lf_program *p, const lf_tensor *t);
/* Where a view begins, its base at this address. */
void *lf_view_address(void *base, const lf_tensor *t);

/* devices.c: take over an image's devices; give each its views and memory; run ops of one there; give it all back. */
int lf_take_sides(lf_program *p, const lf_image *image, lf_fault f);
int lf_open_sides(lf_program *p, lf_fault f);
/* Pages in whole splits of attention: what is beyond a sequence's length is not looked at, and a launch graph lasts for
   more steps. */
void lf_round_sizes(const lf_program *p, int32_t *letters);
int lf_run_on_side(lf_program *p, const int32_t *letters, int segment, int first, int count, lf_fault f);
void lf_close_sides(lf_program *p);
#endif
