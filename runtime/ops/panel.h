/* Panels: LF_IW weight rows side by side in integer form, and their products with columns of activations. */
#ifndef LF_PANEL_H
#define LF_PANEL_H
#include "rows_of.h"
#include "lanes.h"
#include "laid_out.h"
#if LF_STEP == 4
#include "legacy_lanes.h"
#include "k_lanes.h"
#include "iq_lanes.h"
#include "mx_lanes.h"
#endif

/* Blocks of LF_IW rows into a panel: values [k / LF_STEP][LF_IW][LF_STEP], scale and bias [group][LF_IW]; as many bytes are
   asked for. Plain rows lie at `at`, `stride` apart; of rows that are laid out the dwords at `at`, the others at `odd`. */
typedef void lf_fill(const char *at, const char *odd, int64_t stride, int64_t blocks, char *values, float *scale, float *bias,
                     lf_asked ask);

/* The products of such rows with one column, to out[LF_IW]: no panel is stored. */
typedef void lf_one_column(const char *at, const char *odd, int64_t stride, int64_t blocks, const lf_a8_block *x, float *out,
                           lf_asked ask);

/* Fast loaders of plain rows and of laid-out ones, their sums, what they add to q of a signed format (a power of two, or 0), and how
   large values are then. */
typedef struct {
    lf_fill *fill[2];
    lf_one_column *sum[2];
    int offset, values;
} lf_loader;

/* How a format's rows become panels and what the products make of them. */
typedef struct {
    lf_fill *fill; /* or 0: unpack row by row */
    lf_one_column *sum;   /* or 0: only by way of a panel */
    void (*unpack)(const void *block, int8_t *q, float *scale, float *bias);
    int block, size, group, biased, values, shift; /* shift: from -128 * sum to -offset * sum */
    int laid; /* whether the rows lie in panels of LF_PANEL_ROWS */
    lf_dwords_of dwords;
} lf_form;

#define X(name, NAME, block, group, biased)                                                        \
    static void lf_unpack_any_##name(const void *b, int8_t *q, float *scale, float *bias) {        \
        lf_unpack_##name(b, q, scale, bias);                                                       \
    }
LF_QUANTS(X)
#undef X

#if LF_STEP == 4
static const lf_loader lf_loaders[] = {LF_LANES_LEGACY LF_LANES_K LF_LANES_IQ LF_LANES_MX};
#define LF_LOADERS ((int)(sizeof lf_loaders / sizeof *lf_loaders))
#endif

