/* meta.c - the key-value pairs of one file: walked once, every byte of them checked, then found by hash. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "gguf/reader.h"

static const struct {
    const char *name;
    uint8_t bytes; /* 0: varies */
} meta_types[LT_N_META_TYPES] = {
    [LT_U8] = {"u8", 1},   [LT_I8] = {"i8", 1},       [LT_U16] = {"u16", 2},     [LT_I16] = {"i16", 2}, [LT_U32] = {"u32", 4},
    [LT_I32] = {"i32", 4}, [LT_FLOAT32] = {"f32", 4}, [LT_BOOL] = {"bool", 1},   [LT_STR] = {"str", 0}, [LT_ARRAY] = {"array", 0},
    [LT_U64] = {"u64", 8}, [LT_I64] = {"i64", 8},     [LT_FLOAT64] = {"f64", 8},
};

uint64_t lt_meta_type_size(int32_t type)
{
    return meta_types[type].bytes;
}

const char *lt_meta_type_name(int32_t type)
{
    return meta_types[type].name;
}

/* Length of the well-formed UTF-8 character at p (Unicode 15, table 3-7), 0 when there is none or it is NUL. */
static uint64_t character_bytes(const uint8_t *p, uint64_t left)
{
    uint8_t lead = p[0];
    if (lead < 0x80)
        return lead != 0;
    uint64_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || n > left)
        return 0;
    for (uint64_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (lead == 0xe0 && p[1] < 0xa0) || (lead == 0xf0 && p[1] < 0x90);
    bool beyond = (lead == 0xed && p[1] > 0x9f) || (lead == 0xf4 && p[1] > 0x8f); /* surrogates; above U+10FFFF */
    return overlong || beyond ? 0 : n;
}

bool lt_name_is_text(lt_bytes name)
{
    for (uint64_t i = 0, n; i < name.len; i += n) {
        n = character_bytes(name.bytes + i, name.len - i);
        if (!n)
            return false;
    }
    return true;
}

/* ---- walking ---- */

static int shown_len(uint64_t len)
{
    return len > 80 ? 80 : (int)len;
}

static int fail_at(const lt_part *part, const lt_pair *pair, const char *problem)
{
    return lt_fail(LT_E_FORMAT, "%s: key %.*s %s", part->map.shown, shown_len(pair->key_len), (const char *)pair->key, problem);
}

static int read_key(const lt_part *part, lt_cursor *c, uint32_t i, lt_pair *pair)
{
    lt_bytes key;
    bool fits = lt_read_str(c, &key);
    if (key.len > LT_MAX_KEY)
        return lt_fail(LT_E_FORMAT, "%s: the name of key %" PRIu32 " has %" PRIu64 " bytes, limit %d", part->map.shown, i, key.len,
                       LT_MAX_KEY);
    if (!fits)
        return lt_fail(LT_E_FORMAT, "%s ends inside the name of key %" PRIu32 " of %" PRIu32, part->map.shown, i, part->n_pairs);
    if (key.len == 0)
        return lt_fail(LT_E_FORMAT, "%s: the name of key %" PRIu32 " is empty", part->map.shown, i);
    if (!lt_name_is_text(key))
        return lt_fail(LT_E_FORMAT, "%s: the name of key %" PRIu32 " is not valid UTF-8 text", part->map.shown, i);
    pair->key = key.bytes;
    pair->key_len = (uint32_t)key.len;
    return LT_OK;
}

static int read_type(const lt_part *part, lt_cursor *c, const lt_pair *pair, const char *what, int16_t *out)
{
    uint32_t type;
    if (!lt_read_u32(c, &type))
        return fail_at(part, pair, "is cut off by the end of the file");
    if (type >= LT_N_META_TYPES)
        return lt_fail(LT_E_FORMAT, "%s: key %.*s has %s type %" PRIu32 ", known are 0 to %d", part->map.shown, shown_len(pair->key_len),
                       (const char *)pair->key, what, type, LT_N_META_TYPES - 1);
    *out = (int16_t)type;
    return LT_OK;
}

static int read_string(const lt_part *part, lt_cursor *c, const lt_pair *pair)
{
    lt_bytes s;
    bool fits = lt_read_str(c, &s);
    if (s.len > LT_MAX_STRING)
        return lt_fail(LT_E_FORMAT, "%s: key %.*s holds a string of %" PRIu64 " bytes, limit %d", part->map.shown, shown_len(pair->key_len),
                       (const char *)pair->key, s.len, LT_MAX_STRING);
    return fits ? LT_OK : fail_at(part, pair, "is cut off by the end of the file");
}

