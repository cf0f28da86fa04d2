/* From ids to bytes: what each token stands for in text. */
#include <stdlib.h>

#include "grow.h"
#include "unicode.h"
#include "vocab.h"

static int lf_put_bytes(lf_token_bytes *out, const uint8_t *bytes, size_t size)
{
    uint8_t *grown = lf_grow(out->data, &out->room, out->count + size, 1);
    if (!grown) return LF_TOKENS_MEMORY;
    out->data = grown;
    memcpy(grown + out->count, bytes, size);
    out->count += size;
    return LF_TOKENS_OK;
}

/* Write a token in the byte alphabet as the bytes it means; one that is in no such alphabet stays as it is. */
static int lf_put_bpe(const lf_vocab *v, lf_token_bytes *out, const uint8_t *text, size_t size)
{
    const uint64_t before = out->count;
    if (lf_utf8_valid(text, size) != size) return lf_put_bytes(out, text, size);
    for (const uint8_t *at = text, *end = text + size; at < end; at += lf_utf8_size(*at)) {
        const uint32_t code = lf_utf8_code(at);
        if (code >= 512 || v->byte_of[code] < 0) {
            out->count = before;
            return lf_put_bytes(out, text, size);
        }
        const uint8_t byte = (uint8_t)v->byte_of[code];
        if (lf_put_bytes(out, &byte, 1)) return LF_TOKENS_MEMORY;
    }
    return LF_TOKENS_OK;
}

/* Write a token with U+2581 as spaces. */
static int lf_put_spm(lf_token_bytes *out, const uint8_t *text, size_t size)
{
    size_t plain = 0;
    for (size_t i = 0; i + 3 <= size;) {
        if (memcmp(text + i, "\xE2\x96\x81", 3)) {
            i++;
            continue;
        }
        if (lf_put_bytes(out, text + plain, i - plain) || lf_put_bytes(out, (const uint8_t *)" ", 1))
            return LF_TOKENS_MEMORY;
        i += 3;
        plain = i;
    }
    return lf_put_bytes(out, text + plain, size - plain);
}

static int lf_hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Write the byte that <0x41> stands for; what only looks like such a token stays as it is. */
static int lf_put_byte(lf_token_bytes *out, const uint8_t *text, size_t size)
{
    const int shaped = size == 6 && !memcmp(text, "<0x", 3) && text[5] == '>';
    const int high = shaped ? lf_hex(text[3]) : -1, low = shaped ? lf_hex(text[4]) : -1;
    if (high < 0 || low < 0) return lf_put_bytes(out, text, size);
    const uint8_t byte = (uint8_t)(high << 4 | low);
    return lf_put_bytes(out, &byte, 1);
}

static int lf_put_token(const lf_vocab *v, int32_t id, uint32_t flags, lf_token_bytes *out)
{
    size_t size;
    if (id < 0 || (uint32_t)id >= v->n_tokens) return LF_TOKENS_OK;
    const uint8_t *text = lf_token_text(v, (uint32_t)id, &size);
    switch (v->kind[id]) {
    case LF_TOKEN_NORMAL: return v->model == LF_BPE ? lf_put_bpe(v, out, text, size) : lf_put_spm(out, text, size);
    case LF_TOKEN_BYTE: return lf_put_byte(out, text, size);
    case LF_TOKEN_USER_DEFINED: return lf_put_bytes(out, text, size);
    default: return flags & LF_SHOW_SPECIAL ? lf_put_bytes(out, text, size) : LF_TOKENS_OK;
    }
}

int lf_detokenize(const lf_vocab *v, const int32_t *ids, uint64_t count, uint32_t flags, lf_token_bytes *out)
{
    const uint64_t before = out->count;
    int prefix = flags & LF_AT_START && v->model == LF_SPM && v->space_prefix;
    for (uint64_t i = 0; i < count; i++) {
        if (lf_put_token(v, ids[i], flags, out)) return LF_TOKENS_MEMORY;
        if (!prefix || out->count == before) continue;
        prefix = 0;
        if (lf_token_kind(v, ids[i]) == LF_TOKEN_NORMAL && out->data[before] == ' ')
            memmove(out->data + before, out->data + before + 1, --out->count - before);
    }
    return LF_TOKENS_OK;
}

void lf_token_bytes_free(lf_token_bytes *bytes)
{
    free(bytes->data);
    *bytes = (lf_token_bytes){NULL, 0, 0};
}
