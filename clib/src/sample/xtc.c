/* xtc.c - exclude top choices: with a given probability, of those above a threshold only the least likely stays. */
#include "sample/internal.h"

bool lt_xtc_is_off(const lt_sampling *p)
{
    return p->xtc_probability <= 0 || p->xtc_threshold > 0.5f; /* two cannot have more than half each */
}

void lt_xtc(lt_sampler *s, const lt_call *c)
{
    const lt_sampling *p = c->p;
    if (lt_xtc_is_off(p))
        return;
    if (lt_uniform(p->seed, (uint64_t)c->n_history, LT_STREAM_XTC) >= (double)p->xtc_probability)
        return;
    const double floor = (double)p->xtc_threshold * lt_total_weight(s);
    int32_t n = 0;
    while (lt_rank_has(s, n) && s->weights[n] >= floor)
        n++;
    if (n > 1 && (p->min_keep <= 1 || lt_count_survivors(s) - (n - 1) >= p->min_keep))
        lt_drop_head(s, n - 1);
}
