/* The part of a program that runs on devices beside the CPU: their views, memory, inputs, and copies at the seams. */
#include <stdlib.h>
#include "executor.h"

#define LF_ALIGN 256
#define LF_SPLIT_PAGES 8   /* as attention's SPLIT */
#define LF_PIECE 64       /* int32 of a table that are compared, and sent, together */
#define LF_GRAPH_TOKENS 64 /* stretches of at most so many tokens come again and again: they get a number */

static int64_t lf_up(int64_t n) { return (n + LF_ALIGN - 1) / LF_ALIGN * LF_ALIGN; }

static int lf_root(const lf_program *p, int i) {
    while (p->tensors[i].home == LF_HOME_VIEW) i = p->tensors[i].base;
    return i;
}

int lf_take_sides(lf_program *p, const lf_image *image, lf_fault f) {
    if (image->n_sides < 0 || image->n_sides > LF_MAX_SIDES) return lf_fail(f, "%d devices are too many", image->n_sides);
    p->sides = calloc((size_t)image->n_sides + 1, sizeof *p->sides);
    if (!p->sides) return lf_fail(f, "out of memory");
    for (int i = 0; i < image->n_sides; i++) {
        lf_side_state *s = &p->sides[i];
        s->given = image->sides[i];
        s->given.uploads = 0;
        p->n_sides = i + 1;
        if (!s->given.module || !s->given.device || s->given.n_uploads < 0)
            return lf_fail(f, "device %d is malformed", i + 1);
        size_t size = (size_t)s->given.n_uploads * sizeof(lf_upload);
        lf_upload *kept = malloc(size + 1);
        if (!kept) return lf_fail(f, "out of memory");
        if (size) memcpy(kept, image->sides[i].uploads, size);
        s->given.uploads = kept;
    }
    static uint64_t serial;
    p->serial = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
    return 0;
}

/* Where the device has a weight, or 0. */
static void *lf_uploaded(const lf_program *p, const lf_side_state *s, const lf_tensor *t) {
    int64_t bytes = lf_span(p, t);
    for (int i = 0; i < s->given.n_uploads; i++) {
        const lf_upload *u = &s->given.uploads[i];
        if (u->mapping == t->mapping && t->offset >= u->offset && bytes <= u->size && t->offset - u->offset <= u->size - bytes)
            return (char *)u->address + (t->offset - u->offset);
    }
    return 0;
}

static int lf_is_table(const lf_program *p, const lf_tensor *t) {
    for (int d = 0; d < 4; d++) {
        if (t->ne[d] >= 0) continue;
        int letter = p->sizes[-1 - t->ne[d]].letter;
        if (letter == LF_LETTER_C || letter == LF_LETTER_P) return 1;
    }
    return 0;
}

/* Mark a tensor, and what it looks into, as seen by the device. */
static void lf_use(const lf_program *p, char *seen, int i) {
    while (!seen[i]) {
        seen[i] = 1;
        if (p->tensors[i].home != LF_HOME_VIEW) return;
        i = p->tensors[i].base;
    }
}

static void lf_use_ops(const lf_program *p, int device, char *seen) {
    for (int i = 0; i < p->n_ops; i++) {
        const lf_op *op = &p->ops[i];
        if (op->device != device) continue;
        for (int k = 0; k < op->n_out + op->n_in; k++)
            if (p->pool[op->args + k] != LF_NONE) lf_use(p, seen, p->pool[op->args + k]);
    }
    for (int i = 0; i < p->n_segments; i++)
        for (int k = 0; p->segments[i].device == device && k < p->segments[i].n_in + p->segments[i].n_out; k++)
            lf_use(p, seen, p->pool[p->segments[i].copies + k]);
}

/* An op may touch only caches of its own device. */
static int lf_check_homes(const lf_program *p, lf_fault f) {
    for (int i = 0; i < p->n_ops; i++) {
        const lf_op *op = &p->ops[i];
        for (int k = 0; k < op->n_out + op->n_in; k++) {
            int t = p->pool[op->args + k];
            if (t == LF_NONE) continue;
            const lf_tensor *root = &p->tensors[lf_root(p, t)];
            if ((root->home == LF_HOME_CACHE || root->home == LF_HOME_STATE) && root->device != op->device)
                return lf_fail(f, "op %d is of device %d, its cache lies on %d", i, op->device, root->device);
        }
    }
    return 0;
}

