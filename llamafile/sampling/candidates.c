/* From a vocabulary of logits to the best of them: block maxima, selection without a full sort, edits. */
#include "candidates.h"
#include "four.h"
#include <float.h>
#include <math.h>
#include <string.h>
#define LF_SHORT 192 /* keys up to which insertion beats three counting passes */

float lf_key_value(lf_key key) {
    uint32_t bits = (uint32_t)(key >> 32);
    bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int32_t lf_key_id(lf_key key) { return (int32_t)~(uint32_t)key; }

lf_key lf_key_of(float value, int32_t id) {
    uint32_t bits;
    value += 0.0f; /* -0 ties with +0 */
    memcpy(&bits, &value, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (lf_key)bits << 32 | ~(uint32_t)id;
}

static int lf_block_length(const lf_candidates *c, int block) {
    int left = c->n - block * LF_BLOCK;
    return left < LF_BLOCK ? left : LF_BLOCK;
}

static float lf_peak(const float *x, int n) {
    lf_f4 m[4];
    int i = 0;
    for (int k = 0; k < 4; k++) m[k] = lf_four(-INFINITY);
    for (; i + 16 <= n; i += 16)
        for (int k = 0; k < 4; k++) m[k] = lf_max4(m[k], lf_read4(x + i + 4 * k));
    m[0] = lf_max4(lf_max4(m[0], m[1]), lf_max4(m[2], m[3]));
    float peak = m[0][0];
    for (int k = 1; k < 4; k++) peak = m[0][k] > peak ? m[0][k] : peak;
    for (; i < n; i++) peak = x[i] > peak ? x[i] : peak;
    return peak;
}

void lf_retop(lf_candidates *c) { c->top = lf_peak(c->peaks, c->blocks); }

void lf_own(lf_candidates *c) {
    if (c->x == c->own) return;
    memcpy(c->own, c->x, sizeof(float) * (size_t)c->n);
    c->x = c->own;
}

void lf_load(lf_candidates *c, const float *logits) {
    c->x = logits;
    c->count = -1;
    for (int b = 0; b < c->blocks; b++) c->peaks[b] = lf_peak(logits + b * LF_BLOCK, lf_block_length(c, b));
    lf_retop(c);
    if (c->top != INFINITY) return;
    lf_own(c);
    for (int i = 0; i < c->n; i++)
        if (c->own[i] == INFINITY) lf_set(c, i, FLT_MAX);
    lf_retop(c);
}

void lf_mask(lf_candidates *c, const uint32_t *mask) {
    lf_own(c);
    for (int b = 0; b < c->blocks; b++) {
        float *x = c->own + b * LF_BLOCK;
        int length = lf_block_length(c, b), word = b * (LF_BLOCK / 32);
        uint32_t high = length > 32 ? mask[word + 1] : 0;
        uint64_t bits = (uint64_t)high << 32 | mask[word];
        if (bits == UINT64_MAX) continue;
        for (int i = 0; i < length; i++) x[i] = bits >> i & 1 ? x[i] : -INFINITY;
        c->peaks[b] = bits ? lf_peak(x, length) : -INFINITY;
    }
    lf_retop(c);
}

void lf_set(lf_candidates *c, int32_t id, float value) {
    int block = id / LF_BLOCK;
    float before = c->own[id];
    if (value != value) value = -INFINITY;
    if (value > FLT_MAX) value = FLT_MAX;
    c->own[id] = value;
    if (value >= c->peaks[block]) c->peaks[block] = value;
    else if (before == c->peaks[block] || before > FLT_MAX)
        c->peaks[block] = lf_peak(c->own + block * LF_BLOCK, lf_block_length(c, block));
}

static void lf_insertion_sort(lf_key *keys, int n) {
    for (int i = 1; i < n; i++) {
        lf_key key = keys[i];
        int k = i;
        for (; k && keys[k - 1] < key; k--) keys[k] = keys[k - 1];
        keys[k] = key;
    }
}

/* Descending by the bits from `bit` on, 11 a pass, keeping the order of equals. */
static void lf_counting_sort(lf_key *keys, lf_key *spare, int n, int bit) {
    lf_key *from = keys, *to = spare;
    for (; bit < 64; bit += 11) {
        uint32_t place[2048] = {0}, sum = 0;
        for (int i = 0; i < n; i++) place[~(from[i] >> bit) & 2047]++;
        if (place[~(from[0] >> bit) & 2047] == (uint32_t)n) continue; /* one digit for all */
        for (int d = 0; d < 2048; d++) {
            uint32_t here = place[d];
            place[d] = sum;
            sum += here;
        }
        for (int i = 0; i < n; i++) to[place[~(from[i] >> bit) & 2047]++] = from[i];
        lf_key *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, sizeof *keys * (size_t)n);
}

/* Sort the list; `bit` is 32 where entries lie by ascending id already, else 0. */
static void lf_sort(lf_candidates *c, int bit) {
    if (c->count <= LF_SHORT) lf_insertion_sort(c->keys, c->count);
    else lf_counting_sort(c->keys, c->spare, c->count, bit);
}

void lf_resort(lf_candidates *c) {
    for (int i = 1; i < c->count; i++)
        if (c->keys[i - 1] < c->keys[i]) {
            lf_sort(c, 0);
            return;
        }
}

void lf_gather(lf_candidates *c, float floor) {
    lf_key *out = c->keys;
    for (int b = 0; b < c->blocks; b++) {
        if (!(c->peaks[b] >= floor)) continue;
        const float *x = c->x + b * LF_BLOCK;
        for (int i = 0, n = lf_block_length(c, b); i < n; i += 4) {
            if (i + 4 <= n && !lf_any4(lf_read4(x + i) >= lf_four(floor))) continue;
            for (int k = i; k < i + 4 && k < n; k++) {
                *out = lf_key_of(x[k], b * LF_BLOCK + k); /* written always, kept if it counts: no branch to miss */
                out += x[k] >= floor;
            }
        }
    }
    c->count = (int)(out - c->keys);
}

void lf_list_all(lf_candidates *c) {
    if (c->count >= 0) return;
    lf_gather(c, -FLT_MAX);
    lf_sort(c, 32);
}

/* The k-th highest of the block maxima, at or below the k-th highest value: a heap of the best k, the least on top. */
static float lf_kth_peak(lf_candidates *c, int k) {
    float *heap = c->heap;
    for (int i = 0; i < k; i++) {
        int at = i;
        for (; at && heap[(at - 1) / 2] > c->peaks[i]; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
        heap[at] = c->peaks[i];
    }
    for (int b = k; b < c->blocks; b++) {
        float peak = c->peaks[b];
        if (!(peak > heap[0])) continue;
        int at = 0;
        for (int child = 1; child < k; child = 2 * at + 1) {
            if (child + 1 < k && heap[child + 1] < heap[child]) child++;
            if (heap[child] >= peak) break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = peak;
    }
    return heap[0];
}

void lf_best(lf_candidates *c, int k) {
    if (c->count < 0) {
        float floor = k <= c->blocks ? lf_kth_peak(c, k) : -FLT_MAX;
        lf_gather(c, floor > -FLT_MAX ? floor : -FLT_MAX);
        lf_sort(c, 32);
    }
    if (c->count > k) c->count = k;
}

static double lf_sum(const double *w, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += w[i];
    return sum;
}

void lf_prefix(lf_candidates *c, double target) {
    float top = c->top;
    for (float reach = 1;; reach *= 1.5f) {
        lf_gather(c, top - reach);
        if (reach >= LF_WEIGHTLESS || lf_sum(lf_weights(c, top), c->count) >= target) break;
    }
    lf_sort(c, 32);
    const double *w = lf_weights(c, top);
    double sum = 0;
    for (int i = 0; i < c->count; i++)
        if ((sum += w[i]) >= target) c->count = i + 1;
}

void lf_keep_above(lf_candidates *c, double threshold, int least) {
    float floor = threshold > -FLT_MAX ? (float)threshold : -FLT_MAX;
    if (floor < threshold) floor = nextafterf(floor, INFINITY);
    if (c->count < 0 && floor <= c->top) {
        lf_gather(c, floor);
        if (c->count < least) c->count = -1;
        else lf_sort(c, 32);
    }
    if (c->count < 0) {
        lf_best(c, least);
        return;
    }
    while (c->count > least && lf_key_value(c->keys[c->count - 1]) < floor) c->count--;
}

float lf_top(const lf_candidates *c) { return c->count < 0 ? c->top : lf_key_value(c->keys[0]); }
