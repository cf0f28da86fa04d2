/* Opens a grammar: checks and copies what it is made from, finds nullable rules and classes of bytes; frees it. */
#include <stdlib.h>
#include <string.h>

#include "automaton.h"

enum {
    LF_NODE_LIMIT = 1 << 22, LF_SEEN_FIRST = 256, LF_TABLE_FIRST = 1024,
    LF_BEGIN_EFFORT = 1 << 16, /* items that the first state may have: less than a tenth of a second */
    LF_FORGET_EFFORT = 1 << 26,
};

static int lf_node_sound(const lf_grammar_source *s, const lf_grammar_node *n)
{
    const uint32_t limits[] = {UINT32_MAX, s->n_sets, s->n_rules, s->n_tokens, s->n_nodes, s->n_counts};
    return n->kind <= LF_NODE_COUNT && n->next < s->n_nodes && n->arg < limits[n->kind];
}

/* Return whether every number in a source points to something that is there. */
static int lf_sound(const lf_grammar_source *s, int32_t n_vocab)
{
    if (!s->n_nodes || !s->n_rules || s->n_nodes > LF_NODE_LIMIT || s->nodes[0].kind != LF_NODE_END) return 0;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (!lf_node_sound(s, s->nodes + i)) return 0;
    for (uint32_t i = 0; i < s->n_rules; i++)
        if (s->rules[i] >= s->n_nodes) return 0;
    for (uint32_t i = 0; i < s->n_counts; i++)
        if (s->counts[i].rule >= s->n_rules || s->counts[i].most < s->counts[i].least ||
            s->counts[i].most > LF_NO_LIMIT)
            return 0;
    for (uint32_t i = 0; i < s->n_tokens; i++)
        if (s->tokens[i].first > s->n_ids || s->tokens[i].count > s->n_ids - s->tokens[i].first) return 0;
    for (uint32_t i = 0; i < s->n_ids; i++)
        if (s->ids[i] < 0 || s->ids[i] >= n_vocab) return 0;
    return 1;
}

static void *lf_copy(const void *from, size_t count, size_t size)
{
    void *copy = malloc(count * size + 1);
    if (copy && count) memcpy(copy, from, count * size);
    return copy;
}

static int lf_take(lf_grammar *g, const lf_grammar_source *s)
{
    g->nodes = lf_copy(s->nodes, s->n_nodes, sizeof *s->nodes);
    g->rules = lf_copy(s->rules, s->n_rules, sizeof *s->rules);
    g->sets = calloc(s->n_sets + 1, sizeof *g->sets);
    g->counts = lf_copy(s->counts, s->n_counts, sizeof *s->counts);
    g->tokens = lf_copy(s->tokens, s->n_tokens, sizeof *s->tokens);
    g->ids = lf_copy(s->ids, s->n_ids, sizeof *s->ids);
    g->nullable = calloc(s->n_rules, 1);
    g->predicted = calloc(s->n_rules, sizeof *g->predicted);
    g->seen = calloc(g->seen_size = LF_SEEN_FIRST, sizeof *g->seen);
    g->table = calloc(g->table_size = LF_TABLE_FIRST, sizeof *g->table);
    g->path = calloc(LF_TRIE_DEPTH + 1, sizeof *g->path);
    if (!g->nodes || !g->rules || !g->sets || !g->counts || !g->tokens || !g->ids || !g->nullable || !g->predicted ||
        !g->seen || !g->table || !g->path)
        return -1;
    g->n_nodes = s->n_nodes, g->n_rules = s->n_rules, g->n_sets = s->n_sets;
    g->n_counts = s->n_counts, g->n_tokens = s->n_tokens, g->n_ids = s->n_ids;
    for (uint32_t set = 0; set < s->n_sets; set++)
        for (unsigned b = 0; b < 256; b++)
            g->sets[set][b >> 5] |= (uint32_t)(s->sets[set * 32 + b / 8] >> (b & 7) & 1) << (b & 31);
    return 0;
}

/* Number bytes so that those which every set treats alike share a number. */
static void lf_find_classes(lf_grammar *g)
{
    uint16_t class_of[256] = {0}, classes = 1;
    for (uint32_t set = 0; set < g->n_sets && classes < 256; set++) {
        uint16_t fresh[512];
        memset(fresh, 0xff, sizeof fresh);
        classes = 0;
        for (unsigned b = 0; b < 256; b++) {
            uint16_t *number = fresh + 2 * class_of[b] + lf_set_has(g, set, b);
            if (*number == 0xffff) *number = classes++;
            class_of[b] = *number;
        }
    }
    g->n_classes = classes;
    for (unsigned b = 0; b < 256; b++) {
        g->class_of[b] = (uint8_t)class_of[b];
        g->byte_of[class_of[b]] = (uint8_t)b;
    }
}