/* Every value that an op reads was made on its device or brought there: valid[i] has a bit for each device. */
static int lf_check_flow(const lf_program *p, uint32_t *valid, lf_fault f) {
    for (int i = 0; i < p->n_segments; i++) {
        const lf_segment *s = &p->segments[i];
        const int32_t *copies = p->pool + s->copies;
        uint32_t here = 1u << s->device;
        for (int k = 0; k < s->n_in; k++) {
            if (!(valid[copies[k]] & 1)) return lf_fail(f, "segment %d brings tensor %d before it is there", i, copies[k]);
            valid[copies[k]] |= here;
        }
        for (int o = s->first; o < s->first + s->count; o++) {
            const lf_op *op = &p->ops[o];
            const int32_t *args = p->pool + op->args;
            for (int k = op->n_out + op->n_in - 1; k >= 0; k--) { /* inputs, then outputs */
                if (args[k] == LF_NONE) continue;
                int root = lf_root(p, args[k]);
                if (p->tensors[root].home != LF_HOME_ARENA) continue;
                if (k >= op->n_out ? !(valid[root] & here) : root != args[k] && valid[root] && !(valid[root] & here))
                    return lf_fail(f, "op %d reads tensor %d, which is not on device %d", o, args[k], op->device);
                if (k < op->n_out) valid[root] = here;
            }
        }
        for (int k = s->n_in; k < s->n_in + s->n_out; k++) {
            if (!(valid[copies[k]] & here)) return lf_fail(f, "segment %d takes tensor %d back, which it has not", i, copies[k]);
            valid[copies[k]] |= 1;
        }
    }
    return 0;
}

/* Room for the inputs: first those that are sent with each run, then the tables. */
static int lf_plan_inputs(lf_program *p, lf_side_state *s, const char *seen, lf_fault f) {
    int64_t sent = 0, tables = 0;
    for (int slot = 0; slot < LF_MAX_SLOTS; slot++) {
        int t = p->slots[slot];
        s->table_at[slot] = -1;
        if (t < 0 || !seen[t]) continue;
        int64_t bytes = lf_up(lf_span(p, &p->tensors[t]));
        if (lf_is_table(p, &p->tensors[t]))
            s->table_at[slot] = tables, tables += bytes;
        else
            sent += bytes;
    }
    s->staged = malloc((size_t)sent + 1), s->tables = malloc((size_t)tables + 1);
    if (!s->staged || !s->tables) return lf_fail(f, "out of memory");
    s->tables_at = sent;
    s->inputs = s->given.module->alloc(s->given.device, 0, sent + tables + LF_ALIGN);
    return s->inputs ? 0 : lf_fail(f, "the device has no memory for %lld bytes of inputs", (long long)(sent + tables));
}

static int lf_open_side(lf_program *p, int device, char *seen, lf_fault f) {
    lf_side_state *s = &p->sides[device - 1];
    memset(seen, 0, (size_t)p->n_tensors);
    lf_use_ops(p, device, seen);
    if (!memchr(seen, 1, (size_t)p->n_tensors)) return 0; /* nothing runs there */
    s->views = calloc((size_t)p->n_tensors + 1, sizeof *s->views);
    s->used = calloc((size_t)p->n_tensors + 1, sizeof *s->used);
    if (!s->views || !s->used) return lf_fail(f, "out of memory");
    if (lf_plan_inputs(p, s, seen, f)) return -1;
    s->arena = s->given.module->alloc(s->given.device, 0, p->arena.size + LF_ALIGN);
    if (!s->arena)
        return lf_fail(f, "the device has no memory for %lld bytes of scratch; use fewer layers (-ngl) or a smaller -ub",
                       (long long)p->arena.size);
    for (int i = 0; i < p->n_tensors; i++) {
        const lf_tensor *t = &p->tensors[i];
        lf_view *v = &s->views[i];
        *v = p->views[i];
        v->data = 0;
        v->dtype &= ~LF_LAID_OUT; /* devices are given plain rows */
        if (!seen[i]) continue;
        s->used[s->n_used++] = i;
        if (t->home == LF_HOME_VIEW) v->data = lf_view_address(s->views[t->base].data, t);
        if (t->home == LF_HOME_ARENA) v->data = (char *)s->arena + t->offset;
        if (t->home == LF_HOME_CACHE) v->data = (char *)s->given.cache.address + t->offset;
        if (t->home == LF_HOME_STATE) v->data = (char *)s->given.state.address + t->offset;
        if (t->home == LF_HOME_INPUT) v->data = s->inputs;
        if (t->home == LF_HOME_WEIGHT && !(v->data = lf_uploaded(p, s, t)))
            return lf_fail(f, "tensor %d was not brought to device %d", i, device);
    }
    return 0;
}

int lf_open_sides(lf_program *p, lf_fault f) {
    if (!p->n_sides) return 0;
    uint32_t *valid = calloc((size_t)p->n_tensors + 1, sizeof *valid);
    char *seen = malloc((size_t)p->n_tensors + 1);
    int wrong = !valid || !seen ? lf_fail(f, "out of memory") : lf_check_homes(p, f) || lf_check_flow(p, valid, f);
    for (int i = 1; i <= p->n_sides && !wrong; i++) wrong = lf_open_side(p, i, seen, f);
    free(valid), free(seen);
    return wrong ? -1 : 0;
}

void lf_close_sides(lf_program *p) {
    for (int i = 0; i < p->n_sides; i++) {
        lf_side_state *s = &p->sides[i];
        if (s->arena) s->given.module->release(s->given.device, s->arena);
        if (s->inputs) s->given.module->release(s->given.device, s->inputs);
        free((void *)(uintptr_t)s->given.uploads);
        free(s->views), free(s->used), free(s->staged), free(s->tables);
    }
    free(p->sides);
}

