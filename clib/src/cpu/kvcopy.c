/* kvcopy.c - whole pages of the KV cache: from page to page, out of it and in again (layout: kvpage.h). */
#include "cpu/internal.h"

#include <string.h>

#include "cpu/kvpage.h"

static size_t lane_bytes(const cpu_backend *be, int32_t layer) /* of a page, one kv head */
{
    return be->layers[layer].k_page_bytes + be->layers[layer].v_page_bytes;
}

void lt_cpu_copy_page(lt_backend *base, int32_t src, int32_t dst)
{
    cpu_backend *be = cpu_of(base);
    for (int32_t layer = 0; layer < be->kv.n_layers; layer++)
        for (int32_t head = 0; head < be->layers[layer].shape.n_head_kv; head++)
            memcpy(lt_cpu_k_page(be, dst, layer, head), lt_cpu_k_page(be, src, layer, head), lane_bytes(be, layer));
}

/* ---- zeros where no token is: what lies there is of no use and may be another history's ---- */

/* The cells n..63 of each of n_lines lines of a cell per token. */
static void blank_lines(uint8_t *lines, size_t n_lines, size_t cell_bytes, int32_t n)
{
    for (size_t i = 0; i < n_lines; i++)
        memset(lines + (i * LT_PAGE_KEYS + (size_t)n) * cell_bytes, 0, (size_t)(LT_PAGE_KEYS - n) * cell_bytes);
}

static void blank_keys(const cpu_backend *be, const kv_layer *l, uint8_t *page, int32_t n)
{
    const int32_t type = be->kv.k_type, dim = l->shape.k_dim;
    const lt_kv_traits t = lt_kv_types[type];
    const size_t codes = lt_k_codes_bytes(type, dim), scales = lt_kv_scales_bytes(type, dim),
                 cell = t.group ? 2u * t.value_bytes : t.value_bytes;
    blank_lines(page, codes / (LT_PAGE_KEYS * cell), cell, n);
    blank_lines(page + codes, (size_t)lt_kv_groups(type, dim), t.scale_bytes, n);
    memset(page + codes + scales, 0, l->k_page_bytes - codes - scales);
}

/* A row holds the values of one token, or of two in turn: then the second may be missing alone. */
static void blank_values(const cpu_backend *be, const kv_layer *l, uint8_t *page, int32_t n)
{
    const int32_t type = be->kv.v_type, dim = l->shape.v_dim;
    const lt_kv_traits t = lt_kv_types[type];
    const size_t codes = lt_v_codes_bytes(type, dim), scales = lt_kv_scales_bytes(type, dim), tokens = t.group ? 2 : 1;
    const size_t item = tokens * t.value_bytes, row = l->v_stride * item, used = (size_t)dim * item,
                 full = ((size_t)n + tokens - 1) / tokens;
    for (size_t i = 0; i < full; i++)
        memset(page + i * row + used, 0, row - used);
    for (size_t i = 0; (size_t)n < full * tokens && i < (size_t)dim; i++)
        memset(page + (full - 1) * row + i * item + t.value_bytes, 0, t.value_bytes);
    memset(page + full * row, 0, codes - full * row);
    blank_lines(page + codes, (size_t)lt_kv_groups(type, dim), t.scale_bytes, n);
    memset(page + codes + scales, 0, l->v_page_bytes - codes - scales);
}

/* ---- values that are never written: they would reach every sum they are part of, or overflow it ---- */

/* Whether one of n numbers of 16 bits, masked, is at or above a limit. */
static bool any_16(const uint8_t *p, size_t n, uint16_t mask, uint16_t limit)
{
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        uint16_t u;
        memcpy(&u, p + 2 * i, sizeof u);
        found |= (u & mask) >= limit;
    }
    return found;
}

static bool any_32(const uint8_t *p, size_t n, uint32_t mask, uint32_t limit)
{
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, p + 4 * i, sizeof u);
        found |= (u & mask) >= limit;
    }
    return found;
}

