/* Kernels of attention and positions.

   The canonical numeric of attention: the cells of a sequence are taken in pages of LF_PAGE, and pages in splits of LF_SPLIT;
   a split is reduced page after page with a running maximum, splits are combined in order. A score is one sum over the head's
   values in order, a value one sum over the page's cells in order. Nothing depends on threads, on how many rows a call has,
   on which of the two schedules below runs, or on who else reads a page: rows that share one decode it once. */
#include "rows_of.h"
#include "cells.h"
#include "sums.h"

#define LF_SPLIT 8
#define LF_TILE_ROWS 64 /* query heads that share a page's decoded keys and values, at most */

static void lf_rotation(const lf_call *call, const lf_rotation_args *a) {
    int32_t m = a->frequencies->ne[0];
    int64_t begin, end;
    lf_share(call, a->positions->ne[0], &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        float *out = (float *)a->out0->data + t * 2 * m;
        for (int32_t i = 0; i < m; i++) {
            double angle = (double)((const int32_t *)a->positions->data)[t] * ((const float *)a->frequencies->data)[i];
            out[2 * i] = (float)cos(angle) * a->magnitude;
            out[2 * i + 1] = (float)sin(angle) * a->magnitude;
        }
    }
}

/* Rotate one head by its row of the table; out may be x. */
LF_INLINE void lf_turn(const float *x, const float *table, float *out, int32_t d, int32_t m, int halves) {
    if (out != x) memcpy(out, x, sizeof(float) * (size_t)d);
    for (int32_t i = 0; i < m; i++) {
        int32_t first = halves ? i : 2 * i, second = halves ? i + m : 2 * i + 1;
        float c = table[2 * i], s = table[2 * i + 1], p = x[first], q = x[second];
        out[first] = lf_fma1(p, c, -(q * s)); /* said outright: compilers differ in what they fuse */
        out[second] = lf_fma1(p, s, q * c);
    }
}

static void lf_rope(const lf_call *call, const lf_rope_args *a) {
    int32_t heads = a->x->ne[1], d = a->x->ne[0], m = a->table->ne[1];
    int64_t begin, end;
    lf_share(call, lf_rows(a->x), &begin, &end);
    for (int64_t r = begin; r < end; r++)
        lf_turn(lf_row(a->x, r), (const float *)a->table->data + r / heads * 2 * m, lf_row(a->out0, r), d, m, a->halves);
}

static void lf_rope_cells(const lf_call *call, const lf_rope_cells_args *a) {
    int32_t heads = a->cache->ne[1], d = a->cache->ne[0], m = a->table->ne[1];
    int64_t begin, end;
    float *row = (float *)call->scratch;
    lf_share(call, (int64_t)a->cells->ne[0] * heads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        void *cell = lf_cell(a->cache, ((const int32_t *)a->cells->data)[i / heads], i % heads);
        lf_read_row(a->cache->dtype, cell, row, d);
        lf_turn(row, (const float *)a->table->data + i / heads * 2 * m, row + d, d, m, a->halves);
        lf_write_row(a->cache->dtype, row + d, cell, d);
    }
}

/* What a row carries through its cells: the maximum score, the sum of weights, the weighted sum of values. */
typedef struct {
    float most, sum;
    float *values;
} lf_partial;

/* One group of query rows that read the same KV head of the same sequence. */
typedef struct {
    const lf_attention_args *a;
    int32_t sequence, head, first, count; /* rows first .. first + count of q, each with `group` heads */
    int32_t group, d, e;
    int32_t cells, early, late; /* of the page at hand: how many are in use, their least and greatest position */
    const int32_t *where;       /* its cells' positions */
    lf_page_of_head page;       /* its values where they lie */
    float *queries;             /* [count * group][d], scaled */
    float *keys, *values;       /* [d][LF_PAGE] and [LF_PAGE][e], decoded */
    float *rows;                /* [LF_PAGE][d]: keys before they are turned */
    float *scores;              /* [count * group][LF_PAGE] */
} lf_rows_of_head;

