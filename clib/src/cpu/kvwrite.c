/* kvwrite.c - one token's keys and values of one head into its cell of a page (layout: kvpage.h). */
#include "cpu/internal.h"

#include <math.h>
#include <string.h>

#include "quant/quant.h"

/* Floats: value i goes to cell at + i * step. */
static void write_floats(const lt_kernels *k, int32_t type, uint8_t *cells, size_t at, size_t step, const float *x, int32_t n)
{
    uint16_t half[LT_MAX_HEAD_DIM];
    if (type == LT_KV_F32) {
        for (int32_t i = 0; i < n; i++)
            ((float *)cells)[at + (size_t)i * step] = x[i];
        return;
    }
    if (type == LT_KV_F16)
        k->to_half(half, x, n);
    else
        for (int32_t i = 0; i < n; i++)
            half[i] = lt_float_to_bf16(x[i]);
    for (int32_t i = 0; i < n; i++)
        ((uint16_t *)cells)[at + (size_t)i * step] = half[i];
}

/* One group of at most 64 values as integers with their scale; a half scale is a little larger than it must be, so that the
 * codes fit whichever way it was rounded. */
static void encode_group(const lt_kernels *k, int32_t type, const float *x, int32_t n, int16_t code[64], uint8_t *scale_at)
{
    if (type == LT_KV_I16) {
        const float scale = k->encode(x, n, LT_I16_MAX, code);
        memcpy(scale_at, &scale, sizeof scale);
        return;
    }
    int16_t fine[64];
    const float largest = k->encode(x, n, 1, fine);
    const uint16_t half = lt_float_to_half(largest / 126.9f);
    const float scale = lt_half_to_float(half), inverse = scale > 0.0f && scale < INFINITY ? 1.0f / scale : 0.0f;
    memcpy(scale_at, &half, sizeof half);
    for (int32_t i = 0; i < n; i++) {
        const float y = scale < INFINITY ? x[i] * inverse : 0.0f;
        code[i] = (int16_t)rintf(y > 127.0f ? 127.0f : y < -127.0f ? -127.0f : y);
    }
}

static void store_code(int32_t type, uint8_t *cells, size_t at, int16_t code)
{
    if (type == LT_KV_I16)
        ((int16_t *)cells)[at] = code;
    else
        ((int8_t *)cells)[at] = (int8_t)code;
}

static void write_integers(const lt_kernels *k, int32_t type, uint8_t *page, size_t codes_bytes, int32_t slot, const float *x, int32_t n,
                           bool is_key, int32_t v_stride)
{
    const int32_t group = lt_kv_types[type].group;
    uint8_t *scales = page + codes_bytes + (size_t)slot * lt_kv_types[type].scale_bytes;
    for (int32_t first = 0; first < n; first += group, scales += LT_PAGE_KEYS * lt_kv_types[type].scale_bytes) {
        int16_t code[64];
        const int32_t n_here = n - first < group ? n - first : group;
        encode_group(k, type, x + first, n_here, code, scales);
        for (int32_t i = first; i < first + n_here; i++)
            store_code(type, page,
                       is_key ? (size_t)(i / 2 * LT_PAGE_KEYS + slot) * 2 + (size_t)(i % 2)
                              : (size_t)(slot / 2 * v_stride + i) * 2 + (size_t)(slot % 2),
                       code[i - first]);
    }
}

void lt_write_key(const lt_kernels *k, int32_t type, uint8_t *page, int32_t slot, const float *x, int32_t k_dim)
{
    if (!lt_kv_types[type].group) {
        write_floats(k, type, page, (size_t)slot, LT_PAGE_KEYS, x, k_dim);
        return;
    }
    write_integers(k, type, page, lt_k_codes_bytes(type, k_dim), slot, x, k_dim, true, 0);
    if (k_dim % 2) /* the last pair's other half: its factor is zero, but the cell must be a number */
        store_code(type, page, (size_t)(k_dim / 2 * LT_PAGE_KEYS + slot) * 2 + 1, 0);
}

void lt_write_value(const lt_kernels *k, int32_t type, uint8_t *page, int32_t slot, const float *x, int32_t v_dim)
{
    const int32_t v_stride = lt_v_stride(v_dim);
    if (!lt_kv_types[type].group)
        write_floats(k, type, page, (size_t)(slot * v_stride), 1, x, v_dim);
    else
        write_integers(k, type, page, lt_v_codes_bytes(type, v_dim), slot, x, v_dim, false, v_stride);
}
