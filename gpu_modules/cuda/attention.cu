/* Kernels of attention and positions. */

LF_KERNEL void lf_rotation_table(const int32_t *positions, const float *frequencies, float *out, int m, int all, float magnitude) {
    lf_begin();
    int at = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= all) return;
    double angle = (double)positions[at / m] * (double)frequencies[at % m], s, c;
    sincos(angle, &s, &c);
    ((float2 *)out)[at] = make_float2((float)c * magnitude, (float)s * magnitude);
}

static void lf_rotation(const lf_call *call, const lf_rotation_args *a) {
    int m = a->frequencies->ne[0], all = a->positions->ne[0] * m;
    if (!all) return;
    LF_LAUNCH(lf_rotation_table, dim3((unsigned)lf_ceil(all, 128)), dim3(128), 0, lf_device_of(call)->stream,
              (const int32_t *)a->positions->data, (const float *)a->frequencies->data, (float *)a->out0->data, m, all, a->magnitude);
}

/* Turn one pair of a head by its place in the table. */
LF_DEV void lf_turn(const float *x, const float2 *table, float *out, int i, int m, int halves) {
    int first = halves ? i : 2 * i, second = halves ? i + m : 2 * i + 1;
    float2 t = table[i];
    float p = x[first], q = x[second];
    out[first] = fmaf(p, t.x, -(q * t.y));
    out[second] = fmaf(p, t.y, q * t.x);
}

/* A thread turns one pair, or copies two values that are not turned. */
LF_KERNEL void lf_rope_rows(lf_floats_at x, const float2 *table, lf_floats_at out, int heads, int d, int m, int halves, int rows) {
    lf_begin();
    int pairs = (d + 1) / 2, at = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= rows * pairs) return;
    int row = at / pairs, i = at % pairs;
    const float *from = lf_row_at(x, row);
    float *to = lf_row_at(out, row);
    if (i < m) {
        lf_turn(from, table + (int64_t)(row / heads) * m, to, i, m, halves);
        return;
    }
    to[2 * i] = from[2 * i];
    if (2 * i + 1 < d) to[2 * i + 1] = from[2 * i + 1];
}

static void lf_rope(const lf_call *call, const lf_rope_args *a) {
    int heads = a->x->ne[1], d = a->x->ne[0], rows = (int)lf_all_rows(a->x);
    if (!rows) return;
    LF_LAUNCH(lf_rope_rows, dim3((unsigned)lf_ceil((int64_t)rows * ((d + 1) / 2), 128)), dim3(128), 0, lf_device_of(call)->stream,
              lf_rows_at(a->x), (const float2 *)a->table->data, lf_rows_at(a->out0), heads, d, a->table->ne[1], a->halves, rows);
}

/* Queries and keys turned by one table, and keys and values written to caches of half floats. */
typedef struct {
    lf_floats_at x, out;
    int32_t heads, size, pairs; /* pairs of values of all rows, which a thread each treats */
    lf_cells cache;             /* data 0: none */
} lf_turned;
typedef struct {
    lf_turned parts[3]; /* queries, keys, values; the last are not turned */
    const float2 *table;
    const int32_t *cells;
    int32_t m, halves;
} lf_turn_and_store;

LF_KERNEL void lf_rope_and_store(lf_turn_and_store p) {
    lf_begin();
    int at = (int)(blockIdx.x * blockDim.x + threadIdx.x), part = 0;
    while (part < 3 && at >= p.parts[part].pairs) at -= p.parts[part++].pairs;
    if (part == 3) return;
    const lf_turned &mine = p.parts[part];
    int half = mine.size / 2, row = at / half, i = at % half, first = 2 * i, second = 2 * i + 1;
    const float *from = lf_row_at(mine.x, row);
    float2 t = make_float2(1.0f, 0.0f);
    if (part < 2 && i < p.m) {
        t = p.table[(int64_t)(row / mine.heads) * p.m + i];
        if (p.halves) first = i, second = i + p.m;
    }
    float a = from[first], b = from[second];
    if (part < 2) {
        if (i < p.m) {
            float turned = fmaf(a, t.x, -(b * t.y));
            b = fmaf(a, t.y, b * t.x);
            a = turned;
        }
        float *to = lf_row_at(mine.out, row);
        to[first] = a, to[second] = b;
    }
    if (!mine.cache.data) return;
    uint16_t *cell = (uint16_t *)lf_cell_at(mine.cache, p.cells[row / mine.heads], row % mine.heads);
    cell[first] = lf_to_half(a), cell[second] = lf_to_half(b);
}

