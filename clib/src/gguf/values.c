/* values.c - metadata by name and type: what the rest of the engine asks of a file. */
#include <inttypes.h>
#include <string.h>

#include "gguf/reader.h"

static float f32_of(uint32_t bits)
{
    union {
        uint32_t u;
        float f;
    } v = {bits};
    return v.f;
}

static double f64_of(uint64_t bits)
{
    union {
        uint64_t u;
        double f;
    } v = {bits};
    return v.f;
}

void lt_meta_scalar(int32_t type, const uint8_t *value, lt_meta *out)
{
    out->type = type;
    switch (type) {
    case LT_U8:
    case LT_BOOL:
        out->i = value[0];
        break;
    case LT_I8:
        out->i = (int8_t)value[0];
        break;
    case LT_U16:
        out->i = lt_le16(value);
        break;
    case LT_I16:
        out->i = (int16_t)lt_le16(value);
        break;
    case LT_U32:
        out->i = lt_le32(value);
        break;
    case LT_I32:
        out->i = (int32_t)lt_le32(value);
        break;
    case LT_U64:
    case LT_I64:
        out->i = (int64_t)lt_le64(value);
        break;
    case LT_FLOAT32:
        out->f = f32_of(lt_le32(value));
        break;
    case LT_FLOAT64:
        out->f = f64_of(lt_le64(value));
        break;
    case LT_STR:
        out->str_len = lt_le64(value);
        out->str = (const char *)value + 8;
        break;
    }
}

static int fail_type(const lt_part *part, const char *key, const char *wanted, const lt_pair *pair)
{
    if (pair->type != LT_ARRAY)
        return lt_fail(LT_E_FORMAT, "%s: key %s must be %s, is %s", part->map.shown, key, wanted, lt_meta_type_name(pair->type));
    return lt_fail(LT_E_FORMAT, "%s: key %s must be %s, is array of %s", part->map.shown, key, wanted, lt_meta_type_name(pair->item_type));
}

/* *out = NULL when the key is absent and need not be there. */
static int find(const lt_part *part, const char *key, bool required, const lt_pair **out)
{
    *out = lt_meta_find(part, key);
    if (!*out && required)
        return lt_fail(LT_E_FORMAT, "%s: required key %s is missing", part->map.shown, key);
    return LT_OK;
}

static int find_scalar(const lt_gguf *g, const char *key, bool required, int32_t type, const uint8_t **value)
{
    const lt_pair *pair;
    *value = NULL;
    LT_TRY(find(&g->parts[0], key, required, &pair));
    if (!pair)
        return LT_OK;
    if (pair->type != type)
        return fail_type(&g->parts[0], key, lt_meta_type_name(type), pair);
    *value = pair->value;
    return LT_OK;
}

static bool is_integer(int32_t type)
{
    return type <= LT_I32 || type == LT_U64 || type == LT_I64;
}

int lt_meta_u32(const lt_part *part, const char *key, bool required, uint32_t *out)
{
    const lt_pair *pair;
    LT_TRY(find(part, key, required, &pair));
    if (!pair)
        return LT_OK;
    if (!is_integer(pair->type))
        return fail_type(part, key, "u32", pair);
    lt_meta m;
    lt_meta_scalar(pair->type, pair->value, &m);
    if (pair->type == LT_U64 && m.i < 0)
        return lt_fail(LT_E_FORMAT, "%s: key %s is %" PRIu64 ", limit %" PRIu32, part->map.shown, key, (uint64_t)m.i, UINT32_MAX);
    if (m.i < 0 || m.i > UINT32_MAX)
        return lt_fail(LT_E_FORMAT, "%s: key %s is %" PRId64 ", must be from 0 to %" PRIu32, part->map.shown, key, m.i, UINT32_MAX);
    *out = (uint32_t)m.i;
    return LT_OK;
}

