/* Activations in integer form: how quantize_rows lays them out and how products find them again. */
#ifndef LF_A8_H
#define LF_A8_H
#include <stdint.h>

/* Fewer rows than this lie one after the other; as many or more lie in tiles of eight rows side by side, so that a product
   reads the eight values of one k from one place. Only the kernels of one instruction set read what they wrote: within a
   tile they order q as their dot product wants it. */
#define LF_A8_TILE 8

/* `lanes` rows (1 or LF_A8_TILE) of k values in blocks of 32; the arrays below q are [blocks][lanes] or [2 blocks][lanes].
     q        the values / scale, -127 .. 127: one row as int8; a tile as int8 [k/4][8][4] or as int16 [k/2][8][2]
     scale    a block's largest magnitude / 127
     sum32    scale * the sum of the block's q: multiplies a weight block's bias;  sum16: the same for half blocks
     total32  the sum of the block's q: corrects products with weights made unsigned; total16: the same for half blocks */
typedef struct {
    int8_t *q;
    float *scale, *sum32, *sum16;
    int32_t *total32, *total16;
} lf_a8;

#define LF_A8_BLOCK_BYTES (64 + 4 + 4 + 8 + 4 + 8)

static inline int64_t lf_a8_blocks(int64_t k) { return (k + 31) / 32; }
/* Bytes of one row; a tile takes eight of them. Python's lower plans with the same numbers. */
static inline int64_t lf_a8_stride(int64_t k) { return (lf_a8_blocks(k) * LF_A8_BLOCK_BYTES + 63) / 64 * 64; }
static inline int64_t lf_a8_rows(int64_t rows) {
    return rows < LF_A8_TILE ? rows : (rows + LF_A8_TILE - 1) / LF_A8_TILE * LF_A8_TILE;
}

/* The parts of the row (lanes 1) or tile (lanes 8) that begins at row i. */
static inline lf_a8 lf_a8_at(void *data, int64_t k, int64_t i, int64_t lanes) {
    int64_t n = lf_a8_blocks(k) * lanes;
    char *p = (char *)data + i * lf_a8_stride(k);
    return (lf_a8){(int8_t *)p,
                   (float *)(p + 64 * n),
                   (float *)(p + 68 * n),
                   (float *)(p + 72 * n),
                   (int32_t *)(p + 80 * n),
                   (int32_t *)(p + 84 * n)};
}
#endif
