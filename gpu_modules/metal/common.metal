/* What all kernels build on: the one signature, rows of operands, values and blocks of every format. */
using namespace metal;

#ifndef LF_AT_ROOM
#define LF_AT_ROOM [[threadgroup(0)]]
#endif
#ifndef LF_KERNEL
/* Every kernel has operands b0, b1, ... with shapes a.of[0], a.of[1], ..., a room that its threadgroup shares, and its
   place in the grid. */
#define LF_KERNEL(name)                                                                                              \
    kernel void name(constant lf_arguments &a [[buffer(0)]],                                                         \
                     device char *b0 [[buffer(1)]], device char *b1 [[buffer(2)]], device char *b2 [[buffer(3)]],    \
                     device char *b3 [[buffer(4)]], device char *b4 [[buffer(5)]], device char *b5 [[buffer(6)]],    \
                     device char *b6 [[buffer(7)]], device char *b7 [[buffer(8)]], device char *b8 [[buffer(9)]],    \
                     device char *b9 [[buffer(10)]], threadgroup float *room LF_AT_ROOM,                               \
                     uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]], \
                     uint3 threads3 [[threads_per_threadgroup]])
#define threads (threads3.x)
#endif

#ifndef LF_MADE
/* A template's instance under a name of its own. */
#define LF_MADE(host, ...) template [[host_name(host)]] kernel decltype(__VA_ARGS__) __VA_ARGS__;
#endif

/* Row r of an operand, counted over all dimensions but the first. */
static inline int64_t lf_row_at(constant lf_shape &s, uint r) {
    uint i = r % (uint)s.ne[1], j = r / (uint)s.ne[1] % (uint)s.ne[2], k = r / (uint)s.ne[1] / (uint)s.ne[2];
    return (int64_t)i * s.step[1] + (int64_t)j * s.step[2] + (int64_t)k * s.step[3];
}
static inline device float *lf_floats(device char *b, constant lf_shape &s, uint r) {
    return (device float *)(b + lf_row_at(s, r));
}
static inline uint lf_rows(constant lf_shape &s) { return (uint)(s.ne[1] * s.ne[2] * s.ne[3]); }
static inline float lf_real(int32_t bits) { return as_type<float>(bits); }

/* What the declaration says of a block format. */
template <class Block> struct lf_of;
#define X(name, NAME, size, group, has_bias)                                                                          \
    template <> struct lf_of<lf_##name> {                                                                              \
        enum { values = size, of_group = group, groups = size / group, biased = has_bias };                            \
        static void unpack(device const lf_##name *b, thread int8_t *q, thread float *scale, thread float *bias) {     \
            lf_unpack_##name(b, q, scale, bias);                                                                       \
        }                                                                                                              \
        static void decode(device const lf_##name *b, thread float *y) { lf_decode_##name(b, y); }                     \
    };
LF_QUANTS(X)
#undef X

/* Value i of a row in a floating format. */
static inline float lf_float_at(int dtype, device const char *row, int i) {
    if (dtype == LF_F32) return ((device const float *)row)[i];
    uint32_t bits = ((device const uint16_t *)row)[i];
    return dtype == LF_F16 ? lf_half((uint16_t)bits) : lf_float(bits << 16);
}

/* 32 values of a row from value 32 s on, `count` of them where the row ends before. */
template <class Block> static void lf_slice_of(device const char *row, int s, thread float *y) {
    float all[lf_of<Block>::values];
    lf_of<Block>::decode((device const Block *)row + 32 * s / (int)lf_of<Block>::values, all);
    for (int i = 0; i < 32; i++) y[i] = all[32 * s % (int)lf_of<Block>::values + i];
}
static void lf_slice(int dtype, device const char *row, int s, int count, thread float *y) {
    switch (dtype) {
#define X(name, NAME, size, group, biased) case LF_##NAME: lf_slice_of<lf_##name>(row, s, y); return;
        LF_QUANTS(X)
#undef X
    }
    for (int i = 0; i < count; i++) y[i] = lf_float_at(dtype, row, 32 * s + i);
}

/* Activations in integer form: blocks of 32 int8 and their scale. */
typedef struct {
    int8_t q[32];
    float scale;
} lf_integers;

/* The sum over a threadgroup, the same for all its threads; `room` holds a float for each simdgroup. */
static inline float lf_sum_all(float x, threadgroup float *room, uint index, uint count) {
    x = simd_sum(x);
    if (index % LF_SIMD == 0) room[index / LF_SIMD] = x;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float sum = 0;
    for (uint i = 0; i < count / LF_SIMD; i++) sum += room[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return sum;
}
