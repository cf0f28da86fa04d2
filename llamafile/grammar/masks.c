/* Which tokens may come in a state: a walk through the tree of the vocabulary, of which most is done once for all. */
#include <stdlib.h>
#include <string.h>

#include "automaton.h"
#include "grow.h"

enum {
    LF_MASK_ROOM = 24 << 20, /* bytes of masks that a grammar keeps */
    LF_SLACK_LEAST = 4,      /* bytes below which states are told apart by their counts */
    LF_MANY_NODES = 32,      /* a part of the tree for which it is worth to look whether all of it may come */
};

static void lf_out_of_memory(lf_grammar *g)
{
    if (!g->fault) g->fault = LF_GRAMMAR_MEMORY;
}

/* Leave a node's children for when the origins are known. */
static void lf_leave(lf_grammar *g, uint32_t node)
{
    uint32_t *grown = lf_grow(g->escapes, &g->escapes_room, (uint64_t)g->n_escapes + 1, sizeof *grown);
    if (!grown) {
        lf_out_of_memory(g);
        return;
    }
    g->escapes = grown;
    g->escapes[g->n_escapes++] = node;
}

/* Return the count that stands for all those from which tokens of so many bytes lead to the same, which lowers *slack:
   the limits of a counted rule are seen only from near. */
static uint32_t lf_typical(const lf_grammar *g, const lf_item *item, uint32_t *slack)
{
    const lf_grammar_node node = g->nodes[item->node];
    if (node.kind != LF_NODE_COUNT) return item->count;
    const lf_grammar_count c = g->counts[node.arg];
    uint32_t bytes, count;
    if (item->count < c.least) {
        count = 0;
        bytes = c.least - item->count - 1;
    } else {
        count = c.least;
        bytes = c.most == LF_NO_LIMIT ? LF_NO_LIMIT : c.most - item->count;
    }
    if (bytes < LF_SLACK_LEAST) return item->count;
    if (bytes < *slack) *slack = bytes;
    return count;
}

/* Return the state with every origin forgotten and counts far from their limits made one; states in many places of a
   text share it. What it says of tokens of up to `slack` bytes holds for the state. */
static uint32_t lf_local(lf_grammar *g, uint32_t state)
{
    const lf_state s = g->states[state];
    uint32_t slack = LF_NO_LIMIT;
    if (s.local) return s.local;
    g->n_kernel = 0;
    for (uint32_t i = 0; i < s.n_kernel; i++) {
        lf_item item = g->items[s.kernel + i];
        item.count = lf_typical(g, &item, &slack);
        item.origin = LF_BOTTOM;
        lf_kernel_add(g, item);
    }
    const uint32_t local = lf_intern(g);
    g->states[state].slack = slack;
    return g->states[state].local = local;
}

/* Return whether two states are the same but for counts that are far from their limits. */
static int lf_alike(lf_grammar *g, uint32_t a, uint32_t b)
{
    if (a == b) return 1;
    const lf_state x = g->states[a], y = g->states[b];
    if (b == LF_DEAD || x.n_kernel != y.n_kernel) return 0;
    for (uint32_t i = 0; i < x.n_kernel; i++) {
        const lf_item p = g->items[x.kernel + i], q = g->items[y.kernel + i];
        if (p.node != q.node || p.as != q.as || p.origin != q.origin) return 0;
    }
    return lf_local(g, a) == lf_local(g, b);
}

/* Return whether all the ways on from `at` with `more` bytes of a character to come lead to a state like this one;
   `before` is the byte before. */
static int lf_loops_within(lf_grammar *g, uint32_t state, uint32_t at, unsigned before, unsigned more)
{
    if (at == LF_DEAD || g->fault) return 0;
    if (!more) return lf_alike(g, state, at);
    int class = -1;
    for (unsigned byte = 0x80; byte < 0xc0; byte++) {
        if (!lf_continues(before, byte) || g->class_of[byte] == class) continue;
        class = g->class_of[byte];
        if (!lf_loops_within(g, state, lf_step(g, at, (uint8_t)byte), byte, more - 1)) return 0;
    }
    return 1;
}

/* Return whether every character of more than one byte leads to a state like this one. */
static int lf_loops_wide(lf_grammar *g, uint32_t state)
{
    uint32_t done = LF_DEAD; /* the state after the first byte before, whose ways on need no second look */
    unsigned like = 0;
    for (unsigned byte = 0xc2; byte <= 0xf4; byte++) {
        const int special = byte == 0xe0 || byte == 0xed || byte == 0xf0 || byte == 0xf4;
        const uint32_t next = lf_step(g, state, (uint8_t)byte);
        if (!special && next == done && lf_wide(byte) == like) continue;
        if (!lf_loops_within(g, state, next, byte, lf_wide(byte))) return 0;
        if (!special) done = next, like = lf_wide(byte);
    }
    return 1;
}

