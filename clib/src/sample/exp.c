/* exp.c - exponentials with the same bits on every machine: basic operations in a written order, no contraction, no libm.
 *
 * Two of them: a double one for the few candidates, with its logarithm, and for sums over the whole vocabulary a float one
 * in lanes, which is in passes_tmpl.h. */
#include <string.h>

#include "sample/internal.h"

/* exp(x) = 2^k * exp(r), k = round(x / ln 2), r = x - k ln 2 in two pieces; the polynomial is Taylor's, |r| <= 0.347. */
double lt_exp(double x)
{
    static const double inverse_factorial[] = {
        1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
        1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    const double shift = 0x1.8p52;
    if (!(x > -700.0))
        return 0.0;
    x = x < 700.0 ? x : 700.0;
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

/* x = 2^k * m with m within a factor of sqrt 2 of 1; ln m = 2 artanh((m - 1) / (m + 1)), whose series ends at power 23. */
double lt_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t k = (int64_t)((bits + 0x00095f619980c433u) >> 52) - 1023; /* rounds m up past sqrt 2 */
    bits -= (uint64_t)k << 52;
    double m, sum = 0;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), square = s * s;
    for (int i = 23; i >= 3; i -= 2)
        sum = (sum + 1.0 / i) * square;
    return (double)k * 0x1.62e42fefa39efp-1 + 2 * (s + s * sum);
}

double lt_exp_sum(const lt_sampler *s, float max, float inverse_t)
{
    const float scale = inverse_t * 0x1.715476p0f; /* log2 e */
    return s->passes->exp_sum(s->work, s->n_blocks * LT_BLOCK, max, scale);
}

double lt_exp_moment(const lt_sampler *s, float max, float inverse_t)
{
    const float scale = inverse_t * 0x1.715476p0f;
    return s->passes->exp_moment(s->work, s->n_blocks * LT_BLOCK, max, scale) * 0x1.62e42fefa39efp-1;
}
