/* Builds the tree of a vocabulary: texts of all tokens, sorted, then laid out in the order of a walk. */
#include <stdlib.h>
#include <string.h>

#include "grammar.h"
#include "grow.h"
#include "tokens.h"
#include "trie.h"

enum { LF_TRIE_VOCAB = (1 << 22) - 2, LF_TRIE_NODES = (1 << 24) - 1 };

static const uint8_t *lf_text(const lf_trie *t, int32_t id, uint32_t *size)
{
    *size = t->at[id + 1] - t->at[id];
    return t->bytes + t->at[id];
}

/* Return the byte of a token at a depth, 0 behind its end. */
static unsigned lf_key_at(const lf_trie *t, int32_t id, uint32_t depth)
{
    uint32_t size;
    const uint8_t *text = lf_text(t, id, &size);
    return depth < size ? text[depth] + 1u : 0;
}

static void lf_swap(int32_t *a, int32_t *b)
{
    const int32_t kept = *a;
    *a = *b;
    *b = kept;
}

/* Order `count` ids by their bytes at a depth around one of them; set the ends of those before it and equal to it. */
static unsigned lf_part(const lf_trie *t, int32_t *ids, int64_t count, uint32_t depth, int64_t *low, int64_t *high)
{
    const unsigned pivot = lf_key_at(t, ids[count / 2], depth);
    *low = 0, *high = count;
    for (int64_t i = 0; i < *high;) {
        const unsigned key = lf_key_at(t, ids[i], depth);
        if (key < pivot)
            lf_swap(ids + (*low)++, ids + i++);
        else if (key > pivot)
            lf_swap(ids + i, ids + --*high);
        else
            i++;
    }
    return pivot;
}

/* Sort ids whose texts are equal up to `depth`; only the two smaller parts of three recur, so the stack stays low. */
static void lf_sort(const lf_trie *t, int32_t *ids, int64_t count, uint32_t depth)
{
    while (count > 1) {
        int64_t low, high;
        const unsigned pivot = lf_part(t, ids, count, depth, &low, &high);
        const int64_t from[3] = {0, low, high}, size[3] = {low, pivot ? high - low : 0, count - high};
        const int largest = size[0] >= size[1] && size[0] >= size[2] ? 0 : size[1] >= size[2] ? 1 : 2;
        for (int i = 0; i < 3; i++)
            if (i != largest) lf_sort(t, ids + from[i], size[i], depth + (i == 1));
        ids += from[largest];
        count = size[largest];
        depth += largest == 1;
    }
}

/* Copy the texts of all tokens; those that are no text get none. */
static int lf_read_texts(lf_trie *t, const lf_vocab *vocab)
{
    lf_token_bytes out = {NULL, 0, 0};
    int code = LF_TOKENS_OK;
    for (int32_t id = 0; id < t->n_vocab && !code; id++) {
        const uint64_t before = out.count;
        const int32_t kind = lf_token_kind(vocab, id);
        t->at[id] = (uint32_t)before;
        if (kind != LF_TOKEN_UNKNOWN && kind != LF_TOKEN_UNUSED && !lf_bit(t->ends, id)) lf_set_bit(t->ordinary, id);
        if (lf_bit(t->ends, id)) continue;
        code = lf_detokenize(vocab, &id, 1, 0, &out);
        if (out.count - before > LF_TRIE_DEPTH) out.count = before;
        if (out.count > UINT32_MAX / 2) code = LF_TOKENS_BIG;
    }
    t->at[t->n_vocab] = (uint32_t)out.count;
    t->bytes = out.data;
    return code;
}

/* Append the nodes of one token that the token before it does not share; `open` is the path of the walk. */
static int lf_lay(lf_trie *t, uint64_t *room, uint32_t *open, uint32_t same, int32_t id)
{
    uint32_t size;
    const uint8_t *text = lf_text(t, id, &size);
    lf_trie_node *grown = lf_grow(t->nodes, room, (uint64_t)t->n_nodes + size, sizeof *grown);
    if (!grown || t->n_nodes + size > LF_TRIE_NODES) return -1;
    t->nodes = grown;
    for (uint32_t depth = same; depth < size; depth++) {
        open[depth] = t->n_nodes;
        t->nodes[t->n_nodes++] = (lf_trie_node){text[depth], depth + 1};
    }
    lf_trie_node *last = t->nodes + open[size - 1];
    t->same[id] = lf_trie_token(last);
    last->token_depth = (uint32_t)(id + 1) << 10 | size;
    return 0;
}

