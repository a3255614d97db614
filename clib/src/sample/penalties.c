/* penalties.c - repeat, presence and frequency penalties over the last repeat_last_n ids, prompt included. */
#include "sample/internal.h"

#include <float.h>

/* Stays finite whatever the penalties: a penalty neither forbids an id nor makes it infinite. */
static float penalized(float logit, int32_t count, const lt_sampling *p)
{
    float x = logit > 0 ? logit / p->repeat_penalty : logit * p->repeat_penalty;
    x -= (float)count * p->frequency_penalty + p->presence_penalty;
    x = x > -FLT_MAX ? x : -FLT_MAX;
    return x < FLT_MAX ? x : FLT_MAX;
}

void lt_penalize(lt_sampler *s, const lt_sampling *p, const int32_t *history, int32_t n_history)
{
    if (p->repeat_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0)
        return;
    int32_t n = p->repeat_last_n < 0 || p->repeat_last_n > n_history ? n_history : p->repeat_last_n;
    const int32_t *window = history + (n_history - n);
    for (int32_t i = 0; i < n; i++)
        if (window[i] >= 0 && window[i] < s->n_vocab)
            s->counts[window[i]]++;
    for (int32_t i = 0; i < n; i++) {
        int32_t id = window[i];
        if (id < 0 || id >= s->n_vocab || !s->counts[id])
            continue; /* done at its first occurrence */
        if (s->work[id] > -INFINITY) {
            s->work[id] = penalized(s->work[id], s->counts[id], p);
            lt_refresh_block(s, id);
        }
        s->counts[id] = 0;
    }
}
