/* Kernels of products with weights.

   The canonical numeric, the same for every number of columns and threads:
   - float weights: lane l of one accumulator sums the products of k = l, l + LF_W, ...; lf_sum adds the lanes;
   - block formats: for each group of 16 or 32 in order, acc = fma(exact integer dot, scale * activation scale, acc), then
     acc = fma(bias, activation sum, acc) where the format has a bias. */
#include "rows_of.h"
#include "a8.h"
#include "int8.h"

/* ---- activations in integer form ---- */

/* Quantise one block of 32 values (n of them present) of one row into lane `lane` of `lanes`. */
LF_INLINE void lf_quantize_block(const float *x, int32_t n, lf_a8 out, int64_t b, int64_t lanes, int64_t lane) {
    float v[32] = {0};
    memcpy(v, x, sizeof(float) * (size_t)n);
    float most = 0;
    for (int j = 0; j < 32; j++) most = fabsf(v[j]) > most ? fabsf(v[j]) : most;
    float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
    int32_t q[32], sums[2] = {0, 0};
    for (int j = 0; j < 32; j += LF_W) {
        lf_vi rounded = lf_round(lf_load(v + j) * lf_set(inverse));
        memcpy(q + j, &rounded, sizeof rounded);
    }
    for (int j = 0; j < 32; j++) sums[j / 16] += q[j];
    if (lanes == 1) {
        for (int j = 0; j < 32; j++) out.q[b * 32 + j] = (int8_t)q[j];
    } else {
#if LF_STEP == 4
        int8_t *to = out.q + b * 32 * lanes + lane * 4;
        for (int j = 0; j < 32; j++) to[j / 4 * 4 * lanes + j % 4] = (int8_t)q[j];
#else
        int16_t *to = (int16_t *)out.q + b * 32 * lanes + lane * 2;
        for (int j = 0; j < 32; j++) to[j / 2 * 2 * lanes + j % 2] = (int16_t)q[j];
#endif
    }
    int64_t at = b * lanes + lane, half = 2 * b * lanes + lane;
    out.scale[at] = scale;
    out.sum32[at] = scale * (float)(sums[0] + sums[1]);
    out.sum16[half] = scale * (float)sums[0], out.sum16[half + lanes] = scale * (float)sums[1];
    out.total32[at] = sums[0] + sums[1];
    out.total16[half] = sums[0], out.total16[half + lanes] = sums[1];
}

static void lf_quantize_rows(const lf_call *call, const lf_quantize_rows_args *a) {
    int32_t k = a->x->ne[0];
    int64_t rows = lf_rows(a->x), padded = a->tiled ? lf_a8_rows(rows) : rows, blocks = lf_a8_blocks(k), begin, end;
    int64_t lanes = a->tiled && rows >= LF_A8_TILE ? LF_A8_TILE : 1;
    static const float nothing[32];
    lf_share(call, padded * blocks, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / blocks, b = i % blocks, first = row / lanes * lanes;
        int32_t n = k - b * 32 < 32 ? (int32_t)(k - b * 32) : 32;
        const float *x = row < rows ? lf_row(a->x, row) + b * 32 : nothing;
        lf_quantize_block(x, n, lf_a8_at(a->out0->data, k, first, lanes), b, lanes, row - first);
    }
}

/* ---- weights in integer form ---- */

/* Weights unpacked: int8 values, and a scale and a bias for each group. */
typedef struct {
    int8_t *q;
    float *scale, *bias;
} lf_unpacked;

#define X(name, NAME, block, group, biased)                                                              \
    static void lf_unpack_part_##name(const void *row, int64_t first, int64_t n, lf_unpacked u) {        \
        const lf_##name *b = (const lf_##name *)row + first / (block);                                   \
        for (int64_t i = 0; i < n / (block); i++)                                                        \
            lf_unpack_##name(b + i, u.q + i * (block), u.scale + i * ((block) / (group)), u.bias + i * ((block) / (group))); \
    }
LF_QUANTS(X)
#undef X

/* How a format's rows are unpacked, from value `first` on, n values; both are multiples of its block. */
typedef struct {
    void (*unpack)(const void *row, int64_t first, int64_t n, lf_unpacked u);
    int group, biased;
} lf_integer_form;

