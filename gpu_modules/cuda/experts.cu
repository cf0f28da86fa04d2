/* Kernels of mixtures of experts. */

/* A warp a row: the best expert again and again, ties to the lower id. */
LF_KERNEL void lf_route_rows(lf_floats_at logits, int32_t *ids, lf_floats_at weights, int experts, int used, int normalize, int rows) {
    lf_begin();
    int row = (int)(blockIdx.x * blockDim.x + threadIdx.x) / LF_WARP, lane = lf_lane();
    if (row >= rows) return;
    const float *x = lf_row_at(logits, row);
    int32_t *chosen = ids + (int64_t)row * used;
    float *w = lf_row_at(weights, row), most = -INFINITY, all = 0.0f, sum = 0.0f;
    for (int e = lane; e < experts; e += LF_WARP) most = fmaxf(most, x[e]);
    most = lf_max_lanes(most);
    for (int e = lane; e < experts; e += LF_WARP) all += expf(x[e] - most);
    all = lf_sum_lanes(all);
    float last = INFINITY; /* the one before: only what comes after it is looked at */
    int last_id = -1;
    for (int u = 0; u < used; u++) {
        float best = -INFINITY;
        int id = experts;
        for (int e = lane; e < experts; e += LF_WARP) {
            bool after = x[e] < last || (x[e] == last && e > last_id);
            if (after && (id == experts || x[e] > best)) best = x[e], id = e;
        }
        for (int m = LF_WARP / 2; m; m /= 2) {
            float other = __shfl_xor_sync(LF_ALL, best, m, LF_WARP);
            int other_id = __shfl_xor_sync(LF_ALL, id, m, LF_WARP);
            if (other_id < experts && (id == experts || other > best || (other == best && other_id < id))) best = other, id = other_id;
        }
        if (id == experts) id = 0; /* no numbers */
        last = best, last_id = id;
        float p = expf(x[id] - most) / all;
        sum += p;
        if (lane == 0) chosen[u] = id, w[u] = p;
    }
    __syncwarp();
    if (normalize && lane == 0)
        for (int u = 0; u < used; u++) w[u] /= sum;
}

static void lf_route(const lf_call *call, const lf_route_args *a) {
    int rows = (int)lf_all_rows(a->logits);
    if (!rows) return;
    LF_LAUNCH(lf_route_rows, dim3((unsigned)lf_ceil(rows, 4)), dim3(4 * LF_WARP), 0, lf_device_of(call)->stream, lf_rows_at(a->logits),
              (int32_t *)a->out0->data, lf_rows_at(a->out1), a->logits->ne[0], a->used, a->normalize, rows);
}

LF_KERNEL void lf_sum_experts(lf_floats_at x, lf_floats_at weights, lf_floats_at out, int m, int n, int rows) {
    lf_begin();
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, row = at / n;
    if (row >= rows) return;
    int i = (int)(at % n);
    const float *w = lf_row_at(weights, row);
    float sum = 0.0f;
    for (int e = 0; e < m; e++) sum = fmaf(lf_row_at(x, row * m + e)[i], w[e], sum);
    lf_row_at(out, row)[i] = sum;
}

static void lf_weighted_sum(const lf_call *call, const lf_weighted_sum_args *a) {
    int rows = (int)lf_all_rows(a->out0), n = a->out0->ne[0];
    if (!rows || !n) return;
    LF_LAUNCH(lf_sum_experts, dim3((unsigned)lf_ceil((int64_t)rows * n, 256)), dim3(256), 0, lf_device_of(call)->stream,
              lf_rows_at(a->x), lf_rows_at(a->weights), lf_rows_at(a->out0), a->x->ne[1], n, rows);
}

enum { LF_SORT_THREADS = 512 };

/* Sort pairs by the expert they chose, and cut each expert's run into tiles: one block of threads. Within a run the order
   may differ from call to call; no result depends on it. */
