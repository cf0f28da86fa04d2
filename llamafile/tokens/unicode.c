/* The Unicode table, and the check of UTF-8 that comes from outside. */
#include "unicode.h"

#include <string.h>

#include "unicode_table.h"

/* Return the bytes of the character at `at`; where it is broken, 0, and in *seen how many bytes were in order. */
static size_t lf_utf8_check(const uint8_t *at, size_t size, size_t *seen)
{
    const uint8_t lead = at[0];
    uint8_t low = 0x80, high = 0xBF;
    *seen = 1;
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    const size_t wanted = lf_utf8_size(lead);
    for (; *seen < wanted; ++*seen) {
        if (*seen == size || at[*seen] < low || at[*seen] > high) return 0;
        low = 0x80;
        high = 0xBF;
    }
    return wanted;
}

size_t lf_utf8_valid(const uint8_t *at, size_t size)
{
    size_t i = 0, seen;
    while (i < size) {
        uint64_t eight;
        while (size - i >= sizeof eight) {
            memcpy(&eight, at + i, sizeof eight);
            if (eight & 0x8080808080808080u) break;
            i += sizeof eight;
        }
        if (i == size) break;
        const size_t length = lf_utf8_check(at + i, size - i, &seen);
        if (!length) break;
        i += length;
    }
    return i;
}

size_t lf_utf8_broken(const uint8_t *at, size_t size)
{
    size_t seen;
    lf_utf8_check(at, size, &seen);
    return seen;
}
