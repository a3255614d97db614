/* gguf.c - the handle: opening, closing, and the calls of llamatw.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "gguf/reader.h"

static int open_parts(lt_gguf *g, const char *path)
{
    g->parts = lt_alloc_zero(1, sizeof *g->parts);
    if (!g->parts)
        return lt_fail(LT_E_NOMEM, "no memory to open a model file");
    g->n_parts = 1;
    LT_TRY(lt_part_open(&g->parts[0], path, g->load));
    LT_TRY(lt_split_open(g));
    return lt_directory_read(g);
}

int lt_gguf_open(lt_gguf **out, const char *path)
{
    return lt_gguf_open_for(out, path, LT_LOAD_MMAP);
}

int lt_gguf_open_for(lt_gguf **out, const char *path, int32_t load)
{
    if (!out || !path)
        return lt_fail(LT_E_ARG, "lt_gguf_open: NULL argument");
    lt_gguf *g = lt_alloc_zero(1, sizeof *g);
    if (!g)
        return lt_fail(LT_E_NOMEM, "no memory to open a model file");
    g->load = load;
    int rc = open_parts(g, path);
    if (rc < 0) {
        lt_gguf_close(g);
        return rc;
    }
    *out = g;
    return LT_OK;
}

void lt_gguf_close(lt_gguf *g)
{
    if (!g)
        return;
    for (uint32_t p = 0; p < g->n_parts; p++)
        lt_part_close(&g->parts[p]);
    lt_free(g->parts);
    lt_free(g->tensors);
    lt_names_free(&g->names);
    lt_free(g);
}

static int fail_null(void)
{
    return lt_fail(LT_E_ARG, "NULL argument to a GGUF call");
}

int32_t lt_gguf_version(const lt_gguf *g)
{
    return g ? (int32_t)g->parts[0].version : fail_null();
}

const char *lt_gguf_path(const lt_gguf *g)
{
    return g->parts[0].map.path;
}

int64_t lt_gguf_n_meta(const lt_gguf *g)
{
    return g ? (int64_t)g->parts[0].n_pairs : fail_null();
}

/* NULL, with the reason in lt_last_error, when out of range. */
static const lt_pair *pair_at(const lt_gguf *g, int64_t i)
{
    if (i >= 0 && i < g->parts[0].n_pairs)
        return &g->parts[0].pairs[i];
    lt_fail(LT_E_ARG, "key number %" PRId64 " of %" PRIu32, i, g->parts[0].n_pairs);
    return NULL;
}

int lt_gguf_meta(const lt_gguf *g, int64_t i, lt_meta *out)
{
    if (!g || !out)
        return fail_null();
    const lt_pair *pair = pair_at(g, i);
    if (!pair)
        return LT_E_ARG;
    *out = (lt_meta){.key = (const char *)pair->key, .key_len = pair->key_len, .type = pair->type};
    if (pair->type == LT_ARRAY) {
        out->n = pair->n_items;
        out->item_type = pair->item_type;
    } else {
        lt_meta_scalar(pair->type, pair->value, out);
    }
    return LT_OK;
}

static const uint8_t *item_at(const lt_pair *pair, uint64_t item)
{
    if (pair->item_type != LT_STR)
        return pair->value + item * lt_meta_type_size(pair->item_type);
    const uint8_t *at = pair->marks[item / LT_MARK_EVERY];
    for (uint64_t i = item % LT_MARK_EVERY; i > 0; i--)
        at += 8 + lt_le64(at);
    return at;
}

int lt_gguf_meta_item(const lt_gguf *g, int64_t i, uint64_t item, lt_meta *out)
{
    if (!g || !out)
        return fail_null();
    const lt_pair *pair = pair_at(g, i);
    if (!pair)
        return LT_E_ARG;
    if (pair->type != LT_ARRAY)
        return lt_fail(LT_E_ARG, "key number %" PRId64 " is %s, not an array", i, lt_meta_type_name(pair->type));
    if (item >= pair->n_items)
        return lt_fail(LT_E_ARG, "item %" PRIu64 " of %" PRIu64 " of key number %" PRId64, item, pair->n_items, i);
    *out = (lt_meta){0};
    lt_meta_scalar(pair->item_type, item_at(pair, item), out);
    return LT_OK;
}

int64_t lt_gguf_find(const lt_gguf *g, const char *key)
{
    if (!g || !key)
        return fail_null();
    return lt_names_find(&g->parts[0].keys, (lt_bytes){(const uint8_t *)key, strlen(key)});
}

int64_t lt_gguf_n_tensors(const lt_gguf *g)
{
    return g ? (int64_t)g->n_tensors : fail_null();
}

int lt_gguf_tensor(const lt_gguf *g, int64_t i, lt_tensor_info *out)
{
    if (!g || !out)
        return fail_null();
    if (i < 0 || i >= g->n_tensors)
        return lt_fail(LT_E_ARG, "tensor number %" PRId64 " of %" PRIu32, i, g->n_tensors);
    const lt_entry *e = &g->tensors[i];
    *out = (lt_tensor_info){.name = e->name,
                            .name_len = strlen(e->name),
                            .offset = e->offset,
                            .n_bytes = e->tensor.n_bytes,
                            .type = e->tensor.type,
                            .n_dims = e->tensor.n_dims,
                            .file = e->part};
    memcpy(out->ne, e->tensor.ne, sizeof out->ne);
    return LT_OK;
}

const lt_tensor *lt_gguf_find_tensor(const lt_gguf *g, const char *name)
{
    int64_t i = lt_names_find(&g->names, (lt_bytes){(const uint8_t *)name, strlen(name)});
    return i < 0 ? NULL : &g->tensors[i].tensor;
}

void lt_gguf_release(const lt_gguf *g, const lt_tensor *t)
{
    if (g->load == LT_LOAD_MMAP)
        lt_mapping_release(t->data, t->n_bytes);
}

int lt_gguf_read(const lt_gguf *g, const lt_tensor *t, uint64_t first, uint64_t n, uint8_t *buffer, const uint8_t **bytes)
{
    if (t->data) {
        *bytes = (const uint8_t *)t->data + first;
        return 0;
    }
    const lt_entry *e = (const lt_entry *)(const void *)t; /* an lt_tensor is the start of one */
    const lt_part *part = &g->parts[e->part];
    return lt_mapping_read(&part->map, (uint64_t)(part->data - part->map.base) + e->offset + first, n, buffer, bytes);
}

int lt_gguf_fail_read(const lt_gguf *g, const lt_tensor *t, int error)
{
    const lt_part *part = &g->parts[((const lt_entry *)(const void *)t)->part];
    return lt_fail(error == ENOMEM ? LT_E_NOMEM : LT_E_IO, "%s: tensor %s cannot be read: %s", part->map.shown, t->name,
                   error == ENODATA ? "the file has become shorter" : strerror(error));
}
