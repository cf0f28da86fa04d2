/* Random calls of the sampler with random parameters, sane and hostile; run under the sanitizers, it counts allocations. */
#include "sampler.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long allocations;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size) { return allocations++, __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return allocations++, __real_calloc(count, size); }

static uint64_t state = 88172645463325252u;

static uint32_t any(uint32_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % n;
}

static double one_of(const double *from, int n) { return from[any((uint32_t)n)]; }
#define ONE_OF(...) one_of((const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

/* A copy in memory of exactly its size, so that the sanitizer sees a read past the end. */
static void *exact(const void *from, size_t size) {
    void *to = __real_malloc(size ? size : 1);
    memcpy(to, from, size);
    return to;
}

static lf_sampler_params random_params(void) {
    lf_sampler_params p = {0};
    char steps[40];
    int32_t ids[64], words[64];
    float biases[64];
    p.temperature = ONE_OF(-1, 0, 1e-30, 1e-6, 2e-6, 0.5, 0.8, 1, 5, 1e30);
    p.dynatemp_range = ONE_OF(0, 0, 0.5, 1e30);
    p.dynatemp_exponent = ONE_OF(0, 1, 1e6);
    p.top_p = ONE_OF(0, 0.5, 0.95, 1, 9);
    p.min_p = ONE_OF(0, 1e-300, 0.05, 1);
    p.typical_p = ONE_OF(0, 0.5, 1);
    p.top_n_sigma = ONE_OF(-1, 0, 1, 1e30);
    p.xtc_probability = ONE_OF(0, 0.5, 1);
    p.xtc_threshold = ONE_OF(0, 0.01, 0.5, 1);
    p.repeat_penalty = ONE_OF(1e-6, 1, 1.1, 1e6, 1e300);
    p.presence_penalty = ONE_OF(0, -1, 1e6, -1e300);
    p.frequency_penalty = ONE_OF(0, 0.1, 1e6);
    p.dry_multiplier = ONE_OF(0, 0.8, 1e6, 1e300);
    p.dry_base = ONE_OF(1, 1.75, 1e6, 1e300);
    p.mirostat_tau = ONE_OF(0, 5, 1e3);
    p.mirostat_eta = ONE_OF(0, 0.1, 1e3);
    p.top_k = (int32_t)ONE_OF(-5, 0, 1, 40, 1000, 2147483647);
    p.min_keep = (int32_t)ONE_OF(-5, 0, 1, 7, 2147483647);
    p.mirostat = (int32_t)ONE_OF(0, 0, 0, 1, 2);
    p.repeat_last_n = (int32_t)ONE_OF(-1, 0, 1, 64, 2147483647);
    p.dry_penalty_last_n = (int32_t)ONE_OF(-1, 0, 1, 64, 2147483647);
    p.dry_allowed_length = (int32_t)ONE_OF(0, 1, 2, 2147483647);
    p.n_vocab = (int32_t)(any(4) ? 1 + any(400) : 1 + any(9000));
    p.n_context = (int32_t)(1 + any(100));
    p.seed = any(1000);
    for (p.n_steps = 0; p.n_steps < (int32_t)any(14); p.n_steps++) steps[p.n_steps] = "edskypmxt"[any(9)];
    for (int32_t id = (int32_t)any(5); p.n_biases < (int32_t)any(9) && id < p.n_vocab; id += 1 + (int32_t)any(50)) {
        ids[p.n_biases] = id;
        biases[p.n_biases++] = (float)ONE_OF(-INFINITY, INFINITY, 1, -3e38, NAN);
    }
    for (int32_t first = 0; any(3) && p.n_breaker_words < 50; first += (int32_t)any(3)) {
        int32_t length = 1 + (int32_t)any(4);
        words[p.n_breaker_words++] = length;
        for (int32_t k = 0; k < length; k++) words[p.n_breaker_words++] = k ? (int32_t)any(4) : first;
    }
    if (!any(8)) { /* hostile: a count, an order or an id that must be refused or harmless */
        switch (any(6)) {
        case 0: p.n_vocab = (int32_t)ONE_OF(0, -1, 1048577, -2147483648.0); break;
        case 1: p.n_steps = (int32_t)ONE_OF(-1, 33, 2147483647); break;
        case 2: ids[0] = (int32_t)ONE_OF(-1, 2147483647); break;
        case 3: words[0] = (int32_t)ONE_OF(-1, 0, 2147483647); break;
        case 4: steps[0] = (char)any(256); break;
        case 5: p.temperature = ONE_OF(NAN, INFINITY, 1e300); break;
        }
    }
    p.steps = exact(steps, p.n_steps > 0 && p.n_steps < 40 ? (size_t)p.n_steps : 0);
    p.bias_ids = exact(ids, sizeof *ids * (size_t)p.n_biases);
    p.biases = exact(biases, sizeof *biases * (size_t)p.n_biases);
    p.breakers = exact(words, sizeof *words * (size_t)p.n_breaker_words);
    return p;
}

