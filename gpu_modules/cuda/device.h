/* What all kernels build on: the toolchain's names, launches, sums over a warp, asynchronous copies, matrix instructions. */
#ifndef LF_DEVICE_H
#define LF_DEVICE_H
#if defined(__HIPCC__)
#include "hip.h"
#else
#include <cuda_runtime.h>
#define LF_KERNEL_ADDRESS(kernel) kernel
#endif
#include "formats.h"

/* A warp here is always 32 lanes; a wave of 64 is two of them, and shuffles have a width. */
#define LF_WARP 32
#define LF_ALL 0xffffffffu
#define LF_KERNEL static __global__
#define LF_DEV static __device__ __forceinline__

/* Set while the host only asks what ops want, and where a kernel may be brought onto the card before the one ahead of it
   is done (its first act is then to wait: lf_begin). */
static bool lf_only_ask, lf_overlap;

#ifdef LF_EMULATED
#define LF_LAUNCH(kernel, grid, block, shared, stream, ...) \
    (lf_only_ask ? (void)0 : lf_emulated::launch(kernel, grid, block, shared, stream, __VA_ARGS__))
#define LF_SHARED(name) char *name = lf_emulated::now.shared
#define LF_SM 800
#else
#ifdef __HIPCC__
#define LF_LAUNCH(kernel, grid, block, shared, stream, ...) \
    do {                                                      \
        if (!lf_only_ask) kernel<<<grid, block, shared, stream>>>(__VA_ARGS__); \
    } while (0)
#else
template <class... P, class... A>
static void lf_launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... arguments) {
    if (lf_only_ask) return;
    cudaLaunchAttribute overlap = {};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared, config.stream = stream;
    config.attrs = &overlap, config.numAttrs = lf_overlap ? 1 : 0;
    (void)cudaLaunchKernelEx(&config, kernel, P(arguments)...); /* an error is found at the end of the run */
}
#define LF_LAUNCH(kernel, grid, block, shared, stream, ...) lf_launch(kernel, grid, block, shared, stream, __VA_ARGS__)
#endif
/* Dynamic shared memory, of bytes. */
#define LF_SHARED(name) extern __shared__ __align__(16) char name[]
#ifdef __CUDA_ARCH__
#define LF_SM __CUDA_ARCH__
#else
#define LF_SM 0
#endif
#endif

/* Let the next kernel come onto the card, and wait until the one ahead is done: nothing that an op may have written is read,
   and nothing is written, before. */
LF_DEV void lf_begin(void) {
#if LF_SM >= 900 && !defined(LF_EMULATED)
    asm volatile("griddepcontrol.launch_dependents;\n" ::);
    asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}

/* The same number, of which the compiler knows nothing: what depends on it is worked out here, and not kept in registers over a
   loop. */
LF_DEV int lf_fresh(int x) {
#ifdef __CUDA_ARCH__
    asm volatile("" : "+r"(x));
#endif
    return x;
}

/* threadIdx.x, asked anew and not kept. */
LF_DEV int lf_fresh_thread(void) {
#ifdef __CUDA_ARCH__
    int t;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t));
    return t;
#else
    return (int)threadIdx.x;
#endif
}

LF_DEV int lf_lane(void) { return (int)(threadIdx.x % LF_WARP); }
LF_DEV int lf_warp(void) { return (int)(threadIdx.x / LF_WARP); }

/* Sum and maximum over groups of `width` lanes; each lane gets it. Always added in the same order. */
LF_DEV float lf_sum_lanes(float x, int width = LF_WARP) {
    for (int m = width / 2; m; m /= 2) x += __shfl_xor_sync(LF_ALL, x, m, LF_WARP);
    return x;
}
LF_DEV float lf_max_lanes(float x, int width = LF_WARP) {
    for (int m = width / 2; m; m /= 2) x = fmaxf(x, __shfl_xor_sync(LF_ALL, x, m, LF_WARP));
    return x;
}

/* e to the x, to about 2^-21: for weights of attention. */
LF_DEV float lf_exp(float x) {
#ifdef LF_EMULATED
    return expf(x);
#else
    return __expf(x);
#endif
}

