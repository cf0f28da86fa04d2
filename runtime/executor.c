/* Opening a flat program (every index, size and count is checked here) and running it on the CPU. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "a8.h"
#include "cpu.h"
#include "executor.h"
#define LF_DEFINE_SPECS
#include "ops.h"

#define LF_SCRATCH (1 << 20)
#define LF_AHEAD_ROWS 32 /* of a product to come: what a thread takes of it first */

int lf_fail(lf_fault f, const char *format, ...) {
    va_list list;
    va_start(list, format);
    if (f.size > 0) vsnprintf(f.text, (size_t)f.size, format, list);
    va_end(list);
    return -1;
}

/* The format whose blocks a laid-out one has, or -1. */
static int lf_plain(int dtype) {
    switch (dtype & ~LF_LAID_OUT) {
#define X(name, NAME, block, group, biased) case LF_##NAME: return LF_##NAME;
        LF_QUANTS(X)
#undef X
    default: return -1;
    }
}

/* Elements and bytes of a dtype's block; block 0 for an unknown one. */
static void lf_block(int dtype, int *block, int *size) {
    switch (dtype & LF_LAID_OUT ? lf_plain(dtype) : dtype) {
#define X(name, NAME, n) \
    case LF_##NAME: *block = n, *size = (int)sizeof(lf_##name); return;
        LF_FORMATS(X)
#undef X
    case LF_I32: *block = 1, *size = 4; return;
    default: *block = 0, *size = 0;
    }
}

int64_t lf_bytes(int dtype, int64_t n) {
    int block, size;
    lf_block(dtype, &block, &size);
    return block ? n / block * size : 0;
}

int lf_evaluate(const lf_program *p, const int32_t *letters, int32_t ne) {
    if (ne >= 0) return ne;
    const lf_size *s = &p->sizes[-1 - ne];
    return (int)(((int64_t)s->mul * letters[s->letter] + s->add) / s->div);
}

static int lf_check_sizes(const lf_program *p, lf_fault f) {
    for (int i = 0; i < LF_LETTERS; i++)
        if (p->maximum[i] < 0) return lf_fail(f, "the maximum of letter %d is negative", i);
    for (int i = 0; i < p->n_sizes; i++) {
        const lf_size *s = &p->sizes[i];
        if (s->letter < 0 || s->letter >= LF_LETTERS || s->mul < 0 || s->add < 0 || s->div < 1)
            return lf_fail(f, "size %d is malformed", i);
        if (((int64_t)s->mul * p->maximum[s->letter] + s->add) / s->div > INT_MAX)
            return lf_fail(f, "size %d is too large", i);
    }
    return 0;
}

/* Bytes that a tensor spans in its home with every letter at its maximum, or -1. */
int64_t lf_span(const lf_program *p, const lf_tensor *t) {
    int block, size;
    lf_block(t->dtype, &block, &size);
    int64_t rows = 1;
    int ne0 = lf_evaluate(p, p->maximum, t->ne[0]);
    for (int d = 1; d < 4; d++)
        if (__builtin_mul_overflow(rows, (int64_t)lf_evaluate(p, p->maximum, t->ne[d]), &rows)) return -1;
    int64_t row = t->dtype == LF_A8 ? lf_a8_stride(ne0) : block && ne0 % block == 0 ? (int64_t)ne0 / block * size : -1;
    int64_t all;
    return row < 0 || __builtin_mul_overflow(row, rows, &all) ? -1 : all;
}

/* The last element that a view reaches, counted from its base's first, or -1 when it cannot be counted. */
static int64_t lf_reach(const lf_program *p, const lf_tensor *t) {
    int64_t last = t->offset;
    for (int d = 0; d < 4; d++) {
        int64_t n = lf_evaluate(p, p->maximum, t->ne[d]), step;
        if (n == 0) continue;
        if (t->stride[d] < 0 || __builtin_mul_overflow(n - 1, (int64_t)t->stride[d], &step) ||
            __builtin_add_overflow(last, step, &last))
            return -1;
    }
    return last;
}

static int64_t lf_elements(const lf_program *p, const lf_tensor *t) {
    int64_t n = 1;
    for (int d = 0; d < 4; d++) n *= lf_evaluate(p, p->maximum, t->ne[d]);
    return n;
}

