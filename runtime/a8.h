/* Activations in integer form: how much room they take. What lies there is the kernels' own affair (ops/int8.h). */
#ifndef LF_A8_H
#define LF_A8_H
#include <stdint.h>

/* A block of 32 values at most: 32 int16, a scale and the sums that ops/int8.h keeps beside them. Python's lower plans with
   the same number. */
#define LF_A8_BLOCK_BYTES (64 + 7 * 4)

static inline int64_t lf_a8_blocks(int64_t k) { return (k + 31) / 32; }
static inline int64_t lf_a8_stride(int64_t k) { return (lf_a8_blocks(k) * LF_A8_BLOCK_BYTES + 63) / 64 * 64; }
#endif
