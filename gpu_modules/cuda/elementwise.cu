/* Kernels of the ops that treat each value alone. */

/* What an op makes of a value of each operand; `by` is its attribute. */
struct lf_do_add { LF_IN static float of(float x, float y, float) { return x + y; } };
struct lf_do_mul { LF_IN static float of(float x, float y, float) { return x * y; } };
struct lf_do_scale { LF_IN static float of(float x, float, float by) { return x * by; } };
struct lf_do_softcap { LF_IN static float of(float x, float, float by) { return by * tanhf(x / by); } };
struct lf_do_swiglu { LF_IN static float of(float x, float y, float) { return x / (1.0f + expf(-x)) * y; } };
struct lf_do_geglu {
    LF_IN static float of(float x, float y, float) {
        return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x))) * y;
    }
};

/* A thread treats one value, or four where all operands lie on multiples of 16 bytes. */
template <class Do, bool fours>
LF_KERNEL void lf_each_value(lf_floats_at x, lf_floats_at y, lf_floats_at out, int n, int64_t all, int one_y, float by) {
    lf_begin();
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * (fours ? 4 : 1);
    if (at >= all) return;
    int64_t row = at / n;
    int i = (int)(at % n);
    const float *p = lf_row_at(x, row) + i, *q = lf_row_at(y, one_y ? 0 : row) + i;
    float *o = lf_row_at(out, row) + i;
    if (fours) {
        float4 a = *(const float4 *)p, b = *(const float4 *)q;
        *(float4 *)o = make_float4(Do::of(a.x, b.x, by), Do::of(a.y, b.y, by), Do::of(a.z, b.z, by), Do::of(a.w, b.w, by));
    } else {
        *o = Do::of(*p, *q, by);
    }
}

/* Whether every row of v begins on a multiple of 16 bytes. */
static bool lf_in_fours(const lf_view *v) {
    int64_t steps = v->ne[0] | v->stride[1] | v->stride[2] | v->stride[3];
    return ((uintptr_t)v->data % 16 | (uintptr_t)(steps % 4)) == 0;
}

template <class Do>
static void lf_each(const lf_call *call, const lf_view *x, const lf_view *y, const lf_view *out, int one_y, float by) {
    lf_device *d = lf_device_of(call);
    int n = out->ne[0];
    int64_t all = lf_all_rows(out) * n;
    if (!all) return;
    bool fours = lf_in_fours(x) && lf_in_fours(y) && lf_in_fours(out);
    auto *kernel = fours ? lf_each_value<Do, true> : lf_each_value<Do, false>;
    LF_LAUNCH(kernel, dim3((unsigned)lf_ceil(all, fours ? 1024 : 256)), dim3(256), 0, d->stream, lf_rows_at(x), lf_rows_at(y),
              lf_rows_at(out), n, all, one_y, by);
}

/* The same of two operands, and the result in integer form too: eight threads a block of 32 values. */
template <class Do> LF_KERNEL void lf_each_quantized(lf_floats_at x, lf_floats_at y, lf_floats_at out, int n, int64_t all, char *integers) {
    lf_begin();
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4, row = at / n;
    int i = (int)(at % n);
    float r[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (at < all) {
        float4 a = *(const float4 *)(lf_row_at(x, row) + i), b = *(const float4 *)(lf_row_at(y, row) + i);
        r[0] = Do::of(a.x, b.x, 0.0f), r[1] = Do::of(a.y, b.y, 0.0f), r[2] = Do::of(a.z, b.z, 0.0f), r[3] = Do::of(a.w, b.w, 0.0f);
        *(float4 *)(lf_row_at(out, row) + i) = make_float4(r[0], r[1], r[2], r[3]);
    }
    lf_quantize_four(r, integers + row * lf_a8_stride_of(n), n / 32, i / 32, i / 4 % 8, at < all);
}

/* swiglu or geglu whose result is wanted in integer form too; false where two ops do it. */
template <class Do>
static bool lf_gate_and_quantize(const lf_call *call, const lf_view *x, const lf_view *y, const lf_view *out, const lf_view *integers) {
    int n = out->ne[0];
    int64_t all = lf_all_rows(out) * n;
    if (n % 32 || !all || !lf_in_fours(x) || !lf_in_fours(y) || !lf_in_fours(out)) return false;
    LF_LAUNCH(lf_each_quantized<Do>, dim3((unsigned)lf_ceil(all, 512)), dim3(128), 0, lf_device_of(call)->stream, lf_rows_at(x), lf_rows_at(y),
              lf_rows_at(out), n, all, (char *)integers->data);
    return true;
}

static void lf_add(const lf_call *c, const lf_add_args *a) { lf_each<lf_do_add>(c, a->x, a->y, a->out0, 0, 0.0f); }
static void lf_add_row(const lf_call *c, const lf_add_row_args *a) { lf_each<lf_do_add>(c, a->x, a->y, a->out0, 1, 0.0f); }
static void lf_mul(const lf_call *c, const lf_mul_args *a) { lf_each<lf_do_mul>(c, a->x, a->y, a->out0, 0, 0.0f); }
static void lf_swiglu(const lf_call *c, const lf_swiglu_args *a) { lf_each<lf_do_swiglu>(c, a->gate, a->up, a->out0, 0, 0.0f); }
static void lf_geglu(const lf_call *c, const lf_geglu_args *a) { lf_each<lf_do_geglu>(c, a->gate, a->up, a->out0, 0, 0.0f); }
/* These have one operand: it stands for both. */
static void lf_scale(const lf_call *c, const lf_scale_args *a) { lf_each<lf_do_scale>(c, a->x, a->x, a->out0, 0, a->by); }
static void lf_softcap(const lf_call *c, const lf_softcap_args *a) { lf_each<lf_do_softcap>(c, a->x, a->x, a->out0, 0, a->cap); }
