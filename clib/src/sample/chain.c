/* chain.c - the samplers by number, and one lt_sample from end to end. */
#include "sample/internal.h"

static bool always(const lt_sampling *p)
{
    return true;
}

static bool never(const lt_sampling *p)
{
    return false;
}

static const struct {
    void (*run)(lt_sampler *s, const lt_call *c);
    bool (*keeps_best)(const lt_sampling *p); /* whoever is best before is best after: greedy needs none of these */
} samplers[LT_SAMPLER_COUNT] = {
    [LT_SAMPLER_PENALTIES] = {lt_penalties, never},
    [LT_SAMPLER_DRY] = {lt_dry, never},
    [LT_SAMPLER_TOP_N_SIGMA] = {lt_top_n_sigma, always},
    [LT_SAMPLER_TOP_K] = {lt_top_k, always},
    [LT_SAMPLER_TFS_Z] = {lt_tfs_z, always},
    [LT_SAMPLER_TYPICAL_P] = {lt_typical, lt_typical_is_off},
    [LT_SAMPLER_TOP_P] = {lt_top_p, always},
    [LT_SAMPLER_MIN_P] = {lt_min_p, always},
    [LT_SAMPLER_XTC] = {lt_xtc, lt_xtc_is_off},
    [LT_SAMPLER_TEMPERATURE] = {lt_temperature, never},
    [LT_SAMPLER_INFILL] = {lt_infill, never},
    [LT_SAMPLER_MIROSTAT_1] = {lt_mirostat_1, never},
    [LT_SAMPLER_MIROSTAT_2] = {lt_mirostat_2, never},
    [LT_SAMPLER_ADAPTIVE_P] = {lt_adaptive_p, never},
};

/* With a temperature still to come that keeps the best alone. */
static bool ends_greedy(const lt_sampling *p, int32_t i)
{
    while (p->temperature <= 0 && i < p->n_chain && samplers[p->chain[i]].keeps_best(p))
        i++;
    return p->temperature <= 0 && i < p->n_chain && p->chain[i] == LT_SAMPLER_TEMPERATURE;
}

/* Both cut the tail of one ranking, and min-p looks at the best alone, so it may cut first: then top-p ranks no more than
 * what stays. */
static void top_p_then_min_p(lt_sampler *s, const lt_call *c)
{
    double total = c->p->top_p < 1 ? lt_total_weight(s) : 0;
    lt_min_p(s, c);
    lt_keep_top_p(s, c, total);
}

static void run_chain(lt_sampler *s, const lt_call *c)
{
    const lt_sampling *p = c->p;
    for (int32_t i = 0; i < p->n_chain; i++) {
        const int32_t id = p->chain[i];
        if (samplers[id].keeps_best(p) && ends_greedy(p, i))
            continue;
        if (id == LT_SAMPLER_TOP_P && i + 1 < p->n_chain && p->chain[i + 1] == LT_SAMPLER_MIN_P) {
            top_p_then_min_p(s, c);
            i++;
        } else {
            samplers[id].run(s, c);
        }
    }
}

static void learn(const lt_sampler *s, const lt_call *c, int32_t place, float state[2])
{
    const int32_t last = c->p->n_chain ? c->p->chain[c->p->n_chain - 1] : -1;
    if (last == LT_SAMPLER_MIROSTAT_1 || last == LT_SAMPLER_MIROSTAT_2)
        lt_mirostat_learn(s, c, place, state);
    if (last == LT_SAMPLER_ADAPTIVE_P)
        lt_adaptive_learn(s, c, place, state);
}

lt_sampled lt_sample(lt_sampler *s, const lt_sampling *p, const float *logits, const int32_t *history, int32_t n_history,
                     const uint32_t *mask, const float state[2])
{
    lt_sampled sampled = {-1, 0, {state[0], state[1]}};
    const lt_call call = {p, history, n_history, state};
    if (!lt_look(s, p, logits))
        return sampled;
    if (mask)
        lt_mask(s, mask);
    lt_add_bias(s, p);
    if (!lt_find_max(s))
        return sampled;
    lt_rank_reset(s);
    s->n_kept = LT_KEEP_ALL;
    run_chain(s, &call);
    s->place = lt_draw(s, &call);
    learn(s, &call, s->place, sampled.state);
    sampled.token = lt_rank_id(s, s->place);
    sampled.logprob = lt_wants_logprobs(p) ? (float)(logits[sampled.token] - s->log_total) : 0;
    return sampled;
}

int32_t lt_sample_candidates(lt_sampler *s, lt_candidate *out, int32_t cap)
{
    int32_t n = 0;
    for (; n < cap && lt_rank_has(s, n); n++)
        out[n] = (lt_candidate){lt_rank_id(s, n), (float)(s->weights[n] / s->total)};
    return n;
}
