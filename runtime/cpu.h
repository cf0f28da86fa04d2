/* What this processor can run, and the kernel tables that are in this build. */
#ifndef LF_CPU_H
#define LF_CPU_H
#include "call.h"

/* The kernels in use. */
const lf_kernels *lf_kernels_chosen(void);
#endif
