/* Makes the states of a grammar's automaton: what a set of items leads to, found again by its kernel. */
#include <stdlib.h>
#include <string.h>

#include "automaton.h"
#include "grow.h"

enum { LF_STATE_LIMIT = 1 << 24, LF_LIST_LIMIT = 1 << 28, LF_STATE_EFFORT = 16 };

static int lf_fail(lf_grammar *g, int code)
{
    if (!g->fault) g->fault = code;
    return -1;
}

static uint64_t lf_mix(const lf_item *i)
{
    uint64_t h = i->node * UINT64_C(0x9E3779B97F4A7C15) ^ (i->count + UINT64_C(0x7F4A7C15)) * UINT64_C(0xC2B2AE3D27D4EB4F);
    h = (h ^ h >> 29 ^ i->as) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 32 ^ i->origin) * UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

static int lf_same(const lf_item *a, const lf_item *b)
{
    return a->node == b->node && a->count == b->count && a->as == b->as && a->origin == b->origin;
}

/* Find an item among those of this step, or the free slot for it; the table is never more than half full. */
static uint64_t *lf_seen(lf_grammar *g, const lf_item *item)
{
    uint32_t slot = (uint32_t)lf_mix(item) & (g->seen_size - 1);
    for (;; slot = (slot + 1) & (g->seen_size - 1)) {
        uint64_t *entry = g->seen + slot;
        if (*entry >> 32 != g->stamp || lf_same(g->work + (uint32_t)*entry, item)) return entry;
    }
}

static int lf_seen_grow(lf_grammar *g)
{
    const uint32_t size = g->seen_size * 2;
    uint64_t *fresh = calloc(size, sizeof *fresh);
    if (!fresh) return lf_fail(g, LF_GRAMMAR_MEMORY);
    free(g->seen);
    g->seen = fresh;
    g->seen_size = size;
    for (uint32_t i = 0; i < g->n_work; i++) *lf_seen(g, g->work + i) = (uint64_t)g->stamp << 32 | i;
    return 0;
}

/* Put an item on the list of work, once. */
static void lf_add(lf_grammar *g, uint32_t node, uint32_t count, uint32_t as, uint32_t origin)
{
    /* All ends are one, so that a rule completed in several ways is completed once. */
    const lf_item item = {g->nodes[node].kind == LF_NODE_END ? 0 : node, count, as, origin};
    uint64_t *entry = lf_seen(g, &item);
    if (g->fault || *entry >> 32 == g->stamp || !g->useful[item.node]) return;
    if (--g->effort < 0) {
        lf_fail(g, LF_GRAMMAR_AMBIGUOUS);
        return;
    }
    lf_item *grown = lf_grow(g->work, &g->work_room, (uint64_t)g->n_work + 1, sizeof *grown);
    if (!grown) {
        lf_fail(g, LF_GRAMMAR_MEMORY);
        return;
    }
    g->work = grown;
    *entry = (uint64_t)g->stamp << 32 | g->n_work;
    g->work[g->n_work++] = item;
    if (g->n_work > g->seen_size / 2) lf_seen_grow(g);
}

static void lf_complete(lf_grammar *g, lf_state *made, uint32_t as, uint32_t origin)
{
    if (origin == LF_SELF) return; /* nothing was read: the caller went past it already, its rule being nullable */
    if (origin == LF_BOTTOM) made->flags |= LF_ESCAPES;
    if (origin == LF_TOP) made->flags |= LF_ACCEPTS;
    const lf_state from = g->states[origin];
    for (uint32_t i = 0; i < from.n_waiters; i++) {
        const lf_waiter w = g->waiters[from.waiters + i];
        if (w.rule != as) continue;
        g->effort--;
        lf_add(g, w.then.node, w.then.count, w.then.as, w.then.origin == LF_SELF ? origin : w.then.origin);
    }
}

/* Begin a rule, after which an item goes on with `node` and `count`. */
static void lf_call(lf_grammar *g, lf_state *made, const lf_item *by, uint32_t rule, uint32_t node, uint32_t count)
{
    if (g->nodes[node].kind == LF_NODE_END) {
        lf_add(g, g->rules[rule], 0, by->as, by->origin);
        return;
    }
    lf_waiter *grown = lf_grow(g->waiters, &g->waiters_room, (uint64_t)g->n_waiters + 1, sizeof *grown);
    if (!grown || g->n_waiters >= LF_LIST_LIMIT) {
        lf_fail(g, LF_GRAMMAR_MEMORY);
        return;
    }
    g->waiters = grown;
    g->waiters[g->n_waiters++] = (lf_waiter){rule, {node, count, by->as, by->origin}};
    made->n_waiters++;
    if (g->predicted[rule] == g->stamp || g->fault) return;
    g->predicted[rule] = g->stamp;
    lf_add(g, g->rules[rule], 0, rule, LF_SELF);
}