static int lf_check_view(const lf_program *p, int i, lf_fault f) {
    const lf_tensor *t = &p->tensors[i];
    if (t->base < 0 || t->base >= i) return lf_fail(f, "tensor %d looks into %d; a view's base comes before it", i, t->base);
    const lf_tensor *base = &p->tensors[t->base];
    int block, size;
    lf_block(t->dtype, &block, &size);
    if (t->dtype != base->dtype) return lf_fail(f, "tensor %d has another dtype than its base", i);
    if (t->dtype == LF_A8) {
        if (t->offset || t->ne[0] != base->ne[0]) return lf_fail(f, "tensor %d slices rows that cannot be sliced", i);
        return lf_elements(p, t) <= lf_elements(p, base) ? 0 : lf_fail(f, "tensor %d is larger than its base", i);
    }
    if (t->offset < 0 || t->offset % block) return lf_fail(f, "tensor %d begins inside a block", i);
    for (int d = 1; d < 4; d++)
        if (t->stride[d] % block) return lf_fail(f, "tensor %d has rows that begin inside a block", i);
    int64_t reach = lf_reach(p, t), whole = lf_reach(p, base) - base->offset;
    if (reach < 0 || reach > whole) return lf_fail(f, "tensor %d reaches beyond its base", i);
    return 0;
}

static const lf_memory *lf_home(const lf_program *p, const lf_tensor *t) {
    switch (t->home) {
    case LF_HOME_WEIGHT: return t->mapping < p->n_mappings ? &p->mappings[t->mapping] : 0;
    case LF_HOME_ARENA: return &p->arena;
    case LF_HOME_CACHE: return t->device ? &p->sides[t->device - 1].given.cache : &p->cache;
    case LF_HOME_STATE: return t->device ? &p->sides[t->device - 1].given.state : &p->state;
    default: return 0;
    }
}

static int lf_check_tensor(lf_program *p, int i, lf_fault f) {
    lf_tensor *t = &p->tensors[i];
    int block, size;
    lf_block(t->dtype, &block, &size);
    if (!block && t->dtype != LF_A8) return lf_fail(f, "tensor %d has format %d, which is not known here", i, t->dtype);
    for (int d = 0; d < 4; d++)
        if (t->ne[d] < -p->n_sizes || t->stride[d] < 0) return lf_fail(f, "tensor %d has a bad dimension", i);
    if (t->stride[0] != 1) return lf_fail(f, "tensor %d is not contiguous in its first dimension", i);
    if (t->device > p->n_sides) return lf_fail(f, "tensor %d lies on device %d, which does not exist", i, t->device);
    if (t->dtype & LF_LAID_OUT && (t->home != LF_HOME_WEIGHT || t->ne[1] <= 0 || t->ne[1] % LF_PANEL_ROWS))
        return lf_fail(f, "tensor %d is laid out, and no weight of whole panels", i);
    if (t->home == LF_HOME_VIEW) return lf_check_view(p, i, f);
    int64_t bytes = lf_span(p, t);
    if (bytes < 0) return lf_fail(f, "tensor %d has a size that cannot be", i);
    if (t->home == LF_HOME_INPUT) {
        if (t->base < 0 || t->base >= LF_MAX_SLOTS || p->slots[t->base] >= 0)
            return lf_fail(f, "tensor %d has slot %d, which is taken or does not exist", i, t->base);
        p->slots[t->base] = i;
        p->inputs[t->base] = lf_memory_new(bytes + 64);
        if (!p->inputs[t->base].address) return lf_fail(f, "no memory for an input of %lld bytes", (long long)bytes);
        p->inputs[t->base].size = bytes;
        return 0;
    }
    const lf_memory *home = lf_home(p, t);
    if (!home || t->offset < 0 || t->offset > home->size || bytes > home->size - t->offset)
        return lf_fail(f, "tensor %d lies outside its home", i);
    int alignment = t->dtype == LF_A8 ? 64 : block > 1 ? 1 : size; /* blocks are packed: they may lie anywhere */
    if (((uintptr_t)home->address + (uint64_t)t->offset) % (unsigned)alignment)
        return lf_fail(f, "tensor %d does not lie on a multiple of %d bytes", i, alignment);
    return 0;
}

