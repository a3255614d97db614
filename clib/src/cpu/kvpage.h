/* kvpage.h - how the keys and values of 64 tokens lie in one page of one layer and kv head.
 *
 *      floats     K [k_dim][64]                       V [64][v_stride]
 *      integers   K [k_dim / 2][64][2] | scales       V [32][v_stride][2] | scales       scales: [groups][64]
 *
 * Integers come in the pairs that one instruction multiplies and adds: two dimensions of a key, two keys of a dimension.  Each
 * group of 64 (I16) or 32 (Q8_0) dimensions of a token has a scale of its own, so that tokens are written once, when they come.
 * I16 is as fine as half floats: 13 bits below the largest of its group, where a half has 11 below each value's own size. */
#ifndef LT_KVPAGE_H
#define LT_KVPAGE_H

#include "llamatw.h"

#include "core/status.h"

enum { LT_PAGE_KEYS = 64, LT_Q_GROUP = 64 /* dimensions of a query that share a scale */, LT_I16_MAX = 8191, LT_Q_MAX = 4095 };

typedef struct {
    uint8_t value_bytes, scale_bytes;
    uint8_t group; /* dimensions that share a scale; 0: floats */
} lt_kv_traits;

static const lt_kv_traits lt_kv_types[] = {
    [LT_KV_F32] = {4, 0, 0}, [LT_KV_F16] = {2, 0, 0}, [LT_KV_BF16] = {2, 0, 0}, [LT_KV_I16] = {2, 4, 64}, [LT_KV_Q8_0] = {1, 2, 32},
};
enum { LT_KV_TYPES = 5 };

static inline int32_t lt_kv_groups(int32_t type, int32_t dim)
{
    const int32_t group = lt_kv_types[type].group;
    return group ? (dim + group - 1) / group : 0;
}
static inline int32_t lt_v_stride(int32_t v_dim)
{
    return (v_dim + 15) & ~15;
}
static inline size_t lt_k_codes_bytes(int32_t type, int32_t k_dim)
{
    return (size_t)(lt_kv_types[type].group ? (k_dim + 1) & ~1 : k_dim) * LT_PAGE_KEYS * lt_kv_types[type].value_bytes;
}
static inline size_t lt_v_codes_bytes(int32_t type, int32_t v_dim)
{
    return (size_t)lt_v_stride(v_dim) * LT_PAGE_KEYS * lt_kv_types[type].value_bytes;
}
static inline size_t lt_kv_scales_bytes(int32_t type, int32_t dim)
{
    return (size_t)lt_kv_groups(type, dim) * LT_PAGE_KEYS * lt_kv_types[type].scale_bytes;
}

#endif
