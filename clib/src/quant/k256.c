/* k256.c - "K" formats: blocks of 256 values in groups of 16 or 32, each group with its own small integer scale.
 *
 * Where the bits of value i lie:
 *      Q2_K Q3_K  low two bits:   byte 32 * (i / 128) + i % 32 of qs, shifted by 2 * (i / 32 % 4)
 *      Q4_K Q5_K  low four bits:  byte 32 * (i / 64) + i % 32 of qs, the high nibble when i / 32 is odd
 *      Q6_K       low four bits:  byte 64 * (i / 128) + i % 64 of ql, the high nibble when i / 64 is odd
 *                 high two bits:  byte 32 * (i / 128) + i % 32 of qh, shifted by 2 * (i / 32 % 4)
 *      Q3_K Q5_K  one bit more:   byte i % 32 of hmask or qh, bit i / 32 (in Q3_K a clear bit takes 4 off)
 */
#include <string.h>

#include "quant/formats.h"

enum { BLOCK = 256 };

void lt_dequantize_q2_k(const void *src, float *dst, int64_t n_values)
{
    lt_block_q2_k b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d), dmin = lt_half_to_float(b.dmin);
        for (int g = 0; g < 16; g++) { /* 16 values, scale in the low and minimum in the high nibble */
            float scale = d * (float)(b.scales[g] & 15), min = dmin * (float)(b.scales[g] >> 4);
            const uint8_t *qs = b.qs + 32 * (g / 8) + 16 * (g % 2);
            int shift = 2 * (g / 2 % 4);
            for (int l = 0; l < 16; l++)
                dst[16 * g + l] = scale * (float)(qs[l] >> shift & 3) - min;
        }
    }
}

/* 16 six-bit scales: four bits in bytes 0-7 (low nibbles first, then high), two more in bytes 8-11; offset 32 */
static int q3_scale(const uint8_t s[12], int g)
{
    int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    int high = s[8 + g % 4] >> 2 * (g / 4) & 3;
    return (low | high << 4) - 32;
}

void lt_dequantize_q3_k(const void *src, float *dst, int64_t n_values)
{
    lt_block_q3_k b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)q3_scale(b.scales, g);
            const uint8_t *qs = b.qs + 32 * (g / 8) + 16 * (g % 2), *hmask = b.hmask + 16 * (g % 2);
            int shift = 2 * (g / 2 % 4), bit = g / 2;
            for (int l = 0; l < 16; l++)
                dst[16 * g + l] = scale * (float)((qs[l] >> shift & 3) - (hmask[l] >> bit & 1 ? 0 : 4));
        }
    }
}

/* Q4_K, Q5_K: 8 six-bit scales and minima.  Bytes 0-3 and 4-7: the first four of each, and in their top two bits the top
 * of the last four, whose low nibbles are in bytes 8-11 (scale low, minimum high). */
static void q4_scale_min(const uint8_t s[12], int g, int *scale, int *min)
{
    if (g < 4) {
        *scale = s[g] & 63;
        *min = s[g + 4] & 63;
    } else {
        *scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        *min = (s[g + 4] >> 4) | (s[g] >> 6) << 4;
    }
}

void lt_dequantize_q4_k(const void *src, float *dst, int64_t n_values)
{
    lt_block_q4_k b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d), dmin = lt_half_to_float(b.dmin);
        for (int g = 0; g < 8; g++) {
            int scale, min;
            q4_scale_min(b.scales, g, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            const uint8_t *qs = b.qs + 32 * (g / 2);
            int shift = 4 * (g % 2);
            for (int l = 0; l < 32; l++)
                dst[32 * g + l] = ds * (float)(qs[l] >> shift & 15) - dm;
        }
    }
}

void lt_dequantize_q5_k(const void *src, float *dst, int64_t n_values)
{
    lt_block_q5_k b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d), dmin = lt_half_to_float(b.dmin);
        for (int g = 0; g < 8; g++) {
            int scale, min;
            q4_scale_min(b.scales, g, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            const uint8_t *qs = b.qs + 32 * (g / 2);
            int shift = 4 * (g % 2);
            for (int l = 0; l < 32; l++)
                dst[32 * g + l] = ds * (float)((qs[l] >> shift & 15) | (b.qh[l] >> g & 1) << 4) - dm;
        }
    }
}

void lt_dequantize_q6_k(const void *src, float *dst, int64_t n_values)
{
    lt_block_q6_k b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)b.scales[g];
            const uint8_t *ql = b.ql + 64 * (g / 8) + 16 * (g % 4), *qh = b.qh + 32 * (g / 8) + 16 * (g % 2);
            int low = 4 * (g / 4 % 2), high = 2 * (g / 2 % 4);
            for (int l = 0; l < 16; l++)
                dst[16 * g + l] = scale * (float)(((ql[l] >> low & 15) | (qh[l] >> high & 3) << 4) - 32);
        }
    }
}
