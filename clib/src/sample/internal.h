/* internal.h - the sampler's scratch and the samplers, one file each.
 *
 *      logits --copy--> work, in blocks of LT_BLOCK with their maxima      scan.c passes_tmpl.h
 *      mask, logit bias: change work                                       mask.c bias.c
 *      ranked[0..n_ranked): the best of work, best first, grown on demand  rank.c
 *      survivors: the first n_kept of the ranking                          keep.c weights.c
 *      the samplers of the chain
 *      draw                                                                draw.c
 *      what it was drawn from, for those who ask                           probs.c
 *
 * No step sorts the vocabulary: a step that needs one more candidate asks the ranking for it.  Nearly every filter keeps a
 * head of the ranking; those that take from its front (typical, XTC) make those ids vanish from work.  A sampler that
 * changes logits one by one settles first: the survivors, divided by the temperature, become all that is in work. */
#ifndef LT_SAMPLE_INTERNAL_H
#define LT_SAMPLE_INTERNAL_H

#include <math.h>

#include "sample/sample.h"

enum { LT_LANES = 16, LT_BLOCK = 64 };
enum { LT_STREAM_DRAW, LT_STREAM_XTC }; /* of random numbers, for each position */

typedef struct { /* over work or a part of it, n or n_blocks * LT_BLOCK floats: passes_tmpl.h */
    float (*block_max)(const float *block);
    bool (*scan)(float *work, float *maxima, const float *logits, int32_t n_blocks); /* false on NaN or +inf */
    double (*exp_sum)(const float *x, int32_t n, float max, float scale);            /* of 2^t, t = (x - max) * scale */
    double (*exp_moment)(const float *x, int32_t n, float max, float scale);         /* of 2^t * t */
} lt_passes;

extern const lt_passes lt_passes_avx2, lt_passes_avx512vnni;
const lt_passes *lt_choose_passes(void);

struct lt_sampler {
    lt_lexicon lexicon;
    const lt_passes *passes;
    float *work;      /* n_blocks * LT_BLOCK logits; -inf: forbidden, and the padding */
    float *maxima;    /* of each block of work */
    uint64_t *ranked; /* see rank.c */
    uint64_t *spare;  /* the sort's other buffer */
    double *weights;  /* weights[i] = exp((ranked logit i - max) / temperature) */
    int32_t *counts;  /* per id, all zero between calls: what a penalty has counted */
    int32_t *runs;    /* [max_history]: dry.c */
    int32_t n_vocab, n_blocks, max_history;
    int32_t n_ranked;   /* valid head of ranked and weights */
    bool ranked_all;    /* there is nothing after it */
    double temperature; /* that the weights are for: 1 until a sampler says otherwise */
    float max;          /* of work */
    double log_total;   /* logarithm of what softmax divides the raw logits by */
    int32_t n_kept;     /* survivors are the first n_kept of the ranking; LT_KEEP_ALL: every allowed id */
    double total;       /* sum of the survivors' weights */
    int32_t place;      /* in the ranking, of the id that was drawn */
    int32_t n_top;
    lt_choice top[LT_MAX_PROBS]; /* see lt_out.top */
};

enum { LT_KEEP_ALL = INT32_MAX };

typedef struct { /* one lt_sample, as samplers see it */
    const lt_sampling *p;
    const int32_t *history;
    int32_t n_history;
    const float *state;
} lt_call;

/* scan.c */
bool lt_scan(lt_sampler *s, const float *logits); /* fills work, maxima, max; false on NaN, +inf or nothing finite */
bool lt_find_max(lt_sampler *s);                  /* max from maxima; false when nothing is left */
static inline void lt_refresh_block(lt_sampler *s, int32_t id)
{
    s->maxima[id / LT_BLOCK] = s->passes->block_max(s->work + id / LT_BLOCK * LT_BLOCK);
}

/* exp.c: the same bits on every machine */
double lt_exp(double x);                                               /* x <= 700; within 2 units in the last place */
double lt_log(double x);                                               /* x > 0, normal; within 1e-15, absolute or relative */
double lt_exp_sum(const lt_sampler *s, float max, float inverse_t);    /* sum over work of exp((x - max) * inverse_t), within 1e-6 of it */
double lt_exp_moment(const lt_sampler *s, float max, float inverse_t); /* ... of exp(t) * t, t = (x - max) * inverse_t */

