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