static void free_params(const lf_sampler_params *p) {
    free((void *)p->steps);
    free((void *)p->bias_ids);
    free((void *)p->biases);
    free((void *)p->breakers);
}

static void fill(float *logits, int32_t n) {
    double spread = ONE_OF(0, 1, 10, 1e30, 3e38);
    for (int32_t i = 0; i < n; i++) {
        logits[i] = (float)((any(2001) / 1000.0 - 1) * spread);
        if (!any(20)) logits[i] = (float)ONE_OF(-INFINITY, INFINITY, NAN, -0.0, 1e-45);
    }
    if (!any(30))
        for (int32_t i = 0; i < n; i++) logits[i] = NAN;
}

/* Use one sampler for a while; return 1 where it did what it may not. */
static int use(lf_sampler *s, int32_t n) {
    float *logits = __real_malloc(sizeof *logits * (size_t)n);
    size_t words = ((size_t)n + 31) / 32;
    uint32_t *mask = __real_malloc(sizeof *mask * words);
    int32_t ids[20], wrong = 0;
    double logprobs[20], logprob;
    for (int round = 0; round < 12 && !wrong; round++) {
        fill(logits, n);
        for (size_t i = 0; i < words; i++) mask[i] = any(3) ? UINT32_MAX : any(UINT32_MAX);
        const uint32_t *given = any(3) ? NULL : mask;
        long before = allocations;
        if (!any(4)) lf_sampler_logprobs(s, logits, (int32_t)any(500) - 50, &logprob, (int32_t)any(20), ids, logprobs);
        int32_t token = lf_sampler_sample(s, logits, given);
        wrong = token < -1 || token >= n;
        if (token >= 0 && given) wrong |= !(mask[token / 32] >> token % 32 & 1);
        int32_t found = lf_sampler_drawn_logprobs(s, token, &logprob, (int32_t)any(20), ids, logprobs);
        wrong |= (found >= 0) != (token >= 0) || (found > 0 && !(logprob <= 1e-6));
        lf_sampler_accept(s, &token, 1);
        int32_t more[5] = {0, (int32_t)any(4), (int32_t)any(4), 1, (int32_t)any(9000)};
        lf_sampler_accept(s, more, (int32_t)any(6));
        if (!any(20)) lf_sampler_reset(s);
        if (allocations != before) wrong = 1;
    }
    free(logits);
    free(mask);
    return wrong;
}

int main(int argc, char **argv) {
    int made = 0, refused = 0;
    for (long i = 0, n = argc > 1 ? atol(argv[1]) : 1000; i < n; i++) {
        lf_sampler_params p = random_params();
        const char *problem;
        lf_sampler *s = lf_sampler_new(&p, &problem);
        free_params(&p);
        if (!s) {
            refused++;
            if (!problem) return 2;
            continue;
        }
        made++;
        lf_sampler *twin = any(4) ? NULL : lf_sampler_clone(s);
        int wrong = use(s, p.n_vocab);
        lf_sampler_free(s);
        if (twin) wrong |= use(twin, p.n_vocab);
        lf_sampler_free(twin);
        if (wrong) return printf("wrong in case %ld\n", i), 1;
    }
    return printf("made %d refused %d\n", made, refused), 0;
}
