/* Kernels that move whole rows: embedding, chosen rows, cells of a cache. */

/* Operands: out, ids, table. A thread decodes 32 values. */
LF_KERNEL(lf_embed) {
    int n = a.of[2].ne[0], slices = (n + 31) / 32;
    uint at = group.x * threads + thread_index;
    if (at >= (uint)(a.of[1].ne[0] * slices)) return;
    int row = (int)at / slices, s = (int)at % slices, count = min(32, n - 32 * s);
    float y[32];
    lf_slice(a.of[2].dtype, b2 + (int64_t)((device int32_t *)b1)[row] * a.of[2].step[1], s, count, y);
    device float *out = lf_floats(b0, a.of[0], (uint)row) + 32 * s;
    for (int i = 0; i < count; i++) out[i] = y[i];
}

/* Operands: out, x, rows. */
LF_KERNEL(lf_take_rows) {
    uint at = group.x * threads + thread_index, n = (uint)a.of[0].ne[0];
    if (at >= n * (uint)a.of[2].ne[0]) return;
    uint r = at / n, i = at % n;
    lf_floats(b0, a.of[0], r)[i] = lf_floats(b1, a.of[1], (uint)((device int32_t *)b2)[r])[i];
}

static inline float lf_largest_of(threadgroup const float *x) {
    float most = 0;
    for (int i = 0; i < 32; i++) most = abs(x[i]) > abs(most) ? x[i] : most;
    return most;
}
static inline int lf_level(float x, float turn, int low, int high) { return clamp((int)rint(x * turn), low, high); }

/* The step that loses least of some about `start`, for levels low .. high of values less `shift`. */
static float lf_best_step(threadgroup const float *x, float start, float shift, int low, int high) {
    float best = start, least = INFINITY;
    for (int t = -4; t <= 4; t++) {
        float step = lf_half(lf_to_half(start * (1.0f + 0.025f * (float)t))), turn = step != 0.0f ? 1.0f / step : 0.0f, lost = 0;
        for (int i = 0; i < 32; i++) {
            float e = x[i] - shift - step * (float)lf_level(x[i] - shift, turn, low, high);
            lost = fma(e, e, lost);
        }
        if (lost < least) least = lost, best = step;
    }
    return best;
}

/* 32 values into a block whose levels are nibbles, and fifth bits where `bits` is 5; `minimum` says that it has one. */
static void lf_put_nibbles(threadgroup const float *x, device uint8_t *out, int bits, bool minimum) {
    int half_ = 1 << (bits - 1), high = minimum ? 2 * half_ - 1 : half_ - 1, low = minimum ? 0 : -half_;
    float least = x[0], most = x[0];
    for (int i = 1; i < 32; i++) least = min(least, x[i]), most = max(most, x[i]);
    uint16_t m = lf_to_half(least);
    float shift = minimum ? lf_half(m) : 0.0f;
    float step = lf_best_step(x, minimum ? (most - shift) / (float)high : lf_largest_of(x) / (float)low, shift, low, high);
    uint16_t d = lf_to_half(step);
    float turn = lf_half(d) != 0.0f ? 1.0f / lf_half(d) : 0.0f;
    out[0] = (uint8_t)(d & 255), out[1] = (uint8_t)(d >> 8);
    out += 2;
    if (minimum) out[0] = (uint8_t)(m & 255), out[1] = (uint8_t)(m >> 8), out += 2;
    device uint8_t *nibbles = bits == 5 ? out + 4 : out;
    uint32_t fifth = 0;
    for (int i = 0; i < 16; i++) {
        uint32_t p = (uint32_t)(lf_level(x[i] - shift, turn, low, high) - low);
        uint32_t q = (uint32_t)(lf_level(x[i + 16] - shift, turn, low, high) - low);
        nibbles[i] = (uint8_t)((p & 15) | (q & 15) << 4);
        fifth |= (p >> 4) << i | (q >> 4) << (i + 16);
    }
    for (int i = 0; bits == 5 && i < 4; i++) out[i] = (uint8_t)(fifth >> 8 * i & 255);
}

static void lf_put_q8_0(threadgroup const float *x, device lf_q8_0 *b) {
    float d = abs(lf_largest_of(x)) / 127.0f, turn = d != 0.0f ? 1.0f / d : 0.0f;
    b->d = lf_to_half(d);
    for (int i = 0; i < 32; i++) b->qs[i] = (int8_t)lf_level(x[i], turn, -127, 127);
}