static lf_integer_form lf_form_of(int dtype) {
    switch (dtype) {
#define X(name, NAME, block, group, biased) \
    case LF_##NAME: return (lf_integer_form){lf_unpack_part_##name, group, biased};
        LF_QUANTS(X)
#undef X
    default: return (lf_integer_form){0, 0, 0};
    }
}

/* ---- few columns: rows of weights against rows of activations ---- */

#define LF_CHUNK 256 /* values of k unpacked at a time: a whole super-block, and LF_DW rows of it stay in L1 */
#define LF_MAX_FEW 64 /* columns that the accumulators of one pass hold */

/* Unpack a chunk of LF_DW rows; scales and biases come out as [group][row]. Rows beyond the last repeat it. */
LF_INLINE void lf_unpack_rows(lf_integer_form form, const char *w, int64_t stride, int rows, int64_t first, int64_t n,
                              int8_t *q, float *scale, float *bias) {
    float s[LF_CHUNK / 16], m[LF_CHUNK / 16];
    int groups = (int)(n / form.group);
    for (int r = 0; r < LF_DW; r++) {
        form.unpack(w + (r < rows ? r : rows - 1) * stride, first, n, (lf_unpacked){q + r * LF_CHUNK, s, m});
        for (int g = 0; g < groups; g++) scale[g * LF_DW + r] = s[g];
        for (int g = 0; form.biased && g < groups; g++) bias[g * LF_DW + r] = m[g];
    }
}

/* Add a chunk's products of LF_DW rows with one activation row to acc. */
LF_INLINE lf_df lf_dot_chunk(const int8_t *q, const float *scale, const float *bias, lf_a8 x, int64_t first, int64_t n,
                             lf_df acc, int group, int biased) {
    for (int64_t b = 0; b < n / 32; b++) {
        int64_t at = first / 32 + b;
        lf_dv low, high;
        lf_dot_rows(q + b * 32, LF_CHUNK, x.q + at * 32, &low, &high);
        lf_df dx = lf_df_set(x.scale[at]);
        if (group == 32) {
            lf_dv dot = lf_d_correct(lf_d_add(low, high), x.total32[at]);
            acc = lf_df_fma(lf_df_of(dot), lf_df_load(scale + b * LF_DW) * dx, acc);
            if (biased) acc = lf_df_fma(lf_df_load(bias + b * LF_DW), lf_df_set(x.sum32[at]), acc);
        } else {
            const float *s = scale + 2 * b * LF_DW, *m = bias + 2 * b * LF_DW;
            acc = lf_df_fma(lf_df_of(lf_d_correct(low, x.total16[2 * at])), lf_df_load(s) * dx, acc);
            if (biased) acc = lf_df_fma(lf_df_load(m), lf_df_set(x.sum16[2 * at]), acc);
            acc = lf_df_fma(lf_df_of(lf_d_correct(high, x.total16[2 * at + 1])), lf_df_load(s + LF_DW) * dx, acc);
            if (biased) acc = lf_df_fma(lf_df_load(m + LF_DW), lf_df_set(x.sum16[2 * at + 1]), acc);
        }
    }
    return acc;
}

/* LF_DW rows of weights against `count` rows of activations, given by their numbers (0: 0, 1, 2, ...). */
LF_INLINE void lf_few_columns(lf_integer_form form, const char *w, int64_t stride, int rows, int32_t k, void *x,
                              const int32_t *which, int32_t count, float out[][LF_DW], int group, int biased) {
    _Alignas(64) int8_t q[LF_DW * LF_CHUNK];
    _Alignas(64) float scale[LF_CHUNK / 16 * LF_DW], bias[LF_CHUNK / 16 * LF_DW];
    for (int32_t c = 0; c < count; c++) lf_df_put(out[c], lf_df_set(0));
    for (int64_t first = 0; first < k; first += LF_CHUNK) {
        int64_t n = k - first < LF_CHUNK ? k - first : LF_CHUNK;
        lf_unpack_rows(form, w, stride, rows, first, n, q, scale, bias);
        for (int32_t c = 0; c < count; c++) {
            lf_a8 column = lf_a8_at(x, k, which ? which[c] : c, 1);
            lf_df_put(out[c], lf_dot_chunk(q, scale, bias, column, first, n, lf_df_load(out[c]), group, biased));
        }
    }
}

