/* A GPU module for tests: the CPU's own kernels behind the table of module.h, in memory that the host cannot touch.

   Addresses of its cards are moved out of the reach of the host: whoever mixes the two up crashes. The environment says
   how many cards there are (LF_TEST_CARDS), how much memory each has (LF_TEST_MEMORY), which ops have no kernel
   (LF_TEST_HOLES) and what goes wrong (LF_TEST_FAULT: open, crash, hang, sum, run; idle: nothing is computed). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "abi.h"
#include "module.h"
#define LF_DEFINE_SPECS
#include "ops.h"

#ifdef LF_TEST_ABI
#undef LF_ABI
#define LF_ABI LF_TEST_ABI
#endif

#define FAR ((uintptr_t)1 << 62)
#define SHARED (8 << 20)

struct lf_device {
    int index;
    int64_t used;
    char *scratch;
};

typedef struct {
    int64_t size, canary;
} lf_head;

/* What tests count: calls, and bytes that went up and down. */
__attribute__((visibility("default"))) int64_t lf_test_calls[6]; /* uploads, runs, downloads, bytes up, bytes down, numbered runs */

extern const lf_kernels lf_kernels_test;
static int64_t taken;
void lf_barrier(const lf_call *call) { (void)call, taken = 0; }
int64_t lf_take(const lf_call *call) { return (void)call, taken++; }
int64_t lf_take_unit(const lf_call *call, lf_units *units) {
    int64_t unit = lf_take(call);
    return unit < units->n ? unit : units->n;
}
int64_t lf_bytes(int dtype, int64_t n) {
    switch (dtype) {
#define X(name, NAME, block) \
    case LF_##NAME: return n / block * (int64_t)sizeof(lf_##name);
        LF_FORMATS(X)
#undef X
    case LF_I32: return 4 * n;
    default: return 0;
    }
}

static int64_t number(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text ? atoll(text) : otherwise;
}

static int wants(const char *what) {
    const char *text = getenv("LF_TEST_FAULT");
    return text && !strcmp(text, what);
}

static int32_t count(void) { return (int32_t)number("LF_TEST_CARDS", 1); }

static lf_device *open_card(int index, char *fault, int size) {
    if (wants("crash")) raise(SIGSEGV);
    if (wants("hang")) sleep(1000);
    if (wants("open")) return snprintf(fault, (size_t)size, "the card is on fire"), (lf_device *)0;
    if (index < 0 || index >= count()) return snprintf(fault, (size_t)size, "there is no card %d", index), (lf_device *)0;
    lf_device *d = calloc(1, sizeof *d);
    d->index = index;
    d->scratch = aligned_alloc(4096, SHARED * 8);
    return d;
}

static void close_card(lf_device *d) {
    if (d->used) fprintf(stderr, "test card %d: %lld bytes were not released\n", d->index, (long long)d->used);
    free(d->scratch);
    free(d);
}

static int memory(lf_device *d, lf_device_facts *facts) {
    memset(facts, 0, sizeof *facts);
    snprintf(facts->name, sizeof facts->name, "Test card %d", d->index);
    snprintf(facts->arch, sizeof facts->arch, "test");
    facts->total = number("LF_TEST_MEMORY", (int64_t)8 << 30);
    facts->available = facts->total - d->used;
    return 0;
}

static void *alloc(lf_device *d, const void *host, int64_t size) {
    if (host || d->used + size > number("LF_TEST_MEMORY", (int64_t)8 << 30)) return 0;
    char *p = aligned_alloc(4096, (size_t)(4096 + (size + 4095) / 4096 * 4096));
    if (!p) return 0;
    memset(p, 0xA5, (size_t)size + 64); /* whoever counts on zeros is wrong */
    *(lf_head *)p = (lf_head){size, 0x600d};
    d->used += size;
    return (void *)((uintptr_t)p + 4096 + FAR);
}

static void *near(const void *address) {
    if ((uintptr_t)address < FAR) fprintf(stderr, "test card: %p is no address of a card\n", address), abort();
    return (void *)((uintptr_t)address - FAR);
}

static void release(lf_device *d, void *address) {
    char *p = (char *)near(address) - 4096;
    if (((lf_head *)p)->canary != 0x600d) fprintf(stderr, "test card: %p was not allocated\n", address), abort();
    d->used -= ((lf_head *)p)->size;
    free(p);
}

static int upload(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    (void)d, (void)fault, (void)fault_size;
    lf_test_calls[0]++, lf_test_calls[3] += size;
    memcpy(near(to), from, (size_t)size);
    return 0;
}

static int download(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    (void)d, (void)fault, (void)fault_size;
    lf_test_calls[2]++, lf_test_calls[4] += size;
    memcpy(to, near(from), (size_t)size);
    return 0;
}

static int copy(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    (void)d, (void)fault, (void)fault_size;
    memmove(near(to), near(from), (size_t)size);
    return 0;
}

static int run(lf_device *d, const lf_stretch_of_ops *what, char *fault, int fault_size) {
    lf_test_calls[1]++, lf_test_calls[5] += what->same != 0;
    if (wants("run")) return snprintf(fault, (size_t)fault_size, "the card stopped"), -1;
    if (wants("idle")) return 0;
    lf_view *views = malloc((size_t)what->n_views * sizeof *views + 1);
    for (int i = 0; i < what->n_views; i++) {
        views[i] = what->views[i];
        views[i].data = views[i].data ? near(views[i].data) : 0;
    }
    lf_call call = {views, 0, 0, 1, d->scratch, SHARED, d->scratch + SHARED, SHARED * 7, 0, 1, 0};
    for (int i = 0; i < what->n_ops; i++) {
        const lf_op *op = &what->ops[i];
        taken = 0;
        lf_kernels_test.entries[op->op](&call, what->pool + op->args);
        if (!wants("sum")) continue;
        lf_view *out = &views[what->pool[op->args]];
        if (out->dtype == LF_F32 && out->data) ((float *)out->data)[0] += 1;
    }
    free(views);
    return 0;
}

static int serves(const lf_op *op, const int32_t *args, const lf_tensor *tensors) {
    (void)args, (void)tensors;
    const char *holes = getenv("LF_TEST_HOLES");
    const char *name = op->op < LF_OPS ? lf_specs[op->op].name : "";
    size_t n = strlen(name);
    for (const char *at = holes; at && (at = strstr(at, name)); at += n)
        if ((at == holes || at[-1] == ',') && (!at[n] || at[n] == ',')) return 0;
    return 1;
}

static int sync_card(lf_device *d, char *fault, int fault_size) { return (void)d, (void)fault, (void)fault_size, 0; }

static const lf_module table = {LF_ABI, "test", count, open_card, close_card, memory, alloc, release, upload,
                                download, copy, run, serves, sync_card};

#ifndef LF_TEST_NO_SYMBOL
__attribute__((visibility("default"))) const lf_module *lf_module_table(void) { return &table; }
#endif
