/* penalties.c - repeat, presence and frequency penalties over the last repeat_last_n ids, prompt included.
 *
 * penalty_prompt stands for the first n_prompt ids of the history: the window then ends in what came after those. */
#include "sample/internal.h"

typedef struct {
    const int32_t *ids;
    int32_t n;
} part;

static part last(const int32_t *ids, int32_t n, int32_t most)
{
    const int32_t k = n < most ? n : most;
    return (part){ids ? ids + (n - k) : ids, k};
}

static float penalized(float logit, int32_t count, const lt_sampling *p)
{
    float x = logit > 0 ? logit / p->repeat_penalty : logit * p->repeat_penalty;
    return lt_finite(x - ((float)count * p->frequency_penalty + p->presence_penalty));
}

static bool is_newline(const lt_sampler *s, int32_t id)
{
    uint32_t n_bytes;
    const char *piece = s->lexicon.piece(s->lexicon.vocab, id, &n_bytes);
    return n_bytes == 1 && *piece == '\n';
}

static void count(lt_sampler *s, part window)
{
    for (int32_t i = 0; i < window.n; i++)
        if (window.ids[i] >= 0 && window.ids[i] < s->n_vocab)
            s->counts[window.ids[i]]++;
}

static void penalize(lt_sampler *s, const lt_sampling *p, part window)
{
    for (int32_t i = 0; i < window.n; i++) {
        const int32_t id = window.ids[i];
        if (id < 0 || id >= s->n_vocab || !s->counts[id])
            continue; /* done at its first occurrence */
        if (s->work[id] > -INFINITY && !(p->flags & LT_SAMPLE_SPARE_NEWLINE && is_newline(s, id))) {
            s->work[id] = penalized(s->work[id], s->counts[id], p);
            lt_refresh_block(s, id);
        }
        s->counts[id] = 0;
    }
}

void lt_penalties(lt_sampler *s, const lt_call *c)
{
    const lt_sampling *p = c->p;
    if (p->repeat_last_n == 0 || (p->repeat_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0))
        return;
    const int32_t most = p->repeat_last_n < 0 ? INT32_MAX : p->repeat_last_n;
    const int32_t skipped = p->n_prompt < c->n_history ? p->n_prompt : c->n_history;
    const part near = last(c->history ? c->history + skipped : NULL, c->n_history - skipped, most);
    const part far = last(p->penalty_prompt, p->n_penalty_prompt, most - near.n);
    lt_settle(s);
    count(s, near);
    count(s, far);
    penalize(s, p, near);
    penalize(s, p, far);
    lt_work_changed(s);
}
