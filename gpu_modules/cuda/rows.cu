/* Kernels that move whole rows: embedding, cache cells. */

/* A thread decodes 32 values of one row. */
LF_KERNEL void lf_embed_rows(int dtype, const char *table, int64_t row_bytes, const int32_t *ids, float *out, int64_t out_step,
                             int n, int rows) {
    lf_begin();
    int slices = (n + 31) / 32, at = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= rows * slices) return;
    int row = at / slices, s = at % slices, count = n - 32 * s < 32 ? n - 32 * s : 32;
    float y[32];
    lf_row_floats(dtype, table + row_bytes * ids[row], s, count, y);
    for (int i = 0; i < count; i++) out[row * out_step + 32 * s + i] = y[i];
}

static void lf_embed(const lf_call *call, const lf_embed_args *a) {
    int n = a->table->ne[0], rows = a->ids->ne[0];
    int64_t threads = (int64_t)rows * lf_ceil(n, 32);
    if (!threads) return;
    LF_LAUNCH(lf_embed_rows, dim3((unsigned)lf_ceil(threads, 64)), dim3(64), 0, lf_device_of(call)->stream, a->table->dtype,
              (const char *)a->table->data, lf_size_of(a->table->dtype, a->table->stride[1]), (const int32_t *)a->ids->data,
              (float *)a->out0->data, a->out0->stride[1], n, rows);
}

LF_KERNEL void lf_take(lf_floats_at x, const int32_t *rows, lf_floats_at out, int n) {
    lf_begin();
    const float *from = lf_row_at(x, rows[blockIdx.x]);
    float *to = lf_row_at(out, blockIdx.x);
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) to[i] = from[i];
}

static void lf_take_rows(const lf_call *call, const lf_take_rows_args *a) {
    if (!a->rows->ne[0]) return;
    LF_LAUNCH(lf_take, dim3((unsigned)a->rows->ne[0]), dim3(lf_threads_of_row(a->x->ne[0])), 0, lf_device_of(call)->stream,
              lf_rows_at(a->x), (const int32_t *)a->rows->data, lf_rows_at(a->out0), a->x->ne[0]);
}

/* Where the heads of cells lie, in bytes. */
typedef struct {
    char *data;
    int32_t dtype, heads, size;
    int64_t cell, head;
} lf_cells;
static lf_cells lf_cells_of(const lf_view *v) {
    lf_cells c = {(char *)v->data, v->dtype, v->ne[1], v->ne[0], lf_size_of(v->dtype, v->stride[2]), lf_size_of(v->dtype, v->stride[1])};
    return c;
}
LF_DEV char *lf_cell_at(const lf_cells &c, int64_t cell, int64_t head) { return c.data + cell * c.cell + head * c.head; }

/* A thread writes 32 values of one head. */
LF_KERNEL void lf_store_cells(lf_floats_at x, lf_cells cache, const int32_t *cells, int rows) {
    lf_begin();
    int slices = (cache.size + 31) / 32, at = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= rows * cache.heads * slices) return;
    int s = at % slices, row = at / slices, count = cache.size - 32 * s < 32 ? cache.size - 32 * s : 32;
    const float *from = lf_row_at(x, row) + 32 * s;
    char *to = lf_cell_at(cache, cells[row / cache.heads], row % cache.heads);
    if (cache.dtype == LF_F16) {
        for (int i = 0; i < count; i++) ((uint16_t *)to)[32 * s + i] = lf_to_half(from[i]);
        return;
    }
    float y[32];
    for (int i = 0; i < count; i++) y[i] = from[i];
    lf_write_floats(cache.dtype, to, s, count, y);
}

static void lf_store(const lf_call *call, const lf_store_args *a) {
    lf_cells cache = lf_cells_of(a->cache);
    int rows = a->cells->ne[0];
    int64_t threads = (int64_t)rows * cache.heads * lf_ceil(cache.size, 32);
    if (!threads) return;
    LF_LAUNCH(lf_store_cells, dim3((unsigned)lf_ceil(threads, 64)), dim3(64), 0, lf_device_of(call)->stream, lf_rows_at(a->x),
              cache, (const int32_t *)a->cells->data, rows);
}

/* Cells are copied in order, since one may be read after it was written; each byte of a cell is on its own. */
LF_KERNEL void lf_move_bytes(lf_cells cache, const int32_t *source, const int32_t *target, int count, int bytes) {
    lf_begin();
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= bytes) return;
    for (int c = 0; c < count; c++)
        lf_cell_at(cache, target[c], blockIdx.y)[i] = lf_cell_at(cache, source[c], blockIdx.y)[i];
}

static void lf_move_cells(const lf_call *call, const lf_move_cells_args *a) {
    lf_cells cache = lf_cells_of(a->cache);
    int bytes = (int)lf_size_of(a->cache->dtype, a->cache->ne[0]), count = a->source->ne[0];
    if (!count) return;
    LF_LAUNCH(lf_move_bytes, dim3((unsigned)lf_ceil(bytes, 128), (unsigned)cache.heads), dim3(128), 0, lf_device_of(call)->stream,
              cache, (const int32_t *)a->source->data, (const int32_t *)a->target->data, count, bytes);
}