static lf_turned lf_turned_of(const lf_view *x, const lf_view *out, const lf_view *cache) {
    lf_turned t = {};
    t.x = lf_rows_at(x), t.out = lf_rows_at(out), t.heads = x->ne[1], t.size = x->ne[0];
    t.pairs = (int)lf_all_rows(x) * (t.size / 2);
    if (cache) t.cache = lf_cells_of(cache);
    return t;
}

/* Two ropes of one table and what stores the second's result and values; false where four ops do it. */
static bool lf_turn_all(const lf_call *call, const lf_rope_args *q, const lf_rope_args *k, const lf_store_args *ks, const lf_store_args *vs) {
    bool plain = q->table->data == k->table->data && q->halves == k->halves && ks->x->data == k->out0->data && ks->x->ne[0] == k->out0->ne[0] &&
                 ks->x->ne[1] == k->out0->ne[1] && ks->cells->data == vs->cells->data && ks->cache->dtype == LF_F16 && vs->cache->dtype == LF_F16 &&
                 vs->x->data != q->out0->data && vs->x->data != k->out0->data && !(q->x->ne[0] % 2 | k->x->ne[0] % 2 | vs->x->ne[0] % 2);
    int m = q->table->ne[1];
    /* Turned by halves, the values behind 2m are pairs of their own only where there are none. */
    if (!plain || (q->halves && (2 * m != q->x->ne[0] || 2 * m != k->x->ne[0]))) return false;
    lf_turn_and_store p = {{lf_turned_of(q->x, q->out0, 0), lf_turned_of(k->x, k->out0, ks->cache), lf_turned_of(vs->x, vs->x, vs->cache)},
                           (const float2 *)q->table->data, (const int32_t *)ks->cells->data, m, q->halves};
    int64_t threads = (int64_t)p.parts[0].pairs + p.parts[1].pairs + p.parts[2].pairs;
    if (!threads) return false;
    LF_LAUNCH(lf_rope_and_store, dim3((unsigned)lf_ceil(threads, 128)), dim3(128), 0, lf_device_of(call)->stream, p);
    return true;
}

/* A block of threads a head of a cell: decoded, turned, encoded again. */
LF_KERNEL void lf_rope_cell(lf_cells cache, const float2 *table, const int32_t *cells, int m, int halves) {
    lf_begin();
    LF_SHARED(room);
    float *before = (float *)room, *after = before + cache.size;
    char *cell = lf_cell_at(cache, cells[blockIdx.x], blockIdx.y);
    int slices = (cache.size + 31) / 32, s = (int)threadIdx.x;
    int count = cache.size - 32 * s < 32 ? cache.size - 32 * s : 32;
    float y[32];
    if (s < slices) {
        lf_cell_floats(cache.dtype, cell, s, count, y);
        for (int i = 0; i < count; i++) before[32 * s + i] = after[32 * s + i] = y[i];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < m; i += (int)blockDim.x) lf_turn(before, table + (int64_t)blockIdx.x * m, after, i, m, halves);
    __syncthreads();
    if (s < slices) {
        for (int i = 0; i < count; i++) y[i] = after[32 * s + i];
        lf_write_floats(cache.dtype, cell, s, count, y);
    }
}

static void lf_rope_cells(const lf_call *call, const lf_rope_cells_args *a) {
    lf_cells cache = lf_cells_of(a->cache);
    if (!a->cells->ne[0]) return;
    LF_LAUNCH(lf_rope_cell, dim3((unsigned)a->cells->ne[0], (unsigned)cache.heads), dim3(32), (size_t)cache.size * 8,
              lf_device_of(call)->stream, cache, (const float2 *)a->table->data, (const int32_t *)a->cells->data, a->table->ne[1],
              a->halves);
}

