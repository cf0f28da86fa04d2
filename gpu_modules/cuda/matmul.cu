/* Products with weights: how each is shared out over the kernels of few and of many columns. */

static void lf_quantize_rows(const lf_call *call, const lf_quantize_rows_args *a) {
    int64_t rows = lf_all_rows(a->x);
    int k = a->x->ne[0];
    if (!rows || !k) return;
    LF_LAUNCH(lf_quantize, dim3((unsigned)lf_ceil(rows * ((k + 31) / 32) * 8, 256)), dim3(256), 0, lf_device_of(call)->stream,
              lf_rows_at(a->x), (char *)a->out0->data, lf_a8_stride(k), k, rows);
}

/* Weights, activations and result of a product; x_bytes lie between two rows of x. */
static lf_few lf_few_for(const lf_view *w, const lf_view *x, int64_t x_bytes, const lf_view *out) {
    lf_few p = {};
    lf_part part = {(const char *)w->data, (float *)out->data, out->stride[1], w->ne[1], 0};
    p.parts[0] = part, p.n_parts = 1, p.x = (const char *)x->data;
    p.row_bytes = lf_size_of(w->dtype, w->stride[1]), p.expert_bytes = lf_size_of(w->dtype, w->stride[2]);
    p.x_stride = x_bytes, p.k = w->ne[0], p.columns = out->ne[1], p.pairs_a_row = 1;
    return p;
}

static void lf_few_product(lf_device *d, int dtype, lf_few *p, int pairs) {
    switch (dtype) {
#define X(name, NAME, block, group, biased) case LF_##NAME: lf_few_of<lf_##name>(d, p, pairs); return;
        LF_QUANTS(X)
#undef X
    case LF_F32: lf_few_floats_of<lf_f32>(d, p, pairs); return;
    case LF_F16: lf_few_floats_of<lf_f16>(d, p, pairs); return;
    case LF_BF16: lf_few_floats_of<lf_bf16>(d, p, pairs); return;
    }
    lf_refuse(d, "a product with weights of a format that is not known here");
}

/* Whether a product of few columns can be launched together with one of the same activations. */
static bool lf_joins(const lf_view *w, const lf_view *out, const lf_few *p, int dtype) {
    return w->dtype == dtype && lf_size_of(w->dtype, w->stride[1]) == p->row_bytes && p->n_parts < LF_PARTS && out->ne[1] == p->columns &&
           p->columns <= LF_FEW_MOST && w->ne[1] > 0;
}

static void lf_matmul_quantized(const lf_call *call, const lf_matmul_quantized_args *a) {
    lf_device *d = lf_device_of(call);
    lf_few p = lf_few_for(a->w, a->x, lf_a8_stride(a->w->ne[0]), a->out0);
    if (!p.columns || !p.parts[0].n) return;
    if (p.columns < LF_MANY_LEAST || !lf_has_matrices(d)) return lf_few_product(d, a->w->dtype, &p, 0);
    if (lf_many_wide(call, p, a->w->dtype)) return;
    lf_many many = {p, 0, 0, 0};
    int columns = lf_tile_columns(d, p.parts[0].n, p.columns);
    lf_many_product(d, a->w->dtype, &many, columns, lf_ceil(p.columns, columns));
}

static void lf_matmul(const lf_call *call, const lf_matmul_args *a) {
    lf_few p = lf_few_for(a->w, a->x, a->x->stride[1] * 4, a->out0);
    if (!p.columns || !p.parts[0].n) return;
    if (p.columns > LF_FEW_MOST && a->w->dtype == LF_F16 && lf_many_floats_of<false>(call, p, a->x)) return;
    if (p.columns > LF_FEW_MOST && a->w->dtype == LF_BF16 && lf_many_floats_of<true>(call, p, a->x)) return;
    lf_few_product(lf_device_of(call), a->w->dtype, &p, 0);
}
