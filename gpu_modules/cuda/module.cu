/* The module: all kernels as one unit, and the table of calls that a program's host makes. */
#define LF_DEFINE_KERNELS
#define LF_COMMON_ONLY
#include "device.h"
#include "ops.h"
#include "abi.h"
#include "host.h"
#include "encode.h"
#include "few_floats.h"
#include "many_floats.h"
#include "elementwise.cu"
#include "norm.cu"
#include "rows.cu"
#include "attention.cu"
#include "matmul.cu"
#include "experts.cu"
#include "fused.h"
#include "table.h"