enum { LF_PAGE = 64, LF_ATTEND_THREADS = 128 };

/* What all attention kernels read. */
typedef struct {
    lf_floats_at q, out;
    lf_cells k, v;
    const int32_t *positions, *starts, *lengths, *pages, *where;
    const float *slopes;
    int64_t page_step;
    int32_t sequences, rows, heads, group, pages_most;
    float scale, cap;
    int32_t window, causal;
    int32_t splits, split_pages; /* how many share a sequence's pages, and how many pages each has at most */
    float *parts;                /* [rows][heads][splits][2 + v.size]: maximum, sum, values; 0 with one split */
    char *integers;              /* where the rows are wanted in integer form too, or 0 */
} lf_attend;

/* How many pages each split of a sequence has: as even as can be, by how long the sequence is now and not by how long it may
   become. The last splits may have none: they write nothing, and nothing of theirs is read. */
LF_DEV int lf_pages_a_split(const lf_attend &a, int pages) { return pages > a.splits ? (pages + a.splits - 1) / a.splits : 1; }

LF_DEV int lf_sequence_of(const lf_attend &a, int row) {
    int s = 0;
    while (s + 1 < a.sequences && row >= a.starts[s + 1]) s++;
    return s;
}

/* What the attributes make of a raw score. */
LF_DEV float lf_score(const lf_attend &a, float raw, int head, int position, int where) {
    int distance = position - where, away = distance < 0 ? -distance : distance;
    if ((a.causal && distance < 0) || (a.window && away >= a.window)) return -INFINITY;
    float score = raw * a.scale;
    if (a.cap != 0.0f) score = a.cap * tanhf(score / a.cap);
    return a.slopes ? score - a.slopes[head] * (float)distance : score;
}

/* Any format and any size of head: a block of threads is one head of one row over one split's pages. */
LF_KERNEL void __launch_bounds__(LF_ATTEND_THREADS) lf_attend_any(lf_attend a) {
    lf_begin();
    LF_SHARED(room);
    __shared__ float weights[LF_PAGE];
    int split = (int)blockIdx.x, head = (int)blockIdx.y, row = (int)blockIdx.z, t = (int)threadIdx.x;
    int d = a.k.size, e = a.v.size, sequence = lf_sequence_of(a, row), length = a.lengths[sequence];
    int pages = (length + LF_PAGE - 1) / LF_PAGE, each = lf_pages_a_split(a, pages), last = (split + 1) * each;
    if (a.parts && split * each >= pages) return;
    int position = a.positions[row], kv_head = head / a.group;
    float *query = (float *)room;
    for (int i = t; i < d; i += LF_ATTEND_THREADS) query[i] = lf_row_at(a.q, (int64_t)row * a.heads + head)[i];
    /* Values: a thread sums 32 of them over every parts-th cell. */
    int slices = (e + 31) / 32, parts = LF_ATTEND_THREADS / slices, slice = t % slices, part = t / slices;
    float sums[32], most = -INFINITY, all = 0.0f;
    for (int i = 0; i < 32; i++) sums[i] = 0.0f;
    if (last > pages) last = pages;
    for (int page = split * each; page < last; page++) {
        int64_t first = (int64_t)a.pages[sequence * a.page_step + page] * LF_PAGE;
        int count = length - page * LF_PAGE < LF_PAGE ? length - page * LF_PAGE : LF_PAGE;
        __syncthreads();
        if (t < LF_PAGE) {
            float dot = 0.0f, y[32];
            for (int s = 0; t < count && 32 * s < d; s++) {
                lf_cell_floats(a.k.dtype, lf_cell_at(a.k, first + t, kv_head), s, d - 32 * s, y);
                for (int i = 0; i < 32 && 32 * s + i < d; i++) dot = fmaf(query[32 * s + i], y[i], dot);
            }
            weights[t] = t < count ? lf_score(a, dot, head, position, a.where[first + t]) : -INFINITY;
        }
        __syncthreads();
        float top = most;
        for (int c = 0; c < LF_PAGE; c++) top = fmaxf(top, weights[c]);
        if (top == -INFINITY) continue;
        float shrink = expf(most - top);
        most = top;
        all *= shrink;
        for (int i = 0; i < 32; i++) sums[i] *= shrink;
        for (int c = 0; c < count; c++) all += expf(weights[c] - top);
        for (int c = part; c < count && part < parts; c += parts) {
            float y[32], w = expf(weights[c] - top);
            if (w == 0.0f) continue;
            lf_cell_floats(a.v.dtype, lf_cell_at(a.v, first + c, kv_head), slice, e - 32 * slice, y);
            for (int i = 0; i < 32; i++) sums[i] = fmaf(w, y[i], sums[i]);
        }
    }
    __syncthreads();
    float *shares = (float *)room;
    for (int i = 0; i < 32; i++) shares[t * 33 + i] = sums[i];
    __syncthreads();
    float *out = a.parts ? a.parts + (((int64_t)row * a.heads + head) * a.splits + split) * (e + 2) + 2
                         : lf_row_at(a.out, (int64_t)row * a.heads + head);
    float by = a.parts ? 1.0f : all > 0.0f ? 1.0f / all : 0.0f;
    if (a.parts && t == 0) out[-2] = most, out[-1] = all;
    for (int i = t; i < e; i += LF_ATTEND_THREADS) {
        float sum = 0.0f;
        for (int p = 0; p < parts; p++) sum += shares[(p * slices + i / 32) * 33 + i % 32];
        out[i] = sum * by;
    }
}

