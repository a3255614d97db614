/* scan.c - the first pass: logits into scratch, block by block, with each block's maximum.
 *
 * The block maxima let every later step touch few blocks: the k-th best of them is a floor under the k-th best logit. */
#include "sample/internal.h"
#include "sample/lanes.h"

float lt_block_max(const float *block)
{
    lt_f4 max[LT_LANES / 4];
    for (int j = 0; j < LT_LANES / 4; j++)
        max[j] = lt_load4(block + 4 * j);
    for (int i = LT_LANES; i < LT_BLOCK; i += LT_LANES)
        for (int j = 0; j < LT_LANES / 4; j++)
            max[j] = lt_max4(lt_load4(block + i + 4 * j), max[j]);
    return lt_max_lane(lt_max4(lt_max4(max[0], max[1]), lt_max4(max[2], max[3])));
}

/* NaN and +inf are what is not below +inf. */
static bool copy_block(float *restrict to, const float *restrict from)
{
    lt_i4 good = {-1, -1, -1, -1};
    for (int i = 0; i < LT_BLOCK; i += 4) {
        lt_f4 x = lt_load4(from + i);
        lt_store4(to + i, x);
        good &= x < lt_all4(INFINITY);
    }
    return good[0] & good[1] & good[2] & good[3];
}

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
    for (int32_t b = 0; b < s->n_blocks; b++) {
        const float *from = logits + (size_t)b * LT_BLOCK;
        float *to = s->work + (size_t)b * LT_BLOCK;
        int32_t n = s->n_vocab - b * LT_BLOCK;
        for (int32_t i = 0; n < LT_BLOCK && i < LT_BLOCK; i++)
            padded[i] = i < n ? from[i] : -INFINITY;
        if (!copy_block(to, n < LT_BLOCK ? padded : from))
            return false;
        s->maxima[b] = lt_block_max(to);
    }
    return lt_find_max(s);
}
