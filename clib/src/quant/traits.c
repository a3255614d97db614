/* traits.c - one row per ggml type, and the public calls that read the table.
 *
 * Numbers that are missing here (4, 5, 31-33, 36-38) were types once and have been removed from the format. */
#include <inttypes.h>

#include "quant/formats.h"

_Static_assert(sizeof(lt_block_q4_0) == 18 && sizeof(lt_block_q4_1) == 20 && sizeof(lt_block_q5_0) == 22 && sizeof(lt_block_q5_1) == 24 &&
                   sizeof(lt_block_q8_0) == 34,
               "blocks are packed");
_Static_assert(sizeof(lt_block_q2_k) == 84 && sizeof(lt_block_q3_k) == 110 && sizeof(lt_block_q4_k) == 144 &&
                   sizeof(lt_block_q5_k) == 176 && sizeof(lt_block_q6_k) == 210,
               "blocks are packed");
_Static_assert(sizeof(lt_block_iq2_xxs) == 66 && sizeof(lt_block_iq2_xs) == 74 && sizeof(lt_block_iq2_s) == 82 &&
                   sizeof(lt_block_iq3_xxs) == 98 && sizeof(lt_block_iq3_s) == 110 && sizeof(lt_block_iq1_s) == 50 &&
                   sizeof(lt_block_iq1_m) == 56,
               "blocks are packed");
_Static_assert(sizeof(lt_block_iq4_nl) == 18 && sizeof(lt_block_iq4_xs) == 136 && sizeof(lt_block_tq1_0) == 54 &&
                   sizeof(lt_block_tq2_0) == 66 && sizeof(lt_block_mxfp4) == 17,
               "blocks are packed");

static const lt_quant_traits traits[] = {
    [0] = {"F32", 0, 1, 4, lt_dequantize_f32},
    [1] = {"F16", 1, 1, 2, lt_dequantize_f16},
    [2] = {"Q4_0", 2, 32, 18, lt_dequantize_q4_0},
    [3] = {"Q4_1", 3, 32, 20, lt_dequantize_q4_1},
    [6] = {"Q5_0", 6, 32, 22, lt_dequantize_q5_0},
    [7] = {"Q5_1", 7, 32, 24, lt_dequantize_q5_1},
    [8] = {"Q8_0", 8, 32, 34, lt_dequantize_q8_0},
    [9] = {"Q8_1", 9, 32, 40, NULL},
    [10] = {"Q2_K", 10, 256, 84, lt_dequantize_q2_k},
    [11] = {"Q3_K", 11, 256, 110, lt_dequantize_q3_k},
    [12] = {"Q4_K", 12, 256, 144, lt_dequantize_q4_k},
    [13] = {"Q5_K", 13, 256, 176, lt_dequantize_q5_k},
    [14] = {"Q6_K", 14, 256, 210, lt_dequantize_q6_k},
    [15] = {"Q8_K", 15, 256, 292, NULL},
    [16] = {"IQ2_XXS", 16, 256, 66, lt_dequantize_iq2_xxs},
    [17] = {"IQ2_XS", 17, 256, 74, lt_dequantize_iq2_xs},
    [18] = {"IQ3_XXS", 18, 256, 98, lt_dequantize_iq3_xxs},
    [19] = {"IQ1_S", 19, 256, 50, lt_dequantize_iq1_s},
    [20] = {"IQ4_NL", 20, 32, 18, lt_dequantize_iq4_nl},
    [21] = {"IQ3_S", 21, 256, 110, lt_dequantize_iq3_s},
    [22] = {"IQ2_S", 22, 256, 82, lt_dequantize_iq2_s},
    [23] = {"IQ4_XS", 23, 256, 136, lt_dequantize_iq4_xs},
    [24] = {"I8", 24, 1, 1, NULL},
    [25] = {"I16", 25, 1, 2, NULL},
    [26] = {"I32", 26, 1, 4, NULL},
    [27] = {"I64", 27, 1, 8, NULL},
    [28] = {"F64", 28, 1, 8, NULL},
    [29] = {"IQ1_M", 29, 256, 56, lt_dequantize_iq1_m},
    [30] = {"BF16", 30, 1, 2, lt_dequantize_bf16},
    [34] = {"TQ1_0", 34, 256, 54, lt_dequantize_tq1_0},
    [35] = {"TQ2_0", 35, 256, 66, lt_dequantize_tq2_0},
    [39] = {"MXFP4", 39, 32, 17, lt_dequantize_mxfp4},
    [40] = {"NVFP4", 40, 64, 36, NULL},
    [41] = {"Q1_0", 41, 128, 18, NULL},
};

const lt_quant_traits *lt_quant_find(int32_t type)
{
    int32_t n = (int32_t)(sizeof traits / sizeof *traits);
    return type >= 0 && type < n && traits[type].name ? &traits[type] : NULL;
}

const char *lt_type_name(int32_t type)
{
    const lt_quant_traits *t = lt_quant_find(type);
    return t ? t->name : NULL;
}

static int check_size(const lt_quant_traits *t, uint64_t n_bytes, uint64_t n_values)
{
    uint64_t n_blocks = n_values / (uint64_t)t->block_values;
    if (n_values % (uint64_t)t->block_values)
        return lt_fail(LT_E_ARG, "%" PRIu64 " values are not a multiple of the %s block, %" PRId32, n_values, t->name, t->block_values);
    if (n_values > PTRDIFF_MAX / sizeof(float) || n_bytes % (uint64_t)t->block_bytes || n_bytes / (uint64_t)t->block_bytes != n_blocks)
        return lt_fail(LT_E_ARG, "%" PRIu64 " %s values do not take %" PRIu64 " bytes", n_values, t->name, n_bytes);
    return LT_OK;
}

int lt_dequantize(int32_t type, const void *src, uint64_t n_bytes, float *dst, uint64_t n_values)
{
    const lt_quant_traits *t = lt_quant_find(type);
    if (!t)
        return lt_fail(LT_E_ARG, "type number %" PRId32 " is unknown or was removed from the format", type);
    if (!t->dequantize)
        return lt_fail(LT_E_UNSUPPORTED, "type %s is not supported", t->name);
    LT_TRY(check_size(t, n_bytes, n_values));
    if (n_values == 0)
        return LT_OK;
    if (!src || !dst)
        return lt_fail(LT_E_ARG, "lt_dequantize: NULL argument");
    t->dequantize(src, dst, (int64_t)n_values);
    return LT_OK;
}
