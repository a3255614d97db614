/* test_rope.c - rotary frequencies: plain, linear, per-frequency factors, yarn, window layers. */
#include <math.h>

#include "check.h"
#include "models/rope.h"

static const lt_hparams plain = {.rope_factor = 1.0f};
static const lt_rope_kind full = {.n_rot = 128, .base = 1e6f, .scaled = true}, window = {.n_rot = 128, .base = 1e4f};

static void expect(float got, double want, const char *what, int pair)
{
    CHECK(fabs((double)got - want) <= 2e-7 * fabs(want), "%s, pair %d: %.9g, want %.9g", what, pair, (double)got, want);
}

static void test_plain_and_linear(void)
{
    float f[64];
    lt_hparams h = plain;
    expect(lt_rope_frequencies(&h, &full, NULL, f), 1.0, "magnitude", 0);
    expect(f[0], 1.0, "plain", 0);
    expect(f[32], 1e-3, "plain", 32); /* 1e6^(-64/128) */
    expect(lt_rope_frequencies(&h, &window, NULL, f), 1.0, "magnitude", 0);
    expect(f[32], 1e-2, "window layer", 32); /* 1e4^(-64/128) */
    h.rope_factor = 8.0f;
    lt_rope_frequencies(&h, &full, NULL, f);
    expect(f[32], 1.25e-4, "linear", 32);
    lt_rope_frequencies(&h, &window, NULL, f);
    expect(f[32], 1e-2, "window layers are not scaled", 32);
}

static void test_factors(void)
{
    float f[64], factors[64];
    for (int i = 0; i < 64; i++)
        factors[i] = i < 32 ? 1.0f : 8.0f;
    lt_rope_frequencies(&plain, &full, factors, f);
    expect(f[16], pow(1e6, -0.25), "factor 1", 16);
    expect(f[48], pow(1e6, -0.75) / 8, "factor 8", 48);
}

/* The published setting of Qwen2.5 for 128k: factor 4 over 32,768.  32 turns lie at dimension 23.6 and 1 turn at 39.7, so the
 * ramp goes from pair 23 to pair 40; sine and cosine grow by 0.1 ln 4 + 1. */
static void test_yarn(void)
{
    float f[64];
    lt_hparams h = plain;
    h.scaling = LT_SCALING_YARN;
    h.rope_factor = 4.0f;
    h.original_ctx = 32768.0f;
    h.attention_factor = h.yarn_ext_factor = h.yarn_beta_slow = 1.0f;
    h.yarn_beta_fast = 32.0f;
    expect(lt_rope_frequencies(&h, &full, NULL, f), 1.1386294361, "yarn magnitude", 0);
    for (int i = 0; i < 64; i++) {
        const double whole = pow(1e6, -2.0 * i / 128), scaled = i <= 23 ? 0.0 : i >= 40 ? 1.0 : (i - 23) / 17.0;
        expect(f[i], whole * (1 - scaled) + whole / 4 * scaled, "yarn", i);
    }
    h.yarn_log_multiplier = 1.0f; /* as Ministral 3 has it: no growth */
    expect(lt_rope_frequencies(&h, &full, NULL, f), 1.0, "yarn magnitude with log multiplier 1", 0);
    h.yarn_log_multiplier = 0.0f;
    h.yarn_ext_factor = 0.0f; /* all interpolation: linear, and no magnitude */
    expect(lt_rope_frequencies(&h, &full, NULL, f), 1.0, "yarn without extrapolation, magnitude", 0);
    expect(f[0], 0.25, "yarn without extrapolation", 0);
}

int main(void)
{
    test_plain_and_linear();
    test_factors();
    test_yarn();
    return check_report("rope");
}
