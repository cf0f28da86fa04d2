/* Products of panels with many columns on AMX tiles, which make the integer sums of the vector kernels.

   A group of 32 values of k is one tile product: rows of a tile are columns of activations, its columns the LF_IW rows of a
   panel. Sums are exact and the floats that follow are the vector kernels' own, in their order: not a bit differs. A group's
   sums are made while those of the group before, which only come out of a tile through memory, are scaled. Groups of 16 would
   take as long as groups of 32: those are left to the vectors. */
#ifndef LF_AMX_H
#define LF_AMX_H
#include "panel.h"

#ifdef __AMX_INT8__
#define LF_AMX 1
#define LF_AMX_COLUMNS 12 /* two panels' accumulators of 12 columns fill 24 of 32 registers */
#define LF_AMX_AHEAD 3    /* blocks of activations asked for before a tile loads them: no processor foresees twelve rows at once */

/* What LDTILECFG reads. */
typedef struct {
    uint8_t palette, start, unused[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} lf_tile_config;

#ifdef LF_AMX_EMULATED
/* Tiles in plain C, for processors without them: tests run the code below on these. */
static _Thread_local struct {
    lf_tile_config config;
    int8_t tile[8][16][64];
} lf_tiles_here;
LF_INLINE void lf_tile_configure(const lf_tile_config *config) { lf_tiles_here.config = *config; }
LF_INLINE void lf_tile_done(void) {}
LF_INLINE void lf_emulate_load(int t, const void *p, int64_t stride) {
    for (int r = 0; r < lf_tiles_here.config.rows[t]; r++)
        memcpy(lf_tiles_here.tile[t][r], (const char *)p + r * stride, lf_tiles_here.config.row_bytes[t]);
}
LF_INLINE void lf_emulate_store(int t, void *p, int64_t stride) {
    for (int r = 0; r < lf_tiles_here.config.rows[t]; r++)
        memcpy((char *)p + r * stride, lf_tiles_here.tile[t][r], lf_tiles_here.config.row_bytes[t]);
}
LF_INLINE void lf_emulate_dot(int c, int a, int b) {
    for (int m = 0; m < lf_tiles_here.config.rows[c]; m++)
        for (int n = 0; n < lf_tiles_here.config.row_bytes[c] / 4; n++) {
            int32_t sum = 0;
            for (int k = 0; k < lf_tiles_here.config.row_bytes[a]; k++)
                sum += lf_tiles_here.tile[a][m][k] * lf_tiles_here.tile[b][k / 4][4 * n + k % 4];
            memcpy(&lf_tiles_here.tile[c][m][4 * n], &sum, 4);
        }
}
/* Even and odd values of k have sums of their own that are added at the end, as the instruction does. */
LF_INLINE void lf_emulate_dot_bf16(int c, int a, int b) {
    for (int m = 0; m < lf_tiles_here.config.rows[c]; m++)
        for (int n = 0; n < lf_tiles_here.config.row_bytes[c] / 4; n++) {
            float sum[2] = {0}, all;
            for (int k = 0; k < lf_tiles_here.config.row_bytes[a] / 2; k++) {
                uint16_t x, y;
                memcpy(&x, &lf_tiles_here.tile[a][m][2 * k], 2);
                memcpy(&y, &lf_tiles_here.tile[b][k / 2][4 * n + k % 2 * 2], 2);
                sum[k % 2] += lf_float((uint32_t)x << 16) * lf_float((uint32_t)y << 16);
            }
            memcpy(&all, &lf_tiles_here.tile[c][m][4 * n], 4);
            all += sum[0] + sum[1];
            memcpy(&lf_tiles_here.tile[c][m][4 * n], &all, 4);
        }
}
#define LF_TILE_LOAD(t, p, stride) lf_emulate_load(t, p, stride)
#define LF_TILE_STORE(t, p, stride) lf_emulate_store(t, p, stride)
#define LF_TILE_DOT(c, a, b) lf_emulate_dot(c, a, b)
#define LF_TILE_ZERO(c) memset(lf_tiles_here.tile[c], 0, sizeof lf_tiles_here.tile[c])
#define LF_TILE_DOT_BF16(c, a, b) lf_emulate_dot_bf16(c, a, b)
#else
LF_INLINE void lf_tile_configure(const lf_tile_config *config) {
    __asm__ volatile("" ::"r"(config) : "memory"); /* gcc takes the instruction to read 8 of the 64 bytes */
    _tile_loadconfig(config);
}
LF_INLINE void lf_tile_done(void) { _tile_release(); }
#define LF_TILE_LOAD(t, p, stride) _tile_loadd(t, p, stride)
#define LF_TILE_STORE(t, p, stride) _tile_stored(t, p, stride)
#define LF_TILE_DOT(c, a, b)                                                                                  \
    do {                                                                                                      \
        _tile_zero(c);                                                                                        \
        _tile_dpbssd(c, a, b);                                                                                \
    } while (0)
#define LF_TILE_ZERO(c) _tile_zero(c)
#define LF_TILE_DOT_BF16(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

/* Tiles 0 to 3: sums, of even and of odd groups; 4 and 5: activations; 6 and 7: the panels. */
static void lf_amx_begin(void) {
    lf_tile_config config = {.palette = 1};
    for (int t = 0; t < 6; t++) config.rows[t] = LF_AMX_COLUMNS, config.row_bytes[t] = t < 4 ? 64 : 32;
    for (int t = 6; t < 8; t++) config.rows[t] = 8, config.row_bytes[t] = 64;
    lf_tile_configure(&config);
}

/* Panels hold unsigned bytes for the dot instructions; tiles take the signed ones. */
LF_INLINE void lf_amx_signed(char *values, int64_t k) {
    for (int64_t i = 0; i < k / 4; i++)
        lf_i_put(values + i * 64, _mm512_xor_si512(lf_i_load(values + i * 64), lf_i_bytes(128)));
}

/* Let tiles work on group i: `x` has the first column's values, the next columns' `stride` bytes further. (A tile's number is
   part of an instruction's name: it must be a digit here.) */
#define LF_AMX_GROUP(c0, c1, a, i)                                                                            \
    do {                                                                                                      \
        LF_TILE_LOAD(a, (x + (i))->q, stride);                                                                \
        LF_TILE_LOAD(6, panels->values[0] + (i) * 8 * LF_VECTOR, 64);                                         \
        LF_TILE_LOAD(7, panels->values[1] + (i) * 8 * LF_VECTOR, 64);                                         \
        LF_TILE_DOT(c0, a, 6);                                                                                \
        LF_TILE_DOT(c1, a, 7);                                                                                \
    } while (0)

/* Take the sums of group i, scale them and add them. */
#define LF_AMX_SCALE(c0, c1, i)                                                                               \
    do {                                                                                                      \
        LF_TILE_STORE(c0, dot[(c0) / 2][0], 64);                                                              \
        LF_TILE_STORE(c1, dot[(c0) / 2][1], 64);                                                              \
        lf_amx_scale(panels, x + (i), step, (i), dot[(c0) / 2], acc, biased);                              \
    } while (0)

LF_INLINE void lf_amx_scale(const lf_panels *panels, const lf_a8_block *x, int64_t step, int64_t i,
                            int32_t dot[LF_PANELS][LF_AMX_COLUMNS][LF_IW], lf_if acc[LF_PANELS][LF_AMX_COLUMNS], int biased) {
    lf_if s[LF_PANELS], m[LF_PANELS];
#pragma GCC unroll 2
    for (int p = 0; p < LF_PANELS; p++) {
        s[p] = lf_if_load(panels->scale[p] + i * LF_IW);
        m[p] = biased ? lf_if_load(panels->bias[p] + i * LF_IW) : s[p];
    }
    /* One address for three columns: with one for each, the registers would not do. */
    const lf_a8_block *at[LF_AMX_COLUMNS / 3] = {x, x + 3 * step, x + 6 * step, x + 9 * step};
#pragma GCC unroll 12
    for (int c = 0; c < LF_AMX_COLUMNS; c++) {
        const lf_a8_block *block = at[c / 3] + c % 3 * step;
        lf_if scale = lf_if_set(block->scale), sum = lf_if_set(block->sum32);
        __builtin_prefetch(block + LF_AMX_AHEAD);
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++) {
            acc[p][c] = lf_if_fma(lf_if_of(lf_i_load(dot[p][c])), s[p] * scale, acc[p][c]);
            if (biased) acc[p][c] = lf_if_fma(m[p], sum, acc[p][c]);
        }
    }
}

