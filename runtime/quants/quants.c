/* Whole rows of any format: decode and encode by id. */
#include "quants.h"
#include "formats.h"

#define X(name, NAME, block) void lf_encode_##name(const float *x, void *out, int64_t n);
LF_FORMATS(X)
#undef X

#define X(name, NAME, block)                                                                        \
    static void decode_##name(const void *src, float *dst, int64_t n) {                             \
        const lf_##name *b = src;                                                                   \
        for (int64_t i = 0; i < n / block; i++) lf_decode_##name(b + i, dst + i * block);           \
    }
LF_FORMATS(X)
#undef X

int lf_decode_rows(int format, const void *src, float *dst, int64_t n) {
    switch (format) {
#define X(name, NAME, block)                                                                        \
    case LF_##NAME:                                                                                 \
        if (n < 0 || n % block) return LF_BROKEN_BLOCK;                                             \
        decode_##name(src, dst, n);                                                                 \
        return 0;
    LF_FORMATS(X)
#undef X
        default: return LF_UNKNOWN_FORMAT;
    }
}

/* The bits of the largest magnitude that stays finite: all formats but two have scales, or are, half floats. */
static uint32_t largest(int format) {
    return format == LF_F32 ? 0x7f7fffffu : format == LF_BF16 ? 0x7f7f7fffu : 0x477fefffu;
}

/* The index of the first element whose magnitude is larger, or n; infinities and NaNs have the largest bits of all. */
static int64_t first_unfit(const float *x, int64_t n, uint32_t limit) {
    for (int64_t i = 0; i < n; i++)
        if ((lf_bits(x[i]) & 0x7fffffffu) > limit) return i;
    return n;
}

int64_t lf_encode_rows(int format, const float *src, void *dst, int64_t n) {
    int64_t fit;
    switch (format) {
#define X(name, NAME, block)                                                                        \
    case LF_##NAME:                                                                                 \
        if (n < 0 || n % block) return LF_BROKEN_BLOCK;                                             \
        fit = first_unfit(src, n, largest(format));                                                 \
        if (fit == n) lf_encode_##name(src, dst, n);                                                \
        return fit;
    LF_FORMATS(X)
#undef X
        default: return LF_UNKNOWN_FORMAT;
    }
}
