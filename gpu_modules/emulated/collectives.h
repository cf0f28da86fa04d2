/* What lanes of a warp and threads of a block do together, and the instructions that have no word in C++. */

namespace lf_emulated {

/* Show the warp up to eight words; returns what each of its lanes showed, once all have come. */
inline uint32_t (*meet(const uint32_t *words, int count))[8] {
    int i = now.current, turn = now.turn[i]++ & 1;
    memcpy(now.shown[turn][i], words, sizeof(uint32_t) * (size_t)count);
    leave(AT_WARP);
    return now.shown[turn] + i / WARP * WARP;
}

inline int lane() { return now.current % WARP; }

template <class T> T from_lane(T value, int source) {
    static_assert(sizeof(T) <= 8, "a register or two");
    uint32_t words[2] = {0, 0};
    memcpy(words, &value, sizeof value);
    uint32_t(*all)[8] = meet(words, 2);
    memcpy(&value, all[source], sizeof value);
    return value;
}

} // namespace lf_emulated

static inline void __syncthreads() { lf_emulated::leave(lf_emulated::AT_BLOCK); }
static inline void __syncwarp(unsigned = 0xffffffffu) {
    uint32_t none = 0;
    lf_emulated::meet(&none, 1);
}
template <class T> T __shfl_sync(unsigned, T value, int source, int width = 32) {
    int lane = lf_emulated::lane();
    return lf_emulated::from_lane(value, lane / width * width + source % width);
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
    int lane = lf_emulated::lane(), other = lane ^ mask;
    return lf_emulated::from_lane(value, other / width == lane / width ? other : lane);
}
template <class T> T __shfl_up_sync(unsigned, T value, unsigned by, int width = 32) {
    int lane = lf_emulated::lane(), other = lane - (int)by;
    return lf_emulated::from_lane(value, other >= lane / width * width ? other : lane);
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned by, int width = 32) {
    int lane = lf_emulated::lane(), other = lane + (int)by;
    return lf_emulated::from_lane(value, other / width == lane / width ? other : lane);
}
static inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
    return c;
}
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    uint64_t both = (uint64_t)y << 32 | x;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) out |= (unsigned)(both >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return out;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((uint64_t)high << 32 | low) >> (by & 31));
}
static inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
/* Subtract bytes without a borrow from one to the next. */
static inline unsigned __vsub4(unsigned a, unsigned b) {
    unsigned out = 0;
    for (int i = 0; i < 4; i++) out |= (((a >> 8 * i) - (b >> 8 * i)) & 255u) << 8 * i;
    return out;
}
template <class T> T __ldg(const T *p) { return *p; }
template <class T> T atomicAdd(T *p, T value) {
    T before = *p;
    *p = before + value;
    return before;
}