/* Unify one operand's dimensions with the letters bound so far; what[letter] is a size as in lf_tensor.ne, or INT_MIN. */
static int lf_unify(const lf_program *p, const lf_spec *s, const lf_operand_spec *o, const int32_t *attrs, int tensor,
                    int32_t *what, int32_t *free_dims, lf_fault f) {
    const lf_tensor *t = &p->tensors[tensor];
    if (o->dtype != LF_ANY && o->dtype != t->dtype)
        return lf_fail(f, "%s: tensor %d has dtype %d, it must be %d", s->name, tensor, t->dtype, o->dtype);
    for (int d = 0; d < 4; d++) {
        int letter = d < o->rank ? o->letters[d] : 0;
        int32_t want = 1;
        if (d >= o->rank && o->free) {
            if (free_dims[d] == INT_MIN) free_dims[d] = t->ne[d];
            want = free_dims[d];
        } else if (letter >= 1000) {
            want = letter - 1000;
        } else if (letter < 0) {
            want = attrs[-1 - letter];
        } else if (letter > 0) {
            if (what[letter] == INT_MIN) what[letter] = t->ne[d];
            want = what[letter];
        }
        if (t->ne[d] != want) return lf_fail(f, "%s: tensor %d does not fit in dimension %d", s->name, tensor, d);
    }
    return 0;
}

static int lf_check_op(const lf_program *p, int i, lf_fault f) {
    const lf_op *op = &p->ops[i];
    if (op->op >= LF_OPS) return lf_fail(f, "op %d has number %d, which does not exist", i, op->op);
    const lf_spec *s = &lf_specs[op->op];
    if (op->n_out != s->n_out || op->n_in != s->n_in || op->n_attr != s->n_attr)
        return lf_fail(f, "op %d (%s) has another number of operands than %s needs", i, s->name, s->name);
    int operands = s->n_out + s->n_in;
    if ((int64_t)op->args + operands + s->n_attr > p->n_pool) return lf_fail(f, "op %d lies outside the pool", i);
    const int32_t *args = p->pool + op->args;
    int32_t what[64], free_dims[4] = {INT_MIN, INT_MIN, INT_MIN, INT_MIN};
    for (int l = 0; l < 64; l++) what[l] = INT_MIN;
    for (int k = 0; k < operands; k++) {
        const lf_operand_spec *o = &s->operands[k];
        if (args[k] == LF_NONE && o->optional) continue;
        if (args[k] < 0 || args[k] >= p->n_tensors) return lf_fail(f, "op %d (%s) names tensor %d", i, s->name, args[k]);
        if (lf_unify(p, s, o, args + operands, args[k], what, free_dims, f)) return -1;
        int home = p->tensors[args[k]].home;
        if (k < s->n_out && (home == LF_HOME_WEIGHT || home == LF_HOME_INPUT))
            return lf_fail(f, "op %d (%s) writes to a tensor that cannot be written", i, s->name);
    }
    return 0;
}

/* What an op needs beyond shapes that fit: the kernels rely on it. */
static int lf_check_meaning(const lf_program *p, const lf_op *op, lf_fault f) {
    const int32_t *args = p->pool + op->args;
    const char *name = lf_specs[op->op].name;
#define NE(operand, d) lf_evaluate(p, p->maximum, p->tensors[args[operand]].ne[d])
    switch (op->op) {
    case LF_OP_ATTENTION:
        if (!NE(2, 1) || NE(1, 1) % NE(2, 1) || NE(1, 1) / NE(2, 1) > 64 || NE(1, 0) > 640 || NE(3, 0) > 640)
            return lf_fail(f, "%s: %d heads of %d over %d heads of %d are not supported", name, NE(1, 1), NE(1, 0), NE(2, 1), NE(3, 0));
        if (NE(2, 2) % 64) return lf_fail(f, "%s: the cache is no whole number of pages", name);
        return 0;
    case LF_OP_ROPE:
    case LF_OP_ROPE_CELLS:
    case LF_OP_ROPE_STORE:
        return 2 * NE(2, 1) <= NE(1, 0) ? 0 : lf_fail(f, "%s: %d pairs do not fit in a head of %d", name, NE(2, 1), NE(1, 0));
    case LF_OP_MATMUL:
    case LF_OP_MATMUL_IDS: {
        int dtype = p->tensors[args[2]].dtype;
        if (dtype == LF_F32 || dtype == LF_F16 || dtype == LF_BF16) return 0;
        return lf_fail(f, "%s: weights of format %d need activations in integer form", name, dtype);
    }
    case LF_OP_MATMUL_QUANTIZED:
    case LF_OP_MATMUL_IDS_QUANTIZED:
        if (lf_plain(p->tensors[args[2]].dtype) >= 0) return 0;
        return lf_fail(f, "%s: weights of format %d have no integer form", name, p->tensors[args[2]].dtype);
    case LF_OP_GATED_PRODUCTS:
        for (int i = 2; i < 4; i++)
            if (lf_plain(p->tensors[args[i]].dtype) < 0)
                return lf_fail(f, "%s: weights of format %d have no integer form", name, p->tensors[args[i]].dtype);
        return NE(0, 0) % 32 == 0 ? 0 : lf_fail(f, "%s: %d rows are no whole number of blocks", name, NE(0, 0));
    case LF_OP_ROUTE: {
        int used = args[lf_specs[op->op].n_out + 1];
        return used >= 1 && used <= NE(2, 0) ? 0 : lf_fail(f, "%s: %d of %d experts cannot be used", name, used, NE(2, 0));
    }
    default: return 0;
    }
#undef NE
}