/* LF_AMX_COLUMNS columns (from x on, `step` blocks from one to the next) with two panels of `blocks` blocks of 32. */
LF_INLINE void lf_amx_body(const lf_panels *given, const lf_a8_block *x, int64_t blocks, int64_t step, lf_sums *out,
                           int biased) {
    const lf_panels here = *given, *panels = &here;
    _Alignas(64) int32_t dot[2][LF_PANELS][LF_AMX_COLUMNS][LF_IW]; /* of even and of odd groups */
    lf_if acc[LF_PANELS][LF_AMX_COLUMNS];
    const int64_t stride = step * (int64_t)sizeof *x;
#pragma GCC unroll 12
    for (int c = 0; c < LF_AMX_COLUMNS; c++) acc[0][c] = acc[1][c] = lf_if_set(0);
    LF_AMX_GROUP(0, 1, 4, (int64_t)0);
    int64_t i = 0;
    for (; i + 2 <= blocks; i += 2) {
        LF_AMX_GROUP(2, 3, 5, i + 1);
        LF_AMX_SCALE(0, 1, i);
        if (i + 2 < blocks) LF_AMX_GROUP(0, 1, 4, i + 2);
        LF_AMX_SCALE(2, 3, i + 1);
    }
    if (i < blocks) LF_AMX_SCALE(0, 1, i);
#pragma GCC unroll 12
    for (int c = 0; c < LF_AMX_COLUMNS; c++)
#pragma GCC unroll 2
        for (int p = 0; p < LF_PANELS; p++) lf_if_put(out[c][p], acc[p][c]);
}

