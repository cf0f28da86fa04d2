/* Kernels of several ops as one. Where there are fewer rows than threads, a row's threads each sum its squares for
   themselves: reading a row that lies in the cache is cheaper than meeting once more. */
#include "rows_of.h"
#include "int8.h"

/* Quantise a piece that was made in `values`: it begins on a block's boundary; the row's last block is filled up with 0. */
LF_INLINE void lf_quantize_piece(float *values, int32_t k, lf_piece piece, const lf_view *out) {
    lf_a8_block *blocks = (lf_a8_block *)lf_a8_row(out->data, k, piece.row) + piece.first / 32;
    int32_t padded = (piece.count + 31) / 32 * 32;
    for (int32_t i = piece.count; i < padded; i++) values[i] = 0;
    for (int32_t i = 0; i < padded; i += 32) lf_quantize_block(values + i, blocks + i / 32);
}

/* A normalised piece of a row, in floats and in integer form. */
LF_INLINE void lf_norm_piece(const float *x, const float *weight, float inverse, float *values, float *out, lf_piece piece) {
    x += piece.first, weight += piece.first, out += piece.first;
    int32_t i = 0;
    for (; i + LF_W <= piece.count; i += LF_W) {
        lf_vf y = lf_load(x + i) * lf_set(inverse) * lf_load(weight + i);
        lf_put(values + i, y);
        lf_put(out + i, y);
    }
    for (; i < piece.count; i++) out[i] = values[i] = x[i] * inverse * weight[i];
}

static void lf_rms_norm_quantize(const lf_call *call, const lf_rms_norm_quantize_args *a) {
    int32_t n = a->x->ne[0];
    float *values = (float *)call->scratch;
    lf_piece piece;
    for (int64_t i = 0; lf_piece_of(call, a->x, i, &piece); i++) {
        const float *x = lf_row(a->x, piece.row);
        lf_norm_piece(x, a->weight->data, lf_inverse_rms(x, n, a->eps), values, lf_row(a->out0, piece.row), piece);
        lf_quantize_piece(values, n, piece, a->out1);
    }
}

static void lf_add_rms_norm_quantize(const lf_call *call, const lf_add_rms_norm_quantize_args *a) {
    int32_t n = a->x->ne[0];
    float *sum = (float *)call->scratch, *values = sum + (n + 63) / 64 * 64;
    lf_piece piece;
    for (int64_t i = 0; lf_piece_of(call, a->x, i, &piece); i++) {
        const float *x = lf_row(a->x, piece.row), *y = lf_row(a->y, piece.row);
        int32_t j = 0;
        for (; j + LF_W <= n; j += LF_W) lf_put(sum + j, lf_load(x + j) + lf_load(y + j));
        for (; j < n; j++) sum[j] = x[j] + y[j];
        memcpy(lf_row(a->out0, piece.row) + piece.first, sum + piece.first, sizeof(float) * (size_t)piece.count);
        lf_norm_piece(sum, a->weight->data, lf_inverse_rms(sum, n, a->eps), values, lf_row(a->out1, piece.row), piece);
        lf_quantize_piece(values, n, piece, a->out2);
    }
}

/* An activation of the gate times up, made and quantised piece by piece. */
#define LF_GATED(name, activation)                                                                 \
    static void lf_##name(const lf_call *call, const lf_##name##_args *a) {                        \
        float *values = (float *)call->scratch;                                                    \
        lf_piece piece;                                                                            \
        for (int64_t i = 0; lf_piece_of(call, a->gate, i, &piece); i++) {                          \
            const float *p = lf_row(a->gate, piece.row) + piece.first;                             \
            const float *q = lf_row(a->up, piece.row) + piece.first;                               \
            int32_t j = 0;                                                                         \
            for (; j + LF_W <= piece.count; j += LF_W)                                             \
                lf_put(values + j, activation(lf_load(p + j)) * lf_load(q + j));                   \
            if (j < piece.count) {                                                                 \
                lf_vf x = lf_load_some(p + j, piece.count - j), y = lf_load_some(q + j, piece.count - j); \
                lf_put_some(values + j, activation(x) * y, piece.count - j);                       \
            }                                                                                      \
            lf_quantize_piece(values, a->gate->ne[0], piece, a->out0);                             \
        }                                                                                          \
    }

LF_GATED(swiglu_quantize, lf_silu)
LF_GATED(geglu_quantize, lf_gelu)

static void lf_rope_store(const lf_call *call, const lf_rope_store_args *a) {
    int32_t heads = a->x->ne[1], d = a->x->ne[0], m = a->table->ne[1];
    int64_t begin, end;
    float *row = (float *)call->scratch;
    lf_share(call, lf_rows(a->x), &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        lf_turn(lf_row(a->x, i), (const float *)a->table->data + i / heads * 2 * m, row, d, m, a->halves);
        lf_write_row(a->cache->dtype, row, lf_cell(a->cache, ((const int32_t *)a->cells->data)[i / heads], i % heads), d);
    }
}

/* ---- an activation of two products, a block of 32 of its values at a time ---- */

#define LF_BLOCK_TURNS (32 / LF_TURN)
#define LF_SOME_COLUMNS 96 /* whose products are kept in the first cache, and up to 12 more rather than a few by themselves */
typedef float lf_gated_sums[LF_SOME_COLUMNS + 12][32];
_Static_assert(2 * LF_BLOCK_TURNS * LF_PANELS_BYTES(32) <= LF_GATED_BYTES * 32, "the executor plans with this");