/* Scratch of a thread: room for some rows of the widest tensor, unpacked, behind what experts' pairs are sorted into; the shared
   part: for split attention. */
static void lf_plan_scratch(lf_program *p) {
    int64_t widest = 256, shared = 4096, least = 0, sorted = 0;
    for (int i = 0; i < p->n_tensors; i++) {
        int n = lf_evaluate(p, p->maximum, p->tensors[i].ne[0]);
        if (n > widest) widest = n;
    }
    for (int i = 0; i < p->n_ops; i++) {
        if (p->ops[i].op == LF_OP_MATMUL) { /* activations as two bf16 numbers each (ops/amx_bf16.h) */
            const lf_tensor *x = &p->tensors[p->pool[p->ops[i].args + 1]], *w = &p->tensors[p->pool[p->ops[i].args + 2]];
            int64_t t = lf_evaluate(p, p->maximum, x->ne[1]) + 15, k = lf_evaluate(p, p->maximum, x->ne[0]) + 31;
            if (w->dtype == LF_BF16 && t / 16 * 16 * (k / 32 * 32) * 4 > shared) shared = t / 16 * 16 * (k / 32 * 32) * 4;
        }
        if (p->ops[i].op == LF_OP_GATED_PRODUCTS) {
            int64_t k = lf_evaluate(p, p->maximum, p->tensors[p->pool[p->ops[i].args + 1]].ne[0]);
            if (k * LF_GATED_BYTES > least) least = k * LF_GATED_BYTES;
        }
        if (p->ops[i].op == LF_OP_MATMUL_IDS_QUANTIZED) {
            const lf_tensor *w = &p->tensors[p->pool[p->ops[i].args + 2]], *ids = &p->tensors[p->pool[p->ops[i].args + 3]];
            int64_t pairs = (int64_t)lf_evaluate(p, p->maximum, ids->ne[0]) * lf_evaluate(p, p->maximum, ids->ne[1]);
            int64_t need = (pairs + lf_evaluate(p, p->maximum, w->ne[2]) + 1) * 4;
            if (need > sorted) sorted = need;
        }
        if (p->ops[i].op != LF_OP_ATTENTION) continue;
        const int32_t *args = p->pool + p->ops[i].args;
        const lf_tensor *q = &p->tensors[args[1]], *v = &p->tensors[args[3]], *pages = &p->tensors[args[7]];
        int64_t heads = lf_evaluate(p, p->maximum, q->ne[1]), width = lf_evaluate(p, p->maximum, v->ne[0]);
        int64_t splits = (lf_evaluate(p, p->maximum, pages->ne[0]) + 7) / 8;
        int64_t need = LF_SPLIT_ROWS * heads * splits * (width + 2) * 4;
        if (need > shared) shared = need;
    }
    int64_t each = LF_SCRATCH + sorted + widest * 16 * 8;
    p->scratch_size = ((each > least ? each : least) + 4095) / 4096 * 4096;
    p->shared_size = shared;
}

void *lf_view_address(void *base, const lf_tensor *t) {
    return base ? (char *)base + (t->dtype == LF_A8 ? 0 : lf_bytes(t->dtype, t->offset)) : 0;
}

