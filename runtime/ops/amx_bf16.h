/* Products with BF16 weights on AMX tiles, as near to f32 as sums of bf16 products get.

   An activation is two bf16 numbers, high and low, that keep 16 of its bits; weights are taken as they lie in memory: 16 rows
   and 32 values of k are a tile, times up to 16 columns. A sum takes 32 values of k after the other, the low parts' products
   before the high ones'. Each element of a tile has its own sum, so how many columns there are changes no bit. */
#ifndef LF_AMX_BF16_H
#define LF_AMX_BF16_H
#include "amx.h"
#if LF_AMX

#define LF_TILE_K 32
#define LF_TILE_COLUMNS 16
#define LF_TILE_TURN 32
#define LF_OWN_COLUMNS (2 * LF_TILE_COLUMNS) /* so few columns every thread brings into place for itself */

/* A product: weights, activations in place, and for how many columns the two groups in work are configured. */
typedef struct {
    int64_t k, n, t, steps, stride;
    const char *rows;
    char *columns;
    int now[2];
    int32_t turn; /* rows that a thread takes at a time: two tiles, or one where there are few for the threads */
} lf_bf16_product;

/* Activations lie in groups of columns: [group][step][low, high][16 pairs of k][columns][2]; the last group may have fewer. */
LF_INLINE char *lf_group_of(const lf_bf16_product *p, int64_t group) {
    return p->columns + group * p->steps * 2 * 16 * LF_TILE_COLUMNS * 4;
}
LF_INLINE int lf_columns_in(const lf_bf16_product *p, int64_t group) {
    int64_t left = p->t - group * LF_TILE_COLUMNS;
    return (int)(left < 0 ? 0 : left < LF_TILE_COLUMNS ? left : LF_TILE_COLUMNS);
}

/* 32 floats as two rows of bf16: the nearest numbers, and what they leave. */
LF_INLINE void lf_halve(__m512 first, __m512 second, uint32_t low[16], uint32_t high[16]) {
    __m512i h = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    __m512 back_first = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(h)), 16));
    __m512 back_second = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(h, 1)), 16));
    _mm512_store_si512(high, h);
    _mm512_store_si512(low, (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(second, back_second), _mm512_sub_ps(first, back_first)));
}

/* Bring column c of a group to its place. */
static void lf_place_column(const lf_bf16_product *p, const float *x, int64_t group, int c) {
    int columns = lf_columns_in(p, group);
    uint32_t *to = (uint32_t *)lf_group_of(p, group) + c;
    for (int64_t step = 0; step < p->steps; step++, x += LF_TILE_K) {
        _Alignas(64) uint32_t parts[2][16];
        float last[LF_TILE_K] = {0};
        int64_t left = p->k - step * LF_TILE_K;
        const float *from = left < LF_TILE_K ? memcpy(last, x, sizeof(float) * (size_t)left) : x;
        lf_halve(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16), parts[0], parts[1]);
        for (int i = 0; i < 32; i++, to += columns) *to = parts[i / 16][i % 16];
    }
}

/* Each thread its own copy of few columns, or all threads together one. */
static void lf_place_columns(const lf_call *call, const lf_matmul_args *a, lf_bf16_product *p) {
    int own = p->t <= LF_OWN_COLUMNS;
    int64_t begin = 0, end = p->t;
    p->columns = own ? call->scratch : call->shared;
    if (!own) lf_share(call, p->t, &begin, &end);
    for (int64_t c = begin; c < end; c++)
        lf_place_column(p, (const float *)a->x->data + c * a->x->stride[1], c / LF_TILE_COLUMNS, (int)(c % LF_TILE_COLUMNS));
    if (!own) lf_barrier(call);
}

/* The first row of a tile of those that begin at `row`: the last ones overlap so that none reaches beyond the matrix. */
LF_INLINE int64_t lf_tile_row(const lf_bf16_product *p, int64_t row) {
    int64_t last = p->n < 16 ? 0 : p->n - 16;
    return row < last ? row : last;
}

/* Empty the sums, and configure the tiles where these two groups have other columns than the last ones. Tiles 0 and 1: sums of
   16 rows with two groups; 2 and 3: of the next 16; 4, 5: weights; 6, 7: activations. */
static void lf_bf16_begin(lf_bf16_product *p, int64_t group) {
    int columns[2] = {lf_columns_in(p, group), lf_columns_in(p, group + 1)};
    if (columns[0] != p->now[0] || columns[1] != p->now[1]) {
        lf_tile_config config = {.palette = 1};
        for (int t = 0; t < 8; t++) {
            int wide = columns[t % 2] ? columns[t % 2] : 1;
            config.rows[t] = 16, config.row_bytes[t] = (uint16_t)(t == 4 || t == 5 ? 64 : 4 * wide);
        }
        lf_tile_configure(&config);
        p->now[0] = columns[0], p->now[1] = columns[1];
    }
    LF_TILE_ZERO(0);
    LF_TILE_ZERO(1);
    LF_TILE_ZERO(2);
    LF_TILE_ZERO(3);
}

