/* Kernels of attention and positions. */

/* Operands: out [t, m, 2], positions, frequencies. Half a turn is taken away in three parts: there are no doubles here. */
LF_KERNEL(lf_rotation) {
    uint m = (uint)a.of[2].ne[0], at = group.x * threads + thread_index;
    if (at >= m * (uint)a.of[1].ne[0]) return;
    float p = (float)((device int32_t *)b1)[at / m], f = ((device float *)b2)[at % m], magnitude = lf_real(a.attr[0]);
    float angle = p * f, rest = fma(p, f, -angle), turns = rint(angle * 0.15915494f);
    angle = fma(-turns, 6.28125f, angle); /* the sum of the three numbers is 2 pi */
    angle = fma(-turns, 0.0019353071693331f, angle);
    angle = fma(-turns, 1.0253376e-11f, angle) + rest;
    device float *out = (device float *)b0 + 2 * at;
    out[0] = precise::cos(angle) * magnitude, out[1] = precise::sin(angle) * magnitude;
}

static inline void lf_turn(float p, float q, float c, float s, thread float &first, thread float &second) {
    first = p * c - q * s, second = p * s + q * c;
}

/* Operands: out, x, table. A thread turns one pair, or copies two values that are not turned. */
LF_KERNEL(lf_rope) {
    constant lf_shape &x = a.of[1];
    int d = x.ne[0], heads = x.ne[1], m = a.of[2].ne[1], pairs = (d + 1) / 2;
    uint at = group.x * threads + thread_index;
    if (at >= (uint)pairs * lf_rows(x)) return;
    uint r = at / (uint)pairs;
    int i = (int)(at % (uint)pairs), halves = a.attr[0], first = halves ? i : 2 * i, second = halves ? i + m : 2 * i + 1;
    device float *from = lf_floats(b1, x, r), *to = lf_floats(b0, a.of[0], r);
    device float *t = (device float *)b2 + 2 * ((int64_t)(r / (uint)heads) * m + i);
    if (i < m) {
        float p, q;
        lf_turn(from[first], from[second], t[0], t[1], p, q);
        to[first] = p, to[second] = q;
        return;
    }
    to[2 * i] = from[2 * i];
    if (2 * i + 1 < d) to[2 * i + 1] = from[2 * i + 1];
}

