/* draw.c - the choice: the best one, or one at random in proportion to exp(logit / temperature). */
#include "sample/internal.h"

int32_t lt_take_best(lt_sampler *s)
{
    int32_t b = 0;
    while (s->maxima[b] < s->max)
        b++;
    int32_t id = b * LT_BLOCK;
    while (s->work[id] < s->max)
        id++;
    s->ranked[0] = (uint32_t)id; /* candidates ask for its place and weight only */
    s->weights[0] = s->total = 1;
    s->n_ranked = s->n_kept = 1;
    return id;
}

double lt_total_weight(lt_sampler *s)
{
    if (s->n_kept == LT_KEEP_ALL) {
        double inverse = 1 / s->temperature;
        return lt_exp_sum(s, s->max, inverse < 1e30 ? (float)inverse : 1e30f); /* an infinite one would make 0 * inf of the best */
    }
    double sum = 0;
    lt_rank_has(s, s->n_kept - 1);
    for (int32_t i = 0; i < s->n_kept && i < s->n_ranked; i++)
        sum += s->weights[i];
    return sum;
}

int32_t lt_draw(lt_sampler *s, float temperature, uint64_t seed, uint64_t position)
{
    lt_rank_reweigh(s, temperature);
    s->total = lt_total_weight(s);
    double target = lt_uniform(seed, position) * s->total, sum = 0;
    for (int32_t i = 0; lt_rank_has(s, i); i++) {
        sum += s->weights[i];
        if (sum > target)
            return lt_rank_id(s, i);
    }
    return lt_rank_id(s, 0); /* a sliver that rounding left over */
}