/* Return the kinds of characters that lead from a local state to one like it. */
static uint32_t lf_loops(lf_grammar *g, uint32_t state)
{
    if (g->states[state].flags & LF_LOOPS) return g->states[state].loops;
    uint32_t kinds = (1u << LF_KIND_WIDE) - 1;
    for (unsigned byte = 0; byte < 0x80 && !g->fault; byte++)
        if (kinds >> lf_kind(byte) & 1 && !lf_alike(g, state, lf_step(g, state, (uint8_t)byte)))
            kinds &= ~(1u << lf_kind(byte));
    if (kinds && !g->fault && lf_loops_wide(g, state)) kinds |= 1u << LF_KIND_WIDE;
    g->states[state].flags |= LF_LOOPS;
    return g->states[state].loops = kinds;
}

/* Set the bits of a node's token and all those below it, where all characters below lead round in a circle, that which
   the node begins among them; `above` and `state` are the states before and after its byte. Return whether it was so. */
static int lf_take_all(lf_grammar *g, uint32_t *words, uint32_t node, uint32_t above, uint32_t state)
{
    const lf_trie *t = g->trie;
    const int begins = lf_wide(lf_trie_byte(t->nodes + node)) != 0;
    /* What comes round in a local state comes round in each that it stands for. */
    const uint32_t from = begins ? above : state, local = lf_local(g, from), kinds = lf_loops(g, local);
    const uint32_t needed = t->below[node] | (begins ? 1u << LF_KIND_WIDE : 0);
    const uint32_t more = t->deepest[node] - lf_trie_depth(t->nodes + node) + (uint32_t)begins;
    if (needed & ~kinds || more > g->states[from].slack || g->fault) return 0;
    const uint32_t behind = lf_trie_skip(t->nodes + node);
    for (uint32_t i = t->first[node]; i < t->first[behind]; i++) lf_set_bit(words, t->order[i]);
    return 1;
}

/* Set the bits of the tokens of more than `size` bytes below the nodes from `i` to `end`; g->path holds the states above
   them. A local walk leaves for later what depends on the origins. */
static void lf_walk(lf_grammar *g, uint32_t *words, uint32_t i, uint32_t end, uint32_t size, int local)
{
    const lf_trie *t = g->trie;
    while (i < end && !g->fault) {
        const lf_trie_node *node = t->nodes + i;
        const uint32_t depth = lf_trie_depth(node), behind = lf_trie_skip(node);
        const uint32_t state = t->deepest[i] > size ? lf_step(g, g->path[depth - 1], lf_trie_byte(node)) : LF_DEAD;
        if (state == LF_DEAD) {
            i = behind;
            continue;
        }
        const int leaves = local && g->states[state].flags & LF_ESCAPES;
        if (!leaves && behind - i > LF_MANY_NODES && lf_take_all(g, words, i, g->path[depth - 1], state)) {
            i = behind;
            continue;
        }
        if (depth > size)
            for (int32_t id = lf_trie_token(node); id >= 0; id = t->same[id]) lf_set_bit(words, id);
        if (leaves && behind > i + 1) lf_leave(g, i);
        g->path[depth] = state;
        i = leaves ? behind : i + 1;
    }
}

/* Keep a copy of a mask and of the nodes left for later. */
static void lf_keep_mask(lf_grammar *g, uint32_t state, const uint32_t *words)
{
    const size_t size = (size_t)g->trie->n_words * sizeof *words, extra = g->n_escapes * sizeof *g->escapes;
    lf_mask *grown = lf_grow(g->masks, &g->masks_room, (uint64_t)g->n_masks + 1, sizeof *grown);
    uint32_t *kept = malloc(size + extra);
    if (grown) g->masks = grown;
    if (!grown || !kept) {
        free(kept);
        lf_out_of_memory(g);
        return;
    }
    memcpy(kept, words, size);
    if (extra) memcpy(kept + g->trie->n_words, g->escapes, extra);
    g->masks[g->n_masks] = (lf_mask){kept, kept + g->trie->n_words, g->n_escapes};
    g->states[state].mask = g->n_masks++;
    g->mask_bytes += size + extra;
}

