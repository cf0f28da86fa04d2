/* 32 weights of a block at a time, as eight words of int8 with their scales: what products, attention and embedding read.

   A slice is fetched (loads only) and unfolded later, so that a kernel can have loads under way. A format without lines of
   its own here takes the first template: right, and slow. */
#ifndef LF_SLICES_H
#define LF_SLICES_H
#include "device.h"

/* What the declaration says of a block format. */
template <class Block> struct lf_of;
#define X(name, NAME, block, group, has_bias)                                                     \
    template <> struct lf_of<lf_##name> {                                                         \
        enum { id = LF_##NAME, values = block, groups = 32 / group, all_groups = block / group, biased = has_bias }; \
        static LF_IN void unpack(const lf_##name *b, int8_t *q, float *scale, float *bias) {            \
            lf_unpack_##name(b, q, scale, bias);                                                  \
        }                                                                                         \
    };
#define LF_IN __device__ __forceinline__
LF_QUANTS(X)
#undef X

/* Words of four bytes at p, of which is known only that it lies on a multiple of A. */
template <int N, int A> struct lf_aligned {
    uint32_t word[N];
    __device__ __forceinline__ void fetch(const void *p) {
#pragma unroll
        for (int i = 0; i < N; i++) word[i] = ((const uint32_t *)p)[i];
    }
    __device__ __forceinline__ uint32_t get(int i) const { return word[i]; }
};
template <int N> struct lf_aligned<N, 16> {
    uint4 word[N / 4];
    __device__ __forceinline__ void fetch(const void *p) {
#pragma unroll
        for (int i = 0; i < N / 4; i++) word[i] = ((const uint4 *)p)[i];
    }
    __device__ __forceinline__ uint32_t get(int i) const {
        const uint4 &w = word[i / 4];
        return i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w;
    }
};
template <int N> struct lf_aligned<N, 2> : lf_words<N> {};
template <int N> struct lf_aligned<N, 1> : lf_words<N> {};

/* Each byte (below 128) less the byte of `by`, as int8. */
LF_DEV uint32_t lf_less(uint32_t bytes, uint32_t by) { return ((bytes | 0x80808080u) - by) ^ 0x80808080u; }
/* Four bits as the lowest bits of four bytes. */
LF_DEV uint32_t lf_spread(uint32_t four) { return (four & 15u) * 0x00204081u & 0x01010101u; }

/* Any format, by its portable decode. */
template <class Block> struct lf_slice {
    const Block *block;
    __device__ __forceinline__ void fetch(const Block *b, int) { block = b; }
    __device__ void unfold(int s, uint32_t q[8], float *scale, float *bias) const {
        typedef lf_of<Block> of;
        __align__(4) int8_t all[of::values];
        float scales[of::all_groups], biases[of::all_groups];
        of::unpack(block, all, scales, biases);
        memcpy(q, all + 32 * s, 32);
        for (int g = 0; g < of::groups; g++) {
            scale[g] = scales[s * of::groups + g];
            if (of::biased) bias[g] = biases[s * of::groups + g];
        }
    }
};

