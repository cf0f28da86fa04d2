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

/* How many of the columns that are left go together next, at most so many: all passes get about as many. */
LF_INLINE int lf_some_columns(int32_t left, int32_t most) {
    int32_t passes = (left + most - 1) / most;
    return (left + passes - 1) / passes;
}

/* Rows that a thread takes at a time of n: `many`, or where that would not make four turns for each thread, `few`. */
LF_INLINE int32_t lf_rows_a_turn(const lf_call *c, int64_t n, int32_t many, int32_t few) {
    return n < (int64_t)4 * many * c->threads ? few : many;
}

/* What a thread takes at a time of a product with many columns: some rows, and all of the columns or a part of them. */
typedef struct {
    lf_units units;
    int32_t rows, columns, parts, width; /* of a turn, of the product; parts of so many columns */
    int64_t row;
    int32_t first, end; /* columns */
} lf_turns;

/* Turns of so many rows of n. Where these are few for the threads, each is cut into parts of at least 64 columns, whose number
   is a multiple of `multiple`; the last part has what is left too. */
LF_INLINE lf_turns lf_turns_of(const lf_call *c, int64_t n, int32_t rows, int32_t columns, int32_t multiple) {
    int64_t count = (n + rows - 1) / rows, wanted = count ? (4 * c->threads + count - 1) / count : 1;
    int64_t most = columns / 64, parts = wanted < most ? wanted : most;
    lf_turns turns = {.rows = rows, .columns = columns, .parts = 1, .width = columns};
    if (parts > 1) {
        turns.width = (int32_t)((columns / parts + multiple - 1) / multiple) * multiple;
        turns.parts = columns / turns.width;
    }
    turns.units.n = count * turns.parts;
    return turns;
}

/* Take the next of them; returns whether there was one. */
LF_INLINE int lf_take_turn(const lf_call *c, lf_turns *turns) {
    int64_t unit = lf_take_unit(c, &turns->units), part = unit % turns->parts;
    turns->row = unit / turns->parts * turns->rows;
    turns->first = (int32_t)part * turns->width;
    turns->end = part + 1 < turns->parts ? turns->first + turns->width : turns->columns;
    return unit < turns->units.n;
}

/* This thread's share of n equal units: begin .. end. */
LF_INLINE void lf_share(const lf_call *c, int64_t n, int64_t *begin, int64_t *end) {
    *begin = n * c->thread / c->threads;
    *end = n * (c->thread + 1) / c->threads;
}
#endif
