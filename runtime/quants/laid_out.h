/* Reading single blocks out of panels (laid_out.py says how they lie). */
#ifndef LF_LAID_OUT_H
#define LF_LAID_OUT_H
#include "formats.h"

/* Of a format's block: its bytes, how many of these fill no dword, and how many of those stand in front. */
typedef struct {
    int size, odds, lead;
} lf_dwords_of;

/* Put the block of one row together: its first dword lies at `at`, the bytes that fill none at `odd`. */
static inline void lf_gather(lf_dwords_of s, const char *at, const char *odd, char *block) {
    memcpy(block + (s.lead ? 0 : s.size - s.odds), odd, (size_t)s.odds);
    for (int i = 0; i < s.size / 4; i++) memcpy(block + s.lead + 4 * i, at + 4 * i * LF_PANEL_ROWS, 4);
}
#endif