/* Bytes from a view's first value to its last, as its sizes are now. */
static int64_t lf_extent(const lf_view *v) {
    if (!v->ne[0] || !v->ne[1] || !v->ne[2] || !v->ne[3]) return 0;
    int64_t before = 0;
    for (int d = 1; d < 4; d++) before += (v->ne[d] - 1) * v->stride[d];
    return lf_bytes(v->dtype, before + v->ne[0]);
}

/* Send the pieces of a table that differ from what the device has. */
static int lf_send_table(lf_side_state *s, int slot, const int32_t *now, int64_t count, lf_fault f) {
    int32_t *known = s->tables + s->table_at[slot] / 4;
    char *there = s->inputs + s->tables_at + s->table_at[slot];
    int64_t from = -1, end = -1;
    for (int64_t at = 0; at <= count; at += LF_PIECE) {
        int64_t n = count - at < LF_PIECE ? count - at : LF_PIECE;
        int differs = n > 0 && (at + n > s->known[slot] || memcmp(known + at, now + at, (size_t)n * 4));
        if (differs && from < 0) from = at;
        if (differs) end = at + n;
        if (from < 0 || (differs && at + LF_PIECE <= count)) continue;
        /* A gap shorter than this costs less than another transfer. */
        if (!differs && at + LF_PIECE <= count && at - end < 16 * LF_PIECE) continue;
        memcpy(known + from, now + from, (size_t)(end - from) * 4);
        if (s->given.module->upload(s->given.device, there + from * 4, now + from, (end - from) * 4, f.text, f.size)) return -1;
        from = -1;
    }
    if (count > s->known[slot]) s->known[slot] = count;
    return 0;
}

/* Bring the inputs of this run: one block, and of the tables what changed. */
static int lf_send_inputs(lf_program *p, lf_side_state *s, lf_fault f) {
    int64_t at = 0;
    for (int i = 0; i < s->n_used; i++) {
        const lf_tensor *t = &p->tensors[s->used[i]];
        lf_view *v = &s->views[s->used[i]];
        memcpy(v->ne, p->views[s->used[i]].ne, sizeof v->ne);
        if (t->home == LF_HOME_VIEW) v->data = lf_view_address(s->views[t->base].data, t);
        if (t->home != LF_HOME_INPUT) continue;
        int64_t bytes = lf_extent(v);
        const void *host = p->inputs[t->base].address;
        if (s->table_at[t->base] >= 0) {
            v->data = s->inputs + s->tables_at + s->table_at[t->base];
            if (lf_send_table(s, t->base, host, bytes / 4, f)) return -1;
        } else {
            v->data = s->inputs + at;
            memcpy(s->staged + at, host, (size_t)bytes);
            at = lf_up(at + bytes);
        }
    }
    s->sent = 1;
    return at ? s->given.module->upload(s->given.device, s->inputs, s->staged, at, f.text, f.size) : 0;
}

void lf_round_sizes(const lf_program *p, int32_t *letters) {
    int32_t pages = (letters[LF_LETTER_P] + LF_SPLIT_PAGES - 1) / LF_SPLIT_PAGES * LF_SPLIT_PAGES;
    letters[LF_LETTER_P] = pages < p->maximum[LF_LETTER_P] ? pages : p->maximum[LF_LETTER_P];
}

/* A number that is the same for stretches that are alike: all in them follows from program, segment and letters. */
static uint64_t lf_number(const lf_program *p, const int32_t *letters, int segment) {
    if (letters[LF_LETTER_T] > LF_GRAPH_TOKENS) return 0;
    uint64_t h = p->serial * 1000003u + (uint64_t)segment;
    for (int i = 0; i < LF_LETTERS; i++) h = (h ^ (uint64_t)letters[i]) * 0x100000001b3u;
    h ^= h >> 29;
    return h ? h : 1;
}

int lf_run_on_side(lf_program *p, const int32_t *letters, int segment, int first, int count, lf_fault f) {
    const lf_segment *g = &p->segments[segment];
    lf_side_state *s = &p->sides[g->device - 1];
    const lf_module *m = s->given.module;
    const int32_t *copies = p->pool + g->copies;
    if (!s->sent && lf_send_inputs(p, s, f)) return -1;
    for (int k = 0; k < g->n_in; k++) {
        const lf_view *host = &p->views[copies[k]];
        int64_t bytes = lf_extent(host);
        if (bytes && m->upload(s->given.device, s->views[copies[k]].data, host->data, bytes, f.text, f.size)) return -1;
    }
    uint64_t same = first == g->first && count == g->count ? lf_number(p, letters, segment) : 0;
    lf_stretch_of_ops what = {s->views, p->ops + first, p->pool, p->n_tensors, count, same};
    if (m->run(s->given.device, &what, f.text, f.size)) return -1;
    for (int k = g->n_in; k < g->n_in + g->n_out; k++) {
        const lf_view *host = &p->views[copies[k]];
        int64_t bytes = lf_extent(host);
        if (bytes && m->download(s->given.device, host->data, s->views[copies[k]].data, bytes, f.text, f.size)) return -1;
    }
    return 0;
}
