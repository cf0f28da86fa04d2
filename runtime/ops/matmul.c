/* Kernels of products with weights.

   The canonical numeric, the same for every number of columns and threads:
   - float weights: lane l of one accumulator sums the products of k = l, l + LF_W, ...; lf_sum adds the lanes;
   - block formats: for each group of 16 or 32 in order, acc = fma(exact integer dot, scale * activation scale, acc), then
     acc = fma(bias, activation sum, acc) where the format has a bias. */
#include "rows_of.h"
#include "a8.h"

static void lf_quantize_rows(const lf_call *call, const lf_quantize_rows_args *a) {
    int32_t k = a->x->ne[0];
    int64_t blocks = lf_a8_blocks(k), begin, end;
    lf_share(call, lf_rows(a->x) * blocks, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / blocks, b = i % blocks;
        int32_t n = k - b * 32 < 32 ? (int32_t)(k - b * 32) : 32;
        const float *x = lf_row(a->x, row) + b * 32;
        lf_a8_row out = lf_a8_at(a->out0->data, k, row);
        float most = 0;
        for (int j = 0; j < n; j++) most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
        float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
        int32_t sums[2] = {0, 0};
        for (int j = 0; j < 32; j++) {
            int8_t q = j < n ? (int8_t)rintf(x[j] * inverse) : 0;
            out.q[b * 32 + j] = q;
            sums[j / 16] += q;
        }
        out.scale[b] = scale;
        out.sum32[b] = scale * (float)(sums[0] + sums[1]);
        out.sum16[2 * b] = scale * (float)sums[0];
        out.sum16[2 * b + 1] = scale * (float)sums[1];
        out.total[b] = sums[0] + sums[1];
    }
}

/* A weight row unpacked: k int8 values, and a scale and a bias for each group. */
typedef struct {
    int8_t *q;
    float *scale, *bias;
} lf_unpacked;

LF_INLINE lf_unpacked lf_unpack_place(char *scratch, int64_t k) {
    return (lf_unpacked){(int8_t *)scratch, (float *)(scratch + k), (float *)(scratch + k) + k / 16};
}

#define X(name, NAME, block, group, biased)                                                              \
    static void lf_unpack_row_##name(const void *row, int64_t k, lf_unpacked u) {                        \
        const lf_##name *b = row;                                                                        \
        for (int64_t i = 0; i < k / (block); i++)                                                        \
            lf_unpack_##name(b + i, u.q + i * (block), u.scale + i * ((block) / (group)), u.bias + i * ((block) / (group))); \
    }
LF_QUANTS(X)
#undef X

typedef struct {
    void (*unpack)(const void *row, int64_t k, lf_unpacked u);
    int group, biased;
} lf_integer_form;

static lf_integer_form lf_form_of(int dtype) {
    switch (dtype) {
#define X(name, NAME, block, group, biased) \
    case LF_##NAME: return (lf_integer_form){lf_unpack_row_##name, group, biased};
        LF_QUANTS(X)
#undef X
    default: return (lf_integer_form){0, 0, 0};
    }
}

LF_INLINE float lf_dot_unpacked(lf_unpacked w, lf_a8_row x, int64_t k, int group, int biased) {
    float acc = 0;
    for (int64_t g = 0; g < k / group; g++) {
        int32_t dot = 0;
        for (int j = 0; j < group; j++) dot += (int32_t)w.q[g * group + j] * x.q[g * group + j];
        acc = lf_fma1((float)dot, w.scale[g] * x.scale[g * group / 32], acc);
        if (biased) acc = lf_fma1(w.bias[g], group == 32 ? x.sum32[g] : x.sum16[g], acc);
    }
    return acc;
}

LF_INLINE float lf_dot_form(lf_integer_form form, lf_unpacked w, lf_a8_row x, int64_t k) {
    if (form.group == 32) return form.biased ? lf_dot_unpacked(w, x, k, 32, 1) : lf_dot_unpacked(w, x, k, 32, 0);
    return form.biased ? lf_dot_unpacked(w, x, k, 16, 1) : lf_dot_unpacked(w, x, k, 16, 0);
}

#define LF_ROWS_A_TURN 16

static void lf_matmul_quantized(const lf_call *call, const lf_matmul_quantized_args *a) {
    int32_t k = a->w->ne[0], n = a->w->ne[1], t = a->x->ne[1];
    lf_integer_form form = lf_form_of(a->w->dtype);
    if (!form.unpack) return;
    int64_t stride = lf_bytes(a->w->dtype, a->w->stride[1]);
    lf_unpacked w = lf_unpack_place(call->scratch, k);
    for (int64_t turn; (turn = lf_take(call)) * LF_ROWS_A_TURN < n;) {
        int64_t end = (turn + 1) * LF_ROWS_A_TURN < n ? (turn + 1) * LF_ROWS_A_TURN : n;
        for (int64_t row = turn * LF_ROWS_A_TURN; row < end; row++) {
            form.unpack((const char *)a->w->data + row * stride, k, w);
            for (int32_t i = 0; i < t; i++) lf_row(a->out0, i)[row] = lf_dot_form(form, w, lf_a8_at(a->x->data, k, i), k);
        }
    }
}

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
    for (; i + LF_W <= k; i += LF_W)
        for (int r = 0; r < rows; r++) {
            lf_vf v = lf_load_weight(dtype, w + r * w_stride, i);
            for (int c = 0; c < columns; c++)
                acc[r * columns + c] = lf_fma(v, lf_load(x + c * x_stride + i), acc[r * columns + c]);
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