static void lf_shut(lf_trie *t, const uint32_t *open, uint32_t from, uint32_t to)
{
    for (uint32_t depth = from; depth < to; depth++)
        t->nodes[open[depth]].skip_byte |= t->n_nodes << 8;
}

/* Lay out sorted ids, those without text left out. */
static int lf_lay_out(lf_trie *t, const int32_t *ids)
{
    uint32_t open[LF_TRIE_DEPTH], depth = 0;
    uint64_t room = 0;
    const uint8_t *before = NULL;
    for (int32_t i = 0; i < t->n_vocab; i++) {
        uint32_t size, same = 0;
        const uint8_t *text = lf_text(t, ids[i], &size);
        if (!size) continue;
        while (same < depth && same < size && before[same] == text[same]) same++;
        lf_shut(t, open, same, depth);
        if (lf_lay(t, &room, open, same, ids[i])) return -1;
        before = text;
        depth = size;
    }
    lf_shut(t, open, 0, depth);
    return 0;
}

unsigned lf_kind(unsigned byte)
{
    static const char *const kinds[] = {"\"", "\\", "\t", "\n\r", "\x7f", " ", ",:", "{}[]()", "<>", "-_."};
    if (byte >= '0' && byte <= '9') return 10;
    if (byte >= 'a' && byte <= 'z') return 11;
    if (byte >= 'A' && byte <= 'Z') return 12;
    for (unsigned i = 0; byte && i < sizeof kinds / sizeof *kinds; i++)
        if (strchr(kinds[i], (int)byte)) return i;
    return byte < 32 ? 13 : LF_KIND_OTHER;
}

unsigned lf_wide(unsigned byte)
{
    if (byte < 0xc2 || byte > 0xf4) return 0;
    return byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
}

int lf_continues(unsigned before, unsigned byte)
{
    const unsigned low = before == 0xe0 ? 0xa0 : before == 0xf0 ? 0x90 : 0x80;
    const unsigned high = before == 0xed ? 0x9f : before == 0xf4 ? 0x8f : 0xbf;
    return byte >= low && byte <= high;
}

/* Say what is below a node of byte `before`, for 0 to 3 bytes that its last character still lacks, by what is said of
   one of its children. */
static void lf_see(uint32_t *of, unsigned before, const uint32_t *child, uint8_t byte)
{
    if (byte < 0x80) {
        of[0] |= 1u << lf_kind(byte) | child[0];
        of[1] = of[2] = of[3] = LF_KIND_BROKEN;
    } else if (byte < 0xc0) {
        const int goes_on = lf_continues(before, byte);
        of[0] = LF_KIND_BROKEN;
        for (int lacking = 1; lacking < 4; lacking++) of[lacking] |= goes_on ? child[lacking - 1] : LF_KIND_BROKEN;
    } else {
        const unsigned more = lf_wide(byte);
        of[0] |= more ? 1u << LF_KIND_WIDE | child[more] : LF_KIND_BROKEN;
        of[1] = of[2] = of[3] = LF_KIND_BROKEN;
    }
}

/* Fill in `below` and `deepest`, from the leaves up. */
static int lf_look_below(lf_trie *t)
{
    uint32_t(*seen)[4] = calloc((size_t)t->n_nodes + 1, sizeof *seen), parents[LF_TRIE_DEPTH + 1];
    if (!seen) return -1;
    uint32_t *parent = malloc(((size_t)t->n_nodes + 1) * sizeof *parent);
    for (uint32_t i = 0; parent && i < t->n_nodes; i++) {
        const uint32_t depth = lf_trie_depth(t->nodes + i);
        parent[i] = depth > 1 ? parents[depth - 1] : t->n_nodes;
        parents[depth] = i;
    }
    for (uint32_t i = t->n_nodes; parent && i-- > 0;) {
        const lf_trie_node *node = t->nodes + i;
        if (!t->deepest[i]) t->deepest[i] = (uint16_t)lf_trie_depth(node);
        if (t->deepest[parent[i]] < t->deepest[i]) t->deepest[parent[i]] = t->deepest[i];
        const unsigned before = parent[i] < t->n_nodes ? lf_trie_byte(t->nodes + parent[i]) : 0;
        lf_see(seen[parent[i]], before, seen[i], lf_trie_byte(node));
        t->below[i] = seen[i][lf_wide(lf_trie_byte(node))];
    }
    const int failed = !parent;
    free(parent);
    free(seen);
    return failed;
}

