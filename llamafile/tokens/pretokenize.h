/* Cutting text into the words that BPE works on, as each model's published pattern does. */
#ifndef LF_PRETOKENIZE_H
#define LF_PRETOKENIZE_H

#include <stddef.h>
#include <stdint.h>

enum { LF_PRE_PASSES = 6 };

/* Return where the match that begins at `at` ends; `at` where there is none. `at` < `end`, valid UTF-8. `*next` is
   where a search that found none here may go on. */
typedef const uint8_t *(*lf_matcher)(const uint8_t *at, const uint8_t *end, const uint8_t **next);

/* One pass over a piece: `at` is what is still to be searched; a match found behind a gap waits in [held, at). */
typedef struct {
    const uint8_t *at, *end, *held;
} lf_pre_pass;

/* The words of a text, one at a time: each pass cuts the pieces of the one before it into matches and gaps. */
typedef struct {
    const lf_matcher *matchers; /* ends with NULL */
    int passes;
    lf_pre_pass pass[LF_PRE_PASSES];
} lf_pre_words;

/* Begin to cut a text by pre-tokenizer `number`, which exists. */
void lf_pre_begin(lf_pre_words *words, int32_t number, const uint8_t *at, const uint8_t *end);

/* Return the next word and put its end into *end; NULL after the last. Words are never empty. */
const uint8_t *lf_pre_next(lf_pre_words *words, const uint8_t **end);

/* Return whether text is brought into Unicode's normal form C first. */
int lf_pre_composes(int32_t number);

/* Return whether words that are tokens as they stand are taken so, without merging. */
int lf_pre_whole_words(int32_t number);

#endif