/* The same for a group size and bias that are constants to the compiler. */
static void lf_few(lf_integer_form form, const char *w, int64_t stride, int rows, int32_t k, void *x, const int32_t *which,
                   int32_t count, float out[][LF_DW]) {
    if (form.group == 32 && form.biased)
        lf_few_columns(form, w, stride, rows, k, x, which, count, out, 32, 1);
    else if (form.group == 32)
        lf_few_columns(form, w, stride, rows, k, x, which, count, out, 32, 0);
    else if (form.biased)
        lf_few_columns(form, w, stride, rows, k, x, which, count, out, 16, 1);
    else
        lf_few_columns(form, w, stride, rows, k, x, which, count, out, 16, 0);
}

#define LF_ROWS_A_TURN 32

static void lf_product_few(const lf_call *call, const lf_matmul_quantized_args *a, lf_integer_form form) {
    int32_t k = a->w->ne[0], n = a->w->ne[1], t = a->x->ne[1];
    int64_t stride = lf_bytes(a->w->dtype, a->w->stride[1]);
    float out[LF_MAX_FEW][LF_DW];
    for (int64_t turn; (turn = lf_take(call)) * LF_ROWS_A_TURN < n;) {
        int64_t end = (turn + 1) * LF_ROWS_A_TURN < n ? (turn + 1) * LF_ROWS_A_TURN : n;
        for (int64_t row = turn * LF_ROWS_A_TURN; row < end; row += LF_DW) {
            int rows = end - row < LF_DW ? (int)(end - row) : LF_DW;
            lf_few(form, (const char *)a->w->data + row * stride, stride, rows, k, a->x->data, 0, t, out);
            for (int32_t c = 0; c < t; c++) memcpy(lf_row(a->out0, c) + row, out[c], sizeof(float) * (size_t)rows);
        }
    }
}

/* ---- many columns: panels of LF_IW weight rows against tiles of eight columns ---- */

/* Order LF_IW unpacked rows as lf_step reads them: for each LF_STEP values of k, those of all rows side by side. */
LF_INLINE void lf_interleave(const int8_t *q, int64_t k, void *panel) {
#if LF_STEP == 4
    uint32_t *to = panel;
    for (int r = 0; r < LF_IW; r++)
        for (int64_t i = 0; i < k / 4; i++) {
            uint32_t four;
            memcpy(&four, q + r * k + 4 * i, 4);
            to[i * LF_IW + r] = four ^ (LF_UNSIGNED ? 0x80808080u : 0);
        }
#else
    int16_t *to = panel;
    for (int r = 0; r < LF_IW; r++)
        for (int64_t i = 0; i < k / 2; i++) {
            to[(i * LF_IW + r) * 2] = q[r * k + 2 * i];
            to[(i * LF_IW + r) * 2 + 1] = q[r * k + 2 * i + 1];
        }
#endif
}

typedef struct {
    char *values;        /* [k / LF_STEP][LF_IW][LF_STEP], a vector each */
    float *scale, *bias; /* [k / group][LF_IW] */
    int8_t *rows;        /* [LF_IW][k]: where rows are unpacked before they are interleaved */
    float *row_scale, *row_bias;
} lf_panel;

#define LF_VECTOR ((int)sizeof(lf_iv))

LF_INLINE lf_panel lf_panel_place(char *scratch, int64_t k) {
    lf_panel p;
    p.values = scratch, scratch += k / LF_STEP * LF_VECTOR;
    p.scale = (float *)scratch, scratch += k / 16 * LF_IW * 4;
    p.bias = (float *)scratch, scratch += k / 16 * LF_IW * 4;
    p.row_scale = (float *)scratch, scratch += k / 16 * 4;
    p.row_bias = (float *)scratch, scratch += k / 16 * 4;
    p.rows = (int8_t *)scratch;
    return p;
}

static void lf_fill_panel(lf_integer_form form, const char *w, int64_t stride, int rows, int64_t k, lf_panel p) {
    int64_t groups = k / form.group;
    for (int r = 0; r < LF_IW; r++) {
        form.unpack(w + (r < rows ? r : rows - 1) * stride, 0, k, (lf_unpacked){p.rows + r * k, p.row_scale, p.row_bias});
        for (int64_t g = 0; g < groups; g++) p.scale[g * LF_IW + r] = p.row_scale[g];
        for (int64_t g = 0; form.biased && g < groups; g++) p.bias[g * LF_IW + r] = p.row_bias[g];
    }
    lf_interleave(p.rows, k, p.values);
}

