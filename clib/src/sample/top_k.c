/* top_k.c - keep the k largest logits; k <= 0: all. */
#include "sample/internal.h"

void lt_top_k(lt_sampler *s, const lt_call *c)
{
    const int32_t k = c->p->top_k > c->p->min_keep ? c->p->top_k : c->p->min_keep;
    if (c->p->top_k > 0 && k < s->n_vocab)
        lt_keep(s, k);
}
