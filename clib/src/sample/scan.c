/* scan.c - the first pass: logits into scratch, block by block, with each block's maximum.
 *
 * The block maxima let every later step touch few blocks: the k-th best of them is a floor under the k-th best logit. */
#include <string.h>

#include "sample/internal.h"

bool lt_find_max(lt_sampler *s)
{
    float max = -INFINITY;
    for (int32_t b = 0; b < s->n_blocks; b++)
        max = s->maxima[b] > max ? s->maxima[b] : max;
    s->max = max;
    return max > -INFINITY;
}

bool lt_scan(lt_sampler *s, const float *logits)
{
    float padded[LT_BLOCK];
    const int32_t n_whole = s->n_vocab / LT_BLOCK, n_rest = s->n_vocab % LT_BLOCK, begin = n_whole * LT_BLOCK;
    for (int32_t i = 0; i < LT_BLOCK; i++)
        padded[i] = i < n_rest ? logits[begin + i] : -INFINITY;
    if (!s->passes->scan(s->work, s->maxima, logits, n_whole))
        return false;
    if (n_rest && !s->passes->scan(s->work + begin, s->maxima + n_whole, padded, 1))
        return false;
    return lt_find_max(s);
}
