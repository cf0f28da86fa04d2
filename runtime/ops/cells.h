/* Pages of the cache as floats: values row after row, keys turned so that cells lie side by side; straight from the formats
   that a cache mostly has. */
#ifndef LF_CELLS_H
#define LF_CELLS_H
#include "lanes.h"
#include "rows_of.h"
#include "sums.h"

#define LF_PAGE 64
#define LF_DIRECT_ROWS 8 /* their sums fit the registers */

/* One head of a page: where its first cell lies, and how many bytes further the next one; what is asked for meanwhile lies
   `ahead` bytes further, the same head of the page to come. */
typedef struct {
    const char *first;
    int64_t stride, ahead;
    int32_t dtype, n, bytes; /* values and bytes a cell */
} lf_page_of_head;

static lf_page_of_head lf_page_at(const lf_view *cache, int64_t cell, int64_t next, int64_t head) {
    int64_t stride = lf_bytes(cache->dtype, cache->stride[2]);
    return (lf_page_of_head){lf_cell(cache, cell, head), stride, (next - cell) * stride, cache->dtype, cache->ne[0],
                             (int32_t)lf_bytes(cache->dtype, cache->ne[0])};
}

/* Ask for the line at byte `at` of `count` cells from cell c on, into the second cache: the first is full of floats. Requests
   stand between the loads, as a burst would hold them up. */
LF_INLINE void lf_ask_cells(const lf_page_of_head *page, int32_t c, int32_t count, int64_t at) {
    const char *p = page->first + page->ahead + c * page->stride + at;
    for (int32_t i = 0; page->ahead && i < count; i++, p += page->stride) __builtin_prefetch(p, 0, 2);
}

#if LF_STEP == 4

/* The scale of a block in all lanes. */
LF_INLINE lf_vf lf_set_half(uint16_t h) {
#if LF_W == 16
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)h));
#else
    return _mm256_cvtph_ps(_mm_set1_epi16((short)h));
#endif
}

/* 16 signed bytes times a scale. */
LF_INLINE void lf_put_bytes(float *out, __m128i q, lf_vf scale) {
#if LF_W == 16
    lf_put(out, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)) * scale);
#else
    lf_put(out, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)) * scale);
    lf_put(out + 8, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q))) * scale);
#endif
}

LF_INLINE void lf_read_q8_0(const lf_q8_0 *b, float *out, int32_t n) {
    for (int32_t i = 0; i < n; i += 32, b++) {
        lf_vf scale = lf_set_half(b->d);
        lf_put_bytes(out + i, _mm_loadu_si128((const __m128i *)b->qs), scale);
        lf_put_bytes(out + i + 16, _mm_loadu_si128((const __m128i *)b->qs + 1), scale);
    }
}

LF_INLINE void lf_read_q4_0(const lf_q4_0 *b, float *out, int32_t n) {
    __m128i low = _mm_set1_epi8(15), bias = _mm_set1_epi8(8);
    for (int32_t i = 0; i < n; i += 32, b++) {
        lf_vf scale = lf_set_half(b->d);
        __m128i q = _mm_loadu_si128((const __m128i *)b->qs);
        lf_put_bytes(out + i, _mm_sub_epi8(_mm_and_si128(q, low), bias), scale);
        lf_put_bytes(out + i + 16, _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low), bias), scale);
    }
}

/* Two halves in each cell's dword, as floats. */
LF_INLINE void lf_two_halves(lf_iv v, float *first, float *second) {
#if LF_IW == 16
    const __m512i apart = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22, 20,
                                           18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i words = _mm512_permutexvar_epi16(apart, v);
    lf_put(first, _mm512_cvtph_ps(_mm512_castsi512_si256(words)));
    lf_put(second, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(words, 1)));
#else
    lf_put(first, lf_halves_of(v, 0));
    lf_put(second, lf_halves_of(v, 16));
#endif
}

/* Keys of LF_W cells from cell c on, turned, as far as whole 16 bytes of each go; returns how many values that are. */
LF_INLINE int32_t lf_turn_floats(const lf_page_of_head *page, int32_t c, int halves, float *keys) {
    const char *p = page->first + c * page->stride;
    int32_t some = halves ? 8 : 4, i = 0;
    for (keys += c; i + some <= page->n; i += some, p += 16) {
        lf_iv v[4];
        lf_sixteen(p, page->stride, v);
        lf_ask_cells(page, c + i / some % 4 * (LF_W / 4), LF_W / 4, i / some / 4 * 64);
        for (int j = 0; j < 4; j++)
            if (halves)
                lf_two_halves(v[j], keys + (i + 2 * j) * LF_PAGE, keys + (i + 2 * j + 1) * LF_PAGE);
            else
                lf_i_put(keys + (i + j) * LF_PAGE, v[j]);
    }
    return i;
}

