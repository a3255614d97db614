/* iq_grids.h - the code grids of the IQ formats: each names the few combinations of levels that a group of weights may take.
 *
 *      bit    14   12   10    8    6    4    2    0
 *      2-bit  v7 | v6 | v5 | v4 | v3 | v2 | v1 | v0      eight weights, each the number 0-2 of one of three levels
 *
 *      bit         9       6       3       0
 *      3-bit   v3  |  v2   |  v1   |  v0                 four weights, each the number 0-7 of one of eight levels
 *
 * A row holds level numbers, not levels: those are the format's own (levels.c).  The rows are published constants which a file
 * names by index; there is no formula behind them. */
#ifndef LT_IQ_GRIDS_H
#define LT_IQ_GRIDS_H

#include <stdint.h>

extern const uint16_t lt_grid_iq2xxs[256], lt_grid_iq2xs[512], lt_grid_iq2s[1024], lt_grid_iq1s[2048]; /* 2-bit */
extern const uint16_t lt_grid_iq3xxs[256], lt_grid_iq3s[512];                                          /* 3-bit */

/* The codes of eight weights: level numbers, and sign bit i becomes bit 2 of code i. */
static inline void lt_grid_codes_2bit(uint8_t code[8], uint16_t row, uint8_t signs)
{
    for (int i = 0; i < 8; i++)
        code[i] = (uint8_t)((row >> 2 * i & 3) | (signs >> i & 1) << 2);
}

/* The codes of four weights: level numbers, and sign bit i becomes bit 3 of code i. */
static inline void lt_grid_codes_3bit(uint8_t code[4], uint16_t row, uint8_t signs)
{
    for (int i = 0; i < 4; i++)
        code[i] = (uint8_t)((row >> 3 * i & 7) | (signs >> i & 1) << 3);
}

/* Seven signs are stored, the eighth makes the number of minuses even. */
static inline uint8_t lt_signs_of_7(uint32_t stored)
{
    return (uint8_t)((stored & 127) | (uint32_t)__builtin_parity(stored & 127) << 7);
}

#endif