static void lf_count(lf_grammar *g, lf_state *made, const lf_item *item)
{
    const lf_grammar_node node = g->nodes[item->node];
    const lf_grammar_count c = g->counts[node.arg];
    if (item->count >= c.least) lf_add(g, node.next, 0, item->as, item->origin);
    if (item->count >= c.most && c.most != LF_NO_LIMIT) return;
    const uint32_t after = c.most == LF_NO_LIMIT && item->count >= c.least ? item->count : item->count + 1;
    lf_call(g, made, item, c.rule, item->node, after);
}

static void lf_scan(lf_grammar *g, const lf_item *item)
{
    lf_item *grown = lf_grow(g->scans, &g->scans_room, (uint64_t)g->n_scans + 1, sizeof *grown);
    if (!grown) {
        lf_fail(g, LF_GRAMMAR_MEMORY);
        return;
    }
    g->scans = grown;
    g->scans[g->n_scans++] = *item;
}

/* Follow what an item leads to without reading anything. */
static void lf_follow(lf_grammar *g, lf_state *made, lf_item item)
{
    const lf_grammar_node node = g->nodes[item.node];
    switch (node.kind) {
    case LF_NODE_END: lf_complete(g, made, item.as, item.origin); break;
    case LF_NODE_COUNT: lf_count(g, made, &item); break;
    case LF_NODE_SPLIT:
        lf_add(g, node.arg, 0, item.as, item.origin);
        lf_add(g, node.next, 0, item.as, item.origin);
        break;
    case LF_NODE_CALL:
        lf_call(g, made, &item, node.arg, node.next, 0);
        if (g->nullable[node.arg]) lf_add(g, node.next, 0, item.as, item.origin);
        break;
    default: lf_scan(g, &item);
    }
}

static int lf_keep(lf_grammar *g, const lf_item *items, uint32_t count, uint32_t *place)
{
    lf_item *grown = lf_grow(g->items, &g->items_room, (uint64_t)g->n_items + count, sizeof *grown);
    if (!grown || (uint64_t)g->n_items + count > LF_LIST_LIMIT) return lf_fail(g, LF_GRAMMAR_MEMORY);
    g->items = grown;
    if (count) memcpy(grown + g->n_items, items, count * sizeof *items);
    *place = g->n_items;
    g->n_items += count;
    return 0;
}

static void lf_new_stamp(lf_grammar *g)
{
    if (++g->stamp) return;
    memset(g->seen, 0, g->seen_size * sizeof *g->seen);
    memset(g->predicted, 0, g->n_rules * sizeof *g->predicted);
    g->stamp = 1;
}

/* Make a state of the sorted kernel; on a fault the lists go back to what they were. */
static uint32_t lf_make(lf_grammar *g)
{
    const uint32_t n_items = g->n_items, n_waiters = g->n_waiters;
    lf_state made = {.waiters = g->n_waiters, .mask = LF_UNKNOWN, .n_kernel = g->n_kernel};
    lf_new_stamp(g);
    g->n_work = g->n_scans = 0;
    g->effort -= LF_STATE_EFFORT + g->n_classes / 8;
    for (uint32_t i = 0; i < g->n_kernel; i++) {
        const lf_item k = g->kernel[i];
        lf_add(g, k.node, k.count, k.as, k.origin);
    }
    for (uint32_t i = 0; i < g->n_work && !g->fault; i++) lf_follow(g, &made, g->work[i]);
    lf_state *states = lf_grow(g->states, &g->states_room, (uint64_t)g->n_states + 1, sizeof *states);
    if (states) g->states = states;
    const uint64_t row = g->n_classes;
    uint32_t *steps = lf_grow(g->steps, &g->steps_room, (g->n_states + UINT64_C(1)) * row, sizeof *steps);
    if (steps) g->steps = steps;
    if (!states || !steps || g->n_states >= LF_STATE_LIMIT) lf_fail(g, LF_GRAMMAR_MEMORY);
    if (!g->fault) lf_keep(g, g->kernel, g->n_kernel, &made.kernel);
    if (!g->fault) lf_keep(g, g->scans, made.n_scans = g->n_scans, &made.scans);
    if (g->fault) {
        g->n_items = n_items, g->n_waiters = n_waiters;
        return LF_DEAD;
    }
    memset(g->steps + g->n_states * row, 0xff, row * sizeof *g->steps);
    g->states[g->n_states] = made;
    return g->n_states++;
}

