/* tfs_z.c - tail-free sampling: cut where the sorted probabilities have stopped to bend.
 *
 * The bends are the absolute second differences, as shares of their sum; the first place at which they add up to more
 * than z is cut off, with all after it.  It needs every survivor's probability, so without a filter before it sorts all. */
#include "sample/internal.h"

static double bend(const lt_sampler *s, int32_t i)
{
    const double *w = s->weights + i;
    return fabs((w[0] - w[1]) - (w[1] - w[2]));
}

void lt_tfs_z(lt_sampler *s, const lt_call *c)
{
    const int32_t least = c->p->min_keep > 1 ? c->p->min_keep : 1, n = c->p->tfs_z < 1 ? lt_count_survivors(s) : 0;
    if (n <= 2)
        return;
    lt_keep(s, n);
    const double total = lt_total_weight(s);
    double sum = 0, so_far = 0;
    for (int32_t i = 0; i < n - 2; i++)
        sum += bend(s, i);
    const bool is_flat = sum <= 1e-6 * total;
    for (int32_t i = 0; i < n - 2; i++) {
        so_far += is_flat ? 1.0 / (n - 2) : bend(s, i) / sum;
        if (so_far > (double)c->p->tfs_z && i >= least) {
            lt_keep(s, i);
            return;
        }
    }
}
