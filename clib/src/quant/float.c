/* float.c - the unquantised formats: float32, IEEE half, bfloat16. */
#include <string.h>

#include "quant/formats.h"

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float lt_half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    if (magnitude >= 0x7c00) /* infinity, NaN */
        return from_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude >= 0x0400) /* normal: the exponent's bias goes from 15 to 127 */
        return from_bits(sign | (magnitude + (112u << 10)) << 13);
    return from_bits(sign | to_bits((float)magnitude * 0x1p-24f));
}

uint16_t lt_float_to_half(float f)
{
    uint32_t bits = to_bits(f), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000) /* NaN: quiet, with what fits of its payload */
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x47800000) /* 65536 and above */
        return sign | 0x7c00;
    if (magnitude < 0x38800000) /* below 2^-14: next to 0.5 the sum's last bit is worth 2^-24, as a subnormal half's */
        return (uint16_t)(sign | (to_bits(from_bits(magnitude) + 0.5f) - to_bits(0.5f)));
    uint32_t half_to_even = 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (magnitude + half_to_even - (112u << 23)) >> 13);
}

void lt_dequantize_f32(const void *src, float *dst, int64_t n_values)
{
    memcpy(dst, src, (size_t)n_values * sizeof *dst);
}

void lt_dequantize_f16(const void *src, float *dst, int64_t n_values)
{
    for (int64_t i = 0; i < n_values; i++) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)src + 2 * i, sizeof h);
        dst[i] = lt_half_to_float(h);
    }
}

void lt_dequantize_bf16(const void *src, float *dst, int64_t n_values)
{
    for (int64_t i = 0; i < n_values; i++) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)src + 2 * i, sizeof h);
        dst[i] = lt_bf16_to_float(h);
    }
}
