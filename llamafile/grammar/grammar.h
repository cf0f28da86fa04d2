/* Grammars over bytes and tokens as Python sees them: which tokens of a vocabulary may come next. */
#ifndef LF_GRAMMAR_H
#define LF_GRAMMAR_H

#include <stdint.h>

/* cdef-begin */

struct lf_vocab; /* of tokens.h */
typedef struct lf_trie lf_trie;
typedef struct lf_grammar lf_grammar;
typedef struct lf_matcher lf_matcher;

/* What a node of a rule's network does; a node goes on to `next`. */
enum {
    LF_NODE_END,   /* the rule is complete */
    LF_NODE_BYTES, /* one byte of the set `arg` */
    LF_NODE_CALL,  /* whatever rule `arg` matches */
    LF_NODE_TOKEN, /* one token of the token set `arg` */
    LF_NODE_SPLIT, /* two ways to go on: `arg` and `next` */
    LF_NODE_COUNT, /* what the counted rule `arg` matches, least to most times */
};

typedef struct {
    uint32_t kind, arg, next;
} lf_grammar_node;

/* `most` may be LF_NO_LIMIT. */
typedef struct {
    uint32_t rule, least, most;
} lf_grammar_count;

/* A set of ids: `count` of them from `first` in the list of all; `negated` means every other token but the ends. */
typedef struct {
    uint32_t first, count, negated;
} lf_grammar_tokens;

enum { LF_NO_LIMIT = 0x7fffffff };

/* What a grammar is made from; all of it is copied. `rules` are the first nodes of the rules, rule 0 is the root. */
typedef struct {
    const lf_grammar_node *nodes;
    const uint32_t *rules;
    const uint8_t *sets; /* 32 bytes each: bit b % 8 of byte b / 8 is set where b belongs to it */
    const lf_grammar_count *counts;
    const lf_grammar_tokens *tokens;
    const int32_t *ids;
    uint32_t n_nodes, n_rules, n_sets, n_counts, n_tokens, n_ids;
} lf_grammar_source;

/* What a call may answer beside LF_GRAMMAR_OK. */
enum {
    LF_GRAMMAR_OK,
    LF_GRAMMAR_REFUSED,   /* the token or text cannot come here; nothing has changed */
    LF_GRAMMAR_AMBIGUOUS, /* the grammar has too many ways to go on at once */
    LF_GRAMMAR_DEEP, /* the text is nested so deeply that its states take too much memory */
    LF_GRAMMAR_MEMORY,
};

/* Sort the tokens of an open vocabulary into a tree by their bytes; `ends` are the ids that end an answer. NULL where
   memory is lacking. Control tokens, ends and tokens longer than 1023 bytes are in no tree. */
lf_trie *lf_trie_new(const struct lf_vocab *vocab, int32_t n_vocab, const int32_t *ends, int32_t n_ends);
void lf_trie_free(lf_trie *trie);

/* Return a grammar over a tree, or NULL and the reason in *problem. Its matchers may be used by several threads, each
   matcher by one at a time. Whatever needs a tree or a grammar keeps it alive. */
lf_grammar *lf_grammar_new(lf_trie *trie, const lf_grammar_source *source, const char **problem);
void lf_grammar_free(lf_grammar *g);

/* Return a matcher at the grammar's beginning, or NULL where memory is lacking. */
lf_matcher *lf_matcher_new(lf_grammar *g);
lf_matcher *lf_matcher_clone(lf_matcher *m);
void lf_matcher_free(lf_matcher *m);
void lf_matcher_reset(lf_matcher *m);

/* Set bit id % 32 of word id / 32 for each token that may come, and clear all others of `n_words` words. */
int lf_matcher_fill(lf_matcher *m, uint32_t *mask, int32_t n_words);
int lf_matcher_accept(lf_matcher *m, int32_t token);
/* Go on by bytes that no token stands for; of a text that cannot come nothing is taken. */
int lf_matcher_accept_bytes(lf_matcher *m, const uint8_t *text, uint64_t size);
/* Return whether the text may end here, and whether nothing else may come. */
int lf_matcher_may_end(lf_matcher *m);
int lf_matcher_finished(lf_matcher *m);
/* Return the bytes that a grammar's states and masks take. */
uint64_t lf_grammar_size(const lf_grammar *g);

/* cdef-end */

#endif
