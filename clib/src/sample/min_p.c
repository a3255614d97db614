/* min_p.c - keep what is at least p times as probable as the best; the best always stays. */
#include "sample/internal.h"

void lt_min_p(lt_sampler *s, const lt_call *c)
{
    if (c->p->min_p <= 0)
        return;
    int32_t n = 1;
    while (lt_rank_has(s, n) && (s->weights[n] >= (double)c->p->min_p || n < c->p->min_keep))
        n++;
    lt_keep(s, n);
}
