/* iq1.c - IQ1_S and IQ1_M: 1.56 and 1.75 bits a weight.  Eight weights are a row of a 2048-row grid of -1, 0, 1, plus a delta of
 * 1/8 or -1/8; in levels of an eighth that is 8 * g + 1 or 8 * g - 1.
 *
 *      IQ1_S   d      half
 *              qs     32 bytes: the low eight bits of the row of weights 8k to 8k + 7
 *              qh     8 u16, one for 32 weights:   | delta < 0 | scale | row 3 | row 2 | row 1 | row 0 |
 *                                             bit      15         12      9       6       3       0      (high bits of four rows)
 *      IQ1_M   qs     as above
 *              qh     16 bytes, one for 16 weights: a nibble for eight, | delta < 0 | high three bits of the row |
 *              scales 4 u16:                       | d    | scale 3 | scale 2 | scale 1 | scale 0 |
 *                                             bit    12       9         6         3         0
 *                     each scale for 16 weights; the four top nibbles, the first lowest, are the half d
 *
 * A scale s stands for 2s + 1. */
#include <string.h>

#include "quant/formats.h"
#include "quant/iq_grids.h"

static void spread_row(uint8_t code[8], uint32_t low, uint32_t high, int minus)
{
    lt_grid_codes_2bit(code, lt_grid_iq1s[low | (high & 7) << 8], minus ? 0xff : 0);
}

void lt_spread_iq1_s(const void *block, lt_spread *s)
{
    lt_block_iq1_s b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d) / 8;
    for (int g = 0; g < 8; g++) {
        s->scale[g] = (int8_t)(2 * (b.qh[g] >> 12 & 7) + 1);
        for (int r = 0; r < 4; r++)
            spread_row(s->code + 32 * g + 8 * r, b.qs[4 * g + r], (uint32_t)b.qh[g] >> 3 * r, b.qh[g] >> 15);
    }
}

void lt_spread_iq1_m(const void *block, lt_spread *s)
{
    lt_block_iq1_m b;
    uint32_t d = 0;
    memcpy(&b, block, sizeof b);
    for (int q = 0; q < 4; q++)
        d |= (uint32_t)(b.scales[q] >> 12) << 4 * q;
    s->d = lt_half_to_float((uint16_t)d) / 8;
    for (int g = 0; g < 16; g++) {
        s->scale[g] = (int8_t)(2 * (b.scales[g / 4] >> 3 * (g % 4) & 7) + 1);
        for (int r = 0; r < 2; r++) {
            uint32_t high = (uint32_t)b.qh[g] >> 4 * r;
            spread_row(s->code + 16 * g + 8 * r, b.qs[2 * g + r], high, high & 8);
        }
    }
}
