/* The host's side of a card: its stream, its scratch, how a fault becomes a line. */
#ifndef LF_HOST_H
#define LF_HOST_H
#include <stdio.h>
#include <stdlib.h>
#include "device.h"
#include "module.h"

enum { LF_SLOTS = 4, LF_SLOT_BYTES = 8 << 20, LF_GRAPHS = 32, LF_REGISTERED = 64 };

/* A stretch that was captured, by its number; `exec` is 0 when it has run once and not been captured yet. */
typedef struct {
    uint64_t same, used;
    cudaGraphExec_t exec;
} lf_graph;

struct lf_device {
    int index, processors, major, minor;
    int code; /* the architecture of the code that runs here: PTX may be of an older one than the card */
    int64_t shared; /* bytes of shared memory that a block may have */
    cudaStream_t stream;
    char *scratch;
    int64_t scratch_size, scratch_wanted;
    char *slots; /* pinned: parts of uploads and downloads under way */
    cudaEvent_t slot_done[LF_SLOTS];
    int slot, slot_used;
    lf_graph graphs[LF_GRAPHS];
    uint64_t clock;
    const void *registered[LF_REGISTERED];
    char *fault;
    int fault_size, failed;
};

/* What kernels' host functions get: the call, and the card. */
typedef struct {
    lf_call call;
    lf_device *device;
} lf_device_call;

static inline lf_device *lf_device_of(const lf_call *call) { return ((const lf_device_call *)call)->device; }

/* For the length of a scope, launches wait until the one ahead is done. Large blocks of threads want that: brought onto the
   card before, they pile up on the processors that the one ahead leaves first. */
struct lf_alone {
    bool before;
    explicit lf_alone(bool wanted = true) : before(lf_overlap) { lf_overlap = before && !wanted; }
    ~lf_alone() { lf_overlap = before; }
};

/* Remember the first error of a run. */
static inline void lf_refuse(lf_device *d, const char *text) {
    if (!d->failed && d->fault_size > 0) snprintf(d->fault, (size_t)d->fault_size, "%s", text);
    d->failed = 1;
}

/* Let a kernel have this much dynamic shared memory; false where the card has less. */
template <class Kernel> static bool lf_allow_shared(lf_device *d, Kernel *kernel, size_t bytes) {
    if (bytes <= 48 << 10) return true;
    return (int64_t)bytes <= d->shared &&
           cudaFuncSetAttribute(LF_KERNEL_ADDRESS(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes) == cudaSuccess;
}

/* Of the architectures that this was compiled for, the one whose code a card runs. */
static inline int lf_code_of(int card) {
    int best = 0;
#ifdef __CUDA_ARCH_LIST__
    static const int all[] = {__CUDA_ARCH_LIST__};
    for (int one : all)
        if (one / 10 <= card && one / 10 > best) best = one / 10;
#endif
    return best ? best : card;
}

/* Whether the card multiplies matrices as this file needs it. */
static bool lf_has_matrices(const lf_device *d) {
#ifdef __HIPCC__
    return (void)d, false;
#else
    return d->code >= 75;
#endif
}

/* Scratch of a run, the same for all its ops, which are done one after another. While they are only asked how much they
   want, the address must not be used for anything but launches. */
static inline char *lf_scratch(const lf_call *call, int64_t bytes) {
    lf_device *d = lf_device_of(call);
    if (bytes > d->scratch_wanted) d->scratch_wanted = bytes;
    return d->scratch;
}

static inline int64_t lf_all_rows(const lf_view *v) { return (int64_t)v->ne[1] * v->ne[2] * v->ne[3]; }
static inline int lf_ceil(int64_t n, int by) { return (int)((n + by - 1) / by); }

/* A view's rows of floats as kernels take them: any strides between rows. */
typedef struct {
    float *data;
    int32_t ne1, ne2;
    int64_t s1, s2, s3;
} lf_floats_at;
static inline lf_floats_at lf_rows_at(const lf_view *v) {
    lf_floats_at r = {(float *)v->data, v->ne[1], v->ne[2], v->stride[1], v->stride[2], v->stride[3]};
    return r;
}
LF_DEV float *lf_row_at(const lf_floats_at &v, int64_t r) {
    int64_t a = r % v.ne1, b = r / v.ne1 % v.ne2, c = r / v.ne1 / v.ne2;
    return v.data + a * v.s1 + b * v.s2 + c * v.s3;
}
#endif