/* A panel against `columns` columns of a tile from column `first` on: out[column][row]. */
LF_INLINE void lf_panel_tile(lf_panel p, lf_a8 x, int64_t k, int first, int columns, float out[][LF_IW], int group, int biased) {
    lf_if acc[LF_A8_TILE];
    for (int c = 0; c < columns; c++) acc[c] = lf_if_set(0);
    const char *w = p.values;
    const char *q = (const char *)x.q + first * 4;
    for (int64_t g = 0; g < k / group; g++) {
        lf_iv dot[LF_A8_TILE];
        const int32_t *total = (group == 32 ? x.total32 : x.total16) + g * LF_A8_TILE + first;
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++) dot[c] = LF_UNSIGNED ? lf_i_set(-128 * total[c]) : lf_i_zero();
#pragma GCC unroll 16
        for (int i = 0; i < group / LF_STEP; i++, w += LF_VECTOR, q += 4 * LF_A8_TILE) {
            lf_iv v = lf_i_load(w);
#pragma GCC unroll 8
            for (int c = 0; c < columns; c++) dot[c] = lf_step(dot[c], v, q + 4 * c);
        }
        lf_if scale = lf_if_load(p.scale + g * LF_IW);
        const float *dx = x.scale + (group == 32 ? g : g / 2) * LF_A8_TILE + first;
#pragma GCC unroll 8
        for (int c = 0; c < columns; c++) acc[c] = lf_if_fma(lf_if_of(dot[c]), scale * lf_if_set(dx[c]), acc[c]);
        if (biased) {
            lf_if bias = lf_if_load(p.bias + g * LF_IW);
            const float *sum = (group == 32 ? x.sum32 : x.sum16) + g * LF_A8_TILE + first;
#pragma GCC unroll 8
            for (int c = 0; c < columns; c++) acc[c] = lf_if_fma(bias, lf_if_set(sum[c]), acc[c]);
        }
    }
    for (int c = 0; c < columns; c++) lf_if_put(out[c], acc[c]);
}

/* Columns that fit the registers beside a vector of weights: all eight of a tile with 32 registers, else four. */
#if LF_IW == 16
#define LF_COLUMNS 8
#else
#define LF_COLUMNS 4
#endif

#define LF_DEFINE_TILE(group, biased)                                                                              \
    static void lf_tile_##group##_##biased(lf_panel p, lf_a8 x, int64_t k, int first, float out[][LF_IW]) {        \
        lf_panel_tile(p, x, k, first, LF_COLUMNS, out, group, biased);                                             \
    }
LF_DEFINE_TILE(32, 0)
LF_DEFINE_TILE(32, 1)
LF_DEFINE_TILE(16, 0)
LF_DEFINE_TILE(16, 1)

typedef void lf_tile(lf_panel p, lf_a8 x, int64_t k, int first, float out[][LF_IW]);

static lf_tile *lf_tile_of(lf_integer_form form) {
    if (form.group == 32) return form.biased ? lf_tile_32_1 : lf_tile_32_0;
    return form.biased ? lf_tile_16_1 : lf_tile_16_0;
}

static void lf_product_many(const lf_call *call, const lf_matmul_quantized_args *a, lf_integer_form form) {
    int32_t k = a->w->ne[0], n = a->w->ne[1], t = a->x->ne[1];
    int64_t stride = lf_bytes(a->w->dtype, a->w->stride[1]);
    lf_panel panel = lf_panel_place(call->scratch, k);
    lf_tile *tile = lf_tile_of(form);
    float out[LF_COLUMNS][LF_IW];
    for (int64_t turn; (turn = lf_take(call)) * LF_IW < n;) {
        int64_t row = turn * LF_IW;
        int rows = n - row < LF_IW ? (int)(n - row) : LF_IW;
        lf_fill_panel(form, (const char *)a->w->data + row * stride, stride, rows, k, panel);
        for (int32_t c = 0; c < t; c += LF_COLUMNS) {
            int32_t first = c % LF_A8_TILE;
            tile(panel, lf_a8_at(a->x->data, k, c - first, LF_A8_TILE), k, first, out);
            for (int32_t i = 0; i < LF_COLUMNS && c + i < t; i++)
                memcpy(lf_row(a->out0, c + i) + row, out[i], sizeof(float) * (size_t)rows);
        }
    }
}

