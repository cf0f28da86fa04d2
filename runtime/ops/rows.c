/* Kernels that move whole rows: embedding, cache cells. */
#include "rows_of.h"
#include "quants.h"

/* Turn n values at a block's boundary into floats. */
LF_INLINE void lf_read_row(int dtype, const void *data, float *out, int64_t n) {
    if (dtype == LF_F32) {
        memcpy(out, data, sizeof(float) * (size_t)n);
    } else if (dtype == LF_F16) {
        const uint16_t *p = data;
        int64_t i = 0;
        for (; i + LF_W <= n; i += LF_W) lf_put(out + i, lf_load_f16(p + i));
        for (; i < n; i++) out[i] = lf_half(p[i]);
    } else {
        lf_decode_rows(dtype, data, out, n);
    }
}

/* Turn n floats into a dtype that a cache may have. */
LF_INLINE void lf_write_row(int dtype, const float *x, void *out, int64_t n) {
    if (dtype == LF_F32) {
        memcpy(out, x, sizeof(float) * (size_t)n);
    } else if (dtype == LF_F16) {
        uint16_t *p = out;
        int64_t i = 0;
        for (; i + LF_W <= n; i += LF_W) lf_put_f16(p + i, lf_load(x + i));
        for (; i < n; i++) p[i] = lf_to_half(x[i]);
    } else {
        lf_encode_rows(dtype, x, out, n);
    }
}

static void lf_embed(const lf_call *call, const lf_embed_args *a) {
    int32_t n = a->table->ne[0];
    int64_t begin, end;
    lf_share(call, a->ids->ne[0], &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int32_t id = ((const int32_t *)a->ids->data)[i];
        int64_t bytes = lf_bytes(a->table->dtype, a->table->stride[1]);
        const char *table = a->table->data;
        if (a->table->dtype & LF_LAID_OUT)
            lf_decode_laid_row(a->table->dtype, table + bytes * (id - id % LF_PANEL_ROWS), id % LF_PANEL_ROWS, lf_row(a->out0, i), n);
        else
            lf_read_row(a->table->dtype, table + bytes * id, lf_row(a->out0, i), n);
    }
}

static void lf_take_rows(const lf_call *call, const lf_take_rows_args *a) {
    int64_t begin, end;
    lf_share(call, a->rows->ne[0], &begin, &end);
    for (int64_t i = begin; i < end; i++)
        memcpy(lf_row(a->out0, i), lf_row(a->x, ((const int32_t *)a->rows->data)[i]), sizeof(float) * (size_t)a->x->ne[0]);
}

/* Where head h of a cell lies. */
LF_INLINE void *lf_cell(const lf_view *cache, int64_t cell, int64_t h) {
    return (char *)cache->data + lf_bytes(cache->dtype, cell * cache->stride[2] + h * cache->stride[1]);
}

static void lf_store(const lf_call *call, const lf_store_args *a) {
    int64_t heads = a->x->ne[1], begin, end;
    lf_share(call, heads * a->x->ne[2], &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int32_t cell = ((const int32_t *)a->cells->data)[i / heads];
        lf_write_row(a->cache->dtype, lf_row(a->x, i), lf_cell(a->cache, cell, i % heads), a->x->ne[0]);
    }
}

static void lf_move_cells(const lf_call *call, const lf_move_cells_args *a) {
    /* Heads are shared out, cells kept in order: a cell may be read and written in one call. */
    int64_t begin, end;
    int64_t bytes = lf_bytes(a->cache->dtype, a->cache->ne[0]);
    lf_share(call, a->cache->ne[1], &begin, &end);
    for (int64_t h = begin; h < end; h++)
        for (int64_t i = 0; i < a->source->ne[0]; i++) {
            int32_t from = ((const int32_t *)a->source->data)[i], to = ((const int32_t *)a->target->data)[i];
            memmove(lf_cell(a->cache, to, h), lf_cell(a->cache, from, h), (size_t)bytes);
        }
}
