/* Kernels of mixtures of experts. */

/* Operands: ids, weights, logits. A thread has one row. */
LF_KERNEL(lf_route) {
    uint row = group.x * threads + thread_index;
    if (row >= (uint)a.of[2].ne[1]) return;
    int n = a.of[2].ne[0], used = a.attr[0];
    device float *logits = lf_floats(b2, a.of[2], row), *weights = lf_floats(b1, a.of[1], row);
    device int32_t *ids = (device int32_t *)(b0 + lf_row_at(a.of[0], row));
    float top = logits[0], all = 0, chosen = 0;
    for (int i = 1; i < n; i++) top = max(top, logits[i]);
    for (int i = 0; i < n; i++) all += precise::exp(logits[i] - top);
    for (int u = 0; u < used; u++) { /* the best of those that come after the last one: lower, or as high with a higher id */
        int best = -1;
        for (int i = 0; i < n; i++) {
            bool after = u == 0 || logits[i] < logits[ids[u - 1]] || (logits[i] == logits[ids[u - 1]] && i > ids[u - 1]);
            if (after && (best < 0 || logits[i] > logits[best])) best = i;
        }
        ids[u] = best < 0 ? 0 : best;
        weights[u] = precise::exp(logits[ids[u]] - top) / all;
        chosen += weights[u];
    }
    for (int u = 0; a.attr[1] && u < used; u++) weights[u] /= chosen;
}

/* Operands: out, x, w, ids. A simdgroup has a row of one expert's weights and one pair of row and expert. */
template <bool integers> LF_KERNEL(lf_of_expert) {
    constant lf_shape &w = a.of[2];
    int row = (int)(group.x * LF_FEW_SIMDS + thread_index / LF_SIMD), m = a.of[3].ne[0], t = (int)group.y / m, u = (int)group.y % m;
    if (row >= w.ne[1]) return;
    uint lane = thread_index % LF_SIMD;
    int expert = ((device int32_t *)(b3 + t * a.of[3].step[1]))[u];
    device char *x = b1 + t * a.of[1].step[2] + (a.of[1].ne[1] > 1 ? u : 0) * a.of[1].step[1];
    device char *weights = b2 + (int64_t)expert * w.step[2] + row * w.step[1];
    float sum[1] = {0};
    if (integers) lf_few_quantized(w.dtype, weights, w.ne[0], x, 0, 1, lane, sum);
    else lf_few_floats(w.dtype, weights, w.ne[0], x, 0, 1, lane, sum);
    float all = simd_sum(sum[0]);
    if (lane == 0) ((device float *)(b0 + u * a.of[0].step[1] + t * a.of[0].step[2]))[row] = all;
}
LF_MADE("lf_matmul_ids", lf_of_expert<false>)
LF_MADE("lf_matmul_ids_quantized", lf_of_expert<true>)

/* Operands: out, x, weights. */
LF_KERNEL(lf_weighted_sum) {
    uint at = group.x * threads + thread_index, n = (uint)a.of[0].ne[0];
    if (at >= n * (uint)a.of[0].ne[1]) return;
    uint t = at / n, i = at % n;
    float sum = 0;
    for (int u = 0; u < a.of[1].ne[1]; u++)
        sum = fma(((device float *)(b1 + u * a.of[1].step[1] + t * a.of[1].step[2]))[i], lf_floats(b2, a.of[2], t)[u], sum);
    lf_floats(b0, a.of[0], t)[i] = sum;
}