/* The form of a format; block 0 where it has none. */
static lf_form lf_form_of(int dtype) {
    lf_form form = {0};
    int laid = dtype >= LF_LAID_OUT;
    switch (dtype - laid * LF_LAID_OUT) {
#define X(name, NAME, n, g, b)                                                                               \
    case LF_##NAME:                                                                                          \
        form = (lf_form){0, 0, lf_unpack_any_##name, n, (int)sizeof(lf_##name), g, b, LF_ANY_BYTE, 0,            \
                         laid, {sizeof(lf_##name), LF_ODDS_##NAME, LF_LEAD_##NAME}};                         \
        break;
        LF_QUANTS(X)
#undef X
    default: return form;
    }
#if LF_STEP == 4
    dtype -= laid * LF_LAID_OUT;
    if (dtype < LF_LOADERS && lf_loaders[dtype].fill[0]) {
        const lf_loader *fast = &lf_loaders[dtype];
        form.fill = fast->fill[laid];
        form.sum = fast->sum[laid];
        form.values = fast->values;
        if (!LF_VNNI && fast->offset) form.shift = 7 - __builtin_ctz((unsigned)fast->offset);
    }
#endif
    return form;
}

/* One row's value of k into the panel. */
LF_INLINE void lf_place_value(char *values, int64_t k, int row, int q, int biased) {
#if LF_STEP == 4
    char *at = values + (k / 4 * lf_vectors(LF_ANY_BYTE) * LF_IW + row) * 4 + k % 4;
    if (LF_HALVES)
        at[0] = (q + 128) & 15, at[LF_VECTOR] = (char)((q + 128) >> 4);
    else
        *at = (char)(biased ? q : q + 128);
#else
    (void)biased;
    ((int16_t *)values)[(k / 2 * LF_IW + row) * 2 + k % 2] = (int16_t)q;
#endif
}

/* What any format can do: unpack block after block, row after row. */
static void lf_fill_portable(const lf_form *form, const char *at, const char *odd, int64_t stride, int64_t blocks, char *values,
                             float *scale, float *bias) {
    int8_t q[256];
    float s[16], m[16];
    char block[LF_LARGEST_BLOCK];
    int groups = form->block / form->group, odds = form->dwords.odds;
    for (int64_t b = 0; b < blocks; b++)
        for (int r = 0; r < LF_IW; r++) {
            const char *from = at + r * stride + b * form->size;
            if (form->laid) {
                from = at + b * (form->size - odds) * LF_PANEL_ROWS + 4 * r;
                lf_gather(form->dwords, from, odd + (b * LF_PANEL_ROWS + r) * odds, block);
                from = block;
            }
            form->unpack(from, q, s, m);
            for (int i = 0; i < form->block; i++) lf_place_value(values, b * form->block + i, r, q[i], form->biased);
            for (int g = 0; g < groups; g++) {
                scale[(b * groups + g) * LF_IW + r] = s[g];
                if (form->biased) bias[(b * groups + g) * LF_IW + r] = m[g];
            }
        }
}

/* LF_PANELS panels beside each other: the rows of a turn. */
#define LF_TURN (LF_PANELS * LF_IW)
typedef struct {
    char *values[LF_PANELS];
    float *scale[LF_PANELS], *bias[LF_PANELS];
} lf_panels;

/* Panels for k values, in memory of the caller's. */
LF_INLINE lf_panels lf_panels_at(char *p, int64_t k) {
    lf_panels out;
    for (int i = 0; i < LF_PANELS; i++) {
        out.values[i] = p, p += k / LF_STEP * lf_vectors(LF_ANY_BYTE) * LF_VECTOR;
        out.scale[i] = (float *)p, p += k / 16 * LF_IW * (int64_t)sizeof(float);
        out.bias[i] = (float *)p, p += k / 16 * LF_IW * (int64_t)sizeof(float);
    }
    return out;
}
#define LF_PANELS_BYTES(k)                                                                                     \
    (LF_PANELS * ((k) / LF_STEP * (1 + LF_HALVES) * LF_VECTOR + (k) / 16 * LF_IW * 2 * (int64_t)sizeof(float)))

/* The matrix that panels are taken from: n rows, at least LF_IW of which lie in memory. */
typedef struct {
    lf_form form;
    const char *rows;
    int64_t stride, n, k;
    int64_t ahead; /* rows from a turn to the one that the same thread is likely to take next */
    int32_t turn;  /* rows of a turn: LF_TURN, or LF_IW where there are few for the threads */
} lf_matrix;

/* The first row of panel p of those that begin at `row`: the last ones overlap so that none reaches beyond the matrix. */
LF_INLINE int64_t lf_panel_row(const lf_matrix *m, int64_t row, int p) {
    int64_t last = m->n < LF_IW ? 0 : m->n - LF_IW, want = row + (int64_t)p * LF_IW;
    return want < last ? want : last;
}

/* What is laid out is read from the front to the back: asking 2 to 8 kB ahead is alike, a whole turn ahead is worse. */
#define LF_STREAM_AHEAD 4096

/* Where panel p of those from `row` on has its values from `first` on, and what is to be asked for meanwhile: of plain rows the
   same share of the panel at the same place of this thread's next turn. */
typedef struct {
    const char *at, *odd;
    lf_asked ask;
} lf_spot;
LF_INLINE lf_spot lf_spot_of(const lf_matrix *m, int64_t row, int64_t first, int p) {
    const lf_form *form = &m->form;
    int64_t start = lf_panel_row(m, row, p), block = first / form->block, lane = start % LF_PANEL_ROWS;
    lf_spot spot = {m->rows + start * m->stride + block * form->size, 0, {0, 0, 0}};
    spot.ask.at = m->rows + (start + m->ahead) * m->stride + block * form->size * LF_IW;
    if (form->laid) { /* first all that fills no dword, then the dwords */
        int64_t odds = form->dwords.odds;
        spot.odd = m->rows + (start - lane) * m->stride;
        spot.at = spot.odd + m->stride / form->size * odds * LF_PANEL_ROWS;
        spot.at += block * (form->size - odds) * LF_PANEL_ROWS + 4 * lane;
        spot.odd += (block * LF_PANEL_ROWS + lane) * odds;
        const char *edge = m->rows + (row + m->turn) * m->stride;
        if (LF_IW == LF_PANEL_ROWS)
            spot.ask = (lf_asked){spot.at + LF_STREAM_AHEAD, edge, (m->ahead - m->turn) * m->stride};
        else /* a panel is read once for each part of its lanes: each asks for its share of the next one */
            spot.ask.edge = spot.ask.at + ((int64_t)1 << 30);
    }
    return spot;
}

/* Fill panel p with `count` values of k that lie at a spot. */
LF_INLINE void lf_fill_panel(const lf_matrix *m, lf_spot from, int64_t count, int p, lf_panels to) {
    int64_t blocks = count / m->form.block;
    if (m->form.fill)
        m->form.fill(from.at, from.odd, m->stride, blocks, to.values[p], to.scale[p], to.bias[p], from.ask);
    else
        lf_fill_portable(&m->form, from.at, from.odd, m->stride, blocks, to.values[p], to.scale[p], to.bias[p]);
}

/* Copy the lanes that belong to rows row .. of one column to out (the column's own row 0); `past`: past the caches. */
LF_INLINE void lf_put_lanes_past(const lf_matrix *m, int64_t row, float acc[LF_PANELS][LF_IW], float *out, int past) {
    for (int p = 0; p < LF_PANELS; p++) {
        int64_t want = row + (int64_t)p * LF_IW, skip = want - lf_panel_row(m, row, p);
        if (want >= m->n || p * LF_IW >= m->turn) return;
        int64_t count = m->n - want < LF_IW ? m->n - want : LF_IW;
        if (count == LF_IW && past && (uintptr_t)(out + want) % sizeof(lf_if) == 0)
            lf_if_stream(out + want, lf_if_load(acc[p]));
        else if (count == LF_IW)
            lf_if_put(out + want, lf_if_load(acc[p]));
        else
            memcpy(out + want, acc[p] + skip, sizeof(float) * (size_t)count);
    }
}

LF_INLINE void lf_put_lanes(const lf_matrix *m, int64_t row, float acc[LF_PANELS][LF_IW], float *out) {
    lf_put_lanes_past(m, row, acc, out, 0);
}

/* Where the dot of a group begins. */
LF_INLINE lf_iv lf_start(int32_t total, int shift, int biased, int values) {
#if LF_STEP == 4
    if (!biased || lf_vectors(values) == 2) return LF_HALVES ? lf_i_set(total >> shift) : lf_i_set(total);
#endif
    (void)total, (void)shift, (void)biased, (void)values;
    return lf_i_zero();
}

#if LF_HALVES
/* The products of one group of values in halves: a whole group of either stays in 16 bits. */
LF_INLINE void lf_dot_halves(char *const w[LF_PANELS], const lf_a8_block *const x[], int64_t b, int half, int columns, int group,
                             lf_iv dot[LF_PANELS][LF_COLUMNS]) {
    lf_iv low[LF_PANELS][LF_COLUMNS], high[LF_PANELS][LF_COLUMNS];
#pragma GCC unroll 8
    for (int i = 0; i < group / 4; i++)
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++) {
            lf_iv l = lf_i_load(w[p] + 2 * i * LF_VECTOR), h = lf_i_load(w[p] + (2 * i + 1) * LF_VECTOR);
#pragma GCC unroll 8
            for (int c = 0; c < columns; c++) {
                lf_iv four = lf_i_four(x[c][b].q + half * 16 + 4 * i), a = lf_pairs(l, four), z = lf_pairs(h, four);
                low[p][c] = i ? lf_add16(low[p][c], a) : a;
                high[p][c] = i ? lf_add16(high[p][c], z) : z;
            }
        }
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++)
            dot[p][c] = lf_i_add(dot[p][c], lf_i_add(lf_widen(low[p][c]), lf_widen_times(high[p][c], 16)));
}
#endif

/* The exact products of one group: dot[panel][column]. */
LF_INLINE void lf_dot_group(char *const w[LF_PANELS], const lf_a8_block *const x[], int64_t b, int half, int columns,
                            int group, int values, lf_iv dot[LF_PANELS][LF_COLUMNS]) {
#if LF_HALVES
    if (values == LF_ANY_BYTE) {
        lf_dot_halves(w, x, b, half, columns, group, dot);
        return;
    }
    const int most = values == LF_NIBBLE ? group / 4 : lf_in_16_bits(group); /* eight of 15 * 127 * 2 */
#pragma GCC unroll 8
    for (int i = 0; i < group / 4; i += most) {
        lf_iv sum[LF_PANELS][LF_COLUMNS];
#pragma GCC unroll 8
        for (int j = 0; j < most; j++) {
            lf_iv v[LF_PANELS];
#pragma GCC unroll 2
            for (int p = 0; p < LF_PANELS; p++) v[p] = lf_i_load(w[p] + (i + j) * LF_VECTOR);
#pragma GCC unroll 8
            for (int c = 0; c < columns; c++) {
                lf_iv four = lf_i_four(x[c][b].q + half * 16 + 4 * (i + j));
#pragma GCC unroll 2
                for (int p = 0; p < LF_PANELS; p++) {
                    lf_iv pairs = lf_pairs(v[p], four);
                    sum[p][c] = j ? lf_add16(sum[p][c], pairs) : pairs;
                }
            }
        }
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++)
#pragma GCC unroll 2
            for (int p = 0; p < LF_PANELS; p++) dot[p][c] = lf_i_add(dot[p][c], lf_widen(sum[p][c]));
    }
#else
    (void)values;
#pragma GCC unroll 16
    for (int i = 0; i < group / LF_STEP; i++) {
        lf_iv v[LF_PANELS];
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++) v[p] = lf_i_load(w[p] + i * LF_VECTOR);
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++) {
#if LF_STEP == 4
            lf_iv some = lf_i_four(x[c][b].q + half * 16 + LF_STEP * i);
#else
            const void *some = x[c][b].q + half * 16 + LF_STEP * i;
#endif
#pragma GCC unroll 2
            for (int p = 0; p < LF_PANELS; p++) dot[p][c] = lf_step(dot[p][c], v[p], some);
        }
    }