/* Blocks of 32 whose low nibbles are the first half. */
template <> struct lf_slice<lf_q4_0> {
    lf_aligned<4, 2> qs;
    uint16_t d;
    LF_IN void fetch(const lf_q4_0 *b, int) { d = b->d, qs.fetch(b->qs); }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *) const {
        *scale = lf_half(d);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            q[i] = lf_less(qs.get(i) & 0x0f0f0f0fu, 0x08080808u);
            q[i + 4] = lf_less(qs.get(i) >> 4 & 0x0f0f0f0fu, 0x08080808u);
        }
    }
};
template <> struct lf_slice<lf_q4_1> {
    lf_aligned<4, 4> qs;
    uint16_t d, m;
    LF_IN void fetch(const lf_q4_1 *b, int) { d = b->d, m = b->m, qs.fetch(b->qs); }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *bias) const {
        *scale = lf_half(d), *bias = lf_half(m);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            q[i] = qs.get(i) & 0x0f0f0f0fu;
            q[i + 4] = qs.get(i) >> 4 & 0x0f0f0f0fu;
        }
    }
};
template <> struct lf_slice<lf_q5_0> {
    lf_aligned<4, 2> qs;
    uint32_t fifth;
    uint16_t d;
    LF_IN void fetch(const lf_q5_0 *b, int) {
        d = b->d, fifth = lf_pair(b->qh) | lf_pair(b->qh + 2) << 16, qs.fetch(b->qs);
    }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *) const {
        *scale = lf_half(d);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            q[i] = lf_less((qs.get(i) & 0x0f0f0f0fu) | lf_spread(fifth >> 4 * i) << 4, 0x10101010u);
            q[i + 4] = lf_less((qs.get(i) >> 4 & 0x0f0f0f0fu) | lf_spread(fifth >> (4 * i + 16)) << 4, 0x10101010u);
        }
    }
};
template <> struct lf_slice<lf_q5_1> {
    lf_aligned<4, 4> qs;
    uint32_t fifth;
    uint16_t d, m;
    LF_IN void fetch(const lf_q5_1 *b, int) { d = b->d, m = b->m, fifth = *(const uint32_t *)b->qh, qs.fetch(b->qs); }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *bias) const {
        *scale = lf_half(d), *bias = lf_half(m);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            q[i] = (qs.get(i) & 0x0f0f0f0fu) | lf_spread(fifth >> 4 * i) << 4;
            q[i + 4] = (qs.get(i) >> 4 & 0x0f0f0f0fu) | lf_spread(fifth >> (4 * i + 16)) << 4;
        }
    }
};
template <> struct lf_slice<lf_q8_0> {
    lf_aligned<8, 2> qs;
    uint16_t d;
    LF_IN void fetch(const lf_q8_0 *b, int) { d = b->d, qs.fetch(b->qs); }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *) const {
        *scale = lf_half(d);
#pragma unroll
        for (int i = 0; i < 8; i++) q[i] = qs.get(i);
    }
};

/* Replace eight nibbles by bytes of a codebook: those of the low nibbles, those of the high ones. */
LF_DEV void lf_look_up(const int8_t *book, uint32_t nibbles, uint32_t *low, uint32_t *high) {
    uint32_t table[4], found[2];
#pragma unroll
    for (int i = 0; i < 4; i++)
        table[i] = (uint32_t)(uint8_t)book[4 * i] | (uint32_t)(uint8_t)book[4 * i + 1] << 8 |
                   (uint32_t)(uint8_t)book[4 * i + 2] << 16 | (uint32_t)(uint8_t)book[4 * i + 3] << 24;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t four = nibbles >> 16 * i, which = four & 0x7777u;
        uint32_t lower = __byte_perm(table[0], table[1], which), upper = __byte_perm(table[2], table[3], which);
        found[i] = __byte_perm(lower, upper, 0x3210u | (four & 0x8888u) >> 1);
    }
    *low = __byte_perm(found[0], found[1], 0x6420u), *high = __byte_perm(found[0], found[1], 0x7531u);
}

