/* What a GPU module offers: one table of calls, and the number that says it was made from the same declarations. */
#ifndef LF_MODULE_H
#define LF_MODULE_H
#include "call.h"

/* cdef-begin */
/* One card in use: its stream, scratch and whatever else the module keeps. Opaque. */
typedef struct lf_device lf_device;

typedef struct {
    char name[96], arch[32]; /* as in "NVIDIA H100", "sm_90" */
    int64_t total, available; /* bytes of its memory */
} lf_device_facts;

/* A stretch of a program to run: what lf_call shows a CPU kernel, with every view's data an address of the device. */
typedef struct {
    const lf_view *views;
    const lf_op *ops;
    const int32_t *pool;
    int32_t n_views, n_ops;
    uint64_t same; /* not 0: two stretches with this number are alike in everything here, so a launch graph may be kept */
} lf_stretch_of_ops;

/* Calls come from one thread at a time. Those that return int give 0, or -1 and one line in `fault`. */
typedef struct {
    uint64_t abi;        /* LF_ABI of abi.h */
    const char *kind;    /* cuda, hip, metal, cuda-emulated, ... */
    int32_t (*count)(void); /* cards that there are; 0 also where the driver is missing */
    lf_device *(*open)(int index, char *fault, int fault_size);
    void (*close)(lf_device *device);
    int (*memory)(lf_device *device, lf_device_facts *facts);
    /* Memory of the device; 0 when there is none. With `host`, those bytes of the host where they lie, 0 where the device
       cannot read them in place. */
    void *(*alloc)(lf_device *device, const void *host, int64_t size);
    void (*release)(lf_device *device, void *address);
    /* Host bytes to the device, in order with runs; the host's may change as soon as it returns. */
    int (*upload)(lf_device *device, void *to, const void *from, int64_t size, char *fault, int fault_size);
    /* Device bytes to the host, after all that was asked before; they are there when it returns. */
    int (*download)(lf_device *device, void *to, const void *from, int64_t size, char *fault, int fault_size);
    int (*copy)(lf_device *device, void *to, const void *from, int64_t size, char *fault, int fault_size);
    int (*run)(lf_device *device, const lf_stretch_of_ops *what, char *fault, int fault_size);
    /* 1 where the module has a kernel for this op with these operands' dtypes; what it has not runs on the CPU. */
    int (*serves)(const lf_op *op, const int32_t *args, const lf_tensor *tensors);
    /* Wait until everything asked for is done. */
    int (*sync)(lf_device *device, char *fault, int fault_size);
} lf_module;
/* cdef-end */

/* Bytes of n values that fill whole blocks. */
static inline int64_t lf_size_of(int dtype, int64_t n) {
    switch (dtype) {
#define X(name, NAME, block) \
    case LF_##NAME: return n / block * (int64_t)sizeof(lf_##name);
        LF_FORMATS(X)
#undef X
    case LF_I32: return n * 4;
    }
    return 0;
}

/* Which formats have an integer form, and which are floats that stand alone. */
static inline int lf_is_quant(int dtype) {
    switch (dtype) {
#define X(name, NAME, block, group, biased) case LF_##NAME:
        LF_QUANTS(X)
#undef X
        return 1;
    }
    return 0;
}
static inline int lf_is_float(int dtype) { return dtype == LF_F32 || dtype == LF_F16 || dtype == LF_BF16; }

/* The one symbol that a module exports: const lf_module *lf_module_table(void). */
#define LF_MODULE_SYMBOL "lf_module_table"
#endif
