/* The sampler: from a row of logits to the id of the next token, by a chain of steps, in C without allocating. */
#ifndef LF_SAMPLER_H
#define LF_SAMPLER_H
#include <stdint.h>

/* cdef-begin */
typedef struct lf_sampler lf_sampler;

/* What a sampler is made from; everything behind a pointer is copied. */
typedef struct {
    double temperature, dynatemp_range, dynatemp_exponent;
    double top_p, min_p, typical_p, top_n_sigma, xtc_probability, xtc_threshold;
    double repeat_penalty, presence_penalty, frequency_penalty;
    double dry_multiplier, dry_base, mirostat_tau, mirostat_eta;
    int32_t top_k, min_keep, mirostat;
    int32_t repeat_last_n, dry_penalty_last_n, dry_allowed_length; /* -1 in the first two: n_context */
    int32_t n_vocab, n_context;
    uint32_t seed;
    int32_t n_steps, n_biases, n_breaker_words;
    const char *steps;         /* letters of edskypmxt, in the order of the chain */
    const int32_t *bias_ids;   /* ascending, each once */
    const float *biases;       /* added to the logits first; -inf bans */
    const int32_t *breakers;   /* DRY's sequence breakers: a length, then as many ids, and again */
} lf_sampler_params;

/* Return a sampler, or NULL and the reason in *problem. */
lf_sampler *lf_sampler_new(const lf_sampler_params *params, const char **problem);
lf_sampler *lf_sampler_clone(const lf_sampler *s);
void lf_sampler_free(lf_sampler *s);
/* Back to the state it was made in: no past tokens, the seed's first draw. */
void lf_sampler_reset(lf_sampler *s);

/* Choose from logits f32[n_vocab], which are only read. `mask` is NULL or one bit a token, 0 for what is forbidden.
   Return the id, or -1 where every token is ruled out. NaN is ruled out; +inf counts as the largest float. */
int32_t lf_sampler_sample(lf_sampler *s, const float *logits, const uint32_t *mask);
/* Append n tokens to the past that the penalties look at; return 0, or -1 where an id is not of the vocabulary. */
int lf_sampler_accept(lf_sampler *s, const int32_t *ids, int32_t n);

/* Fill ids and logprobs (natural logarithms) with the best n, and *logprob with that of `token`; return how many there
   were, or -1. The first is of the model's own logits; it ends what the second says, which is of the distribution that
   the last lf_sampler_sample drew from, whose logits must still be there. */
int32_t lf_sampler_logprobs(lf_sampler *s, const float *logits, int32_t token, double *logprob, int32_t n,
                            int32_t *ids, double *logprobs);
int32_t lf_sampler_drawn_logprobs(lf_sampler *s, int32_t token, double *logprob, int32_t n, int32_t *ids,
                                  double *logprobs);
/* cdef-end */
#endif
