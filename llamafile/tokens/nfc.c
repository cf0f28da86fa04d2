/* Normal form C: from each character that nothing reaches across to the next, decompose, sort marks, compose. */
#include "nfc.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "nfc_table.h"

/* Hangul syllables are made of a leading, a vowel and perhaps a trailing letter, by arithmetic. */
enum {
    LF_SYLLABLE = 0xAC00,
    LF_LEADING = 0x1100,
    LF_VOWEL = 0x1161,
    LF_TRAILING = 0x11A7, /* one before the first, for none */
    LF_LEADINGS = 19,
    LF_VOWELS = 21,
    LF_TRAILINGS = 28,
    LF_SYLLABLES = LF_LEADINGS * LF_VOWELS * LF_TRAILINGS,
};

enum { LF_DEEPEST = 4 }; /* characters that one character decomposes into, at most */

typedef struct {
    uint32_t code;
    uint8_t class;
} lf_mark;

typedef struct {
    lf_mark *marks, *sorted;
    uint64_t room, sorted_room, count;
} lf_segment;

static inline unsigned lf_nfc_properties(uint32_t code)
{
    return lf_nfc_data[lf_nfc_index[code / LF_UNICODE_BLOCK] * LF_UNICODE_BLOCK + code % LF_UNICODE_BLOCK];
}

int lf_nfc_quick(const uint8_t *text, size_t size)
{
    const uint8_t *end = text + size;
    unsigned last = 0;
    for (; text < end; text += lf_utf8_size(*text)) {
        if (*text < 0xCC) { /* below U+0300 all characters stay as they are */
            last = 0;
            continue;
        }
        const unsigned properties = lf_nfc_properties(lf_utf8_code(text));
        if (properties & 1 || (properties && properties < last)) return 0;
        last = properties;
    }
    return 1;
}

static void lf_add(lf_segment *s, uint32_t code)
{
    s->marks[s->count++] = (lf_mark){code, lf_nfc_class[lf_nfc_properties(code) >> 1]};
}