/* Sum over a block of at most 1024 threads; `room` holds 32 floats of shared memory. */
LF_DEV float lf_sum_block(float x, float *room) {
    int warps = (int)(blockDim.x + LF_WARP - 1) / LF_WARP;
    x = lf_sum_lanes(x);
    if (warps == 1) return x;
    if (lf_lane() == 0) room[lf_warp()] = x;
    __syncthreads();
    return lf_sum_lanes(lf_lane() < warps ? room[lf_lane()] : 0.0f);
}

/* The largest of all threads of a block, for each of them. */
LF_DEV float lf_max_block(float x, float *room) {
    x = lf_max_lanes(x);
    if (lf_lane() == 0) room[lf_warp()] = x;
    __syncthreads();
    return lf_max_lanes(lf_lane() < (int)(blockDim.x / LF_WARP) ? room[lf_lane()] : 0.0f);
}

/* Two floats as two half floats in one register, the first below. */
LF_DEV uint32_t lf_half2(float low, float high) {
#ifdef LF_EMULATED
    return (uint32_t)lf_to_half(low) | (uint32_t)lf_to_half(high) << 16;
#else
    __half2 h = __floats2half2_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &h, 4);
    return bits;
#endif
}

/* A float as bfloat16, rounded to the nearest even. */
LF_DEV uint32_t lf_to_bf16(float x) {
    uint32_t bits = lf_bits(x);
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

/* Copy 16 bytes from global to shared memory, both on multiples of 16, in the background where the card can. */
LF_DEV void lf_copy_async(void *to, const void *from) {
#if LF_SM >= 800 && !defined(LF_EMULATED)
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(address), "l"(from));
#else
    *(uint4 *)to = *(const uint4 *)from;
#endif
}
LF_DEV void lf_copy_commit(void) {
#if LF_SM >= 800 && !defined(LF_EMULATED)
    asm volatile("cp.async.commit_group;\n" ::);
#endif
}
/* Wait until at most N of this thread's committed groups are under way. */
template <int N> LF_DEV void lf_copy_wait(void) {
#if LF_SM >= 800 && !defined(LF_EMULATED)
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
#endif
}

/* Matrix instructions. Lane l holds, of A [16 rows][k]: rows l/4 and l/4 + 8; of B [8 columns][k]: column l/4; of
   C [16][8]: c0, c1 in row l/4 at columns 2(l%4) and the next, c2, c3 eight rows below. Along k a lane holds the l%4-th
   four bytes of each 16, A: a0 upper rows, a1 lower rows, then the same of the next 16 bytes. */
#ifdef LF_EMULATED
namespace lf_emulated {
template <class Sum, class Product> void multiply(Sum c[4], const uint32_t *a, const uint32_t *b, Product product) {
    uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    uint32_t(*all)[8] = meet(words, 6);
    int row = lane() / 4, column = lane() % 4 * 2;
    for (int i = 0; i < 4; i++)
        for (int part = 0; part < 2; part++)
            for (int q = 0; q < 4; q++)
                c[i] = product(all[row * 4 + q][part * 2 + i / 2], all[(column + i % 2) * 4 + q][4 + part], c[i]);
}
}
#endif

/* 1.5 * 2^23: an integer of less than 22 bits added to its bits is added to its value. Sums of products begin with it. */
#define LF_MAGIC_BITS 0x4b400000
#define LF_MAGIC 12582912.0f

/* c = magic + a · b over 32 (k32) or 16 bytes. */
LF_DEV void lf_mma_s8_k16(int c[4], uint32_t a0, uint32_t a1, uint32_t b0) {
#if defined(LF_EMULATED)
    uint32_t a[4] = {a0, a1, 0, 0}, b[2] = {b0, 0};
    for (int i = 0; i < 4; i++) c[i] = LF_MAGIC_BITS;
    lf_emulated::multiply(c, a, b, [](uint32_t x, uint32_t y, int s) { return __dp4a((int)x, (int)y, s); });
#elif LF_SM >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};\n"
                 : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3]) : "r"(a0), "r"(a1), "r"(b0), "r"(LF_MAGIC_BITS));
