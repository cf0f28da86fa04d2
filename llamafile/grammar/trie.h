/* The tree of a vocabulary's tokens by their bytes, in the order in which it is walked. */
#ifndef LF_TRIE_H
#define LF_TRIE_H

#include <stdint.h>

enum { LF_TRIE_DEPTH = 1023 };

/* A node stands for one byte; its children follow it, and `skip` is the node behind all of them. */
typedef struct {
    uint32_t skip_byte;   /* skip << 8 | byte */
    uint32_t token_depth; /* (id + 1, or 0 where no token ends here) << 10 | depth, 1 for the first byte */
} lf_trie_node;

typedef struct lf_trie {
    lf_trie_node *nodes;
    uint32_t n_nodes;
    int32_t n_vocab;
    uint32_t *below;    /* of each node: the kinds of characters below it, those of one that it begins among them */
    uint32_t *first;    /* of each node: the place in `order` of the first token at or below it; one more follows */
    uint16_t *deepest;  /* of each node: bytes of the longest token at or below it */
    int32_t *order;     /* the ids in the tree as a walk meets them */
    int32_t *by_size;   /* the same ids, the longest first */
    uint32_t longest;   /* bytes of the longest token */
    uint8_t *bytes;     /* all tokens' texts */
    uint32_t *at;       /* of each id: where its text begins; one more follows */
    int32_t *same;      /* of each id: another with the same bytes, or -1 */
    uint32_t *ends;     /* a bit for each id that ends an answer */
    uint32_t *ordinary; /* a bit for each id that a negated token set may mean */
    int32_t n_words, shares;
} lf_trie;

/* Return the tree, which one more lf_trie_free will now free. */
lf_trie *lf_trie_share(lf_trie *t);

/* Kinds of characters, as bits: what strings, names and numbers have in common. */
enum { LF_KIND_OTHER = 14, LF_KIND_WIDE = 15 };
#define LF_KIND_BROKEN 0xffffffffu /* bytes that are no characters */

/* Return the number of the kind of an ASCII character. */
unsigned lf_kind(unsigned byte);
/* Return how many bytes follow the first of a character of more than one, 0 for what is no such first. */
unsigned lf_wide(unsigned byte);
/* Return whether a byte may follow the first of a character of more than one (or, after 0x80, any other of it). */
int lf_continues(unsigned before, unsigned byte);

static inline uint32_t lf_trie_skip(const lf_trie_node *n)
{
    return n->skip_byte >> 8;
}

static inline uint8_t lf_trie_byte(const lf_trie_node *n)
{
    return (uint8_t)n->skip_byte;
}

static inline int32_t lf_trie_token(const lf_trie_node *n)
{
    return (int32_t)(n->token_depth >> 10) - 1;
}

static inline uint32_t lf_trie_depth(const lf_trie_node *n)
{
    return n->token_depth & LF_TRIE_DEPTH;
}

static inline int lf_bit(const uint32_t *bits, int32_t id)
{
    return bits[id >> 5] >> (id & 31) & 1;
}

static inline void lf_set_bit(uint32_t *bits, int32_t id)
{
    bits[id >> 5] |= 1u << (id & 31);
}
#endif
