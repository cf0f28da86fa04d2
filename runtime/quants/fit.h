/* The search that encoders share: how to round a block of numbers so that it loses least. */
#ifndef LF_FIT_H
#define LF_FIT_H
#include <stdint.h>

/* What a number may be rounded to: each integer from lo to hi, or where there are codes one of these, in order. */
typedef struct {
  float lo, hi;
  const int8_t *codes;
  int count;
} lf_levels;

/* The shape of a block: `groups` (up to 16) of n numbers (up to 32, a multiple of four), each to become
   d * step * level - dmin * minimum, with d and dmin half floats, and a step and a minimum a group in these ranges. */
typedef struct {
  int groups, n;
  lf_levels levels;
  int step_low, step_high, minimum_low, minimum_high;
} lf_shape;

/* A block as it was rounded. */
typedef struct {
  float d, dmin;
  int8_t step[16], minimum[16], level[256];
} lf_fitted;

/* Round a block of finite numbers so that the sum of squared errors is small. */
void lf_fit(const float *x, const lf_shape *shape, lf_fitted *block);
#endif
