/* override.c - metadata values that the caller puts in the place of the file's, or beside them; each must be of the kind that
 * the file has, and something must read it. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "gguf/reader.h"

enum { MAX_OVERRIDES = 1024, MAX_TEXT = 127 };

/* What a GGUF type counts as: any integer, any float, or itself. */
static int32_t kind_of(int32_t type)
{
    if (type == LT_FLOAT32 || type == LT_FLOAT64)
        return LT_FLOAT32;
    return type == LT_BOOL || type == LT_STR || type == LT_ARRAY ? type : LT_I64;
}

static int check_value(const lt_part *part, const lt_override *o)
{
    if (!o->key || !o->key[0] || strlen(o->key) > MAX_TEXT)
        return lt_fail(LT_E_ARG, "an overridden key must have 1 to %d bytes", MAX_TEXT);
    if (!strncmp(o->key, "split.", 6) || !strcmp(o->key, "general.alignment"))
        return lt_fail(LT_E_ARG, "key %s cannot be overridden: it says how the file itself is read", o->key);
    if (o->type != LT_I64 && o->type != LT_FLOAT32 && o->type != LT_BOOL && o->type != LT_STR)
        return lt_fail(LT_E_ARG, "override of %s: type is %d, must be 6, 7, 8 or 11", o->key, o->type);
    if (o->type == LT_FLOAT32 && !isfinite((float)o->f))
        return lt_fail(LT_E_ARG, "override of %s: %g is no finite f32", o->key, o->f);
    if (o->type == LT_BOOL && o->i != 0 && o->i != 1)
        return lt_fail(LT_E_ARG, "override of %s: a bool must be 0 or 1", o->key);
    if (o->type == LT_STR && (!o->str || strlen(o->str) > MAX_TEXT))
        return lt_fail(LT_E_ARG, "override of %s: a text must have at most %d bytes", o->key, MAX_TEXT);
    const lt_pair *own = lt_meta_find(part, o->key);
    if (own && kind_of(own->type) != kind_of(o->type))
        return lt_fail(LT_E_ARG, "override of %s: the file has %s there, not %s", o->key, lt_meta_type_name(own->type),
                       o->type == LT_I64 ? "an integer" : lt_meta_type_name(o->type));
    return LT_OK;
}

/* The value as a file would have it; `forced` owns key and value in one piece of memory. */
static int keep(lt_forced *forced, const lt_override *o, bool in_file)
{
    const size_t key_len = strlen(o->key), text = o->type == LT_STR ? strlen(o->str) : 0;
    uint8_t *bytes = lt_alloc(8 + text + key_len + 1, 1);
    if (!bytes)
        return lt_fail(LT_E_NOMEM, "no memory for the override of %s", o->key);
    const float f = (float)o->f;
    const uint64_t len = text;
    switch (o->type) {
    case LT_FLOAT32:
        memcpy(bytes, &f, sizeof f);
        break;
    case LT_BOOL:
        bytes[0] = (uint8_t)o->i;
        break;
    case LT_STR:
        memcpy(bytes, &len, 8);
        memcpy(bytes + 8, o->str, text);
        break;
    default:
        memcpy(bytes, &o->i, 8);
    }
    memcpy(bytes + 8 + text, o->key, key_len + 1);
    *forced = (lt_forced){.bytes = bytes, .in_file = in_file};
    forced->pair = (lt_pair){.key = bytes + 8 + text, .key_len = (uint32_t)key_len, .value = bytes, .type = (int16_t)o->type};
    return LT_OK;
}

int lt_gguf_override(lt_gguf *g, const lt_override *overrides, int32_t n)
{
    if (n < 0 || n > MAX_OVERRIDES || (n && !overrides))
        return lt_fail(LT_E_ARG, "%d overrides, must be 0..%d and not NULL", n, MAX_OVERRIDES);
    lt_part *part = &g->parts[0];
    if (!n)
        return LT_OK;
    part->forced = lt_alloc_zero((size_t)n, sizeof *part->forced);
    if (!part->forced)
        return lt_fail(LT_E_NOMEM, "no memory for %d overrides", n);
    for (int32_t i = 0; i < n; i++) {
        LT_TRY(check_value(part, &overrides[i]));
        const bool in_file = lt_gguf_find(g, overrides[i].key) >= 0;
        LT_TRY(keep(&part->forced[i], &overrides[i], in_file));
        part->n_forced = (uint32_t)i + 1;
    }
    return LT_OK;
}

int lt_gguf_check_overrides(const lt_gguf *g)
{
    const lt_part *part = &g->parts[0];
    for (uint32_t i = 0; i < part->n_forced; i++)
        if (!part->forced[i].in_file && !part->forced[i].asked)
            return lt_fail(LT_E_ARG, "%s: key %s is overridden, but the file does not have it and nothing reads it", part->map.shown,
                           (const char *)part->forced[i].pair.key);
    return LT_OK;
}

/* The last one counts, as on a command line. */
const lt_pair *lt_forced_find(const lt_part *part, const char *key)
{
    for (uint32_t i = part->n_forced; i > 0; i--) {
        lt_forced *forced = &part->forced[i - 1];
        if (!strcmp((const char *)forced->pair.key, key)) {
            forced->asked = true;
            return &forced->pair;
        }
    }
    return NULL;
}

void lt_forced_free(lt_part *part)
{
    for (uint32_t i = 0; i < part->n_forced; i++)
        lt_free(part->forced[i].bytes);
    lt_free(part->forced);
    part->forced = NULL;
    part->n_forced = 0;
}
