/* Makes the formats' inline functions callable from tests, and a main that runs all of them for the sanitizers. */
#include "formats.h"
#include "quants.h"

#include <stdio.h>
#include <stdlib.h>

#define X(name, NAME, block) \
    void test_decode_##name(const void *b, float *y) { lf_decode_##name(b, y); }
LF_FORMATS(X)
#undef X

#define X(name, NAME, block, group, biased) \
    void test_unpack_##name(const void *b, int8_t *q, float *s, float *m) { lf_unpack_##name(b, q, s, m); }
LF_QUANTS(X)
#undef X

float test_half(uint16_t h) { return lf_half(h); }
uint16_t test_to_half(float x) { return lf_to_half(x); }

#ifdef TEST_MAIN
static uint32_t state = 1;

static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

/* Numbers of all sizes that encoders may meet: smooth, spiky, tiny, huge, equal, zero. */
static float number(int kind, int i) {
    float smooth = ((float)(next() >> 8) / 8388608 - 1) * 0.1f;
    switch (kind) {
        case 0: return smooth;
        case 1: return i % 37 ? smooth * 1e-3f : smooth * 1e3f;
        case 2: return lf_float(next() >> 10); /* denormals */
        case 3: return smooth > 0 ? 65519.f : -65519.f;
        case 4: return -0.0123f;
        case 5: return 0;
        default: return lf_float((next() & 0x80000000u) | next() % 0x477ff000u);
    }
}

static uint32_t hash(uint32_t sum, const void *data, size_t n) {
    for (const uint8_t *p = data; n--; p++) sum = (sum ^ *p) * 16777619u;
    return sum;
}

/* Run one format over blocks in buffers that end where the data ends, at odd addresses; print a checksum. */
static void run(const char *name, int format, size_t block, size_t size, size_t groups,
                void (*unpack)(const void *, int8_t *, float *, float *)) {
    enum { BLOCKS = 24, KINDS = 7 };
    uint32_t sum = 2166136261u;
    char *raw = malloc(BLOCKS * size + 1);
    uint8_t *packed = (uint8_t *)raw + (format == LF_F32 ? 0 : 1);
    float *x = malloc(BLOCKS * block * sizeof *x), *s = malloc(groups * sizeof *s), *m = malloc(groups * sizeof *m);
    int8_t *q = malloc(block);
    for (int kind = 0; kind < KINDS; kind++) {
        for (size_t i = 0; i < BLOCKS * block; i++) x[i] = number(kind, (int)i);
        if (lf_encode_rows(format, x, packed, (int64_t)(BLOCKS * block)) != (int64_t)(BLOCKS * block)) exit(1);
        sum = hash(sum, packed, BLOCKS * size);
        if (lf_decode_rows(format, packed, x, (int64_t)(BLOCKS * block))) exit(2);
        for (size_t i = 0; i < BLOCKS * block; i++)
            if (!(x[i] - x[i] == 0)) exit(3); /* what was finite decodes to finite numbers */
    }
    for (size_t i = 0; i < BLOCKS * size; i++) packed[i] = (uint8_t)next();
    if (lf_decode_rows(format, packed, x, (int64_t)(BLOCKS * block))) exit(4);
    for (size_t i = 0; i < BLOCKS && unpack; i++) {
        unpack(packed + i * size, q, s, m);
        sum = hash(sum, q, block);
    }
    printf("%s %08x\n", name, sum);
    free(raw), free(x), free(s), free(m), free(q);
}

int main(void) {
#define X(name, NAME, block, group, biased) \
    run(#name, LF_##NAME, block, sizeof(lf_##name), (block) / (group), test_unpack_##name);
    LF_QUANTS(X)
#undef X
    run("f32", LF_F32, 1, 4, 1, 0);
    run("f16", LF_F16, 1, 2, 1, 0);
    run("bf16", LF_BF16, 1, 2, 1, 0);
    return 0;
}
#endif
