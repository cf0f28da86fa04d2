/* The Metal files as a module that runs on this processor: the very kernels and launches, the host's side in C++. */
#pragma GCC diagnostic ignored "-Wunused-parameter" /* kernels have one signature */
#pragma GCC diagnostic ignored "-Wunused-function"
#define __METAL_VERSION__ 310
#include <metal_stdlib>
#include "formats.h"
#include "arguments.h"
#undef __METAL_VERSION__

typedef void lf_entry_of(lf_arguments &, char *, char *, char *, char *, char *, char *, char *, char *, char *, char *, float *, uint3,
                         uint, uint);
struct lf_made { const char *name; lf_entry_of *entry; };
static std::vector<lf_made> &lf_all_made() {
    static std::vector<lf_made> all;
    return all;
}
struct lf_making { lf_making(const char *name, lf_entry_of *entry) { lf_all_made().push_back({name, entry}); } };
#define LF_PASTE2(a, b) a##b
#define LF_PASTE(a, b) LF_PASTE2(a, b)
#define LF_KERNEL(name)                                                                                                  \
    static void name(lf_arguments &a, char *b0, char *b1, char *b2, char *b3, char *b4, char *b5, char *b6, char *b7, char *b8, \
                     char *b9, float *room, uint3 group, uint thread_index, uint threads)
#define LF_MADE(host, ...) static lf_making LF_PASTE(lf_making_, __COUNTER__)(host, __VA_ARGS__);
#include "common.metal"
#include "elementwise.metal"
#include "norm.metal"
#include "rows.metal"
#include "attention.metal"
#include "matmul.metal"
#include "experts.metal"
#define LF_PLAIN(X) X(lf_embed) X(lf_take_rows) X(lf_store) X(lf_move_cells) X(lf_rotation) X(lf_rope) X(lf_rope_cells) \
    X(lf_attention) X(lf_quantize_rows) X(lf_route) X(lf_weighted_sum)
#define X(name) LF_MADE(#name, name)
LF_PLAIN(X)
#undef X
#undef device
#undef thread
#undef constant
#undef threadgroup
#undef kernel

#include "abi.h"
#include "dispatch.h"

struct lf_device {
    int index;
};

static int32_t lf_count(void) { return (int32_t)lf_emulated::number("LF_EMULATED_DEVICES", 1); }
static lf_device *lf_open(int index, char *fault, int size) {
    if (index < 0 || index >= lf_count()) return snprintf(fault, (size_t)size, "there is no card %d", index), (lf_device *)0;
    return new lf_device{index};
}
static void lf_close(lf_device *d) { delete d; }
static int lf_memory(lf_device *d, lf_device_facts *facts) {
    memset(facts, 0, sizeof *facts);
    snprintf(facts->name, sizeof facts->name, "emulated Apple GPU %d", d->index);
    snprintf(facts->arch, sizeof facts->arch, "apple");
    cudaSetDevice(d->index);
    size_t available, total;
    cudaMemGetInfo(&available, &total);
    facts->total = (int64_t)total, facts->available = (int64_t)available;
    return 0;
}
static void *lf_alloc(lf_device *d, const void *host, int64_t size) {
    char *p = 0;
    cudaSetDevice(d->index);
    return host ? (void *)(uintptr_t)host : cudaMalloc(&p, (size_t)size + 256) == cudaSuccess ? p : 0;
}
static void lf_release(lf_device *d, void *p) {
    cudaSetDevice(d->index);
    cudaFree(p);
    (void)cudaGetLastError();
}
static int lf_move(lf_device *, void *to, const void *from, int64_t size, char *, int) { return memmove(to, from, (size_t)size), 0; }
static int lf_run(lf_device *, const lf_stretch_of_ops *what, char *fault, int fault_size) {
    static char none[64];
    for (int i = 0; i < what->n_ops; i++) {
        lf_arguments a;
        void *data[LF_MOST];
        lf_launch l;
        if (!lf_prepare_launch(&what->ops[i], what->views, what->pool, &a, data, &l)) continue;
        lf_entry_of *entry = 0;
        for (const lf_made &made : lf_all_made())
            if (!strcmp(made.name, l.kernel)) entry = made.entry;
        if (!entry) return snprintf(fault, (size_t)fault_size, "there is no kernel %s", l.kernel), -1;
        char *b[LF_MOST];
        for (int k = 0; k < LF_MOST; k++) b[k] = data[k] ? (char *)data[k] : none;
        lf_emulated::run_grid(dim3(l.groups[0], l.groups[1]), dim3(l.threads), l.room, [&] {
            entry(a, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], (float *)lf_emulated::now.shared,
                  uint3{blockIdx.x, blockIdx.y, blockIdx.z}, threadIdx.x, blockDim.x);
        });
    }
    return 0;
}
static int lf_sync(lf_device *, char *, int) { return 0; }

extern "C" __attribute__((visibility("default"))) const lf_module *lf_module_table(void) {
    static const lf_module table = {LF_ABI, "metal-emulated", lf_count, lf_open, lf_close, lf_memory, lf_alloc, lf_release, lf_move,
                                    lf_move, lf_move, lf_run, lf_serves, lf_sync};
    return &table;
}
