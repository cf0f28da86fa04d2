/* Kernels of products with weights.

   The canonical numeric, the same for every number of columns and threads:
   - float weights: lane l of one accumulator sums the products of k = l, l + LF_W, ...; lf_sum adds the lanes;
   - block formats: for each group of 16 or 32 in order, acc = fma(exact integer dot, scale * activation scale, acc), then
     acc = fma(bias, activation sum, acc) where the format has a bias. */
#include "panel.h"
#include "amx_bf16.h"
#include "floats.h"

/* ---- activations in integer form ---- */

/* Quantise 32 values. */
LF_INLINE void lf_quantize_block(const float *x, lf_a8_block *out) {
    lf_vf largest = lf_set(0);
    for (int j = 0; j < 32; j += LF_W) {
        lf_vf v = lf_load(x + j);
        largest = lf_max(largest, lf_max(v, lf_set(0) - v));
    }
    float scale = lf_largest(largest) / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
    lf_vi q[32 / LF_W];
    int32_t sums[2];
    for (int j = 0; j < 32 / LF_W; j++) q[j] = lf_round(lf_load(x + j * LF_W) * lf_set(inverse));
    lf_pack_block(q, out->q, sums);
    out->scale = scale;
    out->sum32 = scale * (float)(sums[0] + sums[1]);
    out->sum16[0] = scale * (float)sums[0], out->sum16[1] = scale * (float)sums[1];
    out->total32 = -128 * (sums[0] + sums[1]);
    out->total16[0] = -128 * sums[0], out->total16[1] = -128 * sums[1];
}

static void lf_quantize_rows(const lf_call *call, const lf_quantize_rows_args *a) {
    int32_t k = a->x->ne[0];
    int64_t blocks = lf_a8_blocks(k), begin, end;
    lf_share(call, lf_rows(a->x) * blocks, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t b = i % blocks;
        const float *x = lf_row(a->x, i / blocks) + b * 32;
        float last[32] = {0};
        if (k - b * 32 < 32) x = memcpy(last, x, sizeof(float) * (size_t)(k - b * 32));
        lf_quantize_block(x, lf_a8_row(a->out0->data, k, i / blocks) + b);
    }
}

/* ---- weights in blocks ---- */

#define LF_CHUNK 256   /* values of k in panels at a time where there are few columns: they stay in the first cache */
#define LF_FEW (2 * LF_COLUMNS - LF_AMX) /* as many columns: tiles take twelve */
#define LF_MAX_FEW 48  /* columns that the accumulators of one pass over an expert hold */

/* The matrix of a view; fewer rows than a panel has are copied, the last one repeated, to the end of the scratch memory. */
LF_INLINE lf_matrix lf_matrix_of(const lf_call *call, const lf_view *w, int32_t turn) {
    lf_matrix m = {lf_form_of(w->dtype), w->data, lf_bytes(w->dtype, w->stride[1]), w->ne[1], w->ne[0],
                   (int64_t)turn * call->sharing, turn};
    if (m.n < LF_IW) {
        int64_t row = m.k / m.form.block * m.form.size;
        char *copy = call->scratch + call->scratch_size - row * LF_IW;
        for (int64_t r = 0; r < LF_IW; r++) memcpy(copy + r * row, m.rows + (r < m.n ? r : m.n - 1) * m.stride, (size_t)row);
        m.rows = copy, m.stride = row;
    }
    return m;
}

/* The same share of this thread's next turn as `count` values from `first` on are of the one at `row`, for so many passes. */
LF_INLINE lf_tile_ask lf_asked_by_tiles(const lf_matrix *m, int64_t row, int64_t first, int64_t count, int passes) {
    int64_t turn = m->form.size * m->turn, bytes = count / m->form.block * turn, tiles = count / 32 * passes;
    const char *next = m->rows + (row + m->ahead) * m->stride;
    return (lf_tile_ask){next + first / m->form.block * turn, (int)((bytes / 64 + tiles - 1) / tiles)};
}

/* Panels of rows from `row` on against a few columns: a chunk of k at a time. */
static void lf_few(const lf_matrix *m, int64_t row, const lf_a8_block *const x[], int columns, lf_sums *out) {
    _Alignas(64) char memory[LF_PANELS_BYTES(LF_CHUNK)];
    lf_panels panels = lf_panels_at(memory, LF_CHUNK);
    const int long_tiles = columns > 6; /* they take longer than loading, and the memory should not be idle meanwhile */
    if (columns == 1 && m->form.sum) { /* from memory into the sums, without a panel between them */
        for (int p = 0; p * LF_IW < m->turn; p++) {
            lf_spot from = lf_spot_of(m, row, 0, p);
            m->form.sum(from.at, from.odd, m->stride, m->k / m->form.block, x[0], out[0][p], from.ask);
        }
        return;
    }
    memset(out, 0, sizeof *out * (size_t)columns);
    for (int p = m->turn / LF_IW; p < LF_PANELS; p++) /* a short turn: the first panel's products once more, for nobody */
        panels.values[p] = panels.values[0], panels.scale[p] = panels.scale[0], panels.bias[p] = panels.bias[0];
    for (int64_t first = 0; first < m->k; first += LF_CHUNK) {
        int64_t count = m->k - first < LF_CHUNK ? m->k - first : LF_CHUNK;
        for (int p = 0; p * LF_IW < m->turn; p++) {
            lf_spot from = lf_spot_of(m, row, first, p);
            if (long_tiles) from.ask = (lf_asked){from.at, from.at + (1 << 30), 0}; /* for what is near already */
            lf_fill_panel(m, from, count, p, panels);
        }
        lf_tile_ask ask = {0, 0};
        if (long_tiles) ask = lf_asked_by_tiles(m, row, first, count, (columns + LF_COLUMNS - 1) / LF_COLUMNS);
        for (int c = 0, some; c < columns; c += some) {
            const lf_a8_block *at[LF_COLUMNS];
            some = lf_some_columns(columns - c, LF_COLUMNS);
            for (int i = 0; i < some; i++) at[i] = x[c + i] + first / 32;
            lf_multiply(&m->form, &panels, at, count / 32, some, out + c, &ask);
        }
    }
}

