/* rope.c - rotary frequencies: plain, divided (linear), per-frequency factors (llama3), yarn.
 *
 * YaRN: Peng et al. 2023, "YaRN: Efficient Context Window Extension of Large Language Models", section 3. */
#include "models/rope.h"

#include <math.h>

/* Where in the dimensions a rotation makes `turns` turns over the original context. */
static double turn_dimension(const lt_hparams *h, double turns)
{
    return h->n_rot * log((double)h->yarn_original_ctx / (turns * 2.0 * 3.14159265358979323846)) / (2.0 * log((double)h->rope_base));
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* Share of the unscaled frequency in pair i: 1 for fast pairs, 0 for slow ones, a ramp between. */
static double yarn_share(const lt_hparams *h, int32_t pair)
{
    double low = clamp(floor(turn_dimension(h, (double)h->yarn_beta_fast)), 0, h->n_rot - 1);
    double high = clamp(ceil(turn_dimension(h, (double)h->yarn_beta_slow)), 0, h->n_rot - 1);
    double ramp = (pair - low) / fmax(0.001, high - low);
    return (1.0 - clamp(ramp, 0.0, 1.0)) * (double)h->yarn_ext_factor;
}

float lt_rope_frequencies(const lt_hparams *h, bool window_layer, const float *factors, float *frequency)
{
    const double base = (double)(window_layer ? h->window_rope_base : h->rope_base);
    for (int32_t i = 0; i < h->n_rot / 2; i++) {
        double f = pow(base, -2.0 * i / h->n_rot);
        if (!window_layer) {
            if (factors)
                f /= (double)factors[i];
            double share = h->yarn ? yarn_share(h, i) : 0.0;
            f = f / (double)h->rope_factor * (1.0 - share) + f * share;
        }
        frequency[i] = (float)f;
    }
    if (window_layer || !h->yarn)
        return 1.0f;
    return h->yarn_attention_factor * (h->yarn_ext_factor == 0.0f ? 1.0f : 1.0f + 0.1f * logf(h->rope_factor));
}
