/* iq2.c - IQ2_XXS, IQ2_XS, IQ2_S: 2.06 to 2.56 bits a weight.  Eight weights are a row of a grid of 8, 25, 43, and eight signs.
 *
 *      IQ2_XXS d half; qs 8 times, for 32 weights: four bytes (rows), then a u32
 *                           | scale | signs 3 | signs 2 | signs 1 | signs 0 |
 *                      bit     28       21        14         7         0
 *      IQ2_XS  d half; qs 32 u16, for eight weights each: | signs | row |    scales 8 bytes
 *                                                   bit       9     0
 *      IQ2_S   d half; qs 32 bytes: low eight bits of a row; signs 32 bytes, one bit for each weight
 *              qh 8 bytes: the high two bits of four rows, the first lowest; scales 8 bytes
 *
 * Signs in seven bits: the eighth is their parity.  A scale s (four bits) stands for (2s + 1) / 8; in IQ2_XXS it is shared by 32
 * weights, in the other two by 16, the even group's in the low nibble. */
#include <string.h>

#include "quant/formats.h"
#include "quant/iq_grids.h"

void lt_spread_iq2_xxs(const void *block, lt_spread *s)
{
    lt_block_iq2_xxs b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d) / 8;
    for (int g = 0; g < 8; g++) {
        const uint8_t *rows = b.qs + 8 * g;
        uint32_t rest;
        memcpy(&rest, rows + 4, sizeof rest);
        s->scale[g] = (int8_t)(2 * (rest >> 28) + 1);
        for (int r = 0; r < 4; r++)
            lt_grid_codes_2bit(s->code + 32 * g + 8 * r, lt_grid_iq2xxs[rows[r]], lt_signs_of_7(rest >> 7 * r));
    }
}

static void spread_scales(int8_t scale[16], const uint8_t nibbles[8])
{
    for (int g = 0; g < 16; g++)
        scale[g] = (int8_t)(2 * (nibbles[g / 2] >> 4 * (g % 2) & 15) + 1);
}

void lt_spread_iq2_xs(const void *block, lt_spread *s)
{
    lt_block_iq2_xs b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d) / 8;
    spread_scales(s->scale, b.scales);
    for (int r = 0; r < 32; r++)
        lt_grid_codes_2bit(s->code + 8 * r, lt_grid_iq2xs[b.qs[r] & 511], lt_signs_of_7(b.qs[r] >> 9));
}

void lt_spread_iq2_s(const void *block, lt_spread *s)
{
    lt_block_iq2_s b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d) / 8;
    spread_scales(s->scale, b.scales);
    for (int r = 0; r < 32; r++) {
        int high = b.qh[r / 4] >> 2 * (r % 4) & 3;
        lt_grid_codes_2bit(s->code + 8 * r, lt_grid_iq2s[b.qs[r] | high << 8], b.signs[r]);
    }
}