/* Combine those splits of a head that have pages: groups of threads sum every so many of them, four values a thread, and are
   added in order. Where there is a place for it, the result in integer form too, of rows of all heads. */
LF_KERNEL void __launch_bounds__(LF_ATTEND_THREADS) lf_combine_splits(lf_attend a) {
    lf_begin();
    LF_SHARED(room);
    __shared__ float parts_of_warps[LF_WARP];
    float *shares = (float *)room, *sums = shares + a.splits; /* each split's weight; each group's four values a thread */
    int head = (int)blockIdx.x, row = (int)blockIdx.y, e = a.v.size, t = (int)threadIdx.x, wide = (e + 31) / 32 * 8;
    int groups = LF_ATTEND_THREADS / wide > 0 ? LF_ATTEND_THREADS / wide : 1;
    const float *part = a.parts + ((int64_t)row * a.heads + head) * a.splits * (e + 2);
    int pages = (a.lengths[lf_sequence_of(a, row)] + LF_PAGE - 1) / LF_PAGE, each = lf_pages_a_split(a, pages);
    int splits = (pages + each - 1) / each;
    float most = -INFINITY, all = 0.0f;
    for (int s = t; s < splits; s += LF_ATTEND_THREADS) most = fmaxf(most, part[(int64_t)s * (e + 2)]);
    most = lf_max_block(most, parts_of_warps);
    if (most == -INFINITY) most = 0.0f;
    for (int s = t; s < splits; s += LF_ATTEND_THREADS) {
        shares[s] = lf_exp(part[(int64_t)s * (e + 2)] - most);
        all = fmaf(part[(int64_t)s * (e + 2) + 1], shares[s], all);
    }
    __syncthreads();
    all = lf_sum_block(all, parts_of_warps);
    float by = all > 0.0f ? 1.0f / all : 0.0f;
    for (int first = 0; first < wide; first += LF_ATTEND_THREADS) { /* heads of more than 512 values take two turns */
        int lane = first + t % (wide < LF_ATTEND_THREADS ? wide : LF_ATTEND_THREADS), group = wide < LF_ATTEND_THREADS ? t / wide : 0, i = 4 * lane;
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (group < groups && i < e) {
#pragma unroll 4
            for (int s = group; s < splits; s += groups) {
                const float *from = part + (int64_t)s * (e + 2) + 2 + i;
                float share = shares[s];
#pragma unroll
                for (int j = 0; j < 4; j++) sum[j] = fmaf(i + j < e ? from[j] : 0.0f, share, sum[j]);
            }
        }
        __syncthreads();
        for (int j = 0; j < 4; j++) sums[4 * t + j] = sum[j];
        __syncthreads();
        for (int g = 1; g < groups && group == 0; g++)
            for (int j = 0; j < 4; j++) sum[j] += sums[4 * (g * wide + t) + j];
        for (int j = 0; j < 4; j++) {
            sum[j] *= by;
            if (group == 0 && i + j < e) lf_row_at(a.out, (int64_t)row * a.heads + head)[i + j] = sum[j];
        }
        if (a.integers)
            lf_quantize_four(sum, a.integers + row * lf_a8_stride_of(a.heads * e), a.heads * e / 32, head * (e / 32) + i / 32, i / 4 % 8,
                             group == 0 && i < e);
    }
}

