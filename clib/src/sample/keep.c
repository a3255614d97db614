/* keep.c - what happens to the ranking and to work when survivors become fewer or get new logits. */
#include <string.h>

#include "sample/internal.h"

void lt_keep(lt_sampler *s, int32_t n)
{
    n = n > 1 ? n : 1;
    s->n_kept = n < s->n_kept ? n : s->n_kept;
}

void lt_drop_head(lt_sampler *s, int32_t n)
{
    if (!n)
        return;
    for (int32_t i = 0; i < n; i++)
        s->work[lt_rank_id(s, i)] = -INFINITY;
    for (int32_t b = 0; b < s->n_blocks; b++)
        s->maxima[b] = s->passes->block_max(s->work + (size_t)b * LT_BLOCK);
    lt_find_max(s);
    const double temperature = s->temperature;
    const int32_t n_kept = s->n_kept == LT_KEEP_ALL ? LT_KEEP_ALL : s->n_kept - n;
    lt_rank_reset(s);
    lt_rank_reweigh(s, temperature);
    s->n_kept = n_kept;
}

void lt_keep_best(lt_sampler *s)
{
    int32_t b = 0;
    while (s->maxima[b] < s->max)
        b++;
    int32_t id = b * LT_BLOCK;
    while (s->work[id] < s->max)
        id++;
    lt_rank_one(s, id);
    s->n_kept = 1;
}

void lt_work_changed(lt_sampler *s)
{
    lt_find_max(s);
    lt_rank_reset(s);
    s->n_kept = LT_KEEP_ALL;
}

static void clear_work(lt_sampler *s)
{
    for (int32_t i = 0; i < s->n_blocks * LT_BLOCK; i++)
        s->work[i] = -INFINITY;
    for (int32_t b = 0; b < s->n_blocks; b++)
        s->maxima[b] = -INFINITY;
}

static void put(lt_sampler *s, int32_t id, float logit)
{
    float *max = &s->maxima[id / LT_BLOCK];
    s->work[id] = logit;
    *max = logit > *max ? logit : *max;
}

/* Every allowed id survives: all of work is divided. */
static void scale_work(lt_sampler *s)
{
    for (int32_t b = 0; b < s->n_blocks; b++) {
        float *block = s->work + (size_t)b * LT_BLOCK;
        for (int32_t i = 0; i < LT_BLOCK; i++)
            block[i] = block[i] > -INFINITY ? lt_finite((float)(block[i] / s->temperature)) : block[i];
        s->maxima[b] = s->passes->block_max(block);
    }
}

void lt_settle(lt_sampler *s)
{
    if (s->n_kept == LT_KEEP_ALL) {
        if (s->temperature != 1)
            scale_work(s);
    } else {
        const int32_t n = lt_count_survivors(s);
        clear_work(s);
        for (int32_t i = 0; i < n; i++)
            put(s, lt_rank_id(s, i), lt_finite((float)(lt_rank_logit(s, i) / s->temperature)));
    }
    lt_work_changed(s);
}

void lt_settle_as(lt_sampler *s, const int32_t *ids, const double *weights, int32_t n)
{
    clear_work(s);
    for (int32_t i = 0; i < n; i++)
        put(s, ids[i], (float)lt_log(weights[i]));
    lt_work_changed(s);
}
