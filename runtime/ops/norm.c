/* Kernels of the norms. */
#include "rows_of.h"

/* 1 / sqrt(mean of squares + eps): squares are summed in doubles of a fixed order, since rows may be 16k long. */
LF_INLINE float lf_inverse_rms(const float *x, int32_t n, float eps) {
    double sums[8] = {0};
    int32_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) sums[j] += (double)x[i + j] * x[i + j];
    for (; i < n; i++) sums[0] += (double)x[i] * x[i];
    double sum = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
    return (float)(1.0 / sqrt(sum / n + eps));
}

LF_INLINE void lf_norm_row(const float *x, const float *weight, float *out, int32_t n, float eps) {
    float inverse = lf_inverse_rms(x, n, eps);
    int32_t i = 0;
    for (; i + LF_W <= n; i += LF_W) lf_put(out + i, lf_load(x + i) * lf_set(inverse) * lf_load(weight + i));
    for (; i < n; i++) out[i] = x[i] * inverse * weight[i];
}

static void lf_rms_norm(const lf_call *call, const lf_rms_norm_args *a) {
    int64_t begin, end;
    lf_share(call, lf_rows(a->x), &begin, &end);
    for (int64_t r = begin; r < end; r++)
        lf_norm_row(lf_row(a->x, r), a->weight->data, lf_row(a->out0, r), a->x->ne[0], a->eps);
}

static void lf_add_rms_norm(const lf_call *call, const lf_add_rms_norm_args *a) {
    int64_t begin, end;
    lf_share(call, lf_rows(a->x), &begin, &end);
    int32_t n = a->x->ne[0];
    for (int64_t r = begin; r < end; r++) {
        const float *x = lf_row(a->x, r), *y = lf_row(a->y, r);
        float *sum = lf_row(a->out0, r);
        int32_t i = 0;
        for (; i + LF_W <= n; i += LF_W) lf_put(sum + i, lf_load(x + i) + lf_load(y + i));
        for (; i < n; i++) sum[i] = x[i] + y[i];
        lf_norm_row(sum, a->weight->data, lf_row(a->out1, r), n, a->eps);
    }
}
