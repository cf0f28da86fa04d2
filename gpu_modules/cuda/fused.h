/* Neighbouring ops of a stretch that one launch can do: what each computes stays as it is, to the bit.

   Blocks of threads of one launch run in any order: so what a later op writes must not lie where an earlier one reads. A
   program's arena is used again and again, so that is looked at each time. */

/* The bytes from a view's first to behind its last. */
static void lf_span_of(const lf_view *v, const char **begin, const char **end) {
    int64_t last = 0;
    for (int d = 1; d < 4; d++) last += (v->ne[d] - 1) * v->stride[d];
    *begin = *end = (const char *)v->data;
    if (!v->ne[0] || !lf_all_rows(v)) return;
    if (v->dtype == LF_A8)
        *end += lf_all_rows(v) * lf_a8_stride(v->ne[0]);
    else
        *end += lf_size_of(v->dtype, last) + lf_size_of(v->dtype, v->ne[0]);
}
static bool lf_overlap_of(const lf_view *a, const lf_view *b) {
    const char *a0, *a1, *b0, *b1;
    if (!a || !b) return false;
    lf_span_of(a, &a0, &a1), lf_span_of(b, &b0, &b1);
    return a0 < b1 && b0 < a1;
}

/* Whether two views are the same values: attention's heads and their merged rows, say. */
static bool lf_same_values(const lf_view *a, const lf_view *b) {
    auto dense = [](const lf_view *v) {
        int64_t step = 1;
        for (int d = 0; d < 4; d++) {
            if (v->ne[d] > 1 && v->stride[d] != step) return false;
            step *= v->ne[d];
        }
        return true;
    };
    return a->data == b->data && (a == b || (dense(a) && dense(b) && lf_all_rows(a) * a->ne[0] == lf_all_rows(b) * b->ne[0]));
}

/* Products of the same integer activations with weights of one format: as many as follow on each other. */
static int lf_join_products(const lf_call *call, const lf_stretch_of_ops *what, int i) {
    const int32_t *first = what->pool + what->ops[i].args;
    const lf_view *x = &what->views[first[1]], *w = &what->views[first[2]], *out = &what->views[first[0]];
    lf_few p = lf_few_for(w, x, lf_a8_stride(w->ne[0]), out);
    int count = 1;
    if (!p.columns || p.columns > LF_FEW_MOST || !p.parts[0].n) return 0;
    for (; i + count < what->n_ops && what->ops[i + count].op == LF_OP_MATMUL_QUANTIZED; count++) {
        const int32_t *args = what->pool + what->ops[i + count].args;
        const lf_view *more = &what->views[args[2]], *to = &what->views[args[0]];
        if (args[1] != first[1] || !lf_joins(more, to, &p, w->dtype) || lf_overlap_of(to, x)) break;
        bool apart = true;
        for (int j = 0; j < count; j++) apart &= !lf_overlap_of(to, &what->views[what->pool[what->ops[i + j].args]]);
        if (!apart) break;
        lf_part part = {(const char *)more->data, (float *)to->data, to->stride[1], more->ne[1], 0};
        p.parts[p.n_parts++] = part;
    }
    if (count > 1) lf_few_product(lf_device_of(call), w->dtype, &p, 0);
    return count > 1 ? count : 0;
}