LF_INLINE void lf_turn_q8_0(const char *p, int64_t stride, lf_vf scale, float *keys) {
    for (int half = 0; half < 2; half++) {
        lf_iv v[4];
        lf_sixteen(p + offsetof(lf_q8_0, qs) + 16 * half, stride, v);
        for (int i = 0; i < 16; i++)
            lf_put(keys + (16 * half + i) * LF_PAGE, lf_from_int(lf_signed_byte(v[i / 4], i % 4)) * scale);
    }
}

LF_INLINE void lf_turn_q4_0(const char *p, int64_t stride, lf_vf scale, float *keys) {
    lf_iv v[4], bias = lf_i_set(-8);
    lf_sixteen(p + offsetof(lf_q4_0, qs), stride, v);
    for (int i = 0; i < 16; i++) {
        lf_iv low = lf_i_and(lf_i_right(v[i / 4], 8 * (i % 4)), lf_i_set(15));
        lf_iv high = lf_i_and(lf_i_right(v[i / 4], 8 * (i % 4) + 4), lf_i_set(15));
        lf_put(keys + i * LF_PAGE, lf_from_int(lf_i_add(low, bias)) * scale);
        lf_put(keys + (16 + i) * LF_PAGE, lf_from_int(lf_i_add(high, bias)) * scale);
    }
}

/* Both formats of 32 values with a scale in front: all scales of some blocks first, so that they have left for memory. */
LF_INLINE int32_t lf_turn_blocks(const lf_page_of_head *page, int64_t size, int wide, float *keys) {
    for (int32_t b = 0; b < page->n / 32; b += LF_BATCH) {
        uint16_t scales[LF_PAGE / LF_W][LF_BATCH][LF_IW];
        int32_t blocks = page->n / 32 - b < LF_BATCH ? page->n / 32 - b : LF_BATCH;
        const char *first = page->first + b * size;
        for (int c = 0; c < LF_PAGE / LF_W; c++) {
            lf_source from = {.at = first + c * LF_W * page->stride, .stride = page->stride, .size = (int)size};
            lf_collect16(&from, 0, blocks, scales[c]);
        }
        for (int c = 0; c < LF_PAGE / LF_W; c++)
            for (int32_t i = 0; i < blocks; i++) {
                const char *p = first + c * LF_W * page->stride + i * size;
                float *to = keys + (b + i) * 32 * LF_PAGE + c * LF_W;
                for (int32_t at = 0; at < page->bytes; at += 64)
                    lf_ask_cells(page, c * LF_W + i * (LF_W / blocks), LF_W / blocks, at);
                if (wide)
                    lf_turn_q8_0(p, page->stride, lf_halves(scales[c][i]), to);
                else
                    lf_turn_q4_0(p, page->stride, lf_halves(scales[c][i]), to);
            }
    }
    return page->n / 32 * 32;
}
#endif

/* The first `cells` cells' values, [cells][n]. */
static void lf_read_cells(const lf_page_of_head *page, int32_t cells, float *out) {
    const char *p = page->first;
    for (int32_t c = 0; c < cells; c++, p += page->stride, out += page->n) {
        for (int32_t at = 0; at < page->bytes; at += 64) lf_ask_cells(page, c, 1, at);
        switch (page->dtype) {
#if LF_STEP == 4
        case LF_Q8_0: lf_read_q8_0((const lf_q8_0 *)p, out, page->n); break;
        case LF_Q4_0: lf_read_q4_0((const lf_q4_0 *)p, out, page->n); break;
#endif
        default: lf_read_row(page->dtype, p, out, page->n);
        }
    }
}

/* LF_W values at byte p of a cell's block or row; `at` is the first one's place among all. */
LF_INLINE lf_vf lf_load_cell(const char *cell, int32_t at, int dtype) {
#if LF_STEP == 4
    if (dtype == LF_Q8_0) {
        const lf_q8_0 *b = (const lf_q8_0 *)cell + at / 32;
#if LF_W == 16
        __m512i q = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(b->qs + at % 32)));
#else
        __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(b->qs + at % 32)));
#endif
        return lf_from_int(q) * lf_set_half(b->d);
    }
#endif
    return dtype == LF_F16 ? lf_load_f16((const uint16_t *)cell + at) : lf_load((const float *)cell + at);
}

