/* probs.c - what a token was chosen among: the best of the raw logits, and the likeliest of those it was drawn from. */
#include <string.h>

#include "sample/internal.h"

static void note_top(lt_sampler *s, const lt_sampling *p)
{
    s->n_top = 0;
    if (!p->n_probs)
        return;
    lt_rank_reset(s);
    s->n_kept = LT_KEEP_ALL;
    for (; s->n_top < p->n_probs && lt_rank_has(s, s->n_top); s->n_top++)
        s->top[s->n_top] = (lt_choice){lt_rank_id(s, s->n_top), (float)(lt_rank_logit(s, s->n_top) - s->log_total)};
    s->n_kept = 0;
}

bool lt_look(lt_sampler *s, const lt_sampling *p, const float *logits)
{
    s->n_kept = 0;
    if (!lt_scan(s, logits))
        return false;
    if (lt_wants_logprobs(p))
        s->log_total = s->max + lt_log(lt_exp_sum(s, s->max, 1));
    note_top(s, p);
    return true;
}

bool lt_score(lt_sampler *s, const lt_sampling *p, const float *logits, lt_choice *out)
{
    const bool is_finite = lt_look(s, p, logits);
    const int32_t n_top = is_finite ? s->n_top : 0;
    out->value = is_finite ? lt_finite((float)(logits[out->token] - s->log_total)) : 0;
    out->token = is_finite ? out->token : -1;
    memcpy(out + 1, s->top, (size_t)n_top * sizeof *s->top);
    for (int32_t i = n_top; i < p->n_probs; i++)
        out[1 + i] = (lt_choice){-1, 0};
    return is_finite;
}

static bool has(const lt_sampling *p, int32_t sampler)
{
    for (int32_t i = 0; i < p->n_chain; i++)
        if (p->chain[i] == sampler)
            return true;
    return false;
}

/* Greedy has one survivor, but what is left in work is all that was to choose from, penalties and all. */
static void reopen_greedy(lt_sampler *s, const lt_sampling *p)
{
    if (p->flags & LT_SAMPLE_POST_PROBS || p->temperature > 0 || !has(p, LT_SAMPLER_TEMPERATURE))
        return;
    lt_rank_reset(s);
    s->n_kept = LT_KEEP_ALL;
    s->total = lt_total_weight(s);
}

/* The n likeliest survivors.  All but adaptive-p leave weights that fall along the ranking. */
static int32_t likeliest(lt_sampler *s, bool falls, lt_choice *out, int32_t n)
{
    int32_t n_out = 0;
    for (int32_t i = 0; (n_out < n || !falls) && lt_rank_has(s, i); i++) {
        const lt_choice choice = {lt_rank_id(s, i), (float)(s->weights[i] / s->total)};
        if (falls && !(choice.value > 0))
            break;
        if (!(choice.value > (n_out < n ? 0 : out[n - 1].value)))
            continue;
        int32_t place = n_out < n ? n_out++ : n - 1;
        for (; place > 0 && choice.value > out[place - 1].value; place--)
            out[place] = out[place - 1];
        out[place] = choice;
    }
    return n_out;
}

void lt_sample_probs(lt_sampler *s, const lt_sampling *p, lt_probs *out)
{
    out->prob = 0;
    out->n_top = out->n_chances = 0;
    if (!s->n_kept)
        return;
    out->prob = (float)(s->weights[s->place] / s->total);
    if (!p->n_probs)
        return;
    out->n_top = s->n_top;
    memcpy(out->top, s->top, (size_t)s->n_top * sizeof *s->top);
    reopen_greedy(s, p);
    out->n_chances = likeliest(s, !has(p, LT_SAMPLER_ADAPTIVE_P), out->chances, p->n_probs);
}