static void lf_matmul_quantized(const lf_call *call, const lf_matmul_quantized_args *a) {
    lf_integer_form form = lf_form_of(a->w->dtype);
    if (a->x->ne[1] < LF_A8_TILE)
        lf_product_few(call, a, form);
    else
        lf_product_many(call, a, form);
}

/* ---- float weights ---- */

LF_INLINE lf_vf lf_load_weight(int dtype, const void *row, int64_t i) {
    if (dtype == LF_F16) return lf_load_f16((const uint16_t *)row + i);
    if (dtype == LF_BF16) return lf_load_bf16((const uint16_t *)row + i);
    return lf_load((const float *)row + i);
}

LF_INLINE float lf_weight(int dtype, const void *row, int64_t i) {
    if (dtype == LF_F16) return lf_half(((const uint16_t *)row)[i]);
    if (dtype == LF_BF16) return lf_float((uint32_t)((const uint16_t *)row)[i] << 16);
    return ((const float *)row)[i];
}

/* A tile of rows x columns products of float weights; each has an accumulator of its own. */
LF_INLINE void lf_float_tile(int dtype, const char *w, int64_t w_stride, const float *x, int64_t x_stride, int32_t k,
                             float *out, int64_t out_stride, int rows, int columns) {
    lf_vf acc[16];
    for (int i = 0; i < rows * columns; i++) acc[i] = lf_set(0);
    int32_t i = 0;
    for (; i + LF_W <= k; i += LF_W) {
        lf_vf v[4];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) v[r] = lf_load_weight(dtype, w + r * w_stride, i);
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) {
            lf_vf xc = lf_load(x + c * x_stride + i);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) acc[r * columns + c] = lf_fma(v[r], xc, acc[r * columns + c]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            lf_vf sum = acc[r * columns + c];
            if (i < k) {
                float rest[LF_W] = {0};
                for (int32_t j = i; j < k; j++) rest[j - i] = lf_weight(dtype, w + r * w_stride, j);
                sum = lf_fma(lf_load(rest), lf_load_some(x + c * x_stride + i, k - i), sum);
            }
            out[c * out_stride + r] = lf_sum(sum);
        }
}

LF_INLINE void lf_float_product(const lf_call *call, const lf_matmul_args *a, int dtype) {
    int32_t k = a->w->ne[0], n = a->w->ne[1], t = a->x->ne[1];
    int64_t ws = lf_bytes(dtype, a->w->stride[1]), xs = a->x->stride[1], os = a->out0->stride[1];
    for (int64_t turn; (turn = lf_take(call)) * LF_ROWS_A_TURN < n;) {
        int64_t first = turn * LF_ROWS_A_TURN, end = first + LF_ROWS_A_TURN < n ? first + LF_ROWS_A_TURN : n;
        for (int32_t c = 0; c < t; c += 4)
            for (int64_t r = first; r < end; r += 4) {
                const char *w = (const char *)a->w->data + r * ws;
                const float *x = (const float *)a->x->data + c * xs;
                float *out = (float *)a->out0->data + c * os + r;
                int columns = t - c < 4 ? t - c : 4, rows = end - r < 4 ? (int)(end - r) : 4;
                if (rows == 4 && columns == 4)
                    lf_float_tile(dtype, w, ws, x, xs, k, out, os, 4, 4);
                else if (rows == 4 && columns == 1)
                    lf_float_tile(dtype, w, ws, x, xs, k, out, os, 4, 1);
                else
                    for (int i = 0; i < rows; i++)
                        for (int j = 0; j < columns; j++)
                            lf_float_tile(dtype, w + i * ws, ws, x + j * xs, xs, k, out + j * os + i, os, 1, 1);
            }
    }
}

static void lf_matmul(const lf_call *call, const lf_matmul_args *a) {
    if (a->w->dtype == LF_F16)
        lf_float_product(call, a, LF_F16);
    else if (a->w->dtype == LF_BF16)
        lf_float_product(call, a, LF_BF16);
    else if (a->w->dtype == LF_F32)
        lf_float_product(call, a, LF_F32);
}
