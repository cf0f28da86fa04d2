/* The automaton of a grammar: states are sets of items as in Earley's parser, made when first reached, each only once.
 *
 * An item says: this node is next, in a call made at state `origin`, and its end is the end of rule `as`. A call in
 * the last place of a rule inherits `as` and `origin`, so that lists do not grow the way back. The origin is a state and
 * not a position: two positions of a text that can go on in the same ways are one state, whose steps and masks are
 * worked out once. */
#ifndef LF_AUTOMATON_H
#define LF_AUTOMATON_H

#include <pthread.h>
#include <stddef.h>

#include "grammar.h"
#include "trie.h"

/* The first states have a part to play: no way on, an origin that is not known, the origin of the whole text. */
enum { LF_DEAD, LF_BOTTOM, LF_TOP, LF_FIRST };

#define LF_SELF 0xffffffffu    /* as an origin: the state that the item belongs to */
#define LF_UNKNOWN 0xffffffffu /* a step not yet worked out, a mask not yet made */

/* The text may end here; a call from an origin not known is complete; `loops` is known. */
enum { LF_ACCEPTS = 1, LF_ESCAPES = 2, LF_LOOPS = 4 };

typedef struct {
    uint32_t node, count, as, origin;
} lf_item;

/* What waits in a state for the end of a rule. */
typedef struct {
    uint32_t rule;
    lf_item then;
} lf_waiter;

/* Places in the grammar's lists: the items it was made from, those that take a byte or token, and what waits. */
typedef struct {
    uint32_t kernel, scans, waiters;
    uint32_t n_kernel, n_scans, n_waiters;
    uint32_t local, mask, flags; /* `local` is this state with its origins forgotten, 0 where not known yet */
    uint32_t loops;              /* the kinds of characters that lead to a state like this one, where LF_LOOPS is set */
    uint32_t slack;              /* bytes for which its counted rules tell it from no other state like it */
} lf_state;

/* The mask of a state; of a local one also the nodes of the tree behind which its origins decide. */
typedef struct {
    uint32_t *words, *escapes;
    uint32_t n_escapes;
} lf_mask;

struct lf_matcher {
    lf_grammar *grammar;
    lf_matcher *previous, *next;
    uint32_t state, ended;
};

struct lf_grammar {
    lf_trie *trie;
    int32_t shares; /* whoever holds it, matchers among them */
    lf_grammar_node *nodes;
    uint32_t *rules, (*sets)[8];
    lf_grammar_count *counts;
    lf_grammar_tokens *tokens;
    int32_t *ids;
    uint8_t *nullable, *useful; /* of each rule; of each node whether a text can come of it */
    uint32_t n_nodes, n_rules, n_sets, n_counts, n_tokens, n_ids;
    uint8_t class_of[256], byte_of[256]; /* bytes that no set tells apart are one class */
    uint32_t n_classes;

    lf_state *states;
    uint32_t *steps; /* of each state n_classes */
    lf_item *items;
    lf_waiter *waiters;
    uint32_t *table; /* states by their kernels, open addressing */
    uint32_t n_states, n_items, n_waiters, table_size;
    uint64_t states_room, steps_room, items_room, waiters_room;

    lf_item *work, *scans, *kernel; /* scratch of the step at hand */
    uint64_t work_room, scans_room, kernel_room;
    uint32_t n_work, n_scans, n_kernel;
    uint64_t *seen; /* items of `work`: the step's number, then the place */
    uint32_t *predicted, seen_size, stamp;

    lf_mask *masks;
    uint64_t masks_room, mask_bytes;
    uint32_t n_masks, start;
    uint32_t *path, *escapes; /* scratch of a walk: the state at each depth, the nodes left for later */
    uint64_t escapes_room;
    uint32_t n_escapes;
    int64_t effort; /* what is left of the items that one call may handle */
    int fault;

    lf_matcher matchers; /* the head of a ring */
    pthread_mutex_t lock;
};

/* Add an item to the kernel of the state to come; lf_intern makes it, or finds it made already. */
void lf_kernel_add(lf_grammar *g, lf_item item);
uint32_t lf_intern(lf_grammar *g);
/* The state after one byte of a class; lf_step looks only where it has been worked out before. */
uint32_t lf_step_anew(lf_grammar *g, uint32_t state, uint32_t class);
/* Forget every state but those that matchers are in. */
void lf_forget(lf_grammar *g);
void lf_drop_masks(lf_grammar *g);
/* Set the bits of what may come in a state, in `words` of the tree's size. */
void lf_fill(lf_grammar *g, uint32_t state, uint32_t *words);
int lf_token_in(const lf_grammar *g, const lf_grammar_tokens *set, int32_t id);

static inline uint32_t lf_step(lf_grammar *g, uint32_t state, uint8_t byte)
{
    const uint32_t class = g->class_of[byte], next = g->steps[(size_t)state * g->n_classes + class];
    return next != LF_UNKNOWN ? next : lf_step_anew(g, state, class);
}

static inline int lf_set_has(const lf_grammar *g, uint32_t set, unsigned byte)
{
    return g->sets[set][byte >> 5] >> (byte & 31) & 1;
}
#endif
