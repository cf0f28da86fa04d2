/* Lay rows out in panels (laid_out.py says how), and take them back: nothing but the order of bytes changes. */
#include "laid_out.h"
#include "quants.h"

/* The shape of a format's blocks; size 0 where it is never laid out. */
static lf_dwords_of shape(int format) {
    switch (format & ~LF_LAID_OUT) {
#define X(name, NAME, block, group, biased) \
    case LF_##NAME: return (lf_dwords_of){sizeof(lf_##name), LF_ODDS_##NAME, LF_LEAD_##NAME};
        LF_QUANTS(X)
#undef X
    default: return (lf_dwords_of){0, 0, 0};
    }
}

/* Copy n bytes there or, with `back`, from there. */
static inline void move(char *laid, char *plain, size_t n, int back) { memcpy(back ? plain : laid, back ? laid : plain, n); }

static inline void one_panel(lf_dwords_of s, char *laid, char *plain, int64_t blocks, int back) {
    char *at = laid + blocks * s.odds * LF_PANEL_ROWS;
    for (int64_t b = 0; b < blocks; b++, laid += s.odds * LF_PANEL_ROWS, at += (s.size - s.odds) * LF_PANEL_ROWS)
        for (int r = 0; r < LF_PANEL_ROWS; r++) {
            char *block = plain + (r * blocks + b) * s.size;
            move(laid + r * s.odds, block + (s.lead ? 0 : s.size - s.odds), (size_t)s.odds, back);
            for (int i = 0; i < s.size / 4; i++) move(at + (i * LF_PANEL_ROWS + r) * 4, block + s.lead + 4 * i, 4, back);
        }
}

int lf_lay_out(int format, const void *src, void *dst, int64_t panels, int64_t blocks, int back) {
    lf_dwords_of s = shape(format);
    char *laid = back ? (char *)(uintptr_t)src : dst, *plain = back ? dst : (char *)(uintptr_t)src;
    int64_t bytes = blocks * s.size * LF_PANEL_ROWS;
    if (!s.size) return LF_UNKNOWN_FORMAT;
    for (int64_t p = 0; p < panels; p++) one_panel(s, laid + p * bytes, plain + p * bytes, blocks, back);
    return 0;
}

int lf_decode_laid_row(int format, const void *panel, int row, float *dst, int64_t n) {
    switch (format & ~LF_LAID_OUT) {
#define X(name, NAME, block, group, biased)                                                                     \
    case LF_##NAME: {                                                                                           \
        const lf_dwords_of s = {sizeof(lf_##name), LF_ODDS_##NAME, LF_LEAD_##NAME};                             \
        const char *odd = (const char *)panel + row * s.odds;                                                   \
        const char *at = (const char *)panel + n / block * s.odds * LF_PANEL_ROWS + 4 * row;                    \
        lf_##name plain;                                                                                        \
        if (n < 0 || n % block) return LF_BROKEN_BLOCK;                                                         \
        for (int64_t b = 0; b < n / block; b++) {                                                               \
            lf_gather(s, at, odd, (char *)&plain);                                                              \
            lf_decode_##name(&plain, dst + b * block);                                                          \
            at += (s.size - s.odds) * LF_PANEL_ROWS, odd += s.odds * LF_PANEL_ROWS;                             \
        }                                                                                                       \
        return 0;                                                                                               \
    }
        LF_QUANTS(X)
#undef X
    default: return LF_UNKNOWN_FORMAT;
    }
}
