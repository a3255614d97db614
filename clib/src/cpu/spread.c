/* spread.c - which form each file format becomes, and how one block of it is spread out.
 *
 * Written as loops over runs of bytes, so that plain compilers vectorise them: a gigabyte of weights passes here at load. */
#include "cpu/spread.h"

#include <string.h>

#include "quant/quant.h"

static void nibbles(const uint8_t *qs, int n, uint8_t *code) /* n low nibbles, then the n high ones */
{
    for (int i = 0; i < n; i++) {
        code[i] = qs[i] & 15;
        code[i + n] = qs[i] >> 4;
    }
}

static void bits2(const uint8_t *qs, int n, uint8_t *code) /* four runs of n, from the lowest bits up */
{
    for (int shift = 0; shift < 8; shift += 2, code += n)
        for (int i = 0; i < n; i++)
            code[i] = qs[i] >> shift & 3;
}

static void add_fifth_bits(const uint8_t *qh, uint8_t *code)
{
    uint32_t high;
    memcpy(&high, qh, 4);
    for (int i = 0; i < 32; i++)
        code[i] |= (uint8_t)((high >> i & 1) << 4);
}

static void spread_q4_0(const void *block, lt_codes *s)
{
    const lt_block_q4_0 *b = block;
    s->d16 = b->d;
    nibbles(b->qs, 16, s->code);
}
static void spread_q4_1(const void *block, lt_codes *s)
{
    const lt_block_q4_1 *b = block;
    s->d16 = b->d, s->m16 = b->m;
    nibbles(b->qs, 16, s->code);
}
static void spread_q5_0(const void *block, lt_codes *s)
{
    const lt_block_q5_0 *b = block;
    s->d16 = b->d;
    nibbles(b->qs, 16, s->code);
    add_fifth_bits(b->qh, s->code);
}
static void spread_q5_1(const void *block, lt_codes *s)
{
    const lt_block_q5_1 *b = block;
    s->d16 = b->d, s->m16 = b->m;
    nibbles(b->qs, 16, s->code);
    add_fifth_bits(b->qh, s->code);
}
static void spread_q8_0(const void *block, lt_codes *s)
{
    const lt_block_q8_0 *b = block;
    s->d16 = b->d;
    for (int i = 0; i < 32; i++)
        s->code[i] = (uint8_t)b->qs[i] ^ 0x80; /* w + 128 */
}

static void spread_q2_k(const void *block, lt_codes *s)
{
    const lt_block_q2_k *b = block;
    s->d16 = b->d, s->m16 = b->dmin;
    memcpy(s->scale, b->scales, 16); /* scale | min << 4, kept as one byte */
    bits2(b->qs, 32, s->code);
    bits2(b->qs + 32, 32, s->code + 128);
}
static void spread_q3_k(const void *block, lt_codes *s)
{
    const lt_block_q3_k *b = block;
    s->d16 = b->d;
    for (int i = 0; i < 16; i++) { /* 6 bits: four in the first eight bytes, two in the last four */
        int low = i < 8 ? b->scales[i] & 15 : b->scales[i - 8] >> 4, high = b->scales[8 + i % 4] >> (2 * (i / 4)) & 3;
        s->scale[i] = (uint8_t)(int8_t)((low | high << 4) - 32);
    }
    bits2(b->qs, 32, s->code);
    bits2(b->qs + 32, 32, s->code + 128);
    for (int run = 0; run < 8; run++)
        for (int i = 0; i < 32; i++)
            s->code[32 * run + i] |= (uint8_t)((b->hmask[i] >> run & 1) << 2);
}
/* Q4_K, Q5_K: eight scales and mins of 6 bits in 12 bytes */
static void spread_k_scales(const uint8_t *p, lt_codes *s)
{
    for (int i = 0; i < 4; i++) {
        s->scale[i] = p[i] & 63;
        s->min[i] = p[i + 4] & 63;
        s->scale[i + 4] = (uint8_t)((p[i + 8] & 15) | (p[i] >> 6) << 4);
        s->min[i + 4] = (uint8_t)((p[i + 8] >> 4) | (p[i + 4] >> 6) << 4);
    }
}
static void spread_q4_k(const void *block, lt_codes *s)
{
    const lt_block_q4_k *b = block;
    s->d16 = b->d, s->m16 = b->dmin;
    spread_k_scales(b->scales, s);
    for (int run = 0; run < 4; run++)
        nibbles(b->qs + 32 * run, 32, s->code + 64 * run);
}
static void spread_q5_k(const void *block, lt_codes *s)
{
    const lt_block_q5_k *b = block;
    s->d16 = b->d, s->m16 = b->dmin;
    spread_k_scales(b->scales, s);
    for (int run = 0; run < 4; run++)
        nibbles(b->qs + 32 * run, 32, s->code + 64 * run);
    for (int run = 0; run < 8; run++)
        for (int i = 0; i < 32; i++)
            s->code[32 * run + i] |= (uint8_t)((b->qh[i] >> run & 1) << 4);
}
static void spread_q6_k(const void *block, lt_codes *s)
{
    const lt_block_q6_k *b = block;
    s->d16 = b->d;
    memcpy(s->scale, b->scales, 16);
    for (int half = 0; half < 2; half++) {
        uint8_t high[128];
        nibbles(b->ql + 64 * half, 64, s->code + 128 * half);
        bits2(b->qh + 32 * half, 32, high);
        for (int i = 0; i < 128; i++)
            s->code[128 * half + i] |= (uint8_t)(high[i] << 4);
    }
}

