/* internal.h - the sampler's scratch and the steps of the chain, one file each.
 *
 *      logits --copy--> work, in blocks of LT_BLOCK with their maxima      scan.c
 *      mask, forbidden ids, penalties: change work                         mask.c penalties.c
 *      ranked[0..n_ranked): the best of work, best first, grown on demand  rank.c
 *      top-k, top-p, min-p: decide how many of the ranking stay (n_kept)   top_p.c min_p.c
 *      temperature, draw                                                   draw.c
 *
 * No step sorts the vocabulary: a step that needs one more candidate asks the ranking for it. */
#ifndef LT_SAMPLE_INTERNAL_H
#define LT_SAMPLE_INTERNAL_H

#include <math.h>
#include <stdbool.h>

#include "sample/sample.h"

enum { LT_LANES = 16, LT_BLOCK = 64 };

struct lt_sampler {
    float *work;      /* n_blocks * LT_BLOCK logits; -inf: forbidden, and the padding */
    float *maxima;    /* of each block of work */
    uint64_t *ranked; /* see rank.c */
    uint64_t *spare;  /* the sort's other buffer */
    double *weights;  /* weights[i] = exp((ranked logit i - max) / temperature) */
    int32_t *counts;  /* per id, all zero between calls: occurrences in the penalty window */
    int32_t n_vocab, n_blocks;
    int32_t n_ranked;   /* valid head of ranked and weights */
    bool ranked_all;    /* there is nothing after it */
    double temperature; /* that the weights are for: 1 until draw.c */
    float max;          /* of work */
    int32_t n_kept;     /* survivors are the first n_kept of the ranking; LT_KEEP_ALL: every allowed id */
    double total;       /* sum of the survivors' weights */
};

enum { LT_KEEP_ALL = INT32_MAX };

/* scan.c */
float lt_block_max(const float *block);
bool lt_scan(lt_sampler *s, const float *logits); /* fills work, maxima, max; false on NaN, +inf or nothing finite */
bool lt_find_max(lt_sampler *s);                  /* max from maxima; false when nothing is left */
static inline void lt_refresh_block(lt_sampler *s, int32_t id)
{
    s->maxima[id / LT_BLOCK] = lt_block_max(s->work + id / LT_BLOCK * LT_BLOCK);
}

/* exp.c: the same bits on every machine */
double lt_exp(double x);                                            /* x <= 0; within 2 units in the last place */
double lt_exp_sum(const lt_sampler *s, float max, float inverse_t); /* sum over work of exp((x - max) * inverse_t), within 1e-6 of it */

void lt_mask(lt_sampler *s, const uint32_t *mask);
void lt_forbid(lt_sampler *s, const int32_t *ids, int32_t n);
void lt_penalize(lt_sampler *s, const lt_sampling *p, const int32_t *history, int32_t n_history);

/* rank.c */
void lt_rank_reset(lt_sampler *s);
bool lt_rank_has(lt_sampler *s, int32_t i); /* grows the ranking to hold place i; false: fewer ids are left */
void lt_rank_reweigh(lt_sampler *s, double temperature);
int32_t lt_rank_id(const lt_sampler *s, int32_t i);

void lt_keep_top_k(lt_sampler *s, int32_t k);
void lt_keep_min_p(lt_sampler *s, float p);
void lt_keep_top_p(lt_sampler *s, float p, double total); /* total: weight of the survivors of top-k */

/* draw.c */
int32_t lt_take_best(lt_sampler *s); /* greedy */
int32_t lt_draw(lt_sampler *s, float temperature, uint64_t seed, uint64_t position);
double lt_total_weight(lt_sampler *s); /* over the survivors, at the ranking's temperature */

/* philox.c: Philox4x32-10 (Salmon et al., SC 2011) */
void lt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
double lt_uniform(uint64_t seed, uint64_t position); /* [0, 1), 53 bits */

#endif
