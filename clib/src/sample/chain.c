/* chain.c - the sampler's life, the check of its settings, and the chain itself. */
#include "sample/internal.h"

#include "core/memory.h"

enum { MAX_VOCAB = 1 << 24 };

int lt_sampler_create(lt_sampler **out, int32_t n_vocab)
{
    if (n_vocab < 1 || n_vocab > MAX_VOCAB)
        return lt_fail(LT_E_ARG, "sampler: vocabulary of %d tokens, must be 1 to %d", n_vocab, MAX_VOCAB);
    lt_sampler *s = lt_alloc_zero(1, sizeof *s);
    if (!s)
        return lt_fail(LT_E_NOMEM, "no memory for the sampler");
    s->n_vocab = n_vocab;
    s->n_blocks = (n_vocab + LT_BLOCK - 1) / LT_BLOCK;
    size_t n_padded = (size_t)s->n_blocks * LT_BLOCK;
    s->work = lt_alloc(n_padded, sizeof *s->work);
    s->maxima = lt_alloc((size_t)s->n_blocks, sizeof *s->maxima);
    s->ranked = lt_alloc(n_padded + 1, sizeof *s->ranked); /* gather writes one past what it keeps */
    s->spare = lt_alloc(n_padded, sizeof *s->spare);
    s->weights = lt_alloc(n_padded, sizeof *s->weights);
    s->counts = lt_alloc_zero((size_t)n_vocab, sizeof *s->counts);
    if (!s->work || !s->maxima || !s->ranked || !s->spare || !s->weights || !s->counts) {
        lt_sampler_destroy(s);
        return lt_fail(LT_E_NOMEM, "no memory for a sampler of %d tokens", n_vocab);
    }
    *out = s;
    return LT_OK;
}

void lt_sampler_destroy(lt_sampler *s)
{
    if (!s)
        return;
    lt_free(s->work);
    lt_free(s->maxima);
    lt_free(s->ranked);
    lt_free(s->spare);
    lt_free(s->weights);
    lt_free(s->counts);
    lt_free(s);
}

int lt_sampling_check(const lt_sampling *p)
{
    const struct {
        const char *name;
        float value;
    } floats[] = {
        {"temperature", p->temperature},
        {"top_p", p->top_p},
        {"min_p", p->min_p},
        {"repeat_penalty", p->repeat_penalty},
        {"presence_penalty", p->presence_penalty},
        {"frequency_penalty", p->frequency_penalty},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        if (!isfinite(floats[i].value))
            return lt_fail(LT_E_ARG, "%s is %f, must be finite", floats[i].name, (double)floats[i].value);
    if (p->repeat_penalty <= 0)
        return lt_fail(LT_E_ARG, "repeat_penalty is %g, must be above 0", (double)p->repeat_penalty);
    if (p->repeat_last_n < -1)
        return lt_fail(LT_E_ARG, "repeat_last_n is %d, must be -1 or more", p->repeat_last_n);
    return LT_OK;
}

/* Top-p and min-p both cut the tail of one ranking, and min-p looks at the best alone, so it may cut first: then top-p
 * ranks no more than what stays. */
static void truncate_tail(lt_sampler *s, const lt_sampling *p)
{
    bool by_top_p = p->top_p < 1;
    double total = by_top_p ? lt_total_weight(s) : 0;
    lt_keep_min_p(s, p->min_p);
    if (by_top_p)
        lt_keep_top_p(s, p->top_p, total);
}

static int32_t choose(lt_sampler *s, const lt_sampling *p, uint64_t position)
{
    if (p->temperature <= 0)
        return lt_take_best(s);
    lt_rank_reset(s);
    lt_keep_top_k(s, p->top_k);
    truncate_tail(s, p);
    return lt_draw(s, p->temperature, p->seed, position);
}

lt_sampled lt_sample(lt_sampler *s, const lt_sampling *p, const float *logits, const int32_t *history, int32_t n_history,
                     const int32_t *eog, int32_t n_eog, const uint32_t *mask)
{
    const lt_sampled nothing = {-1, 0};
    s->n_kept = 0;
    if (!lt_scan(s, logits))
        return nothing;
    double log_total = s->max + log(lt_exp_sum(s, s->max, 1));
    if (mask)
        lt_mask(s, mask);
    if (p->flags & LT_SAMPLE_IGNORE_EOS)
        lt_forbid(s, eog, n_eog);
    lt_penalize(s, p, history, n_history);
    if (!lt_find_max(s))
        return nothing;
    int32_t token = choose(s, p, (uint64_t)n_history);
    return (lt_sampled){token, (float)(logits[token] - log_total)};
}

int32_t lt_sample_candidates(lt_sampler *s, lt_candidate *out, int32_t cap)
{
    int32_t n = 0;
    for (; n < cap && lt_rank_has(s, n); n++)
        out[n] = (lt_candidate){lt_rank_id(s, n), (float)(s->weights[n] / s->total)};
    return n;
}