/* Return the number of a code's decomposition, or lf_nfc_codes. */
static uint32_t lf_decomposition(uint32_t code)
{
    uint32_t low = 0, high = lf_nfc_codes;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (lf_nfc_code[middle] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < lf_nfc_codes && lf_nfc_code[low] == code ? low : lf_nfc_codes;
}

/* Add the characters that `code` is made of; the segment has room for LF_DEEPEST. */
static void lf_decompose(lf_segment *s, uint32_t code)
{
    uint32_t behind[LF_DEEPEST];
    unsigned n = 0;
    if (code - LF_SYLLABLE < LF_SYLLABLES) {
        const uint32_t at = code - LF_SYLLABLE;
        lf_add(s, LF_LEADING + at / (LF_VOWELS * LF_TRAILINGS));
        lf_add(s, LF_VOWEL + at / LF_TRAILINGS % LF_VOWELS);
        if (at % LF_TRAILINGS) lf_add(s, LF_TRAILING + at % LF_TRAILINGS);
        return;
    }
    for (uint32_t at; n < LF_DEEPEST && (at = lf_decomposition(code)) < lf_nfc_codes; code = lf_nfc_first[at])
        if (lf_nfc_second[at]) behind[n++] = lf_nfc_second[at];
    lf_add(s, code);
    while (n) lf_add(s, behind[--n]);
}

/* Put each run of marks into the order of their classes, marks of one class as they were. */
static void lf_sort(lf_segment *s)
{
    for (uint64_t at = 0, end; at < s->count; at = end + 1) {
        uint64_t start[257] = {0};
        int sorted = 1;
        for (end = at; end < s->count && s->marks[end].class; end++) {
            sorted &= end == at || s->marks[end - 1].class <= s->marks[end].class;
            start[s->marks[end].class + 1]++;
        }
        if (sorted) continue;
        for (int i = 1; i < 257; i++) start[i] += start[i - 1];
        for (uint64_t i = at; i < end; i++) s->sorted[start[s->marks[i].class]++] = s->marks[i];
        memcpy(s->marks + at, s->sorted, (end - at) * sizeof *s->marks);
    }
}

/* Return what two characters compose to, or 0. */
static uint32_t lf_composition(uint32_t first, uint32_t second)
{
    if (first - LF_LEADING < LF_LEADINGS && second - LF_VOWEL < LF_VOWELS)
        return LF_SYLLABLE + ((first - LF_LEADING) * LF_VOWELS + second - LF_VOWEL) * LF_TRAILINGS;
    if (first - LF_SYLLABLE < LF_SYLLABLES && !((first - LF_SYLLABLE) % LF_TRAILINGS)
        && second - LF_TRAILING - 1 < LF_TRAILINGS - 1)
        return first + second - LF_TRAILING;
    const uint64_t wanted = (uint64_t)first << 32 | second;
    uint32_t low = 0, high = lf_nfc_pairs;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2, at = lf_nfc_pair[middle];
        const uint64_t there = (uint64_t)lf_nfc_first[at] << 32 | lf_nfc_second[at];
        if (there == wanted) return lf_nfc_code[at];
        if (there < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/* Compose each starter with the marks behind it, unless another of the same class stands between. */
static void lf_compose(lf_segment *s)
{
    lf_mark *starter = NULL;
    uint64_t kept = 0;
    unsigned last = 0;
    for (uint64_t i = 0; i < s->count; i++) {
        const lf_mark mark = s->marks[i];
        const int reached = starter && (!last || last < mark.class);
        const uint32_t composed = reached ? lf_composition(starter->code, mark.code) : 0;
        if (composed) {
            starter->code = composed;
            continue;
        }
        s->marks[kept] = mark;
        if (!mark.class) starter = &s->marks[kept];
        last = mark.class;
        kept++;
    }
    s->count = kept;
}

static uint8_t *lf_utf8_put(uint8_t *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (uint8_t)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (uint8_t)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (uint8_t)(0xE0 | code >> 12);
        } else {
            *to++ = (uint8_t)(0xF0 | code >> 18);
            *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    }
    *to++ = (uint8_t)(0x80 | (code & 0x3F));
    return to;
}

static int lf_put_room(lf_token_bytes *out, uint64_t more)
{
    uint8_t *grown = lf_grow(out->data, &out->room, out->count + more, 1);
    if (!grown) return LF_TOKENS_MEMORY;
    out->data = grown;
    return LF_TOKENS_OK;
}

/* Append the normal form of the text of one segment. */
static int lf_nfc_segment(lf_segment *s, const uint8_t *at, const uint8_t *end, lf_token_bytes *out)
{
    const uint64_t most = (uint64_t)(end - at) * LF_DEEPEST;
    lf_mark *marks = lf_grow(s->marks, &s->room, most, sizeof *marks);
    if (!marks) return LF_TOKENS_MEMORY;
    s->marks = marks;
    lf_mark *sorted = lf_grow(s->sorted, &s->sorted_room, most, sizeof *sorted);
    if (!sorted) return LF_TOKENS_MEMORY;
    s->sorted = sorted;
    s->count = 0;
    for (; at < end; at += lf_utf8_size(*at)) lf_decompose(s, lf_utf8_code(at));
    lf_sort(s);
    lf_compose(s);
    if (lf_put_room(out, 4 * s->count)) return LF_TOKENS_MEMORY;
    uint8_t *to = out->data + out->count;
    for (uint64_t i = 0; i < s->count; i++) to = lf_utf8_put(to, s->marks[i].code);
    out->count = (uint64_t)(to - out->data);
    return LF_TOKENS_OK;
}

/* Return where the segment that begins at `at` ends: before the next character that no other can change. */
static const uint8_t *lf_segment_end(const uint8_t *at, const uint8_t *end)
{
    do at += lf_utf8_size(*at);
    while (at < end && *at >= 0xCC && lf_nfc_properties(lf_utf8_code(at)));
    return at;
}

static int lf_put_plain(lf_token_bytes *out, const uint8_t *at, const uint8_t *end)
{
    if (lf_put_room(out, (uint64_t)(end - at))) return LF_TOKENS_MEMORY;
    memcpy(out->data + out->count, at, (size_t)(end - at));
    out->count += (uint64_t)(end - at);
    return LF_TOKENS_OK;
}

int lf_nfc(const uint8_t *text, size_t size, lf_token_bytes *out)
{
    lf_segment segment = {0};
    int error = LF_TOKENS_OK;
    const uint8_t *end = text + size, *plain = text;
    for (const uint8_t *next; text < end && !error; text = next) {
        next = lf_segment_end(text, end);
        if (next == text + lf_utf8_size(*text) && !lf_nfc_properties(lf_utf8_code(text))) continue;
        error = lf_put_plain(out, plain, text);
        if (!error) error = lf_nfc_segment(&segment, text, next, out);
        plain = next;
    }
    if (!error) error = lf_put_plain(out, plain, end);
    free(segment.marks);
    free(segment.sorted);
    return error;
}
