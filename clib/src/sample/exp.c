/* exp.c - exponentials with the same bits on every machine: basic operations in a written order, no contraction, no libm.
 *
 * Two of them: a double one for the few candidates, and a float one for sums over the whole vocabulary, written in
 * LT_LANES independent lanes so that any vector width computes the same sums. */
#include "sample/internal.h"
#include "sample/lanes.h"

/* exp(x) = 2^k * exp(r), k = round(x / ln 2), r = x - k ln 2 in two pieces; the polynomial is Taylor's, |r| <= 0.347. */
double lt_exp(double x)
{
    static const double inverse_factorial[] = {
        1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
        1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    const double shift = 0x1.8p52;
    if (!(x > -700.0))
        return 0.0;
    double k = (x * 0x1.71547652b82fep0 + shift) - shift;
    double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
    double y = inverse_factorial[13];
    for (int i = 12; i >= 0; i--)
        y = y * r + inverse_factorial[i];
    uint64_t bits;
    memcpy(&bits, &y, sizeof bits);
    bits += (uint64_t)(int64_t)k << 52;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* 2^t in float, t <= 0; what is below 2^-115 counts as that.  2^t = 2^k * 2^f, k = round(t), |f| <= 0.5; the polynomial is
 * the minimax of degree 5 with p(0) = 1: relative error 1e-7. */
static inline lt_f4 exp2_lanes(lt_f4 t)
{
    const lt_f4 shift = lt_all4(0x1.8p23f);
    t = lt_max4(t, lt_all4(-115.0f));
    lt_f4 shifted = t + shift, f = t - (shifted - shift);
    lt_f4 y = lt_all4(0x1.5bd97ap-10f);
    y = y * f + lt_all4(0x1.3ce8b2p-7f);
    y = y * f + lt_all4(0x1.c6b6dap-5f);
    y = y * f + lt_all4(0x1.ebf9c2p-3f);
    y = y * f + lt_all4(0x1.62e42ap-1f);
    y = y * f + lt_all4(1.0f);
    return (lt_f4)((lt_i4)y + ((lt_i4)shifted << 23)); /* the low bits of `shifted` are k */
}

/* Sum over 16 blocks at most: short enough that float lanes keep it within 1e-6. */
static double sum_run(const float *x, int32_t n, float max, float scale)
{
    lt_f4 sums[LT_LANES / 4] = {{0}};
    double total = 0;
    for (int32_t i = 0; i < n; i += LT_LANES)
        for (int j = 0; j < LT_LANES / 4; j++)
            sums[j] += exp2_lanes((lt_load4(x + i + 4 * j) - lt_all4(max)) * lt_all4(scale));
    for (int j = 0; j < LT_LANES; j++)
        total += sums[j / 4][j % 4];
    return total;
}

double lt_exp_sum(const lt_sampler *s, float max, float inverse_t)
{
    int32_t n = s->n_blocks * LT_BLOCK, run = 16 * LT_BLOCK;
    float scale = inverse_t * 0x1.715476p0f; /* log2 e */
    double sum = 0;
    for (int32_t i = 0; i < n; i += run)
        sum += sum_run(s->work + i, n - i < run ? n - i : run, max, scale);
    return sum;
}