#endif
}

typedef float lf_sums[LF_PANELS][LF_IW]; /* one column's accumulators */

/* What a tile asks for meanwhile: so many lines with each of its blocks, from `at` on. */
typedef struct {
    const char *at;
    int lines;
} lf_tile_ask;

/* Add the products of panels of `blocks` blocks of 32 with some columns (pointers to their blocks) to acc. */
LF_INLINE void lf_tile_body(const lf_panels *panels, const lf_a8_block *const columns_at[], int64_t blocks, int shift,
                            lf_sums *out, lf_tile_ask *ask, int columns, int group, int biased, int values) {
    const lf_a8_block *x[LF_COLUMNS];
    lf_if acc[LF_PANELS][LF_COLUMNS];
    char *w[LF_PANELS];
    const float *scale[LF_PANELS], *bias[LF_PANELS];
#pragma GCC unroll 2
    for (int p = 0; p < LF_PANELS; p++) w[p] = panels->values[p], scale[p] = panels->scale[p], bias[p] = panels->bias[p];
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) {
        x[c] = columns_at[c];
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++) acc[p][c] = lf_if_load(out[c][p]);
    }
    for (int64_t b = 0; b < blocks; b++) {
        for (int i = 0; i < ask->lines; i++, ask->at += 64) __builtin_prefetch(ask->at, 0, LF_ASK_INTO);
#pragma GCC unroll 2
        for (int half = 0; half < 32 / group; half++) {
            lf_iv dot[LF_PANELS][LF_COLUMNS];
#pragma GCC unroll 8
            for (int c = 0; c < columns; c++)
#pragma GCC unroll 2
                for (int p = 0; p < LF_PANELS; p++)
                    dot[p][c] = lf_start(group == 32 ? x[c][b].total32 : x[c][b].total16[half], shift, biased, values);
            lf_dot_group(w, x, b, half, columns, group, values, dot);
#pragma GCC unroll 2
            for (int p = 0; p < LF_PANELS; p++) {
                lf_if s = lf_if_load(scale[p]), m = biased ? lf_if_load(bias[p]) : lf_if_set(0);
#pragma GCC unroll 8
                for (int c = 0; c < columns; c++) {
                    acc[p][c] = lf_if_fma(lf_if_of(dot[p][c]), s * lf_if_set(x[c][b].scale), acc[p][c]);
                    if (biased)
                        acc[p][c] = lf_if_fma(m, lf_if_set(group == 32 ? x[c][b].sum32 : x[c][b].sum16[half]), acc[p][c]);
                }
                w[p] += group / LF_STEP * lf_vectors(values) * LF_VECTOR, scale[p] += LF_IW, bias[p] += LF_IW;
            }
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++)
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++) lf_if_put(out[c][p], acc[p][c]);
}