static void lf_amx_plain(const lf_panels *panels, const lf_a8_block *x, int64_t blocks, int64_t step, lf_sums *out) {
    lf_amx_body(panels, x, blocks, step, out, 0);
}
static void lf_amx_biased(const lf_panels *panels, const lf_a8_block *x, int64_t blocks, int64_t step, lf_sums *out) {
    lf_amx_body(panels, x, blocks, step, out, 1);
}

/* Signed panels with LF_AMX_COLUMNS columns, after lf_amx_begin. */
static void lf_amx_multiply(const lf_form *form, const lf_panels *panels, const lf_a8_block *x, int64_t blocks, int64_t step,
                            lf_sums *out) {
    (form->biased ? lf_amx_biased : lf_amx_plain)(panels, x, blocks, step, out);
}
#else
#define LF_AMX 0
#endif

/* Whether tile registers multiply so many columns, and how many at a time are multiplied then, or by vectors. */
LF_INLINE int lf_on_tiles(LF_UNUSED const lf_form *form, LF_UNUSED int32_t columns) {
#if LF_AMX
    return form->group == 32 && columns >= LF_AMX_COLUMNS;
#else
    return 0;
#endif
}
LF_INLINE int lf_columns_at_once(LF_UNUSED int tiles) {
#if LF_AMX
    if (tiles) return LF_AMX_COLUMNS;
#endif
    return LF_COLUMNS;
}

/* Around products that may be on tiles. */
LF_INLINE void lf_tiles_begin(LF_UNUSED int tiles) {
#if LF_AMX
    if (tiles) lf_amx_begin();
#endif
}
LF_INLINE void lf_tiles_end(LF_UNUSED int tiles) {
#if LF_AMX
    if (tiles) lf_tile_done();
#endif
}
#endif
