/* Activations in integer form: how a row of quantize_rows lies in memory. */
#ifndef LF_A8_H
#define LF_A8_H
#include <stdint.h>

/* A row of k values (k is padded to whole blocks of 32):
     int8_t  q[k]            the values / scale, -127 .. 127
     float   scale[k/32]
     float   sum32[k/32]     scale * the sum of the block's q: multiplies a weight block's bias
     float   sum16[k/16]     the same for half blocks
     int32_t total[k/32]     the sum of the block's q: corrects products with weights made unsigned
   Rows start on multiples of 64 bytes. */
typedef struct {
    int8_t *q;
    float *scale, *sum32, *sum16;
    int32_t *total;
} lf_a8_row;

static inline int64_t lf_a8_blocks(int64_t k) { return (k + 31) / 32; }
static inline int64_t lf_a8_stride(int64_t k) { return (lf_a8_blocks(k) * (32 + 4 + 4 + 8 + 4) + 63) / 64 * 64; }

/* The parts of row i of a matrix of rows of k values. */
static inline lf_a8_row lf_a8_at(void *data, int64_t k, int64_t i) {
    int64_t n = lf_a8_blocks(k);
    char *p = (char *)data + i * lf_a8_stride(k);
    lf_a8_row r = {(int8_t *)p, (float *)(p + 32 * n), (float *)(p + 36 * n), (float *)(p + 40 * n), (int32_t *)(p + 48 * n)};
    return r;
}
#endif