/* The nearest level of the codebook, its step from the largest value, two more tried. */
static void lf_put_iq4_nl(threadgroup const float *x, device lf_iq4_nl *b) {
    float largest = lf_largest_of(x), best = 0, least = INFINITY;
    for (int t = -7; t <= 7; t++) {
        float step = largest / (-127.0f + 2.0f * (float)t), lost = 0;
        step = lf_half(lf_to_half(step));
        for (int i = 0; i < 32; i++) {
            float e = INFINITY;
            for (int k = 0; k < 16; k++) e = min(e, abs(x[i] - step * (float)lf_codebook_iq4_nl[k]));
            lost = fma(e, e, lost);
        }
        if (lost < least) least = lost, best = step;
    }
    b->d = lf_to_half(best);
    for (int i = 0; i < 16; i++) {
        int level[2] = {0, 0};
        for (int h = 0; h < 2; h++) {
            float e = INFINITY;
            for (int k = 0; k < 16; k++) {
                float lost = abs(x[i + 16 * h] - best * (float)lf_codebook_iq4_nl[k]);
                if (lost < e) e = lost, level[h] = k;
            }
        }
        b->qs[i] = (uint8_t)(level[0] | level[1] << 4);
    }
}

/* Value i, or block i, of a row in a cache's format from values in the room. */
static void lf_put(int dtype, device char *row, threadgroup const float *x, int i) {
    switch (dtype) {
    case LF_F32: ((device float *)row)[i] = x[i]; return;
    case LF_F16: ((device uint16_t *)row)[i] = lf_to_half(x[i]); return;
    case LF_BF16: {
        uint32_t bits = lf_bits(x[i]);
        ((device uint16_t *)row)[i] = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
        return;
    }
    case LF_Q8_0: lf_put_q8_0(x + 32 * i, (device lf_q8_0 *)row + i); return;
    case LF_Q4_0: lf_put_nibbles(x + 32 * i, (device uint8_t *)((device lf_q4_0 *)row + i), 4, false); return;
    case LF_Q4_1: lf_put_nibbles(x + 32 * i, (device uint8_t *)((device lf_q4_1 *)row + i), 4, true); return;
    case LF_Q5_0: lf_put_nibbles(x + 32 * i, (device uint8_t *)((device lf_q5_0 *)row + i), 5, false); return;
    case LF_Q5_1: lf_put_nibbles(x + 32 * i, (device uint8_t *)((device lf_q5_1 *)row + i), 5, true); return;
    case LF_IQ4_NL: lf_put_iq4_nl(x + 32 * i, (device lf_iq4_nl *)row + i); return;
    }
}
static inline int lf_puts(int dtype, int n) { return dtype == LF_F32 || dtype == LF_F16 || dtype == LF_BF16 ? n : n / 32; }

/* Operands: cache, x, cache, cells. A threadgroup writes one head of one row. */
LF_KERNEL(lf_store) {
    constant lf_shape &cache = a.of[0];
    int n = cache.ne[0], heads = cache.ne[1], row = (int)group.x / heads, head = (int)group.x % heads;
    device float *x = (device float *)(b1 + head * a.of[1].step[1] + row * a.of[1].step[2]);
    device char *out = b0 + head * cache.step[1] + (int64_t)((device int32_t *)b3)[row] * cache.step[2];
    for (int i = (int)thread_index; i < n; i += (int)threads) room[i] = x[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = (int)thread_index; i < lf_puts(cache.dtype, n); i += (int)threads) lf_put(cache.dtype, out, room, i);
}

/* Operands: cache, cache, source, target. A thread moves its two bytes of every cell, first cell to last. */
LF_KERNEL(lf_move_cells) {
    constant lf_shape &cache = a.of[0];
    uint at = group.x * threads + thread_index;
    if ((int64_t)at * 2 >= cache.step[2]) return;
    for (int i = 0; i < a.of[2].ne[0]; i++) {
        int64_t from = ((device int32_t *)b2)[i], to = ((device int32_t *)b3)[i];
        *(device uint16_t *)(b0 + to * cache.step[2] + 2 * at) = *(device uint16_t *)(b0 + from * cache.step[2] + 2 * at);
    }
}
