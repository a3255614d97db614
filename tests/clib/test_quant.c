/* test_quant.c - traits, half conversions over all their values, and lt_dequantize's refusals.
 *
 * The values themselves are compared with the `gguf` package in tests/test_quant_vs_gguf.py; one block worked out by hand
 * stands here so that a broken build shows without Python. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "quant/quant.h"

static void test_traits(void)
{
    int n_known = 0, n_served = 0;
    for (int32_t type = -2; type < 200; type++) {
        const lt_quant_traits *t = lt_quant_find(type);
        if (!t) {
            CHECK(!lt_type_name(type), "type %d", type);
            continue;
        }
        n_known++;
        n_served += t->dequantize != NULL;
        CHECK(t->type == type && t->block_values > 0 && t->block_bytes > 0 && !strcmp(lt_type_name(type), t->name), "type %d", type);
    }
    CHECK(n_known == 34 && n_served == 25, "%d known, %d served", n_known, n_served);
    CHECK(!lt_quant_find(4) && !lt_quant_find(5) && !lt_quant_find(42) && !lt_quant_find(INT32_MIN), "removed and unknown types");
}

static float half_by_definition(uint32_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float magnitude = exponent == 31 ? INFINITY : exponent ? ldexpf((float)(fraction + 1024), exponent - 25) : ldexpf((float)fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void test_half(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = lt_half_to_float((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            CHECK(isnan(f) && isnan(lt_half_to_float(lt_float_to_half(f))), "%04x", h);
            continue;
        }
        CHECK(f == half_by_definition(h) && !signbit(f) == !(h & 0x8000), "%04x gives %a", h, f);
        CHECK(lt_float_to_half(f) == h, "%04x comes back as %04x", h, lt_float_to_half(f));
    }
}

/* Between two neighbours the nearer one, in the middle the even one. */
static void test_rounding(void)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float a = half_by_definition(h), b = h == 0x7bff ? 65536.0f : half_by_definition(h + 1), middle = a + (b - a) / 2;
        uint32_t even = h + (h & 1);
        CHECK(lt_float_to_half(middle) == even && lt_float_to_half(-middle) == (even | 0x8000), "middle above %04x", h);
        CHECK(lt_float_to_half(nextafterf(middle, 0)) == h && lt_float_to_half(nextafterf(middle, INFINITY)) == h + 1, "near %04x", h);
    }
    CHECK(lt_float_to_half(1e30f) == 0x7c00 && lt_float_to_half(-INFINITY) == 0xfc00 && lt_float_to_half(1e-30f) == 0, "extremes");
}

static void test_one_block(void)
{
    lt_block_q4_1 block = {.d = 0x3800, .m = 0xbc00}; /* 0.5, -1 */
    for (int j = 0; j < 16; j++)
        block.qs[j] = (uint8_t)(j | (15 - j) << 4);
    uint8_t odd[sizeof block + 1];
    memcpy(odd + 1, &block, sizeof block); /* a caller's bytes may start anywhere */
    float out[32];
    CHECK(lt_dequantize(LT_Q4_1, odd + 1, sizeof block, out, 32) == LT_OK, "%s", lt_last_error());
    for (int j = 0; j < 16; j++)
        CHECK(out[j] == 0.5f * (float)j - 1 && out[j + 16] == 0.5f * (float)(15 - j) - 1, "value %d", j);
}

/* A row of IQ2_XXS by hand: row 0 is eight times 8, the seven signs 0000001 give minus, six times plus, and minus for parity. */
static void test_signs(void)
{
    lt_block_iq2_xxs block = {.d = 0x3c00, .qs = {[4] = 1, [7] = 0x30}}; /* 1; scale 3 stands for 7 / 8 */
    float out[256];
    CHECK(lt_dequantize(LT_IQ2_XXS, &block, sizeof block, out, 256) == LT_OK, "%s", lt_last_error());
    for (int i = 0; i < 256; i++)
        CHECK(out[i] == (i < 32 ? 7.0f : 1.0f) * (i == 0 || i == 7 ? -1.0f : 1.0f), "value %d is %g", i, (double)out[i]);
}

/* What packers rely on: codes have few bits and lead to a level of the format, and d * scale * level is never rounded. */
static void check_spread(const lt_quant_traits *t, const lt_levels *f, const uint8_t *bytes)
{
    lt_spread s;
    float out[256];
    f->spread(bytes, &s);
    t->dequantize(bytes, out, t->block_values);
    for (int i = 0; i < t->block_values; i++) {
        int scale = s.scale[i / f->group_values], level = f->level[s.code[i] & 15];
        CHECK(s.code[i] < 1 << f->code_bits, "%s: code %d", t->name, s.code[i]);
        CHECK(level != 0 || t->type == LT_MXFP4 || t->type == LT_TQ1_0 || t->type == LT_TQ2_0, "%s: code %d", t->name, s.code[i]);
        CHECK(level != 2 || t->type != LT_TQ1_0, "three digits");
        CHECK(scale >= -32 && scale <= 31, "%s: scale %d", t->name, scale);
        if (isfinite(s.d) && isfinite(out[i])) /* not MXFP4 above the float range */
            CHECK((double)s.d * scale * level == (double)out[i], "%s: value %d is %a", t->name, i, (double)out[i]);
    }
}

static void test_levels(void)
{
    uint8_t bytes[1 + 256];
    uint32_t state = 1;
    int n_formats = 0;
    for (int32_t type = -2; type < 200; type++) {
        const lt_levels *f = lt_levels_find(type);
        if (!f)
            continue;
        n_formats++;
        for (int n = 0; n < 200; n++) {
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
            check_spread(lt_quant_find(type), f, bytes + 1);
        }
    }
    CHECK(n_formats == 12, "%d", n_formats);
}

static void test_refusals(void)
{
    uint8_t src[512] = {0};
    float dst[256] = {0};
    CHECK(lt_dequantize(LT_Q4_0, src, 18, dst, 31) == LT_E_ARG, "part of a block");
    CHECK(lt_dequantize(LT_Q4_0, src, 36, dst, 32) == LT_E_ARG, "too many bytes");
    CHECK(lt_dequantize(LT_Q4_0, src, 17, dst, 32) == LT_E_ARG, "too few bytes");
    CHECK(lt_dequantize(LT_F32, src, 0, dst, 1ull << 62) == LT_E_ARG, "a product that wraps");
    CHECK(lt_dequantize(LT_F32, NULL, 4, dst, 1) == LT_E_ARG && lt_dequantize(LT_F32, src, 4, NULL, 1) == LT_E_ARG, "NULL");
    CHECK(lt_dequantize(4, src, 18, dst, 32) == LT_E_ARG && lt_dequantize(-1, src, 18, dst, 32) == LT_E_ARG, "no such type");
    CHECK(lt_dequantize(40, src, 36, dst, 64) == LT_E_UNSUPPORTED && strstr(lt_last_error(), "NVFP4"), "%s", lt_last_error());
    CHECK(lt_dequantize(LT_Q4_0, NULL, 0, NULL, 0) == LT_OK, "nothing to do");
}

int main(void)
{
    test_traits();
    test_half();
    test_rounding();
    test_one_block();
    test_signs();
    test_levels();
    test_refusals();
    return check_report("test_quant");
}
