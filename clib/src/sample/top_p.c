/* top_p.c - keep the best until their probabilities add up to p; the one that reaches p stays. */
#include "sample/internal.h"

void lt_keep_top_p(lt_sampler *s, const lt_call *c, double total)
{
    if (c->p->top_p >= 1)
        return;
    double target = (double)c->p->top_p * total, sum = 0;
    int32_t n = 0;
    while (lt_rank_has(s, n)) {
        sum += s->weights[n++];
        if (sum >= target && n >= c->p->min_keep)
            break;
    }
    lt_keep(s, n);
}

void lt_top_p(lt_sampler *s, const lt_call *c)
{
    lt_keep_top_p(s, c, c->p->top_p < 1 ? lt_total_weight(s) : 0);
}
