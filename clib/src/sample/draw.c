/* draw.c - the choice: one survivor at random, in proportion to its weight. */
#include "sample/internal.h"

int32_t lt_draw(lt_sampler *s, const lt_call *c)
{
    s->total = lt_total_weight(s);
    double target = lt_uniform(c->p->seed, (uint64_t)c->n_history, LT_STREAM_DRAW) * s->total, sum = 0;
    for (int32_t i = 0; lt_rank_has(s, i); i++) {
        sum += s->weights[i];
        if (sum > target)
            return i;
    }
    return 0; /* a sliver that rounding left over */
}
