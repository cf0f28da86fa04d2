/* Kernels of the ops that treat each value alone. */
#include "rows_of.h"

/* Apply `value`, an expression of the vectors x and y, to every value of two operands. */
#define LF_PAIRWISE(name, left, right, broadcast, value)                                           \
    static void lf_##name(const lf_call *call, const lf_##name##_args *a) {                        \
        lf_piece piece;                                                                            \
        for (int64_t i = 0; lf_piece_of(call, a->out0, i, &piece); i++) {                          \
            const float *p = lf_row(a->left, piece.row) + piece.first;                            \
            const float *q = lf_row(a->right, (broadcast) ? 0 : piece.row) + piece.first;         \
            float *o = lf_row(a->out0, piece.row) + piece.first;                                   \
            int32_t j = 0;                                                                         \
            for (; j + LF_W <= piece.count; j += LF_W) {                                           \
                lf_vf x = lf_load(p + j), y = lf_load(q + j);                                      \
                lf_put(o + j, value);                                                              \
            }                                                                                      \
            if (j < piece.count) {                                                                 \
                lf_vf x = lf_load_some(p + j, piece.count - j), y = lf_load_some(q + j, piece.count - j); \
                lf_put_some(o + j, value, piece.count - j);                                        \
            }                                                                                      \
        }                                                                                          \
    }

LF_INLINE lf_vf lf_silu(lf_vf x) { return x / (lf_set(1.0f) + lf_exp(lf_set(0.0f) - x)); }

LF_INLINE lf_vf lf_gelu(lf_vf x) {
    lf_vf inner = lf_set(0.79788456f) * lf_fma(lf_set(0.044715f) * x * x, x, x);
    return lf_set(0.5f) * x * (lf_set(1.0f) + lf_tanh(inner));
}

LF_PAIRWISE(add, x, y, 0, x + y)
LF_PAIRWISE(add_row, x, y, 1, x + y)
LF_PAIRWISE(mul, x, y, 0, x * y)
LF_PAIRWISE(swiglu, gate, up, 0, lf_silu(x) * y)
LF_PAIRWISE(geglu, gate, up, 0, lf_gelu(x) * y)
/* The second operand of these is the first again: only x is used. */
LF_PAIRWISE(scale, x, x, 0, ((void)y, x * lf_set(a->by)))
LF_PAIRWISE(softcap, x, x, 0, ((void)y, lf_set(a->cap) * lf_tanh(x / lf_set(a->cap))))
