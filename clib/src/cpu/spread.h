/* spread.h - one file block with its codes one a byte and its scales one a byte: what the packer lays into planes. */
#ifndef LT_SPREAD_H
#define LT_SPREAD_H

#include "cpu/panel.h"

typedef struct {
    uint16_t d16, m16; /* as the panel stores them: half, half or bf16; m16: the min, or dmin */
    float d;           /* of D_FLOAT forms */
    uint8_t scale[16], min[16];
    uint8_t code[256];
} lt_codes;

/* Spreads the block (or 32-value block) at `block` of a quantised type that lt_form_of knows. */
typedef void lt_spreader(const void *block, lt_codes *s);
lt_spreader *lt_spreader_of(int32_t ggml_type);

#endif