static bool any_code_16(const uint8_t *p, size_t n)
{
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        int16_t code;
        memcpy(&code, p + 2 * i, sizeof code);
        found |= code > LT_I16_MAX || code < -LT_I16_MAX;
    }
    return found;
}

/* Floats must be finite, scales not negative either, codes as far from the end of their type as kvwrite.c leaves them. */
static bool is_sound(int32_t type, const uint8_t *codes, size_t codes_bytes, size_t scales_bytes)
{
    const uint8_t *scales = codes + codes_bytes;
    switch (type) {
    case LT_KV_F32:
        return !any_32(codes, codes_bytes / 4, 0x7f800000, 0x7f800000);
    case LT_KV_F16:
        return !any_16(codes, codes_bytes / 2, 0x7c00, 0x7c00);
    case LT_KV_BF16:
        return !any_16(codes, codes_bytes / 2, 0x7f80, 0x7f80);
    case LT_KV_I16:
        return !any_code_16(codes, codes_bytes / 2) && !any_32(scales, scales_bytes / 4, 0xffffffff, 0x7f800000);
    default: /* LT_KV_Q8_0: only -128 is never written */
        return !memchr(codes, 0x80, codes_bytes) && !any_16(scales, scales_bytes / 2, 0xffff, 0x7c00);
    }
}

static int check_page(const cpu_backend *be, const uint8_t *in)
{
    const int32_t k_type = be->kv.k_type, v_type = be->kv.v_type;
    for (int32_t layer = 0; layer < be->kv.n_layers; layer++) {
        const kv_layer *l = &be->layers[layer];
        const int32_t k_dim = l->shape.k_dim, v_dim = l->shape.v_dim;
        for (int32_t head = 0; head < l->shape.n_head_kv; head++, in += lane_bytes(be, layer))
            if (!is_sound(k_type, in, lt_k_codes_bytes(k_type, k_dim), lt_kv_scales_bytes(k_type, k_dim)) ||
                !is_sound(v_type, in + l->k_page_bytes, lt_v_codes_bytes(v_type, v_dim), lt_kv_scales_bytes(v_type, v_dim)))
                return lt_fail(LT_E_FORMAT, "layer %d: keys or values of a page are not finite or out of range", layer);
    }
    return LT_OK;
}

/* ---- out and in: [layer][kv head] K | V ---- */

void lt_cpu_read_page(lt_backend *base, int32_t page, int32_t n_tokens, void *out)
{
    const cpu_backend *be = cpu_of(base);
    uint8_t *at = out;
    for (int32_t layer = 0; layer < be->kv.n_layers; layer++) {
        const kv_layer *l = &be->layers[layer];
        for (int32_t head = 0; head < l->shape.n_head_kv; head++, at += lane_bytes(be, layer)) {
            memcpy(at, lt_cpu_k_page(be, page, layer, head), lane_bytes(be, layer));
            blank_keys(be, l, at, n_tokens);
            blank_values(be, l, at + l->k_page_bytes, n_tokens);
        }
    }
}

int lt_cpu_write_page(lt_backend *base, int32_t page, int32_t n_tokens, const void *in)
{
    const cpu_backend *be = cpu_of(base);
    const uint8_t *at = in;
    LT_TRY(check_page(be, in));
    for (int32_t layer = 0; layer < be->kv.n_layers; layer++) {
        const kv_layer *l = &be->layers[layer];
        for (int32_t head = 0; head < l->shape.n_head_kv; head++, at += lane_bytes(be, layer)) {
            memcpy(lt_cpu_k_page(be, page, layer, head), at, lane_bytes(be, layer));
            blank_keys(be, l, lt_cpu_k_page(be, page, layer, head), n_tokens);
            blank_values(be, l, lt_cpu_v_page(be, page, layer, head), n_tokens);
        }
    }
    return LT_OK;
}
