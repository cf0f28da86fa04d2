/* Finding special tokens in text: the leftmost, and of those that begin there the longest. */
#include "encode.h"

/* Return the first special in [low, high) whose byte at `depth` is at least `byte`; all have that many bytes. */
static uint32_t lf_special_bound(const lf_vocab *v, uint32_t low, uint32_t high, uint32_t depth, unsigned byte)
{
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (v->specials[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Return the longest special that begins at `at`, or NULL; user-defined ones alone unless `all`. */
static const lf_special *lf_special_match(const lf_vocab *v, const uint8_t *at, const uint8_t *end, int all)
{
    const lf_special *longest = NULL;
    uint32_t low = v->special_start[*at], high = v->special_start[*at + 1];
    for (uint32_t depth = 1; low < high; depth++) {
        for (; low < high && v->specials[low].size == depth; low++)
            if (all || v->kind[v->specials[low].id] == LF_TOKEN_USER_DEFINED) longest = &v->specials[low];
        if (low == high || at + depth == end) break;
        high = lf_special_bound(v, low, high, depth, at[depth] + 1u);
        low = lf_special_bound(v, low, high, depth, at[depth]);
    }
    return longest;
}

const uint8_t *lf_special_find(const lf_vocab *v, const uint8_t *at, const uint8_t *end, int all, int32_t *id,
                               const uint8_t **behind)
{
    const uint8_t *first = v->special_first[all != 0];
    for (; at < end; at++) {
        if (!first[*at]) continue;
        const lf_special *special = lf_special_match(v, at, end, all);
        if (!special) continue;
        *id = special->id;
        *behind = at + special->size;
        return at;
    }
    return NULL;
}