/* What can be said of a node by what is said of those behind it: that its rule can end without reading, or at all. */
typedef int lf_property(const lf_grammar *g, const uint8_t *nodes, uint32_t at);

static int lf_may_be_empty(const lf_grammar *g, const uint8_t *nodes, uint32_t at)
{
    const lf_grammar_node n = g->nodes[at];
    switch (n.kind) {
    case LF_NODE_END: return 1;
    case LF_NODE_SPLIT: return nodes[n.arg] || nodes[n.next];
    case LF_NODE_CALL: return nodes[g->rules[n.arg]] && nodes[n.next];
    case LF_NODE_COUNT:
        return (!g->counts[n.arg].least || nodes[g->rules[g->counts[n.arg].rule]]) && nodes[n.next];
    default: return 0;
    }
}

static int lf_may_end(const lf_grammar *g, const uint8_t *nodes, uint32_t at)
{
    static const uint32_t nothing[8];
    const lf_grammar_node n = g->nodes[at];
    if (n.kind == LF_NODE_BYTES) return nodes[n.next] && memcmp(g->sets[n.arg], nothing, sizeof nothing);
    if (n.kind == LF_NODE_TOKEN) return nodes[n.next] && (g->tokens[n.arg].count || g->tokens[n.arg].negated);
    return lf_may_be_empty(g, nodes, at);
}

/* Lists of the nodes to look at again when something is said of a node: `first` of each node, then `link`, two a node
   for what it leads to and one for the rule that it calls. */
typedef struct {
    uint32_t *first, *link, *todo;
} lf_followers;

static void lf_follow_node(lf_followers *f, uint32_t leads_to, uint32_t place)
{
    f->link[place] = f->first[leads_to];
    f->first[leads_to] = place + 1;
}

static int lf_followers_new(const lf_grammar *g, lf_followers *f)
{
    f->first = calloc(g->n_nodes, sizeof *f->first);
    f->link = calloc((size_t)g->n_nodes * 2, sizeof *f->link);
    f->todo = malloc((size_t)g->n_nodes * sizeof *f->todo);
    if (!f->first || !f->link || !f->todo) return -1;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const lf_grammar_node n = g->nodes[i];
        lf_follow_node(f, n.next, 2 * i);
        if (n.kind == LF_NODE_SPLIT) lf_follow_node(f, n.arg, 2 * i + 1);
        if (n.kind == LF_NODE_CALL) lf_follow_node(f, g->rules[n.arg], 2 * i + 1);
        if (n.kind == LF_NODE_COUNT) lf_follow_node(f, g->rules[g->counts[n.arg].rule], 2 * i + 1);
    }
    return 0;
}

/* Say a property of every node that has it, from those that have it by themselves on. */
static void lf_spread(const lf_grammar *g, lf_followers *f, lf_property *has, uint8_t *nodes)
{
    uint32_t count = 0;
    memset(nodes, 0, g->n_nodes);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (!nodes[i] && has(g, nodes, i)) nodes[i] = 1, f->todo[count++] = i;
    while (count) {
        for (uint32_t place = f->first[f->todo[--count]], next; place; place = next) {
            const uint32_t node = (place - 1) / 2;
            next = f->link[place - 1];
            if (nodes[node] || !has(g, nodes, node)) continue;
            nodes[node] = 1;
            f->todo[count++] = node;
        }
    }
}

/* Find the rules that match the empty text, and the nodes that lead anywhere at all. A counted rule that matches the
   empty text may as well come fewer times. */
static int lf_look_ahead(lf_grammar *g)
{
    lf_followers f = {NULL, NULL, NULL};
    uint8_t *empty = malloc(g->n_nodes);
    g->useful = malloc(g->n_nodes);
    const int failed = !empty || !g->useful || lf_followers_new(g, &f);
    if (!failed) {
        lf_spread(g, &f, lf_may_be_empty, empty);
        for (uint32_t i = 0; i < g->n_rules; i++) g->nullable[i] = empty[g->rules[i]];
        for (uint32_t i = 0; i < g->n_counts; i++)
            if (g->nullable[g->counts[i].rule]) g->counts[i].least = 0;
        lf_spread(g, &f, lf_may_end, g->useful);
    }
    free(f.first);
    free(f.link);
    free(f.todo);
    free(empty);
    return failed;
}