static void lf_place(lf_program *p, int i) {
    const lf_tensor *t = &p->tensors[i];
    lf_view *v = &p->views[i];
    v->dtype = t->dtype;
    for (int d = 0; d < 4; d++) {
        v->ne[d] = lf_evaluate(p, p->maximum, t->ne[d]);
        /* Rows whose length is a letter lie as far apart as at its maximum. */
        v->stride[d] = t->home == LF_HOME_VIEW ? t->stride[d] : d ? v->stride[d - 1] * v->ne[d - 1] : 1;
    }
    if (t->home == LF_HOME_VIEW)
        v->data = lf_view_address(p->views[t->base].data, t);
    else if (t->home == LF_HOME_INPUT)
        v->data = p->inputs[t->base].address;
    else if (t->device && t->home != LF_HOME_ARENA && t->home != LF_HOME_WEIGHT)
        v->data = 0; /* a cache of a device: the CPU cannot see it */
    else
        v->data = (char *)lf_home(p, t)->address + t->offset;
}

static void *lf_copy(const void *from, int64_t n, int64_t size) {
    void *to = malloc((size_t)(n * size + 1));
    if (to && n) memcpy(to, from, (size_t)(n * size));
    return to;
}

static int lf_take_image(lf_program *p, const lf_image *m, lf_fault f) {
    if (m->n_tensors < 0 || m->n_sizes < 0 || m->n_ops < 0 || m->n_pool < 0 || m->n_mappings < 0 || m->n_segments < 1)
        return lf_fail(f, "the image's counts are malformed");
    p->n_tensors = m->n_tensors, p->n_sizes = m->n_sizes, p->n_ops = m->n_ops, p->n_pool = m->n_pool;
    p->n_mappings = m->n_mappings;
    p->arena = m->arena, p->cache = m->cache, p->state = m->state;
    memcpy(p->maximum, m->maximum, sizeof p->maximum);
    p->tensors = lf_copy(m->tensors, m->n_tensors, sizeof *m->tensors);
    p->sizes = lf_copy(m->sizes, m->n_sizes, sizeof *m->sizes);
    p->ops = lf_copy(m->ops, m->n_ops, sizeof *m->ops);
    p->pool = lf_copy(m->pool, m->n_pool, sizeof *m->pool);
    p->kept_mappings = lf_copy(m->mappings, m->n_mappings, sizeof *m->mappings);
    p->mappings = p->kept_mappings;
    p->views = calloc((size_t)m->n_tensors + 1, sizeof *p->views);
    p->moving = calloc((size_t)m->n_tensors + 1, sizeof *p->moving);
    if (!p->tensors || !p->sizes || !p->ops || !p->pool || !p->kept_mappings || !p->views || !p->moving)
        return lf_fail(f, "out of memory");
    p->n_segments = m->n_segments;
    p->segments = lf_copy(m->segments, m->n_segments, sizeof *m->segments);
    if (!p->segments) return lf_fail(f, "out of memory");
    return lf_take_sides(p, m, f);
}

/* Segments cover all ops in order; what is copied exists, and is of a kind that can be. */
static int lf_check_segments(const lf_program *p, lf_fault f) {
    int next = 0;
    for (int i = 0; i < p->n_segments; i++) {
        const lf_segment *s = &p->segments[i];
        if (s->device > p->n_sides) return lf_fail(f, "segment %d is for device %d, which does not exist", i, s->device);
        if (s->first != next || s->count < 0 || s->count > p->n_ops - next)
            return lf_fail(f, "segment %d does not follow the one before", i);
        next += s->count;
        for (int k = s->first; k < next; k++)
            if (p->ops[k].device != s->device) return lf_fail(f, "op %d is of another device than its segment", k);
        if ((int64_t)s->copies + s->n_in + s->n_out > p->n_pool) return lf_fail(f, "segment %d lies outside the pool", i);
        if (!s->device && s->n_in + s->n_out) return lf_fail(f, "segment %d copies from the CPU to itself", i);
        for (int k = 0; k < s->n_in + s->n_out; k++) {
            int t = p->pool[s->copies + k];
            if (t < 0 || t >= p->n_tensors || p->tensors[t].home != LF_HOME_ARENA || p->tensors[t].dtype == LF_A8)
                return lf_fail(f, "segment %d copies tensor %d, which cannot be", i, t);
        }
    }
    return next == p->n_ops ? 0 : lf_fail(f, "the segments leave ops out");
}

