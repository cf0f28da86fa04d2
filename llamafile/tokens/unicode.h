/* What the tokenizers ask about characters: flags by Unicode category, and UTF-8 that is known to be valid. */
#ifndef LF_UNICODE_H
#define LF_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum {
    LF_UPPER = 1, /* Lu, Lt */
    LF_LOWER = 2, /* Ll */
    LF_UNCASED = 4, /* Lm, Lo */
    LF_LETTER = LF_UPPER | LF_LOWER | LF_UNCASED,
    LF_MARK = 8,
    LF_DIGIT = 16, /* all of N */
    LF_PUNCTUATION = 32,
    LF_SYMBOL = 64,
    LF_SPACE = 128, /* the property White_Space */
};

enum { LF_UNICODE_BLOCK = 128, LF_UNICODE_BLOCKS = 0x110000 / LF_UNICODE_BLOCK };

extern const uint16_t lf_unicode_index[LF_UNICODE_BLOCKS]; /* the number of a block's data */
extern const uint8_t lf_unicode_data[]; /* flags, LF_UNICODE_BLOCK characters at a time; ASCII comes first */

/* Return the bytes of the character that begins with `lead`, in valid UTF-8. */
static inline size_t lf_utf8_size(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Return the code point at `at`, in valid UTF-8. */
static inline uint32_t lf_utf8_code(const uint8_t *at)
{
    const uint32_t a = at[0];
    if (a < 0x80) return a;
    const uint32_t b = at[1] & 0x3Fu;
    if (a < 0xE0) return (a & 0x1F) << 6 | b;
    const uint32_t c = at[2] & 0x3Fu;
    if (a < 0xF0) return (a & 0x0F) << 12 | b << 6 | c;
    return (a & 0x07) << 18 | b << 12 | c << 6 | (at[3] & 0x3Fu);
}

/* Return the flags of the character at `at`, in valid UTF-8. */
static inline unsigned lf_utf8_flags(const uint8_t *at)
{
    if (*at < 0x80) return lf_unicode_data[*at];
    const uint32_t code = lf_utf8_code(at);
    return lf_unicode_data[lf_unicode_index[code / LF_UNICODE_BLOCK] * LF_UNICODE_BLOCK + code % LF_UNICODE_BLOCK];
}

/* Return how many bytes from `at` on are valid UTF-8. */
size_t lf_utf8_valid(const uint8_t *at, size_t size);

/* Return the length of the broken sequence at `at`: the longest start of a character, or one byte; it is what one
   U+FFFD stands for by the Unicode standard (chapter 3.9) and in Python. */
size_t lf_utf8_broken(const uint8_t *at, size_t size);

#endif
