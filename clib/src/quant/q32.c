/* q32.c - formats of 32-value blocks with one scale: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0.
 *
 *      Q4, Q5: byte j of qs holds value j in its low and value j + 16 in its high nibble
 *      Q5:     bit i of qh (little-endian u32) is the fifth bit of value i
 *      _0:     value = d * (q - half of the range)        _1: value = d * q + m
 */
#include <string.h>

#include "quant/formats.h"

enum { BLOCK = 32, HALF = 16 };

static uint32_t fifth_bits(const uint8_t qh[4])
{
    return qh[0] | (uint32_t)qh[1] << 8 | (uint32_t)qh[2] << 16 | (uint32_t)qh[3] << 24;
}

void lt_dequantize_q4_0(const void *src, float *dst, int64_t n_values)
{
    lt_block_q4_0 b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d);
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)((b.qs[j] & 15) - 8);
            dst[j + HALF] = d * (float)((b.qs[j] >> 4) - 8);
        }
    }
}

void lt_dequantize_q4_1(const void *src, float *dst, int64_t n_values)
{
    lt_block_q4_1 b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d), m = lt_half_to_float(b.m);
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)(b.qs[j] & 15) + m;
            dst[j + HALF] = d * (float)(b.qs[j] >> 4) + m;
        }
    }
}

void lt_dequantize_q5_0(const void *src, float *dst, int64_t n_values)
{
    lt_block_q5_0 b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d);
        uint32_t high = fifth_bits(b.qh);
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)((int)((b.qs[j] & 15) | (high >> j & 1) << 4) - 16);
            dst[j + HALF] = d * (float)((int)((b.qs[j] >> 4) | (high >> (j + HALF) & 1) << 4) - 16);
        }
    }
}

void lt_dequantize_q5_1(const void *src, float *dst, int64_t n_values)
{
    lt_block_q5_1 b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d), m = lt_half_to_float(b.m);
        uint32_t high = fifth_bits(b.qh);
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)((b.qs[j] & 15) | (high >> j & 1) << 4) + m;
            dst[j + HALF] = d * (float)((b.qs[j] >> 4) | (high >> (j + HALF) & 1) << 4) + m;
        }
    }
}

void lt_dequantize_q8_0(const void *src, float *dst, int64_t n_values)
{
    lt_block_q8_0 b;
    for (const uint8_t *at = src; n_values > 0; n_values -= BLOCK, at += sizeof b, dst += BLOCK) {
        memcpy(&b, at, sizeof b);
        float d = lt_half_to_float(b.d);
        for (int j = 0; j < BLOCK; j++)
            dst[j] = d * (float)b.qs[j];
    }
}