int lt_gguf_get_each(const lt_gguf *g, const char *key, bool required, bool bools, uint32_t *out, int32_t n)
{
    const lt_part *part = &g->parts[0];
    const lt_pair *pair;
    LT_TRY(find(part, key, required, &pair));
    if (!pair)
        return LT_OK;
    const bool is_array = pair->type == LT_ARRAY;
    const int32_t type = is_array ? pair->item_type : pair->type;
    if (bools ? type != LT_BOOL : !is_integer(type))
        return fail_type(part, key, bools ? "bool" : "u32", pair);
    if (is_array && pair->n_items < (uint64_t)n)
        return lt_fail(LT_E_FORMAT, "%s: key %s has %" PRIu64 " items, must have %" PRId32, part->map.shown, key, pair->n_items, n);
    for (int32_t i = 0; i < n; i++) {
        lt_meta m = {0};
        lt_meta_scalar(type, pair->value + (is_array ? (uint64_t)i * lt_meta_type_size(type) : 0), &m);
        if (m.i < 0 || m.i > UINT32_MAX)
            return lt_fail(LT_E_FORMAT, "%s: key %s holds %" PRId64 ", must be from 0 to %" PRIu32, part->map.shown, key, m.i, UINT32_MAX);
        out[i] = (uint32_t)m.i;
    }
    return LT_OK;
}

bool lt_gguf_has(const lt_gguf *g, const char *key)
{
    return lt_meta_find(&g->parts[0], key) != NULL;
}

int lt_gguf_get_u32(const lt_gguf *g, const char *key, bool required, uint32_t *out)
{
    return lt_meta_u32(&g->parts[0], key, required, out);
}

int lt_gguf_get_f32(const lt_gguf *g, const char *key, bool required, float *out)
{
    const uint8_t *value;
    LT_TRY(find_scalar(g, key, required, LT_FLOAT32, &value));
    if (value)
        *out = f32_of(lt_le32(value));
    return LT_OK;
}

int lt_gguf_get_bool(const lt_gguf *g, const char *key, bool required, bool *out)
{
    const uint8_t *value;
    LT_TRY(find_scalar(g, key, required, LT_BOOL, &value));
    if (value)
        *out = value[0] != 0;
    return LT_OK;
}

int lt_gguf_get_str(const lt_gguf *g, const char *key, bool required, const char **str, uint64_t *len)
{
    const uint8_t *value;
    LT_TRY(find_scalar(g, key, required, LT_STR, &value));
    if (value) {
        *len = lt_le64(value);
        *str = (const char *)value + 8;
    }
    return LT_OK;
}

static int find_array(const lt_gguf *g, const char *key, bool required, int32_t item_type, const lt_pair **pair)
{
    LT_TRY(find(&g->parts[0], key, required, pair));
    if (!*pair || ((*pair)->type == LT_ARRAY && (*pair)->item_type == item_type))
        return LT_OK;
    char wanted[24] = "array of ";
    strcat(wanted, lt_meta_type_name(item_type));
    return fail_type(&g->parts[0], key, wanted, *pair);
}

int lt_gguf_get_array(const lt_gguf *g, const char *key, bool required, int32_t item_type, const void **items, uint64_t *n)
{
    if (item_type < 0 || item_type >= LT_N_META_TYPES || !lt_meta_type_size(item_type))
        return lt_fail(LT_E_ARG, "item type %d is not a number or bool", (int)item_type);
    const lt_pair *pair;
    LT_TRY(find_array(g, key, required, item_type, &pair));
    *items = pair ? pair->value : NULL;
    if (pair)
        *n = pair->n_items;
    return LT_OK;
}

int lt_gguf_get_strings(const lt_gguf *g, const char *key, bool required, lt_gguf_strings *out)
{
    const lt_pair *pair;
    LT_TRY(find_array(g, key, required, LT_STR, &pair));
    const lt_mapping *map = &g->parts[0].map;
    *out = (lt_gguf_strings){.next = pair ? pair->value : NULL, .end = map->base + map->size, .left = pair ? pair->n_items : 0};
    return LT_OK;
}

bool lt_gguf_next_string(lt_gguf_strings *it, const char **str, uint64_t *len)
{
    if (it->left == 0)
        return false;
    it->left--;
    *len = lt_le64(it->next);
    *str = (const char *)it->next + 8;
    it->next += 8 + *len;
    return true;
}
