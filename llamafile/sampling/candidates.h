/* The tokens still in the running: every logit where it lies (dense), or the best few as a sorted list. */
#ifndef LF_CANDIDATES_H
#define LF_CANDIDATES_H
#include <stdint.h>

/* A weight is e^(value - top) rounded to a multiple of 2^-33; a sum of up to 2^20 of them is exact in a double, so it is
   the same in whatever order they are added. That is what lets a total be taken unsorted and a prefix sorted. */
#define LF_MAX_VOCAB (1 << 20)
#define LF_BLOCK 64
#define LF_WEIGHTLESS 25 /* this far below the top, every weight is 0 */

/* One list entry as a number: the value's bits in float order, then the id's complement. Higher is better: descending
   order is by value, and among equals by lower id. */
typedef uint64_t lf_key;

typedef struct {
    const float *x;  /* dense values: the caller's logits, or `own` once something was edited; NaN and -inf are out */
    float *own;      /* f32[n] */
    float *peaks;    /* f32[blocks]: the maximum of each LF_BLOCK values of x */
    float *heap;     /* f32[blocks]: scratch of top_k */
    lf_key *keys;    /* the list, n + 1 entries of room */
    lf_key *spare;   /* as large: scratch of the sort, or the list's weights */
    int n, blocks;
    int count;       /* entries of the list; -1: dense, no list yet */
    float top;       /* dense: the highest value */
} lf_candidates;

float lf_key_value(lf_key key);
int32_t lf_key_id(lf_key key);
lf_key lf_key_of(float value, int32_t id);

/* Begin with the n logits given, which are only read and must stay until the token was chosen. */
void lf_load(lf_candidates *c, const float *logits);
/* Rule out every token whose bit is 0: bit i % 32 of word i / 32. Dense only. */
void lf_mask(lf_candidates *c, const uint32_t *mask);
/* Copy the caller's values before the first edit. */
void lf_own(lf_candidates *c);
/* Give one token a value (NaN rules it out, +inf becomes the largest float); dense and owned; then call lf_retop. */
void lf_set(lf_candidates *c, int32_t id, float value);
void lf_retop(lf_candidates *c);
/* Sort the list again after its values were edited. */
void lf_resort(lf_candidates *c);

/* From dense to the list: all of them; those of at least `floor` (left unsorted); the best k. */
void lf_list_all(lf_candidates *c);
void lf_gather(lf_candidates *c, float floor);
void lf_best(lf_candidates *c, int k);
/* From dense to the shortest sorted prefix whose weights reach `target`. */
void lf_prefix(lf_candidates *c, double target);
/* Keep those of at least `threshold`, but no fewer than `least` (itself at least 1) where there are as many. */
void lf_keep_above(lf_candidates *c, double threshold, int least);

/* The highest value, the number of candidates, the sum of their weights. */
float lf_top(const lf_candidates *c);
int lf_number(const lf_candidates *c);
double lf_total(const lf_candidates *c);
/* The sum of weight * (value - top), of which entropies are made. */
double lf_moment(const lf_candidates *c);
/* The standard deviation of the values. */
double lf_deviation(const lf_candidates *c);
/* Divide every value by t > 0; none becomes infinite. */
void lf_divide(lf_candidates *c, float t);
/* The weights of the list, relative to `top`; they lie in `spare` until the next call. */
const double *lf_weights(lf_candidates *c, float top);
double lf_weight(float value, float top);
#endif