/* One step: two tiles of weights, their rows `stride` apart, with the two groups' activations at x. */
LF_INLINE void lf_bf16_step(const char *first, const char *second, int64_t stride, const char *const x[2], const int columns[2]) {
    LF_TILE_LOAD(4, first, stride);
    LF_TILE_LOAD(5, second, stride);
    for (int part = 0; part < 2; part++) {
        LF_TILE_LOAD(6, x[0] + part * 64 * columns[0], 4 * columns[0]);
        LF_TILE_DOT_BF16(0, 4, 6);
        LF_TILE_DOT_BF16(2, 5, 6);
        if (columns[1]) {
            LF_TILE_LOAD(7, x[1] + part * 64 * columns[1], 4 * columns[1]);
            LF_TILE_DOT_BF16(1, 4, 7);
            LF_TILE_DOT_BF16(3, 5, 7);
        }
    }
}

/* A turn's rows with two groups of columns. Meanwhile the thread's next ones are asked for, if `ask` says where they lie. */
static void lf_bf16_sums(const lf_bf16_product *p, int64_t row, int64_t group, const char *ask) {
    const char *first = p->rows + lf_tile_row(p, row) * p->stride, *second = p->rows + lf_tile_row(p, row + p->turn - 16) * p->stride;
    const char *x[2] = {lf_group_of(p, group), lf_group_of(p, group + 1)};
    int64_t whole = p->k / LF_TILE_K;
    for (int64_t s = 0; s < whole; s++, first += 64, second += 64) {
        for (int i = 0; ask && i < p->turn; i++, ask += 64) __builtin_prefetch(ask, 0, LF_ASK_INTO);
        lf_bf16_step(first, second, p->stride, x, p->now);
        for (int i = 0; i < 2; i++) x[i] += 2 * 64 * p->now[i];
    }
    if (p->k % LF_TILE_K) { /* the short last step: zeros behind the rows' ends */
        _Alignas(64) char rest[2][16][64] = {{{0}}};
        for (int r = 0; r < 16; r++) {
            memcpy(rest[0][r], first + r * p->stride, (size_t)(p->k % LF_TILE_K * 2));
            memcpy(rest[1][r], second + r * p->stride, (size_t)(p->k % LF_TILE_K * 2));
        }
        lf_bf16_step(rest[0][0], rest[1][0], 64, x, p->now);
    }
}

/* Sums of 16 rows, [row][columns], to the output's columns; the rows before `row` are somebody else's. */
LF_INLINE void lf_bf16_put(const lf_bf16_product *p, const float *sums, int64_t row, int columns, float *out, int64_t out_stride) {
    int64_t first = lf_tile_row(p, row), end = p->n - first < 16 ? p->n - first : 16;
    for (int c = 0; c < columns; c++)
        for (int64_t r = row - first; r < end; r++) out[c * out_stride + first + r] = sums[r * columns + c];
}

static void lf_bf16_finish(const lf_bf16_product *p, int64_t row, float *out, int64_t out_stride) {
    _Alignas(64) float sums[4][256];
    float *after = out + LF_TILE_COLUMNS * out_stride;
    LF_TILE_STORE(0, sums[0], 4 * p->now[0]);
    LF_TILE_STORE(2, sums[2], 4 * p->now[0]);
    lf_bf16_put(p, sums[0], row, p->now[0], out, out_stride);
    int both = p->turn > 16 && row + 16 < p->n;
    if (both) lf_bf16_put(p, sums[2], row + 16, p->now[0], out, out_stride);
    if (!p->now[1]) return;
    LF_TILE_STORE(1, sums[1], 4 * p->now[1]);
    LF_TILE_STORE(3, sums[3], 4 * p->now[1]);
    lf_bf16_put(p, sums[1], row, p->now[1], after, out_stride);
    if (both) lf_bf16_put(p, sums[3], row + 16, p->now[1], after, out_stride);
}

static void lf_matmul_bf16(const lf_call *call, const lf_matmul_args *a) {
    lf_bf16_product p = {.k = a->w->ne[0], .n = a->w->ne[1], .t = a->x->ne[1], .stride = a->w->stride[1] * 2, .rows = a->w->data};
    int64_t out_stride = a->out0->stride[1];
    p.steps = (p.k + LF_TILE_K - 1) / LF_TILE_K;
    lf_place_columns(call, a, &p);
    if (p.n < 16) { /* fewer rows than a tile has: the last one again and again */
        char *copy = call->scratch + call->scratch_size - 16 * p.k * 2;
        for (int64_t r = 0; r < 16; r++)
            memcpy(copy + r * p.k * 2, p.rows + (r < p.n ? r : p.n - 1) * p.stride, (size_t)p.k * 2);
        p.rows = copy, p.stride = p.k * 2;
    }
    p.turn = p.t <= LF_OWN_COLUMNS ? lf_rows_a_turn(call, p.n, LF_TILE_TURN, LF_TILE_TURN / 2) : LF_TILE_TURN;
    for (lf_turns turns = lf_turns_of(call, p.n, p.turn, (int32_t)p.t, 2 * LF_TILE_COLUMNS); lf_take_turn(call, &turns);) {
        int64_t row = turns.row;
        for (int64_t group = turns.first / LF_TILE_COLUMNS; group * LF_TILE_COLUMNS < turns.end; group += 2) {
            lf_bf16_begin(&p, group);
            lf_bf16_sums(&p, row, group, group ? 0 : p.rows + (row + (int64_t)p.turn * call->sharing) * p.stride);
            lf_bf16_finish(&p, row, (float *)a->out0->data + group * LF_TILE_COLUMNS * out_stride, out_stride);
        }
    }
    lf_tile_done();
}
#endif
#endif
