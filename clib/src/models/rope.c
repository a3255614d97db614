/* rope.c - rotary frequencies: plain, divided (linear), per-frequency factors (llama3, longrope), yarn.
 *
 * YaRN: Peng et al. 2023, "YaRN: Efficient Context Window Extension of Large Language Models", section 3. */
#include "models/rope.h"

#include <math.h>

/* Where in the dimensions a rotation makes `turns` turns over the original context. */
static double turn_dimension(const lt_hparams *h, const lt_rope_kind *kind, double turns)
{
    return kind->n_rot * log((double)h->original_ctx / (turns * 2.0 * 3.14159265358979323846)) / (2.0 * log((double)kind->base));
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* Share of the unscaled frequency in pair i: 1 for fast pairs, 0 for slow ones, a ramp between. */
static double yarn_share(const lt_hparams *h, const lt_rope_kind *kind, int32_t pair)
{
    double low = clamp(floor(turn_dimension(h, kind, (double)h->yarn_beta_fast)), 0, kind->n_rot - 1);
    double high = clamp(ceil(turn_dimension(h, kind, (double)h->yarn_beta_slow)), 0, kind->n_rot - 1);
    double ramp = (pair - low) / fmax(0.001, high - low);
    return (1.0 - clamp(ramp, 0.0, 1.0)) * (double)h->yarn_ext_factor;
}

static float yarn_magnitude(const lt_hparams *h)
{
    if (h->yarn_ext_factor == 0.0f)
        return h->attention_factor;
    const float growth = 0.1f * logf(h->rope_factor);
    return h->attention_factor * (1.0f + growth) / (1.0f + h->yarn_log_multiplier * growth);
}

float lt_rope_frequencies(const lt_hparams *h, const lt_rope_kind *kind, const float *factors, float *frequency)
{
    const bool yarn = kind->scaled && h->scaling == LT_SCALING_YARN;
    for (int32_t i = 0; i < kind->n_rot / 2; i++) {
        double f = pow((double)kind->base, -2.0 * i / kind->n_rot);
        if (kind->scaled) {
            if (factors)
                f /= (double)factors[i];
            double share = yarn ? yarn_share(h, kind, i) : 0.0;
            f = f / (double)h->rope_factor * (1.0 - share) + f * share;
        }
        frequency[i] = (float)f;
    }
    return !kind->scaled ? 1.0f : yarn ? yarn_magnitude(h) : h->scaling == LT_SCALING_LONG ? h->attention_factor : 1.0f;
}