LF_KERNEL void __launch_bounds__(LF_SORT_THREADS)
lf_sort_pairs(const int32_t *ids, int pairs, int experts, int columns, int32_t *sorted, int4 *tiles, int32_t *n_tiles) {
    lf_begin();
    LF_SHARED(room);
    __shared__ int before[2][LF_SORT_THREADS]; /* pairs and tiles of the experts of this and all lower threads */
    int *counts = (int *)room, t = (int)threadIdx.x;
    for (int e = t; e < experts; e += LF_SORT_THREADS) counts[e] = 0;
    __syncthreads();
    for (int i = t; i < pairs; i += LF_SORT_THREADS) atomicAdd(&counts[ids[i]], 1);
    __syncthreads();
    /* A thread has some experts in a row: where theirs begin is the sum of what lies below. */
    int each = (experts + LF_SORT_THREADS - 1) / LF_SORT_THREADS, first = t * each, end = first + each < experts ? first + each : experts;
    int at = 0, tile = 0;
    for (int e = first; e < end; e++) at += counts[e], tile += (counts[e] + columns - 1) / columns;
    before[0][t] = at, before[1][t] = tile;
    __syncthreads();
    for (int step = 1; step < LF_SORT_THREADS; step *= 2) {
        int lower[2] = {0, 0};
        if (t >= step) lower[0] = before[0][t - step], lower[1] = before[1][t - step];
        __syncthreads();
        before[0][t] += lower[0], before[1][t] += lower[1];
        __syncthreads();
    }
    if (t == LF_SORT_THREADS - 1) *n_tiles = before[1][t];
    at = before[0][t] - at, tile = before[1][t] - tile;
    for (int e = first; e < end; e++) {
        int count = counts[e];
        for (int i = 0; i < count; i += columns) tiles[tile++] = make_int4(e, at + i, count - i < columns ? count - i : columns, 0);
        counts[e] = at; /* from now on where the next pair goes */
        at += count;
    }
    __syncthreads();
    for (int i = t; i < pairs; i += LF_SORT_THREADS) sorted[atomicAdd(&counts[ids[i]], 1)] = i;
}

/* Many pairs with weights in a block format, as tiles; false where the kernels of few columns do it. */
static bool lf_grouped_product(const lf_call *call, int dtype, const lf_few *p, int pairs, int experts) {
    lf_device *d = lf_device_of(call);
    if (!lf_has_matrices(d) || experts > 4096) return false;
    int columns = pairs / experts >= 96 ? 128 : 32, most = pairs / columns + experts;
    int64_t list = ((int64_t)pairs * 4 + 15) / 16 * 16;
    char *scratch = lf_scratch(call, list + (int64_t)most * 16 + 16);
    lf_many many = {*p, (int32_t *)scratch, (int4 *)(scratch + list), (int32_t *)(scratch + list + (int64_t)most * 16)};
    LF_LAUNCH(lf_sort_pairs, dim3(1), dim3(LF_SORT_THREADS), (size_t)experts * 4, d->stream, p->ids, pairs, experts, columns, (int32_t *)many.pairs,
              (int4 *)many.tiles, (int32_t *)many.n_tiles);
    lf_many_product(d, dtype, &many, columns, most);
    return true;
}

/* A product for each pair of a row and an expert it chose. */
static void lf_pair_products(const lf_call *call, const lf_view *w, const lf_view *x, int64_t x_bytes, const lf_view *ids, const lf_view *out) {
    lf_few p = lf_few_for(w, x, x_bytes, out);
    int m = ids->ne[0], pairs = m * ids->ne[1];
    p.ids = (const int32_t *)ids->data;
    p.pairs_a_row = x->ne[1] == 1 ? m : 1;
    if (!pairs || !p.parts[0].n) return;
    if (lf_is_quant(w->dtype) && ids->ne[1] > LF_FEW_MOST && lf_grouped_product(call, w->dtype, &p, pairs, w->ne[2])) return;
    lf_few_product(lf_device_of(call), w->dtype, &p, pairs);
}

static void lf_matmul_ids(const lf_call *call, const lf_matmul_ids_args *a) {
    lf_pair_products(call, a->w, a->x, a->x->stride[a->x->ne[1] == 1 ? 2 : 1] * 4, a->ids, a->out0);
}

static void lf_matmul_ids_quantized(const lf_call *call, const lf_matmul_ids_quantized_args *a) {
    lf_pair_products(call, a->w, a->x, lf_a8_stride(a->w->ne[0]), a->ids, a->out0);
}
