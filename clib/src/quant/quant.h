/* quant.h - ggml block formats: one traits row each, and the reference dequantiser, which is the truth for every kernel.
 *
 * Results are bit for bit those of the `gguf` Python package (numpy float32): same operations, same order, no contraction. */
#ifndef LT_QUANT_H
#define LT_QUANT_H

#include "core/status.h"

enum { /* ggml type numbers */
    LT_F32 = 0, LT_F16 = 1, LT_Q4_0 = 2, LT_Q4_1 = 3, LT_Q5_0 = 6, LT_Q5_1 = 7, LT_Q8_0 = 8,
    LT_Q2_K = 10, LT_Q3_K = 11, LT_Q4_K = 12, LT_Q5_K = 13, LT_Q6_K = 14, LT_BF16 = 30
};

typedef struct {
    const char *name;
    int32_t type;
    int32_t block_values; /* elements in a block: 1, 32, 256 */
    int32_t block_bytes;
    void (*dequantize)(const void *src, float *dst, int64_t n_values); /* NULL: the name and size are known, the format is not served yet */
} lt_quant_traits;

const lt_quant_traits *lt_quant_find(int32_t type); /* NULL: unknown or removed type number */

float lt_half_to_float(uint16_t h);
uint16_t lt_float_to_half(float f); /* round to nearest even */
static inline float lt_bf16_to_float(uint16_t h)
{
    union { uint32_t u; float f; } v = {.u = (uint32_t)h << 16};
    return v.f;
}

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

#endif
