/* The C API of the machine: memory, threads, programs; declared once here for C and for cffi. */
#ifndef LF_CORE_H
#define LF_CORE_H
#include "module.h"

/* cdef-begin */
typedef struct lf_pool lf_pool;
typedef struct lf_program lf_program;

typedef struct {
    void *address;
    int64_t size;
} lf_memory;

/* Bytes of a mapping that lie on a device too. */
typedef struct {
    int32_t mapping;
    int64_t offset, size;
    void *address;
} lf_upload;

/* A device beside the CPU, as a program finds it: what of the weights and which cache is there. */
typedef struct {
    const lf_module *module;
    lf_device *device;
    lf_memory cache, state;
    const lf_upload *uploads;
    int32_t n_uploads;
} lf_side;

/* Everything that lower made, as bytes in Python's hands; lf_open copies what it keeps. */
typedef struct {
    const lf_tensor *tensors;
    const lf_size *sizes;
    const lf_op *ops;
    const lf_segment *segments;
    const int32_t *pool;
    int32_t n_tensors, n_sizes, n_ops, n_segments, n_pool;
    int32_t maximum[5]; /* of each letter */
    const lf_memory *mappings;
    int32_t n_mappings;
    lf_memory arena, cache, state;
    const lf_side *sides; /* devices 1, 2, ... of segments, ops and tensors; 0 is the CPU */
    int32_t n_sides;
} lf_image;

/* Zeroed memory in whole pages; address 0 when there is none. */
lf_memory lf_memory_new(int64_t size);
/* The same in large pages, where the system has them: for what is filled at once and read all the time. */
lf_memory lf_memory_large(int64_t size);
void lf_memory_free(lf_memory memory);

/* A unit of work that a thread took: of op, the unit-th of n. */
typedef struct {
    int32_t op, thread;
    int64_t unit, n;
} lf_taking;

/* A pool of n threads, the caller's one of them. 0 when they cannot be had. `groups` has each thread's group: 0, 1, ...; a
   group's threads share a memory node, and nodes with several groups have them side by side; null: all are one group. */
lf_pool *lf_pool_new(int n, const int32_t *groups);
void lf_pool_free(lf_pool *pool);
/* From the next run on use only n of the pool's threads. */
void lf_pool_use(lf_pool *pool, int n);
/* Let a thread run on these processors only; returns 0, or -1 where that cannot be. For thread 0 that is the thread that calls
   lf_pool_settle, which should be the one that runs programs. */
int lf_pool_bind(lf_pool *pool, int thread, const int32_t *cpus, int n);
int lf_pool_settle(const lf_pool *pool);
/* How long threads spin before they sleep: 50 of 100 is the ordinary. */
void lf_pool_spin(lf_pool *pool, int percent);
/* How often the threads have met; wraps around. */
unsigned lf_pool_barriers(const lf_pool *pool);
/* What lf_take_unit would give a thread now for the op at a call's place, where nothing runs: to see how work is shared out.
   lf_pool_use with another number begins anew. */
int64_t lf_pool_deal(lf_pool *pool, int thread, int place, lf_units *units);
/* From now on put down who takes what of products, up to `size` times, between runs; 0 ends that. Returns how many there were. */
int64_t lf_pool_watch(lf_pool *pool, lf_taking *log, int64_t size);
/* Run task(argument, 0) to task(argument, n - 1) on the threads in use; returns when all are done. */
void lf_pool_each(lf_pool *pool, int n, void (*task)(void *argument, int i), void *argument);

/* Check an image and make it ready to run; on a fault returns 0 and writes one line to `fault`. */
lf_program *lf_open(const lf_image *image, lf_pool *pool, char *fault, int fault_size);
void lf_close(lf_program *program);
/* Where the values of an input slot are to be put before a run; capacity in bytes. */
lf_memory lf_input(const lf_program *program, int slot);
/* Where tensor i lies after a run. */
void *lf_data(const lf_program *program, int i);
/* Run the whole program with these sizes; returns 0, or -1 and one line in `fault`. */
int lf_run(lf_program *program, const int32_t *letters, char *fault, int fault_size);
/* Run op i alone, after lf_run's set-up: what benches and --explain time. */
int lf_run_range(lf_program *program, const int32_t *letters, int first, int count, char *fault, int fault_size);

/* Load a GPU module for the rest of the process; on a fault returns 0 and writes one line to `fault`. */
const lf_module *lf_module_load(const char *path, char *fault, int fault_size);

/* Instruction sets: how many kernel tables are in this build, their names, whether this machine runs them. */
int lf_isa_count(void);
const char *lf_isa_name(int i);
int lf_isa_runs(int i);
int lf_isa_chosen(void);
int lf_isa_choose(int i);
/* Sizes of the records, for the test that freezes them. */
int lf_sizeof(int which);
/* cdef-end */
#endif
