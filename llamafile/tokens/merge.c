/* Merging a word's symbols: always the pair that comes first in the vocabulary's order, of equal ones the leftmost. */
#include "encode.h"

enum { LF_MERGE_SHORT = 96 }; /* symbols; below this, looking at all of them is faster than a heap */

int lf_symbols_room(lf_encoder *e, uint64_t count)
{
    lf_symbol *symbols = lf_grow(e->symbols, &e->symbol_room, count, sizeof *symbols);
    if (!symbols) return LF_TOKENS_MEMORY;
    e->symbols = symbols;
    uint32_t *priority = lf_grow(e->priority, &e->priority_room, count, sizeof *priority);
    if (!priority) return LF_TOKENS_MEMORY;
    e->priority = priority;
    return LF_TOKENS_OK;
}

/* Return the place of a pair in the order of merging, or LF_NO_PRIORITY. */
static uint32_t lf_priority(const lf_vocab *v, const uint8_t *text, const lf_symbol *left, const lf_symbol *right)
{
    const size_t size = (size_t)left->size + right->size;
    if (size > v->longest) return LF_NO_PRIORITY;
    const uint64_t power = v->power[right->size];
    if (v->model == LF_BPE)
        return lf_vocab_rank(v, (left->hash * LF_HASH_BASE + ' ') * power + right->hash, text + left->start, left->size,
                             right->size);
    const int32_t id = lf_vocab_find(v, left->hash * power + right->hash, text + left->start, size);
    return id < 0 ? LF_NO_PRIORITY : v->priority[id];
}

static inline void lf_join(const lf_vocab *v, lf_symbol *left, const lf_symbol *right)
{
    left->hash = left->hash * v->power[right->size] + right->hash;
    left->size += right->size;
}

static uint32_t lf_merge_short(const lf_vocab *v, const uint8_t *text, lf_symbol *s, uint32_t *priority, uint32_t count)
{
    for (uint32_t i = 0; i + 1 < count; i++) priority[i] = lf_priority(v, text, &s[i], &s[i + 1]);
    while (count > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < count; i++) best = priority[i] < priority[best] ? i : best;
        if (priority[best] == LF_NO_PRIORITY) break;
        lf_join(v, &s[best], &s[best + 1]);
        count--;
        memmove(&s[best + 1], &s[best + 2], (count - best - 1) * sizeof *s);
        memmove(&priority[best], &priority[best + 1], (count - best) * sizeof *priority);
        if (best) priority[best - 1] = lf_priority(v, text, &s[best - 1], &s[best]);
        if (best + 1 < count) priority[best] = lf_priority(v, text, &s[best], &s[best + 1]);
    }
    return count;
}

/* The heap holds priority << 32 | symbol, so that its order is the order of merging. */
static void lf_heap_sink(uint64_t *heap, uint64_t count, uint64_t at, uint64_t item)
{
    for (uint64_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= item) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static int lf_heap_push(lf_encoder *e, uint64_t *count, uint32_t symbol)
{
    if (e->priority[symbol] == LF_NO_PRIORITY) return 0;
    uint64_t *heap = lf_grow(e->heap, &e->heap_room, *count + 1, sizeof *heap);
    if (!heap) return -1;
    e->heap = heap;
    const uint64_t item = (uint64_t)e->priority[symbol] << 32 | symbol;
    uint64_t at = (*count)++;
    for (; at && heap[(at - 1) / 2] > item; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = item;
    return 0;
}

static uint64_t lf_heap_pop(uint64_t *heap, uint64_t *count)
{
    const uint64_t top = heap[0];
    if (--*count) lf_heap_sink(heap, *count, 0, heap[*count]);
    return top;
}

/* Link the symbols and put their pairs into the heap; return how many there are, or -1. */
static int64_t lf_heap_fill(lf_encoder *e, const uint8_t *text, uint32_t count)
{
    lf_link *links = lf_grow(e->links, &e->link_room, count, sizeof *links);
    if (!links) return -1;
    e->links = links;
    uint64_t *heap = lf_grow(e->heap, &e->heap_room, count, sizeof *heap);
    if (!heap) return -1;
    e->heap = heap;
    uint64_t pairs = 0;
    for (uint32_t i = 0; i < count; i++) {
        links[i] = (lf_link){i - 1, i + 1};
        e->priority[i] = i + 1 < count ? lf_priority(e->vocab, text, &e->symbols[i], &e->symbols[i + 1])
                                       : LF_NO_PRIORITY;
        if (e->priority[i] != LF_NO_PRIORITY) heap[pairs++] = (uint64_t)e->priority[i] << 32 | i;
    }
    for (uint64_t i = pairs / 2; i-- > 0;) lf_heap_sink(heap, pairs, i, heap[i]);
    return (int64_t)pairs;
}

static int64_t lf_merge_long(lf_encoder *e, const uint8_t *text, uint32_t count)
{
    const lf_vocab *v = e->vocab;
    lf_symbol *s = e->symbols;
    const int64_t filled = lf_heap_fill(e, text, count);
    if (filled < 0) return -1;
    for (uint64_t pairs = (uint64_t)filled; pairs;) {
        const uint64_t top = lf_heap_pop(e->heap, &pairs);
        const uint32_t at = (uint32_t)top;
        if (e->priority[at] != top >> 32) continue; /* one of the two was merged with another since */
        const uint32_t gone = e->links[at].right, right = e->links[gone].right, left = e->links[at].left;
        lf_join(v, &s[at], &s[gone]);
        e->priority[gone] = e->priority[at] = LF_NO_PRIORITY;
        s[gone].size = 0;
        e->links[at].right = right;
        if (right < count) {
            e->links[right].left = at;
            e->priority[at] = lf_priority(v, text, &s[at], &s[right]);
            if (lf_heap_push(e, &pairs, at)) return -1;
        }
        if (at) {
            e->priority[left] = lf_priority(v, text, &s[left], &s[at]);
            if (lf_heap_push(e, &pairs, left)) return -1;
        }
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++)
        if (s[i].size) s[left++] = s[i];
    return left;
}

int64_t lf_merge(lf_encoder *e, const uint8_t *text, uint32_t count)
{
    if (count < LF_MERGE_SHORT) return lf_merge_short(e->vocab, text, e->symbols, e->priority, count);
    return lf_merge_long(e, text, count);
}
