/* weights.c - sums over the survivors: over the ranking where they are a head of it, else over the whole vocabulary. */
#include "sample/internal.h"
#include "sample/lanes.h"

static float inverse_of(double temperature)
{
    double inverse = 1 / temperature;
    return inverse < 1e30 ? (float)inverse : 1e30f; /* an infinite one would make 0 * inf of the best */
}

static int32_t count_allowed(const lt_sampler *s)
{
    int32_t count = 0;
    for (int32_t b = 0; b < s->n_blocks; b++) {
        lt_iv n = {0};
        for (int i = 0; i < LT_BLOCK; i += LT_WIDTH)
            n -= lt_load(s->work + b * LT_BLOCK + i) > lt_all(-INFINITY);
        count += n[0] + n[1] + n[2] + n[3];
    }
    return count;
}

int32_t lt_count_survivors(lt_sampler *s)
{
    if (s->n_kept == LT_KEEP_ALL)
        return count_allowed(s);
    lt_rank_has(s, s->n_kept - 1);
    return s->n_kept < s->n_ranked ? s->n_kept : s->n_ranked;
}

double lt_total_weight(lt_sampler *s)
{
    if (s->n_kept == LT_KEEP_ALL)
        return lt_exp_sum(s, s->max, inverse_of(s->temperature));
    double sum = 0;
    for (int32_t i = 0, n = lt_count_survivors(s); i < n; i++)
        sum += s->weights[i];
    return sum;
}

double lt_entropy(lt_sampler *s, double total)
{
    double moment = 0;
    if (s->n_kept == LT_KEEP_ALL) {
        moment = lt_exp_moment(s, s->max, inverse_of(s->temperature));
    } else {
        for (int32_t i = 0, n = lt_count_survivors(s); i < n; i++)
            moment += s->weights[i] > 0 ? s->weights[i] * (((double)lt_rank_logit(s, i) - s->max) / s->temperature) : 0;
    }
    return lt_log(total) - moment / total;
}
