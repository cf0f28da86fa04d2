/* A matcher's place in a grammar: what may come, and going on by what came. */
#include <stdlib.h>
#include <string.h>

#include "automaton.h"

enum {
    LF_CALL_EFFORT = 1 << 20, /* items that one call may handle: some tenths of a second */
    LF_SIZE_LIMIT = 96 << 20, /* bytes of states after which all but those in use are forgotten */
};

static uint64_t lf_states_size(const lf_grammar *g)
{
    const uint64_t state = sizeof *g->states + g->n_classes * sizeof *g->steps;
    return g->n_states * state + g->n_items * sizeof *g->items + g->n_waiters * sizeof *g->waiters;
}

uint64_t lf_grammar_size(const lf_grammar *g)
{
    return lf_states_size(g) + g->mask_bytes + g->table_size * sizeof *g->table;
}

static lf_grammar *lf_enter(lf_matcher *m)
{
    lf_grammar *g = m->grammar;
    pthread_mutex_lock(&g->lock);
    g->fault = 0;
    if (lf_states_size(g) > LF_SIZE_LIMIT) {
        lf_forget(g);
        if (!g->fault && lf_states_size(g) > LF_SIZE_LIMIT / 2) g->fault = LF_GRAMMAR_DEEP;
    }
    g->effort = LF_CALL_EFFORT;
    return g;
}

static int lf_leave_with(lf_grammar *g, int code)
{
    const int answer = g->fault ? g->fault : code;
    pthread_mutex_unlock(&g->lock);
    return answer;
}

/* Make a matcher in a state and put it into the grammar's ring, whose lock is held. */
static lf_matcher *lf_join(lf_grammar *g, uint32_t state, uint32_t ended)
{
    lf_matcher *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    *m = (lf_matcher){g, &g->matchers, g->matchers.next, state, ended};
    m->next->previous = g->matchers.next = m;
    __atomic_add_fetch(&g->shares, 1, __ATOMIC_ACQ_REL);
    return m;
}

lf_matcher *lf_matcher_new(lf_grammar *g)
{
    pthread_mutex_lock(&g->lock);
    lf_matcher *m = lf_join(g, g->start, 0);
    pthread_mutex_unlock(&g->lock);
    return m;
}

lf_matcher *lf_matcher_clone(lf_matcher *m)
{
    pthread_mutex_lock(&m->grammar->lock);
    lf_matcher *twin = lf_join(m->grammar, m->state, m->ended);
    pthread_mutex_unlock(&m->grammar->lock);
    return twin;
}

void lf_matcher_free(lf_matcher *m)
{
    if (!m) return;
    lf_grammar *g = m->grammar;
    pthread_mutex_lock(&g->lock);
    m->previous->next = m->next;
    m->next->previous = m->previous;
    pthread_mutex_unlock(&g->lock);
    free(m);
    lf_grammar_free(g);
}

void lf_matcher_reset(lf_matcher *m)
{
    pthread_mutex_lock(&m->grammar->lock);
    m->state = m->grammar->start;
    m->ended = 0;
    pthread_mutex_unlock(&m->grammar->lock);
}

int lf_matcher_fill(lf_matcher *m, uint32_t *mask, int32_t n_words)
{
    const int32_t own = m->grammar->trie->n_words;
    if (n_words < own) return LF_GRAMMAR_REFUSED;
    memset(mask + own, 0, (size_t)(n_words - own) * sizeof *mask);
    lf_grammar *g = lf_enter(m);
    if (g->fault) return lf_leave_with(g, LF_GRAMMAR_OK);
    if (m->ended)
        memcpy(mask, g->trie->ends, (size_t)own * sizeof *mask);
    else
        lf_fill(g, m->state, mask);
    return lf_leave_with(g, LF_GRAMMAR_OK);
}

/* Add what follows the token as a whole, where the state takes whole tokens. */
static void lf_add_token(lf_grammar *g, uint32_t state, int32_t token)
{
    const lf_state s = g->states[state];
    for (uint32_t i = 0; i < s.n_scans; i++) {
        const lf_item item = g->items[s.scans + i];
        const lf_grammar_node node = g->nodes[item.node];
        if (node.kind != LF_NODE_TOKEN || !lf_token_in(g, g->tokens + node.arg, token)) continue;
        lf_kernel_add(g, (lf_item){node.next, 0, item.as, item.origin == LF_SELF ? state : item.origin});
    }
}

static uint32_t lf_run(lf_grammar *g, uint32_t state, const uint8_t *text, uint64_t size)
{
    for (uint64_t i = 0; i < size && state != LF_DEAD; i++) state = lf_step(g, state, text[i]);
    return state;
}

/* Return the state after a token, read as its bytes or as a whole: both ways stay open. */
static uint32_t lf_after(lf_grammar *g, uint32_t from, int32_t token)
{
    const uint32_t at = g->trie->at[token], size = g->trie->at[token + 1] - at;
    const uint32_t read = size ? lf_run(g, from, g->trie->bytes + at, size) : LF_DEAD;
    g->n_kernel = 0;
    lf_add_token(g, from, token);
    if (!g->n_kernel) return read;
    const lf_state s = g->states[read];
    for (uint32_t i = 0; i < s.n_kernel; i++) lf_kernel_add(g, g->items[s.kernel + i]);
    return lf_intern(g);
}

int lf_matcher_accept(lf_matcher *m, int32_t token)
{
    lf_grammar *g = lf_enter(m);
    if (g->fault || token < 0 || token >= g->trie->n_vocab) return lf_leave_with(g, LF_GRAMMAR_REFUSED);
    if (lf_bit(g->trie->ends, token)) {
        const int may = m->ended || g->states[m->state].flags & LF_ACCEPTS;
        if (may) m->ended = 1;
        return lf_leave_with(g, may ? LF_GRAMMAR_OK : LF_GRAMMAR_REFUSED);
    }
    const uint32_t after = m->ended ? LF_DEAD : lf_after(g, m->state, token);
    if (g->fault || after == LF_DEAD) return lf_leave_with(g, LF_GRAMMAR_REFUSED);
    m->state = after;
    return lf_leave_with(g, LF_GRAMMAR_OK);
}

int lf_matcher_accept_bytes(lf_matcher *m, const uint8_t *text, uint64_t size)
{
    lf_grammar *g = lf_enter(m);
    const uint32_t after = g->fault || (m->ended && size) ? LF_DEAD : lf_run(g, m->state, text, size);
    if (g->fault || after == LF_DEAD) return lf_leave_with(g, LF_GRAMMAR_REFUSED);
    m->state = after;
    return lf_leave_with(g, LF_GRAMMAR_OK);
}

int lf_matcher_may_end(lf_matcher *m)
{
    pthread_mutex_lock(&m->grammar->lock);
    const int may = m->ended || m->grammar->states[m->state].flags & LF_ACCEPTS;
    pthread_mutex_unlock(&m->grammar->lock);
    return may;
}

int lf_matcher_finished(lf_matcher *m)
{
    pthread_mutex_lock(&m->grammar->lock);
    const lf_state *s = m->grammar->states + m->state;
    const int finished = m->ended || (s->flags & LF_ACCEPTS && !s->n_scans);
    pthread_mutex_unlock(&m->grammar->lock);
    return finished;
}
