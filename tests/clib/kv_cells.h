/* kv_cells.h - what lies in a page of the KV cache, read value by value (layout: cpu/kvpage.h). */
#ifndef KV_CELLS_H
#define KV_CELLS_H

#include "cpu/kvpage.h"
#include "quant/quant.h"

static inline double float_cell(int type, const uint8_t *page, size_t at)
{
    return type == LT_KV_F32   ? (double)((const float *)page)[at]
           : type == LT_KV_F16 ? (double)lt_half_to_float(((const uint16_t *)page)[at])
                               : (double)lt_bf16_to_float(((const uint16_t *)page)[at]);
}

static inline int code_cell(int type, const uint8_t *page, size_t at)
{
    return type == LT_KV_I16 ? ((const int16_t *)page)[at] : ((const int8_t *)page)[at];
}

static inline double scale_cell(int type, const uint8_t *scales, size_t at)
{
    return type == LT_KV_I16 ? (double)((const float *)scales)[at] : (double)lt_half_to_float(((const uint16_t *)scales)[at]);
}

/* Dimension i of the key in a slot. */
static inline double key_cell(int type, const uint8_t *page, int k_dim, int slot, int i)
{
    const size_t dim = (size_t)i;
    if (!lt_kv_types[type].group)
        return float_cell(type, page, dim * 64 + (size_t)slot);
    return code_cell(type, page, (dim / 2 * 64 + (size_t)slot) * 2 + dim % 2) *
           scale_cell(type, page + lt_k_codes_bytes(type, k_dim), dim / lt_kv_types[type].group * 64 + (size_t)slot);
}

static inline double value_cell(int type, const uint8_t *page, int v_dim, int slot, int i)
{
    const size_t dim = (size_t)i, stride = (size_t)lt_v_stride(v_dim), at = (size_t)slot;
    if (!lt_kv_types[type].group)
        return float_cell(type, page, at * stride + dim);
    return code_cell(type, page, (at / 2 * stride + dim) * 2 + at % 2) *
           scale_cell(type, page + lt_v_codes_bytes(type, v_dim), dim / lt_kv_types[type].group * 64 + at);
}

#endif
