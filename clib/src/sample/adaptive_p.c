/* adaptive_p.c - prefer ids whose probability is near a target, which gives way so that the mean of what has been drawn
 * comes near it: state is that mean's sum and weight, of which each token keeps the share adaptive_decay.
 *
 * It stands last: its weights are no longer powers of the ranking's logits. */
#include "sample/internal.h"

static const double WIDTH = 0.3, SHARPNESS = 10;

static double aim(const lt_call *c)
{
    const double target = 2.0 * c->p->adaptive_target - (double)c->state[0] / c->state[1];
    return target < 0 ? 0 : target < 1 ? target : 1;
}

void lt_adaptive_p(lt_sampler *s, const lt_call *c)
{
    if (c->p->adaptive_target < 0)
        return;
    const int32_t n = lt_count_survivors(s);
    lt_keep(s, n);
    const double target = aim(c), total = lt_total_weight(s);
    for (int32_t i = 0; i < n; i++) {
        const double distance = fabs(s->weights[i] / total - target) / WIDTH;
        s->weights[i] = lt_exp(-SHARPNESS * distance * distance / (1 + distance));
    }
}

void lt_adaptive_learn(const lt_sampler *s, const lt_call *c, int32_t i, float state[2])
{
    if (c->p->adaptive_target < 0)
        return;
    double total = 0, chosen = 0;
    for (int32_t j = 0; j < s->n_kept; j++) {
        const double weight = lt_exp(((double)lt_rank_logit(s, j) - s->max) / s->temperature);
        total += weight;
        chosen = j == i ? weight : chosen;
    }
    state[0] = (float)(chosen / total + (double)c->p->adaptive_decay * c->state[0]);
    state[1] = (float)(1 + (double)c->p->adaptive_decay * c->state[1]);
}