static int lf_prepare(lf_program *p, lf_fault f) {
    if (lf_check_sizes(p, f)) return -1;
    for (int i = 0; i < LF_MAX_SLOTS; i++) p->slots[i] = -1;
    for (int i = 0; i < p->n_tensors; i++) {
        if (lf_check_tensor(p, i, f)) return -1;
        lf_place(p, i);
        for (int d = 0; d < 4; d++)
            if (p->tensors[i].ne[d] < 0) {
                p->moving[p->n_moving++] = i;
                break;
            }
    }
    for (int i = 0; i < p->n_ops; i++)
        if (lf_check_op(p, i, f) || lf_check_meaning(p, &p->ops[i], f)) return -1;
    if (lf_check_segments(p, f) || lf_open_sides(p, f)) return -1;
    lf_plan_scratch(p);
    p->scratch = lf_memory_new(p->scratch_size * lf_pool_threads(p->threads) + p->shared_size);
    return p->scratch.address ? 0 : lf_fail(f, "no memory for %lld bytes of scratch", (long long)p->scratch_size);
}

lf_program *lf_open(const lf_image *image, lf_pool *pool, char *fault, int fault_size) {
    lf_fault f = {fault, fault_size};
    lf_program *p = calloc(1, sizeof *p);
    if (!p) return lf_fail(f, "out of memory"), (lf_program *)0;
    p->threads = pool;
    p->kernels = lf_kernels_chosen();
    if (lf_take_image(p, image, f) || lf_prepare(p, f)) {
        lf_close(p);
        return 0;
    }
    return p;
}

void lf_close(lf_program *p) {
    if (!p) return;
    lf_close_sides(p);
    for (int i = 0; i < LF_MAX_SLOTS; i++) lf_memory_free(p->inputs[i]);
    lf_memory_free(p->scratch);
    free(p->tensors), free(p->sizes), free(p->ops), free(p->pool), free(p->segments);
    free(p->kept_mappings), free(p->views), free(p->moving);
    free(p);
}

lf_memory lf_input(const lf_program *p, int slot) {
    return slot >= 0 && slot < LF_MAX_SLOTS ? p->inputs[slot] : (lf_memory){0, 0};
}

void *lf_data(const lf_program *p, int i) { return i >= 0 && i < p->n_tensors ? p->views[i].data : 0; }

/* The table of sequences that attention reads: rows in order, cells within pages, pages within the cache. */
static int lf_check_sequences(const lf_program *p, const int32_t *args, lf_fault f) {
    const lf_view *q = &p->views[args[1]], *k = &p->views[args[2]], *pages = &p->views[args[7]];
    const int32_t *starts = p->views[args[5]].data, *lengths = p->views[args[6]].data;
    int32_t sequences = p->views[args[6]].ne[0];
    if (p->views[args[5]].ne[0] != sequences + 1 || starts[0] != 0 || starts[sequences] != q->ne[2])
        return lf_fail(f, "attention: the rows of the sequences do not add up");
    for (int32_t s = 0; s < sequences; s++) {
        if (starts[s + 1] < starts[s] || lengths[s] < 0 || lengths[s] > (int64_t)pages->ne[0] * 64)
            return lf_fail(f, "attention: sequence %d is malformed", s);
        for (int32_t i = 0; i * 64 < lengths[s]; i++) {
            int32_t page = ((const int32_t *)pages->data)[s * pages->stride[1] + i];
            if (page < 0 || page >= k->ne[2] / 64) return lf_fail(f, "attention: page %d does not exist", page);
        }
    }
    return 0;
}

/* Values of inputs that index something (ids of tokens, rows, cells) must lie below its size. */
static int lf_check_values(const lf_program *p, lf_fault f) {
    for (int i = 0; i < p->n_ops; i++) {
        const lf_op *op = &p->ops[i];
        const lf_spec *s = &lf_specs[op->op];
        const int32_t *args = p->pool + op->args;
        if (op->op == LF_OP_ATTENTION && lf_check_sequences(p, args, f)) return -1;
        for (int k = s->n_out; k < s->n_out + s->n_in; k++) {
            int below = s->operands[k].below;
            if (!below || p->tensors[args[k]].home != LF_HOME_INPUT) continue;
            int32_t limit = -1;
            for (int j = s->n_out; j < s->n_out + s->n_in; j++)
                for (int d = 0; d < s->operands[j].rank; d++)
                    if (s->operands[j].letters[d] == below) limit = p->views[args[j]].ne[d];
            const lf_view *v = &p->views[args[k]];
            for (int64_t n = (int64_t)v->ne[0] * v->ne[1], j = 0; j < n; j++) {
                int32_t value = ((const int32_t *)v->data)[j];
                if (value < 0 || value >= limit)
                    return lf_fail(f, "%s: value %d of an input is %d; it must be below %d", s->name, (int)j, value, limit);
            }
        }
    }
    return 0;
}