/* mask.c bias.c */
void lt_mask(lt_sampler *s, const uint32_t *mask);
void lt_forbid(lt_sampler *s, int32_t id);
void lt_add_bias(lt_sampler *s, const lt_sampling *p);
static inline float lt_finite(float x) /* what changes a logit neither forbids it nor makes it infinite */
{
    x = x > -__FLT_MAX__ ? x : -__FLT_MAX__;
    return x < __FLT_MAX__ ? x : __FLT_MAX__;
}

/* rank.c */
void lt_rank_reset(lt_sampler *s);
bool lt_rank_has(lt_sampler *s, int32_t i); /* grows the ranking to hold place i; false: fewer survivors are left */
void lt_rank_reweigh(lt_sampler *s, double temperature);
void lt_rank_one(lt_sampler *s, int32_t id); /* the ranking is this id */
int32_t lt_rank_id(const lt_sampler *s, int32_t i);
float lt_rank_logit(const lt_sampler *s, int32_t i);

/* keep.c: the survivors become fewer */
void lt_keep(lt_sampler *s, int32_t n);      /* the first n of them, at least one */
void lt_drop_head(lt_sampler *s, int32_t n); /* all but the first n, which are ranked already */
void lt_keep_best(lt_sampler *s);            /* greedy */
void lt_settle(lt_sampler *s);               /* see above */
void lt_settle_as(lt_sampler *s, const int32_t *ids, const double *weights, int32_t n); /* those ids with these weights, above 0 */
void lt_work_changed(lt_sampler *s);         /* after a sampler has written into settled work */

/* weights.c: of the survivors, at the ranking's temperature */
int32_t lt_count_survivors(lt_sampler *s);
double lt_total_weight(lt_sampler *s);
double lt_entropy(lt_sampler *s, double total); /* nats */

/* The samplers: no operation where their settings say so. */
void lt_penalties(lt_sampler *s, const lt_call *c);
void lt_dry(lt_sampler *s, const lt_call *c);
void lt_top_n_sigma(lt_sampler *s, const lt_call *c);
void lt_top_k(lt_sampler *s, const lt_call *c);
void lt_tfs_z(lt_sampler *s, const lt_call *c);
void lt_typical(lt_sampler *s, const lt_call *c);
void lt_top_p(lt_sampler *s, const lt_call *c);
void lt_min_p(lt_sampler *s, const lt_call *c);
void lt_keep_top_p(lt_sampler *s, const lt_call *c, double total); /* total: weight of those whom it chooses among */
void lt_xtc(lt_sampler *s, const lt_call *c);
void lt_temperature(lt_sampler *s, const lt_call *c);
void lt_infill(lt_sampler *s, const lt_call *c);
void lt_mirostat_1(lt_sampler *s, const lt_call *c);
void lt_mirostat_2(lt_sampler *s, const lt_call *c);
void lt_adaptive_p(lt_sampler *s, const lt_call *c);

/* Of those that may take the best away. */
bool lt_typical_is_off(const lt_sampling *p);
bool lt_xtc_is_off(const lt_sampling *p);

/* What the two with a memory make of the draw: place i of the ranking. */
void lt_mirostat_learn(const lt_sampler *s, const lt_call *c, int32_t i, float state[2]);
void lt_adaptive_learn(const lt_sampler *s, const lt_call *c, int32_t i, float state[2]);

/* draw.c: the place in the ranking of one survivor, at random in proportion to the weights */
int32_t lt_draw(lt_sampler *s, const lt_call *c);

/* probs.c: the first pass and, where somebody asks for it, log_total and the best of the raw logits, while work is that */
bool lt_look(lt_sampler *s, const lt_sampling *p, const float *logits);

static inline bool lt_wants_logprobs(const lt_sampling *p)
{
    return !(p->flags & LT_SAMPLE_NO_LOGPROB) || p->flags & LT_SAMPLE_SCORE || p->n_probs;
}

/* philox.c: Philox4x32-10 (Salmon et al., SC 2011) */
void lt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
double lt_uniform(uint64_t seed, uint64_t position, uint32_t stream); /* [0, 1), 53 bits */

#endif
