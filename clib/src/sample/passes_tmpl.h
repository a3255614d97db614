/* passes_tmpl.h - the passes over a whole vocabulary, compiled once for each width of vectors.
 *
 * Sums are taken in LT_LANES independent lanes, in runs of LT_RUN so short that float lanes keep them within 1e-6, and the
 * lanes are added one after the other: so every width gives the same bits. */
#include "sample/internal.h"
#include "sample/lanes.h"

enum { LT_RUN = 16 * LT_BLOCK };

/* ---- copy and maxima ---- */

static float block_max(const float *block)
{
    lt_fv max[LT_LANES / LT_WIDTH];
    for (int j = 0; j < LT_LANES / LT_WIDTH; j++)
        max[j] = lt_load(block + LT_WIDTH * j);
    for (int i = LT_LANES; i < LT_BLOCK; i += LT_LANES)
        for (int j = 0; j < LT_LANES / LT_WIDTH; j++)
            max[j] = lt_max(lt_load(block + i + LT_WIDTH * j), max[j]);
    for (int j = 1; j < LT_LANES / LT_WIDTH; j++)
        max[0] = lt_max(max[j], max[0]);
    return lt_max_lane(max[0]);
}

/* Adds what it copies to sums, made so small that only NaN and +inf can bring those to where they are not below +inf. */
static inline void copy_block(float *restrict to, const float *restrict from, lt_fv *sums)
{
    for (int i = 0; i < LT_BLOCK; i += LT_LANES)
        for (int j = 0; j < LT_LANES / LT_WIDTH; j++) {
            lt_fv x = lt_load(from + i + LT_WIDTH * j);
            lt_store(to + i + LT_WIDTH * j, x);
            sums[j] += x * lt_all(0x1p-30f);
        }
}

static bool scan(float *work, float *maxima, const float *logits, int32_t n_blocks)
{
    lt_fv sums[LT_LANES / LT_WIDTH] = {{0}};
    for (int32_t b = 0; b < n_blocks; b++) {
        copy_block(work + (size_t)b * LT_BLOCK, logits + (size_t)b * LT_BLOCK, sums);
        maxima[b] = block_max(work + (size_t)b * LT_BLOCK);
    }
    bool is_good = true;
    for (int i = 0; i < LT_LANES; i++)
        is_good &= sums[i / LT_WIDTH][i % LT_WIDTH] < INFINITY;
    return is_good;
}

/* ---- sums of exponentials ---- */

/* 2^t in float, t <= 0; what is below 2^-115 counts as that.  2^t = 2^k * 2^f, k = round(t), |f| <= 0.5; the polynomial is
 * the minimax of degree 5 with p(0) = 1: relative error 1e-7. */
static inline lt_fv exp2_lanes(lt_fv t)
{
    const lt_fv shift = lt_all(0x1.8p23f);
    t = lt_max(t, lt_all(-115.0f));
    lt_fv shifted = t + shift, f = t - (shifted - shift);
    lt_fv y = lt_all(0x1.5bd97ap-10f);
    y = y * f + lt_all(0x1.3ce8b2p-7f);
    y = y * f + lt_all(0x1.c6b6dap-5f);
    y = y * f + lt_all(0x1.ebf9c2p-3f);
    y = y * f + lt_all(0x1.62e42ap-1f);
    y = y * f + lt_all(1.0f);
    return (lt_fv)((lt_iv)y + ((lt_iv)shifted << 23)); /* the low bits of `shifted` are k */
}

static double sum_run(const float *x, int32_t n, float max, float scale)
{
    lt_fv sums[LT_LANES / LT_WIDTH] = {{0}};
    double total = 0;
    for (int32_t i = 0; i < n; i += LT_LANES)
        for (int j = 0; j < LT_LANES / LT_WIDTH; j++)
            sums[j] += exp2_lanes((lt_load(x + i + LT_WIDTH * j) - lt_all(max)) * lt_all(scale));
    for (int j = 0; j < LT_LANES; j++)
        total += sums[j / LT_WIDTH][j % LT_WIDTH];
    return total;
}

static double sum_moments(const float *x, int32_t n, float max, float scale)
{
    lt_fv sums[LT_LANES / LT_WIDTH] = {{0}};
    double total = 0;
    for (int32_t i = 0; i < n; i += LT_LANES)
        for (int j = 0; j < LT_LANES / LT_WIDTH; j++) {
            lt_fv t = lt_max((lt_load(x + i + LT_WIDTH * j) - lt_all(max)) * lt_all(scale), lt_all(-115.0f));
            sums[j] += exp2_lanes(t) * t;
        }
    for (int j = 0; j < LT_LANES; j++)
        total += sums[j / LT_WIDTH][j % LT_WIDTH];
    return total;
}

static double exp_sum(const float *x, int32_t n, float max, float scale)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i += LT_RUN)
        sum += sum_run(x + i, n - i < LT_RUN ? n - i : LT_RUN, max, scale);
    return sum;
}

static double exp_moment(const float *x, int32_t n, float max, float scale)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i += LT_RUN)
        sum += sum_moments(x + i, n - i < LT_RUN ? n - i : LT_RUN, max, scale);
    return sum;
}