typedef struct {
    lf_program *program;
    int first, count;
} lf_stretch;

/* The weights that a thread begins the next product with, which comes within a few ops from op i on; none of a product with many
   columns, as that does not wait for memory. */
static lf_ahead lf_next_weights(const lf_stretch *stretch, int i, int thread) {
    const lf_program *p = stretch->program;
    for (int end = i + 3; i < end && i < stretch->first + stretch->count; i++) {
        const lf_op *op = &p->ops[i];
        if (op->op != LF_OP_MATMUL && op->op != LF_OP_MATMUL_QUANTIZED && op->op != LF_OP_GATED_PRODUCTS) continue;
        const lf_view *x = &p->views[p->pool[op->args + 1]], *w = &p->views[p->pool[op->args + 2]];
        int64_t turn = lf_bytes(w->dtype, w->stride[1]) * LF_AHEAD_ROWS, units = w->ne[1] / LF_AHEAD_ROWS;
        int64_t first = lf_pool_first(p->threads, thread, units);
        if (x->ne[1] > 2 || first >= units) break;
        const char *at = (const char *)w->data + first * turn;
        return (lf_ahead){at, at + turn};
    }
    return (lf_ahead){0, 0};
}

static void lf_execute(void *argument, int thread) {
    const lf_stretch *stretch = argument;
    const lf_program *p = stretch->program;
    char *base = p->scratch.address, *shared = base + p->scratch_size * lf_pool_threads(p->threads);
    lf_call call = {p->views,       p->threads, thread,        lf_pool_active(p->threads), base + p->scratch_size * thread,
                    p->scratch_size, shared,     p->shared_size, 0,      lf_pool_sharing(p->threads, thread), 0, {0, 0}};
    for (int i = stretch->first; i < stretch->first + stretch->count; i++) {
        const lf_op *op = &p->ops[i];
        call.op = i;
        p->kernels->entries[op->op](&call, p->pool + op->args);
        if (op->flags & LF_NO_BARRIER && call.place + 1 < LF_TOGETHER && i + 1 < stretch->first + stretch->count) {
            call.place++;
        } else {
            if (call.threads > 1) call.next = lf_next_weights(stretch, i + 1, thread); /* one thread waits for nobody */
            lf_barrier(&call);
            call.place = 0;
        }
    }
}

int lf_run_range(lf_program *p, const int32_t *letters, int first, int count, char *fault, int fault_size) {
    lf_fault f = {fault, fault_size};
    for (int i = 0; i < LF_LETTERS; i++)
        if (letters[i] < 0 || letters[i] > p->maximum[i])
            return lf_fail(f, "letter %d is %d; at most %d was declared", i, letters[i], p->maximum[i]);
    if (first < 0 || count < 0 || first > p->n_ops - count) return lf_fail(f, "ops %d + %d do not exist", first, count);
    int32_t sizes[LF_LETTERS];
    memcpy(sizes, letters, sizeof sizes);
    if (p->n_sides) lf_round_sizes(p, sizes);
    for (int i = 0; i < p->n_moving; i++) {
        int t = p->moving[i];
        for (int d = 0; d < 4; d++) p->views[t].ne[d] = lf_evaluate(p, sizes, p->tensors[t].ne[d]);
    }
    if (lf_check_values(p, f)) return -1;
    for (int i = 0; i < p->n_sides; i++) p->sides[i].sent = 0;
    for (int i = 0; i < p->n_segments; i++) {
        const lf_segment *s = &p->segments[i];
        int from = s->first > first ? s->first : first, end = s->first + s->count;
        if (end > first + count) end = first + count;
        if (from >= end) continue;
        lf_stretch stretch = {p, from, end - from};
        if (!s->device)
            lf_pool_run(p->threads, lf_execute, &stretch);
        else if (lf_run_on_side(p, sizes, i, from, end - from, f))
            return -1;
    }
    return 0;
}

int lf_run(lf_program *p, const int32_t *letters, char *fault, int fault_size) {
    return lf_run_range(p, letters, 0, p->n_ops, fault, fault_size);
}

int lf_sizeof(int which) {
    const int sizes[] = {sizeof(lf_tensor), sizeof(lf_size), sizeof(lf_op), sizeof(lf_segment)};
    return which >= 0 && which < 4 ? sizes[which] : -1;
}
