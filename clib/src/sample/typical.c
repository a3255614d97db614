/* typical.c - locally typical sampling: keep those whose surprise is nearest to what is to be expected, the entropy, until
 * their probabilities add up to more than p.
 *
 * C. Meister et al., "Locally typical sampling" (2022).  Surprise grows along the ranking, so they are one stretch of it,
 * found outwards from the entropy; of two as near, the likelier one comes first. */
#include "sample/internal.h"

typedef struct {
    int32_t begin, end; /* of the ranking */
} stretch;

static double surprise(const lt_sampler *s, int32_t i, double log_total)
{
    return log_total - ((double)lt_rank_logit(s, i) - s->max) / s->temperature;
}

static stretch widen(lt_sampler *s, const lt_call *c, double total)
{
    const double entropy = lt_entropy(s, total), log_total = lt_log(total);
    stretch t = {0, 0};
    while (lt_rank_has(s, t.end) && surprise(s, t.end, log_total) < entropy)
        t.end++;
    t.begin = t.end;
    double sum = 0;
    while (sum <= (double)c->p->typical_p * total || t.end - t.begin < c->p->min_keep) {
        const bool has_right = lt_rank_has(s, t.end), has_left = t.begin > 0;
        if (!has_left && !has_right)
            break;
        const double left = has_left ? entropy - surprise(s, t.begin - 1, log_total) : INFINITY;
        const double right = has_right ? surprise(s, t.end, log_total) - entropy : INFINITY;
        sum += s->weights[has_left && left <= right ? --t.begin : t.end++];
    }
    return t;
}

bool lt_typical_is_off(const lt_sampling *p)
{
    return p->typical_p >= 1;
}

void lt_typical(lt_sampler *s, const lt_call *c)
{
    if (lt_typical_is_off(c->p))
        return;
    const stretch t = widen(s, c, lt_total_weight(s));
    lt_keep(s, t.end);
    lt_drop_head(s, t.begin);
}
