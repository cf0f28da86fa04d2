/* From text to ids: broken UTF-8 is mended, special tokens are cut out, words that come again are remembered. */
#include <stdlib.h>

#include "encode.h"
#include "unicode.h"

enum { LF_TEXT_MOST = 1 << 28 }; /* bytes */

static uint64_t lf_word_slot(const lf_encoder *e, const uint8_t *word, size_t size)
{
    uint64_t hash = size, chunk;
    for (; size >= sizeof chunk; word += sizeof chunk, size -= sizeof chunk) {
        memcpy(&chunk, word, sizeof chunk);
        hash = (hash ^ chunk) * LF_HASH_MIX;
        hash ^= hash >> 32;
    }
    for (chunk = 0; size; size--) chunk = chunk << 8 | *word++;
    hash = (hash ^ chunk) * LF_HASH_MIX;
    return (hash ^ hash >> 29) >> 20 & e->mask;
}

int lf_word_encode(lf_encoder *e, const uint8_t *word, size_t size)
{
    const int known = e->words && size <= LF_WORD_TEXT;
    lf_word *slot = known ? &e->words[lf_word_slot(e, word, size)] : NULL;
    if (known && slot->size == size && !memcmp(slot->text, word, size)) {
        int error = LF_TOKENS_OK;
        for (unsigned i = 0; i < slot->count && !error; i++) error = lf_put_id(e, slot->ids[i]);
        return error;
    }
    const uint64_t before = e->out->count;
    const int error = e->vocab->model == LF_BPE ? lf_bpe_word(e, word, size) : lf_spm_word(e, word, size);
    const uint64_t count = e->out->count - before;
    if (error || !known || count > LF_WORD_IDS) return error;
    slot->size = (uint8_t)size;
    slot->count = (uint8_t)count;
    memcpy(slot->text, word, size);
    if (count) memcpy(slot->ids, e->out->data + before, count * sizeof *slot->ids);
    return LF_TOKENS_OK;
}

/* Remember words where the text is long enough for them to come again; without memory it goes without. */
static void lf_words_open(lf_encoder *e, uint64_t size)
{
    uint64_t words = 64;
    if (size < 512) return;
    while (words < LF_WORDS_MOST && words < size / 8) words *= 2;
    e->words = calloc(words, sizeof *e->words);
    e->mask = words - 1;
}

static int lf_tokenize_plain(lf_encoder *e, const uint8_t *at, const uint8_t *end, int first, int last)
{
    if (at == end) return LF_TOKENS_OK;
    if (e->vocab->model == LF_BPE) return lf_bpe_text(e, at, (size_t)(end - at));
    return lf_spm_text(e, at, (size_t)(end - at), first, last);
}

/* Encode valid UTF-8. */
static int lf_tokenize_valid(lf_encoder *e, const uint8_t *text, const uint8_t *end, int all)
{
    const uint8_t *at = text, *special, *behind;
    int32_t id;
    while ((special = lf_special_find(e->vocab, at, end, all, &id, &behind))) {
        int error = lf_tokenize_plain(e, at, special, at == text, 0);
        if (!error) error = lf_put_id(e, id);
        if (error) return error;
        at = behind;
    }
    return lf_tokenize_plain(e, at, end, at == text, 1);
}

/* Return a copy in which U+FFFD stands for each broken sequence, and put its size into *mended. */
static uint8_t *lf_mend(const uint8_t *text, size_t size, size_t *mended)
{
    uint8_t *copy = malloc(3 * size), *to = copy;
    for (size_t at = 0; copy && at < size;) {
        const size_t valid = lf_utf8_valid(text + at, size - at);
        memcpy(to, text + at, valid);
        to += valid;
        at += valid;
        if (at == size) break;
        memcpy(to, "\xEF\xBF\xBD", 3);
        to += 3;
        at += lf_utf8_broken(text + at, size - at);
    }
    *mended = (size_t)(to - copy);
    return copy;
}

int lf_tokenize(const lf_vocab *vocab, const void *text, uint64_t size, uint32_t flags, lf_token_ids *out)
{
    lf_encoder e = {.vocab = vocab, .out = out};
    const uint8_t *valid = text;
    uint8_t *copy = NULL;
    size_t length = (size_t)size;
    if (!size) return LF_TOKENS_OK;
    if (size > LF_TEXT_MOST) return LF_TOKENS_LONG;
    if (lf_utf8_valid(valid, length) != length) {
        valid = copy = lf_mend(text, length, &length);
        if (!copy) return LF_TOKENS_MEMORY;
    }
    lf_words_open(&e, length);
    const int error = lf_tokenize_valid(&e, valid, valid + length, flags & LF_PARSE_SPECIAL);
    free(copy);
    free(e.words);
    free(e.text);
    free(e.symbols);
    free(e.priority);
    free(e.links);
    free(e.heap);
    return error;
}

void lf_token_ids_free(lf_token_ids *ids)
{
    free(ids->data);
    *ids = (lf_token_ids){NULL, 0, 0};
}

const char *lf_tokens_error(int code)
{
    switch (code) {
    case LF_TOKENS_OK: return "nothing is wrong";
    case LF_TOKENS_MEMORY: return "there is not enough memory for its tokens; close other programs";
    case LF_TOKENS_LONG: return "a text of more than 256 MiB cannot be tokenized at once; cut it";
    case LF_TOKENS_CUT: return "the vocabulary is cut off or its arrays differ in length; download the file again";
    case LF_TOKENS_BIG: return "the vocabulary is bigger than 4 GiB; the file is damaged, download it again";
    case LF_TOKENS_COLLIDE: return "the vocabulary cannot be hashed; the file is damaged, download it again";
    }
    return "an error without a name";
}
