/* The flat program: tensor rows, sizes, ops and segments, as lower packs them and every device reads them. */
#ifndef LF_PROGRAM_H
#define LF_PROGRAM_H
#include <stdint.h>

/* cdef-begin */
/* Where a tensor lies. A view is a row too: its base is another tensor, its offset and strides are in elements. */
enum { LF_HOME_WEIGHT, LF_HOME_ARENA, LF_HOME_CACHE, LF_HOME_STATE, LF_HOME_INPUT, LF_HOME_VIEW };

/* The letters that stand for sizes known only at a call: tokens, sequences, output rows, cells, pages of a sequence. */
enum { LF_LETTER_T, LF_LETTER_S, LF_LETTER_O, LF_LETTER_C, LF_LETTER_P, LF_LETTERS };

typedef struct {
    uint16_t dtype, home;
    int32_t base;      /* view: the index of the tensor it looks into; input: the slot */
    int32_t ne[4];     /* innermost first; negative: the size in row -1 - ne of the size table */
    int32_t stride[4]; /* in elements; stride[0] is 1 */
    int64_t offset;    /* in bytes from the start of its home; views: in elements from the base's first */
    uint16_t mapping, device;
    uint32_t reserved;
} lf_tensor;

typedef struct {
    int32_t letter, mul, add, div; /* the size is (mul * letter + add) / div */
} lf_size;

/* In an op's flags: the next op neither reads nor overwrites what this one touches, so threads go on without meeting. */
#define LF_NO_BARRIER 1
/* So many ops at most go on like that: each has a count of its own of the work that is handed out. */
#define LF_TOGETHER 4

typedef struct {
    uint16_t op, flags;
    int16_t layer, device;
    uint32_t args; /* where in the pool of int32 its outputs, inputs and attributes begin */
    uint8_t n_out, n_in, n_attr, reserved;
} lf_op;

/* A run of ops for one device; `copies` points into the pool: n_in tensors to bring, then n_out to take back. */
typedef struct {
    uint16_t device, n_in, n_out, reserved;
    int32_t first, count;
    uint32_t copies;
} lf_segment;
/* cdef-end */

/* An operand that is not given. */
#define LF_NONE (-1)

/* Dtypes that are no GGUF format: activations in integer form (a8.h). GGUF's own ids are in formats.h. */
#define LF_A8 1000
#endif
