/* What every Metal kernel gets: its operands' shapes in the order of the op's record, and the attributes. Read by C too. */
#ifndef LF_ARGUMENTS_H
#define LF_ARGUMENTS_H

#define LF_MOST 11 /* operands of an op */

/* Sizes innermost first; steps in bytes, step[0] of a block format is that of a block; block: values in one. */
typedef struct {
    int32_t ne[4];
    int64_t step[4];
    int32_t dtype, given;
} lf_shape;

typedef struct {
    lf_shape of[LF_MOST];
    int32_t attr[8]; /* numbers, or the bits of floats */
} lf_arguments;

enum { LF_SIMD = 32, LF_NORM_THREADS = 256, LF_TILE = 32, LF_TILE_THREADS = 128, LF_FEW = 8, LF_FEW_SIMDS = 4, LF_ATTENTION_SIMDS = 4 };
#endif
