/* top_p.c - keep the best until their probabilities among the survivors of top-k add up to p; the one that reaches p stays. */
#include "sample/internal.h"

void lt_keep_top_p(lt_sampler *s, float p, double total)
{
    double target = (double)p * total, sum = 0;
    int32_t n = 0;
    while (lt_rank_has(s, n)) {
        sum += s->weights[n++];
        if (sum >= target)
            break;
    }
    s->n_kept = n;
}
