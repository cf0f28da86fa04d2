/* Vocabularies and tokenizing as Python sees them; a vocabulary is read where it lies in a mapped GGUF. */
#ifndef LF_TOKENS_H
#define LF_TOKENS_H

#include <stdint.h>

/* cdef-begin */

/* How a tokenizer works; GGUF calls BPE "gpt2" and SPM "llama". */
enum { LF_BPE, LF_SPM };

/* What went wrong; lf_tokens_error has the texts. */
enum { LF_TOKENS_OK, LF_TOKENS_MEMORY, LF_TOKENS_LONG, LF_TOKENS_CUT, LF_TOKENS_BIG, LF_TOKENS_COLLIDE };

/* Flags of lf_tokenize and lf_detokenize. */
enum {
    LF_PARSE_SPECIAL = 1, /* the texts of control tokens become those tokens, not ordinary text */
    LF_SHOW_SPECIAL = 1,  /* control tokens are written out, not left out */
    LF_AT_START = 2,      /* the ids begin a text: the space that SPM put before it is taken away */
};

/* What a token is, as GGUF numbers it. */
enum { LF_TOKEN_NORMAL = 1, LF_TOKEN_UNKNOWN, LF_TOKEN_CONTROL, LF_TOKEN_USER_DEFINED, LF_TOKEN_UNUSED, LF_TOKEN_BYTE };

typedef struct lf_vocab lf_vocab;

/* An array in a GGUF: `data` is its first element, NULL where the file has no such array. */
typedef struct {
    const void *data;
    uint64_t count, nbytes;
} lf_vocab_array;

/* What a vocabulary is made from; it must stay mapped while the vocabulary is open. */
typedef struct {
    lf_vocab_array tokens, merges; /* strings: a length of `width` bytes each, then the text */
    lf_vocab_array scores;         /* f32; needed for SPM */
    lf_vocab_array types;          /* i32; all tokens are normal where it is missing */
    uint32_t width;          /* 8, or 4 in GGUF version 1 */
    int32_t model, pre;      /* LF_BPE or LF_SPM; the number of a pre-tokenizer, of which SPM has none */
    int32_t unknown;         /* the id for what cannot be said otherwise, -1 without */
    int32_t space_prefix;    /* SPM: text gets a space in front */
    int32_t trim_spaces;     /* SPM: runs of spaces become one, and those at both ends go */
} lf_vocab_source;

/* Growable results; free them with lf_token_ids_free and lf_token_bytes_free. */
typedef struct {
    int32_t *data;
    uint64_t count, room;
} lf_token_ids;

typedef struct {
    uint8_t *data;
    uint64_t count, room;
} lf_token_bytes;

/* Return the number of a pre-tokenizer by its name in GGUF files, -1 where there is none. */
int32_t lf_pre_number(const char *name);

/* Return the name of pre-tokenizer `number`, NULL behind the last. */
const char *lf_pre_name(int32_t number);

/* Return whether models with this pre-tokenizer begin a text with their BOS token, unless the file says otherwise. */
int32_t lf_pre_add_bos(int32_t number);

/* Open a vocabulary; return 0 or an error code. It never changes afterwards, so any thread may use it. */
int lf_vocab_open(const lf_vocab_source *source, lf_vocab **vocab);

void lf_vocab_close(lf_vocab *vocab);

/* Append the ids of `size` bytes of text, which need not be valid UTF-8; return 0 or an error code. */
int lf_tokenize(const lf_vocab *vocab, const void *text, uint64_t size, uint32_t flags, lf_token_ids *out);

/* Append the bytes that `count` ids stand for; ids that do not exist stand for none; return 0 or an error code. */
int lf_detokenize(const lf_vocab *vocab, const int32_t *ids, uint64_t count, uint32_t flags, lf_token_bytes *out);

/* Return the id of the token whose text in the file is this one, -1 where there is none. */
int32_t lf_token_id(const lf_vocab *vocab, const void *text, uint64_t size);

/* Return what a token is (LF_TOKEN_NORMAL …), 0 where the id does not exist. */
int32_t lf_token_kind(const lf_vocab *vocab, int32_t id);

void lf_token_ids_free(lf_token_ids *ids);
void lf_token_bytes_free(lf_token_bytes *bytes);

/* Return the text for an error code: what is wrong, and what to do. */
const char *lf_tokens_error(int code);

/* cdef-end */

#endif