LF_INLINE float *lf_align(float *p) { return (float *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

/* Bring the queries into one place, scaled. */
static void lf_load_queries(lf_rows_of_head *g) {
    lf_vf by = lf_set(g->a->scale);
    for (int32_t r = 0; r < g->count * g->group; r++) {
        const float *q = lf_row(g->a->q, (int64_t)(g->first + r / g->group) * g->a->q->ne[1] + g->head * g->group + r % g->group);
        float *to = g->queries + r * g->d;
        int32_t i = 0;
        for (; i + LF_W <= g->d; i += LF_W) lf_put(to + i, lf_load(q + i) * by);
        for (; i < g->d; i++) to[i] = q[i] * g->a->scale;
    }
}

LF_INLINE int32_t lf_position(const lf_rows_of_head *g, int32_t r) {
    return ((const int32_t *)g->a->positions->data)[g->first + r / g->group];
}

/* Look at a page's positions; returns whether any row of the group may see any of its cells. */
static int lf_open_page(lf_rows_of_head *g, int32_t page) {
    const lf_attention_args *a = g->a;
    int32_t length = ((const int32_t *)a->lengths->data)[g->sequence];
    int64_t cell = (int64_t)((const int32_t *)a->pages->data)[g->sequence * a->pages->stride[1] + page] * LF_PAGE;
    g->cells = length - page * LF_PAGE < LF_PAGE ? length - page * LF_PAGE : LF_PAGE;
    g->where = (const int32_t *)a->cell_positions->data + cell;
    g->early = INT32_MAX, g->late = INT32_MIN;
    for (int32_t c = 0; c < g->cells; c++) {
        g->early = g->where[c] < g->early ? g->where[c] : g->early;
        g->late = g->where[c] > g->late ? g->where[c] : g->late;
    }
    int32_t first = INT32_MAX, last = INT32_MIN;
    for (int32_t i = 0; i < g->count; i++) {
        int32_t position = ((const int32_t *)a->positions->data)[g->first + i];
        first = position < first ? position : first;
        last = position > last ? position : last;
    }
    if (a->window && (int64_t)first - g->late >= a->window) return 0; /* all of it is too long ago */
    return !a->causal || g->early <= last;
}

static int32_t lf_pages_of(const lf_attention_args *a, int32_t sequence) {
    int32_t pages = (((const int32_t *)a->lengths->data)[sequence] + LF_PAGE - 1) / LF_PAGE;
    return pages < a->pages->ne[0] ? pages : a->pages->ne[0];
}

/* Decode the page that was opened; meanwhile ask for the sequence's next one. */
static void lf_load_page(lf_rows_of_head *g, int32_t page) {
    const lf_attention_args *a = g->a;
    const int32_t *pages = (const int32_t *)a->pages->data + g->sequence * a->pages->stride[1];
    int64_t first = (int64_t)pages[page] * LF_PAGE, next = first;
    if (page + 1 < lf_pages_of(a, g->sequence)) next = (int64_t)pages[page + 1] * LF_PAGE;
    lf_page_of_head keys = lf_page_at(a->k, first, next, g->head);
    g->page = lf_page_at(a->v, first, next, g->head);
    lf_turn_cells(&keys, g->rows, g->keys);
    if (!lf_reads_directly(&g->page, g->count * g->group)) lf_read_cells(&g->page, g->cells, g->values);
}

/* What the attributes make of a row's raw scores: squeezed, sloped, -inf where it may not look. */
static void lf_finish_scores(const lf_rows_of_head *g, int32_t r) {
    const lf_attention_args *a = g->a;
    float *scores = g->scores + r * LF_PAGE;
    int32_t position = lf_position(g, r);
    if (a->cap != 0)
        for (int32_t c = 0; c < LF_PAGE; c += LF_W)
            lf_put(scores + c, lf_set(a->cap) * lf_tanh(lf_load(scores + c) / lf_set(a->cap)));
    if (a->slopes) {
        float slope = ((const float *)a->slopes->data)[g->head * g->group + r % g->group];
        for (int32_t c = 0; c < g->cells; c++) scores[c] = scores[c] - slope * (float)(position - g->where[c]);
    }
    for (int32_t c = g->cells; c < LF_PAGE; c++) scores[c] = -INFINITY;
    int whole = (!a->causal || g->late <= position) &&
                (!a->window || (position - g->early < a->window && g->late - position < a->window));
    for (int32_t c = 0; !whole && c < g->cells; c++) {
        int32_t distance = position - g->where[c], away = distance < 0 ? -distance : distance;
        if ((a->causal && distance < 0) || (a->window && away >= a->window)) scores[c] = -INFINITY;
    }
}

/* Turn a page's scores into weights under the row's running maximum, and shrink what it carries where that grew. */
static void lf_weigh(const lf_rows_of_head *g, int32_t r, lf_partial *p) {
    float *scores = g->scores + r * LF_PAGE;
    lf_vf most = lf_load(scores);
    for (int32_t c = LF_W; c < LF_PAGE; c += LF_W) most = lf_max(most, lf_load(scores + c));
    float top = lf_largest(most);
    if (top > p->most) {
        float shrink = p->most == -INFINITY ? 0 : expf(p->most - top);
        p->most = top;
        p->sum *= shrink;
        int32_t i = 0;
        for (; i + LF_W <= g->e; i += LF_W) lf_put(p->values + i, lf_load(p->values + i) * lf_set(shrink));
        for (; i < g->e; i++) p->values[i] *= shrink;
    }
    /* Where nothing was seen so far every weight is 0. */
    lf_vf total = lf_set(0), under = lf_set(p->most == -INFINITY ? 0 : p->most);
    for (int32_t c = 0; c < LF_PAGE; c += LF_W) {
        lf_vf w = lf_exp(lf_load(scores + c) - under);
        lf_put(scores + c, w);
        total = total + w;
    }
    p->sum += lf_sum(total);
}

/* Combine a later split's result into an earlier one's. */
static void lf_combine(lf_partial *into, const lf_partial *next, int32_t e) {
    if (next->most == -INFINITY) return;
    float most = into->most > next->most ? into->most : next->most;
    float keep = into->most == -INFINITY ? 0 : expf(into->most - most), take = expf(next->most - most);
    into->most = most;
    into->sum = into->sum * keep + next->sum * take;
    int32_t i = 0;
    for (; i + LF_W <= e; i += LF_W)
        lf_put(into->values + i, lf_load(into->values + i) * lf_set(keep) + lf_load(next->values + i) * lf_set(take));
    for (; i < e; i++) into->values[i] = into->values[i] * keep + next->values[i] * take;
}

static void lf_clear(lf_partial *p, int32_t e) {
    p->most = -INFINITY;
    p->sum = 0;
    memset(p->values, 0, sizeof(float) * (size_t)e);
}

/* Reduce pages page .. last of a split for all rows of the group; the partials' values lie `stride` apart. */
static void lf_reduce_pages(lf_rows_of_head *g, int32_t page, int32_t last, lf_partial *partials, int64_t stride) {
    int32_t rows = g->count * g->group;
    for (; page < last; page++) {
        if (!lf_open_page(g, page)) continue;
        lf_load_page(g, page);
        lf_sum_rows(g->queries, g->d, g->keys, LF_PAGE, g->d, g->scores, LF_PAGE, rows, LF_PAGE, 1);
        for (int32_t r = 0; r < rows; r++) {
            lf_finish_scores(g, r);
            lf_weigh(g, r, &partials[r]);
        }
        if (lf_reads_directly(&g->page, rows))
            lf_sum_cells(g->scores, &g->page, g->cells, partials[0].values, stride, rows);
        else
            lf_sum_rows(g->scores, LF_PAGE, g->values, g->e, g->cells, partials[0].values, stride, rows, g->e, 0);
    }
}

static void lf_finish_row(const lf_rows_of_head *g, int32_t r, const lf_partial *p) {
    const lf_view *o = g->a->out0;
    float *out = lf_row(o, (int64_t)(g->first + r / g->group) * o->ne[1] + g->head * g->group + r % g->group);
    int32_t i = 0;
    for (; p->sum > 0 && i + LF_W <= g->e; i += LF_W) lf_put(out + i, lf_load(p->values + i) / lf_set(p->sum));
    for (; i < g->e; i++) out[i] = p->sum > 0 ? p->values[i] / p->sum : 0;
}

static lf_rows_of_head lf_group_at(const lf_attention_args *a, char *scratch) {
    lf_rows_of_head g = {.a = a, .d = a->q->ne[0], .e = a->v->ne[0], .group = a->q->ne[1] / a->k->ne[1]};
    float *p = lf_align((float *)scratch);
    g.keys = p, p += LF_PAGE * g.d;
    g.rows = p, p += LF_PAGE * g.d;
    g.values = p, p += LF_PAGE * g.e;
    g.scores = p, p += LF_TILE_ROWS * LF_PAGE;
    g.queries = p;
    return g;
}

static int32_t lf_sequence_of(const lf_attention_args *a, int32_t row) {
    const int32_t *starts = a->starts->data;
    int32_t s = 0;
    while (s + 1 < a->lengths->ne[0] && row >= starts[s + 1]) s++;
    return s;
}

/* Many rows: each task is some rows of one sequence with one KV head, over all its pages. */
static void lf_attend_rows(const lf_call *call, const lf_attention_args *a) {
    int32_t heads = a->k->ne[1], sequences = a->lengths->ne[0];
    const int32_t *starts = a->starts->data;
    lf_rows_of_head g = lf_group_at(a, call->scratch);
    int32_t tile_rows = LF_TILE_ROWS / g.group; /* many share a page's decoding; few are shared out better among threads */
    while (tile_rows > 16 && (int64_t)a->q->ne[2] * heads < (int64_t)4 * call->threads * tile_rows) tile_rows -= 8;
    float *after = g.queries + LF_TILE_ROWS * g.d;
    lf_partial whole[LF_TILE_ROWS], part[LF_TILE_ROWS];
    for (int32_t r = 0; r < tile_rows * g.group; r++) {
        whole[r].values = after + r * 2 * g.e;
        part[r].values = whole[r].values + g.e;
    }
    int64_t tile = 0, taken = lf_take(call);
    for (g.sequence = 0; g.sequence < sequences; g.sequence++)
        for (g.first = starts[g.sequence]; g.first < starts[g.sequence + 1]; g.first += tile_rows)
            for (g.head = 0; g.head < heads; g.head++, tile++) {
                if (tile != taken) continue;
                taken = lf_take(call);
                int32_t left = starts[g.sequence + 1] - g.first, pages = lf_pages_of(a, g.sequence);
                g.count = left < tile_rows ? left : tile_rows;
                lf_load_queries(&g);
                for (int32_t r = 0; r < g.count * g.group; r++) lf_clear(&whole[r], g.e);
                for (int32_t split = 0; split * LF_SPLIT < pages; split++) {
                    int32_t last = (split + 1) * LF_SPLIT < pages ? (split + 1) * LF_SPLIT : pages;
                    for (int32_t r = 0; r < g.count * g.group; r++) lf_clear(&part[r], g.e);
                    lf_reduce_pages(&g, split * LF_SPLIT, last, part, 2 * g.e);
                    for (int32_t r = 0; r < g.count * g.group; r++) lf_combine(&whole[r], &part[r], g.e);
                }
                for (int32_t r = 0; r < g.count * g.group; r++) lf_finish_row(&g, r, &whole[r]);
            }
}

/* Whether two rows see the same cells in a page: they are of one sequence, or both have the whole page. */
static int lf_same_page(const lf_attention_args *a, int32_t one, int32_t other, int32_t page) {
    const int32_t *lengths = a->lengths->data, *pages = a->pages->data;
    int32_t s = lf_sequence_of(a, one), t = lf_sequence_of(a, other);
    if (s == t) return 1;
    int64_t end = (int64_t)(page + 1) * LF_PAGE, stride = a->pages->stride[1];
    return end <= lengths[s] && end <= lengths[t] && pages[s * stride + page] == pages[t * stride + page];
}

/* Reduce pages page .. last of a split for the group's rows, which saw the same pages until here: first together as far
   as all of them share what comes, then in smaller groups. */
static void lf_reduce_shared(const lf_rows_of_head *group, int32_t page, int32_t last, lf_partial *partials, int64_t stride) {
    lf_rows_of_head g = *group;
    for (int32_t left = group->count; left; left -= g.count) {
        const lf_attention_args *a = g.a;
        g.sequence = lf_sequence_of(a, g.first);
        int32_t pages = lf_pages_of(a, g.sequence), end = pages < last ? pages : last, to = page + 1, together = 1;
        for (g.count = 1; g.count < left && lf_same_page(a, g.first, g.first + g.count, page);) g.count++;
        for (; to < end && together; to += together)
            for (int32_t i = 1; i < g.count && together; i++) together = lf_same_page(a, g.first, g.first + i, to);
        if (page < end) lf_reduce_pages(&g, page, to, partials, stride);
        if (g.count > 1 && to < last) lf_reduce_shared(&g, to, last, partials, stride);
        g.first += g.count;
        g.queries += g.count * g.group * g.d;
        partials += g.count * g.group;
    }
}

/* How many rows one task takes: one, or where rows share pages as many as leave four tasks to a thread. */
static int32_t lf_rows_a_task(const lf_call *call, const lf_attention_args *a, int32_t splits) {
    int32_t rows = a->q->ne[2], heads = a->k->ne[1], most = LF_TILE_ROWS / (a->q->ne[1] / heads), shared = 0;
    for (int32_t r = 1; r < rows && !shared; r++) shared = lf_same_page(a, r - 1, r, 0);
    int32_t fair = rows * heads * splits / (4 * call->threads);
    most = most < fair ? most : fair;
    if (!shared || most < 2) return 1;
    int32_t tasks = (rows + most - 1) / most;
    return (rows + tasks - 1) / tasks;
}

/* Few rows: each task is one split of a KV head for one row, or some that share pages; the parts are combined afterwards. */
static void lf_attend_splits(const lf_call *call, const lf_attention_args *a) {
    int32_t rows = a->q->ne[2], heads = a->k->ne[1], splits = (a->pages->ne[0] + LF_SPLIT - 1) / LF_SPLIT;
    int32_t some = lf_rows_a_task(call, a, splits), groups = (rows + some - 1) / some;
    lf_rows_of_head g = lf_group_at(a, call->scratch);
    int64_t width = g.e + 2;
    lf_units parts = {(int64_t)groups * heads * splits, 0, 0};
    for (int64_t task; (task = lf_take_unit(call, &parts)) < parts.n;) {
        int32_t split = (int32_t)(task / heads % splits); /* heads of a cell lie side by side: one after the other */
        g.head = (int32_t)(task % heads), g.first = (int32_t)(task / splits / heads) * some;
        g.count = rows - g.first < some ? rows - g.first : some;
        float *slot = (float *)call->shared + (((int64_t)g.head * splits + split) * rows + g.first) * g.group * width;
        lf_partial part[LF_TILE_ROWS];
        for (int32_t r = 0; r < g.count * g.group; r++) {
            part[r].values = slot + r * width + 2;
            lf_clear(&part[r], g.e);
        }
        lf_load_queries(&g);
        lf_reduce_shared(&g, split * LF_SPLIT, (split + 1) * LF_SPLIT, part, width);
        for (int32_t r = 0; r < g.count * g.group && splits == 1; r++) lf_finish_row(&g, r, &part[r]);
        for (int32_t r = 0; r < g.count * g.group; r++) slot[r * width] = part[r].most, slot[r * width + 1] = part[r].sum;
    }
    if (splits == 1) return; /* short contexts: nothing to combine */
    lf_barrier(call);
    float *sum = lf_align((float *)call->scratch);
    g.count = 1;
    lf_units wholes = {(int64_t)rows * heads, 0, 0};
    for (int64_t task; (task = lf_take_unit(call, &wholes)) < wholes.n;) {
        g.head = (int32_t)(task % heads), g.first = (int32_t)(task / heads);
        int32_t pages = lf_pages_of(a, lf_sequence_of(a, g.first));
        for (int32_t r = 0; r < g.group; r++) {
            lf_partial whole = {.values = sum};
            lf_clear(&whole, g.e);
            for (int32_t split = 0; split * LF_SPLIT < pages; split++) {
                int64_t at = (((int64_t)g.head * splits + split) * rows + g.first) * g.group + r;
                float *slot = (float *)call->shared + at * width;
                lf_partial part = {slot[0], slot[1], slot + 2};
                lf_combine(&whole, &part, g.e);
            }
            lf_finish_row(&g, r, &whole);
        }
    }
}

static void lf_attention(const lf_call *call, const lf_attention_args *a) {
    if (a->q->ne[2] <= LF_SPLIT_ROWS)
        lf_attend_splits(call, a);
    else
        lf_attend_rows(call, a);
}