static void lf_launch_combine(lf_device *d, const lf_attend *t) {
    size_t room = sizeof(float) * ((size_t)t->splits + 4 * LF_ATTEND_THREADS);
    LF_LAUNCH(lf_combine_splits, dim3((unsigned)t->heads, (unsigned)t->rows), dim3(LF_ATTEND_THREADS), room, d->stream, *t);
}

static lf_attend lf_attend_of(const lf_attention_args *a) {
    lf_attend t = {};
    t.q = lf_rows_at(a->q), t.out = lf_rows_at(a->out0), t.k = lf_cells_of(a->k), t.v = lf_cells_of(a->v);
    t.positions = (const int32_t *)a->positions->data, t.starts = (const int32_t *)a->starts->data;
    t.lengths = (const int32_t *)a->lengths->data, t.pages = (const int32_t *)a->pages->data;
    t.where = (const int32_t *)a->cell_positions->data, t.slopes = a->slopes ? (const float *)a->slopes->data : (const float *)0;
    t.page_step = a->pages->stride[1], t.sequences = a->lengths->ne[0], t.rows = a->q->ne[2], t.heads = a->q->ne[1];
    t.group = t.heads / t.k.heads, t.pages_most = a->pages->ne[0];
    t.scale = a->scale, t.cap = a->cap, t.window = a->window, t.causal = a->causal;
    return t;
}

/* Share pages out so that about `blocks` blocks of threads have work, `units` of them a split. */
static void lf_plan_splits(const lf_call *call, lf_attend *t, int64_t units, int64_t blocks) {
    int64_t most = t->pages_most, splits = units > 0 ? blocks / units : 1;
    splits = splits < 1 ? 1 : splits > most ? most : splits;
    t->split_pages = splits > 0 ? lf_ceil(most, (int)splits) : 1;
    t->splits = most > 0 ? lf_ceil(most, t->split_pages) : 1;
    t->parts = 0;
    if (t->splits > 1) t->parts = (float *)lf_scratch(call, (int64_t)t->rows * t->heads * t->splits * (t->v.size + 2) * 4);
}

#include "flash.h"

/* Attention; with `integers` the result in integer form too, of which is said whether it was made. */
static bool lf_attend_and_quantize(const lf_call *call, const lf_attention_args *a, char *integers) {
    lf_device *device = lf_device_of(call);
    lf_attend t = lf_attend_of(a);
    t.integers = t.v.size % 32 ? (char *)0 : integers;
    if (!t.rows) return false;
    if (lf_flash_attention(call, &t)) return t.splits > 1 && t.integers;
    lf_plan_splits(call, &t, (int64_t)t.rows * t.heads, 8 * device->processors);
    size_t room = sizeof(float) * LF_ATTEND_THREADS * 33;
    if (room < sizeof(float) * (size_t)t.k.size) room = sizeof(float) * (size_t)t.k.size;
    LF_LAUNCH(lf_attend_any, dim3((unsigned)t.splits, (unsigned)t.heads, (unsigned)t.rows), dim3(LF_ATTEND_THREADS), room,
              device->stream, t);
    if (t.splits > 1) lf_launch_combine(device, &t);
    return t.splits > 1 && t.integers;
}

static void lf_attention(const lf_call *call, const lf_attention_args *a) { (void)lf_attend_and_quantize(call, a, 0); }