#elif LF_SM >= 750
    for (int i = 0; i < 4; i++) c[i] = LF_MAGIC_BITS;
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};\n"
                 : "+r"(c[0]), "+r"(c[1]) : "r"(a0), "r"(b0));
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};\n"
                 : "+r"(c[2]), "+r"(c[3]) : "r"(a1), "r"(b0));
#endif
}
LF_DEV void lf_mma_s8_k32(int c[4], const uint32_t a[4], const uint32_t b[2]) {
#if defined(LF_EMULATED)
    for (int i = 0; i < 4; i++) c[i] = LF_MAGIC_BITS;
    lf_emulated::multiply(c, a, b, [](uint32_t x, uint32_t y, int s) { return __dp4a((int)x, (int)y, s); });
#elif LF_SM >= 800
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};\n"
                 : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(LF_MAGIC_BITS));
#elif LF_SM >= 750
    for (int i = 0; i < 4; i++) c[i] = LF_MAGIC_BITS;
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < 2; r++)
            asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};\n"
                         : "+r"(c[2 * r]), "+r"(c[2 * r + 1]) : "r"(a[2 * h + r]), "r"(b[h]));
#endif
}

/* c += a · b over 16 half floats (32 bytes). */
LF_DEV void lf_mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
#if defined(LF_EMULATED)
    lf_emulated::multiply(c, a, b, [](uint32_t x, uint32_t y, float s) {
        s += lf_half((uint16_t)x) * lf_half((uint16_t)y);
        return s + lf_half((uint16_t)(x >> 16)) * lf_half((uint16_t)(y >> 16));
    });
#elif LF_SM >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif LF_SM >= 750
    for (int h = 0; h < 2; h++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};\n"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2 * h]), "r"(a[2 * h + 1]), "r"(b[h]));
#endif
}

/* The same for bfloat16; cards before sm_80 have no instruction for it, and no kernel asks there. */
LF_DEV void lf_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
#if defined(LF_EMULATED)
    lf_emulated::multiply(c, a, b, [](uint32_t x, uint32_t y, float s) {
        s += lf_float(x << 16) * lf_float(y << 16);
        return s + lf_float(x & 0xffff0000u) * lf_float(y & 0xffff0000u);
    });
#elif LF_SM >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Load four 8 x 16-byte matrices from shared memory: lane l names row l%8 of matrix l/8, and gets of matrix i in r[i] the
   (l%4)-th word of row l/4. Transposed: of 16-bit elements, rows 2(l%4) and the next of column l/4. */
template <bool transposed> LF_DEV void lf_load_matrices(uint32_t r[4], const void *row) {
#if defined(LF_EMULATED)
    uint32_t words[2];
    memcpy(words, &row, 8);
    uint32_t(*all)[8] = lf_emulated::meet(words, 2);
    int lane = lf_emulated::lane();
    for (int i = 0; i < 4; i++) {
        const char *rows[8];
        for (int j = 0; j < 8; j++) memcpy(&rows[j], all[i * 8 + j], 8);
        if (transposed) {
            uint16_t low, high;
            memcpy(&low, rows[lane % 4 * 2] + lane / 4 * 2, 2);
            memcpy(&high, rows[lane % 4 * 2 + 1] + lane / 4 * 2, 2);
            r[i] = low | (uint32_t)high << 16;
        } else {
            memcpy(&r[i], rows[lane / 4] + lane % 4 * 4, 4);
        }
    }
#elif LF_SM >= 750
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
#endif
}

/* Words of four bytes from any address: words that lie right are read and shifted into place. */
template <int N> struct lf_words {
    uint32_t word[N + 1];
    unsigned shift;
    __device__ __forceinline__ void fetch(const void *p) {
        uintptr_t at = (uintptr_t)p;
        const uint32_t *from = (const uint32_t *)(at & ~(uintptr_t)3);
        shift = (unsigned)(at & 3) * 8;
#pragma unroll
        for (int i = 0; i < N; i++) word[i] = from[i];
        word[N] = *(const uint32_t *)((at + 4 * N - 1) & ~(uintptr_t)3); /* never a word without a byte of ours */
    }
    __device__ __forceinline__ uint32_t get(int i) const { return __funnelshift_r(word[i], word[i + 1], shift); }
};

LF_DEV uint32_t lf_pair(const void *p) { return *(const uint16_t *)p; }
#endif
