/* sample.h - from logits to one token: the sampler chain of one sequence.
 *
 * Order: mask, penalties, [greedy when temperature <= 0], top-k, top-p, min-p, temperature, draw.
 * Reproducible: the draw for position p is Philox4x32-10 keyed by seed at counter p, so it depends on nothing else;
 * ties go to the lower id; sums run in sorted order, or over the whole vocabulary in a fixed order of lanes. */
#ifndef LT_SAMPLE_H
#define LT_SAMPLE_H

#include "core/status.h"

typedef struct lt_sampler lt_sampler; /* scratch for one vocabulary; one thread at a time; shared by all sequences */

int lt_sampler_create(lt_sampler **out, int32_t n_vocab); /* all memory is taken here */
void lt_sampler_destroy(lt_sampler *s);

int lt_sampling_check(const lt_sampling *p); /* ranges, NaN: LT_E_ARG naming the field */

typedef struct {
    int32_t token;   /* -1: no finite logit was left (NaN or +inf in logits, or everything masked) */
    float logprob;   /* log softmax of the raw logits at token */
} lt_sampled;

/* logits[n_vocab] are read only.  history: all ids so far, the next one gets position n_history.
 * eog/n_eog: ids that LT_SAMPLE_IGNORE_EOS forbids.  mask as in lt_row. */
lt_sampled lt_sample(lt_sampler *s, const lt_sampling *p, const float *logits, const int32_t *history, int32_t n_history,
                     const int32_t *eog, int32_t n_eog, const uint32_t *mask);

typedef struct {
    int32_t token;
    float prob;      /* chance of being drawn: after every filter and the temperature; they sum to 1 over all survivors */
} lt_candidate;

/* The survivors that the last lt_sample on s drew from, best first, at most cap of them; returns how many were written
 * (0 after token -1).  Greedy has one survivor. */
int32_t lt_sample_candidates(lt_sampler *s, lt_candidate *out, int32_t cap);

#endif
