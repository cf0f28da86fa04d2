/* Byte-level BPE: words are written in an alphabet of 256 characters, one a byte, and merged by rank. */
#include "encode.h"
#include "nfc.h"
#include "pretokenize.h"
#include "unicode.h"

/* Write the word in the byte alphabet, less the bytes that the vocabulary lacks; return the number of symbols. */
static uint32_t lf_bpe_symbols(lf_encoder *e, const uint8_t *word, size_t size)
{
    uint32_t count = 0, at = 0;
    for (size_t i = 0; i < size; i++) {
        const lf_byte_character *c = &e->vocab->byte[word[i]];
        if (c->id < 0) continue;
        e->symbols[count++] = (lf_symbol){c->hash, at, c->size};
        e->text[at] = c->text[0];
        e->text[at + 1] = c->text[1];
        at += c->size;
    }
    return count;
}

/* Append the ids of a merged symbol: a merge whose result is no token falls apart into bytes. */
static int lf_bpe_put(lf_encoder *e, const lf_symbol *s)
{
    const lf_vocab *v = e->vocab;
    const int32_t id = lf_vocab_find(v, s->hash, e->text + s->start, s->size);
    if (id >= 0) return lf_put_id(e, id);
    int error = LF_TOKENS_OK;
    for (const uint8_t *at = e->text + s->start, *end = at + s->size; at < end && !error; at += lf_utf8_size(*at))
        error = lf_put_id(e, v->byte[v->byte_of[lf_utf8_code(at)]].id);
    return error;
}

int lf_bpe_word(lf_encoder *e, const uint8_t *word, size_t size)
{
    const lf_vocab *v = e->vocab;
    if (lf_symbols_room(e, size)) return LF_TOKENS_MEMORY;
    uint8_t *text = lf_grow(e->text, &e->text_room, 2 * (uint64_t)size + 1, 1);
    if (!text) return LF_TOKENS_MEMORY;
    e->text = text;
    const uint32_t count = lf_bpe_symbols(e, word, size);
    if (!count) return LF_TOKENS_OK;
    if (lf_pre_whole_words(v->pre)) {
        const size_t length = e->symbols[count - 1].start + e->symbols[count - 1].size;
        const int32_t id = lf_vocab_find(v, lf_hash_text(text, length), text, length);
        if (id >= 0 && v->kind[id] != LF_TOKEN_CONTROL && v->kind[id] != LF_TOKEN_UNKNOWN) return lf_put_id(e, id);
    }
    const int64_t left = lf_merge(e, text, count);
    int error = left < 0 ? LF_TOKENS_MEMORY : LF_TOKENS_OK;
    for (int64_t i = 0; i < left && !error; i++) error = lf_bpe_put(e, &e->symbols[i]);
    return error;
}

static int lf_bpe_words(lf_encoder *e, const uint8_t *text, size_t size)
{
    lf_pre_words words;
    const uint8_t *word, *end;
    lf_pre_begin(&words, e->vocab->pre, text, text + size);
    while ((word = lf_pre_next(&words, &end))) {
        const int error = lf_word_encode(e, word, (size_t)(end - word));
        if (error) return error;
    }
    return LF_TOKENS_OK;
}

int lf_bpe_text(lf_encoder *e, const uint8_t *text, size_t size)
{
    if (!lf_pre_composes(e->vocab->pre) || lf_nfc_quick(text, size)) return lf_bpe_words(e, text, size);
    lf_token_bytes composed = {NULL, 0, 0};
    int error = lf_nfc(text, size, &composed);
    if (!error) error = lf_bpe_words(e, composed.data, (size_t)composed.count);
    lf_token_bytes_free(&composed);
    return error;
}
