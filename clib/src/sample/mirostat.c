/* mirostat.c - keep the surprise of what is drawn, in bits, near tau: state[0] is mu, how much surprise is let through.
 *
 * S. Basu et al., "Mirostat: a neural text decoding algorithm that directly controls perplexity" (2021).  The first kind
 * takes a Zipf distribution for the tail and computes from its exponent how many to keep; the second cuts at mu itself. */
#include "sample/internal.h"

enum { N_FITTED = 100 };
static const double LN_2 = 0x1.62e42fefa39efp-1;

/* Least squares of ln(p[i] / p[i + 1]) over ln((i + 2) / (i + 1)): the exponent of p[i] ~ 1 / (i + 1)^exponent. */
static double zipf_exponent(lt_sampler *s)
{
    double products = 0, squares = 0;
    for (int32_t i = 0; i < N_FITTED - 1 && lt_rank_has(s, i + 1); i++) {
        const double t = lt_log((i + 2.0) / (i + 1.0));
        products += t * ((double)lt_rank_logit(s, i) - lt_rank_logit(s, i + 1)) / s->temperature;
        squares += t * t;
    }
    return squares > 0 ? products / squares : 1;
}

/* ln of e / (1 - n_vocab^-e), e = exponent - 1, which tends to 1 / ln n_vocab. */
static double log_share(double e, int32_t n_vocab)
{
    const double log_n = lt_log(n_vocab), x = -e * log_n;
    if (fabs(x) < 1e-6)
        return -lt_log(log_n);
    return lt_log(e / (1 - lt_exp(x)));
}

void lt_mirostat_1(lt_sampler *s, const lt_call *c)
{
    if (!lt_rank_has(s, 1))
        return;
    double exponent = zipf_exponent(s);
    exponent = exponent > 1e-6 ? exponent : 1e-6;
    const double log_k = (log_share(exponent - 1, s->n_vocab) + c->state[0] * LN_2) / exponent;
    if (log_k < lt_log(s->n_vocab))
        lt_keep(s, (int32_t)lt_exp(log_k));
}

void lt_mirostat_2(lt_sampler *s, const lt_call *c)
{
    const double log_total = lt_log(lt_total_weight(s));
    int32_t n = 1;
    while (lt_rank_has(s, n) && log_total - ((double)lt_rank_logit(s, n) - s->max) / s->temperature <= c->state[0] * LN_2)
        n++;
    lt_keep(s, n);
}

void lt_mirostat_learn(const lt_sampler *s, const lt_call *c, int32_t i, float state[2])
{
    const double surprise = lt_log(s->total / s->weights[i]) / LN_2;
    state[0] = lt_finite((float)(c->state[0] - c->p->mirostat_eta * (surprise - c->p->mirostat_tau)));
}