/* lf_sum_tile of sums.h with m where it lies: the first n cells of a page, their values from the at-th on. */
LF_INLINE void lf_sum_cells_tile(const float *x, const lf_page_of_head *page, int32_t at, int32_t n, float *out,
                                 int64_t out_stride, int rows, int vectors, int dtype) {
    lf_vf acc[LF_DIRECT_ROWS][4];
    const char *cell = page->first;
    int32_t ask = at / LF_W * page->bytes / (page->n / LF_W) / 64 * 64; /* the lines that these values lie in, about */
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) acc[r][v] = lf_load(out + r * out_stride + at + v * LF_W);
    for (int32_t c = 0; c < n; c++, cell += page->stride) {
        for (int32_t line = 0; line < vectors * LF_W * (dtype == LF_F32 ? 4 : dtype == LF_F16 ? 2 : 1); line += 64)
            lf_ask_cells(page, c, 1, ask + line);
        lf_vf b[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) b[v] = lf_load_cell(cell, at + v * LF_W, dtype);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            lf_vf one = lf_set(x[r * LF_PAGE + c]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) acc[r][v] = lf_fma(one, b[v], acc[r][v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) lf_put(out + r * out_stride + at + v * LF_W, acc[r][v]);
}

/* For few rows values need not be brought to another place first: each is used by all rows at once. */
static int lf_reads_directly(const lf_page_of_head *page, int32_t rows) {
    if (rows > LF_DIRECT_ROWS || page->n % LF_W) return 0;
    return page->dtype == LF_F32 || page->dtype == LF_F16 || (LF_STEP == 4 && page->dtype == LF_Q8_0);
}

#define LF_CELLS_CASE(type, count, wide)                                                                      \
    if (rows == count && page->dtype == type) {                                                               \
        for (; at + (wide) * LF_W <= page->n; at += (wide) * LF_W)                                            \
            lf_sum_cells_tile(x, page, at, n, out, out_stride, count, wide, type);                            \
        for (; at < page->n; at += LF_W) lf_sum_cells_tile(x, page, at, n, out, out_stride, count, 1, type);  \
    }
#define LF_CELLS_CASES(type)                                                                                  \
    LF_CELLS_CASE(type, 1, LF_WIDE)                                                                           \
    LF_CELLS_CASE(type, 2, LF_WIDE)                                                                           \
    LF_CELLS_CASE(type, 3, LF_WIDE)                                                                           \
    LF_CELLS_CASE(type, 4, LF_WIDE)                                                                           \
    LF_CELLS_CASE(type, 5, LF_WIDE)                                                                           \
    LF_CELLS_CASE(type, 6, LF_WIDE)                                                                           \
    LF_CELLS_CASE(type, 7, LF_WIDE / 2)                                                                       \
    LF_CELLS_CASE(type, 8, LF_WIDE / 2)

/* out[r][..] += the sum over the first n cells of x[r][cell] times the cell's values; x has rows LF_PAGE apart. */
static void lf_sum_cells(const float *x, const lf_page_of_head *page, int32_t n, float *out, int64_t out_stride, int32_t rows) {
    int32_t at = 0;
    LF_CELLS_CASES(LF_F32)
    LF_CELLS_CASES(LF_F16)
#if LF_STEP == 4
    LF_CELLS_CASES(LF_Q8_0)
#endif
}

/* All keys of a page, [n][LF_PAGE]; cells that are not in use hold anything. `rows` has room for [LF_PAGE][n]. */
static void lf_turn_cells(const lf_page_of_head *page, float *rows, float *keys) {
    int32_t done = 0;
#if LF_STEP == 4
    if (page->dtype == LF_Q8_0) done = lf_turn_blocks(page, sizeof(lf_q8_0), 1, keys);
    if (page->dtype == LF_Q4_0) done = lf_turn_blocks(page, sizeof(lf_q4_0), 0, keys);
    if (page->dtype == LF_F16)
        for (int32_t c = 0; c < LF_PAGE; c += LF_W) done = lf_turn_floats(page, c, 1, keys);
    if (page->dtype == LF_F32)
        for (int32_t c = 0; c < LF_PAGE; c += LF_W) done = lf_turn_floats(page, c, 0, keys);
#endif
    if (done == page->n) return;
    lf_read_cells(page, LF_PAGE, rows);
#if LF_STEP == 4
    if (!done) {
        int64_t stride = page->n * (int64_t)sizeof(float);
        lf_page_of_head decoded = {(const char *)rows, stride, 0, LF_F32, page->n, (int32_t)stride};
        for (int32_t c = 0; c < LF_PAGE; c += LF_W) done = lf_turn_floats(&decoded, c, 0, keys);
    }
#endif
    for (int32_t i = done; i < page->n; i++)
        for (int32_t c = 0; c < LF_PAGE; c++) keys[i * LF_PAGE + c] = rows[c * page->n + i];
}
#endif
