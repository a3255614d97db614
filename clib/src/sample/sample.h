/* sample.h - from logits to one token: the sampler chain of one sequence.
 *
 * Order: mask, logit bias, then the samplers of lt_sampling.chain one after the other, then a draw among what they leave.
 * Reproducible: the draw for position p is Philox4x32-10 keyed by seed at counter p, so it depends on nothing else; a
 * sampler that needs another random number takes another stream of the same counter.  Ties go to the lower id; sums run
 * in sorted order, or over the whole vocabulary in a fixed order of lanes. */
#ifndef LT_SAMPLE_H
#define LT_SAMPLE_H

#include <stdbool.h>

#include "core/status.h"

typedef struct lt_sampler lt_sampler; /* scratch for one vocabulary; one thread at a time; shared by all sequences */

typedef struct { /* what samplers know of the vocabulary; eog and vocab live as long as the sampler */
    int32_t n_vocab;
    const int32_t *eog;      /* ids that end generation */
    int32_t n_eog, eot;      /* eot: the one that stands for all; -1: none */
    const void *vocab;       /* for piece */
    const char *(*piece)(const void *vocab, int32_t id, uint32_t *n_bytes);
} lt_lexicon;

int lt_sampler_create(lt_sampler **out, const lt_lexicon *lexicon, int32_t max_history); /* all memory is taken here */
void lt_sampler_destroy(lt_sampler *s);

/* ---- settings ---- */

/* Ranges, NaN, lists, the chain: LT_E_ARG naming the field. */
int lt_sampling_check(const lt_sampling *p, int32_t n_vocab);

/* A checked copy with its own lists, in one allocation (*lists, NULL when there are none), for lt_free. */
int lt_sampling_copy(lt_sampling *to, void **lists, const lt_sampling *from, int32_t n_vocab);

/* What a sequence starts with: lt_sampling.state when it goes on, else the samplers' own beginning. */
void lt_sampling_start(const lt_sampling *p, float state[2]);

/* ---- sampling ---- */

typedef struct {
    int32_t token;   /* -1: no finite logit was left (NaN or +inf in logits, or everything masked) */
    float logprob;   /* log softmax of the raw logits at token, or see LT_SAMPLE_NO_LOGPROB */
    float state[2];  /* for the next token, once this one stands in the history */
} lt_sampled;

/* logits[n_vocab] are read only.  history: all ids so far, the next one gets position n_history.  mask as in lt_row.
 * state: that of the sequence. */
lt_sampled lt_sample(lt_sampler *s, const lt_sampling *p, const float *logits, const int32_t *history, int32_t n_history,
                     const uint32_t *mask, const float state[2]);

typedef struct {
    int32_t token;
    float prob;      /* chance of being drawn: after every sampler; they sum to 1 over all survivors */
} lt_candidate;

/* The survivors that the last lt_sample on s drew from, likeliest of the model first, at most cap of them; returns how
 * many were written (0 after token -1).  Greedy has one survivor. */
int32_t lt_sample_candidates(lt_sampler *s, lt_candidate *out, int32_t cap);

typedef struct { /* lt_out says what these are */
    float prob;
    int32_t n_top, n_chances;
    lt_choice top[LT_MAX_PROBS], chances[LT_MAX_PROBS];
} lt_probs;

/* What the last lt_sample on s, with these settings, chose among; all 0 after token -1.  Once for each lt_sample. */
void lt_sample_probs(lt_sampler *s, const lt_sampling *p, lt_probs *out);

/* How likely out[0].token is under logits[n_vocab]: its value, and the best behind it: out[1 + n_probs], see lt_out.scores.
 * False, with out[0].token -1: logits with NaN or +inf, or none that is finite. */
bool lt_score(lt_sampler *s, const lt_sampling *p, const float *logits, lt_choice *out);

#endif