/* Operands: cache, cache, table, cells. A threadgroup turns one head of one cell. */
LF_KERNEL(lf_rope_cells) {
    constant lf_shape &cache = a.of[0];
    int n = cache.ne[0], heads = cache.ne[1], row = (int)group.x / heads, head = (int)group.x % heads, m = a.of[2].ne[1];
    device char *place = b0 + head * cache.step[1] + (int64_t)((device int32_t *)b3)[row] * cache.step[2];
    for (int s = (int)thread_index; s < (n + 31) / 32; s += (int)threads) {
        float y[32];
        int count = min(32, n - 32 * s);
        lf_slice(cache.dtype, place, s, count, y);
        for (int i = 0; i < count; i++) room[32 * s + i] = y[i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = (int)thread_index; i < m; i += (int)threads) {
        int first = a.attr[0] ? i : 2 * i, second = a.attr[0] ? i + m : 2 * i + 1;
        device float *t = (device float *)b2 + 2 * (row * m + i);
        float p, q;
        lf_turn(room[first], room[second], t[0], t[1], p, q);
        room[first] = p, room[second] = q;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = (int)thread_index; i < lf_puts(cache.dtype, n); i += (int)threads) lf_put(cache.dtype, place, room, i);
}

/* A row of a cache into the room of a simdgroup. */
static void lf_open_row(int dtype, device const char *row, int n, uint lane, threadgroup float *to) {
    for (int s = (int)lane; s < (n + 31) / 32; s += LF_SIMD) {
        float y[32];
        int count = min(32, n - 32 * s);
        lf_slice(dtype, row, s, count, y);
        for (int i = 0; i < count; i++) to[32 * s + i] = y[i];
    }
}

/* Operands: out, q, k, v, positions, starts, lengths, pages, cell_positions, slopes. A threadgroup has one head of one row;
   each of its simdgroups takes every fourth cell, with sums of its own that are put together at the end. */
LF_KERNEL(lf_attention) {
    constant lf_shape &q = a.of[1], &k = a.of[2], &v = a.of[3];
    int heads = q.ne[1], row = (int)group.x / heads, head = (int)group.x % heads, kv = head / (heads / k.ne[1]);
    int d = q.ne[0], e = v.ne[0], lane = (int)thread_index % LF_SIMD, part = (int)thread_index / LF_SIMD;
    device int32_t *starts = (device int32_t *)b5;
    int sequence = 0;
    while (row >= starts[sequence + 1]) sequence++;
    int cells = ((device int32_t *)b6)[sequence], here = ((device int32_t *)b4)[row];
    int window = a.attr[1], causal = a.attr[3];
    float scale = lf_real(a.attr[0]), cap = lf_real(a.attr[2]), slope = a.of[9].given ? ((device float *)b9)[head] : 0.0f;
    device int32_t *pages = (device int32_t *)(b7 + sequence * a.of[7].step[1]);
    device float *query = (device float *)(b1 + head * q.step[1] + row * q.step[2]);
    int width = max(d, e);
    threadgroup float *mine = room + part * width;
    float sum[20], most = -INFINITY, total = 0; /* lane has values lane, lane + 32, ... of the result */
    for (int i = 0; i < 20; i++) sum[i] = 0;
    for (int c = part; c < cells; c += LF_ATTENTION_SIMDS) {
        int64_t cell = (int64_t)pages[c / 64] * 64 + c % 64;
        int distance = here - ((device int32_t *)b8)[cell];
        if ((causal && distance < 0) || (window && abs(distance) >= window)) continue;
        device char *key = b2 + kv * k.step[1] + cell * k.step[2], *value = b3 + kv * v.step[1] + cell * v.step[2];
        lf_open_row(k.dtype, key, d, (uint)lane, mine);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        float score = 0;
        for (int i = lane; i < d; i += LF_SIMD) score = fma(query[i], mine[i], score);
        score = simd_sum(score) * scale;
        if (cap != 0.0f) score = cap * precise::tanh(score / cap);
        score -= slope * (float)distance;
        float before = most, weight, keep;
        most = max(most, score);
        weight = precise::exp(score - most), keep = precise::exp(before - most);
        total = total * keep + weight;
        simdgroup_barrier(mem_flags::mem_threadgroup);
        lf_open_row(v.dtype, value, e, (uint)lane, mine);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = lane, j = 0; i < e; i += LF_SIMD, j++) sum[j] = fma(weight, mine[i], sum[j] * keep);
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    threadgroup float *ends = room + LF_ATTENTION_SIMDS * width;
    for (int i = lane, j = 0; i < e; i += LF_SIMD, j++) mine[i] = sum[j];
    if (lane == 0) ends[2 * part] = most, ends[2 * part + 1] = total;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float top = -INFINITY, all = 0;
    for (int p = 0; p < LF_ATTENTION_SIMDS; p++) top = max(top, ends[2 * p]);
    for (int p = 0; p < LF_ATTENTION_SIMDS; p++)
        if (ends[2 * p + 1] > 0.0f) all += ends[2 * p + 1] * precise::exp(ends[2 * p] - top);
    device float *out = (device float *)(b0 + head * a.of[0].step[1] + row * a.of[0].step[2]);
    for (int i = (int)thread_index; i < e; i += (int)threads) {
        float x = 0;
        for (int p = 0; p < LF_ATTENTION_SIMDS; p++)
            if (ends[2 * p + 1] > 0.0f) x = fma(room[p * width + i], precise::exp(ends[2 * p] - top), x);
        out[i] = all > 0.0f ? x / all : 0.0f;
    }
}
