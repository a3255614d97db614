/* scratch.c - a sampler's memory. */
#include "core/memory.h"
#include "sample/internal.h"

enum { MAX_VOCAB = 1 << 24 };

static bool take_memory(lt_sampler *s)
{
    const size_t n_padded = (size_t)s->n_blocks * LT_BLOCK;
    s->work = lt_alloc(n_padded, sizeof *s->work);
    s->maxima = lt_alloc((size_t)s->n_blocks, sizeof *s->maxima);
    s->ranked = lt_alloc(n_padded + 1, sizeof *s->ranked); /* gather writes one past what it keeps */
    s->spare = lt_alloc(n_padded, sizeof *s->spare);
    s->weights = lt_alloc(n_padded, sizeof *s->weights);
    s->counts = lt_alloc_zero((size_t)s->n_vocab, sizeof *s->counts);
    s->runs = lt_alloc((size_t)s->max_history, sizeof *s->runs);
    return s->work && s->maxima && s->ranked && s->spare && s->weights && s->counts && s->runs;
}

int lt_sampler_create(lt_sampler **out, const lt_lexicon *lexicon, int32_t max_history)
{
    const int32_t n_vocab = lexicon->n_vocab;
    if (n_vocab < 1 || n_vocab > MAX_VOCAB)
        return lt_fail(LT_E_ARG, "sampler: vocabulary of %d tokens, must be 1 to %d", n_vocab, MAX_VOCAB);
    lt_sampler *s = lt_alloc_zero(1, sizeof *s);
    if (!s)
        return lt_fail(LT_E_NOMEM, "no memory for the sampler");
    s->lexicon = *lexicon;
    s->passes = lt_choose_passes();
    s->n_vocab = n_vocab;
    s->n_blocks = (n_vocab + LT_BLOCK - 1) / LT_BLOCK;
    s->max_history = max_history > 0 ? max_history : 1;
    if (!take_memory(s)) {
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
    void *parts[] = {s->work, s->maxima, s->ranked, s->spare, s->weights, s->counts, s->runs, s};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lt_free(parts[i]);
}
