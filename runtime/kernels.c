/* All CPU kernels as one text, compiled once for each instruction set: -DLF_ISA=avx2 makes the table lf_kernels_avx2. */
#define LF_DEFINE_KERNELS
#include "ops.h"
#include "ops/elementwise.c"
#include "ops/norm.c"
#include "ops/rows.c"
#include "ops/attention.c"
#include "ops/matmul.c"
#include "ops/experts.c"
#include "ops/seams.c"

#define LF_NAME2(isa) lf_kernels_##isa
#define LF_NAME(isa) LF_NAME2(isa)
#define LF_TEXT2(isa) #isa
#define LF_TEXT(isa) LF_TEXT2(isa)
extern const lf_kernels LF_NAME(LF_ISA);
const lf_kernels LF_NAME(LF_ISA) = {LF_TEXT(LF_ISA), lf_entries};
