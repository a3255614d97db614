/* ternary.c - TQ1_0 and TQ2_0: weights of -1, 0, 1 times one half for 256 of them; 1.69 and 2.06 bits a weight.
 *
 *      TQ1_0   qs 48 bytes, qh 4 bytes, d half.  A byte holds five ternary digits (of qh: four) as a fraction of 256: the first is
 *              the whole part of 3 * byte / 256, the next one that of 3 * (3 * byte mod 256) / 256.
 *                  qs 0-31   digit n of byte j is weight 32 n + j
 *                  qs 32-47  digit n of byte j is weight 160 + 16 n + j - 32
 *                  qh 0-3    digit n of byte j is weight 240 + 4 n + j
 *      TQ2_0   qs 64 bytes, d half: weight i in byte 32 * (i / 128) + i % 32, shifted by 2 * (i / 32 % 4)
 */
#include <string.h>

#include "quant/formats.h"

static uint8_t *spread_digits(uint8_t *code, const uint8_t *bytes, int n_bytes, int n_digits)
{
    static const uint8_t power[] = {1, 3, 9, 27, 81};
    for (int n = 0; n < n_digits; n++)
        for (int j = 0; j < n_bytes; j++)
            *code++ = (uint8_t)((uint8_t)(bytes[j] * power[n]) * 3 >> 8);
    return code;
}

void lt_spread_tq1_0(const void *block, lt_spread *s)
{
    lt_block_tq1_0 b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d);
    s->scale[0] = 1;
    uint8_t *code = spread_digits(s->code, b.qs, 32, 5);
    code = spread_digits(code, b.qs + 32, 16, 5);
    spread_digits(code, b.qh, 4, 4);
}

void lt_spread_tq2_0(const void *block, lt_spread *s)
{
    lt_block_tq2_0 b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d);
    s->scale[0] = 1;
    for (int i = 0; i < 256; i++)
        s->code[i] = b.qs[32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
}