/* A norm or a gate, and right behind it the integer form of its result. */
static int lf_join_quantization(const lf_call *call, const lf_stretch_of_ops *what, int i) {
    if (i + 1 >= what->n_ops || what->ops[i + 1].op != LF_OP_QUANTIZE_ROWS) return 0;
    const int32_t *args = what->pool + what->ops[i].args, *next = what->pool + what->ops[i + 1].args;
    const lf_view *v = what->views, *integers = &v[next[0]], *source = &v[next[1]];
    lf_add_rms_norm_args norm = {};
    /* One row is one block of threads, which reads all before it writes the integers. */
    bool norms = what->ops[i].op == LF_OP_RMS_NORM || what->ops[i].op == LF_OP_ADD_RMS_NORM;
    for (int k = what->ops[i].n_out; k < what->ops[i].n_out + 2; k++)
        if (!(norms && lf_all_rows(source) == 1) && lf_overlap_of(integers, &v[args[k]])) return 0;
    switch (what->ops[i].op) {
    case LF_OP_RMS_NORM:
        norm.out1 = &v[args[0]], norm.x = &v[args[1]], norm.weight = &v[args[2]], norm.eps = lf_float_of(args[3]);
        return lf_same_values(norm.out1, source) && norm.out1->ne[0] == source->ne[0] && lf_norm_and_quantize(call, &norm, integers) ? 2 : 0;
    case LF_OP_ADD_RMS_NORM:
        norm.out0 = &v[args[0]], norm.out1 = &v[args[1]], norm.x = &v[args[2]], norm.y = &v[args[3]], norm.weight = &v[args[4]];
        norm.eps = lf_float_of(args[5]);
        return lf_same_values(norm.out1, source) && norm.out1->ne[0] == source->ne[0] && lf_norm_and_quantize(call, &norm, integers) ? 2 : 0;
    case LF_OP_SWIGLU:
    case LF_OP_GEGLU: {
        const lf_view *out = &v[args[0]], *x = &v[args[1]], *y = &v[args[2]];
        if (!lf_same_values(out, source) || out->ne[0] != source->ne[0]) return 0;
        bool silu = what->ops[i].op == LF_OP_SWIGLU;
        return (silu ? lf_gate_and_quantize<lf_do_swiglu>(call, x, y, out, integers)
                     : lf_gate_and_quantize<lf_do_geglu>(call, x, y, out, integers)) ? 2 : 0;
    }
    }
    return 0;
}

/* Attention, and right behind it the integer form of its rows. */
static int lf_join_attention(const lf_call *call, const lf_stretch_of_ops *what, int i) {
    if (i + 1 >= what->n_ops || what->ops[i + 1].op != LF_OP_QUANTIZE_ROWS) return 0;
    const int32_t *p = what->pool + what->ops[i].args, *next = what->pool + what->ops[i + 1].args;
    const lf_view *v = what->views, *source = &v[next[1]];
    lf_attention_args a = {&v[p[0]], &v[p[1]], &v[p[2]], &v[p[3]], &v[p[4]], &v[p[5]], &v[p[6]], &v[p[7]], &v[p[8]], lf_view_of(call, p[9]),
                           lf_float_of(p[10]), p[11], lf_float_of(p[12]), p[13]};
    if (!lf_same_values(a.out0, source) || source->ne[0] != a.out0->ne[0] * a.out0->ne[1]) return 0;
    return lf_attend_and_quantize(call, &a, (char *)v[next[0]].data) ? 2 : 1;
}

/* Queries and keys turned, then keys and values stored. */
static int lf_join_ropes(const lf_call *call, const lf_stretch_of_ops *what, int i) {
    const lf_op *ops = what->ops + i;
    if (i + 4 > what->n_ops || ops[1].op != LF_OP_ROPE || ops[2].op != LF_OP_STORE || ops[3].op != LF_OP_STORE) return 0;
    const int32_t *q = what->pool + ops[0].args, *k = what->pool + ops[1].args, *ks = what->pool + ops[2].args, *vs = what->pool + ops[3].args;
    const lf_view *v = what->views;
    lf_rope_args turn_q = {&v[q[0]], &v[q[1]], &v[q[2]], q[3]}, turn_k = {&v[k[0]], &v[k[1]], &v[k[2]], k[3]};
    lf_store_args store_k = {&v[ks[1]], &v[ks[2]], &v[ks[3]]}, store_v = {&v[vs[1]], &v[vs[2]], &v[vs[3]]};
    if (lf_overlap_of(turn_k.out0, turn_q.x)) return 0;
    return lf_turn_all(call, &turn_q, &turn_k, &store_k, &store_v) ? 4 : 0;
}

/* Launch some ops from the i-th on together; returns how many, 0 where nothing joins. */
static int lf_launch_joined(const lf_call *call, const lf_stretch_of_ops *what, int i) {
    switch (what->ops[i].op) {
    case LF_OP_MATMUL_QUANTIZED: return lf_join_products(call, what, i);
    case LF_OP_ATTENTION: return lf_join_attention(call, what, i);
    case LF_OP_ROPE: return lf_join_ropes(call, what, i);
    }
    return lf_join_quantization(call, what, i);
}
