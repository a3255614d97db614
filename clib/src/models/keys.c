/* keys.c - metadata of the model's architecture, range-checked so that no later product can overflow. */
#include "models/keys.h"

#include <inttypes.h>
#include <stdio.h>

static const char *key_of(lt_keys *k, const char *name)
{
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, name);
    return k->key;
}

bool lt_keys_have(lt_keys *k, const char *name)
{
    return lt_gguf_has(k->g, key_of(k, name));
}

static int check_count(const lt_keys *k, uint32_t v, int32_t low, int32_t high)
{
    if (v < (uint32_t)low || v > (uint32_t)high)
        return lt_fail(LT_E_FORMAT, "%s: %s is %" PRIu32 ", must be %" PRId32 "..%" PRId32, lt_gguf_path(k->g), k->key, v, low, high);
    return LT_OK;
}

int lt_key_count(lt_keys *k, const char *name, bool required, int32_t low, int32_t high, int32_t *out)
{
    uint32_t v = (uint32_t)*out;
    LT_TRY(lt_gguf_get_u32(k->g, key_of(k, name), required, &v));
    if (!required && !lt_gguf_has(k->g, k->key))
        return LT_OK;
    LT_TRY(check_count(k, v, low, high));
    *out = (int32_t)v;
    return LT_OK;
}

int lt_key_counts(lt_keys *k, const char *name, bool required, int32_t low, int32_t high, int32_t *out, int32_t n)
{
    key_of(k, name);
    if (!required && !lt_gguf_has(k->g, k->key))
        return LT_OK;
    LT_TRY(lt_gguf_get_each(k->g, k->key, true, false, (uint32_t *)out, n));
    for (int32_t i = 0; i < n; i++)
        LT_TRY(check_count(k, (uint32_t)out[i], low, high));
    return LT_OK;
}

int lt_key_number(lt_keys *k, const char *name, bool required, double low, double high, float *out)
{
    LT_TRY(lt_gguf_get_f32(k->g, key_of(k, name), required, out));
    if (!required && !lt_gguf_has(k->g, k->key))
        return LT_OK;
    if (!(*out >= low && *out <= high)) /* NaN fails too */
        return lt_fail(LT_E_FORMAT, "%s: %s is %g, must be %g..%g", lt_gguf_path(k->g), k->key, (double)*out, low, high);
    return LT_OK;
}

int lt_key_flag(lt_keys *k, const char *name, bool *out)
{
    return lt_gguf_get_bool(k->g, key_of(k, name), false, out);
}

int lt_key_flags(lt_keys *k, const char *name, int32_t *out, int32_t n)
{
    return lt_gguf_get_each(k->g, key_of(k, name), false, true, (uint32_t *)out, n);
}