/* Fill in `order` and `first`, then the ids by size: sorted by counting. */
static int lf_list_tokens(lf_trie *t)
{
    uint32_t *sizes = calloc(LF_TRIE_DEPTH + 2, sizeof *sizes), count = 0;
    if (!sizes) return -1;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        t->first[i] = count;
        for (int32_t id = lf_trie_token(t->nodes + i); id >= 0; id = t->same[id]) {
            t->order[count++] = id;
            sizes[LF_TRIE_DEPTH - lf_trie_depth(t->nodes + i) + 1]++;
        }
    }
    t->first[t->n_nodes] = count;
    for (uint32_t i = 1; i <= LF_TRIE_DEPTH + 1; i++) sizes[i] += sizes[i - 1];
    for (uint32_t i = 0; i < count; i++) {
        const int32_t id = t->order[i];
        t->by_size[sizes[LF_TRIE_DEPTH - (t->at[id + 1] - t->at[id])]++] = id;
    }
    if (count) t->longest = t->at[t->by_size[0] + 1] - t->at[t->by_size[0]];
    free(sizes);
    return 0;
}

static int lf_describe(lf_trie *t)
{
    const size_t count = (size_t)t->n_nodes + 1;
    t->below = malloc(count * sizeof *t->below);
    t->first = malloc(count * sizeof *t->first);
    t->deepest = calloc(count, sizeof *t->deepest);
    t->order = malloc((size_t)t->n_vocab * sizeof *t->order);
    t->by_size = malloc((size_t)t->n_vocab * sizeof *t->by_size);
    if (!t->below || !t->first || !t->deepest || !t->order || !t->by_size) return -1;
    return lf_look_below(t) || lf_list_tokens(t);
}

static lf_trie *lf_trie_room(int32_t n_vocab, const int32_t *ends, int32_t n_ends)
{
    lf_trie *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->shares = 1;
    t->n_vocab = n_vocab;
    t->n_words = (n_vocab + 31) / 32;
    t->at = malloc(((size_t)n_vocab + 1) * sizeof *t->at);
    t->same = malloc((size_t)n_vocab * sizeof *t->same);
    t->ends = calloc((size_t)t->n_words, sizeof *t->ends);
    t->ordinary = calloc((size_t)t->n_words, sizeof *t->ordinary);
    if (!t->at || !t->same || !t->ends || !t->ordinary) {
        lf_trie_free(t);
        return NULL;
    }
    memset(t->same, 0xff, (size_t)n_vocab * sizeof *t->same);
    for (int32_t i = 0; i < n_ends; i++)
        if (ends[i] >= 0 && ends[i] < n_vocab) lf_set_bit(t->ends, ends[i]);
    return t;
}

lf_trie *lf_trie_new(const struct lf_vocab *vocab, int32_t n_vocab, const int32_t *ends, int32_t n_ends)
{
    if (n_vocab < 1 || n_vocab > LF_TRIE_VOCAB) return NULL;
    lf_trie *t = lf_trie_room(n_vocab, ends, n_ends);
    int32_t *ids = malloc((size_t)n_vocab * sizeof *ids);
    int failed = !t || !ids || lf_read_texts(t, vocab);
    if (!failed) {
        for (int32_t i = 0; i < n_vocab; i++) ids[i] = i;
        lf_sort(t, ids, n_vocab, 0);
        failed = lf_lay_out(t, ids) || lf_describe(t);
    }
    free(ids);
    if (!failed) return t;
    lf_trie_free(t);
    return NULL;
}

lf_trie *lf_trie_share(lf_trie *t)
{
    __atomic_add_fetch(&t->shares, 1, __ATOMIC_ACQ_REL);
    return t;
}

void lf_trie_free(lf_trie *t)
{
    if (!t || __atomic_sub_fetch(&t->shares, 1, __ATOMIC_ACQ_REL)) return;
    void *parts[] = {t->nodes, t->below, t->first, t->deepest, t->order, t->by_size, t->bytes, t->at, t->same, t->ends,
                     t->ordinary, t};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}
