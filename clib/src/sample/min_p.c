/* min_p.c - keep what is at least p times as probable as the best; the best always stays. */
#include "sample/internal.h"

void lt_keep_min_p(lt_sampler *s, float p)
{
    if (p <= 0)
        return;
    int32_t n = 1;
    while (lt_rank_has(s, n) && s->weights[n] >= (double)p)
        n++;
    s->n_kept = n;
}
