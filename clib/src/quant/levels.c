/* levels.c - the formats of levels: which levels each has, and the dequantisers, all one loop over a spread block.
 *
 * No rounding happens in that loop.  d is a half (11 bits) times a power of two, or such a power alone; a scale has at most 5 bits
 * beside its sign (or is -32) and a level at most 7, so both products fit the 24 bits of a float, and the result is bit for bit
 * that of any other order. */
#include "quant/formats.h"

enum { MAX_TYPE = LT_MXFP4 };

/* Codes of the IQ1, IQ2 and IQ3 formats: the number in the grid, above it the sign (IQ1: the sign of the delta). */
#define IQ1_LEVELS     {-7, 1, 9, 0, -9, -1, 7, 0} /* 8 * g + 1 and 8 * g - 1 for g = -1, 0, 1: the delta is 1/8 */
#define IQ2_LEVELS     {8, 25, 43, 0, -8, -25, -43, 0}
#define IQ3_XXS_LEVELS {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}
#define IQ3_S_LEVELS   {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}
#define IQ4_LEVELS     {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
#define E2M1_LEVELS    {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12} /* twice 0, 0.5, 1, 1.5, 2, 3, 4, 6 */
#define TERNARY_LEVELS {-1, 0, 1, 2}                                             /* 2 is no ternary digit, but two bits can say it */

static const lt_levels formats[MAX_TYPE + 1] = {
    [LT_IQ2_XXS] = {32, 3, lt_spread_iq2_xxs, IQ2_LEVELS},  [LT_IQ2_XS] = {16, 3, lt_spread_iq2_xs, IQ2_LEVELS},
    [LT_IQ2_S] = {16, 3, lt_spread_iq2_s, IQ2_LEVELS},      [LT_IQ3_XXS] = {32, 4, lt_spread_iq3_xxs, IQ3_XXS_LEVELS},
    [LT_IQ3_S] = {32, 4, lt_spread_iq3_s, IQ3_S_LEVELS},    [LT_IQ1_S] = {32, 3, lt_spread_iq1_s, IQ1_LEVELS},
    [LT_IQ1_M] = {16, 3, lt_spread_iq1_m, IQ1_LEVELS},      [LT_IQ4_NL] = {32, 4, lt_spread_iq4_nl, IQ4_LEVELS},
    [LT_IQ4_XS] = {32, 4, lt_spread_iq4_xs, IQ4_LEVELS},    [LT_TQ1_0] = {256, 2, lt_spread_tq1_0, TERNARY_LEVELS},
    [LT_TQ2_0] = {256, 2, lt_spread_tq2_0, TERNARY_LEVELS}, [LT_MXFP4] = {32, 4, lt_spread_mxfp4, E2M1_LEVELS},
};

const lt_levels *lt_levels_find(int32_t type)
{
    return type >= 0 && type <= MAX_TYPE && formats[type].spread ? &formats[type] : NULL;
}

static void dequantize(int32_t type, const void *src, float *dst, int64_t n_values)
{
    const lt_levels *f = &formats[type];
    const lt_quant_traits *t = lt_quant_find(type);
    const int32_t n_groups = t->block_values / f->group_values;
    lt_spread s;
    for (const uint8_t *at = src; n_values > 0; n_values -= t->block_values, at += t->block_bytes) {
        f->spread(at, &s);
        const uint8_t *code = s.code;
        for (int32_t g = 0; g < n_groups; g++, code += f->group_values, dst += f->group_values) {
            float scale = s.d * (float)s.scale[g];
            for (int32_t i = 0; i < f->group_values; i++)
                dst[i] = scale * (float)f->level[code[i]];
        }
    }
}

void lt_dequantize_iq2_xxs(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ2_XXS, src, dst, n_values);
}

void lt_dequantize_iq2_xs(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ2_XS, src, dst, n_values);
}

void lt_dequantize_iq2_s(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ2_S, src, dst, n_values);
}

void lt_dequantize_iq3_xxs(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ3_XXS, src, dst, n_values);
}

void lt_dequantize_iq3_s(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ3_S, src, dst, n_values);
}

void lt_dequantize_iq1_s(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ1_S, src, dst, n_values);
}

void lt_dequantize_iq1_m(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ1_M, src, dst, n_values);
}

void lt_dequantize_iq4_nl(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ4_NL, src, dst, n_values);
}

void lt_dequantize_iq4_xs(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_IQ4_XS, src, dst, n_values);
}

void lt_dequantize_tq1_0(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_TQ1_0, src, dst, n_values);
}

void lt_dequantize_tq2_0(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_TQ2_0, src, dst, n_values);
}

void lt_dequantize_mxfp4(const void *src, float *dst, int64_t n_values)
{
    dequantize(LT_MXFP4, src, dst, n_values);
}
