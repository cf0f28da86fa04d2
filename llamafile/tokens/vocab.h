/* A vocabulary as the tokenizers use it: token texts where the file has them, and two hash tables over them. */
#ifndef LF_VOCAB_H
#define LF_VOCAB_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tokens.h"

enum {
    LF_MERGE_LIMIT = 4096, /* bytes; longer tokens and merges can be written out, but never come from merging */
    LF_SPECIAL_LIMIT = 1024, /* bytes; longer special tokens are not looked for in text */
    LF_PROBE_LIMIT = 512,  /* slots; a table five eighths full never needs so many, a hostile file's would need them all */
};

#define LF_NO_PRIORITY UINT32_MAX

/* Hashes are polynomials in this number modulo 2^64, so that the hash of two texts joined comes from theirs. */
#define LF_HASH_BASE UINT64_C(0x9E6C63D0876A9A47)
#define LF_HASH_MIX UINT64_C(0xD6E8FEB86659FD93)

/* Open addressing: a slot is 0, or an index + 1 in its low bits and, above them, what tells hashes apart. The tables of a
   large vocabulary fit the second cache so, and are little of what a small model takes. */
typedef struct {
    uint32_t *slots;
    uint64_t mask;
    uint32_t index; /* the bits of the index */
    unsigned shift; /* takes a mixed hash to its first slot */
} lf_table;

typedef struct {
    const uint8_t *text;
    uint32_t size;
    int32_t id;
} lf_special;

/* One of the 256 characters by which BPE vocabularies write bytes. */
typedef struct {
    uint64_t hash;
    int32_t id; /* -1 where the vocabulary lacks it */
    uint8_t text[2], size;
} lf_byte_character;

struct lf_vocab {
    const uint8_t *tokens, *merges; /* the strings as the file has them: length, text */
    uint32_t *token_at, *merge_at;  /* of each: where its text begins; one more follows, as if for a next one */
    uint32_t n_tokens, n_merges, width;
    uint32_t *priority; /* SPM: of each token; small comes first */
    uint8_t *kind;      /* of each token: LF_TOKEN_NORMAL … */
    lf_table by_text, by_merge;
    uint64_t *power; /* of LF_HASH_BASE, up to longest */
    uint32_t longest; /* bytes of the longest token or merge that takes part in merging */
    int32_t model, pre, unknown, space_prefix, trim_spaces;
    lf_byte_character byte[256]; /* SPM: only the ids are set */
    int16_t byte_of[512];        /* the byte that a code point of the BPE alphabet means, or -1 */
    lf_special *specials;        /* sorted by text */
    uint32_t n_specials;
    uint32_t special_start[257];  /* by first byte */
    uint8_t special_first[2][256]; /* whether one begins so; [0]: of the user-defined ones alone */
    uint8_t *joins;                /* SPM: a bit for each hash of two characters that stand together in some token */
    unsigned joins_shift;
};

static inline uint64_t lf_hash_text(const uint8_t *text, size_t size)
{
    const uint64_t b1 = LF_HASH_BASE, b2 = b1 * b1, b3 = b2 * b1, b4 = b2 * b2;
    uint64_t hash = 0;
    size_t i = 0;
    for (; i + 4 <= size; i += 4) hash = hash * b4 + text[i] * b3 + text[i + 1] * b2 + text[i + 2] * b1 + text[i + 3];
    for (; i < size; i++) hash = hash * b1 + text[i];
    return hash;
}

/* Return the text of token `id`, which exists, and its size. */
static inline const uint8_t *lf_token_text(const lf_vocab *v, uint32_t id, size_t *size)
{
    *size = v->token_at[id + 1] - v->token_at[id] - v->width;
    return v->tokens + v->token_at[id];
}

/* Return the id of the token with this text and its hash, or -1. */
int32_t lf_vocab_find(const lf_vocab *v, uint64_t hash, const uint8_t *text, size_t size);

/* Return the rank of the merge of two neighbours in a text, with the hash of "left right", or LF_NO_PRIORITY. */
uint32_t lf_vocab_rank(const lf_vocab *v, uint64_t hash, const uint8_t *text, size_t left, size_t right);

/* Return a hash of two neighbouring code points for `joins`. */
static inline uint32_t lf_vocab_join(const lf_vocab *v, uint32_t left, uint32_t right)
{
    return (uint32_t)((((uint64_t)left << 32 | right) * LF_HASH_MIX ^ (uint64_t)left << 43) * LF_HASH_BASE
                      >> v->joins_shift);
}

#endif
