/* quant.h - ggml block formats: one traits row each, and the reference dequantiser, which is the truth for every kernel.
 *
 * Results are bit for bit those of the `gguf` Python package (numpy float32): same operations, same order, no contraction. */
#ifndef LT_QUANT_H
#define LT_QUANT_H

#include "core/status.h"

enum { /* ggml type numbers */
    LT_F32 = 0, LT_F16 = 1, LT_Q4_0 = 2, LT_Q4_1 = 3, LT_Q5_0 = 6, LT_Q5_1 = 7, LT_Q8_0 = 8,
    LT_Q2_K = 10, LT_Q3_K = 11, LT_Q4_K = 12, LT_Q5_K = 13, LT_Q6_K = 14,
    LT_IQ2_XXS = 16, LT_IQ2_XS = 17, LT_IQ3_XXS = 18, LT_IQ1_S = 19, LT_IQ4_NL = 20, LT_IQ3_S = 21, LT_IQ2_S = 22, LT_IQ4_XS = 23,
    LT_IQ1_M = 29, LT_BF16 = 30, LT_TQ1_0 = 34, LT_TQ2_0 = 35, LT_MXFP4 = 39
};

typedef struct {
    const char *name;
    int32_t type;
    int32_t block_values; /* elements in a block: 1, 32, 256 */
    int32_t block_bytes;
    void (*dequantize)(const void *src, float *dst, int64_t n_values); /* NULL: only the name and size are known */
} lt_quant_traits;

const lt_quant_traits *lt_quant_find(int32_t type); /* NULL: unknown or removed type number */

float lt_half_to_float(uint16_t h);
uint16_t lt_float_to_half(float f); /* round to nearest even */
static inline float lt_bf16_to_float(uint16_t h)
{
    union { uint32_t u; float f; } v = {.u = (uint32_t)h << 16};
    return v.f;
}
static inline uint16_t lt_float_to_bf16(float f) /* round to nearest even; NaN stays NaN */
{
    const union { float f; uint32_t u; } v = {f};
    return (uint16_t)(f != f ? v.u >> 16 | 64 : (v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}

/* Formats of levels: a weight is one of at most 16 small integers, named by a code of at most 4 bits.  Weight i of a block is
 *
 *      d * scale[i / group_values] * level[code[i]]
 *
 * in float32, where both products are exact (MXFP4 may overflow): their order does not matter, and an integer sum may be scaled
 * afterwards. */
typedef struct {       /* one block, spread out */
    float d;           /* the file's scale with the format's constant factor in it: d / 8, d / 4, d; may be infinite or NaN */
    int8_t scale[16];  /* one for each group, -32 to 31; 1 in formats that have only d */
    uint8_t code[256]; /* one for each value of the block */
} lt_spread;

typedef struct {
    int32_t group_values; /* that share a scale: 16, 32, or the block of 256 */
    int32_t code_bits;    /* 2, 3, 4 */
    void (*spread)(const void *block, lt_spread *s); /* from any address; does not touch what the block has no use for */
    int8_t level[16];     /* of the first 1 << code_bits codes; 0 where no file leads */
} lt_levels;

const lt_levels *lt_levels_find(int32_t type); /* NULL: not a format of levels */

/* Block layouts as they lie in the file (packed, little-endian), for the packers. */
typedef struct { uint16_t d; uint8_t qs[16]; } lt_block_q4_0;
typedef struct { uint16_t d, m; uint8_t qs[16]; } lt_block_q4_1;
typedef struct { uint16_t d; uint8_t qh[4]; uint8_t qs[16]; } lt_block_q5_0;
typedef struct { uint16_t d, m; uint8_t qh[4]; uint8_t qs[16]; } lt_block_q5_1;
typedef struct { uint16_t d; int8_t qs[32]; } lt_block_q8_0;
typedef struct { uint8_t scales[16]; uint8_t qs[64]; uint16_t d, dmin; } lt_block_q2_k;
typedef struct { uint8_t hmask[32]; uint8_t qs[64]; uint8_t scales[12]; uint16_t d; } lt_block_q3_k;
typedef struct { uint16_t d, dmin; uint8_t scales[12]; uint8_t qs[128]; } lt_block_q4_k;
typedef struct { uint16_t d, dmin; uint8_t scales[12]; uint8_t qh[32]; uint8_t qs[128]; } lt_block_q5_k;
typedef struct { uint8_t ql[128]; uint8_t qh[64]; int8_t scales[16]; uint16_t d; } lt_block_q6_k;
typedef struct { uint16_t d; uint8_t qs[64]; } lt_block_iq2_xxs;
typedef struct { uint16_t d; uint16_t qs[32]; uint8_t scales[8]; } lt_block_iq2_xs;
typedef struct { uint16_t d; uint8_t qs[32]; uint8_t signs[32]; uint8_t qh[8]; uint8_t scales[8]; } lt_block_iq2_s;
typedef struct { uint16_t d; uint8_t qs[64]; uint8_t signs[32]; } lt_block_iq3_xxs;
typedef struct { uint16_t d; uint8_t qs[64]; uint8_t qh[8]; uint8_t signs[32]; uint8_t scales[4]; } lt_block_iq3_s;
typedef struct { uint16_t d; uint8_t qs[32]; uint16_t qh[8]; } lt_block_iq1_s;
typedef struct { uint8_t qs[32]; uint8_t qh[16]; uint16_t scales[4]; } lt_block_iq1_m;
typedef struct { uint16_t d; uint8_t qs[16]; } lt_block_iq4_nl;
typedef struct { uint16_t d, scales_h; uint8_t scales_l[4]; uint8_t qs[128]; } lt_block_iq4_xs;
typedef struct { uint8_t qs[48]; uint8_t qh[4]; uint16_t d; } lt_block_tq1_0;
typedef struct { uint8_t qs[64]; uint16_t d; } lt_block_tq2_0;
typedef struct { uint8_t e; uint8_t qs[16]; } lt_block_mxfp4;

#endif