/* Work out the mask of a state with the origins forgotten, where that has not been done. */
static void lf_fill_local(lf_grammar *g, uint32_t local, uint32_t *words)
{
    if (g->states[local].mask != LF_UNKNOWN) {
        memcpy(words, g->masks[g->states[local].mask].words, (size_t)g->trie->n_words * sizeof *words);
        return;
    }
    g->n_escapes = 0;
    g->path[0] = local;
    lf_walk(g, words, 0, g->trie->n_nodes, 0, 1);
    if (!g->fault) lf_keep_mask(g, local, words);
}

/* Take a state through the bytes above a node of the tree, then walk what is below it. */
static void lf_walk_below(lf_grammar *g, uint32_t *words, uint32_t node)
{
    const lf_trie *t = g->trie;
    const uint32_t depth = lf_trie_depth(t->nodes + node), behind = lf_trie_skip(t->nodes + node);
    uint32_t leaf = node;
    while (lf_trie_token(t->nodes + leaf) < 0) leaf++; /* the next token below has the node's bytes in front */
    const uint8_t *text = t->bytes + t->at[lf_trie_token(t->nodes + leaf)];
    for (uint32_t i = 0; i < depth && !g->fault; i++) g->path[i + 1] = lf_step(g, g->path[i], text[i]);
    lf_walk(g, words, node + 1, behind, 0, 0);
}

/* Set the bits of the tokens that take whole tokens of the grammar. */
static void lf_fill_tokens(lf_grammar *g, uint32_t state, uint32_t *words)
{
    const lf_state s = g->states[state];
    for (uint32_t i = 0; i < s.n_scans; i++) {
        const lf_grammar_node node = g->nodes[g->items[s.scans + i].node];
        if (node.kind != LF_NODE_TOKEN) continue;
        const lf_grammar_tokens *set = g->tokens + node.arg;
        for (int32_t id = 0; set->negated && id < g->trie->n_vocab; id++)
            if (lf_token_in(g, set, id)) lf_set_bit(words, id);
        for (uint32_t k = 0; !set->negated && k < set->count; k++) lf_set_bit(words, g->ids[set->first + k]);
    }
}

int lf_token_in(const lf_grammar *g, const lf_grammar_tokens *set, int32_t id)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (g->ids[set->first + i] == id) return !set->negated;
    return set->negated && lf_bit(g->trie->ordinary, id);
}

void lf_drop_masks(lf_grammar *g)
{
    for (uint32_t i = 0; i < g->n_masks; i++) free(g->masks[i].words);
    for (uint32_t i = 0; i < g->n_states; i++) g->states[i].mask = LF_UNKNOWN;
    g->n_masks = 0;
    g->mask_bytes = 0;
}

/* Work out a state's mask from that of its local state: tokens that are too long for that, and those behind which the
   origins decide, are walked through anew. */
static void lf_fill_from(lf_grammar *g, uint32_t state, uint32_t local, uint32_t *words)
{
    const lf_trie *t = g->trie;
    const uint32_t slack = g->states[state].slack;
    lf_fill_local(g, local, words);
    if (g->fault) return;
    for (uint32_t i = 0; i < t->first[t->n_nodes]; i++) {
        const int32_t id = t->by_size[i];
        if (t->at[id + 1] - t->at[id] <= slack) break;
        words[id >> 5] &= ~(1u << (id & 31));
    }
    g->path[0] = state;
    for (uint32_t i = 0; !g->fault && i < g->masks[g->states[local].mask].n_escapes; i++)
        lf_walk_below(g, words, g->masks[g->states[local].mask].escapes[i]);
    if (slack < t->longest) lf_walk(g, words, 0, t->n_nodes, slack, 0);
}

void lf_fill(lf_grammar *g, uint32_t state, uint32_t *words)
{
    const size_t size = (size_t)g->trie->n_words * sizeof *words;
    if (g->states[state].mask != LF_UNKNOWN) {
        memcpy(words, g->masks[g->states[state].mask].words, size);
        return;
    }
    if (g->mask_bytes > LF_MASK_ROOM) lf_drop_masks(g);
    memset(words, 0, size);
    const uint32_t local = lf_local(g, state);
    if (!g->fault && !(g->states[local].flags & LF_ESCAPES)) {
        lf_fill_from(g, state, local, words);
    } else {
        g->path[0] = state;
        lf_walk(g, words, 0, g->trie->n_nodes, 0, 0);
    }
    lf_fill_tokens(g, state, words);
    if (g->states[state].flags & LF_ACCEPTS)
        for (int32_t i = 0; i < g->trie->n_words; i++) words[i] |= g->trie->ends[i];
    g->n_escapes = 0;
    if (!g->fault) lf_keep_mask(g, state, words);
}
