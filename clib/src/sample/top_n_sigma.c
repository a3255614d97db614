/* top_n_sigma.c - keep the logits that lie at most n standard deviations of all of them below the best.
 *
 * C. Tang et al., "Top-nσ: not all logits are you need" (2024). */
#include "sample/internal.h"
#include "sample/lanes.h"

typedef struct {
    double sum, sum_of_squares;
    int64_t n;
} moments;

static void add_run(moments *m, const float *x, int32_t n, float origin, float scale)
{
    lt_fv sum[LT_LANES / LT_WIDTH] = {{0}}, squares[LT_LANES / LT_WIDTH] = {{0}};
    lt_iv count = {0};
    for (int32_t i = 0; i < n; i += LT_LANES)
        for (int j = 0; j < LT_LANES / LT_WIDTH; j++) {
            const lt_fv value = lt_load(x + i + LT_WIDTH * j);
            const lt_iv is_allowed = value > lt_all(-INFINITY);
            const lt_fv d = lt_select(is_allowed, value * lt_all(scale) - lt_all(origin * scale), lt_all(0));
            sum[j] += d;
            squares[j] += d * d;
            count -= is_allowed;
        }
    for (int j = 0; j < LT_LANES; j++) {
        m->sum += sum[j / LT_WIDTH][j % LT_WIDTH];
        m->sum_of_squares += squares[j / LT_WIDTH][j % LT_WIDTH];
    }
    m->n += count[0] + count[1] + count[2] + count[3];
}

/* Of the survivors' logits less `origin`, times `scale`. */
static moments measure(lt_sampler *s, float origin, float scale)
{
    moments m = {0};
    const int32_t n = s->n_blocks * LT_BLOCK, run = 16 * LT_BLOCK;
    if (s->n_kept == LT_KEEP_ALL)
        for (int32_t i = 0; i < n; i += run)
            add_run(&m, s->work + i, n - i < run ? n - i : run, origin, scale);
    else
        for (int32_t i = 0; lt_rank_has(s, i); i++, m.n++) {
            const double d = ((double)lt_rank_logit(s, i) - origin) * scale;
            m.sum += d;
            m.sum_of_squares += d * d;
        }
    return m;
}

/* Infinite when floats overflow at this scale. */
static double deviation(lt_sampler *s, float scale)
{
    moments m = measure(s, s->max, scale);
    m = measure(s, (float)(s->max + m.sum / (double)m.n / scale), scale);
    const double off = m.sum / (double)m.n, variance = m.sum_of_squares / (double)m.n - off * off;
    return isfinite(variance) ? sqrt(variance > 0 ? variance : 0) / scale : INFINITY;
}

void lt_top_n_sigma(lt_sampler *s, const lt_call *c)
{
    if (c->p->top_n_sigma <= 0)
        return;
    double sigma = deviation(s, 1);
    if (sigma == INFINITY)
        sigma = deviation(s, 0x1p-80f); /* a penalty can make logits as large as floats are */
    const double floor = s->max - c->p->top_n_sigma * sigma;
    int32_t n = 1;
    while (lt_rank_has(s, n) && lt_rank_logit(s, n) >= floor)
        n++;
    lt_keep(s, n);
}