static int lf_order(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    for (int i = 0; i < 4; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Sort the kernel and drop what is resolved or there twice. */
static void lf_tidy(lf_grammar *g)
{
    uint32_t kept = 0;
    if (g->n_kernel > 1) qsort(g->kernel, g->n_kernel, sizeof *g->kernel, lf_order);
    for (uint32_t i = 0; i < g->n_kernel; i++)
        if (g->kernel[i].origin != LF_DEAD && (!kept || !lf_same(g->kernel + kept - 1, g->kernel + i)))
            g->kernel[kept++] = g->kernel[i];
    g->n_kernel = kept;
}

static uint64_t lf_hash(const lf_item *items, uint32_t count)
{
    uint64_t h = count;
    for (uint32_t i = 0; i < count; i++) h = (h ^ lf_mix(items + i)) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

static uint32_t lf_slot(const lf_grammar *g, const uint32_t *table, uint32_t size, const lf_item *items, uint32_t count)
{
    uint32_t slot = (uint32_t)lf_hash(items, count) & (size - 1);
    for (; table[slot]; slot = (slot + 1) & (size - 1)) {
        const lf_state *s = g->states + table[slot];
        if (s->n_kernel == count && !memcmp(g->items + s->kernel, items, count * sizeof *items)) break;
    }
    return slot;
}

static void lf_table_grow(lf_grammar *g)
{
    const uint32_t size = g->table_size * 2;
    uint32_t *fresh = calloc(size, sizeof *fresh);
    if (!fresh) {
        lf_fail(g, LF_GRAMMAR_MEMORY);
        return;
    }
    for (uint32_t i = 0; i < g->table_size; i++) {
        if (!g->table[i]) continue;
        const lf_state *s = g->states + g->table[i];
        fresh[lf_slot(g, fresh, size, g->items + s->kernel, s->n_kernel)] = g->table[i];
    }
    free(g->table);
    g->table = fresh;
    g->table_size = size;
}

void lf_kernel_add(lf_grammar *g, lf_item item)
{
    if (!g->useful[item.node]) return;
    lf_item *grown = lf_grow(g->kernel, &g->kernel_room, (uint64_t)g->n_kernel + 1, sizeof *grown);
    if (!grown) {
        lf_fail(g, LF_GRAMMAR_MEMORY);
        return;
    }
    g->kernel = grown;
    g->kernel[g->n_kernel++] = item;
}

/* Put what waits for the rules that are complete in their places, so that a state does not depend on how they ended. */
static void lf_resolve(lf_grammar *g)
{
    const uint32_t count = g->n_kernel;
    for (uint32_t i = 0; i < count; i++) {
        const lf_item item = g->kernel[i];
        if (g->nodes[item.node].kind != LF_NODE_END || item.origin < LF_FIRST) continue;
        const lf_state from = g->states[item.origin];
        g->effort -= from.n_waiters;
        for (uint32_t w = 0; w < from.n_waiters; w++) {
            lf_item then = g->waiters[from.waiters + w].then;
            if (g->waiters[from.waiters + w].rule != item.as) continue;
            if (then.origin == LF_SELF) then.origin = item.origin;
            lf_kernel_add(g, then);
        }
        g->kernel[i].origin = LF_DEAD; /* marks what lf_tidy drops */
    }
}

uint32_t lf_intern(lf_grammar *g)
{
    lf_resolve(g);
    lf_tidy(g);
    if (!g->n_kernel || g->fault) return LF_DEAD;
    uint32_t slot = lf_slot(g, g->table, g->table_size, g->kernel, g->n_kernel);
    if (g->table[slot]) return g->table[slot];
    const uint32_t state = lf_make(g);
    if (state == LF_DEAD) return LF_DEAD;
    g->table[slot] = state;
    if (g->n_states > g->table_size / 2) lf_table_grow(g);
    return state;
}

uint32_t lf_step_anew(lf_grammar *g, uint32_t state, uint32_t class)
{
    const lf_state from = g->states[state];
    const unsigned byte = g->byte_of[class];
    g->n_kernel = 0;
    g->effort -= from.n_scans;
    for (uint32_t i = 0; i < from.n_scans; i++) {
        const lf_item item = g->items[from.scans + i];
        const lf_grammar_node node = g->nodes[item.node];
        if (node.kind != LF_NODE_BYTES || !lf_set_has(g, node.arg, byte)) continue;
        lf_kernel_add(g, (lf_item){node.next, 0, item.as, item.origin == LF_SELF ? state : item.origin});
    }
    const uint32_t next = lf_intern(g);
    if (!g->fault) g->steps[(size_t)state * g->n_classes + class] = next;
    return next;
}