static int check_bools(const lt_part *part, const lt_pair *pair, const uint8_t *values, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (values[i] > 1)
            return lt_fail(LT_E_FORMAT, "%s: key %.*s is bool and holds %d, must be 0 or 1", part->map.shown, shown_len(pair->key_len),
                           (const char *)pair->key, values[i]);
    return LT_OK;
}

static int read_fixed(const lt_part *part, lt_cursor *c, const lt_pair *pair, int32_t type, uint64_t n)
{
    const uint8_t *values = c->at;
    lt_skip(c, n * lt_meta_type_size(type)); /* the caller has seen that they fit */
    return type == LT_BOOL ? check_bools(part, pair, values, n) : LT_OK;
}

static int read_strings(const lt_part *part, lt_cursor *c, lt_pair *pair)
{
    pair->marks = lt_alloc((size_t)(pair->n_items / LT_MARK_EVERY + 1), sizeof *pair->marks);
    if (!pair->marks)
        return lt_fail(LT_E_NOMEM, "%s: no memory to index %" PRIu64 " strings", part->map.shown, pair->n_items);
    for (uint64_t i = 0; i < pair->n_items; i++) {
        if (i % LT_MARK_EVERY == 0)
            pair->marks[i / LT_MARK_EVERY] = c->at;
        LT_TRY(read_string(part, c, pair));
    }
    return LT_OK;
}

static int read_array(const lt_part *part, lt_cursor *c, lt_pair *pair)
{
    uint64_t n;
    LT_TRY(read_type(part, c, pair, "item", &pair->item_type));
    if (pair->item_type == LT_ARRAY)
        return fail_at(part, pair, "is an array of arrays, which is not allowed");
    if (!lt_read_u64(c, &n))
        return fail_at(part, pair, "is cut off by the end of the file");
    uint64_t item_bytes = pair->item_type == LT_STR ? 8 : lt_meta_type_size(pair->item_type);
    if (n > lt_left(c) / item_bytes)
        return lt_fail(LT_E_FORMAT, "%s: key %.*s announces %" PRIu64 " items, the file can hold at most %" PRIu64 " more", part->map.shown,
                       shown_len(pair->key_len), (const char *)pair->key, n, lt_left(c) / item_bytes);
    pair->n_items = n;
    pair->value = c->at;
    return pair->item_type == LT_STR ? read_strings(part, c, pair) : read_fixed(part, c, pair, pair->item_type, n);
}

static int read_pair(const lt_part *part, lt_cursor *c, uint32_t i, lt_pair *pair)
{
    LT_TRY(read_key(part, c, i, pair));
    LT_TRY(read_type(part, c, pair, "value", &pair->type));
    pair->value = c->at;
    if (pair->type == LT_ARRAY)
        return read_array(part, c, pair);
    if (pair->type == LT_STR)
        return read_string(part, c, pair);
    if (lt_left(c) < lt_meta_type_size(pair->type))
        return fail_at(part, pair, "is cut off by the end of the file");
    return read_fixed(part, c, pair, pair->type, 1);
}

static lt_bytes key_of(const void *pairs, uint32_t i)
{
    const lt_pair *pair = (const lt_pair *)pairs + i;
    return (lt_bytes){pair->key, pair->key_len};
}

int lt_meta_read(lt_part *part, lt_cursor *c)
{
    part->pairs = lt_alloc_zero(part->n_pairs, sizeof *part->pairs);
    if (!part->pairs)
        return lt_fail(LT_E_NOMEM, "%s: no memory for %" PRIu32 " metadata keys", part->map.shown, part->n_pairs);
    LT_TRY(lt_names_init(&part->keys, part->n_pairs, part->pairs, key_of));
    for (uint32_t i = 0; i < part->n_pairs; i++) {
        LT_TRY(read_pair(part, c, i, &part->pairs[i]));
        if (!lt_names_add(&part->keys, i))
            return fail_at(part, &part->pairs[i], "occurs twice");
    }
    return LT_OK;
}

void lt_meta_free(lt_part *part)
{
    for (uint32_t i = 0; part->pairs && i < part->n_pairs; i++)
        lt_free(part->pairs[i].marks);
    lt_free(part->pairs);
    part->pairs = NULL;
    lt_names_free(&part->keys);
    lt_forced_free(part);
}

const lt_pair *lt_meta_find(const lt_part *part, const char *key)
{
    const lt_pair *forced = lt_forced_find(part, key);
    if (forced)
        return forced;
    int64_t i = lt_names_find(&part->keys, (lt_bytes){(const uint8_t *)key, strlen(key)});
    return i < 0 ? NULL : &part->pairs[i];
}