static void lf_product_few(const lf_call *call, const lf_matmul_quantized_args *a, const lf_matrix *m) {
    int t = a->x->ne[1];
    lf_sums out[LF_FEW];
    const lf_a8_block *x[LF_FEW];
    for (int c = 0; c < t; c++) x[c] = lf_a8_row(a->x->data, m->k, c);
    for (lf_turns turns = lf_turns_of(call, m->n, m->turn, t, 1); lf_take_turn(call, &turns);) {
        lf_few(m, turns.row, x, t, out);
        for (int c = 0; c < t; c++) lf_put_lanes(m, turns.row, out[c], lf_row(a->out0, c));
    }
}

/* Both panels of a turn, whole rows. */
LF_INLINE void lf_fill_panels(const lf_matrix *m, int64_t row, LF_UNUSED int tiles, lf_panels to) {
    for (int p = 0; p < LF_PANELS; p++) {
        lf_fill_panel(m, lf_spot_of(m, row, 0, p), m->k, p, to);
#if LF_AMX
        if (tiles && !m->form.biased) lf_amx_signed(to.values[p], m->k);
#endif
    }
}

/* What becomes of the sums of a column. */
typedef void lf_put_column(const void *to, int column, lf_sums sums);

/* Filled panels with columns first .. end of x, each given to `put`. */
LF_INLINE void lf_multiply_columns(const lf_matrix *m, const lf_panels *panels, const lf_view *x, int first, int end,
                                   LF_UNUSED int tiles, lf_put_column *put, const void *to) {
#if LF_AMX
    lf_sums tile[LF_AMX_COLUMNS];
    for (int c = first; tiles && c < end; c += LF_AMX_COLUMNS) {
        int at = end - c < LF_AMX_COLUMNS ? end - LF_AMX_COLUMNS : c; /* the last ones overlap: the same bits again */
        lf_amx_multiply(&m->form, panels, lf_a8_row(x->data, m->k, at), m->k / 32, lf_a8_step(m->k), tile);
        for (int i = 0; i < LF_AMX_COLUMNS; i++) put(to, at + i, tile[i]);
    }
    if (tiles) return;
#endif
    lf_sums sums[LF_COLUMNS];
    lf_tile_ask nothing = {0, 0};
    for (int c = first, some; c < end; c += some) {
        const lf_a8_block *at[LF_COLUMNS];
        some = end - c < LF_COLUMNS ? end - c : LF_COLUMNS;
        for (int i = 0; i < some; i++) at[i] = lf_a8_row(x->data, m->k, c + i);
        memset(sums, 0, sizeof sums);
        lf_multiply(&m->form, panels, at, m->k / 32, some, sums, &nothing);
        for (int i = 0; i < some; i++) put(to, c + i, sums[i]);
    }
}

/* From so many values on a result is written past the caches: it would not stay in the second one, and each of its lines would be
   read before it is written, while sums on their way out of tiles wait behind it. */
#define LF_PAST_CACHES (1 << 19)

/* Where a product's sums go. */
typedef struct {
    const lf_matrix *m;
    const lf_view *out;
    int64_t row;
    int past;
} lf_result;

LF_INLINE void lf_put_result(const void *to, int column, lf_sums sums) {
    const lf_result *r = to;
    lf_put_lanes_past(r->m, r->row, sums, lf_row(r->out, column), r->past);
}

static void lf_product_many(const lf_call *call, const lf_matmul_quantized_args *a, const lf_matrix *m) {
    int t = a->x->ne[1], tiles = lf_on_tiles(&m->form, t);
    lf_panels panels = lf_panels_at(call->scratch, m->k);
    lf_result to = {m, a->out0, 0, tiles && (int64_t)t * m->n >= LF_PAST_CACHES};
    lf_tiles_begin(tiles);
    for (lf_turns turns = lf_turns_of(call, m->n, LF_TURN, t, lf_columns_at_once(tiles)); lf_take_turn(call, &turns);) {
        lf_fill_panels(m, turns.row, tiles, panels);
        to.row = turns.row;
        lf_multiply_columns(m, &panels, a->x, turns.first, turns.end, tiles, lf_put_result, &to);
    }
#if LF_AMX
    if (to.past) _mm_sfence(); /* before other threads read it */
#endif
    lf_tiles_end(tiles);
}

static void lf_matmul_quantized(const lf_call *call, const lf_matmul_quantized_args *a) {
    if (!a->w->ne[1]) return;
    int few = a->x->ne[1] <= LF_FEW;
    lf_matrix m = lf_matrix_of(call, a->w, few ? lf_rows_a_turn(call, a->w->ne[1], LF_TURN, LF_IW) : LF_TURN);
    if (few)
        lf_product_few(call, a, &m);
    else
        lf_product_many(call, a, &m);
}

/* ---- float weights ---- */

static void lf_matmul(const lf_call *call, const lf_matmul_args *a) {
#if LF_AMX
    if (a->w->dtype == LF_BF16 && a->w->ne[1]) {
        lf_matmul_bf16(call, a);
        return;
    }
#endif
    lf_float_turns(call, a);
}
