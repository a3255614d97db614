/* iq4.c - formats of four bits that name one of 16 uneven levels: IQ4_NL, IQ4_XS, MXFP4.  The file's nibble is the code.
 *
 *      qs         16 bytes for 32 weights: byte j holds weight j in its low and weight j + 16 in its high nibble
 *      IQ4_NL     d half; qs
 *      IQ4_XS     d half; scales_h u16; scales_l 4 bytes; 8 qs.  The scale of 32 weights has six bits, the low four in a nibble of
 *                 scales_l (the even group's low), the high two in bits 2g of scales_h; 32 is taken off
 *      MXFP4      e byte; qs.  The block's scale is 2^(e - 128): e has a bias of 127 and the levels are doubled
 */
#include <math.h>
#include <string.h>

#include "quant/formats.h"

static void spread_nibbles(uint8_t code[32], const uint8_t qs[16])
{
    for (int j = 0; j < 16; j++) {
        code[j] = qs[j] & 15;
        code[j + 16] = qs[j] >> 4;
    }
}

void lt_spread_iq4_nl(const void *block, lt_spread *s)
{
    lt_block_iq4_nl b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d);
    s->scale[0] = 1;
    spread_nibbles(s->code, b.qs);
}

void lt_spread_iq4_xs(const void *block, lt_spread *s)
{
    lt_block_iq4_xs b;
    memcpy(&b, block, sizeof b);
    s->d = lt_half_to_float(b.d);
    for (int g = 0; g < 8; g++) {
        int low = b.scales_l[g / 2] >> 4 * (g % 2) & 15, high = b.scales_h >> 2 * g & 3;
        s->scale[g] = (int8_t)((low | high << 4) - 32);
        spread_nibbles(s->code + 32 * g, b.qs + 16 * g);
    }
}

void lt_spread_mxfp4(const void *block, lt_spread *s)
{
    lt_block_mxfp4 b;
    memcpy(&b, block, sizeof b);
    s->d = ldexpf(1, b.e - 128); /* subnormal for e = 0 and 1, finite for 255 */
    s->scale[0] = 1;
    spread_nibbles(s->code, b.qs);
}