/* One of the two matrices, and the panels of its rows where there are many columns. */
typedef struct {
    lf_matrix m;
    lf_panels panels[LF_BLOCK_TURNS];
    int tiles; /* whether tile registers multiply it */
} lf_gated_part;

/* Before turn i of a block: rows from it to this thread's next one. */
LF_INLINE void lf_gated_ahead(const lf_call *call, lf_gated_part *part, int i) {
    part->m.ahead = i + 1 < LF_BLOCK_TURNS ? LF_TURN : LF_TURN + 32 * (int64_t)(call->sharing - 1);
}

static void lf_gated_few(const lf_call *call, lf_gated_part *part, const lf_view *x, int64_t row, lf_gated_sums out) {
    const lf_a8_block *at[LF_FEW];
    lf_sums sums[LF_FEW];
    int t = x->ne[1];
    for (int c = 0; c < t; c++) at[c] = lf_a8_row(x->data, part->m.k, c);
    for (int i = 0; i < LF_BLOCK_TURNS; i++) {
        lf_gated_ahead(call, part, i);
        lf_few(&part->m, row + i * LF_TURN, at, t, sums);
        for (int c = 0; c < t; c++) memcpy(out[c] + i * LF_TURN, sums[c], sizeof *sums);
    }
}

static void lf_gated_fill(const lf_call *call, lf_gated_part *part, int64_t row) {
    for (int i = 0; i < LF_BLOCK_TURNS; i++) {
        lf_gated_ahead(call, part, i);
        lf_fill_panels(&part->m, row + i * LF_TURN, part->tiles, part->panels[i]);
    }
}

/* Where the sums of turn i go: to a block of each column behind `first`. */
typedef struct {
    float (*out)[32];
    int first, i;
} lf_gated_result;

LF_INLINE void lf_put_gated(const void *to, int column, lf_sums sums) {
    const lf_gated_result *r = to;
    memcpy(r->out[column - r->first] + r->i * LF_TURN, sums, sizeof(lf_sums));
}

/* Filled panels with columns first .. first + count of x. */
static void lf_gated_many(const lf_gated_part *part, const lf_view *x, int first, int count, lf_gated_sums out) {
    for (int i = 0; i < LF_BLOCK_TURNS; i++) {
        lf_gated_result to = {out, first, i};
        lf_multiply_columns(&part->m, &part->panels[i], x, first, first + count, part->tiles, lf_put_gated, &to);
    }
}

LF_INLINE void lf_gated_put(lf_gated_sums gate, lf_gated_sums up, int first, int count, int gelu, int64_t row, const lf_view *out) {
    for (int c = 0; c < count; c++) {
        _Alignas(64) float values[32];
        for (int j = 0; j < 32; j += LF_W) {
            lf_vf x = lf_load(gate[c] + j);
            lf_put(values + j, (gelu ? lf_gelu(x) : lf_silu(x)) * lf_load(up[c] + j));
        }
        lf_quantize_block(values, lf_a8_row(out->data, out->ne[0], first + c) + row / 32);
    }
}

/* Both matrices with their panels in the scratch memory; returns whether one of them is for tile registers. */
static int lf_gated_begin(const lf_call *call, const lf_gated_products_args *a, lf_gated_part part[2]) {
    char *room = call->scratch;
    for (int i = 0; i < 2; i++) {
        part[i].m = lf_matrix_of(call, i ? a->up : a->gate, LF_TURN);
        part[i].tiles = lf_on_tiles(&part[i].m.form, a->x->ne[1]);
        for (int j = 0; j < LF_BLOCK_TURNS; j++, room += LF_PANELS_BYTES(part[i].m.k))
            part[i].panels[j] = lf_panels_at(room, part[i].m.k);
    }
    return part[0].tiles || part[1].tiles;
}

static void lf_gated_products(const lf_call *call, const lf_gated_products_args *a) {
    _Alignas(64) lf_gated_sums gate, up;
    lf_gated_part part[2];
    int t = a->x->ne[1], tiles = lf_gated_begin(call, a, part);
    lf_tiles_begin(tiles);
    for (lf_turns turns = lf_turns_of(call, a->gate->ne[1], 32, t, 12); lf_take_turn(call, &turns);) {
        int64_t row = turns.row;
        if (t <= LF_FEW) {
            lf_gated_few(call, &part[0], a->x, row, gate);
            lf_gated_few(call, &part[1], a->x, row, up);
            lf_gated_put(gate, up, 0, t, a->gelu, row, a->out0);
            continue;
        }
        lf_gated_fill(call, &part[0], row);
        lf_gated_fill(call, &part[1], row);
        for (int c = turns.first, some; c < turns.end; c += some) {
            some = turns.end - c > LF_SOME_COLUMNS + 12 ? LF_SOME_COLUMNS : turns.end - c;
            lf_gated_many(&part[0], a->x, c, some, gate);
            lf_gated_many(&part[1], a->x, c, some, up);
            lf_gated_put(gate, up, c, some, a->gelu, row, a->out0);
        }
    }
    lf_tiles_end(tiles);
}