typedef void lf_tile(const lf_panels *panels, const lf_a8_block *const x[], int64_t blocks, int shift, lf_sums *out,
                     lf_tile_ask *ask);

/* An instance for each kind of format and number of columns. */
#define LF_DEFINE_TILE(columns, group, biased, values)                                                               \
    static void lf_tile_##columns##_##group##_##biased##_##values(const lf_panels *panels, const lf_a8_block *const x[], \
                                                                 int64_t blocks, int shift, lf_sums *out, lf_tile_ask *ask) { \
        lf_tile_body(panels, x, blocks, shift, out, ask, columns, group, biased, values);                                \
    }
#define LF_DEFINE_TILES(columns, values)                                                                            \
    LF_DEFINE_TILE(columns, 32, 0, values) LF_DEFINE_TILE(columns, 32, 1, values)                                   \
    LF_DEFINE_TILE(columns, 16, 0, values) LF_DEFINE_TILE(columns, 16, 1, values)
#define LF_TILES(columns, values)                                                                                   \
    {lf_tile_##columns##_32_0_##values, lf_tile_##columns##_32_1_##values, lf_tile_##columns##_16_0_##values,       \
     lf_tile_##columns##_16_1_##values}
#if LF_HALVES
#define LF_DEFINE_KINDS(columns)                                                                                    \
    LF_DEFINE_TILES(columns, LF_SMALL) LF_DEFINE_TILES(columns, LF_ANY_BYTE) LF_DEFINE_TILES(columns, LF_NIBBLE)
#define LF_ALL_KINDS(columns) {LF_TILES(columns, LF_SMALL), LF_TILES(columns, LF_ANY_BYTE), LF_TILES(columns, LF_NIBBLE)}
#else
#define LF_DEFINE_KINDS(columns) LF_DEFINE_TILES(columns, LF_SMALL)
#define LF_ALL_KINDS(columns) {LF_TILES(columns, LF_SMALL), LF_TILES(columns, LF_SMALL), LF_TILES(columns, LF_SMALL)}
#endif

LF_DEFINE_KINDS(1)
LF_DEFINE_KINDS(2)
#if LF_COLUMNS > 2
LF_DEFINE_KINDS(3)
#endif
#if LF_COLUMNS > 3
LF_DEFINE_KINDS(4)
#endif
#if LF_COLUMNS > 4
LF_DEFINE_KINDS(5)
LF_DEFINE_KINDS(6)
#endif

static lf_tile *const lf_tiles[LF_COLUMNS][LF_NIBBLE + 1][4] = {
    LF_ALL_KINDS(1), LF_ALL_KINDS(2),
#if LF_COLUMNS > 2
    LF_ALL_KINDS(3),
#endif
#if LF_COLUMNS > 3
    LF_ALL_KINDS(4),
#endif
#if LF_COLUMNS > 4
    LF_ALL_KINDS(5), LF_ALL_KINDS(6),
#endif
};

/* Panels with as many columns as a tile has at most. */
LF_INLINE void lf_multiply(const lf_form *form, const lf_panels *panels, const lf_a8_block *const x[], int64_t blocks,
                           int columns, lf_sums *out, lf_tile_ask *ask) {
    lf_tiles[columns - 1][form->values][(form->group == 16) * 2 + form->biased](panels, x, blocks, form->shift, out, ask);
}
#endif