/* Make the states that are always there, and the grammar's first one. */
static int lf_begin(lf_grammar *g)
{
    memset(g->table, 0, g->table_size * sizeof *g->table);
    g->n_states = LF_FIRST;
    g->n_items = g->n_waiters = g->n_kernel = 0;
    lf_kernel_add(g, (lf_item){g->rules[0], 0, 0, LF_TOP});
    g->start = lf_intern(g);
    return g->fault ? -1 : 0;
}

/* Make room for the first states, from which no step leads on. */
static int lf_first_states(lf_grammar *g)
{
    g->states_room = LF_FIRST, g->steps_room = (uint64_t)LF_FIRST * g->n_classes;
    g->states = calloc(LF_FIRST, sizeof *g->states);
    g->steps = calloc(g->steps_room, sizeof *g->steps);
    if (!g->states || !g->steps) return -1;
    for (int i = 0; i < LF_FIRST; i++) g->states[i].mask = LF_UNKNOWN;
    return lf_begin(g);
}

lf_grammar *lf_grammar_new(lf_trie *trie, const lf_grammar_source *source, const char **problem)
{
    *problem = "out of memory";
    if (!lf_sound(source, trie->n_vocab)) {
        *problem = "is malformed";
        return NULL;
    }
    lf_grammar *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->trie = lf_trie_share(trie);
    g->shares = 1;
    g->matchers.next = g->matchers.previous = &g->matchers;
    g->effort = LF_BEGIN_EFFORT;
    pthread_mutex_init(&g->lock, NULL);
    int failed = lf_take(g, source) || lf_look_ahead(g);
    if (!failed) {
        lf_find_classes(g);
        failed = lf_first_states(g);
    }
    if (!failed && g->start != LF_DEAD) return g;
    if (!failed) *problem = "matches no text at all";
    if (g->fault == LF_GRAMMAR_AMBIGUOUS) *problem = "has too many ways to begin";
    lf_grammar_free(g);
    return NULL;
}

void lf_grammar_free(lf_grammar *g)
{
    if (!g || __atomic_sub_fetch(&g->shares, 1, __ATOMIC_ACQ_REL)) return;
    lf_drop_masks(g);
    void *parts[] = {g->useful, g->nodes, g->rules, g->sets, g->counts, g->tokens, g->ids, g->nullable, g->states, g->steps,
                     g->items, g->waiters, g->table, g->work, g->scans, g->kernel, g->seen, g->predicted, g->masks,
                     g->path, g->escapes};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
    pthread_mutex_destroy(&g->lock);
    lf_trie_free(g->trie);
    free(g);
}

/* Mark the states that matchers are in and, as origins are older than what they are the origin of, theirs. */
static void lf_mark(const lf_grammar *g, uint8_t *live)
{
    for (const lf_matcher *m = g->matchers.next; m != &g->matchers; m = m->next) live[m->state] = 1;
    for (uint32_t s = g->n_states; s-- > LF_FIRST;)
        for (uint32_t i = 0; live[s] && i < g->states[s].n_kernel; i++)
            live[g->items[g->states[s].kernel + i].origin] = 1;
}

/* Make a kept state again; `numbers` are the new ones of those before it. */
static uint32_t lf_again(lf_grammar *g, const lf_item *kernel, uint32_t count, const uint32_t *numbers)
{
    g->n_kernel = 0;
    for (uint32_t i = 0; i < count; i++) {
        lf_item item = kernel[i];
        item.origin = numbers[item.origin];
        lf_kernel_add(g, item);
    }
    return lf_intern(g);
}

void lf_forget(lf_grammar *g)
{
    const uint32_t count = g->n_states;
    uint8_t *live = calloc(count, 1);
    uint32_t *numbers = calloc(count, sizeof *numbers);
    lf_item *items = lf_copy(g->items, g->n_items, sizeof *items);
    lf_state *states = lf_copy(g->states, count, sizeof *states);
    if (live && numbers && items && states) {
        lf_drop_masks(g);
        lf_mark(g, live);
        g->effort = LF_FORGET_EFFORT;
        numbers[LF_BOTTOM] = LF_BOTTOM, numbers[LF_TOP] = LF_TOP;
        lf_begin(g);
        for (uint32_t s = LF_FIRST; s < count; s++)
            if (live[s]) numbers[s] = lf_again(g, items + states[s].kernel, states[s].n_kernel, numbers);
        for (lf_matcher *m = g->matchers.next; m != &g->matchers; m = m->next) m->state = numbers[m->state];
    } else {
        g->fault = LF_GRAMMAR_MEMORY;
    }
    free(live);
    free(numbers);
    free(items);
    free(states);
}
