/* SentencePiece BPE: spaces become U+2581, and characters are merged by the score of the token they make. */
#include "encode.h"
#include "unicode.h"

static const uint8_t lf_spm_space[3] = {0xE2, 0x96, 0x81};

/* Append bytes, or else the unknown token, for a symbol that is no token. */
static int lf_spm_put_unknown(lf_encoder *e, const uint8_t *text, const lf_symbol *s)
{
    const lf_vocab *v = e->vocab;
    int error = LF_TOKENS_OK;
    if (v->byte[*text].id >= 0) {
        for (uint32_t i = 0; i < s->size && !error; i++)
            if (v->byte[text[i]].id >= 0) error = lf_put_id(e, v->byte[text[i]].id);
        return error;
    }
    return v->unknown < 0 ? error : lf_put_id(e, v->unknown);
}

int lf_spm_word(lf_encoder *e, const uint8_t *word, size_t size)
{
    const lf_vocab *v = e->vocab;
    uint32_t count = 0;
    if (lf_symbols_room(e, size)) return LF_TOKENS_MEMORY;
    for (size_t at = 0, length; at < size; at += length) {
        length = lf_utf8_size(word[at]);
        e->symbols[count++] = (lf_symbol){lf_hash_text(word + at, length), (uint32_t)at, (uint32_t)length};
    }
    const int64_t left = lf_merge(e, word, count);
    int error = left < 0 ? LF_TOKENS_MEMORY : LF_TOKENS_OK;
    for (int64_t i = 0; i < left && !error; i++) {
        const lf_symbol *s = &e->symbols[i];
        const int32_t id = lf_vocab_find(v, s->hash, word + s->start, s->size);
        error = id >= 0 && v->priority[id] != LF_NO_PRIORITY ? lf_put_id(e, id)
                                                             : lf_spm_put_unknown(e, word + s->start, s);
    }
    return error;
}

/* Write text to `out` with its spaces escaped; return its size there. */
static size_t lf_spm_escape(const lf_vocab *v, uint8_t *out, const uint8_t *text, size_t size, int first, int last)
{
    uint8_t *to = out;
    int skip = v->trim_spaces && first;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ') {
            *to++ = text[i];
        } else if (!skip) {
            memcpy(to, lf_spm_space, 3);
            to += 3;
        }
        skip = v->trim_spaces && text[i] == ' ';
    }
    if (v->trim_spaces && last)
        while (to - out >= 3 && !memcmp(to - 3, lf_spm_space, 3)) to -= 3;
    return (size_t)(to - out);
}

/* Leave one unknown token of each run, from output `start` on. */
static void lf_spm_fuse_unknown(lf_encoder *e, uint64_t start)
{
    lf_token_ids *out = e->out;
    uint64_t to = start;
    for (uint64_t i = start; i < out->count; i++)
        if (i == start || out->data[i] != e->vocab->unknown || out->data[i - 1] != e->vocab->unknown)
            out->data[to++] = out->data[i];
    out->count = to;
}

/* Encode escaped text, cut wherever two neighbours stand together in no token: no merge reaches across. */
static int lf_spm_cut(lf_encoder *e, const uint8_t *text, const uint8_t *end)
{
    const lf_vocab *v = e->vocab;
    const uint8_t *word = text;
    uint32_t left = 0;
    int error = LF_TOKENS_OK;
    while (text < end && !error) {
        const uint32_t right = lf_utf8_code(text) + 1;
        if (left) {
            const uint32_t bit = lf_vocab_join(v, left, right);
            if (!(v->joins[bit >> 3] >> (bit & 7) & 1)) {
                error = lf_word_encode(e, word, (size_t)(text - word));
                word = text;
            }
        }
        left = right;
        text += lf_utf8_size(*text);
    }
    return error || word == end ? error : lf_word_encode(e, word, (size_t)(end - word));
}

int lf_spm_text(lf_encoder *e, const uint8_t *text, size_t size, int first, int last)
{
    const uint64_t start = e->out->count;
    uint8_t *room = lf_grow(e->text, &e->text_room, 3 * ((uint64_t)size + 1), 1);
    if (!room) return LF_TOKENS_MEMORY;
    e->text = room;
    const size_t prefix = e->vocab->space_prefix ? sizeof lf_spm_space : 0;
    memcpy(room, lf_spm_space, prefix);
    const size_t escaped = lf_spm_escape(e->vocab, room + prefix, text, size, first, last);
    if (!escaped) return LF_TOKENS_OK;
    const int error = lf_spm_cut(e, room, room + prefix + escaped);
    lf_spm_fuse_unknown(e, start);
    return error;
}
