/* One set of names for C, C++, CUDA and Metal, so that one text decodes a format everywhere. */
#ifndef LF_PORTABLE_H
#define LF_PORTABLE_H

/* LF_FN: a function of this header. LF_TABLE: a constant array. LF_SRC, LF_DST: where blocks and results lie.
   LF_ONLY: no other pointer reaches it. LF_BLOCK: a struct laid out byte after byte. */
#if defined(__METAL_VERSION__)
#include <metal_stdlib>
#define LF_FN static inline
#define LF_TABLE constant const
#define LF_SRC device const
#define LF_DST thread
#define LF_ONLY
#define LF_BLOCK
#define LF_UNUSED [[maybe_unused]]
#define LF_CHECK(condition, text) static_assert(condition, text)
LF_FN float lf_float(uint32_t bits) { return as_type<float>(bits); }
LF_FN uint32_t lf_bits(float x) { return as_type<uint32_t>(x); }
LF_FN float lf_half(uint16_t h) { return float(as_type<half>(h)); }

#elif defined(__CUDACC__) || defined(__HIPCC__)
#include <stdint.h>
#ifdef __HIPCC__
#include <hip/hip_fp16.h>
#else
#include <cuda_fp16.h>
#endif
#define LF_FN static __device__ __forceinline__
#define LF_TABLE static __device__ const
#define LF_SRC const
#define LF_DST
#define LF_ONLY __restrict__
#define LF_BLOCK
#define LF_UNUSED __attribute__((unused))
#define LF_CHECK(condition, text) static_assert(condition, text)
LF_FN float lf_float(uint32_t bits) { return __uint_as_float(bits); }
LF_FN uint32_t lf_bits(float x) { return __float_as_uint(x); }
LF_FN float lf_half(uint16_t h) { return __half2float(__ushort_as_half(h)); }

#else
#include <stdint.h>
#include <string.h>
#define LF_FN static inline
#define LF_TABLE static const
#define LF_SRC const
#define LF_DST
#define LF_ONLY __restrict
#define LF_BLOCK __attribute__((packed))
#define LF_UNUSED __attribute__((unused))
#ifdef __cplusplus
#define LF_CHECK(condition, text) static_assert(condition, text)
#else
#define LF_CHECK(condition, text) _Static_assert(condition, text)
#endif

LF_FN float lf_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

LF_FN uint32_t lf_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#if (defined(__F16C__) || defined(__aarch64__)) && !defined(__cplusplus)
LF_FN float lf_half(uint16_t h) {
    _Float16 x;
    memcpy(&x, &h, sizeof x);
    return (float)x;
}
#else
/* Half to single by integers alone: exact, also where denormals are flushed to zero. */
LF_FN float lf_half(uint16_t h) {
    uint32_t magnitude = h & 0x7fffu;
    uint32_t normal = (magnitude << 13) + (112u << 23) + (magnitude >= 0x7c00u ? 112u << 23 : 0u);
    uint32_t tiny = lf_bits(lf_float(0x3f000000u | magnitude) - 0.5f);
    return lf_float((magnitude < 0x400u ? tiny : normal) | (uint32_t)(h & 0x8000u) << 16);
}
#endif
#endif

/* Single to half, to the nearest, ties to even; from 65520 on infinity; no number stays no number. */
LF_FN uint16_t lf_to_half(float x) {
    uint32_t bits = lf_bits(x), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    uint32_t tiny = lf_bits(lf_float(magnitude) + 0.5f) & 0x7ffu;
    uint32_t huge = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t h = magnitude < 0x38800000u ? tiny : magnitude < 0x477ff000u ? normal : huge;
    return (uint16_t)(h | (bits >> 16 & 0x8000u));
}

/* The heads of a format's two functions: block *b to float y[block]; and to its integer form, where element i equals
   scale[i / group] * q[i] + bias[i / group], the bias only where the format has one. */
#define LF_DECODE(name) LF_FN void lf_decode_##name(LF_SRC lf_##name *b, LF_DST float *LF_ONLY y)
#define LF_UNPACK(name) LF_FN void lf_unpack_##name(LF_SRC lf_##name *b, LF_DST int8_t *LF_ONLY q, \
                                                    LF_DST float *LF_ONLY scale, LF_UNUSED LF_DST float *LF_ONLY bias)
#endif
