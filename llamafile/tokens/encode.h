/* What one call of lf_tokenize works with: its output, its scratch memory, and the words it has seen. */
#ifndef LF_ENCODE_H
#define LF_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "grow.h"
#include "vocab.h"

/* A piece of a word while it is merged: `size` bytes from `start`, with their hash. */
typedef struct {
    uint64_t hash;
    uint32_t start, size;
} lf_symbol;

enum { LF_WORD_TEXT = 30, LF_WORD_IDS = 8, LF_WORDS_MOST = 8192 };

/* A word that was merged before, and its ids. */
typedef struct {
    uint8_t size, count, text[LF_WORD_TEXT];
    int32_t ids[LF_WORD_IDS];
} lf_word;

typedef struct {
    uint32_t left, right; /* the neighbours; a symbol that was merged into its left one has no size */
} lf_link;

typedef struct {
    const lf_vocab *vocab;
    lf_token_ids *out;
    lf_word *words; /* NULL, or mask + 1 of them */
    uint64_t mask;
    uint8_t *text; /* the text in the vocabulary's own alphabet */
    lf_symbol *symbols;
    uint32_t *priority; /* of a symbol and the one to its right */
    lf_link *links;
    uint64_t *heap;
    uint64_t text_room, symbol_room, priority_room, link_room, heap_room;
} lf_encoder;

static inline int lf_put_id(lf_encoder *e, int32_t id)
{
    lf_token_ids *out = e->out;
    if (out->count == out->room) {
        int32_t *grown = lf_grow(out->data, &out->room, out->count + 1, sizeof *grown);
        if (!grown) return LF_TOKENS_MEMORY;
        out->data = grown;
    }
    out->data[out->count++] = id;
    return LF_TOKENS_OK;
}

/* Have room for a word of `count` symbols in e->symbols and e->priority; return an error code. */
int lf_symbols_room(lf_encoder *e, uint64_t count);

/* Merge the first `count` of e->symbols, which lie side by side in `text`, as far as the vocabulary says; return how
   many are left, from e->symbols[0] on, or -1 for lack of memory. */
int64_t lf_merge(lf_encoder *e, const uint8_t *text, uint32_t count);

/* Append the ids of one word, given as it was in the text (BPE) or escaped (SPM); return an error code. */
int lf_word_encode(lf_encoder *e, const uint8_t *word, size_t size);

/* Append the ids of a word that is not known yet; return an error code. */
int lf_bpe_word(lf_encoder *e, const uint8_t *word, size_t size);
int lf_spm_word(lf_encoder *e, const uint8_t *word, size_t size);

/* Append the ids of text between special tokens; `first` and `last` tell whether it lies at the text's ends. */
int lf_bpe_text(lf_encoder *e, const uint8_t *text, size_t size);
int lf_spm_text(lf_encoder *e, const uint8_t *text, size_t size, int first, int last);

/* Return where the first special token in [at, end) begins, with its id and end; NULL where there is none. */
const uint8_t *lf_special_find(const lf_vocab *v, const uint8_t *at, const uint8_t *end, int all, int32_t *id,
                               const uint8_t **behind);

#endif
