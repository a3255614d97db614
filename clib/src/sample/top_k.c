/* top_k.c - keep the k largest logits; k <= 0: all. */
#include "sample/internal.h"

void lt_keep_top_k(lt_sampler *s, int32_t k)
{
    s->n_kept = k > 0 && k < s->n_vocab ? k : LT_KEEP_ALL;
}
