/* Kernels of the norms: a block of threads a row. */

/* out = (x + y) / rms(x + y) * weight, and sum = x + y, where there is a y. */
template <bool add>
LF_KERNEL void lf_norm_rows(lf_floats_at x, lf_floats_at y, const float *weight, lf_floats_at sum, lf_floats_at out, int n, float eps) {
    lf_begin();
    __shared__ float room[LF_WARP];
    const float *p = lf_row_at(x, blockIdx.x), *q = add ? lf_row_at(y, blockIdx.x) : p;
    float *s = add ? lf_row_at(sum, blockIdx.x) : (float *)0, *o = lf_row_at(out, blockIdx.x), squares = 0.0f;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
        float v = add ? p[i] + q[i] : p[i];
        if (add) s[i] = v;
        squares = fmaf(v, v, squares);
    }
    float inverse = 1.0f / sqrtf(lf_sum_block(squares, room) / (float)n + eps);
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) o[i] = (add ? s[i] : p[i]) * inverse * weight[i];
}

/* The same for rows of at most 16 values a thread, which stay in registers; and where there is a place for it, the result in
   integer form too. */
template <bool add, bool quantize>
LF_KERNEL void __launch_bounds__(1024) lf_norm_fours(lf_floats_at x, lf_floats_at y, const float *weight, lf_floats_at sum, lf_floats_at out, int n,
                                                     float eps, char *integers) {
    enum { MOST = 4 };
    lf_begin();
    __shared__ float room[LF_WARP];
    const float4 *p = (const float4 *)lf_row_at(x, blockIdx.x), *q = add ? (const float4 *)lf_row_at(y, blockIdx.x) : p;
    float4 *s = add ? (float4 *)lf_row_at(sum, blockIdx.x) : (float4 *)0, *o = (float4 *)lf_row_at(out, blockIdx.x), v[MOST];
    float squares = 0.0f;
#pragma unroll
    for (int j = 0; j < MOST; j++) {
        int i = (int)threadIdx.x + j * (int)blockDim.x;
        v[j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (4 * i >= n) continue;
        v[j] = p[i];
        if (add) {
            float4 more = q[i];
            v[j] = make_float4(v[j].x + more.x, v[j].y + more.y, v[j].z + more.z, v[j].w + more.w);
            s[i] = v[j];
        }
        squares = fmaf(v[j].x, v[j].x, squares), squares = fmaf(v[j].y, v[j].y, squares);
        squares = fmaf(v[j].z, v[j].z, squares), squares = fmaf(v[j].w, v[j].w, squares);
    }
    float inverse = 1.0f / sqrtf(lf_sum_block(squares, room) / (float)n + eps);
    char *to = quantize ? integers + blockIdx.x * lf_a8_stride_of(n) : (char *)0;
#pragma unroll
    for (int j = 0; j < MOST; j++) {
        int i = (int)threadIdx.x + j * (int)blockDim.x;
        if (j * (int)blockDim.x * 4 >= n) break; /* for all threads alike: lanes meet below */
        float4 w = 4 * i < n ? ((const float4 *)weight)[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        float r[4] = {v[j].x * inverse * w.x, v[j].y * inverse * w.y, v[j].z * inverse * w.z, v[j].w * inverse * w.w};
        if (4 * i < n) o[i] = make_float4(r[0], r[1], r[2], r[3]);
        if (quantize) lf_quantize_four(r, to, n / 32, i / 8, i % 8, 4 * i < n);
    }
}

/* Threads for a row: a few values each. */
static unsigned lf_threads_of_row(int n) {
    unsigned threads = 32;
    while (threads < 1024 && (int)threads * 4 < n) threads *= 2;
    return threads;
}

/* Rows that lf_norm_fours can take; and with their integer form, which wants whole blocks. */
static bool lf_norm_in_fours(const lf_view *x, const lf_view *weight, const lf_view *out) {
    return x->ne[0] <= 16384 && lf_in_fours(x) && lf_in_fours(out) && (uintptr_t)weight->data % 16 == 0;
}
static unsigned lf_threads_of_fours(int n) {
    unsigned threads = 32;
    while (threads < 1024 && (int)threads * 8 < n) threads *= 2;
    return threads;
}

/* A norm whose result is wanted in integer form too; false where two ops do it. */
static bool lf_norm_and_quantize(const lf_call *call, const lf_add_rms_norm_args *a, const lf_view *integers) {
    int n = a->x->ne[0];
    int64_t rows = lf_all_rows(a->x);
    if (n % 32 || !rows || !lf_norm_in_fours(a->x, a->weight, a->out1) || (a->y && !(lf_in_fours(a->y) && lf_in_fours(a->out0)))) return false;
    auto *kernel = a->y ? lf_norm_fours<true, true> : lf_norm_fours<false, true>;
    lf_floats_at none = {};
    LF_LAUNCH(kernel, dim3((unsigned)rows), dim3(lf_threads_of_fours(n)), 0, lf_device_of(call)->stream, lf_rows_at(a->x),
              a->y ? lf_rows_at(a->y) : none, (const float *)a->weight->data, a->y ? lf_rows_at(a->out0) : none, lf_rows_at(a->out1), n,
              a->eps, (char *)integers->data);
    return true;
}

static void lf_rms_norm(const lf_call *call, const lf_rms_norm_args *a) {
    int64_t rows = lf_all_rows(a->x);
    if (!rows) return;
    lf_floats_at x = lf_rows_at(a->x), out = lf_rows_at(a->out0);
    if (lf_norm_in_fours(a->x, a->weight, a->out0)) {
        LF_LAUNCH((lf_norm_fours<false, false>), dim3((unsigned)rows), dim3(lf_threads_of_fours(a->x->ne[0])), 0, lf_device_of(call)->stream,
                  x, x, (const float *)a->weight->data, out, out, a->x->ne[0], a->eps, (char *)0);
        return;
    }
    LF_LAUNCH(lf_norm_rows<false>, dim3((unsigned)rows), dim3(lf_threads_of_row(a->x->ne[0])), 0, lf_device_of(call)->stream,
              x, x, (const float *)a->weight->data, out, out, a->x->ne[0], a->eps);
}

static void lf_add_rms_norm(const lf_call *call, const lf_add_rms_norm_args *a) {
    int64_t rows = lf_all_rows(a->x);
    if (!rows) return;
    if (lf_norm_in_fours(a->x, a->weight, a->out1) && lf_in_fours(a->y) && lf_in_fours(a->out0)) {
        LF_LAUNCH((lf_norm_fours<true, false>), dim3((unsigned)rows), dim3(lf_threads_of_fours(a->x->ne[0])), 0, lf_device_of(call)->stream,
                  lf_rows_at(a->x), lf_rows_at(a->y), (const float *)a->weight->data, lf_rows_at(a->out0), lf_rows_at(a->out1), a->x->ne[0],
                  a->eps, (char *)0);
        return;
    }
    LF_LAUNCH(lf_norm_rows<true>, dim3((unsigned)rows), dim3(lf_threads_of_row(a->x->ne[0])), 0, lf_device_of(call)->stream,
              lf_rows_at(a->x), lf_rows_at(a->y), (const float *)a->weight->data, lf_rows_at(a->out0), lf_rows_at(a->out1),
              a->x->ne[0], a->eps);
}
