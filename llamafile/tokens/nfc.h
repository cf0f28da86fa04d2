/* Unicode's normal form C, by which some models compose characters before they look at them. */
#ifndef LF_NFC_H
#define LF_NFC_H

#include <stddef.h>
#include <stdint.h>

#include "tokens.h"
#include "unicode.h"

extern const uint16_t lf_nfc_index[LF_UNICODE_BLOCKS]; /* the number of a block's data */
extern const uint8_t lf_nfc_data[]; /* number of the combining class << 1 | whether the character may not stay */
extern const uint8_t lf_nfc_class[]; /* the combining classes */

/* Canonical decompositions in order of their codes; `second` is 0 where there is but one character. Pairs are numbers
   of decompositions that are also compositions, in order of first and second. */
extern const uint32_t lf_nfc_codes, lf_nfc_code[], lf_nfc_first[], lf_nfc_second[];
extern const uint32_t lf_nfc_pairs;
extern const uint16_t lf_nfc_pair[];

/* Return whether valid UTF-8 is surely in normal form C; what may be is treated as if it were not. */
int lf_nfc_quick(const uint8_t *text, size_t size);

/* Append the normal form C of valid UTF-8; return 0 or an error code. */
int lf_nfc(const uint8_t *text, size_t size, lf_token_bytes *out);

#endif