template <> struct lf_slice<lf_iq4_nl> {
    lf_aligned<4, 2> qs;
    uint16_t d;
    LF_IN void fetch(const lf_iq4_nl *b, int) { d = b->d, qs.fetch(b->qs); }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *) const {
        *scale = lf_half(d);
#pragma unroll
        for (int i = 0; i < 4; i++) lf_look_up(lf_codebook_iq4_nl, qs.get(i), &q[i], &q[i + 4]);
    }
};
template <> struct lf_slice<lf_mxfp4> {
    lf_aligned<4, 1> qs;
    uint8_t e;
    LF_IN void fetch(const lf_mxfp4 *b, int) { e = b->e, qs.fetch(b->qs); }
    LF_IN void unfold(int, uint32_t q[8], float *scale, float *) const {
        *scale = lf_float(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
#pragma unroll
        for (int i = 0; i < 4; i++) lf_look_up(lf_codebook_mxfp4, qs.get(i), &q[i], &q[i + 4]);
    }
};
template <> struct lf_slice<lf_iq4_xs> {
    lf_aligned<4, 4> qs;
    uint32_t low, high;
    uint16_t d;
    LF_IN void fetch(const lf_iq4_xs *b, int s) {
        d = b->d, high = lf_pair(b->scales_h), low = *(const uint32_t *)b->scales_l, qs.fetch(b->qs + 16 * s);
    }
    LF_IN void unfold(int s, uint32_t q[8], float *scale, float *) const {
        *scale = lf_half(d) * (float)((int)((low >> 4 * s & 15u) | (high >> 2 * s & 3u) << 4) - 32);
#pragma unroll
        for (int i = 0; i < 4; i++) lf_look_up(lf_codebook_iq4_nl, qs.get(i), &q[i], &q[i + 4]);
    }
};

/* The scale and minimum of group s, six bits each, of twelve bytes packed as quants/k.h says. */
LF_DEV void lf_six_bits(uint32_t w0, uint32_t w1, uint32_t w2, int s, int *scale, int *minimum) {
    unsigned shift = (unsigned)(s & 3) * 8, a = w0 >> shift & 255u, b = w1 >> shift & 255u, c = w2 >> shift & 255u;
    *scale = (int)(s < 4 ? a & 63u : (c & 15u) | a >> 6 << 4);
    *minimum = (int)(s < 4 ? b & 63u : c >> 4 | b >> 6 << 4);
}

/* The scale and the bias of slice s, of d, dmin and those twelve bytes. */
LF_DEV void lf_six_bit_scales(const lf_aligned<4, 16> &head, int s, float *scale, float *bias) {
    int by, minimum;
    lf_six_bits(head.get(1), head.get(2), head.get(3), s, &by, &minimum);
    *scale = lf_half((uint16_t)head.get(0)) * (float)by;
    *bias = -(lf_half((uint16_t)(head.get(0) >> 16)) * (float)minimum);
}

template <> struct lf_slice<lf_q4_k> {
    lf_aligned<8, 16> qs;
    lf_aligned<4, 16> head; /* d, dmin, scales */
    LF_IN void fetch(const lf_q4_k *b, int s) { head.fetch(b), qs.fetch(b->qs + s / 2 * 32); }
    LF_IN void unfold(int s, uint32_t q[8], float *scale, float *bias) const {
        lf_six_bit_scales(head, s, scale, bias);
        int shift = s % 2 * 4;
#pragma unroll
        for (int i = 0; i < 8; i++) q[i] = qs.get(i) >> shift & 0x0f0f0f0fu;
    }
};
template <> struct lf_slice<lf_q5_k> {
    lf_aligned<8, 16> qs, qh;
    lf_aligned<4, 16> head;
    LF_IN void fetch(const lf_q5_k *b, int s) { head.fetch(b), qh.fetch(b->qh), qs.fetch(b->qs + s / 2 * 32); }
    LF_IN void unfold(int s, uint32_t q[8], float *scale, float *bias) const {
        lf_six_bit_scales(head, s, scale, bias);
        int shift = s % 2 * 4;
#pragma unroll
        for (int i = 0; i < 8; i++)
            q[i] = (qs.get(i) >> shift & 0x0f0f0f0fu) | (qh.get(i) >> s & 0x01010101u) << 4;
    }
};
template <> struct lf_slice<lf_q6_k> {
    lf_aligned<8, 2> ql, qh;
    uint32_t scales;
    uint16_t d;
    LF_IN void fetch(const lf_q6_k *b, int s) {
        ql.fetch(b->ql + s / 4 * 64 + s % 2 * 32), qh.fetch(b->qh + s / 4 * 32);
        scales = lf_pair(b->scales + 2 * s), d = b->d;
    }
    LF_IN void unfold(int s, uint32_t q[8], float *scale, float *) const {
        scale[0] = lf_half(d) * (float)(int8_t)scales;
        scale[1] = lf_half(d) * (float)(int8_t)(scales >> 8);
        int low = s % 4 / 2 * 4, high = s % 4 * 2;
#pragma unroll
        for (int i = 0; i < 8; i++)
            q[i] = lf_less((ql.get(i) >> low & 0x0f0f0f0fu) | (qh.get(i) >> high & 0x03030303u) << 4, 0x20202020u);
    }
};
LF_DEV void lf_q3_scales(uint32_t low, uint32_t high, uint16_t d, int s, float *scale) {
#pragma unroll
    for (int g = 0; g < 2; g++) {
        int nibble = (int)(low >> (8 * g + s / 4 * 4) & 15u), top = (int)(high >> (8 * g + s / 2 * 2) & 3u);
        scale[g] = lf_half(d) * (float)((nibble | top << 4) - 32);
    }
}
template <> struct lf_slice<lf_q3_k> {
    lf_aligned<8, 2> qs, hmask;
    uint32_t low, high;
    uint16_t d;
    LF_IN void fetch(const lf_q3_k *b, int s) {
        qs.fetch(b->qs + s / 4 * 32), hmask.fetch(b->hmask);
        low = lf_pair(b->scales + 2 * s % 8), high = lf_pair(b->scales + 8 + 2 * s % 4), d = b->d;
    }
    LF_IN void unfold(int s, uint32_t q[8], float *scale, float *) const {
        lf_q3_scales(low, high, d, s, scale);
        int shift = s % 4 * 2;
#pragma unroll
        for (int i = 0; i < 8; i++)
            q[i] = lf_less((qs.get(i) >> shift & 0x03030303u) | (hmask.get(i) >> s & 0x01010101u) << 2, 0x04040404u);
    }
};
template <> struct lf_slice<lf_q2_k> {
    lf_aligned<8, 4> qs;
    uint32_t scales;
    uint16_t d, dmin;
    LF_IN void fetch(const lf_q2_k *b, int s) {
        qs.fetch(b->qs + s / 4 * 32), scales = lf_pair(b->scales + 2 * s), d = b->d, dmin = b->dmin;
    }
    LF_IN void unfold(int s, uint32_t q[8], float *scale, float *bias) const {
#pragma unroll
        for (int g = 0; g < 2; g++) {
            scale[g] = lf_half(d) * (float)(scales >> 8 * g & 15u);
            bias[g] = -(lf_half(dmin) * (float)(scales >> (8 * g + 4) & 15u));
        }
        int shift = s % 4 * 2;
#pragma unroll
        for (int i = 0; i < 8; i++) q[i] = qs.get(i) >> shift & 0x03030303u;
    }
};

/* One value of four packed ones, as a float. */
LF_DEV float lf_byte(uint32_t word, int i) { return (float)(int8_t)(word >> 8 * i); }

/* The 32 values of slice s of a block as floats. */
template <class Block> LF_DEV void lf_floats(const Block *b, int s, float y[32]) {
    typedef lf_of<Block> of;
    lf_slice<Block> slice;
    uint32_t q[8];
    float scale[of::groups], bias[of::groups];
    slice.fetch(b, s);
    slice.unfold(s, q, scale, bias);
#pragma unroll
    for (int i = 0; i < 32; i++) {
        y[i] = scale[i / (32 / of::groups)] * lf_byte(q[i / 4], i % 4);
        if (of::biased) y[i] += bias[i / (32 / of::groups)];
    }
}

/* Values 32 * s and on of a row of floats that stand alone, which may end early. */
LF_DEV void lf_lone_floats(int dtype, const void *row, int s, int count, float y[32]) {
    switch (dtype) {
    case LF_F32:
        for (int i = 0; i < 32; i++) y[i] = i < count ? ((const float *)row)[32 * s + i] : 0.0f;
        return;
    case LF_F16:
        for (int i = 0; i < 32; i++) y[i] = i < count ? lf_half(((const uint16_t *)row)[32 * s + i]) : 0.0f;
        return;
    case LF_BF16:
        for (int i = 0; i < 32; i++) y[i] = i < count ? lf_float((uint32_t)((const uint16_t *)row)[32 * s + i] << 16) : 0.0f;
        return;
    }
}

/* The same of a row that begins on a block's boundary, whatever its format. */
LF_DEV void lf_row_floats(int dtype, const void *row, int s, int count, float y[32]) {
    switch (dtype) {
    case LF_F32: case LF_F16: case LF_BF16: lf_lone_floats(dtype, row, s, count, y); return;
#define X(name, NAME, block, group, biased) \
    case LF_##NAME: lf_floats((const lf_##name *)row + s / (block / 32), s % (block / 32), y); return;
        LF_QUANTS(X)
#undef X
    }
}
#endif
