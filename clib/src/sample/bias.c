/* bias.c - logit bias and LT_SAMPLE_IGNORE_EOS, before every sampler.  A bias of -inf forbids; one that is given for an id
 * that ends generation counts instead of LT_SAMPLE_IGNORE_EOS. */
#include "sample/internal.h"

static bool has_bias(const lt_sampling *p, int32_t id)
{
    for (int32_t i = 0; i < p->n_bias; i++)
        if (p->bias[i].id == id)
            return true;
    return false;
}

void lt_add_bias(lt_sampler *s, const lt_sampling *p)
{
    const lt_lexicon *lexicon = &s->lexicon;
    for (int32_t i = 0; p->flags & LT_SAMPLE_IGNORE_EOS && i < lexicon->n_eog; i++)
        if (!has_bias(p, lexicon->eog[i]))
            lt_forbid(s, lexicon->eog[i]);
    for (int32_t i = 0; i < p->n_bias; i++) {
        float *x = &s->work[p->bias[i].id];
        if (*x > -INFINITY)
            *x = p->bias[i].bias > -INFINITY ? lt_finite(*x + p->bias[i].bias) : -INFINITY;
        lt_refresh_block(s, p->bias[i].id);
    }
}
