/* mask.c - ids that may not be sampled: their logits become -inf. */
#include "sample/internal.h"
#include "sample/lanes.h"

/* Bit i of `allowed` speaks for work[i]. */
static void forbid_unset(float *work, uint32_t allowed)
{
    const lt_iv bit = {1, 2, 4, 8};
    for (int i = 0; i < 32; i += 4) {
        int32_t four = (int32_t)(allowed >> i & 15);
        lt_iv keep = ((lt_iv){four, four, four, four} & bit) == bit;
        lt_store(work + i, lt_select(keep, lt_load(work + i), lt_all(-INFINITY)));
    }
}

void lt_mask(lt_sampler *s, const uint32_t *mask)
{
    int32_t n_words = (s->n_vocab + 31) / 32; /* the last block may have one word only: the rest of it is padding */
    for (int32_t b = 0; b < s->n_blocks; b++) {
        uint32_t low = mask[2 * b], high = 2 * b + 1 < n_words ? mask[2 * b + 1] : 0;
        if ((low & high) == UINT32_MAX)
            continue;
        forbid_unset(s->work + b * LT_BLOCK, low);
        forbid_unset(s->work + b * LT_BLOCK + 32, high);
        lt_refresh_block(s, b * LT_BLOCK);
    }
}

void lt_forbid(lt_sampler *s, int32_t id)
{
    if (id < 0 || id >= s->n_vocab)
        return;
    s->work[id] = -INFINITY;
    lt_refresh_block(s, id);
}
