/* Walking the rows of views, and sharing work between threads. */
#ifndef LF_ROWS_OF_H
#define LF_ROWS_OF_H
#include "call.h"
#include "simd.h"

/* How many rows a view has: all dimensions but the innermost. */
LF_INLINE int64_t lf_rows(const lf_view *v) { return (int64_t)v->ne[1] * v->ne[2] * v->ne[3]; }

/* Row r of a view of floats, whatever its strides. */
LF_INLINE float *lf_row(const lf_view *v, int64_t r) {
    int64_t a = r % v->ne[1], b = r / v->ne[1] % v->ne[2], c = r / v->ne[1] / v->ne[2];
    return (float *)v->data + a * v->stride[1] + b * v->stride[2] + c * v->stride[3];
}

/* A stretch of a row that one thread treats. */
typedef struct {
    int64_t row;
    int32_t first, count;
} lf_piece;

/* The i-th piece of v for this thread: whole rows when there are enough of them, else slices of 64 values. */
LF_INLINE int lf_piece_of(const lf_call *c, const lf_view *v, int64_t i, lf_piece *piece) {
    int64_t rows = lf_rows(v);
    int32_t n = v->ne[0], width = n;
    if (rows < 4 * c->threads) width = (n / c->threads + 63) / 64 * 64 + 64 * (n < c->threads);
    int64_t slices = n ? (n + width - 1) / width : 0, at = i * c->threads + c->thread;
    if (at >= rows * slices) return 0;
    piece->row = at / slices;
    piece->first = (int32_t)(at % slices) * width;
    piece->count = n - piece->first < width ? n - piece->first : width;
    return 1;
}

/* This thread's share of n equal units: begin .. end. */
LF_INLINE void lf_share(const lf_call *c, int64_t n, int64_t *begin, int64_t *end) {
    *begin = n * c->thread / c->threads;
    *end = n * (c->thread + 1) / c->threads;
}
#endif