/* Formats of levels come spread from quant/; only where their scale goes differs. */
static void spread_levels(int32_t type, const void *block, lt_codes *s)
{
    lt_spread levels;
    const lt_levels *f = lt_levels_find(type);
    const int n_values = lt_quant_find(type)->block_values, n_groups = n_values / f->group_values;
    uint32_t bits;
    f->spread(block, &levels);
    memcpy(&bits, &levels.d, sizeof bits);
    s->d = levels.d;
    s->d16 = type == LT_MXFP4 ? (uint16_t)(bits >> 16) : lt_float_to_half(levels.d); /* exact where it is used */
    memcpy(s->scale, levels.scale, (size_t)n_groups);
    memcpy(s->code, levels.code, (size_t)n_values);
}

#define LEVELS(name, type)                                                                                                                 \
    static void spread_##name(const void *block, lt_codes *s)                                                                              \
    {                                                                                                                                      \
        spread_levels(type, block, s);                                                                                                     \
    }
LEVELS(iq1_s, LT_IQ1_S)
LEVELS(iq1_m, LT_IQ1_M)
LEVELS(iq2_xxs, LT_IQ2_XXS)
LEVELS(iq2_xs, LT_IQ2_XS)
LEVELS(iq2_s, LT_IQ2_S)
LEVELS(iq3_xxs, LT_IQ3_XXS)
LEVELS(iq3_s, LT_IQ3_S)
LEVELS(iq4_nl, LT_IQ4_NL)
LEVELS(iq4_xs, LT_IQ4_XS)
LEVELS(tq1_0, LT_TQ1_0)
LEVELS(tq2_0, LT_TQ2_0)
LEVELS(mxfp4, LT_MXFP4)

static const struct {
    int8_t form; /* lt_form + 1 */
    lt_spreader *spread;
} types[] = {
    [LT_F32] = {LT_FORM_F32 + 1, NULL},
    [LT_F16] = {LT_FORM_F16 + 1, NULL},
    [LT_BF16] = {LT_FORM_BF16 + 1, NULL},
    [LT_Q4_0] = {LT_FORM_Q4_0 + 1, spread_q4_0},
    [LT_Q4_1] = {LT_FORM_Q4_1 + 1, spread_q4_1},
    [LT_Q5_0] = {LT_FORM_Q5_0 + 1, spread_q5_0},
    [LT_Q5_1] = {LT_FORM_Q5_1 + 1, spread_q5_1},
    [LT_Q8_0] = {LT_FORM_Q8_0 + 1, spread_q8_0},
    [LT_Q2_K] = {LT_FORM_Q2_K + 1, spread_q2_k},
    [LT_Q3_K] = {LT_FORM_Q3_K + 1, spread_q3_k},
    [LT_Q4_K] = {LT_FORM_Q4_K + 1, spread_q4_k},
    [LT_Q5_K] = {LT_FORM_Q5_K + 1, spread_q5_k},
    [LT_Q6_K] = {LT_FORM_Q6_K + 1, spread_q6_k},
    [LT_IQ1_S] = {LT_FORM_LEVELS_3 + 1, spread_iq1_s},
    [LT_IQ1_M] = {LT_FORM_LEVELS_3_HALF + 1, spread_iq1_m},
    [LT_IQ2_XXS] = {LT_FORM_LEVELS_3 + 1, spread_iq2_xxs},
    [LT_IQ2_XS] = {LT_FORM_LEVELS_3_HALF + 1, spread_iq2_xs},
    [LT_IQ2_S] = {LT_FORM_LEVELS_3_HALF + 1, spread_iq2_s},
    [LT_IQ3_XXS] = {LT_FORM_LEVELS_4 + 1, spread_iq3_xxs},
    [LT_IQ3_S] = {LT_FORM_LEVELS_4 + 1, spread_iq3_s},
    [LT_IQ4_NL] = {LT_FORM_IQ4_NL + 1, spread_iq4_nl},
    [LT_IQ4_XS] = {LT_FORM_LEVELS_4 + 1, spread_iq4_xs},
    [LT_TQ1_0] = {LT_FORM_TERNARY + 1, spread_tq1_0},
    [LT_TQ2_0] = {LT_FORM_TERNARY + 1, spread_tq2_0},
    [LT_MXFP4] = {LT_FORM_MXFP4 + 1, spread_mxfp4},
};

int lt_form_of(int32_t type)
{
    return type >= 0 && type < (int32_t)(sizeof types / sizeof *types) ? types[type].form - 1 : -1;
}

lt_spreader *lt_spreader_of(int32_t type)
{
    return types[type].spread;
}

void lt_form_levels(int32_t type, uint8_t levels[16])
{
    const lt_levels *f = lt_levels_find(type);
    for (int i = 0; i < 16; i++)
        levels[i] = f && lt_forms[lt_form_of(type)].codes == CODES_LEVELS ? (uint8_t)(f->level[i] + 128) : 0;
}
