/* iq3.c - IQ3_XXS and IQ3_S: 3.06 and 3.44 bits a weight.  Four weights are a row of a grid of eight levels, and four signs.
 *
 *      IQ3_XXS d half; qs 64 bytes: a row for weights 4k to 4k + 3; signs 8 u32, one for 32 weights
 *                           | scale | signs 3 | signs 2 | signs 1 | signs 0 |    each for eight weights, the eighth is the parity
 *                      bit     28       21        14         7         0
 *              a scale s stands for (2s + 1) / 4
 *      IQ3_S   d half; qs 64 bytes: the low eight bits of a row; qh 8 bytes: the ninth bits, of row k in bit k % 8 of byte k / 8
 *              signs 32 bytes, one bit for each weight; scales 4 bytes: a nibble for 32 weights, the even group's low
 *              a scale s stands for 2s + 1 */
#include <string.h>

#include "quant/formats.h"
#include "quant/iq_grids.h"

void lt_spread_iq3_xxs(const void *block, lt_spread *s)
{
    lt_block_iq3_xxs b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d) / 4;
    for (int g = 0; g < 8; g++) {
        uint32_t rest;
        memcpy(&rest, b.signs + 4 * g, sizeof rest);
        s->scale[g] = (int8_t)(2 * (rest >> 28) + 1);
        for (int r = 0; r < 8; r++) {
            uint8_t signs = lt_signs_of_7(rest >> 7 * (r / 2));
            lt_grid_codes_3bit(s->code + 32 * g + 4 * r, lt_grid_iq3xxs[b.qs[8 * g + r]], (uint8_t)(signs >> 4 * (r % 2)));
        }
    }
}

void lt_spread_iq3_s(const void *block, lt_spread *s)
{
    lt_block_iq3_s b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d);
    for (int g = 0; g < 8; g++)
        s->scale[g] = (int8_t)(2 * (b.scales[g / 2] >> 4 * (g % 2) & 15) + 1);
    for (int r = 0; r < 64; r++) {
        int high = b.qh[r / 8] >> r % 8 & 1, signs = b.signs[r / 2] >> 4 * (r % 2);
        lt_grid_codes_3bit(s->code + 4 * r, lt_grid_iq3s[b.qs[r] | high << 8], (uint8_t)signs);
    }
}
